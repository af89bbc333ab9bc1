//! What operators ask of the group of masters. Edge.

use std::sync::Arc;

use lake_proto::v1;
use lake_proto::v1::members_server::Members;
use lake_raft::Group;
use tonic::{Request, Response, Status};

use super::invalid;
use crate::master::Master;

pub(super) struct Service {
    master: Arc<Master>,
}

impl Service {
    pub(super) const fn new(master: Arc<Master>) -> Self {
        Self { master }
    }
}

#[tonic::async_trait]
impl Members for Service {
    async fn list(&self, _request: Request<v1::MembersRequest>) -> Result<Response<v1::MemberList>, Status> {
        self.master.raft.check_leader()?;
        Ok(Response::new(list(self.master.raft.group().await?)))
    }

    async fn add(&self, request: Request<v1::AddMemberRequest>) -> Result<Response<v1::MemberList>, Status> {
        let request = request.into_inner();
        if request.id == 0 || request.address.is_empty() {
            return Err(invalid("a member has a number from 1 and an address".to_owned()).into());
        }
        Ok(Response::new(list(self.master.raft.add_member(request.id, &request.address).await?)))
    }

    async fn remove(&self, request: Request<v1::RemoveMemberRequest>) -> Result<Response<v1::MemberList>, Status> {
        Ok(Response::new(list(self.master.raft.remove_member(request.get_ref().id).await?)))
    }
}

fn list(group: Group) -> v1::MemberList {
    let leader = group.leader;
    let member = |found: lake_raft::GroupMember| v1::Member {
        id: found.member.id,
        role: found.role(leader).to_owned(),
        address: found.member.address,
        matched: found.matched,
        is_active: found.is_active,
    };
    v1::MemberList {
        leader,
        term: group.term,
        commit: group.commit,
        members: group.members.into_iter().map(member).collect(),
    }
}
