//! What a worker keeps on disk, and who owns it. Edge.
//!
//! ```text
//! <work-dir>/shuffle/<query-id>/…        map outputs and results, shared by the workers of the host
//! <work-dir>/spill/<instance>/           spills of one worker process
//! <work-dir>/workers/<instance>.lock     locked for as long as that process lives
//! <work-dir>/<app-id>/<driver-id>/       a driver's directory with its stdout and stderr
//! ```
//!
//! Invariant: a worker removes only what it owns or what provably belongs to nobody. Whether another worker of the
//! host lives is told by the lock on its file, which the kernel gives up with the process, however it ended.

pub mod janitor;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use lake_engine::error::class_of_io;
use lake_proto::{AppId, DriverId, ErrorClass, Fault, QueryId};

const SHUFFLE: &str = "shuffle";
const SPILL: &str = "spill";
const WORKERS: &str = "workers";
const START_LOCK: &str = "start";

/// The work directory, opened for one worker process. Dropping it gives up the process's lock.
#[derive(Debug)]
pub struct WorkDir {
    root: PathBuf,
    instance: String,
    _alive: File,
}

impl WorkDir {
    /// Creates what is missing, removes what dead workers left, and marks this process as alive.
    ///
    /// # Errors
    /// `denied`, `resource` or `unavailable` when the directory cannot be written.
    pub fn open(path: &Path, instance: &str) -> Result<Self, Fault> {
        let failed = |error: &io::Error| {
            let class = match class_of_io(error.kind()) {
                // What is missing is this host's affair, nothing that a caller has named.
                None | Some(ErrorClass::NotFound) => ErrorClass::Unavailable,
                Some(class) => class,
            };
            Fault::new(class, "work-dir", format!("cannot use work directory {}: {error}", path.display()))
        };
        Self::try_open(path, instance).map_err(|error| failed(&error))
    }

    fn try_open(path: &Path, instance: &str) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let root = path.canonicalize()?;
        for room in [SHUFFLE, SPILL, WORKERS] {
            fs::create_dir_all(root.join(room))?;
        }
        // Workers of a host start one after another, so that none wipes what another has just begun.
        let start = open_lock(&root.join(WORKERS).join(START_LOCK))?;
        start.lock()?;
        let own = root.join(WORKERS).join(format!("{instance}.lock"));
        let others = remove_dead(&root, &own)?;
        let alive = open_lock(&own)?;
        alive.try_lock().map_err(io::Error::from)?;
        if others == 0 {
            // Map outputs live as long as the worker that registered them: with no worker here nobody reads these.
            remove_entries(&root.join(SHUFFLE))?;
            remove_entries(&root.join(SPILL))?;
        }
        fs::create_dir_all(root.join(SPILL).join(instance))?;
        drop(start);
        Ok(Self { root, instance: instance.to_owned(), _alive: alive })
    }

    /// The canonical work directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where Ballista's writers and readers find the files of all queries.
    pub fn shuffle(&self) -> PathBuf {
        self.root.join(SHUFFLE)
    }

    /// Where this process's operators spill.
    pub fn spill(&self) -> PathBuf {
        self.root.join(SPILL).join(&self.instance)
    }

    /// The file with the rows of a result task that were too many to send inline.
    pub fn result_file(&self, query: &QueryId, stage: u32, attempt: u64) -> PathBuf {
        result_file(&self.shuffle(), query, stage, attempt)
    }

    /// The directory of a driver.
    ///
    /// # Errors
    /// `invalid-job` for an application id that is the name of one of the work directory's own rooms.
    pub fn driver(&self, app: &AppId, driver: &DriverId) -> Result<PathBuf, Fault> {
        if [SHUFFLE, SPILL, WORKERS].contains(&app.as_str()) {
            let message = format!("application id '{app}' is reserved: expected an id like app-20260101000000-0001");
            return Err(Fault::new(ErrorClass::InvalidJob, "app-id", message));
        }
        Ok(self.root.join(app.as_str()).join(driver.as_str()))
    }

    /// The directory of a driver that ran here at some time, whichever application it belongs to.
    pub fn find_driver(&self, driver: &DriverId) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.root).ok()?;
        let candidates = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            name.parse::<AppId>().is_ok() && ![SHUFFLE, SPILL, WORKERS].contains(&name)
        });
        candidates.map(|entry| entry.path().join(driver.as_str())).find(|path| path.is_dir())
    }

    /// Removes every file of a query. Blocks on I/O: never on a thread that runs tasks.
    pub fn remove_query(&self, query: &QueryId) {
        let path = self.shuffle().join(query.as_str());
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(query_id = %query, error = %error, "files of a query could not be removed");
        }
    }

    /// Removes what one attempt wrote and nobody may read, because it failed or was cancelled. Blocks on I/O.
    pub fn remove_attempt(&self, query: &QueryId, stage: u32, attempt: u64) {
        let stage = self.shuffle().join(query.as_str()).join(stage.to_string());
        let own = stage.join(attempt.to_string());
        // A directory named after the attempt may also be one named after an output partition: only the attempt's
        // own names go.
        for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if name.starts_with("spill-") {
                let _ = fs::remove_dir_all(entry.path());
            } else if name.starts_with("data.arrow") || name == RESULT_FILE {
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_dir(&own);
        let passthrough = format!("data-{attempt}.arrow");
        for partition in fs::read_dir(&stage).into_iter().flatten().flatten() {
            let _ = fs::remove_file(partition.path().join(&passthrough));
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.spill());
        let _ = fs::remove_file(self.root.join(WORKERS).join(format!("{}.lock", self.instance)));
    }
}

