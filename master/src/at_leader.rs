//! What clients call, for those who come by HTTP to whichever master: the leader does it, here or elsewhere. Edge.

use std::sync::Arc;
use std::time::Duration;

use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::submissions_client::SubmissionsClient;
use lake_proto::v1::submissions_server::Submissions;
use lake_proto::{Fault, v1};
use lake_raft::Role;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Response};

use crate::master::Master;
use crate::rpc::submissions::Service;

/// How long an election may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The leader's service.
pub(crate) enum AtLeader {
    Here(Service),
    There(SubmissionsClient<Channel>),
}

impl AtLeader {
    /// Finds the leader, and waits a little for one.
    ///
    /// # Errors
    /// `unavailable` when nobody leads, or the leader does not answer.
    pub(crate) async fn find(master: &Arc<Master>) -> Result<Self, Fault> {
        let mut status = master.raft.watch();
        // When it is over without one, `check_leader` has the words for it.
        let _ = timeout(PATIENCE, status.wait_for(|status| status.role != Role::NoQuorum)).await;
        match master.raft.leader_address() {
            Some(leader) if master.raft.status().role != Role::Leader => {
                let client = SubmissionsClient::new(connect(&leader).await?);
                Ok(Self::There(client.max_encoding_message_size(MAX_MESSAGE_BYTES)))
            }
            Some(_) | None => {
                master.raft.check_leader()?;
                Ok(Self::Here(Service::new(Arc::clone(master))))
            }
        }
    }

    pub(crate) async fn submit(self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, Fault> {
        let answer = match self {
            Self::Here(service) => service.submit(Request::new(request)).await,
            Self::There(mut client) => client.submit(request).await,
        };
        Ok(answer.map(Response::into_inner)?)
    }

    pub(crate) async fn status(self, id: &str) -> Result<v1::ApplicationStatus, Fault> {
        let request = v1::StatusRequest { id: id.to_owned() };
        let answer = match self {
            Self::Here(service) => service.status(Request::new(request)).await,
            Self::There(mut client) => client.status(request).await,
        };
        Ok(answer.map(Response::into_inner)?)
    }

    pub(crate) async fn kill(self, id: &str) -> Result<v1::ApplicationStatus, Fault> {
        let request = v1::KillRequest { id: id.to_owned() };
        let answer = match self {
            Self::Here(service) => service.kill(Request::new(request)).await,
            Self::There(mut client) => client.kill(request).await,
        };
        Ok(answer.map(Response::into_inner)?)
    }

    pub(crate) async fn kill_all(self) -> Result<v1::KillAllResponse, Fault> {
        let request = v1::KillAllRequest {};
        let answer = match self {
            Self::Here(service) => service.kill_all(Request::new(request)).await,
            Self::There(mut client) => client.kill_all(request).await,
        };
        Ok(answer.map(Response::into_inner)?)
    }

    pub(crate) async fn clear_ended(self) -> Result<v1::ClearEndedResponse, Fault> {
        let request = v1::ClearEndedRequest {};
        let answer = match self {
            Self::Here(service) => service.clear_ended(Request::new(request)).await,
            Self::There(mut client) => client.clear_ended(request).await,
        };
        Ok(answer.map(Response::into_inner)?)
    }
}
