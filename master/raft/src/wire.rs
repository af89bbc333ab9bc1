//! raft's own types as bytes. Pure. Its generated types carry prost 0.11, ours 0.14; nobody else needs to know.

use raft::eraftpb::{ConfChangeV2, ConfState, Message};

use crate::member::{Directory, Member};
use lake_proto::v1;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("{0} cannot be decoded")]
pub(crate) struct Undecodable(pub(crate) &'static str);

pub(crate) fn encode(message: &Message) -> Vec<u8> {
    raft_prost::Message::encode_to_vec(message)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Message, Undecodable> {
    <Message as raft_prost::Message>::decode(bytes).map_err(|_| Undecodable("a raft message"))
}

pub(crate) fn decode_change(bytes: &[u8]) -> Result<ConfChangeV2, Undecodable> {
    <ConfChangeV2 as raft_prost::Message>::decode(bytes).map_err(|_| Undecodable("a change of members"))
}

pub(crate) fn encode_membership(members: &ConfState) -> Vec<u8> {
    raft_prost::Message::encode_to_vec(members)
}

pub(crate) fn decode_membership(bytes: &[u8]) -> Result<ConfState, Undecodable> {
    <ConfState as raft_prost::Message>::decode(bytes).map_err(|_| Undecodable("the membership"))
}

/// What a change of members adds, in the change's context; empty for a removal.
pub(crate) fn encode_member(member: Option<&Member>) -> Vec<u8> {
    member.map_or_else(Vec::new, |member| prost::Message::encode_to_vec(&v1::PeerMember::from(member.clone())))
}

pub(crate) fn decode_member(bytes: &[u8]) -> Result<Option<Member>, Undecodable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let member = <v1::PeerMember as prost::Message>::decode(bytes).map_err(|_| Undecodable("a member"))?;
    Ok(Some(member.into()))
}

/// The directory and the state machine as they travel in a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotData {
    #[prost(message, repeated, tag = "1")]
    pub(crate) members: Vec<v1::PeerMember>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) state: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DirectoryRecord {
    #[prost(message, repeated, tag = "1")]
    members: Vec<v1::PeerMember>,
}

pub(crate) fn records(directory: &Directory) -> Vec<v1::PeerMember> {
    directory.iter().cloned().map(Into::into).collect()
}

pub(crate) fn directory(members: Vec<v1::PeerMember>) -> Directory {
    members.into_iter().map(Member::from).collect()
}

pub(crate) fn encode_directory(members: &Directory) -> Vec<u8> {
    prost::Message::encode_to_vec(&DirectoryRecord { members: records(members) })
}

pub(crate) fn decode_directory(bytes: &[u8]) -> Result<Directory, Undecodable> {
    let record = <DirectoryRecord as prost::Message>::decode(bytes).map_err(|_| Undecodable("the member list"))?;
    Ok(directory(record.members))
}
