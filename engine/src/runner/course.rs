//! The way of one query over changes of the leading master: attached to the next one, sent afresh, given up. Pure.
//!
//! Nothing of a query is visible before the driver's commit, so sending it afresh is always right, and attaching it saves
//! what was done.

use std::time::Duration;

use lake_proto::QueryId;
use lake_proto::v1::{QueryAccepted, RetriesSpent};

/// Masters that may be lost one after the other while they run a query under one id.
const MAX_LOSSES: u32 = 16;
/// Times a query is sent afresh after a master that ran it was lost.
pub(super) const MAX_RESUBMISSIONS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Where a query stands.
#[derive(Debug)]
pub(super) struct Course {
    id: QueryId,
    replaces: Option<QueryId>,
    /// What the master that took the query said of it.
    accepted: Option<QueryAccepted>,
    /// What it has used up of its budgets, as a master told it last.
    spent: Option<RetriesSpent>,
    losses: u32,
    /// Calls to attach this id, answered or not: a master that took one and was lost may have started attempts.
    attachments: u32,
    resubmissions: u32,
}

/// What to ask of the next master.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    /// Run the query.
    Submit { id: QueryId, replaces: Option<QueryId> },
    /// Go on with it.
    Attach { id: QueryId, accepted: QueryAccepted, attachment: u32, spent: Option<RetriesSpent> },
}

/// Whether it is worth another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// After this time.
    Again(Duration),
    /// Too many masters were lost over it.
    Hopeless,
}

impl Course {
    pub(super) const fn new(id: QueryId) -> Self {
        Self { id, replaces: None, accepted: None, spent: None, losses: 0, attachments: 0, resubmissions: 0 }
    }

    pub(super) const fn id(&self) -> &QueryId {
        &self.id
    }

    /// Says what is asked next. Every answer that is not an end goes to one of the other methods.
    pub(super) fn next_call(&mut self) -> Call {
        let id = self.id.clone();
        match self.accepted.filter(|_| self.losses > 0) {
            Some(accepted) => {
                self.attachments += 1;
                Call::Attach { id, accepted, attachment: self.attachments, spent: self.spent.clone() }
            }
            None => Call::Submit { id, replaces: self.replaces.clone() },
        }
    }

    /// A master runs the query.
    pub(super) fn taken(&mut self, accepted: QueryAccepted) {
        self.accepted = Some(accepted);
    }

    /// The master that runs the query says what of its budgets is used up; nothing when it does not say.
    pub(super) fn told(&mut self, spent: Option<RetriesSpent>) {
        self.spent = spent.or_else(|| self.spent.take());
    }

    /// A master that ran the query, or was about to, is lost.
    pub(super) fn lost(&mut self, fresh: QueryId) -> Outlook {
        self.losses += 1;
        if self.accepted.is_some() && self.losses <= MAX_LOSSES { Outlook::Again(PAUSE) } else { self.afresh(fresh) }
    }

    /// No master has answered the call, or one that does not lead. Whether one has taken it nobody knows.
    pub(super) fn unanswered(&mut self, fresh: QueryId) -> Outlook {
        if self.accepted.is_none() {
            let before = std::mem::replace(&mut self.id, fresh);
            self.replaces.get_or_insert(before);
        }
        Outlook::Again(PAUSE)
    }

    /// The leading master cannot go on with the query.
    pub(super) fn refused(&mut self, fresh: QueryId) -> Outlook {
        self.afresh(fresh)
    }

    fn afresh(&mut self, fresh: QueryId) -> Outlook {
        self.resubmissions += 1;
        if self.resubmissions > MAX_RESUBMISSIONS {
            return Outlook::Hopeless;
        }
        self.replaces = Some(std::mem::replace(&mut self.id, fresh));
        // Another query: it may be cut otherwise, and begins with whole budgets.
        (self.accepted, self.spent, self.losses, self.attachments) = (None, None, 0, 0);
        Outlook::Again(PAUSE * (1 << (self.resubmissions - 1)))
    }
}

