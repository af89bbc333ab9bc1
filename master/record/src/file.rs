//! The bytes of a history file: one application, JSON lines under zstd. Pure.
//!
//! The first line is a header with the format's version. Then come the summary, the steps and what else is small, and the
//! queries last, so that the start of a file is enough for lists. A line of a kind that is not known is passed over; the
//! last line says that the file is whole.

use std::io::{BufRead, BufReader, Read, Write};

use lake_job::Pipeline;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::application::{ApplicationRecord, ApplicationSummary, DriverAttempt, Origin};
use crate::query::{QueryRecord, StageRecord};
use crate::step::StepRecord;

/// The version that is written. Files of older versions are read, newer ones are not.
pub const VERSION: u32 = 1;
/// What names of history files end in, after the application's id.
pub const EXTENSION: &str = ".jsonl.zst";
/// Bytes at the start of a file in which [`decode_start`] finds everything but queries, as a rule.
pub const START_BYTES: usize = 64 << 10;

/// Larger files are none of ours: a record of the most attempts that are kept has a hundredth of this.
pub const MOST_FILE_BYTES: u64 = 256 << 20;
/// What is read of a file that does not begin as ours do, before it is given up: more than a block of zstd.
pub const BEGINNING_BYTES: u64 = 1 << 20;

/// What is decompressed of a file at most: few bytes can stand for very many.
const MOST_BYTES: u64 = 1 << 30;
/// Lines that are longer are damage, or somebody's attempt on our memory.
const MOST_LINE_BYTES: u64 = 64 << 20;
const LEVEL: i32 = 3;

