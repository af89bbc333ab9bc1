use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use tempfile::TempDir;

use super::*;

/// A disk that counts what is written and read.
#[derive(Debug, Default)]
struct Counting {
    disk: InMemoryBackend,
    bytes: Arc<AtomicU64>,
}

impl Counting {
    fn count(&self, length: usize) {
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
}

impl StorageBackend for Counting {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.count(out.len());
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.count(data.len());
        self.disk.write(offset, data)
    }
}

fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    let entry = |index| Entry { index, term, data: vec![7; 10], context: vec![1], ..Entry::default() };
    range.map(entry).collect()
}

fn hard_state(term: u64, commit: u64) -> Option<HardState> {
    Some(HardState { term, vote: 1, commit })
}

fn cut(index: u64, term: u64, log: Keep) -> Cut {
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    Cut { at: Position { index, term }, state: b"state".to_vec(), conf_state, members: Directory::default(), log }
}

fn read(store: &Store, low: u64, high: u64) -> raft::Result<Vec<Entry>> {
    store.entries(low, high, None, GetEntriesContext::empty(false))
}

/// What a power cut leaves: a copy of the file while it is open, never closed.
fn copy_of_open(directory: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("raft.redb"), copy.path().join("raft.redb")).unwrap();
    copy
}

#[test]
fn what_was_saved_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("raft.redb"), 1).unwrap();
    assert_eq!((store.first_index().unwrap(), store.last_index().unwrap()), (1, 0));
    store.save(Batch { entries: &entries(1..=5, 2), hard_state: hard_state(2, 4), cut: None }).unwrap();

    let copy = copy_of_open(&directory);
    let reopened = Store::open(&copy.path().join("raft.redb"), 1).unwrap();
    let state = reopened.initial_state().unwrap();
    assert_eq!(state.hard_state, HardState { term: 2, vote: 1, commit: 4 });
    assert_eq!(reopened.identity(), store.identity());
    assert_eq!(read(&reopened, 1, 6).unwrap(), entries(1..=5, 2));
    assert_eq!((reopened.term(0).unwrap(), reopened.term(5).unwrap()), (0, 2));
}

#[test]
fn a_conflicting_tail_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("raft.redb"), 1).unwrap();
    store.save(Batch { entries: &entries(1..=9, 1), hard_state: hard_state(1, 3), cut: None }).unwrap();
    store.save(Batch { entries: &entries(5..=6, 2), hard_state: None, cut: None }).unwrap();
    assert_eq!(store.last_index().unwrap(), 6);
    assert_eq!((store.term(4).unwrap(), store.term(5).unwrap()), (1, 2));
    assert!(store.term(7).is_err());
}

#[test]
fn a_snapshot_drops_the_log_before_it_and_keeps_its_term() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("raft.redb"), 1).unwrap();
    store.save(Batch { entries: &entries(1..=8, 3), hard_state: hard_state(3, 8), cut: None }).unwrap();
    store.save(Batch { cut: Some(cut(6, 3, Keep::Tail(0))), ..Batch::default() }).unwrap();
    let copy = copy_of_open(&directory);
    let store = Store::open(&copy.path().join("raft.redb"), 1).unwrap();
    assert_eq!((store.first_index().unwrap(), store.last_index().unwrap()), (7, 8));
    assert_eq!(store.term(6).unwrap(), 3);
    assert!(matches!(read(&store, 6, 8), Err(raft::Error::Store(StorageError::Compacted))));
    assert_eq!(read(&store, 7, 9).unwrap(), entries(7..=8, 3));
    assert_eq!(store.snapshot_bytes().unwrap().unwrap(), b"state");
    assert_eq!(store.snapshot(6, 2).unwrap().metadata.unwrap().index, 6);
    assert!(store.snapshot(7, 2).is_err());
}

#[test]
fn a_tail_of_the_log_stays_for_members_that_lag() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    let mut store = Store::open(&file, 1).unwrap();
    store.save(Batch { entries: &entries(1..=9, 2), hard_state: hard_state(2, 9), cut: None }).unwrap();
    store.save(Batch { cut: Some(cut(8, 2, Keep::Tail(3))), ..Batch::default() }).unwrap();
    drop(store);
    let store = Store::open(&file, 1).unwrap();
    assert_eq!((store.first_index().unwrap(), store.last_index().unwrap()), (6, 9));
    assert_eq!((store.term(5).unwrap(), store.term(6).unwrap(), store.term(8).unwrap()), (2, 2, 2));
    assert!(store.term(4).is_err());
    assert_eq!(store.initial_state().unwrap().conf_state.voters, [1, 2]);
}

