//! A disk that keeps only what was synced, and some of what was not.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

#[derive(Debug, Default)]
struct Image {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What is there after a crash.
    synced: Vec<u8>,
    /// Written since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
}

/// Survives the member that uses it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Image>>);

impl Disk {
    /// The power goes: of the writes that were not synced, those that `survives` chooses are there.
    pub(super) fn crash(&self, mut survives: impl FnMut() -> bool) {
        let mut image = self.lock();
        let length = image.seen.len();
        image.synced.resize(length, 0);
        for (offset, data) in std::mem::take(&mut image.pending) {
            if survives() {
                write(&mut image.synced, offset, &data);
            }
        }
        image.seen = image.synced.clone();
    }

    /// Another disk with the same bytes.
    pub(super) fn copy(&self) -> Self {
        let image = self.lock();
        Self(Arc::new(Mutex::new(Image {
            seen: image.seen.clone(),
            synced: image.synced.clone(),
            pending: Vec::new(),
        })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.lock();
        let offset = usize::try_from(offset).unwrap();
        let bytes = image.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut image = self.lock();
        image.seen.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.lock();
        let length = image.seen.len();
        for (offset, data) in std::mem::take(&mut image.pending) {
            write(&mut image.synced, offset, &data);
        }
        image.synced.resize(length, 0);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.lock();
        let offset = usize::try_from(offset).unwrap();
        write(&mut image.seen, offset, data);
        image.pending.push((offset, data.to_vec()));
        Ok(())
    }
}
