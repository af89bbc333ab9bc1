//! Whether this master leads in the eyes of a majority, asked once for everybody who wants to know at the same time. Edge.
//!
//! A leader that was cut off, or stopped, takes itself for the leader for a while. What a driver may rely on, such as its
//! lease, is told only by one that a majority has confirmed after the driver asked.

use std::sync::atomic::{AtomicU64, Ordering};

use lake_proto::Fault;
use lake_raft::Raft;
use tokio::sync::Mutex;

/// Questions to the other masters, one after the other.
pub(crate) struct Confirmation {
    /// Number of the last question that has begun.
    begun: AtomicU64,
    /// The last one that has ended; whoever holds it asks.
    turn: Mutex<Answered>,
}

struct Answered {
    number: u64,
    answer: Result<(), Fault>,
}

impl Confirmation {
    pub(crate) fn new() -> Self {
        Self { begun: AtomicU64::new(0), turn: Mutex::new(Answered { number: 0, answer: Ok(()) }) }
    }

    /// Waits until a question that begins after this call is answered. Callers that wait at the same time share one, so
    /// that there is never more than one under way, however many drivers ask.
    ///
    /// # Errors
    /// `unavailable` when this master does not lead, or no majority confirms it.
    pub(crate) async fn ask(&self, raft: &Raft) -> Result<(), Fault> {
        raft.check_leader()?;
        self.share(raft.catch_up()).await?;
        // The question may have been answered by another leader, through this one.
        raft.check_leader()
    }

    /// `question` begins when it is its turn, or is not asked at all.
    async fn share(&self, question: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
        // The one under way may have been confirmed before this call: the next one counts.
        let wanted = self.begun.load(Ordering::Acquire).saturating_add(1);
        let mut last = self.turn.lock().await;
        if last.number >= wanted {
            return last.answer.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let answer = question.await;
        *last = Answered { number, answer: answer.clone() };
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use lake_proto::ErrorClass;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn callers_that_wait_together_share_one_question_which_begins_after_they_came() {
        let confirmation = Confirmation::new();
        let parts = (AtomicU32::new(0), Notify::new(), Notify::new());
        let (asked, first_is_asked, answer) = (&parts.0, &parts.1, &parts.2);
        let question = move |is_slow: bool| async move {
            asked.fetch_add(1, Ordering::SeqCst);
            if is_slow {
                first_is_asked.notify_one();
                answer.notified().await;
            }
            Ok::<(), Fault>(())
        };
        let first = confirmation.share(question(true));
        let others = async {
            first_is_asked.notified().await;
            // The first one's question has begun before these come: they need another one, and share it.
            let three = futures::future::join_all((0..3).map(|_| confirmation.share(question(false))));
            let release = async { answer.notify_one() };
            tokio::join!(three, release).0
        };
        let (first, others) = tokio::join!(first, others);
        first.unwrap();
        assert!(others.iter().all(Result::is_ok));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_refusal_is_shared_and_the_next_caller_asks_again() {
        let confirmation = Confirmation::new();
        let refused = Fault::new(ErrorClass::Unavailable, "no-quorum", "m");
        let answer = confirmation.share(std::future::ready(Err(refused.clone()))).await;
        assert_eq!(answer, Err(refused));
        assert_eq!(confirmation.share(std::future::ready(Ok(()))).await, Ok(()));
    }
}
