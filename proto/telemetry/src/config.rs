//! What the environment says about where things are told: the variables of OpenTelemetry, and ours for lineage. Edge: the only
//! place here that decides by it; `environment` shows it.
//!
//! Whatever is wrong with it, the program goes on and says so: these variables may be meant for others.

use std::collections::BTreeMap;
use std::time::Duration;

use lake_proto::host;
use reqwest::Url;

use crate::lineage::Destination;
use crate::post::Address;
use crate::trace::Collector;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const TRACES_PATH: &str = "v1/traces";
/// A catalogue that is slow must not hold up the end of a driver.
const LINEAGE_TIMEOUT: Duration = Duration::from_secs(5);
const LINEAGE_PATH: &str = "api/v1/lineage";

/// Where spans go: nowhere unless an endpoint is set.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn spans(service: &str) -> Result<Option<Collector>, String> {
    collector(service, &Variables::of_environment())
}

/// Where events of lineage go: nowhere unless a URL or a file is set.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn lineage() -> Result<Option<Destination>, String> {
    destination(&Variables::of_environment())
}

/// The variables that are set and not empty.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn of_environment() -> Self {
        let all =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(all.filter(|(_, value)| !value.is_empty()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of these that is set.
    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }
}

fn collector(service: &str, variables: &Variables) -> Result<Option<Collector>, String> {
    let is_disabled = variables.get("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    if is_disabled || variables.get("OTEL_TRACES_EXPORTER") == Some("none") {
        return Ok(None);
    }
    let own =
        variables.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(|text| url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", text));
    let common = || {
        let base = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT").map(|text| url("OTEL_EXPORTER_OTLP_ENDPOINT", text));
        base.map(|base| base.map(|base| below(base, TRACES_PATH)))
    };
    let Some(url) = own.or_else(common).transpose()? else { return Ok(None) };
    let headers = variables.first(&["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]);
    let timeout = variables.first(&["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
    let timeout = timeout.and_then(|millis| millis.parse().ok()).map_or(DEFAULT_TIMEOUT, Duration::from_millis);
    let mut resource = BTreeMap::from([
        ("service.name".to_owned(), service.to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id".to_owned(), host::this_process()),
        ("process.pid".to_owned(), std::process::id().to_string()),
    ]);
    resource.extend(pairs(variables.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()));
    if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
        resource.insert("service.name".to_owned(), name.to_owned());
    }
    let address = Address { url, headers: pairs(headers.unwrap_or_default()), timeout };
    Ok(Some(Collector { address, resource: resource.into_iter().collect() }))
}

fn destination(variables: &Variables) -> Result<Option<Destination>, String> {
    if let Some(text) = variables.get("LAKE_OPENLINEAGE_URL") {
        let url = url("LAKE_OPENLINEAGE_URL", text)?;
        // A server alone has them where the standard says.
        let url = if matches!(url.path(), "" | "/") { below(url, LINEAGE_PATH) } else { url };
        let key = match (variables.get("LAKE_OPENLINEAGE_API_KEY"), variables.get("LAKE_OPENLINEAGE_API_KEY_FILE")) {
            (Some(key), _) => Some(key.to_owned()),
            (None, Some(path)) => {
                let key = std::fs::read_to_string(path);
                Some(key.map_err(|error| format!("LAKE_OPENLINEAGE_API_KEY_FILE {path}: {error}"))?.trim().to_owned())
            }
            (None, None) => None,
        };
        let headers = key.map(|key| ("authorization".to_owned(), format!("Bearer {key}")));
        let address = Address { url, headers: headers.into_iter().collect(), timeout: LINEAGE_TIMEOUT };
        return Ok(Some(Destination::Http { address, namespace: namespace(variables) }));
    }
    let file = variables.get("LAKE_OPENLINEAGE_FILE");
    Ok(file.map(|path| Destination::File { path: path.into(), namespace: namespace(variables) }))
}

fn namespace(variables: &Variables) -> String {
    variables.first(&["LAKE_OPENLINEAGE_NAMESPACE", "OPENLINEAGE_NAMESPACE"]).unwrap_or("lake").to_owned()
}

fn url(name: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| format!("{name} is not a URL: expected http://host:port or https://host:port"))
}

/// `path` below the URL's own.
fn below(mut url: Url, path: &str) -> Url {
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{path}"));
    url
}

/// `key=value,key=value`, percent-decoded; what is not a pair is left out.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| (key.to_owned(), decoded(value.trim())))
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()));
        match (first, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn found(pairs: &[(&str, &str)]) -> Option<Collector> {
        collector("lake-test", &variables(pairs)).unwrap()
    }

    #[test]
    fn spans_go_nowhere_unless_an_endpoint_is_set() {
        let set = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318");
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("OTEL_SERVICE_NAME", "a")]), None);
        assert_eq!(found(&[set, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(found(&[set, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert!(found(&[set]).is_some());
    }

    #[test]
    fn the_endpoint_is_a_base_unless_it_is_for_traces_alone() {
        let common = |text| found(&[("OTEL_EXPORTER_OTLP_ENDPOINT", text)]).unwrap().address.url.to_string();
        assert_eq!(common("http://h:4318"), "http://h:4318/v1/traces");
        assert_eq!(common("https://h/otlp/"), "https://h/otlp/v1/traces");
        let both =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/in")];
        assert_eq!(found(&both).unwrap().address.url.to_string(), "http://t:1/in");
        for wrong in ["h:4318", "grpc://h:4317", "http://", "unix:///a"] {
            let error = collector("s", &variables(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)])).unwrap_err();
            assert!(error.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
        }
    }

    #[test]
    fn headers_timeout_and_resource_are_those_of_the_environment() {
        let collector = found(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@h:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc%3D%3d, x-scope = 7,broken, =x"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod,service.name=no"),
            ("OTEL_SERVICE_NAME", "mine"),
        ])
        .unwrap();
        let expected = [("authorization", "Bearer abc=="), ("x-scope", "7")];
        assert_eq!(collector.address.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(collector.address.timeout, Duration::from_millis(1_500));
        let resource: BTreeMap<_, _> = collector.resource.iter().cloned().collect();
        assert_eq!(resource.get("service.name").map(String::as_str), Some("mine"));
        assert_eq!(resource.get("deployment.environment").map(String::as_str), Some("prod"));
        assert!(resource.contains_key("service.version") && resource.contains_key("process.pid"));
        let shown = format!("{collector:?}");
        assert!(!shown.contains("secret") && !shown.contains("abc"), "{shown}");
    }

    #[test]
    fn lineage_goes_to_a_server_or_into_a_file() {
        let found = |pairs: &[(&str, &str)]| destination(&variables(pairs)).unwrap();
        assert_eq!(found(&[]), None);
        let Some(Destination::Http { address, namespace }) =
            found(&[("LAKE_OPENLINEAGE_URL", "http://marquez:5000"), ("LAKE_OPENLINEAGE_API_KEY", "k")])
        else {
            panic!("no server");
        };
        assert_eq!(address.url.to_string(), "http://marquez:5000/api/v1/lineage");
        assert_eq!(address.headers, [("authorization".to_owned(), "Bearer k".to_owned())]);
        assert_eq!(namespace, "lake");
        let Some(Destination::Http { address, .. }) = found(&[("LAKE_OPENLINEAGE_URL", "http://h/in?x=1")]) else {
            panic!("no server");
        };
        assert_eq!(address.url.to_string(), "http://h/in?x=1");
        let file = found(&[("LAKE_OPENLINEAGE_FILE", "/a/b.jsonl"), ("LAKE_OPENLINEAGE_NAMESPACE", "prod")]);
        assert_eq!(file, Some(Destination::File { path: "/a/b.jsonl".into(), namespace: "prod".to_owned() }));
        assert!(destination(&variables(&[("LAKE_OPENLINEAGE_URL", "nowhere")])).is_err());
        let missing = [("LAKE_OPENLINEAGE_URL", "http://h"), ("LAKE_OPENLINEAGE_API_KEY_FILE", "/no/such/file")];
        assert!(destination(&variables(&missing)).unwrap_err().contains("/no/such/file"));
    }
}
