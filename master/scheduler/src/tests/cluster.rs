//! Test workers, test tables, and the driver's side of a query.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::util::pretty::pretty_format_batches;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::serde::protobuf::KeyValuePair;
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine};
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use lake_engine::stores::{Profiles, Stores};
use lake_engine::{EngineError, codec, session};
use lake_proto::v1::master_message::Message;
use lake_proto::v1::query_event::Event;
use lake_proto::v1::task_status::Outcome;
use lake_proto::{AppId, Fault, WorkerId, v1};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::{Scheduler, SchedulerSettings, WorkerInfo};

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// A scan that is always cut.
pub(crate) const HUGE: u64 = u64::MAX;
/// Of the driver that runs the queries.
pub(crate) const EPOCH: u64 = 7;

/// What a test worker does with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    Work,
    /// Works, and reports it three times.
    Stammer,
    /// Fails as if a store were away.
    FailTransiently,
    /// Fails as if the author were wrong.
    FailForGood,
    /// Says nothing, runs nothing.
    Ignore,
    /// The process is gone with its files.
    Die,
}

/// What workers keep when their leader is gone.
#[derive(Default)]
pub(crate) struct Memory {
    /// Settings of the queries that were announced.
    queries: BTreeMap<String, Vec<KeyValuePair>>,
    /// Outputs, by the worker that made them.
    done: Vec<(WorkerId, v1::HeldOutput)>,
}

type Script = Box<dyn FnMut(&v1::LaunchTask) -> Reaction + Send>;

pub(crate) struct Cluster {
    pub(crate) scheduler: Scheduler,
    pub(crate) directory: TempDir,
    workers: BTreeMap<WorkerId, SpawnedTask<()>>,
    memory: Shared<Memory>,
    /// Everything that was sent to workers, in order.
    log: Arc<watch::Sender<Vec<(WorkerId, Message)>>>,
    tables: SessionContext,
    /// Settings that queries are planned with.
    config: SessionConfig,
}

impl Cluster {
    /// Workers with these cores that do all they are told, and tables to query.
    pub(crate) async fn start(cores: &[u32]) -> Self {
        let mut cluster = Self::with(SchedulerSettings::default()).await;
        for cores in cores {
            cluster.join(*cores, |_| Reaction::Work).await;
        }
        cluster
    }

    pub(crate) async fn with(settings: SchedulerSettings) -> Self {
        let directory = TempDir::new().unwrap();
        write_tables(directory.path()).await;
        let tables = read_tables(SessionContext::new(), directory.path()).await;
        let (log, _) = watch::channel(Vec::new());
        Self {
            scheduler: Scheduler::start(settings),
            directory,
            workers: BTreeMap::new(),
            memory: Arc::default(),
            log: Arc::new(log),
            tables,
            config: session::cluster_config(2),
        }
    }

    /// From now on no join broadcasts its smaller side.
    pub(crate) fn partition_joins(&mut self) {
        for key in [
            "datafusion.optimizer.hash_join_single_partition_threshold",
            "datafusion.optimizer.hash_join_single_partition_threshold_rows",
            "ballista.optimizer.broadcast_join_threshold_bytes",
            "ballista.optimizer.broadcast_join_threshold_rows",
        ] {
            self.config.options_mut().set(key, "0").unwrap();
        }
    }

    /// One more worker.
    pub(crate) async fn join(
        &mut self,
        cores: u32,
        script: impl FnMut(&v1::LaunchTask) -> Reaction + Send + 'static,
    ) -> WorkerId {
        let id: WorkerId = format!("worker-{}", self.workers.len()).parse().unwrap();
        let outbound = self.attach(&id, Box::new(script), BTreeSet::new());
        let worker = info(&id, cores);
        self.scheduler.worker_attached(worker, outbound).await;
        id
    }

    /// The worker's stream is opened anew; what it ran goes on.
    pub(crate) async fn reattach(&mut self, id: &WorkerId, cores: u32) {
        let outbound = self.attach(id, Box::new(|_| Reaction::Work), BTreeSet::new());
        self.scheduler.worker_attached(info(id, cores), outbound).await;
    }

