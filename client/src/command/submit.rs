//! Submitting a job and following it to its end, in any of the three deploy modes. Edge.
//!
//! Standard output gets data only: the driver's id with `--no-wait`, tables with `--show`, the document with
//! `--output json`. Everything else goes to standard error.

mod here;
mod last_word;

use lake_job::Pipeline;
use lake_proto::v1::{ApplicationStatus, SubmitOptions, SubmitRequest, SubmitResponse};
use lake_proto::{DEFAULT_DRIVER_MEMORY_BYTES, ErrorClass, Fault, app_name};
use lake_telemetry::trace;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use self::last_word::LastWord;
use super::{client, load, print};
use crate::client::Client;
use crate::engine;
use crate::options::{DeployMode, Options, Output, Terminal};
use crate::order::Order;
use crate::report::{Failed, FailedStep, Outcome, Step, exit_code, fault_of};
use crate::signals::Signals;
use crate::view::{self, Told, View};

const SHOWN_ROWS: usize = 20;
/// As a shell reports a process that was interrupted.
const DETACHED: u8 = 130;

pub(super) async fn run(options: &Options) -> u8 {
    let last_word = LastWord::new(options.output);
    let mut run = Run {
        options,
        last_word,
        signals: Signals::default(),
        outcome: Outcome::before(options),
        order: Order::default(),
        view: None,
        told: Told::default(),
    };
    let span = tracing::info_span!("submit", app_id = Empty, driver_id = Empty);
    let failed = Box::pin(run.job()).instrument(span).await.err();
    run.end_with(failed)
}

struct Run<'a> {
    options: &'a Options,
    last_word: LastWord,
    /// Caught when the job begins.
    signals: Signals,
    outcome: Outcome,
    /// Of the job's steps.
    order: Order,
    view: Option<Box<dyn View>>,
    told: Told,
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
            failed_steps: Vec::new(),
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

/// Flags that do not go together.
fn check_usage(options: &Options) -> Result<(), Fault> {
    let refused = |message: String| Err(Fault::new(ErrorClass::InvalidJob, "usage", message));
    match options.name.as_deref() {
        Some("") => return refused("--name (LAKE_NAME) is empty; leave it out for the job's own name".to_owned()),
        Some(name) => app_name::check(name).map_err(|fault| fault.within("--name (LAKE_NAME)"))?,
        None => {}
    }
    if options.output == Output::Json && !options.show.is_empty() {
        return refused("--show prints a table and does not go with --output json".to_owned());
    }
    if options.deploy_mode == DeployMode::Local && options.submission_id.is_some() {
        let message =
            "--submission-id needs masters that remember it, and local mode has none: a repeat would run again";
        return refused(message.to_owned());
    }
    match options.deploy_mode {
        DeployMode::Local | DeployMode::Client if options.no_wait => refused(format!(
            "--no-wait (LAKE_NO_WAIT) leaves a job to the cluster and does not go with --deploy-mode {}, in which this \
             process is its driver; leave it out, or use --deploy-mode cluster",
            options.deploy_mode.name()
        )),
        DeployMode::Local | DeployMode::Client | DeployMode::Cluster => Ok(()),
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
        check_usage(options)?;
        let pipeline = load::pipeline(options)?;
        for table in &options.show {
            check_table(&pipeline, table)?;
        }
        self.order = Order::of(&pipeline);
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
            self.show(&pipeline).await;
        }
        Ok(())
    }

    /// The tables are committed: a caller that repeats on a failure would write them twice, so nothing fails here.
    async fn show(&mut self, pipeline: &Pipeline) {
        for table in &self.options.show {
            let shown = tokio::select! {
                shown = show(pipeline, table) => shown,
                name = self.signals.next() => Err(interrupted(name)),
            };
            let Err(fault) = shown else { continue };
            let (class, code) = (fault.class, &fault.code);
            eprintln!("warning[{class}/{code}]: the job has finished, but {table} is not shown: {fault}");
            if class == ErrorClass::Cancelled {
                return;
            }
        }
    }

    async fn dry_run(&mut self, pipeline: Pipeline) -> Result<(), Fault> {
        let plan = engine::dry_run(pipeline).await?;
        self.outcome.state = "PLANNED".to_owned();
        match self.options.output {
            Output::Text => print(&plan.text.trim_end()),
            Output::Json => print(&plan.document),
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
        self.signals.catch()?;
        let followed = {
            let view = self.view.insert(view_of(self.options, &self.order, &self.told));
            view.note(&format!("submitted as {} ({})", answer.driver_id, answer.app_id));
            tokio::select! {
                status = follow(&mut client, &answer.driver_id, view.as_mut()) => Some(status?),
                _ = self.signals.next() => None,
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
            view.close(name, &self.outcome.state, self.last_word.elapsed());
        }
    }

    fn end_with(mut self, failed: Option<Failed>) -> u8 {
        if failed.is_some() && matches!(self.outcome.state.as_str(), "SUBMITTED" | "RUNNING") {
            self.outcome.state = "UNKNOWN".to_owned();
        }
        self.close_view();
        let steps = std::mem::take(&mut self.outcome.steps);
        self.outcome.steps = self.order.sorted(steps, |step| &step.table);
        let failed_steps = self.order.sorted(self.told.failed(), |step| &step.table);
        self.outcome.failed_steps = failed_steps.iter().map(FailedStep::from).collect();
        self.last_word.say(self.outcome, failed.as_ref())
    }
}

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

fn view_of(options: &Options, order: &Order, told: &Told) -> Box<dyn View> {
    told.by(view::open(options.verbose, Terminal::of_this_process(), order.clone()))
}

fn interrupted(signal: &str) -> Fault {
    Fault::new(ErrorClass::Cancelled, "interrupted", format!("ended by {signal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_do_not_go_together_are_refused_and_said() {
        let check = |line: &str| {
            let words = ["lake-submit", "job.toml"].into_iter().chain(line.split_whitespace());
            check_usage(&<Options as clap::Parser>::try_parse_from(words).unwrap())
        };
        for line in ["", "--no-wait", "--no-wait --deploy-mode cluster", "--deploy-mode local", "--output json"] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
        let id = "--submission-id 01993e6b-0000-7000-8000-000000000001";
        assert_eq!(check(&format!("{id} --deploy-mode client")), Ok(()));
        for (line, expected) in [
            ("--no-wait --deploy-mode local", "--no-wait"),
            ("--no-wait --deploy-mode client", "--deploy-mode client, in which this process is its driver"),
            ("--name=", "--name (LAKE_NAME) is empty"),
            ("--name=\u{200b}", "--name (LAKE_NAME): the application's name has no visible character"),
            ("--name=a\u{1b}[2J", "the control character \\u{1b}"),
            ("--show a.b --output json", "--show"),
            (&format!("{id} --deploy-mode local"), "--submission-id"),
        ] {
            let fault = check(line).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "usage"), "{line}");
            assert!(fault.message.contains(expected), "{line}: {fault}");
        }
    }
}
