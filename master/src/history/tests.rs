use std::fs;
use std::time::Duration;

use lake_record::history::name_of;
use lake_record::{DriverAttempt, QueryRecord, StageRecord};

use super::*;
use crate::clock::now_ms;

const ALL: Retention = Retention { max_age_ms: 0, most: 1_000 };

fn app(number: u64) -> AppId {
    format!("app-{number}").parse().unwrap()
}

/// It ended `number` milliseconds after 1970, and has a query.
fn record(number: u64) -> ApplicationRecord {
    let summary = ApplicationSummary {
        app_id: app(number).to_string(),
        driver_id: format!("driver-{number}"),
        name: format!("job {number}"),
        ended_at_ms: number,
        ..ApplicationSummary::default()
    };
    let query = QueryRecord {
        query_id: "q1".to_owned(),
        stages: vec![StageRecord { stage_id: 1, tasks: 3, ..StageRecord::default() }],
        ..QueryRecord::default()
    };
    let step = StepRecord { table: "gold.a".to_owned(), ..StepRecord::default() };
    ApplicationRecord { summary, steps: vec![step], queries: vec![query], ..ApplicationRecord::default() }
}

fn open(folder: &tempfile::TempDir, retention: Retention) -> History {
    History::open(folder.path().to_str().unwrap(), retention).unwrap()
}

/// Adds it, as the leader does, and writes it.
async fn add(history: &History, number: u64) {
    history.add(app(number), record(number));
    let waiting = history.record(app(number).as_str()).await.unwrap();
    history.write(&app(number), waiting, Vec::new()).await.unwrap();
}

fn apps(history: &History) -> Vec<String> {
    let mut apps: Vec<String> = history.ended().iter().map(|(summary, _)| summary.app_id.clone()).collect();
    apps.sort();
    apps
}

#[tokio::test]
async fn what_one_master_writes_another_one_lists_and_reads_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (leader, follower) = (open(&folder, ALL), open(&folder, ALL));
    add(&leader, 1).await;
    assert!(leader.has(&app(1)) && !follower.has(&app(1)));
    assert_eq!(follower.record("app-1").await, None);
    follower.refresh().await.unwrap();
    assert!(follower.has(&app(1)));
    for history in [&leader, &follower] {
        for id in ["app-1", "driver-1"] {
            let found = history.record(id).await.unwrap();
            assert_eq!((found.origin, found.queries[0].stages[0].tasks), (Origin::History, 3));
        }
        assert_eq!(apps(history), ["app-1"]);
        assert_eq!(history.ended()[0].1[0].table, "gold.a");
        assert_eq!(history.record("app-2").await, None);
        assert_eq!(history.record("../app-1").await, None);
    }
}

#[tokio::test]
async fn a_record_waits_while_the_directory_cannot_be_written_and_is_told_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder, ALL);
    fs::remove_dir(folder.path()).unwrap();
    fs::write(folder.path(), b"not a directory").unwrap();
    history.add(app(1), record(1));
    let waiting = history.record("driver-1").await.unwrap();
    assert!(history.write(&app(1), waiting.clone(), Vec::new()).await.is_err());
    assert!(history.has(&app(1)));
    assert_eq!(apps(&history), ["app-1"]);
    assert!(history.refresh().await.is_err(), "it is no directory");
    fs::remove_file(folder.path()).unwrap();
    fs::create_dir(folder.path()).unwrap();
    let exit = DriverAttempt { number: 1, exit_code: Some(0), ..DriverAttempt::default() };
    history.write(&app(1), waiting, vec![exit]).await.unwrap();
    let written = history.record("app-1").await.unwrap();
    assert_eq!((written.origin, written.attempts[0].exit_code), (Origin::History, Some(0)), "as it is known at last");
    assert_eq!(apps(&history), ["app-1"]);
}

