//! Every metric of a master, and its page. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::declared::metrics;
use crate::moves::{LAST_STATES, Moves};
use crate::page::Page;
use crate::steps::StepTotals;
use crate::tally::{STEP_OUTCOMES, Tally};

metrics! {
    UPTIME = Gauge "lake_master_uptime_seconds" [] "Time since this master started";
    IS_LEADER = Gauge "lake_master_is_leader" [] "1 when this master leads";
    ROLE = Gauge "lake_master_role" ["role"] "1 for the role of this master: leader, follower, or no_quorum when it knows no leader";
    TERM = Gauge "lake_master_raft_term" [] "Raft term";
    COMMITTED = Gauge "lake_master_raft_commit_index" [] "Index of the last log entry that is on the disks of a majority, as known here";
    APPLIED = Gauge "lake_master_raft_applied_index" [] "Index of the last log entry that was applied here";
    LEADER_CHANGES = Counter "lake_master_raft_leader_changes_total" [] "Times another master led than before, or none, as seen here";
    VOTERS = Gauge "lake_master_raft_voters" [] "Masters whose vote counts";
    MEMBER_LAG = Gauge "lake_master_raft_member_lag_entries" ["member"] "Log entries that a master lacks; told by the leader";
    MEMBER_ACTIVE = Gauge "lake_master_raft_member_active" ["member"] "1 when the leader has heard a master lately; told by the leader";
    PROPOSALS = Histogram "lake_master_raft_proposal_seconds" [] "From the proposal of a command on this master until it was applied";
    SNAPSHOT_BYTES = Gauge "lake_master_raft_snapshot_bytes" [] "Size of the last snapshot of the state that this master wrote; 0 = none since it started";
    SNAPSHOTS = Counter "lake_master_raft_snapshots_total" [] "Snapshots of the state that this master wrote";

    APPLICATIONS = Gauge "lake_master_applications" ["state"] "Applications that the masters keep, by state";
    QUEUED = Gauge "lake_master_queued_applications" [] "Applications that wait for a driver";
    MAX_QUEUED = Gauge "lake_master_max_queued_applications" [] "Applications that may wait before more are refused";
    SUBMISSIONS = Counter "lake_master_submissions_total" [] "Submissions that were accepted; a repeat is not one more";
    ENDED = Counter "lake_master_applications_ended_total" ["state"] "Applications that ended, by their last state";
    FAILURES = Counter "lake_master_application_failures_total" ["class"] "Applications that ended without success, by class of error";
    DRIVER_LAUNCHES = Counter "lake_master_driver_launches_total" [] "Drivers that were given to a worker";
    DRIVER_RELAUNCHES = Counter "lake_master_driver_relaunches_total" ["class"] "Drivers that are started again, by class of the error that ended the last one";

    WORKERS = Gauge "lake_master_workers" ["state"] "Workers that the masters keep, by state";
    REGISTRATIONS = Counter "lake_master_worker_registrations_total" [] "Workers that registered under a new id";
    LOSSES = Counter "lake_master_worker_losses_total" [] "Workers that were given up";
    DEPARTURES = Counter "lake_master_worker_departures_total" [] "Workers that drained and left";
    CORES = Gauge "lake_master_cores" [] "Cores that living workers offer";
    CORES_USED = Gauge "lake_master_cores_used" [] "Cores that task attempts hold";
    CORES_FREE = Gauge "lake_master_cores_free" [] "Cores that no task attempt holds";
    MEMORY = Gauge "lake_master_memory_bytes" [] "Memory that living workers offer";
    DRIVER_MEMORY = Gauge "lake_master_driver_memory_bytes" [] "Memory that drivers hold";
    MEMORY_FREE = Gauge "lake_master_memory_free_bytes" [] "Memory that no driver holds";

    QUERIES = Gauge "lake_master_queries" [] "Queries that run now";
    QUERIES_TOTAL = Counter "lake_master_queries_total" [] "Queries received since the start";
    QUERY_SECONDS = Histogram "lake_query_duration_seconds" ["outcome"] "From the arrival of a query to its end";
    TASKS_RUNNING = Gauge "lake_master_tasks_running" [] "Task attempts that run now";
    TASKS_WAITING = Gauge "lake_master_tasks_waiting" [] "Tasks of running queries that are neither done nor running";
    TASK_SECONDS = Histogram "lake_task_duration_seconds" ["outcome"] "Time of task attempts by how they ended: done, failed, cancelled, or lost with their worker";
    TASK_FAILURES = Counter "lake_task_failures_total" ["class"] "Task attempts that failed, by class of error";

    STEPS = Counter "lake_steps_total" ["outcome"] "Steps on record by outcome";
    STEP_SECONDS = Histogram "lake_step_duration_seconds" [] "From the start of a step to its commit";
    COMMIT_SECONDS = Histogram "lake_commit_duration_seconds" [] "From the request for the permission to commit a step to its commit, conflicts and repeats included";
    STEP_INPUT_ROWS = Counter "lake_step_input_rows_total" ["job_name", "table"] "Rows of the queries of committed steps, before expectations dropped any; of many jobs some are added up as other";
    STEP_OUTPUT_ROWS = Counter "lake_step_output_rows_total" ["job_name", "table"] "Rows that committed steps wrote; of many jobs some are added up as other";
    STEP_OUTPUT_BYTES = Counter "lake_step_output_bytes_total" ["job_name", "table"] "Bytes of the files that committed steps wrote; of many jobs some are added up as other";
    STEP_OUTPUT_FILES = Counter "lake_step_output_files_total" ["job_name", "table"] "Files that committed steps wrote; of many jobs some are added up as other";
    STEP_VIOLATIONS = Counter "lake_step_violations_total" ["job_name", "table"] "Rows of committed steps that violated an expectation; of many jobs some are added up as other";
    STEP_TIME = Counter "lake_step_elapsed_seconds_total" ["job_name", "table"] "Time of committed steps; of many jobs some are added up as other";
}

