//! From what a task died of to what its master is told: class, whether a repeat may work, and whose output could not
//! be fetched. Decided by type and by the state of the disk, never by text. Pure but for the look at
//! the disk.

use std::error::Error;
use std::path::Path;

use arrow::error::ArrowError;
use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use lake_engine::EngineError;
use lake_proto::v1::{FetchFailure, TaskFailed};
use lake_proto::{ErrorClass, Fault, codes};

use crate::host;

/// Less than this free means that a write that failed without saying why failed for want of space.
const FULL_DISK_BYTES: u64 = 16 << 20;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// Class, code and message.
    pub(super) fault: Fault,
    /// The same attempt may succeed elsewhere or later.
    pub(super) transient: bool,
    /// Worker and stage whose map output could not be fetched.
    pub(super) fetch: Option<(String, u32)>,
}

impl Failed {
    /// The failure of a plan, from the error that its streams ended with.
    pub(super) fn of_plan(error: &std::sync::Arc<DataFusionError>) -> Self {
        let fetch = find_fetch(error.as_ref());
        let classed = EngineError::from(DataFusionError::Shared(error.clone()));
        let transient = classed.is_transient() || fetch.is_some();
        Self { fault: classed.into(), transient, fetch }
    }

    /// The failure of what stands above the plan: shuffle writers and result files below `directory`. They evaluate
    /// nothing of the user's, so an error without a class of its own is the disk's or ours.
    pub(super) fn of_writer(error: DataFusionError, directory: &Path) -> Self {
        let classed = EngineError::from(error);
        // What cannot be written as IPC looks like what cannot be read.
        let is_unclear = classed.class() == ErrorClass::InvalidJob || classed.code() == codes::SHUFFLE_FETCH;
        if !is_unclear {
            return Self::from(classed);
        }
        let free = host::disk(directory).free_bytes;
        if free < FULL_DISK_BYTES {
            let message = format!(
                "cannot write shuffle data: {free} bytes are free below {}; free space or use another --work-dir",
                directory.display()
            );
            return Self::from(EngineError::new(ErrorClass::Resource, "disk-full", message));
        }
        Self::from(EngineError::new(ErrorClass::Internal, "shuffle-write", classed.0.message))
    }

    /// The wire message.
    pub(super) fn into_message(self) -> TaskFailed {
        TaskFailed {
            failure: Some(self.fault.into()),
            transient: self.transient,
            fetch: self.fetch.map(|(worker_id, stage_id)| FetchFailure { worker_id, stage_id }),
        }
    }
}

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Self {
        Self { transient: error.is_transient(), fault: error.into(), fetch: None }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::from(EngineError::from(fault))
    }
}

