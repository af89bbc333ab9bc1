//! Real daemons on loopback, real PostgreSQL and S3, results read back by programs that are not ours.

mod bad_input;
mod faults;
mod ha_client;
mod submit;
mod workspace;
