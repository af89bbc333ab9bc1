//! Progress of a submission, on standard error: a tree on a terminal, lines elsewhere.
//!
//! Never here: what the progress means; it comes ready from the driver.

mod lines;
mod text;
mod tree;

use std::io::IsTerminal;
use std::time::Duration;

use lake_proto::v1::{ApplicationStatus, StepProgress};

/// Shows what happens.
pub(crate) trait View {
    /// Something worth saying once.
    fn note(&mut self, text: &str);

    /// The submission's state; a repeat of the same state shows nothing.
    fn application(&mut self, status: &ApplicationStatus);

    /// Steps that may have changed.
    fn steps(&mut self, steps: &[StepProgress]);

    /// The end: `state` after `elapsed`. Nothing is shown afterwards.
    fn close(&mut self, name: &str, state: &str, elapsed: Duration);
}

/// The view for this process's standard error.
pub(crate) fn open(verbose: bool) -> Box<dyn View> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stderr().is_terminal() && !verbose && !dumb {
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Box::new(tree::Tree::new(coloured))
    } else {
        Box::new(lines::Lines::new(std::io::stderr()))
    }
}