/// The worker and stage of a failed fetch anywhere in the chain of causes.
fn find_fetch(error: &(dyn Error + 'static)) -> Option<(String, u32)> {
    if let Some(error) = error.downcast_ref::<BallistaError>() {
        return match error {
            BallistaError::FetchFailed(worker, stage, ..) => Some((worker.clone(), u32::try_from(*stage).ok()?)),
            BallistaError::DataFusionError(inner) => find_fetch(inner.as_ref()),
            BallistaError::ArrowError(inner) => find_fetch(inner.as_ref()),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return match error {
            DataFusionError::External(inner) => find_fetch(inner.as_ref()),
            DataFusionError::ArrowError(inner, _) => find_fetch(inner.as_ref()),
            DataFusionError::Context(_, inner) => find_fetch(inner.as_ref()),
            DataFusionError::Shared(inner) => find_fetch(inner.as_ref()),
            DataFusionError::Collection(all) => all.iter().find_map(|inner| find_fetch(inner)),
            other => other.source().and_then(find_fetch),
        };
    }
    if let Some(ArrowError::ExternalError(inner)) = error.downcast_ref::<ArrowError>() {
        return find_fetch(inner.as_ref());
    }
    error.source().and_then(find_fetch)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use arrow_flight::error::FlightError;
    use tonic::Status;

    use super::*;

    fn fetch_failed() -> BallistaError {
        BallistaError::FetchFailed("worker-7".to_owned(), 3, 1, "gone".to_owned())
    }

    #[test]
    fn a_failed_fetch_is_found_through_every_wrapper() {
        let external = DataFusionError::External(Box::new(fetch_failed()));
        let arrow = DataFusionError::from(ArrowError::ExternalError(Box::new(external)));
        let nested = DataFusionError::Shared(Arc::new(DataFusionError::Context("scan".to_owned(), Box::new(arrow))));
        let failed = Failed::of_plan(&Arc::new(nested));
        assert_eq!(failed.fetch, Some(("worker-7".to_owned(), 3)));
        assert_eq!(failed.fault.class, ErrorClass::Unavailable);
        assert!(failed.transient);
        let message = failed.into_message();
        assert_eq!(message.fetch.unwrap().stage_id, 3);
    }

    /// Where the worker that had the rows is not named, its loss is noticed elsewhere; the attempt is tried again until
    /// then.
    #[test]
    fn a_fetch_that_breaks_is_unavailable_in_every_form_that_it_takes() {
        let ipc = || ArrowError::IpcError("error reading a body from connection".to_owned());
        let status = || Status::unknown("h2 protocol error: error reading a body from connection");
        let external = |error: BallistaError| DataFusionError::External(Box::new(error));
        let forms = [
            // The connection breaks before the schema has arrived.
            external(BallistaError::ArrowError(Box::new(ipc()))),
            external(BallistaError::DataFusionError(Box::new(ipc().into()))),
            // It breaks between two batches, or within one.
            DataFusionError::from(ipc()),
            DataFusionError::from(ArrowError::from_external_error(Box::new(status()))),
            DataFusionError::from(ArrowError::from_external_error(Box::new(external(BallistaError::from(ipc()))))),
            DataFusionError::External(Box::new(FlightError::Tonic(Box::new(status())))),
            DataFusionError::External(Box::new(FlightError::DecodeError("not a message".to_owned()))),
            external(BallistaError::GrpcError(Box::new(status()))),
        ];
        for form in forms {
            let text = format!("{form:?}");
            let wrapped = DataFusionError::Shared(Arc::new(form.context("joining")));
            let failed = Failed::of_plan(&Arc::new(wrapped));
            assert_eq!(
                (failed.fault.class, failed.fault.code.as_str()),
                (ErrorClass::Unavailable, "shuffle-fetch"),
                "{text}"
            );
            assert!(failed.transient && failed.fetch.is_none(), "{text}");
        }
        // What one of our services refuses keeps its class.
        let stale = Status::from(Fault::new(ErrorClass::Conflict, "stale-epoch", "a newer driver has it"));
        let refused = DataFusionError::External(Box::new(FlightError::Tonic(Box::new(stale))));
        let failed = Failed::of_plan(&Arc::new(refused));
        assert_eq!((failed.fault.class, failed.transient), (ErrorClass::Conflict, false));
    }

    #[test]
    fn an_error_in_the_users_rows_is_final_and_memory_is_not() {
        let division = DataFusionError::from(ArrowError::DivideByZero);
        let failed = Failed::of_plan(&Arc::new(division));
        assert_eq!((failed.fault.class, failed.transient), (ErrorClass::InvalidJob, false));
        let memory = DataFusionError::ResourcesExhausted("pool".to_owned());
        let failed = Failed::of_plan(&Arc::new(memory));
        assert_eq!((failed.fault.class, failed.transient), (ErrorClass::Resource, true));
    }

    #[test]
    fn a_writer_fails_for_the_disk_or_for_us_but_never_for_the_user() {
        let full = DataFusionError::IoError(io::Error::from(io::ErrorKind::StorageFull));
        let failed = Failed::of_writer(full, Path::new("/"));
        assert_eq!((failed.fault.class, failed.transient), (ErrorClass::Resource, true));
        let unclear = || DataFusionError::Execution("shuffle writer drain panicked".to_owned());
        let failed = Failed::of_writer(unclear(), Path::new("/"));
        assert_eq!((failed.fault.class, failed.transient), (ErrorClass::Internal, false));
        let unwritten = DataFusionError::from(ArrowError::IpcError("a writer that is closed".to_owned()));
        assert_eq!(Failed::of_writer(unwritten, Path::new("/")).fault.code, "shuffle-write");
        // A directory that cannot be asked counts as full: it may be gone with its disk.
        let failed = Failed::of_writer(unclear(), Path::new("/no/such/directory"));
        assert_eq!(failed.fault.code, "disk-full");
    }
}
