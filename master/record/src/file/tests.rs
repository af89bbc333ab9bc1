use lake_proto::{ErrorClass, Fault};
use proptest::prelude::*;

use super::*;
use crate::query::{AttemptRecord, AttemptState, OperatorRecord, QueryState};

fn record(attempts: u32) -> ApplicationRecord {
    let attempt = |task| AttemptRecord {
        task,
        attempt: u64::from(task) + 1,
        worker_id: "worker-20261121093012-h1-7078".to_owned(),
        state: AttemptState::Failed,
        failure: Some(Fault::new(ErrorClass::Unavailable, "shuffle-fetch", "h2:7079 is gone\nwith a line break")),
        ..AttemptRecord::default()
    };
    let operator = OperatorRecord { depth: 1, name: "FilterExec".to_owned(), ..OperatorRecord::default() };
    let stage = |stage_id| StageRecord {
        stage_id,
        tasks: attempts,
        operators: vec![operator.clone()],
        attempts: (0..attempts).map(attempt).collect(),
        ..StageRecord::default()
    };
    let query = |id: &str| QueryRecord {
        query_id: id.to_owned(),
        step: "gold.a".to_owned(),
        state: QueryState::Failed,
        accepted_at_ms: 5,
        ended_at_ms: 9,
        is_attached: true,
        estimated_scan_bytes: 7,
        failure: Some(Fault::new(ErrorClass::Internal, "panic", "oh")),
        stages: vec![stage(1), stage(2)],
    };
    ApplicationRecord {
        summary: ApplicationSummary { app_id: "app-1".to_owned(), ended_at_ms: 10, ..ApplicationSummary::default() },
        origin: Origin::History,
        is_partial: true,
        pipeline: None,
        attempts: vec![DriverAttempt { number: 1, exit_code: Some(6), ..DriverAttempt::default() }],
        steps: vec![StepRecord { table: "gold.a".to_owned(), version: Some(0), ..StepRecord::default() }],
        queries: vec![query("q1"), query("q2")],
    }
}

fn file(lines: &[&str]) -> Vec<u8> {
    zstd::encode_all(lines.join("\n").as_bytes(), 0).unwrap()
}

#[test]
fn what_was_written_is_read_whole() {
    let record = record(3);
    let bytes = encode(&record).unwrap();
    assert_eq!(decode(&bytes).unwrap(), record);
    let start = decode_start(&bytes).unwrap();
    assert_eq!(start, ApplicationRecord { queries: Vec::new(), ..record });
}

#[test]
fn the_start_of_a_long_file_is_enough_for_lists() {
    let record = record(20_000);
    let bytes = encode(&record).unwrap();
    assert!(bytes.len() > START_BYTES, "{}", bytes.len());
    let start = decode_start(&bytes[..START_BYTES]).unwrap();
    assert_eq!(start, ApplicationRecord { queries: Vec::new(), ..record });
}

#[test]
fn a_newer_file_is_refused_and_a_kind_of_tomorrow_is_passed_over() {
    let newer = file(&[r#"{"header":{"version":2}}"#, r#"{"summary":{}}"#, ""]);
    assert_eq!(decode(&newer).unwrap_err(), Unreadable::Newer { found: 2 });
    let lines = [
        r#"{"header":{"version":1}}"#,
        r#"{"weather":"fine"}"#,
        r#"{"summary":{"app_id":"app-1","mood":1}}"#,
        r#"{"end":0}"#,
        "",
    ];
    let record = decode(&file(&lines)).unwrap();
    assert_eq!((record.summary.app_id.as_str(), record.origin), ("app-1", Origin::History));
}

#[test]
fn what_is_no_history_file_is_damaged() {
    for bytes in
        [b"".to_vec(), b"PAR1".to_vec(), file(&[]), file(&["{}", ""]), file(&[r#"{"header":{"version":1}}"#, ""])]
    {
        assert!(matches!(decode(&bytes), Err(Unreadable::Damaged { .. })), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn a_file_that_is_cut_or_has_a_wrong_byte_gives_what_can_be_read_or_says_why(
        at in 0_usize..4_000, flip in any::<u8>(), cut in any::<bool>()
    ) {
        let whole = record(5);
        let mut bytes = encode(&whole).unwrap();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        if let Ok(read) = decode(&bytes) {
            prop_assert!(!cut || read.origin == Origin::Damaged);
            // What is not told as damaged is as it was written.
            if read.origin == Origin::History {
                prop_assert_eq!(read, ApplicationRecord { origin: Origin::History, ..whole });
            }
        }
    }
}
