use lake_job::{LoadOptions, parse};
use lake_proto::{ErrorClass, Fault};

use super::*;
use crate::fixture::{record, step, summary};
use crate::masthead::{Masthead, Standing};
use crate::sound::{ESCAPED, HOSTILE, assert_sound};

fn drawn(record: &ApplicationRecord, kill_token: Option<&str>) -> String {
    let page = application(&Application { record, kill_token, now_ms: 66_000 });
    let page = page.body.into_string();
    assert_sound(&page);
    page
}

#[test]
fn the_page_shows_steps_checks_inputs_attempts_and_queries_and_escapes_them() {
    let page = drawn(&record(), Some("token-1"));
    assert!(page.contains(ESCAPED), "{page}");
    for expected in [
        "12,345",
        "3 → 4",
        "345 violated (drop)",
        "✓ 1 holds",
        "3.4 %",
        "Another master led while it ran",
        "signal 9",
        ">runs<",
        "2 of 2 tasks",
        "2 of 5 tasks",
        "0 of 3 tasks",
        "2 failed attempts",
        "42.0 s",
        "href=\"#step-1\"",
        "id=\"step-2\"",
        "read version 9 of bronze.orders",
        "not of this run",
        "name=\"csrf\" value=\"token-1\"",
        "method=\"post\"",
        "Its job is not on record.",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn only_what_runs_can_be_killed() {
    let mut record = record();
    assert!(!drawn(&record, None).contains("<form"));
    record.summary.is_killing = true;
    let page = drawn(&record, Some("token-1"));
    assert!(!page.contains("<form") && page.contains(">KILLING<"), "{page}");
    record.summary = summary("FAILED");
    assert!(!drawn(&record, Some("token-1")).contains("<form"));
}

#[test]
fn a_job_is_drawn_from_what_was_submitted_before_anything_runs() {
    let job = "[job]\nname = \"shop\"\n[warehouse]\nroot = \"/data\"\n\
        [[source]]\nname = \"landing\"\nkind = \"files\"\nformat = \"csv\"\npath = \"/in/\"\n\
        [[table]]\nname = \"bronze.orders\"\nfrom = \"landing\"\nmode = \"append\"\n\
        [[table]]\nname = \"gold.days\"\nsql = \"SELECT o.day FROM bronze.orders o JOIN silver.days d ON o.day = d.day\"\n\
        mode = \"overwrite\"\n";
    let today = chrono::NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
    let pipeline = parse("job.toml", job, &LoadOptions::new(today, "/jobs"), &|_| Err(String::new())).unwrap();
    let mut record = ApplicationRecord { pipeline: Some(pipeline), ..ApplicationRecord::default() };
    record.summary = ApplicationSummary { started_at_ms: 0, ..summary("SUBMITTED") };
    let page = drawn(&record, None);
    for expected in [
        "csv files · landing",
        "bronze · bronze.orders",
        "silver · not of this run, silver.days",
        "gold · gold.days",
        "0 / 2",
        "from = &quot;landing&quot;",
        "No step has started yet.",
        "Nothing has started yet.",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    assert_eq!(page.matches("class=\"arrow\"").count(), 3, "{page}");
    record.steps = vec![step("bronze.orders")];
    let page = drawn(&record, None);
    assert!(page.contains("1 / 2") && page.contains("12,000 rows → v4"), "{page}");
}

#[test]
fn a_document_has_a_name_a_way_home_and_nothing_inline() {
    let masthead = Masthead {
        id: 1,
        standing: Standing::Leader,
        term: 7,
        relay_id: None,
        leader: Some(HOSTILE.to_owned()),
        now_ms: 6_000,
    };
    let page = application(&Application { record: &record(), kill_token: None, now_ms: 6_000 }).document(&masthead);
    assert_sound(&page);
    for expected in [
        "<!doctype html><html lang=\"en\">",
        "<title>&lt;img",
        "<a class=\"brand\" href=\"/\">",
        "<a href=\"/history\" aria-current=\"true\">",
        "<nav class=\"crumbs\" aria-label=\"Breadcrumbs\"><ol><li><a href=\"/history\">Applications</a></li>",
        "<main id=\"main\" data-live=\"events\">",
        "role=\"alert\" hidden",
        "href=\"#main\"",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    let missing = crate::missing("There is no page at '<b>'.").document(&masthead);
    assert_sound(&missing);
    assert!(missing.contains("&#39;&lt;b&gt;&#39;") && missing.contains("data-live=\"off\""), "{missing}");
    let bad = crate::bad(&crate::Bad("'limit' is '<b>'".to_owned())).document(&masthead);
    assert_sound(&bad);
}

#[test]
fn a_damaged_or_finished_record_says_so_and_stays_as_it_is() {
    let mut record = record();
    record.origin = Origin::Damaged;
    assert!(drawn(&record, None).contains("history file that is damaged"));
    let page = application(&Application { record: &record, kill_token: None, now_ms: 1 });
    assert_eq!(page.freshness, Freshness::Still);
}

#[test]
fn a_kill_on_request_is_told_once_at_the_top_and_nowhere_as_a_failure() {
    let killed = Fault::new(ErrorClass::Cancelled, "killed", "the application was killed on request");
    let mut record = record();
    record.summary = ApplicationSummary { failure: Some(killed.clone()), ..summary("KILLED") };
    record.attempts.iter_mut().for_each(|attempt| attempt.failure = Some(killed.clone()));
    record.steps.iter_mut().for_each(|step| step.failure = Some(killed.clone()));
    let page = drawn(&record, None);
    assert!(!page.contains("class=\"failure\""), "{page}");
    assert_eq!(page.matches("<p class=\"notice calm\">the application was killed on request</p>").count(), 1, "{page}");
    let soft = "<div class=\"soft small wrap\">the application was killed on request</div>";
    assert_eq!(page.matches(soft).count(), record.attempts.len() + record.steps.len(), "{page}");
}
