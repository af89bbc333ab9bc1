//! The directory of the history: on a local disk, or in an object store. Edge.
//!
//! A file appears whole or not at all, and none takes the place of another one.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lake_engine::EngineError;
use lake_engine::stores::{Patience, Profiles, Stores};
use lake_proto::{ErrorClass, Fault};
use lake_record::history::Listed;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use url::Url;

/// Names of files that are being written begin so; no id of an application does.
const UNFINISHED: char = '.';

/// Where the history is.
#[derive(Debug, Clone)]
pub(crate) enum Directory {
    /// On a disk of this host, which may be a shared one.
    Local(PathBuf),
    /// Below a URL of an object store.
    Store(Arc<dyn ObjectStore>),
}

impl Directory {
    /// The directory at `location`: a path, or a URL with the scheme `file` or `s3`. The credentials of a store are those
    /// of this process's environment.
    ///
    /// # Errors
    /// `invalid-job`, code `config`, for any other URL, and for a path on which nothing can be kept.
    pub(crate) fn open(location: &str) -> Result<Self, Fault> {
        let refused =
            |why: String| Fault::new(ErrorClass::InvalidJob, "config", format!("--history-dir '{location}': {why}"));
        if !location.contains("://") {
            return Self::local(Path::new(location)).map_err(refused);
        }
        let url = Url::parse(location).map_err(|error| refused(format!("it is not a URL: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not shown: it is a secret.
            let message = "--history-dir has credentials in its URL: give them in the environment of the master";
            return Err(Fault::new(ErrorClass::InvalidJob, "config", message));
        }
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| refused("expected file:///absolute/path".to_owned()))?;
            return Self::local(&path).map_err(refused);
        }
        let stores = Stores::new(Profiles::default()).with_patience(Patience::Short);
        stores.rooted(&url).map(Self::Store).map_err(|error| refused(error.to_string()))
    }

    fn local(path: &Path) -> Result<Self, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        fs::create_dir_all(&path).map_err(|error| format!("it cannot be made: {error}"))?;
        Ok(Self::Local(path))
    }

    /// The files in it, finished ones only; on a disk also folders, links and pipes.
    ///
    /// # Errors
    /// The store's class.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, Fault> {
        match self {
            Self::Local(path) => {
                let path = path.clone();
                on_disk(move || list(&path)).await
            }
            Self::Store(store) => {
                let listed = store.list_with_delimiter(None).await.map_err(fault)?;
                let file = |object: object_store::ObjectMeta| Listed {
                    name: object.location.to_string(),
                    bytes: object.size,
                    modified_ms: u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0),
                    is_regular: true,
                };
                Ok(listed.objects.into_iter().map(file).filter(|file| is_finished(&file.name)).collect())
            }
        }
    }

    /// At most the first `most` bytes of a file.
    ///
    /// # Errors
    /// `not-found` when it is not there; else the store's class.
    pub(super) async fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Local(path) => {
                let path = path.join(name);
                on_disk(move || {
                    // To open a pipe would wait for ever for its writer.
                    if !fs::symlink_metadata(&path)?.is_file() {
                        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
                    }
                    let mut bytes = Vec::new();
                    File::open(&path)?.take(most).read_to_end(&mut bytes)?;
                    Ok(bytes)
                })
                .await
            }
            Self::Store(store) => {
                let range = (most < u64::MAX).then_some(GetRange::Bounded(0..most));
                let found = store.get_opts(&object(name), GetOptions { range, ..GetOptions::default() }).await;
                let bytes = found.map_err(fault)?.bytes().await.map_err(fault)?;
                Ok(bytes.to_vec())
            }
        }
    }

    /// Writes a file. One that is there already stays as it is, and that is success.
    ///
    /// # Errors
    /// The store's class.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Local(path) => {
                let (path, name) = (path.clone(), name.to_owned());
                on_disk(move || create(&path, &name, &bytes)).await
            }
            Self::Store(store) => {
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                match store.put_opts(&object(name), bytes.into(), options).await {
                    Ok(_)
                    | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                        Ok(())
                    }
                    Err(error) => Err(fault(error)),
                }
            }
        }
    }

    /// Deletes a file; that it is not there is success.
    ///
    /// # Errors
    /// The store's class.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Fault> {
        match self {
            Self::Local(path) => {
                let path = path.join(name);
                on_disk(move || match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                    Ok(()) | Err(_) => Ok(()),
                })
                .await
            }
            Self::Store(store) => match store.delete(&object(name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(fault(error)),
            },
        }
    }
}

