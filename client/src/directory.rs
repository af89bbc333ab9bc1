//! A directory of this process, for what its queries spill: removed with its content in the end. Edge.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use lake_proto::{ErrorClass, Fault};

/// Tasks of a run that was ended may be at work for a moment, and make files while theirs are removed.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Removed when it is dropped; drop what writes into it before.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A new directory in `parent`, by default the system's for temporary files.
    ///
    /// # Errors
    /// `resource` when it cannot be made.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, Fault> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("lake-submit-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| {
            let message = format!("cannot create the directory {}: {error}", path.display());
            Fault::new(ErrorClass::Resource, "local-dir", message)
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let since = Instant::now();
        // What cannot be removed is left to the system's own cleaning of temporary files.
        while fs::remove_dir_all(&self.path).is_err() && self.path.exists() && since.elapsed() < PATIENCE {
            park_timeout(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn two_directories_of_one_process_differ_and_are_removed_with_their_content() {
        let (one, two) = (Directory::create(None).unwrap(), Directory::create(None).unwrap());
        fs::create_dir(one.path().join("spill")).unwrap();
        fs::write(one.path().join("spill/rows"), "1").unwrap();
        let paths = [one.path().to_owned(), two.path().to_owned()];
        assert!(paths.iter().all(|path| path.is_dir()) && paths[0] != paths[1]);
        drop((one, two));
        assert!(!paths.iter().any(|path| path.exists()), "{paths:?}");
    }

    #[test]
    fn a_directory_is_removed_although_a_task_still_makes_files_in_it() {
        let directory = Directory::create(None).unwrap();
        let path = directory.path().to_owned();
        let (spill, is_over) = (path.join("spill"), AtomicBool::new(false));
        fs::create_dir(&spill).unwrap();
        std::thread::scope(|scope| {
            // As a query does: files, but no directories.
            scope.spawn(|| {
                for number in 0_u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let _ = fs::write(spill.join(number.to_string()), "1");
                    park_timeout(Duration::from_millis(1));
                }
            });
            while fs::read_dir(&spill).unwrap().next().is_none() {
                std::thread::yield_now();
            }
            drop(directory);
            assert!(!path.exists());
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
