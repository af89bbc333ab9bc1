use lake_job::LoadOptions;

use super::*;

const JOB: &str = r#"
[job]
name = "customers"

[warehouse]
root = "s3://lake"

[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "crm_customers"
connection = "crm"
table = "public.customers"

[[source]]
name = "landing"
kind = "files"
format = "csv"
path = "s3://landing/orders/"

[[table]]
name = "gold.by_country"
mode = "overwrite"
sql = "SELECT count(*) AS n FROM silver.customers JOIN warehouse_table.other ON true"

[[table]]
name = "silver.customers"
mode = "append"
sql = "SELECT a.*, b.* FROM crm_customers a CROSS JOIN landing b"
"#;

fn pipeline() -> Pipeline {
    let today = "2026-11-21".parse().unwrap();
    lake_job::parse("job.toml", JOB, &LoadOptions::new(today, "/"), &|_| Err("no file".to_owned())).unwrap()
}

fn recorded(table: &str, outcome: &str) -> v1::StepRecord {
    v1::StepRecord {
        table: table.to_owned(),
        outcome: outcome.to_owned(),
        version: 4,
        rows_in: 10,
        rows_out: 8,
        elapsed_ms: 700,
        expectations: vec![v1::ExpectationResult { name: "e".to_owned(), violations: 2, ..Default::default() }],
        ..v1::StepRecord::default()
    }
}

fn running(table: &str) -> v1::StepProgress {
    let reads = vec![v1::StepRead {
        name: "silver.customers".to_owned(),
        is_table: true,
        location: "s3://lake/silver/customers".to_owned(),
        version: Some(4),
        files: Some(2),
        bytes: Some(9),
    }];
    let details = v1::StepDetails { started_at_ms: 5, reads, version_before: Some(3), ..v1::StepDetails::default() };
    v1::StepProgress {
        table: table.to_owned(),
        state: "RUNNING".to_owned(),
        details: Some(details),
        ..v1::StepProgress::default()
    }
}

#[test]
fn a_pipeline_alone_gives_steps_that_wait_with_what_they_will_read() {
    let pipeline = pipeline();
    let steps = StepSources { pipeline: Some(&pipeline), ..StepSources::default() }.steps();
    let told: Vec<(&str, &str, &str, &str)> = steps
        .iter()
        .map(|step| (step.table.as_str(), step.state.as_str(), step.mode.as_str(), step.location.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("silver.customers", "PENDING", "append", "s3://lake/silver/customers"),
            ("gold.by_country", "PENDING", "overwrite", "s3://lake/gold/by_country"),
        ],
        "in the order of the pipeline"
    );
    let mut reads: Vec<(&str, ReadKind, &str)> = Vec::new();
    for read in steps.iter().flat_map(|step| &step.reads) {
        reads.push((&read.name, read.kind, &read.location));
    }
    reads.sort_by_key(|read| read.0);
    assert_eq!(
        reads,
        [
            ("crm_customers", ReadKind::Source, "crm/public.customers"),
            ("landing", ReadKind::Source, "s3://landing/orders/"),
            ("silver.customers", ReadKind::Table, "s3://lake/silver/customers"),
            ("warehouse_table.other", ReadKind::Table, "s3://lake/warehouse_table/other"),
        ]
    );
}

#[test]
fn what_is_on_record_counts_more_than_a_picture_and_takes_from_it_what_only_it_knows() {
    let pipeline = pipeline();
    let mut committed = running("silver.customers");
    let checked =
        v1::ExpectationResult { name: "e".to_owned(), violations: 2, checked: Some(10), action: "drop".into() };
    committed.record =
        Some(v1::StepRecord { expectations: vec![checked], ..recorded("silver.customers", "COMMITTED") });
    let columns = vec![v1::TableColumn { name: "id".to_owned(), data_type: "bigint".to_owned(), is_nullable: true }];
    let size = v1::TableSize { files: 3, bytes: 7, rows: Some(8), file_sizes: vec![3], partitions: None };
    let after = v1::TableAfter { version: 4, columns, size: Some(size), ..v1::TableAfter::default() };
    committed.details.as_mut().unwrap().table_after = Some(after);
    let log = [recorded("silver.customers", "COMMITTED")];
    let progress = [committed, running("gold.by_country")];
    let sources = StepSources { pipeline: Some(&pipeline), recorded: &log, progress: &progress };
    let steps = sources.steps();
    let (silver, gold) = (&steps[0], &steps[1]);
    assert_eq!(
        (silver.state.as_str(), silver.version, silver.rows_in, silver.took_ms),
        ("COMMITTED", Some(4), 10, 700)
    );
    assert_eq!((silver.started_at_ms, silver.version_before), (5, Some(3)));
    assert_eq!(silver.expectations[0].checked, Some(10), "the log does not know it");
    let after = silver.table_after.as_ref().unwrap();
    assert_eq!((after.files, after.rows, after.columns[0].data_type.as_str()), (3, Some(8), "bigint"));
    assert_eq!((gold.state.as_str(), gold.reads[0].files, gold.mode.as_str()), ("RUNNING", Some(2), "overwrite"));

    let log = [recorded("silver.customers", "UNKNOWN")];
    let steps = StepSources { recorded: &log, ..sources }.steps();
    assert_eq!((steps[0].state.as_str(), steps[0].version), ("UNKNOWN", None));
}

#[test]
fn what_the_expectations_of_a_failed_step_found_is_told() {
    let mut failed = running("silver.customers");
    failed.state = "FAILED".to_owned();
    failed.failure = Some(Fault::new(ErrorClass::DataQuality, "expectation", "e is violated").into());
    let found =
        v1::ExpectationResult { name: "e".to_owned(), violations: 2, checked: Some(10), action: "fail".to_owned() };
    failed.expectations = vec![found];
    let steps = StepSources { progress: &[failed], ..StepSources::default() }.steps();
    let [found] = steps[0].expectations.as_slice() else { panic!("{:?}", steps[0]) };
    assert_eq!((found.action.as_str(), found.violations, found.checked), ("fail", 2, Some(10)));
    assert_eq!((steps[0].rows_in, steps[0].rows_out), (10, 0));
}

#[test]
fn steps_are_told_without_what_was_submitted_too() {
    let log = [recorded("b", "SKIPPED")];
    let progress = [running("a")];
    let steps = StepSources { pipeline: None, recorded: &log, progress: &progress }.steps();
    let told: Vec<(&str, &str)> = steps.iter().map(|step| (step.table.as_str(), step.state.as_str())).collect();
    assert_eq!(told, [("a", "RUNNING"), ("b", "SKIPPED")]);
    assert_eq!(steps[1].elapsed_ms(1_000_000), 700);
}

#[test]
fn what_ran_when_its_application_ended_has_failed_or_was_killed_with_it_and_what_waited_never_runs() {
    let killed = Fault::new(ErrorClass::Cancelled, "killed", "on request");
    let lost = Fault::new(ErrorClass::Unavailable, "driver-lost", "it was lost");
    let in_state = |table: &str, state: &str, failure: Option<&Fault>| v1::StepProgress {
        state: state.to_owned(),
        failure: failure.cloned().map(Into::into),
        ..running(table)
    };
    let progress = [
        running("a"),
        in_state("b", "PENDING", None),
        in_state("c", "COMMITTING", None),
        in_state("d", "FAILED", Some(&killed)),
        in_state("e", "FAILED", Some(&lost)),
    ];
    let sources = StepSources { progress: &progress, ..StepSources::default() };
    for (fault, with_it) in [(&killed, "KILLED"), (&lost, "FAILED")] {
        let steps = sources.steps_at_the_end(Some(fault), 9);
        let states: Vec<&str> = steps.iter().map(|step| step.state.as_str()).collect();
        assert_eq!(states, [with_it, "NOT_RUN", with_it, "KILLED", "FAILED"]);
        assert_eq!((steps[0].ended_at_ms, steps[0].failure.as_ref()), (9, Some(fault)));
        assert_eq!((steps[1].failure.as_ref(), steps[4].failure.as_ref()), (None, Some(&lost)));
    }
}
