//! Submitting a job and following it to its end, in any of the three deploy modes. Edge.
//!
//! Standard output gets data only: the driver's id with `--no-wait`, tables with `--show`, the document with
//! `--output json`. Everything else goes to standard error.

use std::time::{Duration, Instant};

use lake_job::Pipeline;
use lake_proto::v1::{ApplicationStatus, StepProgress, SubmitOptions, SubmitRequest, SubmitResponse};
use lake_proto::{DEFAULT_DRIVER_MEMORY_BYTES, ErrorClass, Fault};
use lake_telemetry::trace;
use tokio::sync::watch;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{client, load, print};
use crate::client::Client;
use crate::engine;
use crate::options::{DeployMode, Options, Output, Terminal};
use crate::report::{Failed, Failure, Outcome, Step, exit_code, fault_of};
use crate::view::{self, View};

const SHOWN_ROWS: usize = 20;
/// As a shell reports a process that was interrupted.
const DETACHED: u8 = 130;

pub(super) async fn run(options: &Options) -> u8 {
    let mut run = Run { options, started: Instant::now(), outcome: Outcome::before(options), view: None };
    let span = tracing::info_span!("submit", app_id = Empty, driver_id = Empty);
    let failed = Box::pin(run.job()).instrument(span).await.err();
    run.last_word(failed)
}

struct Run<'a> {
    options: &'a Options,
    started: Instant,
    outcome: Outcome,
    view: Option<Box<dyn View>>,
}

impl Outcome {
    fn before(options: &Options) -> Self {
        Self {
            name: None,
            state: "NOT_SUBMITTED".to_owned(),
            exit_code: 0,
            deploy_mode: options.deploy_mode.name(),
            submission_id: None,
            driver_id: None,
            app_id: None,
            run_number: None,
            attempt: None,
            elapsed_ms: 0,
            steps: Vec::new(),
            failure: None,
        }
    }

    fn submitted(&mut self, answer: &SubmitResponse) {
        self.state = "SUBMITTED".to_owned();
        self.driver_id = Some(answer.driver_id.clone());
        self.app_id = Some(answer.app_id.clone());
        Span::current().record("app_id", answer.app_id.as_str()).record("driver_id", answer.driver_id.as_str());
    }

    fn ended(&mut self, status: &ApplicationStatus) {
        self.state.clone_from(&status.state);
        self.exit_code = exit_code(status);
        self.run_number = Some(status.run_number);
        self.attempt = Some(status.attempt);
        self.steps = status.steps.iter().map(Step::from).collect();
    }
}

/// A table to be shown is looked for before anything runs.
fn check_table(pipeline: &Pipeline, table: &str) -> Result<(), Fault> {
    let names: Vec<String> = pipeline.tables.iter().map(|step| step.name.to_string()).collect();
    if names.iter().any(|name| name.eq_ignore_ascii_case(table)) {
        return Ok(());
    }
    let message = format!("--show {table}: the job has no such table, it has {}", names.join(", "));
    Err(Fault::new(ErrorClass::NotFound, "table", message))
}

