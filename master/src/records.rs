//! Everything that this master can tell of applications: as they are now, when they have just ended, and from the history.
//! Edge: it asks whoever knows; what becomes of the answers is decided in `lake_record`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake_master_core::view::{self, ApplicationView, OpenPage};
use lake_master_core::{Application, Launch, State};
use lake_proto::{AppId, v1};
use lake_record::{
    ApplicationRecord, ApplicationSummary, DriverAttempt, Origin, Pipeline, QueryRecord, StepRecord, StepSources,
};
use tokio::time::Instant;

use crate::master::Master;
use crate::reign::Reign;

pub(crate) use lake_record::history::SummaryFilter;

/// Applications that are looked at before commands get their turn again.
const LOOKED_AT_ONCE: usize = 2_000;
/// A record of a running application is shown to everybody who asks within this time.
const FRESH_FOR: Duration = Duration::from_millis(500);

/// Records of running applications that were put together a moment ago, however many pages show them.
#[derive(Default)]
pub(crate) struct Fresh {
    records: Mutex<BTreeMap<AppId, (Instant, Arc<ApplicationRecord>)>>,
}

impl Fresh {
    fn get(&self, app: &AppId) -> Option<Arc<ApplicationRecord>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, record) = records.get(app)?;
        (since.elapsed() < FRESH_FOR).then(|| Arc::clone(record))
    }

    fn put(&self, app: AppId, record: Arc<ApplicationRecord>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, (since, _)| since.elapsed() < FRESH_FOR);
        records.insert(app, (Instant::now(), record));
    }
}

/// Everything that this master can tell of applications.
impl Master {
    /// One application by application, driver or submission id: live, kept, or from history.
    pub(crate) async fn record(&self, id: &str) -> Option<Arc<ApplicationRecord>> {
        let found = self.raft.read(|state| state.find(id).map(|found| (found.id.clone(), view::is_over(found))));
        match found {
            None => self.history.record(id).await,
            Some((app, true)) => match self.history.record(app.as_str()).await {
                Some(record) => Some(record),
                None => of_state(self, &app).map(Arc::new),
            },
            Some((app, false)) => self.live_record(&app).await,
        }
    }

    async fn live_record(&self, app: &AppId) -> Option<Arc<ApplicationRecord>> {
        if let Some(record) = self.fresh.get(app) {
            return Some(record);
        }
        let reign = self.reign();
        let queries = reign.scheduler.queries(app.clone()).await;
        let record = Arc::new(assembled(self, &reign, app, queries)?);
        self.fresh.put(app.clone(), Arc::clone(&record));
        Some(record)
    }

    /// Newest first, of all: those not over, then ended ones from state and history. Never with queries.
    pub(crate) async fn summaries(
        &self,
        filter: &SummaryFilter,
        offset: usize,
        limit: usize,
    ) -> (Vec<ApplicationSummary>, usize) {
        let mut open = OpenPage::new(offset, limit);
        let is_wanted = |application: &Application| takes(filter, application);
        while self.raft.read(|state| open.look(state, is_wanted, LOOKED_AT_ONCE)) {}
        let mut page: Vec<ApplicationSummary> =
            open.found.iter().map(|view| summary(view, &self.launches(&view.app_id))).collect();
        let ended = self.ended(|summary| {
            filter.takes(&summary.state, &summary.name, [&summary.app_id, &summary.driver_id, &summary.submission_id])
        });
        let (skipped, room) = (offset.saturating_sub(open.count), limit.saturating_sub(page.len()));
        page.extend(ended.iter().skip(skipped).take(room).map(|(summary, _)| summary.as_ref().clone()));
        (page, open.count + ended.len())
    }

    /// Steps of ended and running applications, newest application first, for pages of tables and lineage.
    pub(crate) async fn steps(&self) -> Vec<(Arc<ApplicationSummary>, Arc<[StepRecord]>)> {
        let reign = self.reign();
        let begun = |state: &State| -> Vec<AppId> {
            let waiting = state.waiting().filter(|application| application.attempt > 0);
            state.running().rev().chain(waiting).map(|application| application.id.clone()).collect()
        };
        let mut steps = Vec::new();
        for app in self.raft.read(begun) {
            if let Some(record) = assembled(self, &reign, &app, Vec::new()) {
                steps.push((Arc::new(record.summary), record.steps.into()));
            }
        }
        steps.extend(self.ended(|_| true));
        steps
    }

    /// History files that could not be read: name and why.
    pub(crate) async fn unreadable(&self) -> Vec<(String, String)> {
        self.history.unreadable()
    }

    /// The applications that have ended and are `wanted`, the last one first: from the history, and those that are kept
    /// and are not there.
    fn ended(&self, wanted: impl Fn(&ApplicationSummary) -> bool) -> Vec<(Arc<ApplicationSummary>, Arc<[StepRecord]>)> {
        let mut ended = self.history.ended();
        let kept: Vec<AppId> =
            self.raft.read(|state| state.latest_ended().map(|application| application.id.clone()).collect());
        for app in kept.into_iter().filter(|app| !self.history.has(app)) {
            if let Some(record) = of_state(self, &app) {
                ended.push((Arc::new(record.summary), record.steps.into()));
            }
        }
        ended.retain(|(summary, _)| wanted(summary));
        // Mostly they are in order.
        ended.sort_by(|(one, _), (other, _)| place(other).cmp(&place(one)));
        ended
    }

    fn launches(&self, app: &str) -> Vec<Launch> {
        let app = app.parse::<AppId>();
        app.map(|app| self.raft.read(|state| view::launches(state, &app))).unwrap_or_default()
    }
}

