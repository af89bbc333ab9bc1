//! The scheduler with real plans over Parquet files, and workers that run tasks in this process with Ballista's
//! executor parts. Answers are compared with plain DataFusion.

mod account;
mod answers;
mod cluster;
mod faults;
mod leaders;
mod plans;
mod protocol;