const RESULT_FILE: &str = "result.arrow";

/// Where the rows of a result attempt lie below the shuffle directory.
pub(crate) fn result_file(shuffle: &Path, query: &QueryId, stage: u32, attempt: u64) -> PathBuf {
    shuffle.join(query.as_str()).join(stage.to_string()).join(attempt.to_string()).join(RESULT_FILE)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

/// Removes the spills and lock files of workers that are dead; returns how many others live.
fn remove_dead(root: &Path, own: &Path) -> io::Result<usize> {
    let mut living = 0;
    for entry in fs::read_dir(root.join(WORKERS))? {
        let path = entry?.path();
        let Some(instance) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".lock")) else {
            continue;
        };
        if path == own {
            continue;
        }
        let lock = open_lock(&path)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => living += 1,
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {
                let _ = fs::remove_dir_all(root.join(SPILL).join(instance));
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(living)
}

fn remove_entries(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    #[test]
    fn a_second_worker_of_the_host_keeps_the_files_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = WorkDir::open(directory.path(), "one").unwrap();
        put(&first.shuffle().join("q1/1/0/data-1.arrow"));
        put(&first.spill().join("run"));
        let second = WorkDir::open(directory.path(), "two").unwrap();
        assert!(first.shuffle().join("q1/1/0/data-1.arrow").exists());
        assert!(first.spill().join("run").exists());
        drop(second);
        assert!(first.shuffle().join("q1/1/0/data-1.arrow").exists());
        assert!(!directory.path().join("spill/two").exists());
    }

    #[test]
    fn the_only_worker_starts_without_leftovers_of_dead_ones_but_keeps_logs() {
        let directory = tempfile::tempdir().unwrap();
        put(&directory.path().join("workers/dead.lock"));
        put(&directory.path().join("spill/dead/run"));
        put(&directory.path().join("shuffle/q1/1/0/data-1.arrow"));
        put(&directory.path().join("app-1/driver-1/stdout"));
        let work = WorkDir::open(directory.path(), "one").unwrap();
        assert!(!directory.path().join("workers/dead.lock").exists());
        assert!(!directory.path().join("spill/dead").exists());
        assert!(!directory.path().join("shuffle/q1").exists());
        let driver: DriverId = "driver-1".parse().unwrap();
        assert!(work.find_driver(&driver).unwrap().ends_with("app-1/driver-1"));
        assert!(work.find_driver(&"driver-2".parse().unwrap()).is_none());
        assert!(work.driver(&"shuffle".parse().unwrap(), &driver).is_err());
    }

    #[test]
    fn removing_an_attempt_leaves_the_files_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let work = WorkDir::open(directory.path(), "one").unwrap();
        let query: QueryId = "q1".parse().unwrap();
        let stage = work.shuffle().join("q1/2");
        for name in ["7/data.arrow", "7/data.arrow.index", "7/spill-0/a", "7/result.arrow", "0/data-7.arrow"] {
            put(&stage.join(name));
        }
        for name in ["7/data-8.arrow", "0/data-8.arrow", "8/data.arrow"] {
            put(&stage.join(name));
        }
        work.remove_attempt(&query, 2, 7);
        for name in ["7/data.arrow", "7/data.arrow.index", "7/spill-0", "7/result.arrow", "0/data-7.arrow"] {
            assert!(!stage.join(name).exists(), "{name} is left");
        }
        for name in ["7/data-8.arrow", "0/data-8.arrow", "8/data.arrow"] {
            assert!(stage.join(name).exists(), "{name} is gone");
        }
        work.remove_query(&query);
        assert!(!work.shuffle().join("q1").exists());
    }
}
