//! Delta tables: snapshots, distributed scan and write, commits.
