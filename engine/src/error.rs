//! One error for the engine: a [`Fault`] whose class survives DataFusion, Arrow, Parquet, object_store and Ballista
//! wrappers. A class is found by type (`find`), never guessed from text; what others say is told in our words (`words`,
//! `plain`). Pure.

mod find;
mod plain;
pub(crate) mod words;

use std::error::Error;
use std::fmt;
use std::io;

use arrow::error::ArrowError;
use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use deltalake_core::DeltaTableError;
use lake_proto::{ErrorClass, Fault};

pub use self::find::class_of_io;
pub(crate) use self::find::{BAD_FILE, bare, damage, find_classed, find_own, io_below};
use self::find::{classify_ballista, classify_io, classify_store, unreadable_parquet};

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
        let message = words::of_datafusion(&error);
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
        find_classed(&error).unwrap_or_else(|| Self::new(ErrorClass::Internal, "delta", words::of_delta(&error)))
    }
}

impl From<BallistaError> for EngineError {
    fn from(error: BallistaError) -> Self {
        classify_ballista(&error).or_else(|| find_classed(&error)).unwrap_or_else(|| match error {
            BallistaError::DataFusionError(inner) => (*inner).into(),
            other => Self::new(ErrorClass::Internal, "ballista", plain::plain(&other.to_string())),
        })
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        classify_io(&error).unwrap_or_else(|| Self::unavailable("io", error.to_string()))
    }
}

#[cfg(test)]
mod tests;