    /// Another leader, to which all workers come with what they have.
    pub(crate) async fn change_leader(&mut self, settings: SchedulerSettings, cores: u32) {
        self.scheduler.shutdown().await;
        self.scheduler = Scheduler::start(settings);
        let workers: Vec<WorkerId> = self.workers.keys().cloned().collect();
        for id in workers {
            let announced = self.memory.lock().unwrap().queries.keys().cloned().collect();
            let outbound = self.attach(&id, Box::new(|_| Reaction::Work), announced);
            self.scheduler.worker_attached(info(&id, cores), outbound).await;
            let held = self.held(&id);
            self.scheduler.worker_holds(id, held).await;
        }
    }

    fn held(&self, worker: &WorkerId) -> v1::Held {
        let memory = self.memory.lock().unwrap();
        let queries = memory.queries.keys().map(|query_id| {
            let is_of_it = |held: &v1::HeldOutput| {
                held.status.as_ref().unwrap().task.as_ref().is_some_and(|task| task.query_id == *query_id)
            };
            let done = memory.done.iter().filter(|(id, held)| id == worker && is_of_it(held));
            v1::HeldQuery {
                query_id: query_id.clone(),
                app_id: app().to_string(),
                done: done.map(|(_, held)| held.clone()).collect(),
                running: Vec::new(),
            }
        });
        v1::Held { queries: queries.collect() }
    }

    fn attach(
        &mut self,
        id: &WorkerId,
        script: Script,
        announced: BTreeSet<String>,
    ) -> mpsc::Sender<v1::MasterMessage> {
        let (outbound, inbox) = mpsc::channel(16);
        let worker = TestWorker {
            id: id.clone(),
            scheduler: self.scheduler.clone(),
            shuffle: self.directory.path().join("shuffle"),
            announced,
            memory: self.memory.clone(),
            attempts: BTreeSet::new(),
            script,
            log: self.log.clone(),
        };
        // One that had the id before ends with its entry.
        self.workers.insert(id.clone(), SpawnedTask::spawn(worker.run(inbox)));
        outbound
    }

    /// Waits until the messages sent to workers so far satisfy `condition`.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&[(WorkerId, Message)]) -> bool) {
        let mut log = self.log.subscribe();
        let waited = tokio::time::timeout(DEADLINE, log.wait_for(|log| condition(log))).await;
        assert!(waited.is_ok(), "waited in vain for: {what}");
    }

    pub(crate) fn sent(&self) -> Vec<(WorkerId, Message)> {
        self.log.borrow().clone()
    }

    /// The request a driver makes for this SQL.
    pub(crate) async fn request(&self, sql: &str, scan_bytes: u64) -> v1::RunQueryRequest {
        let config = self.config.clone();
        let runtime = session::runtime(256 << 20, self.directory.path()).unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        let context = session::session(config.clone(), runtime, stores);
        let context = read_tables(context, self.directory.path()).await;
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let settings = config.to_key_value_pairs().into_iter().filter_map(|pair| {
            let KeyValuePair { key, value } = pair;
            value.map(|value| v1::Setting { key, value })
        });
        v1::RunQueryRequest {
            driver: Some(v1::DriverIdentity { driver_id: "driver-1".to_owned(), epoch: EPOCH }),
            query_id: uuid::Uuid::new_v4().to_string(),
            label: "a step".to_owned(),
            plan: codec::encode_plan(&plan, codec::codec().as_ref()).unwrap().into(),
            codec_version: codec::VERSION,
            settings: settings.collect(),
            profiles: b"{}".as_slice().into(),
            estimated_scan_bytes: scan_bytes,
            task_policy: None,
            replaces: String::new(),
            traceparent: String::new(),
        }
    }

    pub(crate) async fn submit(&self, request: v1::RunQueryRequest) -> mpsc::Receiver<v1::QueryEvent> {
        self.scheduler.run_query(app(), None, request).await.unwrap()
    }

    /// The rows the cluster answers with, as a sorted table.
    pub(crate) async fn answer(&self, sql: &str, scan_bytes: u64) -> Result<Vec<String>, Fault> {
        let events = self.submit(self.request(sql, scan_bytes).await).await;
        read_answer(events).await
    }

    /// The rows plain DataFusion answers with.
    pub(crate) async fn expected(&self, sql: &str) -> Vec<String> {
        lines(&self.tables.sql(sql).await.unwrap().collect().await.unwrap())
    }

    /// Ends the scheduler, and then the workers.
    pub(crate) async fn stop(self) {
        self.scheduler.shutdown().await;
    }
}

