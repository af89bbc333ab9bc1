//! Rows of actions: what a writing task answers, and what the driver makes of the answers. Pure.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use deltalake_core::kernel::Add;
use serde::{Deserialize, Serialize};

use super::{CheckKind, checks::Checks};
use crate::malformed::{self, Malformed};
use crate::{EngineError, Result};

/// One schema for every task: `kind` is `add`, `input`, `expectation` or `source`.
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::Utf8, false),
        Field::new("json", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
    ]))
});

/// Whether rows with this schema are what writing tasks answer: losing them would lose the data files they name.
pub fn is_actions(schema: &Schema) -> bool {
    let columns = |schema: &Schema| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    columns(schema) == columns(&SCHEMA)
}

const ADD: &str = "add";
const INPUT: &str = "input";
const EXPECTATION: &str = "expectation";
const SOURCE: &str = "source";

/// Violations of one check over all tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationCount {
    /// Name of the check.
    pub name: String,
    /// What a violation does.
    pub action: CheckKind,
    /// Rows that it was evaluated on: those that no check before it has dropped.
    pub checked: u64,
    /// Of them, those that violate it.
    pub violations: u64,
}

/// What all tasks of a write answered.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// The new data files.
    pub adds: Vec<Add>,
    /// Rows that came in.
    pub input_rows: u64,
    /// Rows in the new files.
    pub output_rows: u64,
    /// Bytes of the new files.
    pub output_bytes: u64,
    /// Checks with their violations, in the order they were given. Constraints are not among them: they fail a task.
    pub expectations: Vec<ExpectationCount>,
    /// Records that did not parse, by source, of the sources that the writing tasks read themselves.
    pub malformed: Vec<Malformed>,
    /// Tasks that answered: one `input` row each.
    pub tasks: usize,
}

/// The answer of one task.
pub(super) fn answer(adds: &[Add], input_rows: u64, checks: &Checks, sources: &[Malformed]) -> Result<RecordBatch> {
    let mut kinds = StringBuilder::new();
    let mut jsons = StringBuilder::new();
    let mut rows = Int64Builder::new();
    let mut bytes = Int64Builder::new();
    let mut push = |kind: &str, json: String, row_count: i64, byte_count: i64| {
        kinds.append_value(kind);
        jsons.append_value(json);
        rows.append_value(row_count);
        bytes.append_value(byte_count);
    };
    push(INPUT, String::new(), signed(input_rows), 0);
    for found in checks.counts().filter(|found| found.check.kind != CheckKind::Constraint) {
        let (name, action) = (found.check.name.clone(), found.check.kind);
        let count = ExpectationCount { name, action, checked: found.checked, violations: found.violations };
        push(EXPECTATION, encode(&count)?, signed(count.violations), 0);
    }
    for source in sources {
        push(SOURCE, encode(source)?, signed(source.records()), 0);
    }
    for add in adds {
        push(ADD, encode(add)?, signed(rows_of(add)), add.size);
    }
    let columns: Vec<Arc<dyn Array>> =
        vec![Arc::new(kinds.finish()), Arc::new(jsons.finish()), Arc::new(rows.finish()), Arc::new(bytes.finish())];
    Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
}

fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| EngineError::internal(error.to_string()))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn rows_of(add: &Add) -> u64 {
    let stats: Option<serde_json::Value> = add.stats.as_deref().and_then(|text| serde_json::from_str(text).ok());
    stats.and_then(|stats| stats.get("numRecords")?.as_u64()).unwrap_or(0)
}

impl Written {
    /// The answers of all tasks, in any order.
    ///
    /// # Errors
    /// `internal` when a batch is not an answer of a write.
    pub fn read(batches: &[RecordBatch]) -> Result<Self> {
        let mut written = Self::default();
        let mut expectations: BTreeMap<usize, ExpectationCount> = BTreeMap::new();
        for batch in batches {
            if !is_actions(&batch.schema()) {
                return Err(EngineError::internal("a write task answered with other columns than actions"));
            }
            written.read_batch(batch, &mut expectations)?;
        }
        written.expectations = expectations.into_values().collect();
        Ok(written)
    }

    fn read_batch(&mut self, batch: &RecordBatch, expectations: &mut BTreeMap<usize, ExpectationCount>) -> Result<()> {
        let wrong = || EngineError::internal("a write task answered with other types than actions");
        let kinds = batch.column(0).as_string_opt::<i32>().ok_or_else(wrong)?;
        let jsons = batch.column(1).as_string_opt::<i32>().ok_or_else(wrong)?;
        let rows = batch.column(2).as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
        let mut checks = 0;
        for ((kind, json), rows) in kinds.iter().zip(jsons).zip(rows) {
            let (kind, json) = (kind.unwrap_or_default(), json.unwrap_or_default());
            let rows = rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0);
            match kind {
                INPUT => {
                    self.tasks += 1;
                    self.input_rows += rows;
                    checks = 0;
                }
                ADD => {
                    let add: Add = decode(json)?;
                    self.output_rows += rows;
                    self.output_bytes += u64::try_from(add.size).unwrap_or(0);
                    self.adds.push(add);
                }
                EXPECTATION => {
                    let count: ExpectationCount = decode(json)?;
                    let (checked, violations) = (count.checked, count.violations);
                    let none = ExpectationCount { checked: 0, violations: 0, ..count };
                    let total = expectations.entry(checks).or_insert(none);
                    total.checked += checked;
                    total.violations += violations;
                    checks += 1;
                }
                SOURCE => malformed::add(&mut self.malformed, decode(json)?),
                other => {
                    return Err(EngineError::internal(format!("a write task answered with a row of kind '{other}'")));
                }
            }
        }
        Ok(())
    }
}

fn decode<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| EngineError::internal(format!("a write task's action does not decode: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_all_answers_are_merged() {
        let found = |piece: &str, records| Malformed {
            source: "rows".to_owned(),
            mode: lake_job::ParseMode::Drop,
            pieces: [(piece.to_owned(), records)].into(),
        };
        let answers = [[found("a 0", 2)], [found("a 0", 2)], [found("b 0", 1)]];
        let answers: Vec<RecordBatch> =
            answers.iter().map(|sources| answer(&[], 5, &Checks::new(Vec::new()), sources).unwrap()).collect();
        let written = Written::read(&answers).unwrap();
        assert_eq!((written.tasks, written.input_rows), (3, 15));
        let records: Vec<u64> = written.malformed.iter().map(Malformed::records).collect();
        assert_eq!(records, [3]);
    }

    #[test]
    fn action_rows_are_known_by_names_and_types_of_their_columns() {
        assert!(is_actions(&SCHEMA));
        let nullable: Vec<Field> =
            SCHEMA.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        assert!(is_actions(&Schema::new(nullable)));
        let texts: Vec<Field> =
            SCHEMA.fields().iter().map(|field| field.as_ref().clone().with_data_type(DataType::Utf8)).collect();
        assert!(!is_actions(&Schema::new(texts)));
        assert!(!is_actions(&Schema::new(vec![Field::new("kind", DataType::Utf8, false)])));
    }
}
