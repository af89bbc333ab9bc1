//! What operators do to a group: look at it, add a member, remove one. Edge. Adding twice is harmless.

use std::time::Duration;

use lake_proto::{ErrorClass, Fault, codes};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::founding::hello;
use crate::member::Member;
use crate::node::{Change, Group};
use crate::thread::Request;
use crate::{PROPOSAL_TIMEOUT, Raft, agreed, no_quorum, stopping};

/// How long a new member may take to get the log.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A member this close to the end of the log votes without delaying commits.
const CAUGHT_UP_ENTRIES: u64 = 100;

impl Raft {
    /// The group as this member sees it; progress is known to the leader only.
    ///
    /// # Errors
    /// `unavailable` when the member is stopping.
    pub async fn group(&self) -> Result<Group, Fault> {
        let (reply, answer) = oneshot::channel();
        self.put(Request::Group { reply })?;
        match timeout(PROPOSAL_TIMEOUT, answer).await {
            Ok(group) => group.map_err(|_| stopping()),
            Err(_) => Err(no_quorum()),
        }
    }

    /// Adds the master at `address`, which was started with `--join` and the number `id`: as a learner, and as a voter
    /// once it has the log. Adding a member again changes nothing.
    ///
    /// # Errors
    /// `unavailable` when this member does not lead, or the new one does not answer (within two seconds, code
    /// [`codes::NO_ANSWER`]) or catch up; `conflict` when the number is in use or another change is under way; `invalid-job` when another master answers at `address`.
    pub async fn add_member(&self, id: u64, address: &str) -> Result<Group, Fault> {
        self.check_leader()?;
        let group = self.group().await?;
        if let Some(known) = group.members.iter().find(|known| known.member.id == id && known.member.address != address)
        {
            let message = format!("number {id} is the master at {}, not one at {address}", known.member.address);
            return Err(Fault::new(ErrorClass::Conflict, "member-exists", message));
        }
        let me = self.members().get(self.status().leader).cloned();
        let me =
            me.ok_or_else(|| Fault::new(ErrorClass::Internal, "internal", "the leader is not among the members"))?;
        let answer = hello(&me, &self.members(), address).await.map_err(|fault| not_added(id, address, fault))?;
        let identity = answer.identity.unwrap_or_default();
        if identity.id != id {
            let message = format!("master {} answers at {address}, expected master {id}", identity.id);
            return Err(Fault::new(ErrorClass::InvalidJob, "wrong-peer", message));
        }
        let member = Member { id, address: address.to_owned(), incarnation: identity.incarnation };
        let known = group.members.iter().find(|known| known.member.id == id);
        match known {
            Some(known) if known.member.incarnation != member.incarnation => {
                let message = format!(
                    "number {id} belongs to a master with another data directory; start the new one with an --id that was \
                     never used, and remove {id}"
                );
                return Err(Fault::new(ErrorClass::Conflict, "member-exists", message));
            }
            Some(known) if known.is_voter => return Ok(group),
            Some(_) => {}
            None => self.change(Change::AddLearner(member.clone())).await?,
        }
        self.wait_for_log(id).await?;
        self.change(Change::Promote(member)).await?;
        self.group().await
    }

    /// Takes a member out of the group.
    ///
    /// # Errors
    /// `unavailable` when this member does not lead; `not-found` when the group has no such member; `conflict` when it is
    /// the last voter, or another change is under way.
    pub async fn remove_member(&self, id: u64) -> Result<Group, Fault> {
        self.check_leader()?;
        let group = self.group().await?;
        let found = group.members.iter().find(|member| member.member.id == id).ok_or_else(|| {
            let message = format!("the group has no master {id}; 'lake-master members list' shows its members");
            Fault::new(ErrorClass::NotFound, "no-such-member", message)
        })?;
        let voters = group.members.iter().filter(|member| member.is_voter).count();
        if found.is_voter && voters == 1 {
            let message = format!("master {id} is the only voter; a group needs one");
            return Err(Fault::new(ErrorClass::Conflict, "last-voter", message));
        }
        self.change(Change::Remove(id)).await?;
        self.group().await
    }

    /// One change at a time, and to its end: a joint membership is left before the next one is asked for.
    async fn change(&self, change: Change) -> Result<(), Fault> {
        self.wait_for_change().await?;
        let (reply, answer) = oneshot::channel();
        self.put(Request::Change { change, reply })?;
        agreed(answer).await?;
        self.wait_for_change().await
    }

    async fn wait_for_change(&self) -> Result<(), Fault> {
        let deadline = Instant::now() + PROPOSAL_TIMEOUT;
        while self.group().await?.is_changing {
            if Instant::now() >= deadline {
                return Err(no_quorum());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn wait_for_log(&self, id: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            self.check_leader()?;
            let group = self.group().await?;
            let matched = group.members.iter().find(|member| member.member.id == id).map_or(0, |found| found.matched);
            if matched > 0 && matched.saturating_add(CAUGHT_UP_ENTRIES) >= group.commit {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message = format!(
                    "master {id} did not get the log within {} s and stays a learner; add it again when it is reachable",
                    CATCH_UP_TIMEOUT.as_secs()
                );
                return Err(Fault::new(ErrorClass::Unavailable, codes::NO_ANSWER, message));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Nobody at the address of a new member is no reason to ask this leader again, as its other silences are.
fn not_added(id: u64, address: &str, fault: Fault) -> Fault {
    if fault.class != ErrorClass::Unavailable {
        return fault.within(format!("master {id} at {address}"));
    }
    let message = format!(
        "master {id} is not added, because none answers at {address} ({fault}); start it with --join and --id {id}, and \
         check the address"
    );
    Fault::new(ErrorClass::Unavailable, codes::NO_ANSWER, message)
}