#[test]
fn an_entry_costs_the_same_however_large_the_snapshot_is() {
    let disk = Counting::default();
    let bytes = Arc::clone(&disk.bytes);
    let mut store = Store::open_on(disk, 1).unwrap();
    let cost = |store: &mut Store, index| {
        let before = bytes.load(Ordering::Relaxed);
        let batch = Batch { entries: &entries(index..=index, 1), hard_state: hard_state(1, index), cut: None };
        store.save(batch).unwrap();
        bytes.load(Ordering::Relaxed) - before
    };
    cost(&mut store, 1);
    let small = cost(&mut store, 2);
    let state = vec![b'x'; 20 * PART_BYTES + 1];
    let large = Cut { state: state.clone(), ..cut(2, 1, Keep::Tail(9)) };
    store.save(Batch { cut: Some(large), ..Batch::default() }).unwrap();
    assert_eq!(store.snapshot_bytes().unwrap().unwrap(), state);
    let (first, second) = (cost(&mut store, 3), cost(&mut store, 4));
    assert!(first.max(second) < small + 200_000, "{small} bytes for an entry, then {first} and {second}");

    // A shorter one leaves nothing of it.
    store.save(Batch { cut: Some(cut(4, 1, Keep::Tail(9))), ..Batch::default() }).unwrap();
    assert_eq!(store.snapshot_bytes().unwrap().unwrap(), b"state");
}

#[test]
fn a_snapshot_of_an_earlier_version_is_read_until_there_is_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    let mut store = Store::open(&file, 1).unwrap();
    store.save(Batch { entries: &entries(1..=5, 1), hard_state: hard_state(1, 5), cut: None }).unwrap();
    store.save(Batch { cut: Some(cut(4, 1, Keep::Tail(0))), ..Batch::default() }).unwrap();
    let transaction = store.database.begin_write().unwrap();
    transaction.delete_table(PARTS).unwrap();
    transaction.open_table(META).unwrap().insert(SNAPSHOT, b"earlier".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(store);

    let mut store = Store::open(&file, 1).unwrap();
    assert_eq!(store.snapshot_bytes().unwrap().unwrap(), b"earlier");
    store.save(Batch { cut: Some(cut(5, 1, Keep::Tail(0))), ..Batch::default() }).unwrap();
    assert_eq!(store.snapshot_bytes().unwrap().unwrap(), b"state");
    assert_eq!(store.meta(SNAPSHOT).unwrap(), None);
}

#[test]
fn the_leaders_snapshot_replaces_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    let mut store = Store::open(&file, 1).unwrap();
    store.save(Batch { entries: &entries(1..=9, 1), hard_state: hard_state(1, 3), cut: None }).unwrap();
    let batch =
        Batch { entries: &entries(21..=22, 4), hard_state: hard_state(4, 20), cut: Some(cut(20, 4, Keep::Nothing)) };
    store.save(batch).unwrap();
    drop(store);
    let store = Store::open(&file, 1).unwrap();
    assert_eq!((store.first_index().unwrap(), store.last_index().unwrap()), (21, 22));
    assert_eq!(store.term(20).unwrap(), 4);
    assert_eq!(read(&store, 21, 23).unwrap(), entries(21..=22, 4));
}

#[test]
fn an_entry_that_is_missing_or_changed_is_found_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    let mut store = Store::open(&file, 1).unwrap();
    store.save(Batch { entries: &entries(1..=5, 1), hard_state: hard_state(1, 5), cut: None }).unwrap();
    let transaction = store.database.begin_write().unwrap();
    transaction.open_table(LOG).unwrap().remove(3).unwrap();
    transaction.commit().unwrap();
    drop(store);
    let message = Store::open(&file, 1).err().unwrap().to_string();
    assert!(message.contains("an entry of the log is damaged"), "{message}");
}

#[test]
fn a_truncated_file_is_damaged_not_a_question_of_space() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    drop(Store::open(&file, 1).unwrap());
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(length - 3_000).unwrap();
    let error = Store::open(&file, 1).err().unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_directory_is_made_once_and_remembers_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    let mut store = Store::open(&file, 3).unwrap();
    assert_eq!(store.identity().cluster_id, None);
    let made = store.identity().incarnation.clone();
    store.found("group", Directory::default(), vec![1, 3]).unwrap();
    drop(store);
    let store = Store::open(&file, 3).unwrap();
    let known = Identity { id: 3, incarnation: made, cluster_id: Some("group".to_owned()) };
    assert_eq!(store.identity(), &known);
    assert_eq!(store.initial_state().unwrap().conf_state.voters, [1, 3]);
}

#[test]
fn a_size_limit_still_gives_one_entry() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("raft.redb"), 1).unwrap();
    store.save(Batch { entries: &entries(1..=5, 1), hard_state: hard_state(1, 0), cut: None }).unwrap();
    let one = store.entries(2, 6, Some(1), GetEntriesContext::empty(false)).unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].index, 2);
}

#[test]
fn the_directory_of_another_member_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    drop(Store::open(&file, 1).unwrap());
    let message = Store::open(&file, 2).err().unwrap().to_string();
    assert!(message.contains("belongs to master 1, this one is 2"), "{message}");
}

#[test]
fn a_file_that_is_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("raft.redb");
    let _open = Store::open(&file, 1).unwrap();
    let message = Store::open(&file, 1).err().unwrap().to_string();
    assert!(message.contains("no other master uses it"), "{message}");
}
