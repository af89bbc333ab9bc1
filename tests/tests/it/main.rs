//! Real daemons on loopback, real PostgreSQL and S3, results read back by programs that are not ours.

mod bad_input;
mod drain;
mod error_codes;
mod faults;
mod ha_client;
mod leaders;
mod masters;
mod pages;
mod repeatable;
mod storage_faults;
mod submit;
mod workspace;
