//! Whole jobs: what a valid one means, and for each mistake its place, code and message.

use chrono::NaiveDate;

use super::*;

mod documents;
mod meaning;
mod mistakes;
mod properties;

/// The job of the documentation, without what this version refuses.
const EXAMPLE: &str = include_str!("tests/example.toml");

fn options() -> LoadOptions {
    LoadOptions::new(NaiveDate::from_ymd_opt(2026, 11, 21).unwrap(), "/jobs")
}

fn sql_file(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some("/jobs/sql/silver.sql") => Ok("SELECT customer_id, email,\n  country\nFROM bronze.customers\n".to_owned()),
        Some("/jobs/sql/broken.sql") => Ok("SELECT *\nFROM bronze.customers\nWHERE ds = '${dz}' AND\n".to_owned()),
        Some("/jobs/sql/typo.sql") => Ok("SELECT *\n  FORM bronze.customers\n".to_owned()),
        _ => Err("there is no such file".to_owned()),
    }
}

fn read(text: &str) -> Result<Pipeline, Errors> {
    read_with(text, &options())
}

fn read_with(text: &str, options: &LoadOptions) -> Result<Pipeline, Errors> {
    parse("job.toml", text, options, &sql_file)
}
