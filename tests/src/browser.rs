//! Looking at our web pages with a real browser: Chromium, driven by Python's playwright.
//!
//! The scenarios are in `browser/`, one function each; `scripts/test` installs what they need. The environment variable
//! `LAKE_TEST_PYTHON` names the Python.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::project;
use crate::process::Process;
use crate::{DEADLINE, wait_for};

/// How long a scenario may take: a browser that shares its cores with builds is slow.
const PATIENCE: Duration = Duration::from_secs(300);

/// A scenario that runs; ended when dropped.
pub struct Browser {
    process: Process,
    scenario: String,
    // Dropped last: the browser has its profile here.
    _directory: TempDir,
}

impl Browser {
    /// Begins a scenario with these arguments, a JSON object by the names of its parameters.
    ///
    /// # Errors
    /// When there is no Python for it.
    pub fn start(scenario: &str, arguments: &Value) -> Result<Self> {
        let python = std::env::var("LAKE_TEST_PYTHON")
            .context("LAKE_TEST_PYTHON is not set: run scripts/test, which makes a Python with playwright")?;
        let directory = tempfile::Builder::new().prefix("lake-browser-").tempdir()?;
        let mut command = Command::new(&python);
        // -B: the scripts are in the checkout, where nothing is to be left.
        command.arg("-B").arg(project()?.join("tests/src/browser/main.py")).arg(scenario).arg(arguments.to_string());
        command.env("TMPDIR", directory.path()).current_dir(directory.path());
        let process = Process::start("browser", command, directory.path())?;
        Ok(Self { process, scenario: scenario.to_owned(), _directory: directory })
    }

    /// Runs a scenario in which a test has nothing to do.
    ///
    /// # Errors
    /// With all that it printed, when it fails.
    pub fn run(scenario: &str, arguments: &Value) -> Result<()> {
        Self::start(scenario, arguments)?.finish()
    }

    /// Waits until the scenario has come to a place at which the test has something to do.
    ///
    /// # Errors
    /// With all that it printed, when it ends before or does not come there in time.
    pub fn wait_for(&mut self, place: &str) -> Result<()> {
        let line = format!("reached {place}");
        let what = format!("the browser to reach '{place}' of {}", self.scenario);
        let reached = wait_for(&what, DEADLINE, || {
            // Asked before its output is read: what it printed before its end counts.
            let runs = self.process.is_running();
            let is_there = self.process.stdout().lines().any(|found| found == line);
            (is_there || !runs).then_some(is_there)
        });
        match reached {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failed("has ended before")),
            Err(error) => Err(self.failed(&format!("{error}"))),
        }
    }

    /// Waits for its end, which must be with success.
    ///
    /// # Errors
    /// With all that it printed, when it fails or does not end in time.
    pub fn finish(mut self) -> Result<()> {
        match self.process.wait(PATIENCE) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(&status.to_string())),
            Err(error) => Err(self.failed(&format!("{error}"))),
        }
    }

    fn failed(&self, why: &str) -> anyhow::Error {
        let (stdout, stderr) = (self.process.stdout(), self.process.stderr());
        anyhow::anyhow!("scenario {}: {why}\n-- stdout\n{stdout}\n-- stderr\n{stderr}", self.scenario)
    }
}
