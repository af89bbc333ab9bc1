//! What must be true after every command. Pure; for tests and debug builds.

use std::collections::{BTreeMap, BTreeSet};

use crate::application::{Application, Phase, SETTLING_LAUNCHES};
use crate::index::Index;
use crate::state::{MAX_ENDED_APPLICATIONS, MAX_GONE_WORKERS, State};

/// Checks the whole state.
///
/// # Errors
/// The first invariant that does not hold, in words.
pub fn check(state: &State) -> Result<(), String> {
    let mut epochs = BTreeSet::new();
    let mut run_numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for application in state.applications() {
        check_application(state, application)?;
        let job_name = application.options.job_name.as_str();
        if !run_numbers.entry(job_name).or_default().insert(application.run_number) {
            return Err(format!("{} shares run number {}", application.id, application.run_number));
        }
        if let Some(attempt) = application.running()
            && !epochs.insert(attempt.epoch)
        {
            return Err(format!("{} shares epoch {}", application.id, attempt.epoch));
        }
    }
    let mut running = BTreeSet::new();
    for application in state.applications().filter(|application| application.running().is_some()) {
        if !running.insert(application.options.job_name.as_str()) {
            return Err(format!("two runs of job {} are under way", application.options.job_name));
        }
    }
    check_indexes(state)?;
    check_workers(state)
}

fn check_application(state: &State, application: &Application) -> Result<(), String> {
    let id = &application.id;
    let last = state.run_numbers.get(&application.options.job_name).copied().unwrap_or(0);
    if application.run_number > last {
        return Err(format!("{id} has run number {} above the last one {last}", application.run_number));
    }
    if application.attempt > application.max_attempts().saturating_add(SETTLING_LAUNCHES) {
        return Err(format!("{id} was launched {} times", application.attempt));
    }
    check_launches(application)?;
    let is_over = application.phase.ended().is_some();
    if is_over == application.pipeline.is_some() {
        return Err(format!("{id} is {} and its pipeline is in the wrong place", application.phase.name()));
    }
    if is_over != state.ended.contains(id) {
        return Err(format!("{id} is {} and the queue of ended ones differs", application.phase.name()));
    }
    if is_over && (application.ending.is_some() || !application.permits.is_empty()) {
        return Err(format!("{id} is {} and something of it is not settled", application.phase.name()));
    }
    if application.ending.is_some() && application.unsettled().next().is_none() && application.is_waiting() {
        return Err(format!("{id} waits for a driver that has nothing to settle"));
    }
    if let Some((table, step)) = application.steps.iter().find(|(table, step)| **table != step.table) {
        return Err(format!("{id} has a step of {} under {table}", step.table));
    }
    if let Phase::Running(attempt) = &application.phase {
        if attempt.epoch > state.applied || application.attempt == 0 {
            return Err(format!("{id} runs with epoch {} in attempt {}", attempt.epoch, application.attempt));
        }
        let is_placed = match &attempt.worker {
            Some(worker) => state.worker(worker).is_some_and(crate::worker::Worker::is_alive),
            None => true,
        };
        if !is_placed {
            return Err(format!("{id} runs on a worker that is not alive"));
        }
    }
    Ok(())
}

/// What is remembered of launches agrees with the phase, as far as it is remembered.
fn check_launches(application: &Application) -> Result<(), String> {
    let (id, launches) = (&application.id, &application.launches);
    if u32::try_from(launches.len()).is_ok_and(|count| count > application.attempt) {
        return Err(format!("{id} remembers {} launches of {}", launches.len(), application.attempt));
    }
    if !launches.is_sorted_by_key(|launch| (launch.number, launch.epoch)) {
        return Err(format!("the launches of {id} are not in order"));
    }
    let mut open = launches.iter().filter(|launch| launch.ended_at_ms.is_none()).map(|launch| launch.epoch);
    match (application.running(), open.next(), open.next()) {
        (_, None, _) => Ok(()),
        (Some(attempt), Some(epoch), None) if attempt.epoch == epoch => Ok(()),
        (_, Some(epoch), _) => {
            Err(format!("{id} remembers a launch of epoch {epoch} that is not over and does not run"))
        }
    }
}

fn check_indexes(state: &State) -> Result<(), String> {
    let count = state.applications.len();
    if state.by_driver.len() != count || state.by_submission.len() != count {
        return Err(format!("{count} applications, but the indexes differ"));
    }
    for (driver, app) in &state.by_driver {
        if state.application(app).is_none_or(|application| application.driver != *driver) {
            return Err(format!("{driver} leads to {app}, which is not its application"));
        }
    }
    for (submission, app) in &state.by_submission {
        if state.application(app).is_none_or(|application| application.submission != *submission) {
            return Err(format!("submission {submission} leads to {app}, which is not its application"));
        }
    }
    if state.index != Index::of(state.applications()) {
        return Err("the index differs from the applications".to_owned());
    }
    if state.ended.len() > MAX_ENDED_APPLICATIONS {
        return Err(format!("{} ended applications are kept", state.ended.len()));
    }
    Ok(())
}

fn check_workers(state: &State) -> Result<(), String> {
    let mut addresses = BTreeSet::new();
    let mut gone = 0;
    for worker in state.workers() {
        if !worker.is_alive() {
            gone += 1;
            continue;
        }
        let registration = &worker.registration;
        if !addresses.insert((&registration.host, registration.grpc_port)) {
            return Err(format!("two living workers are at {}:{}", registration.host, registration.grpc_port));
        }
        let used = state.memory_used_bytes(&worker.id);
        if used > registration.memory_bytes {
            return Err(format!("{} holds {used} of {} bytes", worker.id, registration.memory_bytes));
        }
    }
    if gone > MAX_GONE_WORKERS { Err(format!("{gone} workers that are gone are kept")) } else { Ok(()) }
}
