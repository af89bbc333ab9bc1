//! Real daemons on loopback, real PostgreSQL and S3, results read back by programs that are not ours.

mod admission;
mod author;
mod bad_input;
mod cut_off;
mod drain;
mod error_codes;
mod faults;
mod fencing;
mod ha_client;
mod leaders;
mod masters;
mod metrics;
mod pages;
mod points;
mod repeatable;
mod storage_faults;
mod submit;
mod telemetry;
mod workspace;
