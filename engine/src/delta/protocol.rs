//! Which Delta tables we read and which we write. Pure.
//!
//! Reader features bind both readers and writers; writer features bind writers only. A feature that is listed but
//! not in use (a legacy writer version implies several) is no obstacle.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{EngineError, Result};

/// The protocol action: versions and named features.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Version a reader must implement.
    pub min_reader_version: i32,
    /// Version a writer must implement.
    pub min_writer_version: i32,
    /// Named features of reader version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<BTreeSet<String>>,
    /// Named features of writer version 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<BTreeSet<String>>,
}

const READ: [&str; 7] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

/// Writer-only features that ask nothing of a writer that adds and removes whole files, checks constraints and
/// leaves domain metadata alone.
const WRITE: [&str; 6] =
    ["appendOnly", "changeDataFeed", "checkConstraints", "checkpointProtection", "domainMetadata", "invariants"];

/// Writer-only features that forbid writing only when the table's schema or properties make use of them.
const WRITE_WHEN_UNUSED: [&str; 4] =
    ["allowColumnDefaults", "generatedColumns", "identityColumns", "inCommitTimestamp"];

impl Protocol {
    /// The protocol of a new table with these columns.
    pub(crate) fn for_new(schema: &SchemaRef, properties: &BTreeMap<String, String>) -> Self {
        let mut both = BTreeSet::new();
        let mut writer = BTreeSet::new();
        if contains(schema.fields(), &|kind| matches!(kind, DataType::Timestamp(_, None))) {
            both.insert("timestampNtz".to_owned());
        }
        if is_true(properties, "delta.enableDeletionVectors") {
            both.insert("deletionVectors".to_owned());
        }
        if is_true(properties, "delta.enableChangeDataFeed") {
            writer.insert("changeDataFeed".to_owned());
        }
        let constrained = properties.keys().any(|key| key.starts_with("delta.constraints."));
        if constrained {
            writer.insert("checkConstraints".to_owned());
        }
        if both.is_empty() && writer.is_empty() {
            return Self { min_reader_version: 1, min_writer_version: 2, ..Self::default() };
        }
        writer.extend(["appendOnly".to_owned(), "invariants".to_owned()]);
        writer.extend(both.iter().cloned());
        let readers = !both.is_empty();
        Self {
            min_reader_version: if readers { 3 } else { 1 },
            min_writer_version: 7,
            reader_features: readers.then_some(both),
            writer_features: Some(writer),
        }
    }

    /// Refuses tables we would misread.
    ///
    /// # Errors
    /// `invalid-job`, code `delta-protocol`, naming the version or feature.
    pub fn check_read(&self, table: &str) -> Result<()> {
        if self.min_reader_version > 3 {
            return Err(refused(table, "read", &format!("reader version {}", self.min_reader_version)));
        }
        let unknown = self.reader_features.iter().flatten().find(|name| !READ.contains(&name.as_str()));
        unknown.map_or(Ok(()), |name| Err(refused(table, "read", &format!("feature '{name}'"))))
    }

    /// Refuses tables we would damage.
    ///
    /// # Errors
    /// `invalid-job`, code `delta-protocol`, naming the version or feature.
    pub fn check_write(&self, table: &str, schema: &SchemaRef, properties: &BTreeMap<String, String>) -> Result<()> {
        self.check_read(table)?;
        if self.min_writer_version > 7 {
            return Err(refused(table, "written", &format!("writer version {}", self.min_writer_version)));
        }
        for name in self.writer_features.iter().flatten().map(String::as_str) {
            if !READ.contains(&name) && !WRITE.contains(&name) && !WRITE_WHEN_UNUSED.contains(&name) {
                return Err(refused(table, "written", &format!("feature '{name}'")));
            }
        }
        used_feature(schema, properties)
            .map_or(Ok(()), |name| Err(refused(table, "written", &format!("feature '{name}'"))))
    }
}

