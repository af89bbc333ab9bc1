//! The tasks that keep the directory: one writes what has ended, one lists and reads what others have written, and deletes
//! what was kept long enough. Edge.
//!
//! Neither holds anybody up. A directory that cannot be reached is tried again with growing pauses; a panic here ends the
//! keeping, which its log says, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lake_master_core::view;
use lake_proto::{AppId, ErrorClass, Fault};
use lake_raft::{Role, Status};
use lake_record::file::{self, BEGINNING_BYTES, MOST_FILE_BYTES, START_BYTES, Unreadable};
use lake_record::history::{Listed, name_of};
use lake_record::{ApplicationRecord, DriverAttempt, Origin};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::{History, lock};
use crate::clock::now_ms;
use crate::master::Master;
use crate::records;

/// What waits is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Other masters write too.
const LIST_EVERY: Duration = Duration::from_secs(30);
const CONCURRENT_READS: usize = 3;
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What is not written when this master stops is written by the next leader, without queries.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// An application that has ended is told by the leader that saw it; after this time it was not.
const MISSING_AFTER_MS: u64 = 60_000;

/// Writes records until the master stops.
pub(crate) async fn write(master: Arc<Master>) {
    let history = &master.history;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pause = SHORTEST_PAUSE;
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            () = master.stop.cancelled() => break,
            () = history.bell.notified() => {}
            _ = looks.tick(), if !lock(&history.waiting).is_empty() => {}
        }
        while Instant::now() >= not_before
            && let Some((app, record)) = history.due(|app| has_exited(&master, app))
        {
            match history.write(&app, record, records::attempts(&master, &app)).await {
                Ok(()) => pause = SHORTEST_PAUSE,
                Err(fault) => {
                    tracing::warn!(app_id = %app, error.class = %fault.class, error.code = fault.code,
                        "the history cannot be written: {fault}; it is tried again in {} s", pause.as_secs());
                    not_before = Instant::now() + pause;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }
    let last = async {
        while let Some((app, record)) = history.due(|_| true) {
            if history.write(&app, record, records::attempts(&master, &app)).await.is_err() {
                return;
            }
        }
    };
    // The next leader writes what was not.
    let _ = tokio::time::timeout(LAST_WRITES, last).await;
}

/// Lists the directory, now and then, until the master stops. As the leader also writes what no leader has written, and
/// deletes what was kept long enough.
pub(crate) async fn refresh(master: Arc<Master>) {
    master.stop.run_until_cancelled(list_again_and_again(&master)).await;
}

async fn list_again_and_again(master: &Master) {
    let history = &master.history;
    let mut ticks = tokio::time::interval(LIST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = master.raft.watch();
    let (mut is_told, mut has_led) = (false, false);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = begins_to_lead(&mut status, has_led) => {}
        }
        has_led = status.borrow().role == Role::Leader;
        if let Err(fault) = history.refresh().await {
            if !is_told {
                tracing::warn!(error.class = %fault.class, error.code = fault.code,
                    "the history cannot be listed: {fault}; it is tried again every {} s", LIST_EVERY.as_secs());
            }
            is_told = true;
            continue;
        }
        is_told = false;
        if has_led {
            add_missing(master);
            history.expire(now_ms()).await;
        }
    }
}

