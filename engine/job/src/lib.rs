//! job.toml: the format, its validation, and what it means. Pure, but for [`load`], which reads files.
//!
//! [`load`] reads a file, [`parse`] a text; both give a [`Pipeline`] or everything that is wrong with it, each error
//! with file, line, column and key. The way through: text → tree with places (`document`) → `--conf` (`overrides`) →
//! parameters (`params`) → keys and types against the schema of [`spec`] (`check`) → meaning (`lower`) → who reads
//! whom (`graph`) → `--only` and `--from` (`select`).
//!
//! Never here: network, clock, engine.

#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

mod check;
mod decode;
mod document;
pub mod errors;
mod graph;
mod location;
mod lower;
mod names;
mod overrides;
mod params;
pub mod pipeline;
mod schema;
mod select;
pub mod spec;
mod sql;
mod suggest;
mod units;

pub use errors::{Code, Error, Errors, Position};
pub use lower::properties::{STATS_COLUMNS, column_names};
pub use pipeline::*;
pub use sql::{Unnamed, unnamed_columns};

use document::{Place, SourceFile};
use errors::Report;
use lower::{Declared, Lowering};

/// The largest job.toml or SQL file that is read.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// What the command line adds to a job.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// `--param name=value`; of one name the last value counts.
    pub params: Vec<(String, String)>,
    /// `--conf a.b=value`: values that take the place of those in the file, in this order.
    pub overrides: Vec<(String, String)>,
    /// `--only`: just these tables. Empty = all.
    pub only: Vec<String>,
    /// `--from`: this table and everything that reads from it, directly or through others.
    pub from: Option<String>,
    /// `--full-refresh`: every selected table is overwritten, whatever its mode.
    pub full_refresh: bool,
    /// `--name`: takes the place of `job.name`.
    pub name: Option<String>,
    /// What `today` means.
    pub today: NaiveDate,
    /// Absolute: what the path of job.toml, and paths in [`Self::overrides`], are relative to.
    pub working_directory: PathBuf,
}

impl LoadOptions {
    /// No option given, on this day, in this folder.
    pub fn new(today: NaiveDate, working_directory: impl Into<PathBuf>) -> Self {
        Self {
            params: Vec::new(),
            overrides: Vec::new(),
            only: Vec::new(),
            from: None,
            full_refresh: false,
            name: None,
            today,
            working_directory: working_directory.into(),
        }
    }
}

/// Gives the text of a SQL file by its absolute path, or the reason why there is none.
pub type SqlFiles<'a> = dyn Fn(&Path) -> Result<String, String> + 'a;

/// Reads the job in `path` and the SQL files it names.
///
/// # Errors
/// `not-found` when the file does not exist, `invalid-job` for everything that is wrong with it.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Pipeline, Errors> {
    let shown = path.display().to_string();
    let whole = |code, message: String| Errors::one(Place::flag(shown.as_str()).error(code, "", message));
    let bytes = read_limited(&options.working_directory.join(path)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => whole(Code::JobFile, "there is no such file".to_owned()),
        _ => whole(Code::InvalidValue, format!("cannot be read: {error}")),
    })?;
    if bytes.len() > MAX_FILE_BYTES {
        let message = "has more than 1 MiB: expected a description of a job, not its rows";
        return Err(whole(Code::TooLarge, message.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(&shown, &error))?;
    let sql_file = |path: &Path| {
        let bytes = read_limited(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        })?;
        String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count();
            format!("it is not UTF-8 in line {}", line + 1)
        })
    };
    parse(&shown, &text, options, &sql_file)
}

/// One byte more than the limit at most, so that a file of any size is refused at once.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn not_utf8(shown: &str, error: &std::string::FromUtf8Error) -> Errors {
    let valid = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
    let file = SourceFile::new(shown, before);
    Errors::one(Place::File(file, valid).error(Code::NotUtf8, "", "the file is not UTF-8 from here on"))
}

/// The meaning of the job `text`. `file` is the path of job.toml as the user named it, for messages and for relative
/// paths; nothing is read from disk.
///
/// # Errors
/// Everything that is wrong with the job, as far as one error does not hide another.
pub fn parse(file: &str, text: &str, options: &LoadOptions, sql_files: &SqlFiles<'_>) -> Result<Pipeline, Errors> {
    let mut report = Report::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = SourceFile::new(file, text);
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes, expected at most 1 MiB", text.len());
        return Err(Errors::one(Place::flag(file).error(Code::TooLarge, "", message)));
    }
    let Some(mut root) = document::parse(&source, &mut report) else { return report.finish(None) };
    overrides::apply(&mut root, &options.overrides, &mut report);

    let schema = schema::of_file();
    let declared_params: Vec<String> =
        root.get("params").map_or(&[][..], document::Node::entries).iter().map(|entry| entry.key.clone()).collect();
    check::check_section(&mut root, "params", schema, &mut report);
    let params = params::resolve(root.get("params"), &declared_params, &options.params, options.today, &mut report);
    params::substitute(&mut root, "", &params, &mut report);
    let declared = Declared::of(&root);
    if !check::check(&mut root, schema, &mut report) {
        return report.finish(None);
    }

    let path = location::normal(&options.working_directory.join(file));
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut lowering = Lowering { options, file, folder, params, sql_files, declared, report };
    let pipeline = lower::lower(&root, &mut lowering);
    lowering.report.finish(pipeline)
}

#[cfg(test)]
mod tests;