const STATES: [&str; 7] = ["SUBMITTED", "RUNNING", "RELAUNCHING", "FINISHED", "FAILED", "KILLED", "ERROR"];
const WAITING: [&str; 2] = ["SUBMITTED", "RELAUNCHING"];
const WORKER_STATES: [&str; 4] = ["ALIVE", "DRAINING", "DECOMMISSIONED", "LOST"];

/// What a master is in its group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// It decides.
    Leader,
    /// Another one decides.
    Follower,
    /// Nobody decides, as far as it knows.
    #[default]
    NoQuorum,
}

/// One master of the group, as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its vote counts.
    pub is_voter: bool,
    /// Log entries that it lacks; `None` where this is not known.
    pub lag: Option<u64>,
    /// It was heard lately; `None` where this is not known.
    pub is_active: Option<bool>,
}

/// What a master looks like at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Since it started.
    pub uptime: Duration,
    /// What it is in its group.
    pub role: Role,
    /// Raft's term.
    pub term: u64,
    /// Last log entry on the disks of a majority.
    pub committed: u64,
    /// Last log entry applied here.
    pub applied: u64,
    /// The group.
    pub members: Vec<Member>,
    /// Applications by Spark's name of their state; states without one may be missing.
    pub applications: BTreeMap<&'static str, usize>,
    /// Applications that may wait.
    pub max_queued: u64,
    /// Workers by state; states without one may be missing.
    pub workers: BTreeMap<&'static str, usize>,
    /// Cores that workers offer which take work.
    pub cores: u64,
    /// Those that task attempts hold.
    pub cores_used: u64,
    /// Memory that these workers offer.
    pub memory_bytes: u64,
    /// That which drivers hold.
    pub driver_memory_bytes: u64,
    /// Queries that run.
    pub queries: usize,
    /// Tasks of them that run.
    pub tasks_running: u64,
    /// Tasks of them that are neither done nor running.
    pub tasks_waiting: u64,
}

impl Figures {
    /// Applications in any of these states.
    pub(crate) fn applications_in(&self, states: &[&str]) -> usize {
        states.iter().filter_map(|state| self.applications.get(state)).sum()
    }
}

/// Puts a master's metrics on a page.
pub fn write(page: &mut Page, figures: &Figures, moves: &Moves, tally: &Tally) {
    write_group(page, figures, moves);
    write_applications(page, figures, moves);
    write_workers(page, figures, moves);
    write_queries(page, figures, tally);
    write_steps(page, tally);
}

fn write_group(page: &mut Page, figures: &Figures, moves: &Moves) {
    page.value(&UPTIME, figures.uptime.as_secs_f64());
    page.value(&IS_LEADER, figures.role == Role::Leader);
    let mut roles = page.family(&ROLE);
    for (name, role) in [("leader", Role::Leader), ("follower", Role::Follower), ("no_quorum", Role::NoQuorum)] {
        roles.value(&[name], figures.role == role);
    }
    page.value(&TERM, figures.term);
    page.value(&COMMITTED, figures.committed);
    page.value(&APPLIED, figures.applied);
    page.value(&LEADER_CHANGES, moves.leader_changes.get());
    page.value(&VOTERS, figures.members.iter().filter(|member| member.is_voter).count());
    let mut lags = page.family(&MEMBER_LAG);
    for (id, lag) in figures.members.iter().filter_map(|member| Some((member.id, member.lag?))) {
        lags.value(&[&id.to_string()], lag);
    }
    let mut active = page.family(&MEMBER_ACTIVE);
    for (id, is_active) in figures.members.iter().filter_map(|member| Some((member.id, member.is_active?))) {
        active.value(&[&id.to_string()], is_active);
    }
    page.family(&PROPOSALS).distribution(&[], &moves.proposal_seconds.get());
    page.value(&SNAPSHOT_BYTES, moves.snapshot_bytes.get());
    page.value(&SNAPSHOTS, moves.snapshots.get());
}