impl Run<'_> {
    async fn job(&mut self) -> Result<(), Failed> {
        let options = self.options;
        if options.output == Output::Json && !options.show.is_empty() {
            let message = "--show prints a table and does not go with --output json";
            return Err(Fault::new(ErrorClass::InvalidJob, "usage", message).into());
        }
        if options.deploy_mode == DeployMode::Local && options.submission_id.is_some() {
            let message =
                "--submission-id needs masters that remember it, and local mode has none: a repeat would run again";
            return Err(Fault::new(ErrorClass::InvalidJob, "usage", message).into());
        }
        let pipeline = load::pipeline(options)?;
        for table in &options.show {
            check_table(&pipeline, table)?;
        }
        self.outcome.name = Some(options.name.clone().unwrap_or_else(|| pipeline.name.clone()));
        if options.dry_run {
            return Ok(self.dry_run(pipeline).await?);
        }
        match options.deploy_mode {
            DeployMode::Local => self.local(pipeline.clone()).await?,
            DeployMode::Client => self.attached(&pipeline).await?,
            DeployMode::Cluster => self.cluster(&pipeline).await?,
        }
        if self.outcome.state == "FINISHED" {
            self.close_view();
            for table in &options.show {
                // The tables are committed: a caller that repeats on a failure would write them twice.
                if let Err(fault) = show(&pipeline, table).await {
                    eprintln!(
                        "warning[{}/{}]: the job has finished, but {table} is not shown: {fault}",
                        fault.class, fault.code
                    );
                }
            }
        }
        Ok(())
    }

    async fn dry_run(&mut self, pipeline: Pipeline) -> Result<(), Fault> {
        let plan = engine::dry_run(pipeline).await?;
        self.outcome.state = "PLANNED".to_owned();
        match self.options.output {
            Output::Text => print(&plan.text.trim_end()),
            Output::Json => print(&plan.document),
        }
    }

    async fn local(&mut self, pipeline: Pipeline) -> Result<(), Fault> {
        let (sender, mut progress) = watch::channel(Vec::<StepProgress>::new());
        let mut driver = std::pin::pin!(engine::run_local(pipeline, self.options, sender));
        let view = self.view.insert(view::open(self.options.verbose, Terminal::of_this_process()));
        self.outcome.state = "RUNNING".to_owned();
        let result = loop {
            tokio::select! {
                result = &mut driver => break result,
                Ok(()) = progress.changed() => view.steps(&progress.borrow_and_update()),
                () = interrupt() => break Err(Fault::new(ErrorClass::Cancelled, "interrupted", "ended by Ctrl-C")),
            }
        };
        let last = progress.borrow();
        view.steps(&last);
        let recorded = last.iter().filter_map(|step| step.record.as_ref()).map(Step::from);
        match result {
            Ok(records) => {
                self.outcome.steps = records.iter().map(Step::from).collect();
                self.outcome.state = "FINISHED".to_owned();
                Ok(())
            }
            Err(fault) => {
                self.outcome.steps = recorded.collect();
                let cancelled = fault.class == ErrorClass::Cancelled;
                self.outcome.state = if cancelled { "KILLED" } else { "FAILED" }.to_owned();
                Err(fault)
            }
        }
    }

    async fn cluster(&mut self, pipeline: &Pipeline) -> Result<(), Fault> {
        let (mut client, answer) = self.submit(pipeline).await?;
        if self.options.no_wait {
            return match self.options.output {
                Output::Text => print(&answer.driver_id),
                // The document is printed in the end.
                Output::Json => Ok(()),
            };
        }
        let followed = {
            let view = self.view.insert(view::open(self.options.verbose, Terminal::of_this_process()));
            view.note(&format!("submitted as {} ({})", answer.driver_id, answer.app_id));
            tokio::select! {
                status = follow(&mut client, &answer.driver_id, view.as_mut()) => Some(status?),
                () = interrupt() => None,
            }
        };
        match followed {
            Some(status) => self.end(&status),
            None => {
                self.detach(&answer.driver_id);
                Ok(())
            }
        }
    }

    async fn attached(&mut self, pipeline: &Pipeline) -> Result<(), Fault> {
        let (mut client, answer) = self.submit(pipeline).await?;
        let followed = {
            let view = self.view.insert(view::open(self.options.verbose, Terminal::of_this_process()));
            view.note(&format!("driver {} ({}) in this process", answer.driver_id, answer.app_id));
            let mut driver = std::pin::pin!(engine::run_attached(self.options, &answer));
            let mut status = std::pin::pin!(follow(&mut client, &answer.driver_id, view.as_mut()));
            tokio::select! {
                // Killed from elsewhere, or the driver's end seen here first.
                status = &mut status => Some(status?),
                // The master has the driver's last word by now, unless the driver could not say it.
                result = &mut driver => match result {
                    Ok(()) => Some(status.await?),
                    Err(fault) => match tokio::time::timeout(LAST_WORD, status).await {
                        Ok(Ok(status)) => Some(status),
                        _ => return Err(fault),
                    },
                },
                () = interrupt() => None,
            }
        };
        let status = match followed {
            Some(status) => status,
            None => client.kill(&answer.driver_id).await?,
        };
        self.end(&status)
    }

    async fn submit(&mut self, pipeline: &Pipeline) -> Result<(Client, SubmitResponse), Fault> {
        let options = self.options;
        let id = options.submission_id.unwrap_or_else(Uuid::now_v7).to_string();
        self.outcome.submission_id = Some(id.clone());
        let mut client = client(options)?;
        let answer = client.submit(request(options, pipeline, id)?).await?;
        self.outcome.submitted(&answer);
        Ok((client, answer))
    }

    fn end(&mut self, status: &ApplicationStatus) -> Result<(), Fault> {
        self.outcome.ended(status);
        fault_of(status).map_or(Ok(()), Err)
    }

    fn detach(&mut self, driver_id: &str) {
        let master = &self.options.master;
        self.outcome.state = "DETACHED".to_owned();
        self.outcome.exit_code = DETACHED;
        if let Some(mut view) = self.view.take() {
            view.note(&format!("detached: {driver_id} goes on"));
            view.note(&format!("  its state:  lake-submit --master {master} --status {driver_id}"));
            view.note(&format!("  its log:    lake-submit --master {master} --logs {driver_id} -f"));
            view.note(&format!("  to end it:  lake-submit --master {master} --kill {driver_id}"));
        }
    }

    fn close_view(&mut self) {
        if let Some(mut view) = self.view.take() {
            let name = self.outcome.name.as_deref().unwrap_or("job");
            view.close(name, &self.outcome.state, self.started.elapsed());
        }
    }

    fn last_word(mut self, failed: Option<Failed>) -> u8 {
        if failed.is_some() && matches!(self.outcome.state.as_str(), "SUBMITTED" | "RUNNING") {
            self.outcome.state = "UNKNOWN".to_owned();
        }
        self.close_view();
        if let Some(failed) = &failed {
            eprint!("{}", failed.to_text());
            self.outcome.exit_code = failed.first().class.exit_code();
            self.outcome.failure = Some(Failure::from(failed));
        }
        let planned = self.outcome.state == "PLANNED";
        if self.options.output == Output::Json && !planned {
            self.outcome.elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            match serde_json::to_string_pretty(&self.outcome) {
                // The exit code says the same when nobody reads the document.
                Ok(document) => drop(print(&document)),
                Err(error) => eprintln!("error[internal/json]: the outcome has no JSON form: {error}"),
            }
        }
        self.outcome.exit_code
    }
}

