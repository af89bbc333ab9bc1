//! Real daemons on loopback, real PostgreSQL and S3, results read back by programs that are not ours.

mod admission;
mod api;
mod author;
mod bad_input;
mod browser;
mod cut_off;
mod drain;
mod error_codes;
mod faults;
mod fencing;
mod figures;
mod ha_client;
mod history;
mod leaders;
mod mapped_ports;
mod masters;
mod metrics;
mod pages;
mod points;
mod promises;
mod repeatable;
mod storage_faults;
mod submit;
mod telemetry;
mod workspace;
