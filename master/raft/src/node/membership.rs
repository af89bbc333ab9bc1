//! Changes of members, one at a time, through joint consensus; and how far each member has come.

use lake_proto::{ErrorClass, Fault};
use raft::StateRole;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry, EntryType};

use super::{Error, Node, Reply, answer, busy, not_leader};
use crate::member::{Directory, Member};
use crate::wire;

/// What may happen to the list of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new member gets the log and does not vote yet.
    AddLearner(Member),
    /// A learner votes from now on.
    Promote(Member),
    /// A member is no longer one.
    Remove(u64),
}

impl Change {
    const fn id(&self) -> u64 {
        match self {
            Self::AddLearner(member) | Self::Promote(member) => member.id,
            Self::Remove(id) => *id,
        }
    }
}

/// The group as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// 0 = nobody known.
    pub leader: u64,
    /// raft's term.
    pub term: u64,
    /// Index of the last entry that is on the disks of a majority.
    pub commit: u64,
    /// A change of members is under way.
    pub is_changing: bool,
    /// By number.
    pub members: Vec<GroupMember>,
}

/// One member as the leader sees it; on another member only what is replicated is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Who.
    pub member: Member,
    /// Whether its vote counts.
    pub is_voter: bool,
    /// Index of the last entry known to be on its disk; 0 where this is not known.
    pub matched: u64,
    /// Heard of within an election timeout.
    pub is_active: bool,
}

impl GroupMember {
    /// `leader`, `voter` or `learner`.
    pub const fn role(&self, leader: u64) -> &'static str {
        match self.is_voter {
            _ if self.member.id == leader => "leader",
            true => "voter",
            false => "learner",
        }
    }
}

impl Node {
    /// Proposes a change; it is answered once it is applied here.
    pub(crate) fn propose_change(&mut self, change: &Change, reply: Reply) {
        let raft = &self.raw.raft;
        // A leader does not remove itself: the next one does.
        if *change == Change::Remove(raft.id) {
            self.hand_over();
            return answer(reply, Err(not_leader()));
        }
        if raft.state != StateRole::Leader {
            return answer(reply, Err(not_leader()));
        }
        // raft would replace a second change by an empty entry and say nothing.
        if self.is_changing() {
            let message = "another change of members is under way; try again when it is done";
            return answer(reply, Err(Fault::new(ErrorClass::Conflict, "members-changing", message)));
        }
        let (kind, member) = match change {
            Change::AddLearner(member) => (ConfChangeType::AddLearnerNode, Some(member)),
            Change::Promote(member) => (ConfChangeType::AddNode, Some(member)),
            Change::Remove(_) => (ConfChangeType::RemoveNode, None),
        };
        let mut single = ConfChangeSingle { node_id: change.id(), ..ConfChangeSingle::default() };
        single.set_change_type(kind);
        let mut proposal =
            ConfChangeV2 { changes: vec![single], context: wire::encode_member(member), ..ConfChangeV2::default() };
        proposal.set_transition(ConfChangeTransition::Implicit);
        let id = *uuid::Uuid::new_v4().as_bytes();
        match self.raw.propose_conf_change(id.to_vec(), proposal) {
            Ok(()) => drop(self.waiters.insert(id, reply)),
            Err(error) => answer(reply, Err(busy(&error))),
        }
    }

    pub(super) fn apply_change(&mut self, entry: &Entry) -> Result<(), Error> {
        debug_assert_eq!(entry.entry_type(), EntryType::EntryConfChangeV2, "only changes of the second kind are made");
        let change = wire::decode_change(&entry.data)?;
        self.raw.apply_conf_change(&change)?;
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none() {
            // Removed by an entry of an earlier leader. raft panics on a leader that is not a member.
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
        let added = wire::decode_member(&change.context)?;
        for single in &change.changes {
            match (single.change_type(), &added) {
                (ConfChangeType::RemoveNode, _) => self.members.remove(single.node_id),
                (ConfChangeType::AddNode | ConfChangeType::AddLearnerNode, Some(member)) => {
                    self.members.insert(member.clone());
                }
                (ConfChangeType::AddNode | ConfChangeType::AddLearnerNode, None) => {}
            }
        }
        tracing::info!(index = entry.index, members = ?ids(&self.members), "the members changed");
        self.must_cut = true;
        Ok(())
    }

    /// The group as this member sees it.
    pub(crate) fn group(&self) -> Group {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        let mut members = Vec::new();
        for member in self.members.iter() {
            let progress = raft.prs().get(member.id).filter(|_| leads);
            members.push(GroupMember {
                member: member.clone(),
                is_voter: raft.prs().conf().voters().contains(member.id),
                matched: progress.map_or(0, |progress| progress.matched),
                is_active: member.id == raft.id || progress.is_some_and(|progress| progress.recent_active),
            });
        }
        let is_changing = self.is_changing();
        Group { leader: raft.leader_id, term: raft.term, commit: raft.raft_log.committed, is_changing, members }
    }

    /// From the proposal of a change until both majorities have agreed to leave the old membership.
    fn is_changing(&self) -> bool {
        let raft = &self.raw.raft;
        raft.has_pending_conf() || !raft.prs().conf().to_conf_state().voters_outgoing.is_empty()
    }
}

fn ids(members: &Directory) -> Vec<u64> {
    members.iter().map(|member| member.id).collect()
}
