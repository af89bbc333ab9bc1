//! Workers that ran something of an application, which are its executors in Spark's words, and its driver. Pure.

use std::collections::BTreeMap;

use lake_master_core::view::WorkerView;
use lake_proto::Fault;
use lake_record::{ApplicationRecord, AttemptState};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Part;
use crate::date::Date;
use crate::parameter::Query;

/// Which of them are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are there; of an application that has ended all.
    Present,
    /// All that ever ran something of it.
    All,
}

/// An executor. Spark's fields; where nothing is measured there is 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorSummary {
    /// The worker's id, or `driver`.
    pub id: String,
    /// Where it is reached; the host alone when the worker is not kept any more.
    pub host_port: String,
    /// It is there, and the application runs.
    pub is_active: bool,
    /// There are no RDDs.
    pub rdd_blocks: u64,
    /// Bytes that tasks of all applications use on it, as it says.
    pub memory_used: u64,
    /// There is no cache on disk.
    pub disk_used: u64,
    /// Cores it offers to tasks.
    pub total_cores: u32,
    /// As `totalCores`.
    pub max_tasks: u32,
    /// Attempts of this application that run on it.
    pub active_tasks: u64,
    /// Attempts that failed, or were lost with it.
    pub failed_tasks: u64,
    /// Attempts that succeeded.
    pub completed_tasks: u64,
    /// Attempts.
    pub total_tasks: u64,
    /// Milliseconds of its attempts.
    pub total_duration: u64,
    /// There is no garbage collector.
    #[serde(rename = "totalGCTime")]
    pub total_gc_time: u64,
    /// Bytes that its scans read of stores and databases.
    pub total_input_bytes: u64,
    /// Bytes it read of other stages.
    pub total_shuffle_read: u64,
    /// Bytes of its shuffle files.
    pub total_shuffle_write: u64,
    /// Workers are not excluded.
    pub is_blacklisted: bool,
    /// Memory of the worker, or of the driver.
    pub max_memory: u64,
    /// When it registered, or ran the first attempt of this application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_time: Option<Date>,
    /// When it was gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_time: Option<Date>,
    /// Why it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_reason: Option<String>,
    /// Logs are by driver, see `logs`.
    pub executor_logs: BTreeMap<String, String>,
    /// Workers are not excluded.
    pub blacklisted_in_stages: Vec<u64>,
    /// There are none.
    pub attributes: BTreeMap<String, String>,
    /// There are none but cores and memory.
    pub resources: BTreeMap<String, String>,
    /// There is one profile.
    pub resource_profile_id: u64,
    /// Workers are not excluded.
    pub is_excluded: bool,
    /// Workers are not excluded.
    pub excluded_in_stages: Vec<u64>,
}

/// Executors of an application: its driver, then its workers by id. `workers` are those that the masters keep.
///
/// # Errors
/// `invalid-job/parameter` for a page that is none.
pub fn list(
    record: &ApplicationRecord,
    workers: &[WorkerView],
    which: Which,
    query: &Query,
) -> Result<Part<ExecutorSummary>, Fault> {
    let page = query.page()?;
    let mut executors: BTreeMap<&str, ExecutorSummary> = BTreeMap::new();
    for attempt in record.queries.iter().flat_map(|query| &query.stages).flat_map(|stage| &stage.attempts) {
        let executor = executors.entry(&attempt.worker_id).or_insert_with(|| ExecutorSummary {
            id: attempt.worker_id.clone(),
            host_port: attempt.host.clone(),
            ..ExecutorSummary::default()
        });
        let state = match attempt.state {
            AttemptState::Running => Some(&mut executor.active_tasks),
            AttemptState::Success => Some(&mut executor.completed_tasks),
            AttemptState::Failed | AttemptState::Lost => Some(&mut executor.failed_tasks),
            AttemptState::Killed => None,
        };
        state.into_iter().for_each(|count| *count += 1);
        executor.total_tasks += 1;
        let add = [
            (&mut executor.total_duration, attempt.totals.elapsed_ms),
            (&mut executor.total_input_bytes, attempt.totals.input_bytes),
            (&mut executor.total_shuffle_read, attempt.totals.shuffle_read_bytes),
            (&mut executor.total_shuffle_write, attempt.totals.shuffle_write_bytes),
        ];
        for (sum, more) in add {
            *sum = sum.saturating_add(more);
        }
        let launched = Date::if_past(attempt.launched_at_ms);
        executor.add_time = executor.add_time.into_iter().chain(launched).min();
    }
    let is_over = record.summary.is_over();
    for executor in executors.values_mut() {
        if let Some(worker) = workers.iter().find(|worker| worker.worker_id == executor.id) {
            describe(executor, worker, is_over);
        }
    }
    let is_wanted = |executor: &ExecutorSummary| which == Which::All || is_over || executor.is_active;
    let all = driver(record).into_iter().chain(executors.into_values());
    Ok(Part::of(all.filter(is_wanted), page))
}

