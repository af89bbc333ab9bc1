//! What a reader may ask for. Every id in it is checked, every path is built from numbers, and nothing outside the
//! canonical shuffle directory is ever opened. Pure but for the look at the file.

use std::path::{Path, PathBuf};

use ballista_core::execution_plans::create_shuffle_path;
use ballista_core::execution_plans::range_shuffle::index_path as range_index_path;
use ballista_core::execution_plans::sort_shuffle::get_index_path;
use ballista_core::serde::decode_protobuf;
use ballista_core::serde::scheduler::{Action, ShuffleFileKind, ShuffleLayout};
use bytes::Bytes;
use lake_proto::{ErrorClass, Fault, QueryId, codes};

use crate::workdir;

const RESULT_PREFIX: &str = "lake-result/1/";
const LONGEST_TICKET: usize = 1 << 20;

/// Names the rows of one result attempt on the worker that gave it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultTicket {
    query: QueryId,
    stage: u32,
    attempt: u64,
}

impl ResultTicket {
    /// The ticket of an attempt's rows.
    pub fn new(query: QueryId, stage: u32, attempt: u64) -> Self {
        Self { query, stage, attempt }
    }

    /// The bytes a reader sends.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from(format!("{RESULT_PREFIX}{}/{}/{}", self.query, self.stage, self.attempt))
    }

    /// The ticket in bytes; `None` when they are not a result ticket at all.
    ///
    /// # Errors
    /// `invalid-job` (code `request`) when they look like one and are not valid.
    pub fn parse(bytes: &[u8]) -> Option<Result<Self, Fault>> {
        let rest = bytes.strip_prefix(RESULT_PREFIX.as_bytes())?;
        Some(Self::parse_rest(rest).ok_or_else(|| invalid("the result ticket is not valid")))
    }

    fn parse_rest(rest: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(rest).ok()?.split('/');
        let ticket = Self {
            query: parts.next()?.parse().ok()?,
            stage: parts.next()?.parse().ok()?,
            attempt: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(ticket)
    }

    /// The query whose rows they are.
    pub fn query(&self) -> &QueryId {
        &self.query
    }

    /// The file it names, which exists below `shuffle`.
    ///
    /// # Errors
    /// `not-found` (code `result-fetch`) otherwise.
    pub fn file(&self, shuffle: &Path) -> Result<PathBuf, Fault> {
        let file = workdir::result_file(shuffle, &self.query, self.stage, self.attempt);
        beneath(shuffle, &file)
            .ok_or_else(|| Fault::new(ErrorClass::NotFound, "result-fetch", "no such result file on this worker"))
    }
}

/// Checks a request of Ballista's readers: its ids are valid and its file lies below `shuffle`, which must be
/// canonical. `body` is passed on unchanged only after that. Answers with the query whose file it is.
///
/// # Errors
/// `invalid-job` (code `request`) when it does not decode or an id is not valid, `not-found` (code `shuffle-fetch`) when
/// there is no such file.
pub fn check_fetch(shuffle: &Path, body: &[u8]) -> Result<QueryId, Fault> {
    if body.len() > LONGEST_TICKET {
        return Err(invalid("the ticket is too long"));
    }
    let action = decode_protobuf(body).map_err(|_| invalid("the ticket does not decode"))?;
    let Action::FetchPartition { job_id, stage_id, partition_id, file_id, layout, file_kind, .. } = action;
    let query: QueryId = job_id.as_str().parse().map_err(|_| invalid("the ticket's query id is not valid"))?;
    let sorted = matches!(layout, ShuffleLayout::Sort);
    let data = create_shuffle_path(shuffle, &job_id, stage_id, partition_id, file_id, sorted)
        .map_err(|_| invalid("the ticket names no file"))?;
    let file = match (file_kind, layout) {
        (ShuffleFileKind::Data, _) => data,
        (ShuffleFileKind::Index, ShuffleLayout::Sort) => get_index_path(&data),
        (ShuffleFileKind::Index, ShuffleLayout::Passthrough) => range_index_path(&data),
    };
    match beneath(shuffle, &file) {
        Some(_) => Ok(query),
        None => Err(Fault::new(ErrorClass::NotFound, codes::SHUFFLE_FETCH, "no such shuffle file on this worker")),
    }
}

/// The canonical path of an existing file, when no link leads it out of `root`. Why there is none is not told: a reader
/// learns nothing about other files.
fn beneath(root: &Path, path: &Path) -> Option<PathBuf> {
    let canonical = path.canonicalize().ok()?;
    (canonical.starts_with(root) && canonical.is_file()).then_some(canonical)
}

