//! Sources as work lists: [`files`] (CSV, JSON, Parquet, Avro) and [`postgres`]. Edge.

pub mod files;
pub mod postgres;
