//! A master and workers on loopback, each on ports that the system chose, in a directory of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::masters::Masters;
use crate::process::{Process, binary, children, has_local_port, on_small_disk, signal};
use crate::submit::{Run, Submit};
use crate::{DEADLINE, wait_for};

/// The daemons, ended when dropped.
pub struct Cluster {
    /// One master, or a group of them.
    pub masters: Masters,
    workers: Vec<Option<Process>>,
    environment: BTreeMap<String, String>,
    worker_arguments: Vec<String>,
    work_disk_bytes: Option<u64>,
    directory: TempDir,
}

/// How to start a cluster.
#[derive(Default)]
pub struct Builder {
    masters: Option<usize>,
    environment: BTreeMap<String, String>,
    master_arguments: Vec<String>,
    worker_arguments: Vec<String>,
    work_disk_bytes: Option<u64>,
}

impl Builder {
    /// Every worker's work directory is a disk of this size.
    #[must_use]
    pub fn work_disk(mut self, bytes: u64) -> Self {
        self.work_disk_bytes = Some(bytes);
        self
    }

    /// More than one master: a group.
    #[must_use]
    pub const fn masters(mut self, count: usize) -> Self {
        self.masters = Some(count);
        self
    }

    /// A variable of every daemon: where secret references are resolved.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Several variables.
    #[must_use]
    pub fn envs(mut self, variables: &BTreeMap<String, String>) -> Self {
        self.environment.extend(variables.clone());
        self
    }

    /// An argument of every master.
    #[must_use]
    pub fn master_argument(mut self, argument: &str) -> Self {
        self.master_arguments.push(argument.to_owned());
        self
    }

    /// An argument of every worker; a later one wins over the defaults.
    #[must_use]
    pub fn worker_argument(mut self, argument: &str) -> Self {
        self.worker_arguments.push(argument.to_owned());
        self
    }

    /// Starts the masters and `workers` workers with one core each, and waits until all are registered.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(self, workers: usize) -> Result<Cluster> {
        let directory = tempfile::Builder::new().prefix("lake-cluster-").tempdir()?;
        let count = self.masters.unwrap_or(1);
        let masters = Masters::start(count, &self.environment, &self.master_arguments, directory.path())?;
        let mut cluster = Cluster {
            masters,
            workers: Vec::new(),
            environment: self.environment,
            worker_arguments: self.worker_arguments,
            work_disk_bytes: self.work_disk_bytes,
            directory,
        };
        for _ in 0..workers {
            cluster.add_worker()?;
        }
        cluster.wait_for_workers(workers)?;
        Ok(cluster)
    }
}

