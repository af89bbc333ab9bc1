//! Progress of a submission, on standard error: a tree on a terminal, lines elsewhere. Edge.
//!
//! Never here: what the progress means; it comes ready from the driver.

mod lines;
mod remembered;
mod text;
mod tree;

use std::time::Duration;

use lake_proto::v1::{ApplicationStatus, StepProgress};

use crate::options::Terminal;
use crate::order::Order;

pub(crate) use remembered::Told;

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

/// The view for this process's standard error; steps come in this order.
pub(crate) fn open(verbose: bool, terminal: Terminal, order: Order) -> Box<dyn View> {
    match terminal {
        Terminal::Redrawn { coloured } if !verbose => Box::new(tree::Tree::new(coloured, order)),
        Terminal::Redrawn { .. } | Terminal::Appended => Box::new(lines::Lines::new(std::io::stderr(), order)),
    }
}
