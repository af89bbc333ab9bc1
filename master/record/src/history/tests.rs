use super::*;
use crate::step::StepRecord;

fn record(number: u64) -> ApplicationRecord {
    let summary = ApplicationSummary {
        app_id: format!("app-{number}"),
        driver_id: format!("driver-{number}"),
        submission_id: format!("s-{number}"),
        ended_at_ms: number * 100,
        ..ApplicationSummary::default()
    };
    let step = StepRecord { table: format!("gold.{number}"), ..StepRecord::default() };
    ApplicationRecord { summary, origin: Origin::History, steps: vec![step], ..ApplicationRecord::default() }
}

fn listed(number: u64) -> Listed {
    Listed { name: format!("app-{number}.jsonl.zst"), bytes: 10, modified_ms: number, is_regular: true }
}

/// Lists these, and reads what is asked for.
fn refresh(index: &mut Index, files: &[Listed]) -> Vec<String> {
    let unread = index.listed(index.moment(), files.to_vec());
    let names = unread.iter().map(|file| file.name.clone()).collect();
    for file in unread {
        let number = file.name.trim_start_matches("app-").trim_end_matches(EXTENSION).parse().unwrap();
        index.found(file, Ok(record(number)));
    }
    names
}

fn ended(index: &Index) -> Vec<&str> {
    index.newest().map(|told| told.summary.app_id.as_str()).collect()
}

#[test]
fn files_are_read_once_and_again_when_they_change_and_forgotten_when_they_go() {
    let mut index = Index::default();
    assert_eq!(refresh(&mut index, &[listed(1), listed(3), listed(2)]).len(), 3);
    assert_eq!(ended(&index), ["app-3", "app-2", "app-1"]);
    for id in ["app-2", "driver-2", "s-2"] {
        assert_eq!(index.find(id).unwrap().summary.app_id, "app-2");
    }
    let changed = Listed { modified_ms: 9, ..listed(2) };
    assert_eq!(refresh(&mut index, &[listed(1), changed]), ["app-2.jsonl.zst"]);
    assert_eq!(ended(&index), ["app-2", "app-1"]);
    assert!(index.find("driver-3").is_none() && index.len() == 2 && !index.is_empty());
    assert!(refresh(&mut index, &[]).is_empty());
    assert!(index.is_empty() && index.places.is_empty() && index.with_steps.is_empty() && index.steps_bytes == 0);
}

#[test]
fn what_is_written_while_the_directory_is_listed_stays() {
    let mut index = Index::default();
    refresh(&mut index, &[listed(1)]);
    let began = index.moment();
    index.found(listed(2), Ok(record(2)));
    assert!(index.listed(began, vec![listed(1)]).is_empty());
    assert_eq!(ended(&index), ["app-2", "app-1"]);
    let old = Listed { bytes: 1, ..listed(2) };
    assert!(index.listed(began, vec![listed(1), old]).is_empty(), "the listing is older than what was written");
    let unread = index.listed(index.moment(), vec![listed(1)]);
    assert_eq!((unread.len(), ended(&index)), (0, vec!["app-1"]), "the next listing counts");
}

#[test]
fn files_of_others_are_named_with_the_reason_and_the_rest_is_told() {
    let mut index = Index::default();
    let foreign = Listed { name: "notes.txt".to_owned(), bytes: 1, modified_ms: 1, is_regular: true };
    let unread =
        index.listed(index.moment(), vec![foreign.clone(), listed(1), listed(2), listed(3), listed(4), listed(5)]);
    assert_eq!(unread.len(), 5);
    index.found(listed(1), Ok(record(1)));
    index.found(listed(2), Err(Unreadable::Newer { found: 9 }));
    index.found(listed(3), Ok(record(7)));
    let open = ApplicationSummary { ended_at_ms: 0, ..record(4).summary };
    index.found(listed(4), Ok(ApplicationRecord { summary: open, ..record(4) }));
    index.found(listed(5), Ok(ApplicationRecord { origin: Origin::Damaged, ..record(5) }));
    assert_eq!(ended(&index), ["app-5", "app-1"], "what can be read of a damaged one is shown");
    let unreadable: Vec<(&str, &str)> = index.unreadable().collect();
    for (name, words) in [
        ("notes.txt", "does not end in"),
        ("app-2.jsonl.zst", "newer release: format 9"),
        ("app-3.jsonl.zst", "tells of 'app-7'"),
        ("app-4.jsonl.zst", "has not ended"),
        ("app-5.jsonl.zst", "damaged"),
    ] {
        let found = unreadable.iter().find(|(found, _)| *found == name);
        assert!(found.is_some_and(|(_, why)| why.contains(words)), "{name}: {found:?}");
    }
    assert_eq!(unreadable.len(), 5);
    assert!(index.has_file(&"app-2".parse().unwrap()), "it is not ours to replace");
    assert!(!index.has_file(&"app-6".parse().unwrap()));
    index.found_damaged("app-1.jsonl.zst");
    index.found_damaged("no-such-file");
    assert_eq!(index.unreadable().count(), 6);
    // None of them is read again, nor deleted.
    let files = vec![foreign, listed(2), listed(3), listed(4)];
    assert!(index.listed(index.moment(), files).is_empty());
    assert!(index.expired(&Retention { max_age_ms: 1, most: 0 }, 1_000_000).is_empty());
}