impl Cluster {
    /// A cluster to be described further.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A master and two workers.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start() -> Result<Self> {
        Self::builder().start(2)
    }

    /// `lake://host:port`, with every master.
    pub fn master_url(&self) -> String {
        self.masters.url()
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The work directory of a worker.
    pub fn work_directory(&self, worker: usize) -> PathBuf {
        self.directory().join(format!("work-{worker}"))
    }

    /// Starts one more worker and returns its number.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_worker(&mut self) -> Result<usize> {
        let url = self.master_url();
        self.add_worker_through(&url)
    }

    /// Starts one more worker, which looks for the masters at another URL, for example that of a proxy.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_worker_through(&mut self, master_url: &str) -> Result<usize> {
        let number = self.workers.len();
        let mut command = self.command("lake-worker")?;
        if let Some(bytes) = self.work_disk_bytes {
            command = on_small_disk(&self.work_directory(number), bytes, &command)?;
            command.envs(&self.environment).current_dir(self.directory());
        }
        command.args(["--host", "127.0.0.1", "--port", "0", "--flight-port", "0", "--webui-port", "0"]);
        command.args(["--cores", "1", "--memory", "2g", "--work-dir"]).arg(self.work_directory(number));
        command.args(&self.worker_arguments).arg(master_url);
        let mut worker = Process::start(&format!("worker-{number}"), command, self.directory())?;
        worker.listening("grpc")?;
        self.workers.push(Some(worker));
        Ok(number)
    }

    /// The process of a worker that runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn worker(&mut self, number: usize) -> Result<&mut Process> {
        self.workers.get_mut(number).and_then(Option::as_mut).with_context(|| format!("no worker {number}"))
    }

    /// `host:port` of a worker's web page.
    ///
    /// # Errors
    /// When it does not run.
    pub fn worker_http_address(&mut self, number: usize) -> Result<String> {
        self.worker(number)?.listening("http")
    }

    /// kill -9 of a worker; its drivers live on until they notice, as they would.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_worker(&mut self, number: usize) -> Result<()> {
        let drivers = self.drivers_of(number);
        self.worker(number)?.kill()?;
        // A machine that dies takes its drivers along.
        for driver in drivers {
            let _ = signal(driver, Signal::KILL);
        }
        Ok(())
    }

    /// Pids of all drivers that run, with the number of their worker.
    pub fn drivers(&self) -> Vec<(usize, u32)> {
        let of = |number| self.drivers_of(number).into_iter().map(move |pid| (number, pid));
        (0..self.workers.len()).flat_map(of).collect()
    }

    /// The pid of the one driver, waited for.
    ///
    /// # Errors
    /// When none appears in time.
    pub fn wait_for_driver(&self) -> Result<(usize, u32)> {
        wait_for("a driver process", DEADLINE, || self.drivers().first().copied())
    }

    /// Waits until `count` workers are alive.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_for_workers(&self, count: usize) -> Result<()> {
        let mut last = String::new();
        let result = wait_for(&format!("{count} workers ALIVE"), Duration::from_secs(30), || {
            let run = self.submit().args(["--list", "--output", "json"]).run().ok()?;
            last = format!("{}{}", run.stdout, run.stderr);
            let list = run.json().ok()?;
            let workers = list.get("workers")?.as_array()?;
            let alive = workers.iter().filter(|worker| worker.get("state").is_some_and(|state| state == "ALIVE"));
            (alive.count() == count).then_some(())
        });
        result.with_context(|| format!("the last answer to --list was {last}"))
    }

    /// `lake-submit` with this master and this environment.
    pub fn submit(&self) -> Submit {
        Submit::new().envs(&self.environment).args(["--master", &self.master_url()])
    }

    /// The state of a submission as `--status` tells it.
    ///
    /// # Errors
    /// When there is none.
    pub fn status(&self, id: &str) -> Result<serde_json::Value> {
        let run = self.submit().args(["--status", id, "--output", "json"]).run()?;
        anyhow::ensure!(run.code == 0, "--status {id} ended with {run}");
        run.json()
    }

    /// Waits until a submission is in one of `states` and returns its status.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait_for_state(&self, id: &str, states: &[&str]) -> Result<serde_json::Value> {
        wait_for(&format!("{id} to be {states:?}"), DEADLINE, || {
            let status = self.status(id).ok()?;
            let state = status.get("state")?.as_str()?.to_owned();
            states.contains(&state.as_str()).then_some(status)
        })
    }

    /// Waits until a submission has ended, which must be with success, and returns its status.
    ///
    /// # Errors
    /// When it has failed, or has not ended in time.
    pub fn wait_finished(&self, id: &str) -> Result<serde_json::Value> {
        let status = self.wait_for_state(id, &["FINISHED", "FAILED", "KILLED", "ERROR"])?;
        let is_finished = status.get("state").is_some_and(|state| state == "FINISHED");
        anyhow::ensure!(is_finished, "expected {id} to finish, found {status}");
        Ok(status)
    }

    /// Submits without waiting and returns the driver's id.
    ///
    /// # Errors
    /// When the submission is refused.
    pub fn submit_detached(&self, submit: impl FnOnce(Submit) -> Submit) -> Result<String> {
        let run: Run = submit(self.submit().arg("--no-wait")).run()?;
        anyhow::ensure!(run.code == 0, "the submission ended with {run}");
        Ok(run.stdout.trim().to_owned())
    }

    /// The worker that has a connection from this local port: the one that runs a task which talks to a server.
    pub fn worker_with_port(&self, port: u16) -> Option<usize> {
        let has = |worker: &Option<Process>| worker.as_ref().is_some_and(|worker| has_local_port(worker.pid(), port));
        self.workers.iter().position(has)
    }

    fn drivers_of(&self, number: usize) -> Vec<u32> {
        let worker = self.workers.get(number).and_then(Option::as_ref);
        worker.map(|worker| children(worker.pid(), "driver")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(binary(program)?);
        command.envs(&self.environment).current_dir(self.directory());
        Ok(command)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.workers.len() {
            // One that was killed by the test is gone already.
            let _ = self.kill_worker(number);
        }
        self.workers.clear();
    }
}
