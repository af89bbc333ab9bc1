//! Reading results back with programs that we did not write: Python's deltalake and pyarrow.
//!
//! The environment variable `LAKE_TEST_PYTHON` names a Python that has them; `scripts/test` makes one.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

const SCRIPT: &str = include_str!("oracle.py");

/// A reader with the environment that stores need.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    environment: BTreeMap<String, String>,
}

/// One version in a table's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Version.
    pub version: i64,
    /// Application ids and versions of its transactions.
    pub transactions: Vec<(String, i64)>,
    /// Paths that it adds.
    pub added: Vec<String>,
    /// Paths that it removes.
    pub removed: Vec<String>,
}

impl Oracle {
    /// For local files.
    pub fn new() -> Self {
        Self::default()
    }

    /// For stores that need these variables.
    pub fn with(environment: &BTreeMap<String, String>) -> Self {
        Self { environment: environment.clone() }
    }

    /// The rows of a Delta table as JSON arrays of texts, sorted, without the columns whose names begin with `_`.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn rows(&self, table: &str) -> Result<Vec<Value>> {
        match self.ask(&["rows", table])? {
            Value::Array(rows) => Ok(rows),
            other => anyhow::bail!("expected rows, found {other}"),
        }
    }

    /// Number of rows of a Delta table, for those too large for [`Self::rows`].
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn count(&self, table: &str) -> Result<u64> {
        serde_json::from_value(self.ask(&["count", table])?).context("not a count")
    }

    /// The commits in the table's log, oldest first.
    ///
    /// # Errors
    /// When there is no log.
    pub fn commits(&self, table: &str) -> Result<Vec<Commit>> {
        let Value::Array(commits) = self.ask(&["log", table])? else { anyhow::bail!("not a log") };
        commits.iter().map(commit).collect()
    }

    /// Those of them that add data files.
    ///
    /// # Errors
    /// When there is no log.
    pub fn data_commits(&self, table: &str) -> Result<Vec<Commit>> {
        Ok(self.commits(table)?.into_iter().filter(|commit| !commit.added.is_empty()).collect())
    }

    /// Compares tables (`delta:URL` or `parquet:PATH`): the same columns and the same rows in any order, numbers within
    /// one part in 10⁹.
    ///
    /// # Errors
    /// With the first differences.
    pub fn same(&self, left: &str, right: &str) -> Result<()> {
        let answer = self.ask(&["same", left, right])?;
        anyhow::ensure!(answer.is_null(), "{left} and {right} differ: {}", answer.as_str().unwrap_or_default());
        Ok(())
    }

    fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let python = std::env::var("LAKE_TEST_PYTHON")
            .context("LAKE_TEST_PYTHON is not set: run scripts/test, which makes a Python with deltalake")?;
        let output = Command::new(&python)
            .args(["-c", SCRIPT])
            .args(arguments)
            .envs(&self.environment)
            .output()
            .with_context(|| format!("cannot run LAKE_TEST_PYTHON={python}"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "reading {arguments:?} with Python has failed:\n{stderr}");
        serde_json::from_slice(&output.stdout).with_context(|| format!("not JSON from Python: {stderr}"))
    }
}

fn commit(value: &Value) -> Result<Commit> {
    let texts = |key: &str| -> Vec<String> {
        let list = value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let transactions = value.get("transactions").cloned().unwrap_or_default();
    Ok(Commit {
        version: value.get("version").and_then(Value::as_i64).context("a commit has no version")?,
        transactions: serde_json::from_value(transactions).context("not transactions")?,
        added: texts("added"),
        removed: texts("removed"),
    })
}