#[tokio::test]
async fn files_that_are_cut_off_newer_or_of_others_are_named_and_the_rest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let leader = open(&folder, ALL);
    for number in 1..=3 {
        add(&leader, number).await;
    }
    let path = |number| folder.path().join(name_of(app(number).as_str()));
    let whole = fs::read(path(2)).unwrap();
    fs::write(path(2), &whole[..whole.len() - 9]).unwrap();
    fs::write(path(3), &whole[..3]).unwrap();
    // As a release of tomorrow would begin it.
    let newer = zstd_of("{\"header\":{\"version\":99}}\n");
    fs::write(path(4), newer).unwrap();
    fs::write(folder.path().join("notes.txt"), b"hello").unwrap();
    let history = open(&folder, ALL);
    history.refresh().await.unwrap();
    let unreadable = history.unreadable();
    let why = |name: &str| unreadable.iter().find(|(found, _)| found == name).map(|(_, why)| why.clone());
    assert!(why("app-3.jsonl.zst").is_some_and(|why| why.contains("damaged")), "{unreadable:?}");
    assert!(why("app-4.jsonl.zst").is_some_and(|why| why.contains("newer release: format 99")), "{unreadable:?}");
    assert!(why("notes.txt").is_some_and(|why| why.contains("no history file")), "{unreadable:?}");
    assert!(why("app-1.jsonl.zst").is_none());
    assert_eq!(history.record("app-1").await.unwrap().origin, Origin::History);
    for number in [3, 4] {
        assert_eq!(history.record(app(number).as_str()).await, None);
    }
}

/// The only frame of zstd that needs no compressor: a raw block.
fn zstd_of(text: &str) -> Vec<u8> {
    let size = u8::try_from(text.len()).unwrap();
    // Magic; a single segment with its size in one byte; the last block, raw, with its size.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, size];
    let block = (u32::from(size) << 3) | 1;
    frame.extend(&block.to_le_bytes()[..3]);
    frame.extend(text.as_bytes());
    frame
}

#[tokio::test]
async fn a_file_that_goes_or_breaks_while_it_is_known_is_told_as_far_as_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder, ALL);
    add(&history, 1).await;
    let path = folder.path().join("app-1.jsonl.zst");
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let gone = history.record("app-1").await.unwrap();
    assert_eq!((gone.origin, gone.steps.len(), gone.queries.len()), (Origin::Damaged, 1, 0));
    assert!(history.unreadable().is_empty(), "it may be there another time");
    fs::write(&path, &whole[..12]).unwrap();
    assert_eq!(history.record("app-1").await.unwrap().origin, Origin::Damaged);
    assert_eq!(history.unreadable().len(), 1);
    fs::remove_file(&path).unwrap();
    history.refresh().await.unwrap();
    assert_eq!(history.record("app-1").await, None);
}

#[tokio::test]
async fn a_file_that_is_too_large_for_a_record_is_listed_as_that_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder, ALL);
    add(&history, 1).await;
    // Sparse: it takes no space.
    let huge = fs::File::create(folder.path().join("app-2.jsonl.zst")).unwrap();
    huge.set_len(file::MOST_FILE_BYTES + 1).unwrap();
    let foreign = fs::File::create(folder.path().join("app-3.jsonl.zst")).unwrap();
    foreign.set_len(file::MOST_FILE_BYTES).unwrap();
    history.refresh().await.unwrap();
    let unreadable = history.unreadable();
    assert!(unreadable[0].1.contains("too large: 268435457 bytes"), "{unreadable:?}");
    assert!(unreadable[1].1.contains("it does not begin with a header"), "{unreadable:?}");
    assert_eq!(apps(&history), ["app-1"]);
}

#[tokio::test]
async fn what_was_kept_long_enough_is_deleted_and_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let by_count = open(&folder, Retention { max_age_ms: 0, most: 2 });
    for number in 1..=3 {
        add(&by_count, number).await;
    }
    by_count.expire(now_ms()).await;
    assert_eq!(apps(&by_count), ["app-2", "app-3"]);
    assert!(!folder.path().join("app-1.jsonl.zst").exists());
    add(&by_count, 1).await;
    assert!(!folder.path().join("app-1.jsonl.zst").exists() && !by_count.has(&app(1)));

    let day = 86_400_000;
    let by_age = open(&folder, Retention { max_age_ms: day, most: 9 });
    by_age.refresh().await.unwrap();
    by_age.expire(day + 2).await;
    assert_eq!(apps(&by_age), ["app-2", "app-3"]);
    by_age.expire(day + 3).await;
    assert_eq!(apps(&by_age), ["app-3"]);
}

#[tokio::test]
async fn a_thousand_applications_are_listed_in_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let leader = open(&folder, ALL);
    for number in 1..=1_000 {
        add(&leader, number).await;
    }
    let history = open(&folder, ALL);
    history.refresh().await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(history.ended().len(), 1_000);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}
