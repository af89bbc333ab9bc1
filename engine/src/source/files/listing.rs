//! Which files a source means: one file, a directory, or a glob; in the order of their paths. Edge (lists).

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use url::Url;

use super::glob::Glob;
use super::input::OpenFile;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// A file as it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceFile {
    /// Path inside its store.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The store's name for this version of it, where it has one.
    pub etag: Option<String>,
    /// Milliseconds since the epoch.
    pub modified_ms: i64,
}

impl SourceFile {
    /// Its path inside its store.
    pub(super) fn path(&self) -> Path {
        // Keys come from listings and are encoded already; encoding again would name another object.
        Path::parse(&self.key).unwrap_or_else(|_| Path::from(self.key.as_str()))
    }

    fn new(meta: ObjectMeta) -> Self {
        Self {
            key: meta.location.to_string(),
            size: meta.size,
            etag: meta.e_tag,
            modified_ms: meta.last_modified.timestamp_millis(),
        }
    }
}

/// The files of a source and where they are.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    /// URL of the part of the path without wildcards: it picks the storage profile.
    pub base: Url,
    /// The store of all files.
    pub store: Arc<dyn ObjectStore>,
    /// At least one, ordered by path.
    pub files: Vec<SourceFile>,
}

impl Listing {
    /// A file of the listing, to be read.
    pub(super) fn open(&self, file: &SourceFile) -> OpenFile {
        OpenFile { store: self.store.clone(), name: display_name(&self.base, &file.key), file: file.clone() }
    }
}

/// A file's URL for messages.
pub(super) fn display_name(base: &Url, key: &str) -> String {
    format!("{}://{}/{key}", base.scheme(), base.host_str().unwrap_or_default())
}

/// The files that `path` means: an absolute URL of a file, of a directory (read recursively), or with the wildcards
/// `*`, `?`, `**` and `{a,b}`. Files and directories whose names begin with `_` or `.` are left out, as in Spark.
///
/// # Errors
/// `not-found` (code `source-files`) when there is none; `invalid-job` for a path that is no URL; the store's class.
pub(super) async fn list(stores: &Stores, path: &str) -> Result<Listing> {
    let (base_text, pattern) = split_wildcards(path)?;
    let base = base_url(base_text)?;
    let store = stores.store(&base)?;
    let prefix = Stores::path(&base)?;
    let cannot_list = |error: object_store::Error| match error {
        object_store::Error::NotFound { .. } => none_found(path),
        other => EngineError::from(other).within(format!("cannot list '{path}'")),
    };
    if pattern.is_empty() && !base_text.ends_with('/') {
        match store.head(&prefix).await {
            Ok(meta) => return Ok(Listing { base, store, files: vec![SourceFile::new(meta)] }),
            // Perhaps a directory named without its last slash.
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(cannot_list(error)),
        }
    }
    let glob = Glob::new(&pattern);
    let listed: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await.map_err(cannot_list)?;
    let mut files: Vec<SourceFile> = listed
        .into_iter()
        .filter(|meta| {
            let below: Option<Vec<_>> = meta.location.prefix_match(&prefix).map(Iterator::collect);
            let below = below.unwrap_or_default();
            let segments: Vec<&str> = below.iter().map(AsRef::as_ref).collect();
            // No segments below: an object that marks the directory itself.
            !segments.is_empty() && glob.matches(&segments)
        })
        .map(SourceFile::new)
        .collect();
    if files.is_empty() {
        return Err(none_found(path));
    }
    files.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Listing { base, store, files })
}

