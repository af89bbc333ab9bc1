//! Live pictures of steps, as drivers report them. In memory on the leader, never in the log. Edge.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lake_proto::{AppId, v1};
use tokio::sync::watch;

/// Applications whose last picture is kept after newer ones have come.
const KEPT: usize = 100;

#[derive(Default)]
struct Pictures {
    version: u64,
    steps: BTreeMap<AppId, BTreeMap<String, (u64, v1::StepProgress)>>,
    oldest: VecDeque<AppId>,
}

/// Step progress by application.
pub(crate) struct Progress {
    pictures: Mutex<Pictures>,
    version: watch::Sender<u64>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { pictures: Mutex::new(Pictures::default()), version: watch::Sender::new(0) }
    }

    /// Takes a report; steps that look as before do not count as changed.
    pub(crate) fn report(&self, app: &AppId, steps: Vec<v1::StepProgress>) {
        let mut pictures = self.lock();
        let version = pictures.version + 1;
        if !pictures.steps.contains_key(app) {
            pictures.oldest.push_back(app.clone());
        }
        let known = pictures.steps.entry(app.clone()).or_default();
        let mut has_changed = false;
        for step in steps {
            if known.get(&step.table).is_none_or(|(_, before)| *before != step) {
                known.insert(step.table.clone(), (version, step));
                has_changed = true;
            }
        }
        pictures.version = version;
        while pictures.oldest.len() > KEPT {
            if let Some(oldest) = pictures.oldest.pop_front() {
                pictures.steps.remove(&oldest);
            }
        }
        drop(pictures);
        if has_changed {
            self.version.send_replace(version);
        }
    }

    /// The steps that changed after `version`, and the version to ask with next.
    pub(crate) fn since(&self, app: &AppId, version: u64) -> (u64, Vec<v1::StepProgress>) {
        let pictures = self.lock();
        let mut steps = Vec::new();
        for (changed, step) in pictures.steps.get(app).into_iter().flat_map(BTreeMap::values) {
            if *changed > version {
                steps.push(step.clone());
            }
        }
        (pictures.version, steps)
    }

    /// Changes whenever a step changed.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Pictures> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(table: &str, state: &str) -> v1::StepProgress {
        v1::StepProgress { table: table.to_owned(), state: state.to_owned(), ..Default::default() }
    }

    #[test]
    fn watchers_get_only_what_changed_since_they_looked() {
        let progress = Progress::new();
        let app: AppId = "app-1".parse().unwrap();
        progress.report(&app, vec![step("a", "RUNNING"), step("b", "PENDING")]);
        let (version, all) = progress.since(&app, 0);
        assert_eq!(all.len(), 2);
        progress.report(&app, vec![step("a", "RUNNING"), step("b", "RUNNING")]);
        let (version, changed) = progress.since(&app, version);
        assert_eq!(changed, [step("b", "RUNNING")]);
        assert_eq!(progress.since(&app, version).1, []);
    }

    #[test]
    fn old_pictures_make_room() {
        let progress = Progress::new();
        for number in 0..=KEPT {
            progress.report(&format!("app-{number}").parse().unwrap(), vec![step("a", "RUNNING")]);
        }
        assert_eq!(progress.since(&"app-0".parse().unwrap(), 0).1, []);
        assert_eq!(progress.since(&"app-1".parse().unwrap(), 0).1.len(), 1);
    }
}
