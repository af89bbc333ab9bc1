//! Running `lake-submit` as a user does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Process, binary, on_small_disk};

/// The application in what `--status` prints.
///
/// # Errors
/// When it names none.
pub fn app_id(status: &Value) -> Result<String> {
    status.get("app_id").and_then(Value::as_str).map(str::to_owned).context("no app_id")
}

/// A command line of `lake-submit`.
#[derive(Debug, Default)]
pub struct Submit {
    arguments: Vec<std::ffi::OsString>,
    environment: BTreeMap<String, String>,
    program: Option<std::path::PathBuf>,
    disk: Option<(std::path::PathBuf, u64)>,
}

/// What came of it.
#[derive(Debug)]
pub struct Run {
    /// Exit code; -1 when it was ended by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Submit {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `--deploy-mode local`
    pub fn local() -> Self {
        Self::new().args(["--deploy-mode", "local", "--driver-memory", "2g"])
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// A variable of its environment.
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

    /// `--conf warehouse.root=…`
    #[must_use]
    pub fn warehouse(self, root: &str) -> Self {
        self.arg("--conf").arg(format!("warehouse.root={root}"))
    }

    /// Another name of the program, for example a link called spark-submit.
    #[must_use]
    pub fn program(mut self, program: impl Into<std::path::PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// `directory` is a disk of this size for it.
    #[must_use]
    pub fn on_disk(mut self, directory: impl Into<std::path::PathBuf>, bytes: u64) -> Self {
        self.disk = Some((directory.into(), bytes));
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self) -> Result<Run> {
        let output = self.command()?.stdin(Stdio::null()).output().context("cannot run lake-submit")?;
        Ok(Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it; its output goes to files in `directory`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, directory: &std::path::Path) -> Result<Process> {
        Process::start("submit", self.command()?, directory)
    }

    fn command(&self) -> Result<Command> {
        let program = self.program.clone().map_or_else(|| binary("lake-submit"), Ok)?;
        let mut command = Command::new(program);
        command.args(&self.arguments);
        if let Some((directory, bytes)) = &self.disk {
            command = on_small_disk(directory, *bytes, &command)?;
        }
        // What the person who runs the tests has set must not change them.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LAKE_") {
                command.env_remove(name);
            }
        }
        command.envs(&self.environment);
        Ok(command)
    }
}

impl Run {
    /// The document on standard output.
    ///
    /// # Errors
    /// When it is not one.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {self}"))
    }

    /// Fails unless it has succeeded.
    ///
    /// # Errors
    /// With all it has printed.
    pub fn succeeded(self) -> Result<Self> {
        anyhow::ensure!(self.code == 0, "lake-submit has failed: {self}");
        Ok(self)
    }

    /// Fails unless it ended with the exit code of `class`, an error of `class/code` (any code when empty), each of
    /// `texts`, and the next thing to do.
    ///
    /// # Errors
    /// With all it has printed.
    pub fn failed(self, class: &str, code: &str, texts: &[&str]) -> Result<Self> {
        let class: lake_proto::ErrorClass = class.parse().context("no such class")?;
        anyhow::ensure!(self.code == i32::from(class.exit_code()), "expected {class}: {self}");
        let head = if code.is_empty() { format!("error[{class}/") } else { format!("error[{class}/{code}]: ") };
        anyhow::ensure!(self.stderr.contains(&head), "expected '{head}': {self}");
        for text in texts {
            anyhow::ensure!(self.stderr.contains(text), "expected '{text}': {self}");
        }
        anyhow::ensure!(self.stderr.contains("  next: "), "it does not say what to do next: {self}");
        Ok(self)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n-- stdout\n{}\n-- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
