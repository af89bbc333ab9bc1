//! History files, as a program that has the directory sees them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use lake_record::{ApplicationRecord, file};

use crate::{DEADLINE, wait_for};

/// Where an application's file is in a directory of history files.
pub fn path_of(directory: &Path, app: &str) -> PathBuf {
    directory.join(format!("{app}{}", file::EXTENSION))
}

/// What is in an application's file, once that is there.
///
/// # Errors
/// When it is not there in time, or cannot be read.
pub fn written(directory: &Path, app: &str) -> Result<ApplicationRecord> {
    let path = path_of(directory, app);
    let bytes = wait_for(&format!("{}", path.display()), DEADLINE, || std::fs::read(&path).ok())?;
    Ok(file::decode(&bytes)?)
}