fn write_applications(page: &mut Page, figures: &Figures, moves: &Moves) {
    let mut states = page.family(&APPLICATIONS);
    for state in STATES {
        states.value(&[state], figures.applications_in(&[state]));
    }
    page.value(&QUEUED, figures.applications_in(&WAITING));
    page.value(&MAX_QUEUED, figures.max_queued);
    page.value(&SUBMISSIONS, moves.submissions.get());
    let mut ended = page.family(&ENDED);
    for (state, counter) in LAST_STATES.iter().zip(&moves.ended) {
        ended.value(&[state], counter.get());
    }
    let mut failures = page.family(&FAILURES);
    for (class, count) in moves.failures.all() {
        failures.value(&[class.name()], count);
    }
    page.value(&DRIVER_LAUNCHES, moves.driver_launches.get());
    let mut relaunches = page.family(&DRIVER_RELAUNCHES);
    for (class, count) in moves.driver_relaunches.all() {
        relaunches.value(&[class.name()], count);
    }
}

fn write_workers(page: &mut Page, figures: &Figures, moves: &Moves) {
    let mut states = page.family(&WORKERS);
    for state in WORKER_STATES {
        states.value(&[state], figures.workers.get(state).copied().unwrap_or_default());
    }
    page.value(&REGISTRATIONS, moves.worker_registrations.get());
    page.value(&LOSSES, moves.worker_losses.get());
    page.value(&DEPARTURES, moves.worker_departures.get());
    page.value(&CORES, figures.cores);
    page.value(&CORES_USED, figures.cores_used);
    page.value(&CORES_FREE, figures.cores.saturating_sub(figures.cores_used));
    page.value(&MEMORY, figures.memory_bytes);
    page.value(&DRIVER_MEMORY, figures.driver_memory_bytes);
    page.value(&MEMORY_FREE, figures.memory_bytes.saturating_sub(figures.driver_memory_bytes));
}

fn write_queries(page: &mut Page, figures: &Figures, tally: &Tally) {
    page.value(&QUERIES, figures.queries);
    page.value(&QUERIES_TOTAL, tally.queries_accepted.get());
    let mut queries = page.family(&QUERY_SECONDS);
    for (outcome, distribution) in tally.queries.get() {
        queries.distribution(&[outcome], &distribution);
    }
    page.value(&TASKS_RUNNING, figures.tasks_running);
    page.value(&TASKS_WAITING, figures.tasks_waiting);
    let mut tasks = page.family(&TASK_SECONDS);
    for (outcome, distribution) in tally.tasks.get() {
        tasks.distribution(&[outcome], &distribution);
    }
    let mut failures = page.family(&TASK_FAILURES);
    for (class, count) in tally.task_failures.all() {
        failures.value(&[class.name()], count);
    }
}

fn write_steps(page: &mut Page, tally: &Tally) {
    let mut outcomes = page.family(&STEPS);
    for (outcome, counter) in STEP_OUTCOMES.iter().zip(&tally.step_outcomes) {
        outcomes.value(&[outcome], counter.get());
    }
    page.family(&STEP_SECONDS).distribution(&[], &tally.step_seconds.get());
    page.family(&COMMIT_SECONDS).distribution(&[], &tally.commit_seconds.get());
    let totals = tally.steps.get();
    type Sum = fn(&StepTotals) -> u64;
    let sums: [(_, Sum); 5] = [
        (&STEP_INPUT_ROWS, |total| total.sums.input_rows),
        (&STEP_OUTPUT_ROWS, |total| total.sums.output_rows),
        (&STEP_OUTPUT_BYTES, |total| total.sums.output_bytes),
        (&STEP_OUTPUT_FILES, |total| total.sums.output_files),
        (&STEP_VIOLATIONS, |total| total.sums.violations),
    ];
    for (metric, sum) in sums {
        let mut family = page.family(metric);
        for total in &totals {
            family.value(&[&total.job, &total.table], sum(total));
        }
    }
    let mut times = page.family(&STEP_TIME);
    for total in &totals {
        times.value(&[&total.job, &total.table], Duration::from_millis(total.sums.elapsed_ms).as_secs_f64());
    }
}
