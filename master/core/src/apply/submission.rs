//! Accepting applications. Pure.

use lake_proto::ids::InvalidId;
use lake_proto::{AppId, DriverId, ErrorClass};

use super::{Stamp, rejected};
use crate::admission;
use crate::application::{Application, Attempt, DeployMode, Phase};
use crate::command::Submission;
use crate::date;
use crate::digest;
use crate::event::Event;
use crate::state::State;

/// Same id and same content: the answer of the first time. Same id and other content: refused. A run in its client's
/// process cannot wait, so it is refused while another run of the job is under way; any is while the queue is full.
pub(super) fn submit(state: &mut State, stamp: Stamp, submission: Submission, events: &mut Vec<Event>) {
    let digest = digest::of_submission(&submission);
    if let Some(known) = state.by_submission.get(&submission.id).and_then(|app| state.applications.get(app)) {
        events.push(answer_again(known, &submission, &digest));
        return;
    }
    if submission.options.deploy_mode == DeployMode::Client
        && let Some(earlier) = state.first_run(&submission.options.job_name)
    {
        let message = format!(
            "job '{}' is under way as {}, and its client would have to wait: submit it again when that has ended, or in \
             cluster mode, where it is queued",
            submission.options.job_name, earlier.id
        );
        events.push(rejected(ErrorClass::Conflict, "job-under-way", message));
        return;
    }
    if let Err(fault) = admission::check(state, &submission) {
        events.push(Event::Rejected(fault));
        return;
    }
    let number = state.accepted.saturating_add(1);
    let (app, driver) = match ids(stamp.at_ms, number) {
        Ok(ids) => ids,
        Err(error) => {
            events.push(rejected(ErrorClass::Internal, "internal", error.to_string()));
            return;
        }
    };
    state.accepted = number;
    let run_number = next_run_number(state, &submission.options.job_name, stamp.at_ms);
    let mut application = Application {
        id: app.clone(),
        driver: driver.clone(),
        submission: submission.id,
        digest,
        options: submission.options,
        pipeline: Some(submission.pipeline),
        traceparent: submission.traceparent,
        run_number,
        queued_at: stamp.index,
        submitted_at_ms: stamp.at_ms,
        started_at_ms: None,
        attempt: 0,
        launches: Vec::new(),
        steps: std::collections::BTreeMap::new(),
        permits: std::collections::BTreeMap::new(),
        ending: None,
        phase: Phase::Submitted,
    };
    let epoch = match application.options.deploy_mode {
        DeployMode::Cluster => 0,
        DeployMode::Client => start_in_client(&mut application, stamp),
    };
    state.insert(application);
    events.push(Event::Submitted { app, driver, epoch, is_repeat: false });
}

/// Of the applications those that have ended are dropped, as the oldest are when there are too many. Their run numbers
/// stay.
pub(super) fn forget(state: &mut State, apps: &[AppId], events: &mut Vec<Event>) {
    state.forget(apps, events);
    if events.is_empty() {
        events.push(Event::Ignored { reason: "none of the applications has ended and is still kept".to_owned() });
    }
}

fn answer_again(known: &Application, submission: &Submission, digest: &str) -> Event {
    if known.digest != digest {
        return rejected(
            ErrorClass::Conflict,
            "submission-differs",
            format!(
                "submission {} was accepted before as {} with another pipeline or other options; use a new submission id",
                submission.id, known.driver
            ),
        );
    }
    let epoch = match known.options.deploy_mode {
        DeployMode::Cluster => 0,
        DeployMode::Client => known.running().map_or(0, |attempt| attempt.epoch),
    };
    Event::Submitted { app: known.id.clone(), driver: known.driver.clone(), epoch, is_repeat: true }
}

fn ids(at_ms: u64, number: u64) -> Result<(AppId, DriverId), InvalidId> {
    let date = date::compact(at_ms);
    Ok((AppId::try_from(format!("app-{date}-{number:04}"))?, DriverId::try_from(format!("driver-{date}-{number:04}"))?))
}

/// Larger than any before of this job, and in order with runs elsewhere, which take the time as their number.
fn next_run_number(state: &mut State, job_name: &str, at_ms: u64) -> u64 {
    let last = state.run_numbers.entry(job_name.to_owned()).or_default();
    *last = last.saturating_add(1).max(at_ms);
    *last
}

fn start_in_client(application: &mut Application, stamp: Stamp) -> u64 {
    application.attempt = 1;
    application.launch(stamp.index, None, stamp.at_ms);
    application.started_at_ms = Some(stamp.at_ms);
    application.phase = Phase::Running(Attempt {
        epoch: stamp.index,
        worker: None,
        assigned_at_ms: stamp.at_ms,
        is_started: true,
        is_killing: false,
        relaunch_reason: None,
    });
    stamp.index
}