/// A feature that the schema or the properties put to use and that we cannot honour when writing.
fn used_feature(schema: &SchemaRef, properties: &BTreeMap<String, String>) -> Option<&'static str> {
    if is_true(properties, "delta.enableInCommitTimestamps") {
        return Some("inCommitTimestamp");
    }
    if is_true(properties, "delta.enableRowTracking") {
        return Some("rowTracking");
    }
    let marks = [
        ("delta.generationExpression", "generatedColumns"),
        ("delta.identity.start", "identityColumns"),
        ("CURRENT_DEFAULT", "allowColumnDefaults"),
    ];
    let marked = |key: &str| schema.fields().iter().any(|field| field.metadata().contains_key(key));
    marks.into_iter().find(|(key, _)| marked(key)).map(|(_, name)| name)
}

pub(crate) fn is_true(properties: &BTreeMap<String, String>, key: &str) -> bool {
    properties.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn contains(fields: &Fields, wanted: &dyn Fn(&DataType) -> bool) -> bool {
    let in_field = |field: &Field| match field.data_type() {
        DataType::Struct(children) => contains(children, wanted),
        DataType::List(child) | DataType::LargeList(child) | DataType::Map(child, _) => {
            contains(&Fields::from(vec![child.clone()]), wanted)
        }
        kind => wanted(kind),
    };
    fields.iter().any(|field| in_field(field))
}

fn refused(table: &str, verb: &str, what: &str) -> EngineError {
    EngineError::invalid(
        "delta-protocol",
        format!("table '{table}' cannot be {verb}: it needs Delta {what}, which this version does not support"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Schema, TimeUnit};

    use super::*;

    fn named(reader: &[&str], writer: &[&str]) -> Protocol {
        let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        Protocol {
            min_reader_version: 3,
            min_writer_version: 7,
            reader_features: set(reader),
            writer_features: set(writer),
        }
    }

    fn plain() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]))
    }

    #[test]
    fn unknown_reader_features_and_versions_are_refused_by_name() {
        let error = named(&["catalogManaged"], &["catalogManaged"]).check_read("s.t").unwrap_err();
        assert_eq!(error.code(), "delta-protocol");
        assert!(error.to_string().contains("catalogManaged") && error.to_string().contains("s.t"), "{error}");
        let newer = Protocol { min_reader_version: 4, min_writer_version: 8, ..Protocol::default() };
        assert!(newer.check_read("s.t").unwrap_err().to_string().contains("reader version 4"));
        named(&["deletionVectors", "columnMapping"], &["rowTracking"]).check_read("s.t").unwrap();
    }

    #[test]
    fn writer_features_are_refused_only_when_they_bind_us() {
        let none = BTreeMap::new();
        named(&[], &["appendOnly", "identityColumns"]).check_write("t", &plain(), &none).unwrap();
        let error = named(&[], &["rowTracking"]).check_write("t", &plain(), &none).unwrap_err();
        assert!(error.to_string().contains("rowTracking"));
        let generated = Field::new("a", DataType::Int64, true)
            .with_metadata([("delta.generationExpression".to_owned(), "1".to_owned())].into());
        let schema = Arc::new(Schema::new(vec![generated]));
        let legacy = Protocol { min_reader_version: 1, min_writer_version: 4, ..Protocol::default() };
        assert!(legacy.check_write("t", &schema, &none).unwrap_err().to_string().contains("generatedColumns"));
        legacy.check_write("t", &plain(), &none).unwrap();
    }

    #[test]
    fn a_new_table_asks_for_no_more_than_its_columns_need() {
        let none = BTreeMap::new();
        assert_eq!(Protocol::for_new(&plain(), &none).min_writer_version, 2);
        let ntz = Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let protocol = Protocol::for_new(&Arc::new(Schema::new(vec![ntz])), &none);
        assert_eq!(protocol.min_reader_version, 3);
        assert!(protocol.reader_features.is_some_and(|features| features.contains("timestampNtz")));
    }
}
