//! The driver: runs a pipeline's steps in the order of what they read, and is the only one that commits. Edge.
//!
//! Rooms: `run` (which step next), `step` (one step from inputs to commit), `target` (where it writes), `expectations`
//! (what it demands of its rows), `record` (what is kept of it), `details` (what is told of it for the record of the run),
//! `inputs` (what a step's SQL can name), `planning` (logical to physical), `gathering` (whether rows are brought together
//! by partition), `attached` (under a master) with `masters` (the way to them), `lease` (how long it may believe to be the
//! driver) and `settle` (what became of commits that nobody can be asked about), `local` (alone), [`dry_run`] and [`show`]
//! (reads only), `lineage` (what catalogues are told) and `spans` (what traces are).

mod attached;
mod details;
mod dry_run;
mod expectations;
mod gathering;
mod inputs;
mod lease;
mod lineage;
mod local;
mod masters;
mod planning;
mod record;
mod run;
mod settle;
mod show;
mod spans;
mod step;
mod target;

pub use attached::{DriverArgs, run_attached};
pub use dry_run::{DryRun, DryStep, dry_run};
pub use local::{LocalOptions, run_local};
pub use masters::Masters;
pub(crate) use masters::Turn;
pub use planning::{estimated_scan_bytes, physical_plan};
pub use show::{Shown, show};

#[cfg(test)]
mod tests;
