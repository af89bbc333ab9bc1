//! The worker: one daemon per host that runs tasks for all applications, serves their shuffle data, and starts
//! drivers as child processes. Edge.
//!
//! Rooms: [`config`] (flags, environment, file), [`daemon`] (binds the ports and owns start and end), [`registration`]
//! (the stream to the leading master and the outbox behind it), [`tasks`] (queries, attempts, compute threads),
//! [`flight`] (shuffle files and results to readers), [`fence`] (which drivers were replaced), [`drivers`] (child
//! processes), [`logs`] (their output, to masters), [`workdir`] (what lies on disk and when it goes), [`http`] (page,
//! health, metrics), [`drain`] (leaving when nothing here is needed), [`driver_mode`] (`lake-worker driver …`, the
//! child's side), [`drain_command`] (`lake-worker drain …`, the operator's side), [`program`] (which of them is run).
//! Never here: planning, commits, decisions about placement.

pub mod config;
pub mod daemon;
pub mod drain;
pub mod drain_command;
pub mod driver_mode;
pub mod drivers;
pub mod fence;
pub mod flight;
pub mod host;
pub mod http;
pub mod logs;
pub mod program;
pub mod registration;
pub mod tasks;
pub mod workdir;