/// Waits until this master leads: anew, when it `has_led`.
async fn begins_to_lead(status: &mut watch::Receiver<Status>, has_led: bool) {
    let is_closed = has_led && status.wait_for(|status| status.role != Role::Leader).await.is_err();
    if is_closed || status.wait_for(|status| status.role == Role::Leader).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Records of applications that have ended under a leader which has not written them: what the masters agree on.
fn add_missing(master: &Master) {
    let now_ms = now_ms();
    let ended: Vec<(AppId, u64)> = master.raft.read(|state| {
        let at = |application: &lake_master_core::Application| application.phase.ended().map_or(0, |ended| ended.at_ms);
        state.latest_ended().map(|application| (application.id.clone(), at(application))).collect()
    });
    for (app, at_ms) in ended {
        let is_old = now_ms.saturating_sub(at_ms) >= MISSING_AFTER_MS;
        let is_missing = is_old && !master.history.has(&app) && master.history.would_keep(at_ms, now_ms);
        if is_missing && let Some(record) = records::of_state(master, &app) {
            tracing::info!(app_id = %app, "an application is written into the history with what the masters know");
            master.history.add(app, record);
        }
    }
}

/// Whether the process of its last driver has ended, or there is none on a worker.
fn has_exited(master: &Master, app: &AppId) -> bool {
    let launches = master.raft.read(|state| view::launches(state, app));
    launches.last().is_none_or(|launch| launch.exit.is_some() || launch.worker.is_none())
}

impl History {
    /// Whether a record of an application that ended then would be kept.
    fn would_keep(&self, ended_at_ms: u64, now_ms: u64) -> bool {
        lock(&self.index).would_keep(ended_at_ms, &self.retention, now_ms)
    }

    fn due(&self, is_settled: impl Fn(&AppId) -> bool) -> Option<(AppId, Arc<ApplicationRecord>)> {
        lock(&self.waiting).due(Instant::now(), is_settled)
    }

    /// Writes a record that waits, with the drivers' launches as they are known now, when they are.
    ///
    /// # Errors
    /// The store's class; then it still waits.
    pub(super) async fn write(
        &self,
        app: &AppId,
        record: Arc<ApplicationRecord>,
        attempts: Vec<DriverAttempt>,
    ) -> Result<(), Fault> {
        if self.would_keep(record.summary.ended_at_ms, now_ms()) {
            match encoded(record, attempts).await {
                Ok((bytes, start)) => {
                    let (name, size) = (name_of(app.as_str()), bytes.len() as u64);
                    self.directory.create(&name, bytes).await?;
                    lock(&self.index)
                        .found(Listed { name, bytes: size, modified_ms: now_ms(), is_regular: true }, Ok(start));
                }
                Err(fault) => tracing::error!(app_id = %app, error.code = fault.code, "no history is written: {fault}"),
            }
        }
        lock(&self.waiting).remove(app);
        Ok(())
    }

    /// Finds out what is in the directory, and reads the start of what is new.
    ///
    /// # Errors
    /// The store's class when it cannot be listed.
    pub(super) async fn refresh(&self) -> Result<(), Fault> {
        let began = lock(&self.index).moment();
        let files = self.directory.list().await?;
        let unread = lock(&self.index).listed(began, files);
        let reads = futures::stream::iter(unread).map(|file| self.read_start(file));
        reads.buffer_unordered(CONCURRENT_READS).for_each(|()| std::future::ready(())).await;
        Ok(())
    }

    /// One that cannot be read now is read at the next look.
    async fn read_start(&self, listed: Listed) {
        let bytes = listed.bytes;
        if bytes > MOST_FILE_BYTES {
            return lock(&self.index).found(listed, Err(Unreadable::TooLarge { bytes }));
        }
        let start = u64::try_from(START_BYTES).unwrap_or(u64::MAX);
        for most in [start, BEGINNING_BYTES, MOST_FILE_BYTES] {
            let bytes = match self.directory.read(&listed.name, most).await {
                Ok(bytes) => bytes,
                Err(fault) if fault.class == ErrorClass::NotFound => return lock(&self.index).forget(&listed.name),
                Err(fault) => {
                    tracing::debug!(file = listed.name, "a history file is not read now: {fault}");
                    return;
                }
            };
            let decoded = tokio::task::spawn_blocking(move || file::decode_start(&bytes)).await;
            let Ok(decoded) = decoded else { return };
            let is_whole = decoded.as_ref().is_ok_and(|record| record.origin != Origin::Damaged);
            // One whose beginning says nothing is not read to its end for that.
            let is_foreign = decoded.is_err() && most >= BEGINNING_BYTES;
            if is_whole || is_foreign || most >= listed.bytes {
                return lock(&self.index).found(listed, decoded);
            }
        }
    }

    /// Deletes what was kept long enough.
    pub(super) async fn expire(&self, now_ms: u64) {
        let expired = lock(&self.index).expired(&self.retention, now_ms);
        let mut deleted: usize = 0;
        for name in &expired {
            if let Err(fault) = self.directory.delete(name).await {
                tracing::warn!(file = name, error.class = %fault.class, "a history file cannot be deleted: {fault}");
                break;
            }
            lock(&self.index).forget(name);
            lock(&self.cache).forget(name);
            deleted += 1;
        }
        if deleted > 0 {
            tracing::info!(files = deleted, "history files were kept long enough and are deleted");
        }
    }
}

/// The bytes of a record, and of the record what lists need.
async fn encoded(
    record: Arc<ApplicationRecord>,
    attempts: Vec<DriverAttempt>,
) -> Result<(Vec<u8>, ApplicationRecord), Fault> {
    let encoding = tokio::task::spawn_blocking(move || {
        let mut record = Arc::unwrap_or_clone(record);
        record.origin = Origin::History;
        if !attempts.is_empty() {
            record.attempts = attempts;
        }
        let bytes = file::encode(&record)?;
        Ok::<_, std::io::Error>((bytes, ApplicationRecord { queries: Vec::new(), ..record }))
    });
    let failed =
        |why: String| Fault::new(ErrorClass::Internal, "internal", format!("a record cannot be encoded: {why}"));
    encoding.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}
