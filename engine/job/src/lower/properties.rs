//! `table.properties`: Delta's own ones are checked, so that none is written that nobody honours. Pure.
//!
//! Values are checked by the rules of whoever reads them: a value that a reader cannot parse is ignored by it without a
//! word, and so is a property that our writer does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Lowering;
use crate::document::Node;
use crate::errors::Code;
use crate::pipeline::{AUDIT, FileFormat, ParseMode, RESCUED, SourceInput};
use crate::suggest::closest;
use crate::{names, spec, sql};

/// What a property's value looks like.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    /// A whole number above zero.
    Count,
    /// -1 for all.
    IndexedColumns,
    ColumnNames,
    Interval,
    /// An interval during which the last run number of a job must not be forgotten.
    TransactionInterval,
    Compression,
}

/// The property that lists the columns with statistics.
pub const STATS_COLUMNS: &str = "delta.dataSkippingStatsColumns";

/// What our writer honours, or leaves to whoever cleans the table up.
const KNOWN: [(&str, Kind); 13] = [
    ("delta.appendOnly", Kind::Boolean),
    ("delta.checkpoint.writeStatsAsJson", Kind::Boolean),
    ("delta.checkpoint.writeStatsAsStruct", Kind::Boolean),
    ("delta.checkpointInterval", Kind::Count),
    ("delta.dataSkippingNumIndexedCols", Kind::IndexedColumns),
    (STATS_COLUMNS, Kind::ColumnNames),
    ("delta.deletedFileRetentionDuration", Kind::Interval),
    ("delta.enableChangeDataFeed", Kind::Boolean),
    ("delta.enableDeletionVectors", Kind::Boolean),
    ("delta.enableExpiredLogCleanup", Kind::Boolean),
    ("delta.logRetentionDuration", Kind::Interval),
    ("delta.parquet.compression.codec", Kind::Compression),
    ("delta.setTransactionRetentionDuration", Kind::TransactionInterval),
];

/// Properties of Delta that our writer would not honour, and what to do.
const NOT_HONOURED: [(&str, &str); 22] = [
    ("delta.autoOptimize", COMPACTION),
    ("delta.autoOptimize.autoCompact", COMPACTION),
    ("delta.autoOptimize.optimizeWrite", COMPACTION),
    ("delta.checkpointPolicy", "checkpoints are classic ones"),
    ("delta.columnMapping.maxColumnId", MAPPING),
    ("delta.columnMapping.mode", MAPPING),
    ("delta.compatibility.symlinkFormatManifest.enabled", "no manifests are written"),
    ("delta.enableIcebergCompatV1", ICEBERG),
    ("delta.enableIcebergCompatV2", ICEBERG),
    ("delta.enableIcebergCompatV3", ICEBERG),
    ("delta.enableInCommitTimestamps", "commits have the time of their file"),
    ("delta.enableRowTracking", "rows get no ids"),
    ("delta.enableTypeWidening", "types of columns do not change"),
    ("delta.isolationLevel", "every commit is checked against those before it"),
    ("delta.minReaderVersion", PROTOCOL),
    ("delta.minWriterVersion", PROTOCOL),
    ("delta.parquet.format.version", "files are of version 1"),
    ("delta.randomPrefixLength", "paths of data files are those of Hive"),
    ("delta.randomizeFilePrefixes", "paths of data files are those of Hive"),
    ("delta.targetFileSize", "the key target_file_size of the table says it"),
    ("delta.tuneFileSizesForRewrites", COMPACTION),
    ("delta.universalFormat.enabledFormats", ICEBERG),
];

const COMPACTION: &str = "files are closed at target_file_size, and not compacted";
const ICEBERG: &str = "tables are Delta tables only";
const MAPPING: &str = "tables are created without column mapping; those that have it are written";
const PROTOCOL: &str = "the protocol follows from the columns and properties";

const CONSTRAINT: &str = "delta.constraints.";
const FEATURE: &str = "delta.feature.";

/// Delta's own readers forget the run numbers of jobs after this time; the same run could be committed twice then.
const LEAST_TRANSACTION_RETENTION: Duration = Duration::from_secs(30 * 86_400);
/// Longer ones are mistakes, and too long for some readers' arithmetic.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1_000 * 366 * 86_400);

/// The properties as they are written into the table.
pub(super) fn properties(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    let Some(node) = node.get("properties") else { return properties };
    for (key, value) in &written.properties {
        let value = value.to_string();
        if key.to_ascii_lowercase().starts_with("delta.") {
            check(key, &value, node, lowering);
        }
        properties.insert(key.clone(), value);
    }
    properties
}

/// `delta.dataSkippingStatsColumns` of a table that is filled with a source whose columns are declared; of any other the
/// columns are known when it is planned.
pub(super) fn stats_columns(
    written: &spec::Table,
    node: &Node,
    sources: &[super::sources::Draft],
    lowering: &mut Lowering<'_>,
) {
    let (Some(list), Some(from)) = (written.properties.get(STATS_COLUMNS), &written.from) else { return };
    let source = sources.iter().find(|draft| draft.source.name.eq_ignore_ascii_case(from));
    let (Some(source), Some(node)) = (source, node.get("properties")) else { return };
    let SourceInput::Files(files) = &source.source.input else { return };
    let Some(declared) = &files.schema else { return };
    let mut known: Vec<&str> = declared.iter().map(|column| column.name.as_str()).collect();
    if matches!(files.format, FileFormat::Csv | FileFormat::Json) && files.mode == ParseMode::Permissive {
        known.push(RESCUED);
    }
    if written.audit.unwrap_or(false) {
        known.extend(AUDIT);
    }
    let list = list.to_string();
    if let Some(missing) = column_names(&list).find(|name| !known.contains(name)) {
        let message = format!("the table has no column '{missing}'; its columns are {}", known.join(", "));
        let path = format!("table.properties.{STATS_COLUMNS:?}");
        lowering.error(node.place_of(STATS_COLUMNS), Code::InvalidValue, &path, message);
    }
}

