//! The class of an error, found by type below what others have wrapped it in; never guessed from text. Pure.

use std::error::Error;
use std::io;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
pub(super) use delta_kernel::Error as KernelError;
use lake_proto::error::names_class;
use lake_proto::{ErrorClass, Fault, codes};
use tonic::Status;

use super::plain::plain;
use super::{EngineError, words};

/// Code of a data file whose bytes are not what its format says.
pub(crate) const BAD_FILE: &str = "bad-file";

/// The first error in the chain of causes whose type says its class.
pub(crate) fn find_classed(error: &(dyn Error + 'static)) -> Option<EngineError> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(classed) = classify(current) {
            return Some(classed);
        }
        cause = current.source();
    }
    None
}

/// Our own error inside what a decoder made of it; the decoder's own complaints say nothing about a class.
pub(crate) fn find_own(error: &(dyn Error + 'static)) -> Option<EngineError> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<EngineError>() {
            return Some(own.clone());
        }
        if let Some(inner) = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            cause = Some(inner);
        } else if let Some(DataFusionError::External(inner)) = current.downcast_ref::<DataFusionError>() {
            cause = Some(inner.as_ref());
        } else {
            cause = current.source();
        }
    }
    None
}

/// Why a Parquet file cannot be decoded; `None` when something else has failed, such as the store it is in, or when the
/// error already says which file it is.
pub(crate) fn damage(error: &DataFusionError) -> Option<String> {
    let is_elsewhere = find_classed(error).is_some_and(|found| found.code() != BAD_FILE);
    if is_elsewhere || find_own(error).is_some() {
        return None;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<ParquetError>() {
            return Some(words::of_parquet(error));
        }
        if let Some(ArrowError::ParquetError(text)) = current.downcast_ref::<ArrowError>() {
            return Some(plain(text));
        }
        cause = current.source();
    }
    None
}

/// The kernel's error below the backtrace that it may carry.
pub(crate) fn bare(error: &KernelError) -> &KernelError {
    match error {
        KernelError::Backtraced { source, .. } => bare(source),
        other => other,
    }
}

pub(super) fn unreadable_parquet(error: &ParquetError) -> EngineError {
    unreadable(&words::of_parquet(error))
}

fn unreadable(why: &str) -> EngineError {
    EngineError::new(ErrorClass::DataQuality, BAD_FILE, format!("not a readable Parquet file: {why}"))
}