pub(crate) fn app() -> AppId {
    "app-20261121093012-0001".parse().unwrap()
}

fn info(id: &WorkerId, cores: u32) -> WorkerInfo {
    // Nobody serves these ports: a file that is not there is a fetch failure.
    WorkerInfo { id: id.clone(), host: "127.0.0.1".to_owned(), grpc_port: 1, flight_port: 1, cores, is_draining: false }
}

/// Reads a query's channel to its end.
pub(crate) async fn read_answer(mut events: mpsc::Receiver<v1::QueryEvent>) -> Result<Vec<String>, Fault> {
    let mut batches = Vec::new();
    let mut tasks = BTreeSet::new();
    let mut stages = Vec::new();
    loop {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.expect("the query does not end");
        match event.and_then(|event| event.event) {
            Some(Event::Accepted(_)) => {}
            Some(Event::Progress(progress)) => stages = progress.stages,
            Some(Event::Result(result)) => {
                assert!(tasks.insert(result.task_index), "task {} answers twice", result.task_index);
                let reader = StreamReader::try_new(result.inline_ipc.as_ref(), None).unwrap();
                batches.extend(reader.map(Result::unwrap));
            }
            Some(Event::Finished(v1::QueryFinished { failure: Some(failure), .. })) => return Err(failure.into()),
            Some(Event::Finished(finished)) => {
                assert_eq!(finished.tasks as usize, tasks.len());
                assert!(stages.iter().all(|stage| stage.tasks_done == stage.tasks_total), "{stages:?}");
                return Ok(lines(&batches));
            }
            None => panic!("the channel ends before the query has"),
        }
    }
}

pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let mut lines: Vec<String> = table.lines().filter(|line| line.starts_with("| ")).map(normal).collect();
    // The header comes once; an empty answer may have none.
    if !lines.is_empty() {
        lines.remove(0);
    }
    lines.sort();
    lines
}

