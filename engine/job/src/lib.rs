//! job.toml
pub mod errors;
pub mod pipeline;
pub mod schema;
pub mod spec;
pub use pipeline::*;
