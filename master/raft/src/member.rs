//! Who the masters of a group are. Pure.

use std::collections::BTreeMap;

use lake_proto::v1;
use sha2::{Digest, Sha256};

/// One master as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number, from 1, never given to another disk.
    pub id: u64,
    /// `host:port` of its gRPC server.
    pub address: String,
    /// Made with its data directory; empty while it is not known.
    pub incarnation: String,
}

/// The members by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory(BTreeMap<u64, Member>);

impl Directory {
    /// The members, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.values()
    }

    /// The member with this number.
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.0.get(&id)
    }

    /// Adds a member or changes it.
    pub fn insert(&mut self, member: Member) {
        self.0.insert(member.id, member);
    }

    /// Takes a member out.
    pub fn remove(&mut self, id: u64) {
        self.0.remove(&id);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name of a group founded by these members: the same wherever it is computed, another for other disks.
    pub(crate) fn cluster_id(&self) -> String {
        let mut hash = Sha256::new();
        for member in self.iter() {
            hash.update(member.id.to_be_bytes());
            hash.update(member.incarnation.as_bytes());
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether both list the same numbers at the same addresses.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let addresses = |directory: &Self| -> Vec<(u64, String)> {
            directory.iter().map(|member| (member.id, member.address.clone())).collect()
        };
        addresses(self) == addresses(other)
    }
}

impl FromIterator<Member> for Directory {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        Self(members.into_iter().map(|member| (member.id, member)).collect())
    }
}

impl From<Member> for v1::PeerMember {
    fn from(member: Member) -> Self {
        Self { id: member.id, address: member.address, incarnation: member.incarnation }
    }
}

impl From<v1::PeerMember> for Member {
    fn from(member: v1::PeerMember) -> Self {
        Self { id: member.id, address: member.address, incarnation: member.incarnation }
    }
}