/// Column widths depend on all rows of a batch list, so they are taken out.
fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `orders` (4 files of 500 rows), `customers` (2 files), with a few nulls and skew.
async fn write_tables(directory: &Path) {
    let context = SessionContext::new();
    let tables = [
        (
            "orders",
            4,
            "SELECT v AS id, v % 97 AS customer_id, CAST(v % 13 AS DOUBLE) / 2 AS amount, \
             CASE WHEN v % 7 = 0 THEN NULL ELSE 'item-' || CAST(v % 11 AS VARCHAR) END AS item \
             FROM generate_series({first}, {last}) AS t(v)",
            500,
        ),
        (
            "customers",
            2,
            "SELECT v AS id, 'customer-' || CAST(v AS VARCHAR) AS name, \
             CASE v % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' ELSE NULL END AS country \
             FROM generate_series({first}, {last}) AS t(v)",
            60,
        ),
    ];
    for (name, files, sql, rows) in tables {
        for file in 0..files {
            let sql = sql
                .replace("{first}", &(file * rows).to_string())
                .replace("{last}", &((file + 1) * rows - 1).to_string());
            let path = directory.join(name).join(format!("{file}.parquet"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let options = DataFrameWriteOptions::new().with_single_file_output(true);
            let frame = context.sql(&sql).await.unwrap();
            frame.write_parquet(path.to_str().unwrap(), options, None).await.unwrap();
        }
    }
}

async fn read_tables(context: SessionContext, directory: &Path) -> SessionContext {
    for name in ["orders", "customers"] {
        let path = format!("{}/", directory.join(name).display());
        context.register_parquet(name, path, ParquetReadOptions::default()).await.unwrap();
    }
    context
}

struct TestWorker {
    id: WorkerId,
    scheduler: Scheduler,
    shuffle: PathBuf,
    announced: BTreeSet<String>,
    memory: Shared<Memory>,
    attempts: BTreeSet<(String, u64)>,
    script: Script,
    log: Arc<watch::Sender<Vec<(WorkerId, Message)>>>,
}

impl TestWorker {
    async fn run(mut self, mut inbox: mpsc::Receiver<v1::MasterMessage>) {
        // Tasks run one after the other, which is enough for every order of statuses that matters here.
        while let Some(message) = inbox.recv().await {
            let message = message.message.unwrap();
            self.log.send_modify(|log| log.push((self.id.clone(), message.clone())));
            match message {
                Message::PrepareQuery(prepare) => {
                    let pair = |setting: v1::Setting| KeyValuePair { key: setting.key, value: Some(setting.value) };
                    let settings = prepare.settings.into_iter().map(pair).collect();
                    self.announced.insert(prepare.query_id.clone());
                    self.memory.lock().unwrap().queries.insert(prepare.query_id, settings);
                }
                Message::LaunchTask(launch) => match (self.script)(&launch) {
                    Reaction::Work => self.work(launch, 1).await,
                    Reaction::Stammer => self.work(launch, 3).await,
                    Reaction::FailTransiently => self.fail(launch, "unavailable", true).await,
                    Reaction::FailForGood => self.fail(launch, "invalid-job", false).await,
                    Reaction::Ignore => {}
                    Reaction::Die => {
                        self.attempts.iter().for_each(|(query, attempt)| spoil(&self.shuffle, query, *attempt));
                        self.scheduler.worker_lost(self.id.clone()).await;
                        return;
                    }
                },
                Message::CancelTask(cancel) => {
                    self.report(cancel.task.unwrap(), Outcome::Cancelled(v1::Ack {}), 1).await;
                }
                Message::DropQuery(dropped) => {
                    self.announced.remove(&dropped.query_id);
                    let _ = std::fs::remove_dir_all(self.shuffle.join(dropped.query_id));
                }
                other => panic!("unexpected message {other:?}"),
            }
        }
    }

    async fn work(&mut self, launch: v1::LaunchTask, reports: u32) {
        let task = launch.task.clone().unwrap();
        self.attempts.insert((task.query_id.clone(), task.attempt));
        assert!(self.announced.contains(&task.query_id), "a task comes before its query is announced");
        let settings = self.memory.lock().unwrap().queries.get(&task.query_id).cloned().unwrap();
        let outcome = match execute(&launch, &task, &settings, self.shuffle.to_str().unwrap()).await {
            Ok(done) => Outcome::Done(done),
            Err(error) => Outcome::Failed(failed(error)),
        };
        if matches!(outcome, Outcome::Done(_)) {
            let (task, outcome) = (Some(task.clone()), Some(outcome.clone()));
            let status = Some(v1::TaskStatus { seq: 0, task, outcome, metrics: None });
            let held = v1::HeldOutput { status, lineage: launch.lineage };
            self.memory.lock().unwrap().done.push((self.id.clone(), held));
        }
        self.report(task, outcome, reports).await;
    }

    async fn fail(&mut self, launch: v1::LaunchTask, class: &str, transient: bool) {
        let failure =
            v1::Failure { class: class.to_owned(), code: "scripted".to_owned(), message: "as told".to_owned() };
        let failed = v1::TaskFailed { failure: Some(failure), transient, fetch: None };
        self.report(launch.task.unwrap(), Outcome::Failed(failed), 1).await;
    }

    async fn report(&mut self, task: v1::TaskRef, outcome: Outcome, times: u32) {
        for seq in 0..times {
            let metrics = Some(v1::TaskMetrics { rows: 1, bytes: 8, elapsed_ms: 1, ..v1::TaskMetrics::default() });
            let (task, outcome) = (Some(task.clone()), Some(outcome.clone()));
            let status = v1::TaskStatus { seq: u64::from(seq), task, outcome, metrics };
            self.scheduler.task_status(self.id.clone(), status).await;
        }
    }
}

/// Deletes what an attempt wrote.
pub(crate) fn spoil(shuffle: &Path, query: &str, attempt: u64) {
    let stages = std::fs::read_dir(shuffle.join(query)).into_iter().flatten().map(|stage| stage.unwrap().path());
    for entry in stages.flat_map(|stage| std::fs::read_dir(stage).unwrap()).map(|entry| entry.unwrap().path()) {
        let _ = std::fs::remove_file(entry.join(format!("data-{attempt}.arrow")));
        if entry.ends_with(attempt.to_string()) && entry.join("data.arrow").exists() {
            let _ = std::fs::remove_dir_all(entry);
        }
    }
}

async fn execute(
    launch: &v1::LaunchTask,
    task: &v1::TaskRef,
    settings: &[KeyValuePair],
    shuffle: &str,
) -> Result<v1::TaskDone, DataFusionError> {
    let config = SessionConfig::new_with_ballista().update_from_key_value_pair(settings);
    let context = context(config.clone());
    let plan = codec::decode_plan(&launch.plan, &context, codec::codec().as_ref())?;
    if launch.is_result {
        let plan = plan.transform(|node| match node.downcast_ref::<ShuffleReaderExec>() {
            Some(reader) => {
                let reader: Arc<dyn ExecutionPlan> = Arc::new(reader.with_work_dir(shuffle.to_owned()));
                Ok(Transformed::yes(reader))
            }
            None => Ok(Transformed::no(node)),
        })?;
        let schema = plan.data.schema();
        let batches = collect_partitioned(plan.data, context).await?;
        assert_eq!(batches.len(), launch.output_partitions.len(), "one global number per output partition");
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        for batch in batches.iter().flatten() {
            writer.write(batch)?;
        }
        return Ok(v1::TaskDone { outputs: Vec::new(), inline_ipc: writer.into_inner()?.into(), ticket: Bytes::new() });
    }
    let attempt = usize::try_from(task.attempt).unwrap();
    let partitions = launch.output_partitions.iter().map(|id| usize::try_from(*id).unwrap()).collect();
    let job = JobId::new(task.query_id.as_str());
    let engine = DefaultExecutionEngine::new();
    let stage = task.stage_id as usize;
    let stage = engine.create_query_stage_exec(job, stage, attempt, partitions, plan, shuffle, &config)?;
    let written = stage.execute_query_stage(attempt, context).await?;
    let outputs = written.into_iter().map(|partition| v1::ShuffleOutput {
        partition_id: partition.partition_id,
        num_batches: partition.num_batches,
        num_rows: partition.num_rows,
        num_bytes: partition.num_bytes,
        file_id: partition.file_id,
        is_sort_shuffle: partition.is_sort_shuffle,
    });
    Ok(v1::TaskDone { outputs: outputs.collect(), inline_ipc: Bytes::new(), ticket: Bytes::new() })
}

fn context(config: SessionConfig) -> Arc<TaskContext> {
    SessionContext::new_with_config(config).task_ctx()
}

fn failed(error: DataFusionError) -> v1::TaskFailed {
    let fetch = fetch_failure(&error);
    let error = EngineError::from(error);
    v1::TaskFailed { transient: error.is_transient(), failure: Some(error.0.into()), fetch }
}

fn fetch_failure(error: &DataFusionError) -> Option<v1::FetchFailure> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.find_root());
    while let Some(current) = cause {
        let inner: Option<&(dyn Error + 'static)> = match current.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::ArrowError(inner, _)) => match inner.as_ref() {
                arrow::error::ArrowError::ExternalError(inner) => Some(inner.as_ref()),
                _ => None,
            },
            _ => None,
        };
        if let Some(BallistaError::FetchFailed(worker_id, stage, _, _)) = current.downcast_ref::<BallistaError>() {
            let stage_id = u32::try_from(*stage).unwrap();
            return Some(v1::FetchFailure { worker_id: worker_id.clone(), stage_id });
        }
        cause = inner.or_else(|| current.source());
    }
    None
}

/// A script that reacts to the first task that `is_meant`, and works otherwise.
pub(crate) fn once(
    reaction: Reaction,
    is_meant: impl Fn(&v1::LaunchTask) -> bool + Send + 'static,
) -> impl FnMut(&v1::LaunchTask) -> Reaction + Send + 'static {
    let mut is_over = false;
    move |launch| {
        if is_over || !is_meant(launch) {
            return Reaction::Work;
        }
        is_over = true;
        reaction
    }
}

/// Attempts that were launched, by worker.
pub(crate) fn launches(log: &[(WorkerId, Message)]) -> Vec<(WorkerId, v1::LaunchTask)> {
    let launch = |(worker, message): &(WorkerId, Message)| match message {
        Message::LaunchTask(launch) => Some((worker.clone(), launch.clone())),
        _ => None,
    };
    log.iter().filter_map(launch).collect()
}

/// A value that scripts and tests share.
pub(crate) type Shared<T> = Arc<Mutex<T>>;