#[test]
fn what_is_no_regular_file_is_named_and_neither_read_nor_replaced_nor_deleted() {
    let mut index = Index::default();
    let pipe = Listed { is_regular: false, ..listed(1) };
    assert_eq!(refresh(&mut index, &[pipe.clone(), listed(2)]), ["app-2.jsonl.zst"]);
    let unreadable: Vec<(&str, &str)> = index.unreadable().collect();
    assert!(matches!(unreadable.as_slice(), [("app-1.jsonl.zst", why)] if why.contains("not a regular file")));
    assert!(index.has_file(&"app-1".parse().unwrap()));
    assert_eq!(index.expired(&Retention { max_age_ms: 1, most: 0 }, 1_000_000), ["app-2.jsonl.zst"]);
    // A file takes its place.
    assert_eq!(refresh(&mut index, &[listed(1), listed(2)]), ["app-1.jsonl.zst"]);
    assert_eq!((ended(&index), index.unreadable().count()), (vec!["app-2", "app-1"], 0));
}

#[test]
fn a_file_whose_read_was_given_up_is_read_at_the_next_look() {
    let mut index = Index::default();
    assert_eq!(index.listed(index.moment(), vec![listed(1)]).len(), 1);
    assert_eq!(refresh(&mut index, &[listed(1)]).len(), 1);
    assert_eq!(refresh(&mut index, &[listed(1)]).len(), 0);
}

#[test]
fn steps_of_the_newest_are_kept_up_to_the_bound_in_whatever_order_files_are_read() {
    let one = weight(&record(1).steps);
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
        let mut index = Index::with_room(2 * one + 1);
        for number in order {
            index.found(listed(number), Ok(record(number)));
        }
        let kept: Vec<usize> = index.newest().map(|told| told.steps.len()).collect();
        assert_eq!(kept, [1, 1, 0, 0], "{order:?}");
        assert_eq!(index.steps_bytes, 2 * one);
        index.forget("app-4.jsonl.zst");
        assert_eq!(index.steps_bytes, one);
    }
}

#[test]
fn what_has_been_kept_long_enough_goes_and_is_not_written_again() {
    let mut index = Index::default();
    refresh(&mut index, &[listed(1), listed(2), listed(3), listed(4)]);
    let keep = |max_age_ms, most| Retention { max_age_ms, most };
    assert_eq!(index.expired(&keep(0, 3), 500), ["app-1.jsonl.zst"]);
    assert_eq!(index.expired(&keep(150, 9), 400), ["app-2.jsonl.zst", "app-1.jsonl.zst"]);
    assert!(index.expired(&keep(0, 9), 500).is_empty());
    assert!(index.would_keep(450, &keep(0, 4), 500), "it is newer than all of them");
    assert!(!index.would_keep(50, &keep(0, 4), 500));
    assert!(index.would_keep(50, &keep(0, 5), 500) && !index.would_keep(50, &keep(100, 5), 500));
}

#[test]
fn ten_thousand_applications_are_listed_in_a_moment() {
    let mut index = Index::default();
    for number in 1..=10_000 {
        index.found(listed(number), Ok(record(number)));
    }
    let filter = SummaryFilter { states: Vec::new(), text: "app-77".to_owned() };
    let began = std::time::Instant::now();
    let takes = |told: &&Arc<Told>| {
        let summary = &told.summary;
        filter.takes(&summary.state, &summary.name, [&summary.app_id, &summary.driver_id, &summary.submission_id])
    };
    assert_eq!(index.newest().filter(takes).count(), 111);
    assert!(began.elapsed().as_millis() < 200, "{:?}", began.elapsed());
}
