use std::sync::Arc;

use lake_record::{ApplicationSummary, ReadKind, ReadRecord};

use super::*;
use crate::fixture::{step, summary};
use crate::sound::{ESCAPED, HOSTILE, assert_sound};

/// Names of tables by what they read, as two jobs wrote them; the newest first.
fn runs() -> Vec<(Arc<ApplicationSummary>, Arc<[StepRecord]>)> {
    let read = |name: &str, kind, version| ReadRecord {
        name: name.to_owned(),
        kind,
        location: format!("s3://lake/{name}"),
        version,
        files: None,
        bytes: None,
    };
    let made = |table: &str, version: i64, reads: Vec<ReadRecord>| {
        let mut step = StepRecord {
            location: format!("s3://lake/{table}/"),
            version: Some(version),
            version_before: Some(version - 1),
            reads,
            ..step(table)
        };
        if let Some(after) = &mut step.table_after {
            after.version = version;
        }
        step
    };
    let run = |app: &str, job: &str| {
        Arc::new(ApplicationSummary {
            app_id: app.into(),
            job_name: job.into(),
            name: job.into(),
            ..summary("FINISHED")
        })
    };
    let shop = |version: i64| -> Arc<[StepRecord]> {
        Arc::from([
            made("bronze.orders", version, vec![read("landing", ReadKind::Source, None)]),
            made("silver.orders", version, vec![read("bronze.orders", ReadKind::Table, Some(version))]),
        ])
    };
    let report: Arc<[StepRecord]> = Arc::from([made(
        "gold.days",
        2,
        vec![read("silver.orders", ReadKind::Table, Some(5)), read("silver.stores", ReadKind::Table, Some(1))],
    )]);
    vec![(run("app-3", "report"), report), (run("app-2", "shop"), shop(6)), (run("app-1", "shop"), shop(5))]
}

fn hostile() -> Vec<(Arc<ApplicationSummary>, Arc<[StepRecord]>)> {
    vec![(Arc::new(summary("FINISHED")), Arc::from([step(HOSTILE)]))]
}

