//! The store as the data file writer sees it: a failure is kept for the sink and not shown to the writer. Edge.
//!
//! A writer that learns of a failure while it finishes a file gives the upload up by a panic that it catches itself; the
//! process prints it all the same, beside the error. So the writer is told that all went well, and the sink asks for the
//! failure before it believes anything the writer says. The upload is taken back here.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::EngineError;

/// The first failure of a sink's uploads.
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<EngineError>>);

impl Failure {
    fn keep(&self, error: object_store::Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.into());
    }

    /// # Errors
    /// The failure, once there is one: then nothing that the writer says about its files is true.
    pub(super) fn check(&self) -> crate::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

/// A store whose writes do not fail, as far as the writer can see.
#[derive(Debug)]
pub(super) struct Uploads {
    inner: Arc<dyn ObjectStore>,
    failure: Arc<Failure>,
}

impl Uploads {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, failure: Arc<Failure>) -> Self {
        Self { inner, failure }
    }
}

/// What the writer is told of an object that is not there; it looks at none of it.
const UNTOLD: PutResult = PutResult { e_tag: None, version: None };

impl fmt::Display for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for Uploads {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        Ok(self.inner.put_opts(location, payload, options).await.unwrap_or_else(|error| {
            self.failure.keep(error);
            UNTOLD
        }))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // A failure to begin is one that the writer takes well.
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload { inner, failure: self.failure.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    failure: Arc<Failure>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, failure) = (self.inner.put_part(data), self.failure.clone());
        Box::pin(async move {
            if let Err(error) = part.await {
                failure.keep(error);
            }
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let completed = match self.failure.check() {
            Ok(()) => self.inner.complete().await.map_err(|error| self.failure.keep(error)),
            // Parts of it may be missing.
            Err(_) => Err(()),
        };
        if let Ok(result) = completed {
            return Ok(result);
        }
        if let Err(error) = self.inner.abort().await {
            tracing::debug!(%error, "upload of a data file could not be taken back");
        }
        Ok(UNTOLD)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use object_store::prefix::PrefixStore;

    use super::*;

    #[tokio::test]
    async fn a_write_that_fails_is_known_to_the_sink_and_not_to_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        // A file where the table's folder would be.
        std::fs::write(directory.path().join("t"), "x").unwrap();
        let files = object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap();
        let failure = Arc::new(Failure::default());
        let uploads = Uploads::new(Arc::new(PrefixStore::new(files, "t")), failure.clone());
        failure.check().unwrap();
        uploads.put(&Path::from("a.parquet"), "rows".into()).await.unwrap();
        let first = failure.check().unwrap_err();
        assert!(first.to_string().contains("a.parquet") || first.to_string().contains("t"), "{first}");
        uploads.put(&Path::from("b.parquet"), "rows".into()).await.unwrap();
        assert_eq!(failure.check().unwrap_err(), first);
    }

    #[tokio::test]
    async fn an_upload_after_a_failure_is_not_completed() {
        let store = Arc::new(InMemory::new());
        let failure = Arc::new(Failure::default());
        let uploads = Uploads::new(store.clone(), failure.clone());
        for (name, is_there) in [("a", true), ("b", false)] {
            let mut upload = uploads.put_multipart(&Path::from(name)).await.unwrap();
            upload.put_part("rows".into()).await.unwrap();
            upload.complete().await.unwrap();
            assert_eq!(store.head(&Path::from(name)).await.is_ok(), is_there, "{name}");
            failure.keep(object_store::Error::NotImplemented { operation: String::new(), implementer: String::new() });
        }
        assert!(failure.check().is_err());
    }
}
