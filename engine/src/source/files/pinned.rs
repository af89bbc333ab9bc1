//! A store that only gives the version of a file that was listed. Edge.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::input::OpenFile;

/// Reads of one file fail as `file-changed` when it is not the listed version; everything else passes through.
#[derive(Debug)]
pub(super) struct Pinned {
    file: OpenFile,
}

impl Pinned {
    /// A store for one listed file.
    pub(super) fn new(file: &OpenFile) -> Arc<dyn ObjectStore> {
        Arc::new(Self { file: file.clone() })
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({})", self.file.name)
    }
}

fn wrapped(error: crate::EngineError) -> object_store::Error {
    object_store::Error::Generic { store: "pinned", source: Box::new(error) }
}

#[async_trait]
impl ObjectStore for Pinned {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let options = GetOptions { if_match: self.file.file.etag.clone(), ..options };
        let answer =
            self.file.store.get_opts(location, options).await.map_err(|error| wrapped(self.file.failed(&error)))?;
        if answer.meta.size != self.file.file.size {
            let how = format!("it has {} bytes, listed were {}", answer.meta.size, self.file.file.size);
            return Err(wrapped(self.file.changed(&how)));
        }
        Ok(answer)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        object_store::coalesce_ranges(
            ranges,
            |range| self.get_range(location, range),
            object_store::OBJECT_STORE_COALESCE_DEFAULT,
        )
        .await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.file.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.file.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.file.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.file.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.file.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.file.store.copy_opts(from, to, options).await
    }
}
