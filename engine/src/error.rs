//! One error for the engine: a [`Fault`] whose class survives DataFusion, Arrow, Parquet, object_store and Ballista
//! wrappers. A class is found by type, never guessed from text. Pure.

use std::error::Error;
use std::fmt;
use std::io;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use deltalake_core::DeltaTableError;
use lake_proto::error::names_class;
use lake_proto::{ErrorClass, Fault};
use tonic::Status;

/// What engine functions return.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// A classed failure inside the engine. Travels through DataFusion as `External` and is found again by type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError(pub Fault);

impl EngineError {
    /// An error from its parts.
    pub fn new(class: ErrorClass, code: &str, message: impl Into<String>) -> Self {
        Self(Fault::new(class, code, message))
    }

    /// `invalid-job`: the author must change the job.
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::InvalidJob, code, message)
    }

    /// `not-found`.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::NotFound, code, message)
    }

    /// `unavailable`: the same call may work later.
    pub fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Unavailable, code, message)
    }

    /// `internal`: a bug or damaged state.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Internal, "internal", message)
    }

    /// Who must act.
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// Stable short name.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The same error with `context: ` before its message.
    #[must_use]
    pub fn within(self, context: impl fmt::Display) -> Self {
        Self(self.0.within(context))
    }

    /// Whether the same task may succeed elsewhere or later.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.class, ErrorClass::Unavailable | ErrorClass::Resource)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for EngineError {}

impl From<Fault> for EngineError {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        error.0
    }
}

impl From<EngineError> for DataFusionError {
    fn from(error: EngineError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for EngineError {
    fn from(error: DataFusionError) -> Self {
        if let Some(classed) = find_classed(&error) {
            return classed;
        }
        let message = error.strip_backtrace();
        let (class, code) = match error.find_root() {
            DataFusionError::SQL(..) => (ErrorClass::InvalidJob, "sql-syntax"),
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::Diagnostic(..) => {
                (ErrorClass::InvalidJob, "sql-plan")
            }
            DataFusionError::NotImplemented(_) => (ErrorClass::InvalidJob, "sql-unsupported"),
            DataFusionError::Configuration(_) => (ErrorClass::InvalidJob, "setting"),
            DataFusionError::ResourcesExhausted(_) => (ErrorClass::Resource, "memory"),
            // Evaluation of the user's expressions on the user's rows: casts, division by zero, overflow.
            DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => (ErrorClass::InvalidJob, "sql-runtime"),
            _ => (ErrorClass::Internal, "engine"),
        };
        Self::new(class, code, message)
    }
}

impl From<ArrowError> for EngineError {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl From<ParquetError> for EngineError {
    fn from(error: ParquetError) -> Self {
        find_classed(&error).unwrap_or_else(|| unreadable_parquet(&error))
    }
}

impl From<object_store::Error> for EngineError {
    fn from(error: object_store::Error) -> Self {
        find_own(&error).unwrap_or_else(|| classify_store(&error))
    }
}

impl From<DeltaTableError> for EngineError {
    fn from(error: DeltaTableError) -> Self {
        find_classed(&error).unwrap_or_else(|| Self::new(ErrorClass::Internal, "delta", error.to_string()))
    }
}

impl From<BallistaError> for EngineError {
    fn from(error: BallistaError) -> Self {
        classify_ballista(&error).or_else(|| find_classed(&error)).unwrap_or_else(|| match error {
            BallistaError::DataFusionError(inner) => (*inner).into(),
            other => Self::new(ErrorClass::Internal, "ballista", other.to_string()),
        })
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        classify_io(&error).unwrap_or_else(|| Self::unavailable("io", error.to_string()))
    }
}

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
        return match error {
            DataFusionError::External(inner) => find_classed(inner.as_ref()),
            DataFusionError::ArrowError(inner, _) => find_classed(inner.as_ref()),
            DataFusionError::ParquetError(inner) => {
                find_classed(inner.as_ref()).or_else(|| Some(unreadable_parquet(inner)))
            }
            DataFusionError::ObjectStore(inner) => find_classed(inner.as_ref()),
            DataFusionError::IoError(inner) => find_classed(inner),
            DataFusionError::Context(_, inner) => find_classed(inner.as_ref()),
            DataFusionError::Shared(inner) => find_classed(inner.as_ref()),
            DataFusionError::ResourcesExhausted(text) => {
                Some(EngineError::new(ErrorClass::Resource, "memory", text.clone()))
            }
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return match error {
            ArrowError::ExternalError(inner) => find_classed(inner.as_ref()),
            ArrowError::IoError(_, inner) => find_classed(inner),
            // Nothing that a user has is read as IPC: these are rows between tasks, and what sent them is gone or broke.
            ArrowError::IpcError(text) => Some(EngineError::unavailable("shuffle-fetch", text.clone())),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<FlightError>() {
        return match error {
            FlightError::Tonic(status) => Some(classify_status(status)),
            FlightError::Arrow(inner) => find_classed(inner),
            FlightError::ExternalError(inner) => find_classed(inner.as_ref()),
            FlightError::ProtocolError(text) | FlightError::DecodeError(text) => {
                Some(EngineError::unavailable("shuffle-fetch", text.clone()))
            }
            FlightError::NotYetImplemented(_) => None,
        };
    }
    if let Some(status) = error.downcast_ref::<Status>() {
        return Some(classify_status(status));
    }
    if let Some(ParquetError::External(inner)) = error.downcast_ref::<ParquetError>() {
        return find_classed(inner.as_ref());
    }
    None
}

/// What ended a stream of rows between tasks: the words of one of our services, which name their class, or a connection
/// that broke.
fn classify_status(status: &Status) -> EngineError {
    if names_class(status) {
        return Fault::from(status.clone()).into();
    }
    EngineError::unavailable("shuffle-fetch", status.to_string())
}

fn unreadable_parquet(error: &ParquetError) -> EngineError {
    EngineError::invalid("parquet", format!("not a readable Parquet file: {error}"))
}

fn find_nested(error: &object_store::Error) -> Option<EngineError> {
    match error {
        object_store::Error::Generic { source, .. } => find_classed(source.as_ref()),
        _ => None,
    }
}

fn classify_store(error: &object_store::Error) -> EngineError {
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
    let mut cause: Option<&(dyn Error + 'static)> = Some(source.as_ref());
    while let Some(current) = cause {
        if let Some(refused) = current.downcast_ref::<io::Error>() {
            let refused = classify_io(refused)?;
            let is_final = matches!(refused.class(), ErrorClass::Denied | ErrorClass::Resource);
            return is_final.then(|| EngineError::new(refused.class(), refused.code(), error.to_string()));
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

fn classify_io(error: &io::Error) -> Option<EngineError> {
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

fn classify_ballista(error: &BallistaError) -> Option<EngineError> {
    let (class, code) = match error {
        BallistaError::FetchFailed(..) => (ErrorClass::Unavailable, "shuffle-fetch"),
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
