//! The edge of the stage machine: plans come in from drivers, tasks go out to workers, statuses come back.
//!
//! Lives here: cutting plans with Ballista's planner, resolving shuffle reads from done tasks, encoding tasks, the
//! links to the workers, the watchdog, progress, the read-out for the UI, the account of queries for their records. Never
//! here: which task runs where and what a failure means (`lake-scheduler-core`), raft, submissions. Edge.
//!
//! One task owns all state (the `owner` module); [`Scheduler`] is the handle to it.
//!
//! # What a worker gets
//! * [`PrepareQuery`](lake_proto::v1::PrepareQuery) once per query and stream, before the first task of the query.
//!   It may come again after the stream was opened anew and must then change nothing.
//! * [`LaunchTask`](lake_proto::v1::LaunchTask), whose `plan` is bytes of [`lake_engine::codec::encode_plan`],
//!   restricted to the task's slice, with shuffle readers in place of what other stages wrote:
//!   - `is_result = false`: the root is a shuffle writer (`ShuffleWriterExec` or `SortShuffleWriterExec`) without a
//!     work dir. `ballista_executor::execution_engine::DefaultExecutionEngine::create_query_stage_exec` takes exactly
//!     this plan, with job = query id, task id = attempt, and `output_partitions` as the global partition ids.
//!   - `is_result = true`: the plan under the writer, without one. Every output partition of it is executed and the
//!     rows are the answer. Shuffle readers in it need `with_work_dir` and `with_client_pool`.
//!
//!   Its `lineage` is kept beside the attempt and given back in [`Held`](lake_proto::v1::Held), which each leader is told
//!   first: so it goes on with queries of an earlier one (the `stash` module, [`Scheduler::attach_query`]).
//! * `CancelTask` for an attempt that is not wanted, also for one that the worker does not know: it answers
//!   `cancelled`, or says nothing and the watchdog frees the cores.
//! * `DropQuery` when nothing of the query is needed or running any more.
//!
//! A fetch failure must name the worker id found in the `executor_meta.id` of the location, and the map stage.
#![warn(missing_docs)]

mod choice;
mod clock;
mod compute;
mod cut;
mod entry;
mod handle;
mod launch;
mod links;
mod operators;
mod overview;
mod owner;
mod pace;
mod plan;
mod progress;
mod services;
mod settings;
mod spans;
mod spent;
mod stash;
mod status;
mod uncuttable;

pub use handle::{Scheduler, WorkerInfo};
/// Version of the plan codec that drivers, masters and workers must share.
pub use lake_engine::codec::VERSION as CODEC_VERSION;
pub use overview::{Overview, QueryOverview, WorkerOverview};
pub use settings::SchedulerSettings;

#[cfg(test)]
mod tests;
