//! The local file system as an object store whose commits survive power loss: object_store 0.13 never syncs, so an
//! acknowledged log entry could vanish. Log entries (`_delta_log/…`) and their directory are synced before a put
//! returns; data files are named by the log entry that follows, so they are synced too, when their upload completes.
//!
//! It also says what the operating system means by its refusals, which are failures like any other to object_store.

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lake_proto::ErrorClass;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::EngineError;
use crate::error::io_below;

/// `LocalFileSystem` rooted at `/`, plus syncs.
#[derive(Debug)]
pub(super) struct SyncedFiles {
    inner: Arc<LocalFileSystem>,
}

impl SyncedFiles {
    pub(super) fn new() -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()) }
    }
}

impl fmt::Display for SyncedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncedFiles")
    }
}

/// The kind of what the operating system answered, when that is behind the failure.
fn kind(error: &object_store::Error) -> Option<ErrorKind> {
    let object_store::Error::Generic { source, .. } = error else { return None };
    io_below(source.as_ref()).map(std::io::Error::kind)
}

/// A refusal to create a file, as what it is: folders are made where they are missing, so where that cannot be done,
/// nobody may write. A repeat would find the same.
fn unwritable(location: &Path, error: object_store::Error) -> object_store::Error {
    let (class, code) = match kind(&error) {
        Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => (ErrorClass::Denied, "file-denied"),
        Some(ErrorKind::InvalidFilename) => (ErrorClass::InvalidJob, "object-path"),
        _ => return error,
    };
    let refused = EngineError::new(class, code, format!("'/{location}' cannot be written: {error}"));
    object_store::Error::Generic { store: "files", source: refused.into() }
}

/// Nothing is below a file.
fn absent(location: &Path, error: object_store::Error) -> object_store::Error {
    match kind(&error) {
        Some(ErrorKind::NotADirectory) => {
            object_store::Error::NotFound { path: location.to_string(), source: Box::new(error) }
        }
        _ => error,
    }
}

/// Makes a finished file, and its name in its directory, durable.
async fn sync(path: PathBuf) -> Result<()> {
    let synced = tokio::task::spawn_blocking(move || {
        File::open(&path)?.sync_all()?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    });
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "files", source };
    synced.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))
}

#[async_trait]
impl ObjectStore for SyncedFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let result =
            self.inner.put_opts(location, payload, options).await.map_err(|error| unwritable(location, error))?;
        sync(self.inner.path_to_filesystem(location)?).await?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner =
            self.inner.put_multipart_opts(location, options).await.map_err(|error| unwritable(location, error))?;
        Ok(Box::new(SyncedUpload { inner, path: self.inner.path_to_filesystem(location)? }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await.map_err(|error| absent(location, error))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // As of a folder that does not exist.
        let is_there = |result: &Result<ObjectMeta>| {
            std::future::ready(result.as_ref().err().and_then(kind) != Some(ErrorKind::NotADirectory))
        };
        self.inner.list(prefix).filter(is_there).boxed()
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
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        sync(self.path.clone()).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    fn path(of: &std::path::Path) -> Path {
        Path::from_absolute_path(of).unwrap()
    }

    async fn refused(target: &std::path::Path) -> [EngineError; 2] {
        let store = SyncedFiles::new();
        let put = store.put(&path(target), "x".into()).await.unwrap_err();
        let upload = match store.put_multipart(&path(target)).await {
            Ok(_) => panic!("{} can be written", target.display()),
            Err(error) => error,
        };
        [put.into(), upload.into()]
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_denied_and_not_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let below = file.join("t/a.parquet");
        for target in [std::path::Path::new("/proc/lake/t/a.parquet"), below.as_path()] {
            for error in refused(target).await {
                assert_eq!((error.class(), error.code()), (ErrorClass::Denied, "file-denied"), "{error}");
                assert!(!error.is_transient() && error.to_string().contains("t/"), "{error}");
            }
        }
        for error in refused(&directory.path().join("x".repeat(300))).await {
            assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "object-path"), "{error}");
        }
    }

    #[tokio::test]
    async fn nothing_is_below_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let store = SyncedFiles::new();
        let below = path(&file.join("t"));
        let listed: Vec<ObjectMeta> = store.list(Some(&below)).try_collect().await.unwrap();
        assert!(listed.is_empty());
        let error = store.get(&below).await.unwrap_err();
        assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
        let listed: Vec<ObjectMeta> = store.list(Some(&path(directory.path()))).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
    }
}