/// Why nothing of a file can be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer release wrote it.
    #[error("written by a newer release: format {found}, this one reads up to {VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Nobody's record is so large; nothing of it is read.
    #[error("too large: {bytes} bytes, a record has at most {MOST_FILE_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Not even its first lines can be read.
    #[error("damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Header(Header),
    Summary(&'a ApplicationSummary),
    IsPartial(bool),
    Step(&'a StepRecord),
    Attempt(&'a DriverAttempt),
    Pipeline(&'a Pipeline),
    /// Without its stages, which follow.
    Query(QueryRecord),
    Stage(&'a StageRecord),
    End(u64),
}

/// The file of one application.
///
/// # Errors
/// Those of compression into memory and of serialisation: none that depends on what is in the record.
pub fn encode(record: &ApplicationRecord) -> std::io::Result<Vec<u8>> {
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    // A wrong byte may stand for other lines that can be read.
    out.include_checksum(true)?;
    let mut lines = 0;
    let mut put = |line: Line<'_>| -> std::io::Result<()> {
        serde_json::to_writer(&mut out, &line)?;
        lines += 1;
        out.write_all(b"\n")
    };
    put(Line::Header(Header { version: VERSION }))?;
    put(Line::Summary(&record.summary))?;
    put(Line::IsPartial(record.is_partial))?;
    record.attempts.iter().try_for_each(|attempt| put(Line::Attempt(attempt)))?;
    record.steps.iter().try_for_each(|step| put(Line::Step(step)))?;
    record.pipeline.iter().try_for_each(|pipeline| put(Line::Pipeline(pipeline)))?;
    for query in &record.queries {
        let head = QueryRecord { stages: Vec::new(), ..copy_of_head(query) };
        put(Line::Query(head))?;
        query.stages.iter().try_for_each(|stage| put(Line::Stage(stage)))?;
    }
    put(Line::End(0))?;
    out.finish()
}

/// Everything but the stages, which may be large.
fn copy_of_head(query: &QueryRecord) -> QueryRecord {
    QueryRecord {
        query_id: query.query_id.clone(),
        step: query.step.clone(),
        state: query.state,
        accepted_at_ms: query.accepted_at_ms,
        ended_at_ms: query.ended_at_ms,
        is_attached: query.is_attached,
        estimated_scan_bytes: query.estimated_scan_bytes,
        failure: query.failure.clone(),
        stages: Vec::new(),
    }
}

/// The application of a file. One that is cut off or damaged in its middle gives what stands before.
///
/// # Errors
/// [`Unreadable`] when not even the summary can be read.
pub fn decode(bytes: &[u8]) -> Result<ApplicationRecord, Unreadable> {
    read(bytes, Until::End)
}

/// As [`decode`], without queries, from a whole file or the first [`START_BYTES`] of one. Steps are missing when they do not
/// fit there: [`Origin::Damaged`] says that the rest was not seen.
///
/// # Errors
/// As [`decode`].
pub fn decode_start(bytes: &[u8]) -> Result<ApplicationRecord, Unreadable> {
    read(bytes, Until::Queries)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Queries,
    End,
}

fn read(bytes: &[u8], until: Until) -> Result<ApplicationRecord, Unreadable> {
    let damaged = |reason: String| Unreadable::Damaged { reason };
    let mut lines = Lines::new(bytes).map_err(|error| damaged(error.to_string()))?;
    let header: Header = match lines.next() {
        Some((kind, content)) if kind == "header" => {
            serde_json::from_str(content.get()).map_err(|error| damaged(format!("its header: {error}")))?
        }
        _ if bytes.is_empty() => return Err(damaged("it is empty".to_owned())),
        _ => return Err(damaged("it does not begin with a header, or is cut off before its end".to_owned())),
    };
    if header.version > VERSION {
        return Err(Unreadable::Newer { found: header.version });
    }
    let mut record = ApplicationRecord { origin: Origin::Damaged, ..ApplicationRecord::default() };
    let mut has_summary = false;
    while let Some((kind, content)) = lines.next() {
        if kind == "end" || (until == Until::Queries && kind == "query") {
            let is_sound = kind != "end" || lines.is_at_the_end();
            record.origin = if is_sound { Origin::History } else { Origin::Damaged };
            break;
        }
        has_summary |= kind == "summary";
        if take(&mut record, &kind, content.get()).is_err() {
            break;
        }
    }
    if has_summary { Ok(record) } else { Err(damaged("it has no summary".to_owned())) }
}

fn take(record: &mut ApplicationRecord, kind: &str, content: &str) -> serde_json::Result<()> {
    match kind {
        "summary" => record.summary = serde_json::from_str(content)?,
        "is_partial" => record.is_partial = serde_json::from_str(content)?,
        "attempt" => record.attempts.push(serde_json::from_str(content)?),
        "step" => record.steps.push(serde_json::from_str(content)?),
        "pipeline" => record.pipeline = Some(serde_json::from_str(content)?),
        "query" => record.queries.push(serde_json::from_str(content)?),
        "stage" => {
            let stage = serde_json::from_str(content)?;
            if let Some(query) = record.queries.last_mut() {
                query.stages.push(stage);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Lines as kind and content, until the end or the first that cannot be read.
struct Lines<'a> {
    reader: BufReader<zstd::stream::read::Decoder<'static, BufReader<&'a [u8]>>>,
    line: Vec<u8>,
    /// Bytes that may still be decompressed.
    left: u64,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> std::io::Result<Self> {
        let decoder = zstd::stream::read::Decoder::new(bytes)?;
        Ok(Self { reader: BufReader::new(decoder), line: Vec::new(), left: MOST_BYTES })
    }

    /// Whether nothing follows, and the checksum is right where there is one.
    fn is_at_the_end(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0))
    }

    fn next(&mut self) -> Option<(String, Box<RawValue>)> {
        self.line.clear();
        // A frame that is cut off is an error only after what could be decompressed was given.
        let most = MOST_LINE_BYTES.min(self.left);
        let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.line);
        self.left = self.left.saturating_sub(u64::try_from(self.line.len()).unwrap_or(u64::MAX));
        if read.is_err() || self.line.last() != Some(&b'\n') {
            return None;
        }
        let line: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&self.line).ok()?;
        line.into_iter().next()
    }
}

#[cfg(test)]
mod tests;
