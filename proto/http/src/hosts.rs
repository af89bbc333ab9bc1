//! The names that a request may ask for. Pure, but [`own_host_name`].
//!
//! A page of another site can have its name point at our address (DNS rebinding), and its scripts then talk to us as if
//! they were ours. They cannot choose the `Host` header, which has that name: a server that answers only to its own names
//! is not reached.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;
use lake_proto::{ErrorClass, Fault};

/// Whether this name is one of the cluster's, asked per request: masters may join.
type Known = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The names that a server answers to, beside loopback names and addresses, which no other site can have.
#[derive(Clone)]
pub struct Hosts {
    /// Lower case, without a port.
    names: Arc<[String]>,
    known: Known,
}

impl Hosts {
    /// `names` are host names, with or without a port; one that begins with a dot stands for every name below it, and
    /// `*` for every name. `known` gets lower case names.
    pub fn new(names: impl IntoIterator<Item = String>, known: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let names = names.into_iter().map(|name| host_of(&name)).filter(|name| !name.is_empty());
        Self { names: names.collect(), known: Arc::new(known) }
    }

    /// Checks the one `Host` header of a request, and answers with it.
    ///
    /// # Errors
    /// `invalid-job/host` when there is not exactly one host, `denied/host` when it is not ours.
    pub fn check<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Fault> {
        let mut given = headers.get_all(HOST).iter();
        let host = match (given.next().and_then(|host| host.to_str().ok()), given.next()) {
            (Some(host), None) => host,
            _ => return Err(malformed("a request names exactly one host in its header 'Host'")),
        };
        let authority = host.parse::<Authority>().ok().filter(|authority| {
            // It also parses what is no port: words, or more behind the brackets of an address.
            let rest = host.strip_prefix(authority.host()).unwrap_or(host);
            let is_port = rest.strip_prefix(':').map_or(rest.is_empty(), |port| port.parse::<u16>().is_ok());
            is_port && !host.contains('@')
        });
        let Some(authority) = authority else { return Err(malformed("the header 'Host' is not a host")) };
        if self.admits(authority.host()) {
            return Ok(host);
        }
        let shown: String = host.chars().take(200).collect();
        let message = format!(
            "this server does not answer to the name '{shown}'; ask for it by its address or its own name, or add the name to \
             --webui-allowed-hosts"
        );
        Err(Fault::new(ErrorClass::Denied, "host", message))
    }

    fn admits(&self, host: &str) -> bool {
        let name = host_of(host);
        let is_named = |allowed: &String| match allowed.as_str() {
            "*" => true,
            suffix if suffix.starts_with('.') => name.ends_with(suffix),
            exact => name == exact,
        };
        is_loopback_or_address(&name) || self.names.iter().any(is_named) || (self.known)(&name)
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").field("names", &self.names).finish_non_exhaustive()
    }
}

fn malformed(message: &str) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "host", message)
}

/// Only text that is an address in full counts: what a resolver makes of `0x7f.1` is its own matter.
fn is_loopback_or_address(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || name.parse::<Ipv6Addr>().is_ok()
}

/// The host of `host`, `host:port`, `[v6]:port` or a bare address of either kind: lower case, without brackets and the dot
/// of the root.
pub fn host_of(address: &str) -> String {
    let address = address.trim();
    let host = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        // What follows the brackets is a port, or all of it is a name that only looks like an address.
        Some((host, rest)) if rest.is_empty() || rest.starts_with(':') => host,
        _ if address.matches(':').count() == 1 => address.split(':').next().unwrap_or_default(),
        _ => address,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The name of this host, unless the kernel does not say. In a container it is the container's.
pub fn own_host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(host_of(&name)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let names = ["H1:7077", "lake.example.org", ".lake.svc", " Spaced "].map(str::to_owned);
        Hosts::new(names, |name| name == "h2")
    }

    fn asked(host: &str) -> Result<String, &'static str> {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        hosts().check(&headers).map(str::to_owned).map_err(|fault| {
            assert_eq!(fault.code, "host");
            fault.class.name()
        })
    }

    #[test]
    fn a_server_answers_to_its_names_to_addresses_and_to_loopback() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "app.localhost:8080",
            "127.0.0.1:8080",
            "10.1.2.3",
            "[::1]:8080",
            "[2001:db8::1]",
            "h1:8080",
            "H1",
            "h2:1",
            "lake.example.org:443",
            "master-0.lake.svc:8080",
            "spaced",
        ] {
            assert_eq!(asked(host).as_deref(), Ok(host));
        }
    }

    #[test]
    fn other_names_are_refused_also_those_that_look_like_ours() {
        for host in [
            "attacker.example",
            "attacker.example:8080",
            "localhost.attacker.example",
            "notlocalhost",
            "h1.attacker.example",
            "lake.svc",
            "evillake.svc",
            "127.0.0.1.attacker.example",
            "0x7f.1",
            "2130706433",
            "[::1].attacker.example",
        ] {
            assert!(matches!(asked(host), Err("denied" | "invalid-job")), "{host}");
        }
        for host in ["", "a b", "u@localhost", "localhost/path", "localhost:x", "[::1"] {
            assert_eq!(asked(host), Err("invalid-job"), "{host:?}");
        }
    }

    #[test]
    fn a_request_has_exactly_one_host() {
        assert_eq!(hosts().check(&HeaderMap::new()).unwrap_err().class, ErrorClass::InvalidJob);
        let mut two = HeaderMap::new();
        two.append(HOST, "localhost".parse().unwrap());
        two.append(HOST, "attacker.example".parse().unwrap());
        assert_eq!(hosts().check(&two).unwrap_err().class, ErrorClass::InvalidJob);
    }

    #[test]
    fn a_star_is_every_name_and_this_host_has_one() {
        let headers = HeaderMap::from_iter([(HOST, "any.example".parse().unwrap())]);
        assert!(Hosts::new(["*".to_owned()], |_| false).check(&headers).is_ok());
        assert!(Hosts::new([String::new()], |_| false).check(&headers).is_err());
        assert!(own_host_name().is_some_and(|name| !name.contains(char::is_whitespace)));
    }
}
