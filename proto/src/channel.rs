//! The one way to open a connection between our processes. Edge.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::error::{ErrorClass, Fault};
use crate::masters::Addresses;

/// The largest message any of our services sends or accepts.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Between two masters that are asked.
const PAUSE: Duration = Duration::from_millis(300);

/// The addresses in a master URL: `lake://h1:7077,h2:7077`, also with Spark's scheme `spark://`.
///
/// # Errors
/// `invalid-job` when the scheme is another one or an address has no port.
pub fn master_addresses(url: &str) -> Result<Vec<String>, Fault> {
    let invalid = |why: &str| {
        Fault::new(
            ErrorClass::InvalidJob,
            "master-url",
            format!("master URL '{url}' is not valid: {why}; expected lake://host:port[,host:port...]"),
        )
    };
    let hosts = url
        .strip_prefix("lake://")
        .or_else(|| url.strip_prefix("spark://"))
        .ok_or_else(|| invalid("it does not start with lake://"))?;
    let mut addresses = Vec::new();
    for address in hosts.split(',') {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid("an address has no port"))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(invalid("an address has no host or a port that is not a number"));
        }
        addresses.push(address.to_owned());
    }
    Ok(addresses)
}

/// Opens a channel to `address` (`host:port`).
///
/// # Errors
/// `unavailable` when nobody answers there within three seconds.
pub async fn connect(address: &str) -> Result<Channel, Fault> {
    let unavailable = |error: &dyn std::error::Error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Fault::new(ErrorClass::Unavailable, "connect", format!("cannot connect to {address}: {cause}"))
    };
    Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| unavailable(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect()
        .await
        .map_err(|error| unavailable(&error))
}

/// Asks the leader, wherever it is, with a call that may be repeated.
///
/// # Errors
/// `unavailable` when no master answers within `patience`, or the leader says so for as long; what it refuses.
pub async fn ask_leader<T>(
    masters: &mut Addresses,
    patience: Duration,
    ask: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
) -> Result<T, Fault> {
    let deadline = Instant::now() + patience;
    loop {
        let fault = match connect(masters.first()).await {
            Err(fault) => {
                masters.pass_on();
                fault
            }
            Ok(channel) => match ask(channel).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => {
                    masters.redirect(&status);
                    Fault::from(status)
                }
            },
        };
        if fault.class != ErrorClass::Unavailable || Instant::now() >= deadline {
            return Err(fault);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn master_urls_list_addresses_under_both_schemes() {
        assert_eq!(master_addresses("lake://a:1,b:2").unwrap(), ["a:1", "b:2"]);
        assert_eq!(master_addresses("spark://a:1").unwrap(), ["a:1"]);
        for url in ["a:1", "http://a:1", "lake://a", "lake://", "lake://a:1,", "lake://a:x"] {
            assert_eq!(master_addresses(url).unwrap_err().class, ErrorClass::InvalidJob, "{url}");
        }
    }
}
