//! Whether this master is where --peers has the others look for it. Pure, but for [`check`], which looks up a name.
//!
//! What is listed may be mapped to what is bound, by a container or a router, so only what cannot be meant is refused.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lake_proto::Fault;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Config, invalid};

/// A name that takes longer to be found is not judged.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Compares the address that was bound with the one that --peers has for this master.
///
/// # Errors
/// `invalid-job` when the others cannot reach this master there, or another one is to be at its address.
pub(crate) async fn check(config: &Config, bound: SocketAddr) -> Result<(), Fault> {
    let listed = match config.peers.get(config.id).and_then(|listed| split(&listed.address)) {
        Some(address) => addresses_of(address).await,
        None => Vec::new(),
    };
    mistake(config, bound, &listed).map_or(Ok(()), |message| Err(invalid(message)))
}

/// None when the name is not known, or not in time.
async fn addresses_of(address: (&str, u16)) -> Vec<IpAddr> {
    match timeout(LOOKUP_TIMEOUT, lookup_host(address)).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// What is surely wrong; `listed` has the addresses of the listed host, none when they are not known.
fn mistake(config: &Config, bound: SocketAddr, listed: &[IpAddr]) -> Option<String> {
    let (id, port) = (config.id, bound.port());
    let own = format!("--host {} --port {} puts master {id} at {}:{port}", config.host, config.port, config.host);
    let is_bound = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address == bound.ip());
    let is_own_host = |host: &str| host.eq_ignore_ascii_case(bare(&config.host)) || is_bound(host);
    let is_own = |address: &str| split(address).is_some_and(|(host, other)| other == port && is_own_host(host));
    if let Some(other) = config.peers.iter().find(|peer| peer.id != id && is_own(&peer.address)) {
        return Some(format!(
            "{own}, but --peers lists {} as master {}: give each master its own --id and address",
            other.address, other.id
        ));
    }
    let address = &config.peers.get(id)?.address;
    let (host, listed_port) = split(address)?;
    if bound.ip().is_unspecified() {
        return None;
    }
    if listed_port != port && (is_own_host(host) || listed.contains(&bound.ip())) {
        return Some(format!(
            "{own}, but --peers lists it at {address}, where nobody would find it: give both the same port, or --host \
             0.0.0.0 when the listed port is mapped to this one"
        ));
    }
    if bound.ip().is_loopback() && !listed.is_empty() && !listed.iter().any(IpAddr::is_loopback) {
        return Some(format!(
            "{own}, which only this host reaches, but --peers lists it at {address}: give --host {host}, or 0.0.0.0"
        ));
    }
    None
}

/// Host, without brackets, and port.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((bare(host), port.parse().ok()?))
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use lake_proto::ErrorClass;
    use lake_raft::Member;

    use super::*;

    fn config(id: u64, host: &str, port: u16, peers: &[&str]) -> Config {
        let members = peers.iter().zip(1..).map(|(address, id)| {
            let address = (*address).to_owned();
            Member { id, address, incarnation: String::new() }
        });
        Config { id, host: host.to_owned(), port, peers: members.collect(), ..Config::default() }
    }

    /// The mistake of master 1 of two, which is listed at `listed` with the address 10.0.0.1.
    fn found(host: &str, bound: &str, listed: &str) -> Option<String> {
        let bound: SocketAddr = bound.parse().unwrap();
        let config = config(1, host, bound.port(), &[listed, "h2:7077"]);
        mistake(&config, bound, &["10.0.0.1".parse().unwrap()])
    }

    #[test]
    fn a_master_may_be_listed_where_it_is_bound_or_where_that_may_be_mapped_from() {
        for (host, bound, listed) in [
            ("h1", "10.0.0.1:7077", "h1:7077"),
            ("H1", "10.0.0.1:7077", "h1:7077"),
            ("10.0.0.1", "10.0.0.1:7077", "h1:7077"),
            // Every address, behind a mapped port or not.
            ("0.0.0.0", "0.0.0.0:7077", "h1:7077"),
            ("0.0.0.0", "0.0.0.0:7077", "h1:17077"),
            ("[::]", "[::]:7077", "h1:7077"),
            // Another network of the same host, or a router before it.
            ("192.168.0.1", "192.168.0.1:7077", "h1:7077"),
            ("192.168.0.1", "192.168.0.1:7078", "h1:7077"),
            // As the name of the host is often found on itself.
            ("h1", "127.0.1.1:7077", "127.0.1.1:7077"),
            ("[::1]", "[::1]:7077", "[::1]:7077"),
        ] {
            let listed_there = listed.starts_with("127.") || listed.starts_with('[');
            let bound: SocketAddr = bound.parse().unwrap();
            let addresses = if listed_there { vec![bound.ip()] } else { vec!["10.0.0.1".parse().unwrap()] };
            let config = config(1, host, bound.port(), &[listed, "h2:7077"]);
            assert_eq!(mistake(&config, bound, &addresses), None, "{host} {bound} {listed}");
        }
    }

    #[test]
    fn a_master_that_is_surely_not_where_it_is_listed_is_told_both_addresses() {
        for (host, bound, listed, expected) in [
            ("h1", "10.0.0.1:7078", "h1:7077", "--port 7078 puts master 1 at h1:7078, but --peers lists it at h1:7077"),
            ("10.0.0.1", "10.0.0.1:7078", "h1:7077", "at 10.0.0.1:7078, but --peers lists it at h1:7077"),
            ("127.0.0.1", "127.0.0.1:7077", "h1:7077", "only this host reaches, but --peers lists it at h1:7077"),
            ("h2", "10.0.0.2:7077", "h1:7077", "at h2:7077, but --peers lists h2:7077 as master 2"),
        ] {
            let message = found(host, bound, listed).unwrap_or_default();
            assert!(message.contains(expected), "{host} {bound} {listed}: {message}");
        }
        let message = mistake(&config(1, "h1", 0, &["h1:7077"]), "10.0.0.1:43127".parse().unwrap(), &[]);
        assert!(message.unwrap().contains("--port 0 puts master 1 at h1:43127"), "any port is not the listed one");
    }

    #[test]
    fn a_master_that_joins_at_the_address_of_another_one_is_refused() {
        let joining = |host| Config { join: true, ..config(4, host, 7077, &["h1:7077", "10.0.0.2:7077"]) };
        assert_eq!(mistake(&joining("h4"), "10.0.0.4:7077".parse().unwrap(), &[]), None);
        let message = mistake(&joining("h2"), "10.0.0.2:7077".parse().unwrap(), &[]).unwrap();
        assert!(message.contains("lists 10.0.0.2:7077 as master 2"), "{message}");
    }

    #[tokio::test]
    async fn names_are_looked_up_and_one_that_is_not_known_is_not_judged() {
        let bound = "127.0.0.1:7078".parse().unwrap();
        let fault = check(&config(1, "127.0.0.1", 7078, &["localhost:7077"]), bound).await.unwrap_err();
        assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "config"));
        assert!(fault.message.contains("lists it at localhost:7077"), "{fault}");
        check(&config(1, "127.0.0.1", 7078, &["localhost:7078"]), bound).await.unwrap();
        check(&config(1, "127.0.0.1", 7078, &["no-such-host.invalid:7077"]), bound).await.unwrap();
        check(&Config::default(), bound).await.unwrap();
    }
}
