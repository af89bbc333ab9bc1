//! Live pictures of steps, as drivers report them. In memory on the leader, never in the log. Edge.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lake_proto::{AppId, v1};
use tokio::sync::watch;

/// Applications that have ended and whose last picture is kept after newer ones have ended.
const KEPT: usize = 100;

#[derive(Default)]
struct Pictures {
    version: u64,
    of: BTreeMap<AppId, Picture>,
    /// The oldest first.
    ended: VecDeque<AppId>,
}

/// The steps of one application.
#[derive(Default)]
struct Picture {
    /// All of them were told.
    is_complete: bool,
    /// In the order in which they were told first, which is that of the pipeline.
    steps: Vec<Step>,
}

struct Step {
    /// When it looked otherwise last.
    changed: u64,
    told: v1::StepProgress,
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

    /// Takes a report; steps that look as before do not count as changed. Whether more are known to the driver, who has
    /// told them to another leader.
    pub(crate) fn report(&self, app: &AppId, steps: Vec<v1::StepProgress>, is_complete: bool) -> bool {
        let mut pictures = self.lock();
        let version = pictures.version + 1;
        let picture = pictures.of.entry(app.clone()).or_default();
        picture.is_complete |= is_complete;
        let wants_all = !picture.is_complete;
        let mut has_changed = false;
        for told in steps {
            has_changed |= picture.take(told, version);
        }
        pictures.version = version;
        drop(pictures);
        if has_changed {
            self.version.send_replace(version);
        }
        wants_all
    }

    /// The steps that changed after `version`, and the version to ask with next. Without what is only for records.
    pub(crate) fn since(&self, app: &AppId, version: u64) -> (u64, Vec<v1::StepProgress>) {
        let pictures = self.lock();
        let mut steps = Vec::new();
        for step in pictures.of.get(app).into_iter().flat_map(|picture| &picture.steps) {
            if step.changed > version {
                steps.push(v1::StepProgress { details: None, ..step.told.clone() });
            }
        }
        (pictures.version, steps)
    }

    /// All steps, with all that was told of them.
    pub(crate) fn steps(&self, app: &AppId) -> Vec<v1::StepProgress> {
        let pictures = self.lock();
        let picture = pictures.of.get(app);
        picture.into_iter().flat_map(|picture| &picture.steps).map(|step| step.told.clone()).collect()
    }

    /// The application has ended: its last picture makes room when many have ended after it.
    pub(crate) fn ended(&self, app: &AppId) {
        let mut pictures = self.lock();
        if pictures.of.contains_key(app) && !pictures.ended.contains(app) {
            pictures.ended.push_back(app.clone());
        }
        while pictures.ended.len() > KEPT {
            if let Some(oldest) = pictures.ended.pop_front() {
                pictures.of.remove(&oldest);
            }
        }
    }

    /// Changes whenever a step changed.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Pictures> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Picture {
    /// Whether the step looks otherwise than before.
    fn take(&mut self, mut told: v1::StepProgress, version: u64) -> bool {
        let Some(step) = self.steps.iter_mut().find(|step| step.told.table == told.table) else {
            self.steps.push(Step { changed: version, told });
            return true;
        };
        keep_details(&step.told, &mut told);
        let is_new = !looks_the_same(&step.told, &told);
        if is_new {
            step.changed = version;
        }
        step.told = told;
        is_new
    }
}

/// A driver that was launched again knows of steps on record that they are, and no more: what the one before has told of
/// them counts.
fn keep_details(before: &v1::StepProgress, now: &mut v1::StepProgress) {
    let has_run = |step: &v1::StepProgress| step.details.as_ref().is_some_and(|details| details.started_at_ms > 0);
    if now.record.is_some() && !has_run(now) && has_run(before) {
        now.details.clone_from(&before.details);
        if before.record.is_some() {
            now.record.clone_from(&before.record);
        }
    }
}

/// To watchers, who are not told the details.
fn looks_the_same(one: &v1::StepProgress, other: &v1::StepProgress) -> bool {
    (&one.state, &one.stages, &one.record, &one.failure) == (&other.state, &other.stages, &other.record, &other.failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(table: &str, state: &str) -> v1::StepProgress {
        v1::StepProgress { table: table.to_owned(), state: state.to_owned(), ..Default::default() }
    }

    fn with_details(started_at_ms: u64, step: v1::StepProgress) -> v1::StepProgress {
        let details = v1::StepDetails { started_at_ms, ..v1::StepDetails::default() };
        v1::StepProgress { details: Some(details), ..step }
    }

    #[test]
    fn watchers_get_only_what_changed_since_they_looked() {
        let progress = Progress::new();
        let app: AppId = "app-1".parse().unwrap();
        assert!(!progress.report(&app, vec![step("b", "RUNNING"), step("a", "PENDING")], true));
        let (version, all) = progress.since(&app, 0);
        assert_eq!(all, [step("b", "RUNNING"), step("a", "PENDING")], "in the driver's order");
        progress.report(&app, vec![step("b", "RUNNING"), step("a", "RUNNING")], false);
        let (version, changed) = progress.since(&app, version);
        assert_eq!(changed, [step("a", "RUNNING")]);
        progress.report(&app, vec![with_details(5, step("a", "RUNNING"))], false);
        assert_eq!(progress.since(&app, version).1, [], "details are not for watchers");
        assert_eq!(progress.steps(&app)[1], with_details(5, step("a", "RUNNING")));
    }

    #[test]
    fn a_leader_that_has_not_had_all_steps_asks_for_them() {
        let progress = Progress::new();
        let app: AppId = "app-1".parse().unwrap();
        assert!(progress.report(&app, vec![step("a", "RUNNING")], false));
        assert!(!progress.report(&app, vec![step("a", "RUNNING"), step("b", "PENDING")], true));
        assert!(!progress.report(&app, vec![step("a", "COMMITTED")], false));
    }

    #[test]
    fn what_one_driver_has_told_of_a_step_on_record_is_not_forgotten_for_the_next_one() {
        let progress = Progress::new();
        let app: AppId = "app-1".parse().unwrap();
        let record = |rows_in| Some(v1::StepRecord { rows_in, ..v1::StepRecord::default() });
        let first = v1::StepProgress { record: record(7), ..with_details(5, step("a", "COMMITTED")) };
        progress.report(&app, vec![first.clone(), with_details(6, step("b", "RUNNING"))], true);
        let again = v1::StepProgress { record: record(8), ..with_details(0, step("a", "COMMITTED")) };
        progress.report(&app, vec![again, with_details(0, step("b", "PENDING"))], true);
        assert_eq!(progress.steps(&app), [first, with_details(0, step("b", "PENDING"))]);
    }

    #[test]
    fn old_pictures_of_applications_that_have_ended_make_room() {
        let progress = Progress::new();
        let app = |number: usize| -> AppId { format!("app-{number}").parse().unwrap() };
        for number in 0..KEPT + 9 {
            progress.report(&app(number), vec![step("a", "RUNNING")], true);
        }
        assert_eq!(progress.since(&app(0), 0).1.len(), 1, "none has ended");
        for number in 0..=KEPT {
            progress.ended(&app(number));
            progress.ended(&app(number));
        }
        assert_eq!(progress.since(&app(0), 0).1, []);
        assert_eq!((progress.since(&app(1), 0).1.len(), progress.since(&app(KEPT + 1), 0).1.len()), (1, 1));
    }
}
