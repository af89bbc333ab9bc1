use chrono::DateTime;
use serde_json::{Value, json};

use super::*;
use crate::post::tests::{Server, address};

fn event() -> Event {
    let orders = of_url("s3://lakehouse/bronze/orders");
    let column = |name: &str, data_type: &str| Column { name: name.to_owned(), data_type: data_type.to_owned() };
    let origin =
        |column: &str, transformation| Origin { data_set: orders.clone(), column: column.to_owned(), transformation };
    let lineage = |column: &str, origins| ColumnLineage { column: column.to_owned(), origins };
    let assertion = |name: &str, is_success| Assertion { name: name.to_owned(), is_success };
    let written = DataSet {
        name: of_url("s3://lakehouse/gold/revenue"),
        alias: "gold.revenue".to_owned(),
        uri: "s3://lakehouse/gold/revenue".to_owned(),
        columns: vec![column("day", "DATE"), column("revenue", "DECIMAL(18,2)")],
        version: Some(7),
    };
    Event {
        moment: Moment::Complete,
        at: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
        run: Run {
            id: run_id(&["retail", "17", "gold.revenue"]),
            parent: Some(Parent { run: run_id(&["retail", "17"]), job: "retail".to_owned() }),
            error: None,
        },
        job: Job {
            name: "retail.gold.revenue".to_owned(),
            kind: JobKind::Step,
            sql: Some("SELECT 1".to_owned()),
            documentation: "overwrites gold.revenue".to_owned(),
        },
        inputs: vec![DataSet {
            name: orders.clone(),
            uri: "s3://lakehouse/bronze/orders".to_owned(),
            ..DataSet::default()
        }],
        outputs: vec![Output {
            data_set: written,
            statistics: Some(Statistics { rows: 30, bytes: 4_096, files: 2 }),
            assertions: vec![assertion("has_day", true), assertion("is_positive", false)],
            columns: vec![
                lineage("day", vec![origin("ordered_at", Transformation::Expression)]),
                lineage("revenue", vec![origin("price", Transformation::Aggregation)]),
            ],
        }],
    }
}

#[test]
fn an_event_is_written_as_the_standard_says() {
    let written = event().to_json("prod");
    for (pointer, expected) in [
        ("/eventType", json!("COMPLETE")),
        ("/eventTime", json!("2023-11-14T22:13:20.123Z")),
        ("/schemaURL", json!("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent")),
        ("/run/runId", json!(run_id(&["retail", "17", "gold.revenue"]).to_string())),
        ("/run/facets/parent/run/runId", json!(run_id(&["retail", "17"]).to_string())),
        ("/run/facets/parent/job", json!({"namespace": "prod", "name": "retail"})),
        ("/job/namespace", json!("prod")),
        ("/job/name", json!("retail.gold.revenue")),
        ("/job/facets/sql/query", json!("SELECT 1")),
        ("/job/facets/documentation/description", json!("overwrites gold.revenue")),
        ("/inputs/0/namespace", json!("s3://lakehouse")),
        ("/inputs/0/name", json!("bronze/orders")),
        ("/inputs/0/facets/dataSource/uri", json!("s3://lakehouse/bronze/orders")),
        ("/outputs/0/name", json!("gold/revenue")),
        ("/outputs/0/facets/schema/fields/1", json!({"name": "revenue", "type": "DECIMAL(18,2)"})),
        ("/outputs/0/facets/version/datasetVersion", json!("7")),
        ("/outputs/0/facets/symlinks/identifiers/0/name", json!("gold.revenue")),
        (
            "/outputs/0/facets/columnLineage/fields/revenue/inputFields/0",
            json!({"namespace": "s3://lakehouse", "name": "bronze/orders", "field": "price",
                "transformations": [{"type": "DIRECT", "subtype": "AGGREGATION", "description": "", "masking": false}]}),
        ),
        ("/outputs/0/facets/dataQualityAssertions/assertions/1", json!({"assertion": "is_positive", "success": false})),
        ("/outputs/0/outputFacets/outputStatistics/rowCount", json!(30)),
        ("/outputs/0/outputFacets/outputStatistics/fileCount", json!(2)),
    ] {
        assert_eq!(written.pointer(pointer), Some(&expected), "{pointer} of {written:#}");
    }
    assert_eq!(written.pointer("/run/facets/errorMessage"), None);
    assert_eq!(written.pointer("/inputs/0/facets/schema"), None, "columns that are not known are not told");
}

#[test]
fn every_facet_says_who_made_it_and_what_defines_it() {
    let mut failed = event();
    failed.moment = Moment::Fail;
    failed.run.error = Some("x".repeat(10_000));
    let written = failed.to_json("prod");
    let mut facets = 0;
    for pointer in ["/run/facets", "/job/facets", "/inputs/0/facets", "/outputs/0/facets", "/outputs/0/outputFacets"] {
        for (name, facet) in written.pointer(pointer).unwrap().as_object().unwrap() {
            let schema = facet.get("_schemaURL").and_then(Value::as_str).unwrap();
            let (file, definition) = schema.split_once(".json#/$defs/").unwrap();
            assert!(
                file.starts_with("https://openlineage.io/spec/facets/") && file.ends_with(definition),
                "{name}: {schema}"
            );
            assert!(
                facet.get("_producer").and_then(Value::as_str).is_some_and(|it| it.starts_with("https://")),
                "{name}"
            );
            facets += 1;
        }
    }
    assert_eq!(facets, 14, "{written:#}");
    let message = written.pointer("/run/facets/errorMessage/message").and_then(Value::as_str).unwrap();
    assert_eq!(message.len(), 4_000);
}

#[test]
fn events_get_to_a_server_with_the_key_and_one_by_one() {
    let server = Server::start(&[201]);
    let lineage = Lineage::start(Destination::Http { address: address(&server), namespace: "prod".to_owned() });
    let mut started = event();
    started.moment = Moment::Start;
    lineage.emit(&started);
    lineage.emit(&event());
    for expected in ["START", "COMPLETE"] {
        let request = server.next();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(head.contains("Bearer k"), "{head}");
        assert_eq!(body.get("eventType"), Some(&Value::from(expected)));
    }
    let tally = lineage.slot.tally().clone();
    drop(lineage);
    assert_eq!((tally.delivered(), tally.dropped()), (2, 0));
}

#[test]
fn events_are_lines_at_the_end_of_a_file_and_a_file_that_cannot_be_written_hurts_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    std::fs::write(&path, "{\"before\":1}\n").unwrap();
    let of = |path: PathBuf| Lineage::start(Destination::File { path, namespace: "prod".to_owned() });
    let lineage = of(path.clone());
    lineage.emit(&event());
    lineage.emit(&event());
    drop(lineage);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], event().to_json("prod"));
    let lineage = of(directory.path().join("no/such/folder/events.jsonl"));
    let tally = lineage.slot.tally().clone();
    lineage.emit(&event());
    drop(lineage);
    assert_eq!((tally.delivered(), tally.dropped()), (0, 1));
}
