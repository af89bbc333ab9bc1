//! Keys of a store that are read where they are kept, again and again: files of secrets are replaced before what is in
//! them expires. Edge.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lake_job::Setting;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use super::resolve;
use crate::{EngineError, Result};

/// How long keys are used before their files are read again.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Keys by reference. The last ones read are kept for a while, and for as long as their files cannot be read.
#[derive(Debug)]
pub(super) struct Referenced {
    what: String,
    key_id: Setting,
    secret_key: Setting,
    token: Option<Setting>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    credential: Arc<AwsCredential>,
    read_at: Instant,
}

impl Referenced {
    /// Reads them for the first time. `what` names the store in messages.
    ///
    /// # Errors
    /// `not-found` when a reference does not resolve.
    pub(super) fn new(what: String, key_id: Setting, secret_key: Setting, token: Option<Setting>) -> Result<Self> {
        let credential = Arc::new(read(&what, &key_id, &secret_key, token.as_ref())?);
        let held = Mutex::new(Held { credential, read_at: Instant::now() });
        Ok(Self { what, key_id, secret_key, token, held })
    }

    fn credential(&self, now: Instant) -> Arc<AwsCredential> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(held.read_at) >= READ_EVERY {
            held.read_at = now;
            match read(&self.what, &self.key_id, &self.secret_key, self.token.as_ref()) {
                Ok(credential) => held.credential = Arc::new(credential),
                // A file that is being replaced; if it stays away, the store refuses the old keys in its own words.
                Err(error) => tracing::warn!(error.code = error.code(), "keys could not be read again: {error}"),
            }
        }
        Arc::clone(&held.credential)
    }
}

fn read(what: &str, key_id: &Setting, secret_key: &Setting, token: Option<&Setting>) -> Result<AwsCredential> {
    Ok::<_, EngineError>(AwsCredential {
        key_id: resolve(key_id, what)?,
        secret_key: resolve(secret_key, what)?,
        token: token.map(|token| resolve(token, what)).transpose()?,
    })
}

#[async_trait]
impl CredentialProvider for Referenced {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(self.credential(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_replaced_are_used_and_keys_that_vanished_stay() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| Setting::File(directory.path().join(name).display().to_string());
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("id", "id-1\n");
        write("secret", "secret-1");
        let keys = Referenced::new("storage 's3://b'".to_owned(), file("id"), file("secret"), None).unwrap();
        let start = Instant::now();
        write("id", "id-2");
        assert_eq!(keys.credential(start).key_id, "id-1");
        assert_eq!(keys.credential(start + READ_EVERY).key_id, "id-2");
        std::fs::remove_file(directory.path().join("id")).unwrap();
        assert_eq!(keys.credential(start + READ_EVERY * 3).key_id, "id-2");

        let missing = Referenced::new("storage 's3://b'".to_owned(), file("id"), file("secret"), None).unwrap_err();
        assert_eq!((missing.class(), missing.code()), (lake_proto::ErrorClass::NotFound, "secret"));
    }
}