/// How long the master may take to hear of the end of a driver that has failed in this process.
const LAST_WORD: Duration = Duration::from_secs(5);

fn request(options: &Options, pipeline: &Pipeline, submission_id: String) -> Result<SubmitRequest, Fault> {
    let json = serde_json::to_vec(pipeline)
        .map_err(|error| Fault::new(ErrorClass::Internal, "json", format!("the job has no JSON form: {error}")))?;
    let supervise = !options.no_supervise;
    let submit_options = SubmitOptions {
        name: options.name.clone().unwrap_or_else(|| pipeline.name.clone()),
        job_name: pipeline.name.clone(),
        total_executor_cores: options.total_executor_cores.unwrap_or(0),
        driver_memory_bytes: options.driver_memory.unwrap_or(DEFAULT_DRIVER_MEMORY_BYTES),
        supervise,
        max_attempts: if supervise { pipeline.max_attempts } else { 1 },
        deploy_mode: options.deploy_mode.name().to_owned(),
    };
    let options = Some(submit_options);
    Ok(SubmitRequest { submission_id, pipeline: json.into(), options, traceparent: trace::current() })
}

/// The rows are data, how many they are is not.
async fn show(pipeline: &Pipeline, table: &str) -> Result<(), Fault> {
    let shown = engine::show(pipeline.clone(), table, SHOWN_ROWS).await?;
    print(&shown.rows)?;
    eprintln!("{table}: {}", shown.extent);
    Ok(())
}

async fn follow(client: &mut Client, id: &str, view: &mut dyn View) -> Result<ApplicationStatus, Fault> {
    client
        .follow(id, |update| {
            if let Some(status) = &update.status {
                view.application(status);
            }
            view.steps(&update.steps);
        })
        .await
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler Ctrl-C ends the process, as it would have without us.
        std::future::pending::<()>().await;
    }
}
