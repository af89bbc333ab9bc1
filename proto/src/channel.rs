//! The one way to open a connection between our processes. Edge.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::codes;
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
/// `unavailable` when no master answers within `patience`, or the leader says so for as long; what it refuses, and at
/// once [`codes::NO_ANSWER`], which is about another one.
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
        let may_pass = fault.class == ErrorClass::Unavailable && fault.code != codes::NO_ANSWER;
        if !may_pass || Instant::now() >= deadline {
            return Err(fault);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;
    use tonic::{Request, async_trait};

    use super::*;
    use crate::v1::members_client::MembersClient;
    use crate::v1::members_server::{Members, MembersServer};
    use crate::v1::{AddMemberRequest, MemberList, MembersRequest, RemoveMemberRequest};

    /// A leader that counts its calls.
    #[derive(Clone, Default)]
    struct Leader(Arc<AtomicU32>);

    #[async_trait]
    impl Members for Leader {
        async fn list(&self, _: Request<MembersRequest>) -> Result<Response<MemberList>, Status> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Fault::new(ErrorClass::Unavailable, "no-quorum", "not now").into()),
                _ => Ok(Response::new(MemberList::default())),
            }
        }

        async fn add(&self, _: Request<AddMemberRequest>) -> Result<Response<MemberList>, Status> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(Fault::new(ErrorClass::Unavailable, codes::NO_ANSWER, "none answers at h4:7077").into())
        }

        async fn remove(&self, _: Request<RemoveMemberRequest>) -> Result<Response<MemberList>, Status> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(Fault::new(ErrorClass::Conflict, "last-voter", "the only voter").into())
        }
    }

    #[tokio::test]
    async fn a_leader_is_asked_again_for_what_may_pass_and_once_for_what_does_not_answer_elsewhere() {
        const PATIENCE: Duration = Duration::from_secs(60);
        let leader = Leader::default();
        let calls = || leader.0.swap(0, Ordering::SeqCst);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("lake://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        let service = MembersServer::new(leader.clone());
        server.spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        let mut masters = Addresses::of(&url).unwrap();

        let list = async |channel: Channel| MembersClient::new(channel).list(MembersRequest {}).await;
        ask_leader(&mut masters, PATIENCE, list).await.unwrap();
        assert_eq!(calls(), 2);
        let add = async |channel: Channel| MembersClient::new(channel).add(AddMemberRequest::default()).await;
        let fault = ask_leader(&mut masters, PATIENCE, add).await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.message.as_str()), (codes::NO_ANSWER, "none answers at h4:7077"));
        assert_eq!(calls(), 1);
        let remove = async |channel: Channel| MembersClient::new(channel).remove(RemoveMemberRequest::default()).await;
        assert_eq!(ask_leader(&mut masters, PATIENCE, remove).await.unwrap_err().code, "last-voter");
        assert_eq!(calls(), 1);
    }

    #[test]
    fn master_urls_list_addresses_under_both_schemes() {
        assert_eq!(master_addresses("lake://a:1,b:2").unwrap(), ["a:1", "b:2"]);
        assert_eq!(master_addresses("spark://a:1").unwrap(), ["a:1"]);
        for url in ["a:1", "http://a:1", "lake://a", "lake://", "lake://a:1,", "lake://a:x"] {
            assert_eq!(master_addresses(url).unwrap_err().class, ErrorClass::InvalidJob, "{url}");
        }
    }
}
