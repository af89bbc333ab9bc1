//! Jobs whose driver is this process: all of it in local mode, with queries on the workers in client mode. Edge.
//!
//! A signal ends such a job, and what it has spilled is removed.

use std::time::Duration;

use lake_job::Pipeline;
use lake_proto::v1::StepProgress;
use lake_proto::{ErrorClass, Fault};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Run, follow, interrupted, view_of};
use crate::client::has_ended;
use crate::command::client;
use crate::directory::Directory;
use crate::engine;
use crate::report::Step;

/// How long the master may take to hear of the end of a driver that has failed in this process.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long a driver in this process may take to hear that it was killed, and to say its last word: it asks every few
/// seconds.
const END: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) async fn local(&mut self, pipeline: Pipeline) -> Result<(), Fault> {
        let options = self.options;
        self.signals.catch()?;
        let directory = Directory::create(options.local_dir.as_deref())?;
        let (sender, mut progress) = watch::channel(Vec::<StepProgress>::new());
        let view = self.view.insert(view_of(options, &self.order, &self.told));
        self.outcome.state = "RUNNING".to_owned();
        let result = {
            let mut driver = std::pin::pin!(engine::run_local(pipeline, options, directory.path(), sender));
            loop {
                tokio::select! {
                    result = &mut driver => break result,
                    Ok(()) = progress.changed() => view.steps(&progress.borrow_and_update()),
                    name = self.signals.next() => break Err(interrupted(name)),
                }
            }
        };
        drop(directory);
        let last = progress.borrow();
        view.steps(&last);
        match result {
            Ok(records) => {
                self.outcome.steps = records.iter().map(Step::from).collect();
                self.outcome.state = "FINISHED".to_owned();
                Ok(())
            }
            Err(fault) => {
                let recorded = last.iter().filter_map(|step| step.record.as_ref());
                self.outcome.steps = recorded.map(Step::from).collect();
                let cancelled = fault.class == ErrorClass::Cancelled;
                self.outcome.state = if cancelled { "KILLED" } else { "FAILED" }.to_owned();
                Err(fault)
            }
        }
    }

    pub(super) async fn attached(&mut self, pipeline: &Pipeline) -> Result<(), Fault> {
        let options = self.options;
        let (mut watcher, answer) = self.submit(pipeline).await?;
        self.signals.catch()?;
        let directory = Directory::create(options.local_dir.as_deref())?;
        let lease_ended = self.last_word.when_the_lease_ends(&self.outcome);
        let view = self.view.insert(view_of(options, &self.order, &self.told));
        view.note(&format!("driver {} ({}) in this process", answer.driver_id, answer.app_id));
        let mut signal = None;
        let status = {
            let driver = engine::run_attached(options, &answer, directory.path(), lease_ended);
            let mut driver = std::pin::pin!(driver);
            let mut status = std::pin::pin!(follow(&mut watcher, &answer.driver_id, view.as_mut()));
            tokio::select! {
                // Killed from elsewhere, or the driver's end seen here first.
                status = &mut status => status?,
                // The master has the driver's last word by now, unless the driver could not say it.
                result = &mut driver => match result {
                    Ok(()) => status.await?,
                    Err(fault) => match timeout(LAST_WORD, status).await {
                        Ok(Ok(status)) => status,
                        _ => return Err(fault),
                    },
                },
                name = self.signals.next() => {
                    signal = Some(name);
                    // The driver goes on until it hears that it is to end: its last word ends the application.
                    let mut killer = client(options)?;
                    let kill = killer.kill(&answer.driver_id);
                    let ended = async { tokio::join!(kill, timeout(END, driver), timeout(END, status)) };
                    tokio::select! {
                        (killed, _, seen) = ended => if let Ok(Ok(status)) = seen { status } else { killed? },
                        // Who asks twice does not want to wait.
                        name = self.signals.next() => return Err(interrupted(name)),
                    }
                }
            }
        };
        drop(directory);
        match signal.filter(|_| !has_ended(&status.state)) {
            Some(name) => {
                self.outcome.ended(&status);
                Err(interrupted(name))
            }
            None => self.end(&status),
        }
    }
}