fn describe(executor: &mut ExecutorSummary, worker: &WorkerView, is_over: bool) {
    let is_there = worker.gone_at_ms == 0;
    executor.host_port = format!("{}:{}", worker.host, worker.grpc_port);
    executor.is_active = is_there && !is_over;
    executor.memory_used = worker.task_memory_bytes;
    executor.total_cores = worker.cores;
    executor.max_tasks = worker.cores;
    executor.max_memory = worker.memory_bytes;
    executor.add_time = Date::if_past(worker.registered_at_ms);
    executor.remove_time = Date::if_past(worker.gone_at_ms);
    executor.remove_reason = worker.lost_reason.clone().or_else(|| (!is_there).then(|| worker.state.to_owned()));
}

/// `None` before one was launched.
fn driver(record: &ApplicationRecord) -> Option<ExecutorSummary> {
    let summary = &record.summary;
    let address = match summary.worker_address.as_str() {
        "" => summary.deploy_mode.as_str(),
        address => address,
    };
    (summary.attempt > 0).then(|| ExecutorSummary {
        id: "driver".to_owned(),
        host_port: address.to_owned(),
        is_active: summary.state == "RUNNING",
        max_memory: summary.driver_memory_bytes,
        add_time: Date::if_past(summary.started_at_ms),
        remove_time: Date::if_past(summary.ended_at_ms),
        ..ExecutorSummary::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn worker(id: &str, state: &'static str) -> WorkerView {
        let is_gone = state != "ALIVE";
        WorkerView {
            worker_id: id.to_owned(),
            host: "h9".to_owned(),
            grpc_port: 7078,
            flight_port: 7079,
            http_port: 8081,
            cores: 8,
            cores_used: 1,
            memory_bytes: 1 << 30,
            driver_memory_bytes: 0,
            task_memory_bytes: 77,
            disk_free_bytes: 0,
            running_tasks: 0,
            shuffle_bytes: 0,
            state,
            lost_reason: is_gone.then(|| "silent".to_owned()),
            gone_at_ms: if is_gone { 8_000 } else { 0 },
            drivers: 0,
            registered_at_ms: 500,
            last_heartbeat_ms: 0,
        }
    }

    fn listed(which: Which, ended_at_ms: u64) -> Vec<ExecutorSummary> {
        let mut record = example::record();
        record.summary.ended_at_ms = ended_at_ms;
        let workers = [worker("worker-1", "ALIVE"), worker("worker-2", "LOST"), worker("worker-3", "ALIVE")];
        list(&record, &workers, which, &Query::of("")).unwrap().items
    }

    #[test]
    fn executors_are_the_driver_and_the_workers_that_ran_something() {
        let all = listed(Which::All, 0);
        assert_eq!(
            all.iter().map(|executor| executor.id.as_str()).collect::<Vec<_>>(),
            ["driver", "worker-1", "worker-2"]
        );
        let [driver, first, second] = all.try_into().unwrap();
        assert_eq!((driver.host_port.as_str(), driver.is_active, driver.max_memory), ("h1:7078", true, 512 << 20));
        assert_eq!((first.active_tasks, first.failed_tasks, first.completed_tasks, first.total_tasks), (1, 1, 10, 13));
        assert_eq!((first.host_port.as_str(), first.total_cores, first.memory_used), ("h9:7078", 8, 77));
        assert_eq!((second.is_active, second.failed_tasks), (false, 1));
        assert_eq!(second.remove_time, Some(Date::at(8_000)));
        assert_eq!(second.remove_reason.as_deref(), Some("silent"));
    }

    #[test]
    fn those_that_are_gone_are_not_among_the_present_unless_the_application_is_gone_too() {
        let ids = |which, ended_at_ms| {
            let listed = listed(which, ended_at_ms);
            listed.into_iter().map(|executor| executor.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(Which::Present, 0), ["driver", "worker-1"]);
        assert_eq!(ids(Which::Present, 9_000), ["driver", "worker-1", "worker-2"]);
        assert!(listed(Which::All, 9_000).iter().skip(1).all(|executor| !executor.is_active));
    }

    #[test]
    fn a_worker_that_is_not_kept_is_known_by_its_host() {
        let all = list(&example::record(), &[], Which::All, &Query::of("offset=1&limit=1")).unwrap();
        assert_eq!((all.total, all.items.len()), (3, 1));
        assert_eq!((all.items[0].host_port.as_str(), all.items[0].add_time), ("h1", Some(Date::at(4_000))));
    }
}
