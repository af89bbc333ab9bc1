//! The master daemon: accepts submissions, keeps them in a replicated log, places drivers, hosts the scheduler, shows
//! it all.
//!
//! Lives here: the leader loop, effects, gRPC services, pages, APIs, records of applications and their history, how the
//! cluster is used, logs that workers send, the program. Never here: what commands mean (`lake-master-core`), plans and
//! tasks (`lake-scheduler`). Edge.
#![warn(missing_docs)]

mod at_leader;
mod clock;
pub mod config;
mod confirmation;
mod effects;
mod history;
mod leader;
mod liveness;
mod master;
pub mod operate;
pub mod program;
mod progress;
mod records;
mod reign;
mod rest;
mod rpc;
mod server;
mod utilisation;
mod web;
mod worker_logs;

pub use server::{Server, start};