/// A ticket that no reader of ours sends.
fn invalid(message: &str) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "request", message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ballista_core::serde::protobuf;
    use prost::Message;

    use super::*;

    fn fetch(job: &str, file_id: Option<u64>, layout: ShuffleLayout, kind: ShuffleFileKind) -> Vec<u8> {
        let action = Action::FetchPartition {
            job_id: job.into(),
            stage_id: 1,
            partition_id: 2,
            host: "ignored".to_owned(),
            port: 1,
            file_id,
            layout,
            file_kind: kind,
            byte_ranges: vec![],
        };
        let action: protobuf::Action = action.try_into().unwrap();
        action.encode_to_vec()
    }

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let shuffle = directory.path().canonicalize().unwrap().join("shuffle");
        for path in ["shuffle/q1/1/2/data-7.arrow", "shuffle/q1/1/9/data.arrow", "secret/1/2/data-7.arrow"] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        (directory, shuffle)
    }

    fn passthrough(job: &str) -> Vec<u8> {
        fetch(job, Some(7), ShuffleLayout::Passthrough, ShuffleFileKind::Data)
    }

    #[test]
    fn files_of_both_layouts_are_found() {
        let (_directory, shuffle) = directory();
        assert_eq!(check_fetch(&shuffle, &passthrough("q1")).unwrap().as_str(), "q1");
        check_fetch(&shuffle, &fetch("q1", Some(9), ShuffleLayout::Sort, ShuffleFileKind::Data)).unwrap();
    }

    #[test]
    fn query_ids_that_would_leave_the_directory_are_refused() {
        let (directory, shuffle) = directory();
        let absolute = directory.path().join("secret");
        for job in ["../secret", "..", "", "q1/../../secret", absolute.to_str().unwrap(), "q1\0", "/etc", "q1/.."] {
            let fault = check_fetch(&shuffle, &passthrough(job)).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "request"), "{job:?}");
            assert!(!fault.message.contains("secret"), "{fault}");
        }
        assert_eq!(check_fetch(&shuffle, b"\xff\xff").unwrap_err().class, ErrorClass::InvalidJob);
    }

    #[test]
    fn unknown_files_and_links_that_lead_out_are_not_found() {
        let (directory, shuffle) = directory();
        std::os::unix::fs::symlink(directory.path().join("secret"), shuffle.join("q2")).unwrap();
        for body in [
            passthrough("q3"),
            passthrough("q2"),
            fetch("q1", Some(8), ShuffleLayout::Passthrough, ShuffleFileKind::Data),
            fetch("q1", Some(7), ShuffleLayout::Passthrough, ShuffleFileKind::Index),
        ] {
            let missing = Fault::new(ErrorClass::NotFound, codes::SHUFFLE_FETCH, "no such shuffle file on this worker");
            assert_eq!(check_fetch(&shuffle, &body), Err(missing));
        }
        let no_file = fetch("q1", None, ShuffleLayout::Sort, ShuffleFileKind::Data);
        assert_eq!(check_fetch(&shuffle, &no_file).unwrap_err().class, ErrorClass::InvalidJob);
    }

    #[test]
    fn result_tickets_survive_the_wire_and_nothing_else_passes_for_one() {
        let (_directory, shuffle) = directory();
        let ticket = ResultTicket::new("q1".parse().unwrap(), 4, 11);
        assert_eq!(ResultTicket::parse(&ticket.to_bytes()).unwrap().unwrap(), ticket);
        let missing = ticket.file(&shuffle).unwrap_err();
        assert_eq!((missing.class, missing.code.as_str()), (ErrorClass::NotFound, "result-fetch"));
        let file = workdir::result_file(&shuffle, &"q1".parse().unwrap(), 4, 11);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, b"x").unwrap();
        assert_eq!(ticket.file(&shuffle).unwrap(), file);
        for rest in ["", "q1", "q1/4", "q1/4/11/", "../1/1", "q1/-1/1", "/etc/1/1", "q1\0/1/1", "q1/4/x"] {
            let bytes = format!("{RESULT_PREFIX}{rest}");
            assert!(ResultTicket::parse(bytes.as_bytes()).unwrap().is_err(), "{rest:?}");
        }
        assert!(ResultTicket::parse(&passthrough("q1")).is_none());
    }
}