/// Names from listings are encoded already.
fn object(name: &str) -> ObjectPath {
    ObjectPath::parse(name).unwrap_or_else(|_| ObjectPath::from(name))
}

fn is_finished(name: &str) -> bool {
    !name.starts_with(UNFINISHED)
}

/// Names that are not UTF-8 cannot be ours, and what is gone when it is looked at is gone.
fn list(directory: &Path) -> std::io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        if !is_finished(&name) {
            continue;
        }
        // Of a link itself: nothing here is followed.
        let is_regular = metadata.is_file();
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0);
        files.push(Listed { name, bytes: metadata.len(), modified_ms, is_regular });
    }
    Ok(files)
}

fn create(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let path = directory.join(name);
    // Also a link to nowhere: it is not ours to replace.
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    // Another master may be writing the same one.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unfinished = directory.join(format!("{UNFINISHED}{name}.{}.{}", std::process::id(), since.as_nanos()));
    let written = write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        // What is left of it, if anything, is passed over by everybody.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(directory)?.sync_all()
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Fault::new(ErrorClass::Internal, "internal", error.to_string()))?;
    done.map_err(|error| EngineError::from(error).into())
}

fn fault(error: object_store::Error) -> Fault {
    EngineError::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_appear_whole_are_never_replaced_and_what_is_being_written_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("a/b").to_str().unwrap()).unwrap();
        directory.create("one", b"12345".to_vec()).await.unwrap();
        directory.create("one", b"other".to_vec()).await.unwrap();
        fs::write(folder.path().join("a/b/.two.99"), b"half").unwrap();
        let listed = directory.list().await.unwrap();
        let names: Vec<(&str, u64)> = listed.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(names, [("one", 5)]);
        assert!(listed[0].modified_ms > 0);
        assert_eq!(directory.read("one", u64::MAX).await.unwrap(), b"12345");
        assert_eq!(directory.read("one", 2).await.unwrap(), b"12");
        assert_eq!(directory.read("two", 2).await.unwrap_err().class, ErrorClass::NotFound);
        directory.delete("one").await.unwrap();
        directory.delete("one").await.unwrap();
        assert!(directory.list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn folders_links_and_pipes_are_listed_as_that_and_never_opened_or_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().to_str().unwrap()).unwrap();
        let path = |name: &str| folder.path().join(name);
        directory.create("file", b"12345".to_vec()).await.unwrap();
        fs::create_dir(path("folder")).unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let mut listed: Vec<(String, bool)> =
            directory.list().await.unwrap().into_iter().map(|file| (file.name, file.is_regular)).collect();
        listed.sort();
        let expected = [("dangling", false), ("file", true), ("folder", false), ("link", false), ("pipe", false)];
        assert_eq!(listed, expected.map(|(name, is_regular)| (name.to_owned(), is_regular)));
        for name in ["dangling", "folder", "link", "pipe"] {
            directory.read(name, u64::MAX).await.unwrap_err();
            directory.create(name, b"new".to_vec()).await.unwrap();
            assert!(!fs::symlink_metadata(path(name)).unwrap().is_file(), "{name} was replaced");
        }
    }

    #[test]
    fn a_directory_is_a_path_or_a_url_of_a_known_scheme() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert!(matches!(Directory::open(path), Ok(Directory::Local(found)) if found == folder.path()));
        let url = format!("file://{path}/x");
        assert!(matches!(Directory::open(&url), Ok(Directory::Local(found)) if found == folder.path().join("x")));
        assert!(matches!(Directory::open("s3://bucket/history"), Ok(Directory::Store(_))));
        let fault = Directory::open("s3://key:secret@bucket/history").unwrap_err();
        assert!(fault.message.contains("environment") && !fault.message.contains("secret"), "{fault}");
        fs::write(folder.path().join("file"), b"").unwrap();
        for refused in ["gs://bucket/x", "file://host/x", "s3://", &format!("{path}/file/x")] {
            let fault = Directory::open(refused).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "config"));
            assert!(fault.message.contains(refused), "{fault}");
        }
    }
}
