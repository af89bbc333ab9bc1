//! The client: a library that talks to the masters ([`Client`]) and the program `lake-submit` ([`program`], [`run`]).
//! Edge.
//!
//! Rooms: [`client`] (calls, retries, following a submission), [`options`] and [`spark`] (the command line and
//! Spark's spelling of it), [`command`] (one file per verb), [`view`] (progress on a terminal and as lines),
//! [`report`] and [`remedy`] (what is printed in the end), [`order`] (of steps), [`engine`] (the only door to the engine,
//! behind the feature `local`) with [`directory`] (what it spills) and [`signals`] (what ends it).
//! Never here: scheduling, plans, anything a job means.

pub mod client;
mod command;
mod directory;
mod engine;
pub mod options;
mod order;
pub mod program;
pub mod remedy;
pub mod report;
mod signals;
pub mod spark;
mod view;

pub use client::Client;
pub use command::run;