/// The URL of a path. `#` is a character of file names here.
fn base_url(text: &str) -> Result<Url> {
    let url = Url::parse(&text.replace('#', "%23"))
        .map_err(|error| EngineError::invalid("source-path", format!("'{text}' is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // It would travel with every plan, and be shown.
        let message = format!("the path under '{}' holds credentials; put them into [storage]", url.scheme());
        return Err(EngineError::invalid("source-path", message));
    }
    Ok(url)
}

fn none_found(path: &str) -> EngineError {
    EngineError::not_found(
        "source-files",
        format!(
            "no files at '{path}' (names that begin with '_' or '.' do not count); check the path, or whether its \
                 writer has run"
        ),
    )
}

/// What a wildcard begins with, also as it is written in the URL of a local path.
const WILDCARDS: [&str; 5] = ["*", "?", "{", "%3F", "%7B"];

/// The URL up to the last slash before the first wildcard, and the pattern after it (empty without wildcards).
fn split_wildcards(path: &str) -> Result<(&str, String)> {
    let authority = path.find("://").map(|at| at + 3);
    let authority =
        authority.ok_or_else(|| EngineError::invalid("source-path", format!("'{path}' is not an absolute URL")))?;
    let root = path.get(authority..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| authority + at);
    let below = path.get(root..).unwrap_or_default();
    let Some(wildcard) = WILDCARDS.iter().filter_map(|wildcard| below.find(*wildcard)).min() else {
        return Ok((path, String::new()));
    };
    let wildcard = root + wildcard;
    let slash = path.get(..wildcard).and_then(|before| before.rfind('/')).unwrap_or(root);
    let (base, pattern) = path.split_at_checked(slash + 1).unwrap_or((path, ""));
    Ok((base, percent_decoded(pattern)))
}

/// `%20` to a space and so on: object paths are not encoded.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte =
            code.and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| u8::from_str_radix(code, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Profiles;

    async fn keys(root: &std::path::Path, pattern: &str) -> Result<Vec<String>> {
        let stores = Stores::new(Profiles::default());
        let listing = list(&stores, &format!("file://{}/{pattern}", root.display())).await?;
        let prefix = format!("{}/", root.display()).trim_start_matches('/').to_owned();
        Ok(listing.files.iter().map(|file| file.key.strip_prefix(&prefix).unwrap_or(&file.key).to_owned()).collect())
    }

    #[tokio::test]
    async fn files_directories_and_globs_are_found_in_order_and_hidden_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["b/2.csv", "b/1.csv", "b/c/3.json", "_tmp/4.csv", "b/.5.csv", "b/_SUCCESS", "a b.csv", "_k=1/6.csv"]
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let all = ["_k=1/6.csv", "a b.csv", "b/1.csv", "b/2.csv", "b/c/3.json"];
        assert_eq!(keys(dir.path(), "").await.unwrap(), all);
        assert_eq!(keys(dir.path(), "b").await.unwrap(), all[2..]);
        assert_eq!(keys(dir.path(), "b/1.csv").await.unwrap(), ["b/1.csv"]);
        assert_eq!(keys(dir.path(), "a%20b.csv").await.unwrap(), ["a b.csv"]);
        assert_eq!(keys(dir.path(), "a%20?.csv").await.unwrap(), ["a b.csv"]);
        assert_eq!(keys(dir.path(), "*/*.csv").await.unwrap(), ["_k=1/6.csv", "b/1.csv", "b/2.csv"]);
        assert_eq!(keys(dir.path(), "**/*.{json,xml}").await.unwrap(), ["b/c/3.json"]);
        assert_eq!(keys(dir.path(), "**/?.csv").await.unwrap(), ["_k=1/6.csv", "b/1.csv", "b/2.csv"]);
        assert_eq!(keys(dir.path(), "b/%3F.csv").await.unwrap(), ["b/1.csv", "b/2.csv"]);
        assert_eq!(keys(dir.path(), "%7Bb,x%7D/%7B1,c/3%7D.*").await.unwrap(), ["b/1.csv", "b/c/3.json"]);
        assert_eq!(keys(dir.path(), "[b]*").await.unwrap_err().code(), "source-files");
        let missing = keys(dir.path(), "nothing/here.csv").await.unwrap_err();
        assert_eq!((missing.code(), missing.class()), ("source-files", lake_proto::ErrorClass::NotFound));
        assert!(missing.to_string().contains("nothing/here.csv"), "{missing}");
    }

    #[test]
    fn the_part_before_the_first_wildcard_is_the_base() {
        assert_eq!(split_wildcards("s3://b/x/y-*/z").unwrap(), ("s3://b/x/", "y-*/z".to_owned()));
        assert_eq!(split_wildcards("s3://b/x/y").unwrap(), ("s3://b/x/y", String::new()));
        assert_eq!(split_wildcards("s3://b/{x,y}").unwrap(), ("s3://b/", "{x,y}".to_owned()));
        let local = Url::from_file_path("/in/a b/{x,y}/c?.csv").unwrap();
        assert_eq!(split_wildcards(local.as_str()).unwrap(), ("file:///in/a%20b/", "{x,y}/c?.csv".to_owned()));
        assert_eq!(split_wildcards("s3://b/100%253F/x%3F").unwrap(), ("s3://b/100%253F/", "x?".to_owned()));
        assert!(split_wildcards("/no/url").is_err());
        let error = base_url("s3://key:secret@b/x").unwrap_err();
        assert!(error.code() == "source-path" && !error.to_string().contains("secret"), "{error}");
        assert_eq!(base_url("file:///a#b").unwrap().path(), "/a%23b");
    }
}
