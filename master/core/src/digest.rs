//! Digests: of a submission, to know a repeat; of the state, to compare replicas. Pure.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::command::Submission;
use crate::state::State;

/// SHA-256 over the whole state in its canonical JSON (maps are ordered). Equal on replicas that applied the same
/// commands.
///
/// # Errors
/// Never with the types of today: all keys are text.
pub fn of_state(state: &State) -> Result<String, serde_json::Error> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(state)?)))
}

/// SHA-256 over pipeline and options, each field with its length, so that no two contents look alike.
pub(crate) fn of_submission(submission: &Submission) -> String {
    let options = &submission.options;
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    field(submission.pipeline.as_bytes());
    field(options.name.as_bytes());
    field(options.job_name.as_bytes());
    field(&options.total_executor_cores.to_be_bytes());
    field(&options.driver_memory_bytes.to_be_bytes());
    field(&[u8::from(options.supervise)]);
    field(&options.max_attempts.to_be_bytes());
    field(options.deploy_mode.name().as_bytes());
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
