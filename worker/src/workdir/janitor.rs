//! Removes what is old: directories of ended applications and of queries nobody dropped. Edge.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lake_proto::{AppId, QueryId};

use super::{SHUFFLE, SPILL, WORKERS, WorkDir};

/// How often the work directory is swept.
pub const INTERVAL: Duration = Duration::from_secs(600);

/// What must stay, whatever its age.
#[derive(Debug, Default)]
pub struct InUse {
    /// Applications with a driver running here.
    pub applications: BTreeSet<String>,
    /// Queries this worker has prepared and not dropped.
    pub queries: BTreeSet<String>,
}

/// Removes every directory in which nothing changed for `ttl`; returns what it removed. Blocks on I/O.
pub fn sweep(work: &WorkDir, ttl: Duration, now: SystemTime, in_use: &InUse) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    let applications = directories(work.root()).into_iter().filter(|(name, _)| {
        name.parse::<AppId>().is_ok()
            && ![SHUFFLE, SPILL, WORKERS].contains(&name.as_str())
            && !in_use.applications.contains(name)
    });
    let queries = directories(&work.shuffle())
        .into_iter()
        .filter(|(name, _)| name.parse::<QueryId>().is_ok() && !in_use.queries.contains(name));
    for (_, path) in applications.chain(queries) {
        let age = newest(&path).and_then(|changed| now.duration_since(changed).ok()).unwrap_or_default();
        if age < ttl {
            continue;
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => removed.push(path),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "an old directory could not be removed")
            }
        }
    }
    removed
}

fn directories(parent: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        // A link is nobody's of ours.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let (true, Ok(name)) = (is_directory, entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found
}

/// The last change of anything below `path`.
fn newest(path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let mut latest = metadata.modified().ok()?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).ok()?.flatten() {
            latest = latest.max(newest(&entry.path())?);
        }
    }
    Some(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_directories_that_nobody_uses_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let work = WorkDir::open(directory.path(), "one").unwrap();
        for path in ["app-1/driver-1", "app-2/driver-2", "shuffle/q1/1", "shuffle/q2/1"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let ttl = Duration::from_secs(60);
        let now = SystemTime::now();
        let in_use =
            InUse { applications: BTreeSet::from(["app-2".to_owned()]), queries: BTreeSet::from(["q2".to_owned()]) };
        assert!(sweep(&work, ttl, now, &in_use).is_empty());
        let later = now + Duration::from_secs(3600);
        assert_eq!(sweep(&work, ttl, later, &in_use).len(), 2);
        assert!(directory.path().join("app-2/driver-2").exists());
        assert!(work.shuffle().join("q2").exists());
        assert!(work.spill().exists());
    }
}
