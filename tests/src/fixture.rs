//! Input files and jobs for tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::binary;

/// Tables and checks over `numbers.csv`, the file of [`numbers_csv`]: `bronze.numbers`, of which an id above 900 is a
/// warning, and `gold.buckets`, with 10 rows.
pub const NUMBERS: &str = r#"
[[source]]
name = "numbers"
kind = "files"
format = "csv"
path = "numbers.csv"

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "append"

[[table.expect]]
name = "small"
check = "id <= 900"
action = "warn"

[[table]]
name = "gold.buckets"
mode = "overwrite"
sql = "SELECT bucket, count(*) AS numbers FROM bronze.numbers GROUP BY bucket"
"#;

/// The folder of the project.
///
/// # Errors
/// When the test crate is not inside it.
pub fn project() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the test crate has no parent folder")?.to_owned())
}

/// job.toml of an example.
///
/// # Errors
/// When there is no such example.
pub fn example(name: &str) -> Result<PathBuf> {
    let path = project()?.join("examples").join(name).join("job.toml");
    anyhow::ensure!(path.is_file(), "no example {}", path.display());
    Ok(path)
}

/// A folder with a job that a test writes, and a warehouse for it.
pub struct Workspace {
    directory: TempDir,
}

impl Workspace {
    /// An empty one.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self { directory: tempfile::Builder::new().prefix("lake-job-").tempdir()? })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// Writes job.toml: `[job]` and `[warehouse]`, then `rest`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn job(&self, name: &str, rest: &str) -> Result<PathBuf> {
        let head = format!("[job]\nname = \"{name}\"\n\n[warehouse]\nroot = \"warehouse\"\n\n");
        self.file("job.toml", head + rest)
    }

    /// The URL of a table `schema.table` of the job.
    pub fn table(&self, name: &str) -> String {
        format!("file://{}", self.path().join("warehouse").join(name.replace('.', "/")).display())
    }

    /// Names of the data files in a table's folder, whether a commit names them or not.
    pub fn data_files(&self, table: &str) -> Vec<String> {
        let folder = self.path().join("warehouse").join(table.replace('.', "/"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".parquet")).collect()
    }

    /// Names of the tables that have at least one commit with data.
    pub fn tables_with_data(&self) -> Vec<String> {
        let mut found = Vec::new();
        let root = self.path().join("warehouse");
        collect_tables(&root, &root, &mut found);
        found.sort();
        found
    }
}

fn collect_tables(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name == "_delta_log") {
            let commits = std::fs::read_dir(&path).into_iter().flatten().flatten();
            let has_data = |path: PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"add\":"));
            if commits.map(|commit| commit.path()).any(has_data) {
                let name = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
                found.push(name.replace('/', "."));
            }
        } else if path.is_dir() {
            collect_tables(root, &path, found);
        }
    }
}

/// Numbers `1..=rows` as a CSV with columns `id`, `bucket` (id modulo 10) and `amount` (id × 0.25).
pub fn numbers_csv(rows: u32) -> String {
    let mut text = String::from("id,bucket,amount\n");
    for id in 1..=rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{id},{},{}.{:02}", id % 10, id / 4, id % 4 * 25);
    }
    text
}

/// TPC-H tables at a small scale as Delta tables under `folder`.
///
/// # Errors
/// When they cannot be made.
pub fn tpch(folder: &Path, format: &str, scale_factor: &str) -> Result<()> {
    let mut command = Command::new(binary("tpch-tables")?);
    command.args(["--scale-factor", scale_factor, "--format", format, "--files", "4", "--out"]).arg(folder);
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "tpch-tables: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
