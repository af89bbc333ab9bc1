//! The closed list of error classes and how they cross process borders. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use crate::v1;

const CLASS_HEADER: &str = "lake-error-class";
const CODE_HEADER: &str = "lake-error-code";

/// What kind of failure it is, and so who must act. `docs/errors.md` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// job.toml, SQL, schema or parameter is wrong; a repeat fails again.
    InvalidJob,
    /// A named table, id or version does not exist.
    NotFound,
    /// A concurrent writer won and the step cannot be rebased.
    Conflict,
    /// Memory, disk, slots or quota are exhausted.
    Resource,
    /// A worker, the leader, a source or a store cannot be reached.
    Unavailable,
    /// Killed on request.
    Cancelled,
    /// An expectation with `action = "fail"`, or a constraint of the table, was violated.
    DataQuality,
    /// Not authenticated or not allowed.
    Denied,
    /// A bug or damaged state.
    Internal,
}

impl ErrorClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::InvalidJob,
        Self::NotFound,
        Self::Conflict,
        Self::Resource,
        Self::Unavailable,
        Self::Cancelled,
        Self::DataQuality,
        Self::Denied,
        Self::Internal,
    ];

    /// The class's name on the wire and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidJob => "invalid-job",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Resource => "resource",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::DataQuality => "data-quality",
            Self::Denied => "denied",
            Self::Internal => "internal",
        }
    }

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::InvalidJob => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Resource => 5,
            Self::Unavailable => 6,
            Self::Cancelled => 7,
            Self::DataQuality => 8,
            Self::Denied => 9,
            Self::Internal => 70,
        }
    }

    /// The class a process with this exit code ended with; `None` for 0 and codes that are not ours.
    pub fn from_exit_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|class| i32::from(class.exit_code()) == code)
    }

    /// The HTTP status of an answer with this class.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidJob => 400,
            Self::NotFound => 404,
            Self::Conflict | Self::Cancelled => 409,
            Self::Resource => 429,
            Self::Unavailable => 503,
            Self::DataQuality => 422,
            Self::Denied => 403,
            Self::Internal => 500,
        }
    }

    /// The gRPC code of a status with this class.
    pub const fn grpc_code(self) -> Code {
        match self {
            Self::InvalidJob => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Conflict => Code::Aborted,
            Self::Resource => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Cancelled => Code::Cancelled,
            Self::DataQuality => Code::FailedPrecondition,
            Self::Denied => Code::PermissionDenied,
            Self::Internal => Code::Internal,
        }
    }

    /// Whether a driver may be started again after it: nobody has to change anything first.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Resource | Self::Unavailable)
    }

    const fn from_grpc_code(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidJob,
            Code::NotFound => Self::NotFound,
            Code::Aborted | Code::AlreadyExists => Self::Conflict,
            Code::ResourceExhausted => Self::Resource,
            Code::Unavailable | Code::DeadlineExceeded => Self::Unavailable,
            Code::Cancelled => Self::Cancelled,
            Code::FailedPrecondition => Self::DataQuality,
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied,
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ErrorClass {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.name() == name).ok_or(UnknownClass)
    }
}

/// A class name that is not in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown error class")]
pub struct UnknownClass;

/// A failure that crosses process borders: class, stable code, message for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Who must act.
    pub class: ErrorClass,
    /// Short and stable; listed in docs/errors.md.
    pub code: String,
    /// Lower case, no full stop; names the thing, what was expected and what was found.
    pub message: String,
}

impl Fault {
    /// A fault from its parts.
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into() }
    }

    /// The same fault with `context: ` before its message.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl From<Fault> for v1::Failure {
    fn from(fault: Fault) -> Self {
        Self { class: fault.class.name().to_owned(), code: fault.code, message: fault.message }
    }
}

impl From<v1::Failure> for Fault {
    fn from(failure: v1::Failure) -> Self {
        let class = failure.class.parse().unwrap_or(ErrorClass::Internal);
        Self { class, code: failure.code, message: failure.message }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let mut status = Self::new(fault.class.grpc_code(), fault.message);
        let headers = status.metadata_mut();
        if let (Ok(class), Ok(code)) = (fault.class.name().parse(), fault.code.parse()) {
            headers.insert(CLASS_HEADER, class);
            headers.insert(CODE_HEADER, code);
        }
        status
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let header = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let class = header(CLASS_HEADER).and_then(|name| name.parse().ok());
        let code = header(CODE_HEADER).unwrap_or("rpc").to_owned();
        // Our services always name the class. A status without one that has a cause was made on this side, by the
        // transport: the connection broke, whatever code it chose.
        let is_transport = std::error::Error::source(&status).is_some();
        let of_code = || if is_transport { ErrorClass::Unavailable } else { ErrorClass::from_grpc_code(status.code()) };
        let class = class.unwrap_or_else(of_code);
        Self { class, code, message: status.message().to_owned() }
    }
}

/// Whether one of our services made this status: they all name the class of the fault. One without comes from the
/// transport, or from somebody else.
pub fn names_class(status: &Status) -> bool {
    status.metadata().contains_key(CLASS_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_survives_grpc_and_the_wire_message() {
        for class in ErrorClass::ALL {
            let fault = Fault::new(class, "some-code", "what was found");
            let status = Status::from(fault.clone());
            assert!(names_class(&status));
            assert_eq!(Fault::from(status), fault);
            assert_eq!(Fault::from(v1::Failure::from(fault.clone())), fault);
            assert_eq!(ErrorClass::from_exit_code(i32::from(class.exit_code())), Some(class));
            assert_eq!(class.name().parse(), Ok(class));
        }
    }

    #[test]
    fn a_broken_connection_is_unavailable_whatever_code_the_transport_chose() {
        let broken = std::io::Error::new(std::io::ErrorKind::InvalidData, "error reading a body from connection");
        let status = Status::from_error(Box::new(broken));
        assert!(!names_class(&status));
        assert_eq!(Fault::from(status).class, ErrorClass::Unavailable);
        assert_eq!(Fault::from(Status::internal("theirs")).class, ErrorClass::Internal);
    }

    #[test]
    fn exit_codes_are_distinct_and_never_zero() {
        let mut codes: Vec<u8> = ErrorClass::ALL.iter().map(|class| class.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorClass::ALL.len());
        assert!(!codes.contains(&0));
    }
}
