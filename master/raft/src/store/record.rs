//! A log entry as the file holds it. Pure.

use prost::Message;
use raft::eraftpb::Entry;

/// A log entry in the file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LogRecord {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    pub(super) index: u64,
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    context: Vec<u8>,
}

pub(super) fn record(entry: &Entry) -> LogRecord {
    LogRecord {
        kind: entry.entry_type,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

pub(super) fn entry(record: LogRecord) -> Entry {
    Entry {
        entry_type: record.kind,
        term: record.term,
        index: record.index,
        data: record.data,
        context: record.context,
        sync_log: false,
    }
}