#[cfg(test)]
mod tests {
    use lake_proto::v1::TaskFailures;

    use super::*;

    const CUT: QueryAccepted = QueryAccepted { total_cores: 4, largest_cores: 2, digest: 9 };

    fn id(number: u32) -> QueryId {
        format!("q{number}").parse().unwrap()
    }

    fn submit(number: u32, replaces: Option<u32>) -> Call {
        Call::Submit { id: id(number), replaces: replaces.map(id) }
    }

    fn attach(number: u32, attachment: u32) -> Call {
        Call::Attach { id: id(number), accepted: CUT, attachment, spent: None }
    }

    fn spent(failures: u32) -> Option<RetriesSpent> {
        let task_failures = vec![TaskFailures { stage_id: 1, task_index: 0, failures }];
        Some(RetriesSpent { worker_losses: vec![], task_failures })
    }

    #[test]
    fn a_query_is_attached_under_its_id_and_every_call_has_another_number() {
        let mut course = Course::new(id(1));
        assert_eq!(course.next_call(), submit(1, None));
        course.taken(CUT);
        assert_eq!(course.lost(id(2)), Outlook::Again(PAUSE));
        assert_eq!(course.next_call(), attach(1, 1));
        assert_eq!(course.unanswered(id(3)), Outlook::Again(PAUSE));
        assert_eq!(course.next_call(), attach(1, 2));
        course.taken(CUT);
        course.lost(id(4));
        assert_eq!(course.next_call(), attach(1, 3));
    }

    #[test]
    fn what_a_query_has_used_up_goes_with_it_to_every_leader_and_not_into_a_fresh_query() {
        let mut course = Course::new(id(1));
        course.next_call();
        course.taken(CUT);
        course.told(spent(1));
        course.told(spent(2));
        // The end of the query, or a master of an earlier release.
        course.told(None);
        course.lost(id(2));
        let goes_on = |attachment| Call::Attach { id: id(1), accepted: CUT, attachment, spent: spent(2) };
        assert_eq!(course.next_call(), goes_on(1));
        course.unanswered(id(3));
        assert_eq!(course.next_call(), goes_on(2));
        course.refused(id(4));
        course.next_call();
        course.taken(CUT);
        course.lost(id(5));
        assert_eq!(course.next_call(), attach(4, 1));
    }

    #[test]
    fn a_query_that_cannot_be_attached_is_sent_afresh_in_place_of_the_old_one() {
        let mut course = Course::new(id(1));
        course.taken(CUT);
        course.lost(id(2));
        course.next_call();
        assert_eq!(course.refused(id(3)), Outlook::Again(PAUSE));
        assert_eq!(course.next_call(), submit(3, Some(1)));
        course.unanswered(id(4));
        assert_eq!(course.next_call(), submit(4, Some(1)), "it is the first one that workers may have something of");
        course.taken(CUT);
        course.lost(id(5));
        assert_eq!(course.next_call(), attach(4, 1));
    }

    #[test]
    fn a_submission_without_an_answer_is_repeated_under_another_id() {
        let mut course = Course::new(id(1));
        course.unanswered(id(2));
        assert_eq!(course.next_call(), submit(2, Some(1)));
    }

    #[test]
    fn a_query_is_sent_afresh_a_few_times_at_growing_distances_and_then_given_up() {
        let mut course = Course::new(id(1));
        let pauses: Vec<Outlook> = (2..).map(|number| course.lost(id(number))).take(6).collect();
        let mut expected = [1, 2, 4, 8, 16].map(|factor| Outlook::Again(PAUSE * factor)).to_vec();
        expected.push(Outlook::Hopeless);
        assert_eq!(pauses, expected);
    }

    #[test]
    fn one_id_does_not_outlive_every_number_of_masters() {
        let mut course = Course::new(id(1));
        course.taken(CUT);
        for _ in 0..MAX_LOSSES {
            course.lost(id(2));
            assert!(matches!(course.next_call(), Call::Attach { .. }));
        }
        course.lost(id(3));
        assert_eq!(course.next_call(), submit(3, Some(1)));
    }
}
