//! Ids as newtypes. Pure. They look like Spark's: `app-20261121093012-0001`, `driver-…-0001`, `worker-…-HOST-PORT`.
//!
//! Every id is checked when it is made from outside text, because ids become file names and Flight tickets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MAX_ID_LENGTH: usize = 128;

/// An id that is empty, too long or has characters other than letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} id '{found}' is not valid: expected 1 to 128 letters, digits, '-', '_' or '.', not starting with '.'")]
pub struct InvalidId {
    kind: &'static str,
    found: String,
}

fn check(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > MAX_ID_LENGTH || text.starts_with('.') || !text.chars().all(allowed) {
        let found = text.chars().take(MAX_ID_LENGTH).collect();
        return Err(InvalidId { kind, found });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check($kind, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                check($kind, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id!(
    /// One submission, as seen by everybody but its driver.
    AppId, "application"
);
id!(
    /// The driver of one submission; Spark's `driverId`, also its `submissionId` on the REST port.
    DriverId, "driver"
);
id!(
    /// One life of a worker process; a worker that was declared lost gets a fresh one.
    WorkerId, "worker"
);
id!(
    /// The id a client makes for a submission (UUIDv7), so that sending it twice is harmless.
    SubmissionId, "submission"
);
id!(
    /// One query of a driver: a fresh UUID, never used again, because shuffle files are named after it.
    QueryId, "query"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_a_directory_are_refused() {
        for text in ["", "..", ".hidden", "a/b", "a\\b", "a b", "a\0", "é", &"x".repeat(129)] {
            assert!(text.parse::<QueryId>().is_err(), "{text:?} was accepted");
        }
        assert_eq!("driver-20261121093012-0001".parse::<DriverId>().unwrap().as_str(), "driver-20261121093012-0001");
    }
}
