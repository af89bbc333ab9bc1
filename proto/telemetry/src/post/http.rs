//! Documents posted over HTTP. Edge.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use url::Host;

/// Pauses between tries of one delivery.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Where something is posted to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    /// Of one try.
    pub(crate) timeout: Duration,
}

/// Without the headers, which may be secrets.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("url", &self.shown()).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Address {
    /// For people: without what may be a secret.
    pub(crate) fn shown(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.url.scheme(), self.url.path())
    }
}

/// The way to one address. Its client is made when something is posted first: reading the host's certificates takes a moment
/// that no start has to wait for.
#[derive(Debug)]
pub(crate) struct Http {
    address: Address,
    client: OnceLock<Client>,
}

impl Http {
    pub(crate) const fn new(address: Address) -> Self {
        Self { address, client: OnceLock::new() }
    }

    /// Posts a document, again when the way there is disturbed. The answer's body.
    ///
    /// # Errors
    /// Why it was not taken; when there can be no client, or a header is not one.
    pub(crate) async fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let client = self.client()?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let why = match self.try_once(&client, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Refused::ForGood(why)) => return Err(why),
                Err(Refused::ForNow(why)) => why,
            };
            let Some(pause) = pauses.next() else { return Err(why) };
            tokio::time::sleep(pause).await;
        }
    }

    fn client(&self) -> Result<Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let made = client_of(&self.address)?;
        Ok(self.client.get_or_init(|| made).clone())
    }

    async fn try_once(&self, client: &Client, body: Vec<u8>) -> Result<Vec<u8>, Refused> {
        let shown = self.address.shown();
        let sent = client.post(self.address.url.clone()).body(body).send().await;
        let answer = sent.map_err(|error| Refused::ForNow(format!("{shown}: {}", told(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return answer.bytes().await.map(|bytes| bytes.to_vec()).map_err(|error| Refused::ForNow(told(&error)));
        }
        let why = format!("{shown} answered {status}");
        let is_passing = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(if is_passing { Refused::ForNow(why) } else { Refused::ForGood(why) })
    }
}

fn client_of(address: &Address) -> Result<Client, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &address.headers {
        let named = HeaderName::try_from(name.as_str()).map_err(|_| format!("'{name}' is not a header's name"))?;
        let mut value =
            HeaderValue::try_from(value.as_str()).map_err(|_| format!("header {name} has no valid value"))?;
        value.set_sensitive(true);
        headers.insert(named, value);
    }
    let mut client = Client::builder().timeout(address.timeout).default_headers(headers);
    if is_loopback(&address.url) {
        // A proxy of the environment is for what is elsewhere.
        client = client.no_proxy();
    }
    client.build().map_err(|error| told(&error))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

enum Refused {
    ForNow(String),
    ForGood(String),
}

/// The last cause, without the URL, which may hold a secret.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if std::ptr::addr_eq(cause, error) && error.url().is_some() {
        return if error.is_timeout() { "no answer in time".to_owned() } else { "it cannot be reached".to_owned() };
    }
    cause.to_string()
}