/// The columns that a list in [`STATS_COLUMNS`] names.
pub fn column_names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|name| name.trim().trim_matches('`'))
}

fn check(key: &str, value: &str, node: &Node, lowering: &mut Lowering<'_>) {
    let path = format!("table.properties.{key:?}");
    if let Some(name) = key.strip_prefix(CONSTRAINT) {
        constraint(name, key, node, &path, lowering);
        return;
    }
    let not_honoured = NOT_HONOURED.iter().find(|(known, _)| *known == key).map(|(_, why)| *why);
    if let Some(why) = not_honoured.or_else(|| key.starts_with(FEATURE).then_some(PROTOCOL)) {
        let message = format!("property '{key}' is not honoured by this version of lake: {why}; leave it out");
        lowering.error(node.key_place(key), Code::NotSupported, &path, message);
        return;
    }
    let Some((_, kind)) = KNOWN.iter().find(|(known, _)| *known == key) else {
        let mut error = node.key_place(key).error(Code::UnknownKey, &path, format!("Delta has no property '{key}'"));
        if lowering.report.has_room() {
            let candidates = KNOWN.iter().map(|(known, _)| *known).chain(NOT_HONOURED.iter().map(|(known, _)| *known));
            error.suggestion = closest(key, candidates);
        }
        lowering.report.push(error);
        return;
    };
    if let Err(expected) = kind.check(value) {
        let message = format!("expected {expected}, found '{value}'");
        lowering.error(node.place_of(key), Code::InvalidValue, &path, message);
    }
}

/// `delta.constraints.<name>`: a condition that every row of the table must fulfil, whoever writes it.
fn constraint(name: &str, key: &str, node: &Node, path: &str, lowering: &mut Lowering<'_>) {
    if !names::is_identifier(name) {
        let message = format!("'{name}' is not a name of a constraint: expected {}", names::RULE);
        lowering.error(node.key_place(key), Code::InvalidName, path, message);
    }
    let Some(text) = node.get(key).and_then(Node::text) else {
        lowering.error(node.place_of(key), Code::WrongType, path, "expected a condition as a text");
        return;
    };
    if lowering.is_substituted(text)
        && let Err(problem) = sql::check_expression(&text.text)
    {
        lowering.sql_problem(text, path, problem);
    }
}

impl Kind {
    /// # Errors
    /// What is expected, when `value` is not it.
    fn check(self, value: &str) -> Result<(), String> {
        let (fits, expected) = match self {
            Self::Boolean => (matches!(value, "true" | "false"), "true or false"),
            Self::Count => (value.parse::<i64>().is_ok_and(|count| count > 0), "a whole number above zero"),
            Self::IndexedColumns => {
                (value.parse::<i64>().is_ok_and(|count| count >= -1), "a number of columns, or -1 for all")
            }
            Self::ColumnNames => (column_names(value).all(|name| !name.is_empty()), "names separated by commas"),
            Self::Compression => {
                let codecs = ["snappy", "zstd", "gzip", "lz4", "none", "uncompressed"];
                (codecs.contains(&value), "snappy, zstd, gzip, lz4 or none")
            }
            Self::Interval => (interval(value).is_some(), INTERVAL),
            Self::TransactionInterval => {
                let enough = interval(value).is_some_and(|time| time >= LEAST_TRANSACTION_RETENTION);
                (enough, "at least \"interval 30 days\": by the run numbers it keeps, no run is committed twice")
            }
        };
        if fits { Ok(()) } else { Err(expected.to_owned()) }
    }
}

const INTERVAL: &str = "a duration such as \"interval 30 days\", in units from nanoseconds to weeks";

/// Delta's way to write a duration.
fn interval(text: &str) -> Option<Duration> {
    let mut words = text.split_whitespace();
    if words.next() != Some("interval") {
        return None;
    }
    let number: u64 = words.next()?.parse().ok()?;
    let unit = words.next()?;
    if words.next().is_some() {
        return None;
    }
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    let time = match unit {
        "nanosecond" | "nanoseconds" => Some(Duration::from_nanos(number)),
        "microsecond" | "microseconds" => Some(Duration::from_micros(number)),
        "millisecond" | "milliseconds" => Some(Duration::from_millis(number)),
        "second" | "seconds" => seconds(1),
        "minute" | "minutes" => seconds(60),
        "hour" | "hours" => seconds(3_600),
        "day" | "days" => seconds(86_400),
        "week" | "weeks" => seconds(604_800),
        _ => None,
    };
    time.filter(|time| *time <= LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_as_delta_reads_them() {
        assert_eq!(interval("interval 30 days"), Some(LEAST_TRANSACTION_RETENTION));
        assert_eq!(interval(" interval  2 week"), Some(Duration::from_secs(14 * 86_400)));
        for text in [
            "",
            "30 days",
            "interval",
            "interval 30",
            "interval -1 days",
            "interval 1 month",
            "interval 1.5 days",
            "interval 1 day 2 hours",
            "INTERVAL 1 day",
            "interval 99999999999999 weeks",
        ] {
            assert_eq!(interval(text), None, "{text:?}");
        }
    }

    #[test]
    fn no_property_is_both_honoured_and_not() {
        let mut all: Vec<&str> =
            KNOWN.iter().map(|(key, _)| *key).chain(NOT_HONOURED.iter().map(|(key, _)| *key)).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