/// Where an ended application stands among others.
fn place(summary: &ApplicationSummary) -> (u64, &str) {
    (summary.ended_at_ms, &summary.app_id)
}

/// An application has ended: its record goes into the history, and what was known of it only here is given up.
pub(crate) async fn close(master: &Master, reign: &Reign, app: &AppId) {
    let queries = reign.scheduler.application_ended(app.clone()).await;
    if !master.history.has(app)
        && let Some(record) = assembled(master, reign, app, queries)
    {
        master.history.add(app.clone(), record);
    }
    reign.progress.ended(app);
    reign.pipelines.forget(app);
}

/// What the masters agree on of an application, and what its driver has told this one.
pub(crate) fn of_state(master: &Master, app: &AppId) -> Option<ApplicationRecord> {
    let record = assembled(master, &master.reign(), app, Vec::new())?;
    // Its queries are not known here any more.
    let is_partial = record.summary.attempt > 0;
    Some(ApplicationRecord { is_partial, ..record })
}

/// Every launch of an application's driver that is remembered.
pub(crate) fn attempts(master: &Master, app: &AppId) -> Vec<DriverAttempt> {
    let launches = master.raft.read(|state| view::launches(state, app));
    launches.into_iter().map(attempt).collect()
}

/// What the replicated state has of an application.
struct Seen {
    view: ApplicationView,
    launches: Vec<Launch>,
    pipeline: Option<String>,
}

fn assembled(master: &Master, reign: &Reign, app: &AppId, queries: Vec<Arc<QueryRecord>>) -> Option<ApplicationRecord> {
    let known = reign.pipelines.get(app);
    let Seen { view, launches, pipeline } = master.raft.read(|state| {
        let application = state.application(app).filter(|_| known.is_none());
        let pipeline = application.and_then(|application| application.pipeline.clone());
        Some(Seen { view: view::application(state, app)?, launches: view::launches(state, app), pipeline })
    })?;
    let pipeline = known.or_else(|| pipeline.and_then(|text| serde_json::from_str(&text).ok()).map(Arc::new));
    let summary = summary(&view, &launches);
    let recorded: Vec<v1::StepRecord> = view.steps.into_iter().map(Into::into).collect();
    let progress = reign.progress.steps(app);
    let sources = StepSources { pipeline: pipeline.as_deref(), recorded: &recorded, progress: &progress };
    let steps = if summary.is_over() {
        sources.steps_at_the_end(summary.failure.as_ref(), summary.ended_at_ms)
    } else {
        sources.steps()
    };
    Some(ApplicationRecord {
        summary,
        origin: Origin::Live,
        is_partial: reign.has_inherited(app),
        pipeline: pipeline.map(Arc::unwrap_or_clone),
        attempts: launches.into_iter().map(attempt).collect(),
        steps,
        queries: queries.into_iter().map(Arc::unwrap_or_clone).collect(),
    })
}

fn takes(filter: &SummaryFilter, application: &Application) -> bool {
    let ids = [application.id.as_str(), application.driver.as_str(), application.submission.as_str()];
    filter.takes(application.phase.name(), &application.options.name, ids)
}

fn summary(view: &ApplicationView, launches: &[Launch]) -> ApplicationSummary {
    let last = launches.iter().rev().find(|launch| launch.ended_at_ms.is_some());
    let of_last = || last.filter(|_| view.ended_at_ms == 0).and_then(|launch| launch.fault.clone());
    ApplicationSummary {
        app_id: view.app_id.clone(),
        driver_id: view.driver_id.clone(),
        submission_id: view.submission_id.clone(),
        name: view.name.clone(),
        job_name: view.job_name.clone(),
        state: view.state.to_owned(),
        is_killing: view.is_killing,
        deploy_mode: view.deploy_mode.to_owned(),
        submitted_at_ms: view.submitted_at_ms,
        started_at_ms: view.started_at_ms,
        ended_at_ms: view.ended_at_ms,
        run_number: view.run_number,
        attempt: view.attempt,
        max_attempts: view.max_attempts,
        driver_memory_bytes: view.driver_memory_bytes,
        total_executor_cores: view.total_executor_cores,
        failure: view.failure.clone().or_else(of_last),
        waits_for: view.waits_for.clone().unwrap_or_default(),
        worker_id: view.worker_id.clone(),
        worker_address: view.worker_address.clone(),
    }
}

fn attempt(launch: Launch) -> DriverAttempt {
    DriverAttempt {
        number: launch.number,
        epoch: launch.epoch,
        worker_id: launch.worker.map(String::from).unwrap_or_default(),
        launched_at_ms: launch.launched_at_ms,
        ended_at_ms: launch.ended_at_ms.unwrap_or(0),
        exit_code: launch.exit.and_then(|end| end.code),
        signal: launch.exit.map_or(0, |end| end.signal),
        failure: launch.fault,
    }
}

/// What was submitted by applications that run: the masters keep it only for so long, and their records want it
/// afterwards.
#[derive(Default)]
pub(crate) struct Pipelines {
    parsed: Mutex<BTreeMap<AppId, Arc<Pipeline>>>,
}

impl Pipelines {
    /// Keeps what was submitted. One that this version cannot read is not told.
    pub(crate) fn remember(&self, app: &AppId, text: &str) {
        if self.get(app).is_some() {
            return;
        }
        match serde_json::from_str::<Pipeline>(text) {
            Ok(pipeline) => {
                let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
                parsed.insert(app.clone(), Arc::new(pipeline));
            }
            Err(error) => tracing::debug!(app_id = %app, "the pipeline is not told: {error}"),
        }
    }

    fn get(&self, app: &AppId) -> Option<Arc<Pipeline>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    fn forget(&self, app: &AppId) {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }
}
