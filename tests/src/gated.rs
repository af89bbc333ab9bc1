//! A job whose read stops in its middle while PostgreSQL's gate is closed, so that the moment of a fault is certain.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::fixture::Workspace;
use crate::oracle::{Commit, Oracle};
use crate::postgres::Postgres;

/// How many numbers [`GATED`] reads.
pub const ROWS: u64 = 400_000;

/// A source whose rows stop in the middle while the gate is closed; the files of its table are small, so that some are
/// complete by then.
pub const GATED: &str = r#"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "numbers"
connection = "crm"
query = "SELECT n AS id, md5(n::text) AS word, CASE WHEN n = 300000 THEN gate(n) ELSE n END AS checked FROM generate_series(1::bigint, 400000) AS n"

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "append"
target_file_size = "1MiB"
"#;

/// A job over the gated source, and what it runs on.
pub struct Gated {
    /// Has the gate.
    pub server: Postgres,
    /// Two workers.
    pub cluster: Cluster,
    /// The job's folder.
    pub workspace: Workspace,
    /// Its job.toml.
    pub job: PathBuf,
}

/// A job of this name with [`GATED`] and these tables. Its gate is still to be closed.
///
/// # Errors
/// When the server or the cluster does not start.
pub fn gated(name: &str, tables: &str) -> Result<Gated> {
    let server = Postgres::start()?;
    let cluster = Cluster::builder().env("CRM_URL", &server.url()).start(2)?;
    let workspace = Workspace::new()?;
    let job = workspace.job(name, &format!("{GATED}{tables}"))?;
    Ok(Gated { server, cluster, workspace, job })
}

/// Every number once, in one commit with one transaction of the job: that commit.
///
/// # Errors
/// When it is otherwise, or the table cannot be read.
pub fn assert_numbers_once(workspace: &Workspace, table: &str) -> Result<Commit> {
    let url = workspace.table(table);
    let rows = Oracle::new().rows(&url)?;
    let mut ids: Vec<u64> = rows
        .iter()
        .map(|row| row.get(0).and_then(Value::as_str).context("no id")?.parse().context("an id"))
        .collect::<Result<_>>()?;
    ids.sort_unstable();
    anyhow::ensure!(ids.iter().copied().eq(1..=ROWS), "{} rows, expected each of 1..={ROWS} once", ids.len());
    let mut commits = Oracle::new().data_commits(&url)?;
    anyhow::ensure!(commits.len() == 1, "{commits:?}");
    let commit = commits.remove(0);
    anyhow::ensure!(commit.transactions.len() == 1, "{commit:?}");
    Ok(commit)
}