fn classify(error: &(dyn Error + 'static)) -> Option<EngineError> {
    if let Some(error) = error.downcast_ref::<EngineError>() {
        return Some(error.clone());
    }
    if let Some(error) = error.downcast_ref::<object_store::Error>() {
        return find_refusal(error).or_else(|| find_nested(error)).or_else(|| Some(classify_store(error)));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().and_then(|inner| find_classed(inner)).or_else(|| classify_io(error));
    }
    if let Some(error) = error.downcast_ref::<BallistaError>() {
        return classify_ballista(error).or_else(|| match error {
            BallistaError::DataFusionError(inner) => find_classed(inner.as_ref()),
            BallistaError::ArrowError(inner) => find_classed(inner.as_ref()),
            _ => None,
        });
    }
    // These keep their cause behind a box that `source` does not always show.
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return classify_datafusion(error);
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return match error {
            ArrowError::ExternalError(inner) => find_boxed(inner.as_ref()),
            ArrowError::IoError(_, inner) => find_classed(inner),
            ArrowError::ParquetError(text) => Some(unreadable(&plain(text))),
            // Nothing that a user has is read as IPC: these are rows between tasks, and what sent them is gone or broke.
            ArrowError::IpcError(text) => Some(EngineError::unavailable(codes::SHUFFLE_FETCH, text.clone())),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<FlightError>() {
        return match error {
            FlightError::Tonic(status) => Some(classify_status(status)),
            FlightError::Arrow(inner) => find_classed(inner),
            FlightError::ExternalError(inner) => find_classed(inner.as_ref()),
            FlightError::ProtocolError(text) | FlightError::DecodeError(text) => {
                Some(EngineError::unavailable(codes::SHUFFLE_FETCH, text.clone()))
            }
            FlightError::NotYetImplemented(_) => None,
        };
    }
    if let Some(status) = error.downcast_ref::<Status>() {
        return Some(classify_status(status));
    }
    if let Some(error) = error.downcast_ref::<ParquetError>() {
        let ParquetError::External(inner) = error else { return None };
        return if is_cut_off(inner.as_ref()) { Some(unreadable_parquet(error)) } else { find_classed(inner.as_ref()) };
    }
    error.downcast_ref::<KernelError>().and_then(classify_kernel)
}

/// What ended a stream of rows between tasks: the words of one of our services, which name their class, or a connection
/// that broke.
fn classify_status(status: &Status) -> EngineError {
    if names_class(status) {
        return Fault::from(status.clone()).into();
    }
    EngineError::unavailable(codes::SHUFFLE_FETCH, status.to_string())
}

fn classify_datafusion(error: &DataFusionError) -> Option<EngineError> {
    match error {
        DataFusionError::External(inner) => find_boxed(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => find_classed(inner.as_ref()),
        DataFusionError::ParquetError(inner) => {
            find_classed(inner.as_ref()).or_else(|| Some(unreadable_parquet(inner)))
        }
        DataFusionError::ObjectStore(inner) => find_classed(inner.as_ref()),
        DataFusionError::IoError(inner) => find_classed(inner),
        DataFusionError::Context(_, inner) => find_classed(inner.as_ref()),
        DataFusionError::Shared(inner) => find_classed(inner.as_ref()),
        DataFusionError::ResourcesExhausted(text) => {
            Some(EngineError::new(ErrorClass::Resource, "memory", plain(text)))
        }
        _ => None,
    }
}

/// What somebody has wrapped on the way: a complaint of the Parquet reader is about the file it reads.
fn find_boxed(error: &(dyn Error + 'static)) -> Option<EngineError> {
    find_classed(error).or_else(|| error.downcast_ref::<ParquetError>().map(unreadable_parquet))
}

/// The kernel does not show the causes of its errors as such.
fn classify_kernel(error: &KernelError) -> Option<EngineError> {
    match bare(error) {
        KernelError::Arrow(inner) => find_classed(inner),
        KernelError::Parquet(inner) => find_classed(inner),
        KernelError::ObjectStore(inner) => find_classed(inner),
        KernelError::IOError(inner) => find_classed(inner),
        KernelError::GenericError { source } => find_classed(source.as_ref()),
        _ => None,
    }
}

/// Whether bytes that are all there end before what they hold does. A connection that breaks off comes from a store, or
/// from us, and has a type that says so.
fn is_cut_off(error: &(dyn Error + 'static)) -> bool {
    let Some(error) = error.downcast_ref::<io::Error>() else { return false };
    let is_nameless = error.get_ref().is_none_or(|inner| find_classed(inner).is_none());
    error.kind() == io::ErrorKind::UnexpectedEof && is_nameless
}

fn find_nested(error: &object_store::Error) -> Option<EngineError> {
    match error {
        object_store::Error::Generic { source, .. } => find_classed(source.as_ref()),
        _ => None,
    }
}

pub(super) fn classify_store(error: &object_store::Error) -> EngineError {
    use object_store::Error as Store;
    let (class, code) = match error {
        Store::NotFound { .. } => (ErrorClass::NotFound, "object-not-found"),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => (ErrorClass::Denied, "store-denied"),
        Store::AlreadyExists { .. } | Store::Precondition { .. } | Store::NotModified { .. } => {
            (ErrorClass::Conflict, "object-exists")
        }
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } => (ErrorClass::InvalidJob, "object-path"),
        _ => return find_refusal(error).unwrap_or_else(|| EngineError::unavailable("store", error.to_string())),
    };
    EngineError::new(class, code, error.to_string())
}

/// What the operating system will refuse again, with the store's words, which name the file: no right to write it, no
/// space for it.
fn find_refusal(error: &object_store::Error) -> Option<EngineError> {
    let object_store::Error::Generic { source, .. } = error else { return None };
    let refused = io_below(source.as_ref())?;
    let classed = classify_io(refused)?;
    let is_final = matches!(classed.class(), ErrorClass::Denied | ErrorClass::Resource);
    is_final.then(|| EngineError::new(classed.class(), classed.code(), error.to_string()))
}

/// What the operating system answered, somewhere in the chain of causes.
pub(crate) fn io_below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

/// The class of what the operating system answered; `None` where its kind does not say who must act.
pub fn class_of_io(kind: io::ErrorKind) -> Option<ErrorClass> {
    use io::ErrorKind as Kind;
    match kind {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::OutOfMemory => Some(ErrorClass::Resource),
        Kind::NotFound => Some(ErrorClass::NotFound),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Some(ErrorClass::Denied),
        Kind::ConnectionRefused
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::TimedOut
        | Kind::NotConnected
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::UnexpectedEof => Some(ErrorClass::Unavailable),
        _ => None,
    }
}

pub(super) fn classify_io(error: &io::Error) -> Option<EngineError> {
    let class = class_of_io(error.kind())?;
    let code = match class {
        ErrorClass::Resource if error.kind() == io::ErrorKind::OutOfMemory => "memory",
        ErrorClass::Resource => "disk-full",
        ErrorClass::NotFound => "file-not-found",
        ErrorClass::Denied => "file-denied",
        _ => "io",
    };
    Some(EngineError::new(class, code, error.to_string()))
}

pub(super) fn classify_ballista(error: &BallistaError) -> Option<EngineError> {
    let (class, code) = match error {
        BallistaError::FetchFailed(..) => (ErrorClass::Unavailable, codes::SHUFFLE_FETCH),
        BallistaError::GrpcError(status) => return Some(classify_status(status)),
        BallistaError::TonicError(_) | BallistaError::GrpcConnectionError(_) | BallistaError::GrpcActionError(_) => {
            (ErrorClass::Unavailable, "transport")
        }
        BallistaError::Cancelled => (ErrorClass::Cancelled, "cancelled"),
        BallistaError::IoError(inner) => return classify_io(inner),
        _ => return None,
    };
    Some(EngineError::new(class, code, error.to_string()))
}
