//! Entries of the Delta log: reading one, and creating one if it is not there. Edge.
//!
//! Entries are read with a reader of our own that skips actions it does not know; what it keeps is what conflict
//! checks need.

use std::collections::BTreeMap;

use bytes::Bytes;
use delta_kernel::actions::{Metadata, Protocol};
use deltalake_core::kernel::{Add, CommitInfo, Remove, Transaction};
use lake_proto::ErrorClass;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde_json::{Map, Value};

use super::damage::DAMAGED;
use crate::{EngineError, Result};

/// The key in `commitInfo` that tells our own commit from one like it.
pub(super) const COMMIT_ID: &str = "lakeCommitId";
/// The operation in `commitInfo` of a commit that has a transaction and no rows, so that nobody else has the transaction.
pub(super) const FENCE: &str = "FENCE";

/// One commit, as far as others care.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) adds: Vec<Add>,
    pub(super) removes: Vec<Remove>,
    pub(super) txns: Vec<Transaction>,
    pub(super) changes_metadata: bool,
    pub(super) changes_protocol: bool,
    pub(super) commit_id: Option<String>,
    pub(super) is_fence: bool,
    /// What the writer tells of its commit, by Spark's names.
    pub(super) metrics: BTreeMap<String, u64>,
}

impl Entry {
    /// Whether it has this transaction.
    pub(super) fn has(&self, (app_id, version): &(String, i64)) -> bool {
        self.txns.iter().any(|txn| txn.app_id == *app_id && txn.version == *version)
    }
}

/// What became of an attempt to create an entry.
#[derive(Debug)]
pub(super) enum Put {
    /// It is there, and it is ours.
    Written,
    /// Something was there before.
    Exists,
    /// Unknown: it may be there now, later or never.
    Doubtful(EngineError),
}

/// Path of an entry below the table's root.
pub(super) fn entry_path(version: i64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

/// The entry of `version`, or `None` when there is none.
pub(super) async fn read(root: &dyn ObjectStore, version: i64) -> Result<Option<Entry>> {
    let path = entry_path(version);
    let bytes = match root.get(&path).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    parse(&bytes).map(Some).map_err(|error| error.within(format!("the table's log is damaged: '{path}'")))
}

/// The actions in the bytes of one entry.
///
/// # Errors
/// `internal` (code `delta-log`) naming the line that is none.
pub(super) fn parse(bytes: &[u8]) -> Result<Entry> {
    let mut entry = Entry::default();
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let action: Map<String, Value> = serde_json::from_slice(line).map_err(|error| damaged(number, &error))?;
        for (key, value) in action {
            entry.take(&key, value).map_err(|error| damaged(number, &error))?;
        }
    }
    Ok(entry)
}

impl Entry {
    fn take(&mut self, key: &str, value: Value) -> Result<(), serde_json::Error> {
        match key {
            "add" => self.adds.push(serde_json::from_value(value)?),
            "remove" => self.removes.push(serde_json::from_value(value)?),
            "txn" => self.txns.push(serde_json::from_value(value)?),
            "metaData" => self.changes_metadata = true,
            "protocol" => self.changes_protocol = true,
            "commitInfo" => {
                self.commit_id = value.get(COMMIT_ID).and_then(Value::as_str).map(str::to_owned);
                self.is_fence = value.get("operation").and_then(Value::as_str) == Some(FENCE);
                self.metrics = value.get("operationMetrics").map(metrics).unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }
}

/// Numbers, which are written as text, as Spark does, or as numbers.
fn metrics(written: &Value) -> BTreeMap<String, u64> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let numbers = written.as_object().into_iter().flatten();
    numbers.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
}

/// `number` is the line's, and the only one: the parser counts lines of its own.
fn damaged(number: u32, error: &serde_json::Error) -> EngineError {
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
    let column = match error.column() {
        0 => String::new(),
        column => format!(", column {column},"),
    };
    EngineError::new(ErrorClass::Internal, DAMAGED, format!("line {number}{column} is not an action of Delta: {said}"))
}

/// Creates the entry of `version` unless one is there: the atomic step of every commit.
pub(super) async fn put(root: &dyn ObjectStore, version: i64, body: Bytes) -> Put {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match root.put_opts(&entry_path(version), body.into(), options).await {
        Ok(_) => Put::Written,
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Put::Exists,
        Err(error) => Put::Doubtful(error.into()),
    }
}

/// The actions of one entry, in the order they are written.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) info: CommitInfo,
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Option<Metadata>,
    pub(super) txn: Option<Transaction>,
    pub(super) removes: Vec<Remove>,
    pub(super) adds: Vec<Add>,
}

impl Draft {
    /// One JSON object per line.
    pub(super) fn encode(&self) -> Result<Bytes> {
        let mut body = Vec::new();
        line(&mut body, "commitInfo", &self.info)?;
        if let Some(protocol) = &self.protocol {
            line(&mut body, "protocol", protocol)?;
        }
        if let Some(metadata) = &self.metadata {
            line(&mut body, "metaData", metadata)?;
        }
        if let Some(txn) = &self.txn {
            line(&mut body, "txn", txn)?;
        }
        for remove in &self.removes {
            line(&mut body, "remove", remove)?;
        }
        for add in &self.adds {
            line(&mut body, "add", add)?;
        }
        Ok(body.into())
    }
}

fn line(body: &mut Vec<u8>, key: &str, action: &impl serde::Serialize) -> Result<()> {
    let encoded = serde_json::to_string(action).map_err(|error| EngineError::internal(error.to_string()))?;
    body.extend_from_slice(format!("{{\"{key}\":{encoded}}}\n").as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_actions_are_skipped_and_known_ones_counted() {
        let text = concat!(
            r#"{"commitInfo":{"operation":"WRITE","lakeCommitId":"x","operationMetrics":{"numFiles":"2","n":7,"x":"y"}}}"#,
            "\n",
            r#"{"txn":{"appId":"a","version":3}}"#,
            "\n",
            r#"{"add":{"path":"p=a%20b/f","partitionValues":{"p":"a b"},"size":1,"modificationTime":1,"dataChange":true}}"#,
            "\n",
            r#"{"somethingNew":{"k":1}}"#,
            "\n",
            r#"{"remove":{"path":"g","dataChange":true}}"#,
        );
        let entry = parse(text.as_bytes()).unwrap();
        assert_eq!(entry.commit_id.as_deref(), Some("x"));
        assert_eq!(entry.adds[0].path, "p=a b/f");
        assert_eq!((entry.removes.len(), entry.txns[0].version), (1, 3));
        assert!(entry.has(&("a".to_owned(), 3)) && !entry.has(&("a".to_owned(), 4)) && !entry.is_fence);
        assert_eq!(entry.metrics, BTreeMap::from([("numFiles".to_owned(), 2), ("n".to_owned(), 7)]));
    }

    #[test]
    fn a_line_that_is_no_action_is_named_with_its_number() {
        for (text, place) in [
            ("{not json", "line 1, column 2, is not"),
            ("{\"txn\":{\"appId\":\"a\",\"version\":3}}\n\n{\"add\":", "line 3, column 7, is not"),
            ("{\"somethingNew\":{}}\n{\"add\":5}", "line 2 is not"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.class(), error.code()), (ErrorClass::Internal, DAMAGED));
            assert!(error.to_string().starts_with(place) && !error.to_string().contains(" at line "), "{error}");
        }
    }
}