fn asked(pairs: &[(&str, &str)]) -> Asked {
    Asked::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

fn list(runs: &Runs, pairs: &[(&str, &str)]) -> String {
    let page = tables(runs, &Wanted::of(&asked(pairs)).unwrap()).body.into_string();
    assert_sound(&page);
    page
}

fn one(runs: &Runs, name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let page = table(runs, name, &WantedTable::of(&asked(pairs)).unwrap())?.body.into_string();
    assert_sound(&page);
    Some(page)
}

fn graph(runs: &Runs, pairs: &[(&str, &str)]) -> String {
    let page = lineage(runs, &WantedLineage::of(&asked(pairs)).unwrap()).unwrap().body.into_string();
    assert_sound(&page);
    page
}

#[test]
fn every_table_that_was_written_or_read_is_listed_with_its_last_state() {
    let runs = runs();
    let page = list(&runs, &[]);
    for expected in [
        "<b>3</b><span>tables written</span>",
        "<b>1</b><span>tables only read</span>",
        "href=\"/tables/bronze.orders\"",
        "href=\"/tables/silver.stores\"",
        "1,234,567",
        ">silver<",
        "✕ 1 of 2 violated",
        "href=\"/applications/app-2\">shop",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    let found = list(&runs, &[("text", "GOLD")]);
    assert!(found.contains("gold.days") && !found.contains("bronze.orders"), "{found}");
    assert!(list(&[], &[]).contains("No step has written or read"));
}

#[test]
fn a_table_tells_its_versions_columns_files_checks_and_users() {
    let runs = runs();
    let page = one(&runs, "silver.orders", &[]).unwrap();
    for expected in [
        "5 → 6",
        "4 → 5",
        "may be NULL",
        "NOT NULL",
        ">partition<",
        "day (31 partitions)",
        "≤ 64 KiB: 1, ≤ 1 MiB: 2",
        "&gt; 1 GiB: 12",
        "numOutputRows 12,000",
        "violated in 2 of the last 2 runs",
        "2 of 2",
        "bronze, bronze.orders, job shop",
        "gold, gold.days, job report",
        "128 MiB",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    let users = page.split("id=\"users\"").nth(1).unwrap();
    assert!(users.contains(">writes<") && users.contains(">reads<") && users.contains("gold.days"), "{users}");
    assert_eq!(one(&runs, "silver.nobody", &[]), None);
    let only_read = one(&runs, "silver.stores", &[]).unwrap();
    assert!(only_read.contains("No step on record has written it."), "{only_read}");
    let second = one(&runs, "silver.orders", &[("limit", "1"), ("offset", "1")]).unwrap();
    assert!(second.contains("4 → 5") && !second.contains("5 → 6"), "{second}");
}

#[test]
fn a_step_that_never_began_is_no_version_of_its_table() {
    for state in ["NOT_RUN", "PENDING"] {
        let mut runs = runs();
        let waits = StepRecord { state: state.to_owned(), version: None, version_before: None, ..runs[1].1[1].clone() };
        let run = Arc::new(ApplicationSummary { app_id: "app-9".into(), ..(*runs[1].0).clone() });
        runs.insert(0, (run, Arc::from([waits])));
        let page = one(&runs, "silver.orders", &[]).unwrap();
        let versions = page.split("id=\"versions\"").nth(1).unwrap().split("</section>").next().unwrap();
        assert!(versions.contains("5 → 6") && !versions.contains(state) && !versions.contains("app-9"), "{versions}");
    }
}

#[test]
fn tables_of_one_name_at_two_places_are_told_apart() {
    let mut runs = runs();
    let other = StepRecord { location: "s3://other/silver.orders".to_owned(), ..runs[1].1[1].clone() };
    runs.push((Arc::clone(&runs[1].0), Arc::from([other])));
    let page = list(&runs, &[]);
    assert!(page.contains("href=\"/tables/silver.orders?location=s3%3A%2F%2Fother%2Fsilver.orders\""), "{page}");
    let asked_for = one(&runs, "silver.orders", &[("location", "s3://other/silver.orders")]).unwrap();
    assert!(asked_for.contains("<strong>s3://other/silver.orders</strong>"), "{asked_for}");
    assert!(asked_for.contains("several places"), "{asked_for}");
    assert_eq!(one(&runs, "silver.orders", &[("location", "s3://nowhere")]), None);
}

#[test]
fn lineage_joins_the_jobs() {
    let runs = runs();
    let page = graph(&runs, &[]);
    assert_eq!(page.matches("class=\"arrow\"").count(), 4, "{page}");
    assert_eq!(page.matches("class=\"box ").count(), 5 + 4, "five things, and four shapes in the legend");
    assert!(page.contains("by job report") && page.contains("no job on record writes it"), "{page}");
    let near = graph(&runs, &[("text", "gold")]);
    assert_eq!(near.matches("class=\"arrow\"").count(), 2, "{near}");
    assert!(!near.contains("bronze.orders"), "{near}");
    assert!(graph(&runs, &[("text", "nobody")]).contains("like this."));
}

#[test]
fn the_lineage_of_a_table_is_asked_for_by_its_whole_name_and_of_none_that_is_unknown() {
    let runs = runs();
    let near = graph(&runs, &[("table", "silver.stores")]);
    assert_eq!(near.matches("class=\"arrow\"").count(), 1, "{near}");
    assert!(near.contains("Show all"), "{near}");
    for unknown in ["nope", "silver", "silver.store"] {
        let wanted = WantedLineage::of(&asked(&[("table", unknown)])).unwrap();
        assert_eq!((lineage(&runs, &wanted).is_none(), wanted.table()), (true, unknown));
    }
    let Err(why) = WantedLineage::of(&asked(&[("tabel", "silver.stores")])) else { panic!("it is taken") };
    assert!(why.0.contains("'tabel'") && why.0.contains("expected table, text"), "{why:?}");
}

#[test]
fn lineage_forgets_what_a_job_does_no_more() {
    let mut runs = runs();
    let newer = StepRecord { reads: Vec::new(), ..runs[1].1[1].clone() };
    runs.insert(
        0,
        (Arc::new(ApplicationSummary { app_id: "app-9".into(), ..(*runs[1].0).clone() }), Arc::from([newer])),
    );
    let page = graph(&runs, &[]);
    assert_eq!(page.matches("class=\"arrow\"").count(), 3, "{page}");
}

#[test]
fn hostile_names_are_escaped_everywhere() {
    let runs = hostile();
    for page in [list(&runs, &[]), one(&runs, HOSTILE, &[]).unwrap(), graph(&runs, &[])] {
        assert!(page.contains(ESCAPED), "{page}");
    }
}
