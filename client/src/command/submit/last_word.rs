//! What is printed of a submission in the end, once, by whoever ends this process: the thread that follows the submission,
//! or the one that watches the lease of a driver in this process. Edge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lake_proto::{Fault, last_word};

use crate::command::print;
use crate::options::Output;
use crate::report::{Failed, Failure, Outcome};

#[derive(Debug, Clone)]
pub(super) struct LastWord {
    output: Output,
    started: Instant,
    is_taken: Arc<AtomicBool>,
}

impl LastWord {
    /// Of a submission that begins now.
    pub(super) fn new(output: Output) -> Self {
        Self { output, started: Instant::now(), is_taken: Arc::default() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Prints how it ended and answers with the exit code.
    pub(super) fn say(&self, outcome: Outcome, failed: Option<&Failed>) -> u8 {
        while !self.take() {
            // The other thread has the word and ends the process with it.
            std::thread::park();
        }
        self.print(outcome, failed)
    }

    /// What is to be done when the lease of the driver in this process is over: prints that and ends the process, from the
    /// thread that finds out, because the others may hang. Nothing when the submission has ended meanwhile.
    pub(super) fn when_the_lease_ends(&self, outcome: &Outcome) -> impl FnOnce(Fault) + Send + 'static + use<> {
        let (word, mut outcome) = (self.clone(), outcome.clone());
        outcome.state = "UNKNOWN".to_owned();
        move |reason| {
            if word.take() {
                let failed = Failed::from(reason);
                last_word::end(failed.first().class.exit_code(), || {
                    word.print(outcome, Some(&failed));
                })
            }
        }
    }

    fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::AcqRel)
    }

    fn print(&self, mut outcome: Outcome, failed: Option<&Failed>) -> u8 {
        if let Some(failed) = failed {
            eprint!("{}", failed.to_text());
            outcome.exit_code = failed.first().class.exit_code();
            outcome.failure = Some(Failure::from(failed));
        }
        let is_planned = outcome.state == "PLANNED";
        if self.output == Output::Json && !is_planned {
            outcome.elapsed_ms = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
            match serde_json::to_string_pretty(&outcome) {
                // The exit code says the same when nobody reads the document.
                Ok(document) => drop(print(&document)),
                Err(error) => eprintln!("error[internal/json]: the outcome has no JSON form: {error}"),
            }
        }
        outcome.exit_code
    }
}

#[cfg(test)]
mod tests {
    use lake_proto::ErrorClass;

    use super::*;
    use crate::options::Options;

    #[test]
    fn a_lease_that_ends_when_the_submission_has_ended_does_not_end_the_process() {
        let options = <Options as clap::Parser>::try_parse_from(["lake-submit", "job.toml"]).unwrap();
        let word = LastWord::new(options.output);
        let lease_ended = word.when_the_lease_ends(&Outcome::before(&options));
        assert_eq!(word.say(Outcome { exit_code: 7, ..Outcome::before(&options) }, None), 7);
        lease_ended(Fault::new(ErrorClass::Unavailable, "lease-expired", "late"));
    }
}
