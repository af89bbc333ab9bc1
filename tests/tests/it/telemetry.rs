//! What collectors of logs, traces and lineage get of real runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::collector::Collector;
use lake_tests::fixture::{Workspace, example};
use lake_tests::gated::GATED;
use lake_tests::postgres::Postgres;
use lake_tests::submit::Submit;
use lake_tests::{DEADLINE, wait_for};
use serde_json::Value;

/// A job that fails where a line of `words.csv` has no word.
const WITHOUT_A_WORD: &str = "[[source]]\nname = \"words\"\nkind = \"files\"\nformat = \"csv\"\npath = \"words.csv\"\n\n\
     [[table]]\nname = \"bronze.words\"\nfrom = \"words\"\nmode = \"append\"\n\n  \
     [[table.expect]]\n  name = \"has_word\"\n  check = \"word IS NOT NULL\"\n  action = \"fail\"\n";

fn lake(workspace: &Workspace) -> String {
    format!("file://{}", workspace.path().join("lake").display())
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Files of this name below a folder.
fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, name));
        } else if path.file_name().is_some_and(|found| found == name) {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_line_of_every_daemon_and_driver_is_one_flat_object_with_the_ids_of_its_run() -> Result<()> {
    let workspace = Workspace::new()?;
    let cluster = Cluster::builder()
        .master_argument("--log-format=json")
        .worker_argument("--log-format=json")
        .worker_argument("--log-level=info,lake_engine=debug")
        .start(1)?;
    let submit = cluster.submit().warehouse(&lake(&workspace)).args(["--output", "json"]).arg(example("retail")?);
    let app_id = submit.run()?.succeeded()?.json()?.get("app_id").and_then(Value::as_str).context("no id")?.to_owned();
    let driver = files(&cluster.work_directory(0), "stderr");
    let [driver] = driver.as_slice() else { anyhow::bail!("{driver:?}") };
    let logs = [
        ("master", cluster.masters.log(0)?),
        ("worker", std::fs::read_to_string(cluster.directory().join("worker-0.err"))?),
        ("driver", std::fs::read_to_string(driver)?),
    ];
    for (whose, log) in logs {
        let lines = json_lines(whose, &log)?;
        let is_of_run = |line: &Value| line.get("app_id").is_some_and(|id| *id == *app_id);
        assert!(lines.iter().any(is_of_run), "no line of the {whose} names {app_id}:\n{log}");
    }
    Ok(())
}

#[test]
fn a_driver_that_fails_says_so_in_a_line_of_json_too() -> Result<()> {
    let workspace = Workspace::new()?;
    let cluster = Cluster::builder().worker_argument("--log-format=json").start(1)?;
    workspace.file("words.csv", "id,word\n1,a\n2,\n")?;
    let job = workspace.job("words", WITHOUT_A_WORD)?;
    cluster.submit().arg(&job).run()?.failed("data-quality", "expectation", &["has_word"])?;
    let driver = files(&cluster.work_directory(0), "stderr");
    let [driver] = driver.as_slice() else { anyhow::bail!("{driver:?}") };
    let last = wait_for("the last line of the driver", DEADLINE, || {
        let lines = std::fs::read_to_string(driver).ok().and_then(|log| json_lines("driver", &log).ok())?;
        lines.into_iter().find(|line| text(line, "/target") == Some("lake-driver"))
    });
    let last = last.with_context(|| std::fs::read_to_string(driver).unwrap_or_default())?;
    assert_eq!((text(&last, "/error.class"), text(&last, "/level")), (Some("data-quality"), Some("ERROR")), "{last}");
    assert!(text(&last, "/message").is_some_and(|message| message.contains("has_word")), "{last}");
    json_lines("driver", &std::fs::read_to_string(driver)?)?;
    Ok(())
}

/// Every line of a log; each is one flat object with what a line always has.
fn json_lines(whose: &str, log: &str) -> Result<Vec<Value>> {
    let mut lines = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("{whose}: {line}"))?;
        for field in ["timestamp", "level", "target", "message"] {
            anyhow::ensure!(line.get(field).is_some_and(Value::is_string), "{whose}: no {field} in {line}");
        }
        let is_flat = line.as_object().is_some_and(|fields| fields.values().all(|value| !value.is_object()));
        anyhow::ensure!(is_flat, "{whose}: {line}");
        lines.push(line);
    }
    anyhow::ensure!(!lines.is_empty(), "the {whose} has logged nothing");
    Ok(lines)
}

/// One span as the collector got it.
#[derive(Debug)]
struct Span {
    name: String,
    service: String,
    trace: String,
    id: String,
    parent: String,
    attributes: BTreeMap<String, String>,
}

fn spans(collector: &Collector) -> Vec<Span> {
    let mut spans = Vec::new();
    for posted in collector.posted("/v1/traces") {
        for resource in posted.document.get("resourceSpans").and_then(Value::as_array).into_iter().flatten() {
            let of_resource = attributes(resource.pointer("/resource/attributes"));
            let service = of_resource.get("service.name").cloned().unwrap_or_default();
            let scopes = resource.get("scopeSpans").and_then(Value::as_array).into_iter().flatten();
            for span in scopes.filter_map(|scope| scope.get("spans")?.as_array()).flatten() {
                let of = |key: &str| span.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                spans.push(Span {
                    name: of("name"),
                    service: service.clone(),
                    trace: of("traceId"),
                    id: of("spanId"),
                    parent: of("parentSpanId"),
                    attributes: attributes(span.get("attributes")),
                });
            }
        }
    }
    spans
}

fn attributes(list: Option<&Value>) -> BTreeMap<String, String> {
    let attribute = |attribute: &Value| {
        let value = attribute.get("value")?.as_object()?.values().next()?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((attribute.get("key")?.as_str()?.to_owned(), value))
    };
    list.and_then(Value::as_array).into_iter().flatten().filter_map(attribute).collect()
}

/// What each span of a run is a part of, and whose it is.
const TREE: [(&str, &str, &str); 7] = [
    ("submit", "", "lake-submit"),
    ("application", "submit", "lake-driver"),
    ("step", "application", "lake-driver"),
    ("query", "step", "lake-driver"),
    ("stage", "query", "lake-master"),
    ("task_attempt", "stage", "lake-worker"),
    ("commit", "step", "lake-driver"),
];

#[test]
fn one_trace_has_a_run_from_the_submission_to_the_commits_over_all_processes() -> Result<()> {
    let workspace = Workspace::new()?;
    let collector = Collector::start()?;
    let cluster = Cluster::builder().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).start(2)?;
    let submit = cluster.submit().warehouse(&lake(&workspace)).args(["--output", "json"]).arg(example("retail")?);
    let run = submit.run()?.succeeded()?.json()?;
    let app_id = run.get("app_id").and_then(Value::as_str).context("no id")?;

    let mut last = Vec::new();
    let whole = wait_for("every span of the run", DEADLINE, || {
        last = spans(&collector);
        let count = |name: &str| last.iter().filter(|span| span.name == name).count();
        let is_whole = count("submit") == 1 && count("application") == 1 && count("step") == 6 && count("commit") == 6;
        let has_tasks = count("query") >= 6 && count("stage") >= 6 && count("task_attempt") >= 6;
        (is_whole && has_tasks).then(|| std::mem::take(&mut last))
    });
    let spans = whole.with_context(|| format!("the collector has {last:#?}"))?;
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let submit = spans.iter().find(|span| span.name == "submit").context("no submit")?;
    for (name, parent, service) in TREE {
        for span in spans.iter().filter(|span| span.name == name) {
            assert_eq!(span.trace, submit.trace, "{span:?} is in another trace");
            assert_eq!(span.service, service, "{span:?}");
            let found = by_id.get(span.parent.as_str()).map_or("", |span| span.name.as_str());
            assert_eq!(found, parent, "{span:?}");
        }
    }
    let application = spans.iter().find(|span| span.name == "application").context("no application")?;
    assert_eq!(application.attributes.get("app_id").map(String::as_str), Some(app_id));
    let committed: BTreeSet<&str> = spans
        .iter()
        .filter(|span| span.name == "commit" && span.attributes.contains_key("table_version"))
        .filter_map(|span| span.attributes.get("table").map(String::as_str))
        .collect();
    assert_eq!(committed.len(), 6, "{committed:?}");
    let calls: BTreeSet<&str> = spans
        .iter()
        .filter(|span| span.name == "request" && span.trace == submit.trace)
        .filter_map(|span| span.attributes.get("method").map(String::as_str))
        .collect();
    for call in ["Submissions/Submit", "Drivers/RunQuery", "Drivers/PermitCommit", "Drivers/RecordStep"] {
        assert!(calls.contains(format!("/lake.v1.{call}").as_str()), "{calls:?}");
    }
    Ok(())
}

#[test]
fn a_collector_that_is_not_there_costs_a_run_nothing() -> Result<()> {
    let workspace = Workspace::new()?;
    let nobody = "http://127.0.0.1:1";
    let submit = Submit::local().env("OTEL_EXPORTER_OTLP_ENDPOINT", nobody).env("LAKE_OPENLINEAGE_URL", nobody);
    let begun = Instant::now();
    let run = submit.args(["--log-level", "warn"]).warehouse(&lake(&workspace)).arg(example("retail")?).run()?;
    let run = run.succeeded()?;
    assert!(begun.elapsed() < DEADLINE, "it took {:?}", begun.elapsed());
    assert!(run.stderr.contains(" cannot be delivered, and are dropped"), "{run}");
    Ok(())
}

/// The events of a file, by job and moment.
fn events(path: &Path) -> Result<BTreeMap<(String, String), Value>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut events = BTreeMap::new();
    // A line is whole when its end is there.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let job = text_of(&event, "/job/name")?;
        let moment = text_of(&event, "/eventType")?;
        anyhow::ensure!(events.insert((job, moment), event).is_none(), "an event came twice: {line}");
    }
    Ok(events)
}

fn text_of(value: &Value, pointer: &str) -> Result<String> {
    text(value, pointer).map(str::to_owned).with_context(|| format!("no {pointer} in {value}"))
}

fn event<'a>(events: &'a BTreeMap<(String, String), Value>, job: &str, moment: &str) -> Result<&'a Value> {
    let key = (job.to_owned(), moment.to_owned());
    events.get(&key).with_context(|| format!("no {moment} of {job} among {:?}", events.keys()))
}

#[test]
fn a_run_on_a_cluster_tells_what_it_read_and_wrote_down_to_the_columns() -> Result<()> {
    let workspace = Workspace::new()?;
    let path = workspace.path().join("events.jsonl");
    let cluster = Cluster::builder().env("LAKE_OPENLINEAGE_FILE", &path.display().to_string()).start(2)?;
    cluster.submit().warehouse(&lake(&workspace)).arg(example("retail")?).run()?.succeeded()?;
    let events = wait_for("the end of the run among the events", DEADLINE, || {
        events(&path).ok().filter(|events| event(events, "retail", "COMPLETE").is_ok())
    })?;
    // The run and its six steps, each with a beginning and an end.
    assert_eq!(events.len(), 14, "{:?}", events.keys());
    let run = event(&events, "retail", "COMPLETE")?;
    assert_eq!(text(event(&events, "retail", "START")?, "/run/runId"), text(run, "/run/runId"));

    let revenue = event(&events, "retail.gold.daily_revenue", "COMPLETE")?;
    assert_eq!(text(revenue, "/run/facets/parent/run/runId"), text(run, "/run/runId"));
    assert!(text(revenue, "/job/facets/sql/query").is_some_and(|sql| sql.contains("revenue_month_to_date")));
    let folder = workspace.path().join("lake");
    let of = |table: &str| folder.join(table.replace('.', "/")).display().to_string();
    let inputs: BTreeSet<&str> = revenue
        .get("inputs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|input| text(input, "/name"))
        .collect();
    let expected = [of("silver.orders"), of("silver.stores")];
    assert_eq!(inputs, expected.iter().map(String::as_str).collect());
    let output = revenue.pointer("/outputs/0").context("no output")?;
    assert_eq!(text(output, "/name"), Some(of("gold.daily_revenue").as_str()));
    assert_eq!(text(output, "/namespace"), Some("file"));
    assert!(output.pointer("/outputFacets/outputStatistics/rowCount").and_then(Value::as_u64) > Some(0));
    let column = |name: &str| output.pointer(&format!("/facets/columnLineage/fields/{name}/inputFields/0"));
    let country = column("country").context("no lineage of country")?;
    assert_eq!(text(country, "/name"), Some(of("silver.stores").as_str()));
    assert_eq!(text(country, "/field"), Some("country"));
    assert_eq!(text(country, "/transformations/0/subtype"), Some("TRANSFORMATION"));
    let total = column("revenue_month_to_date").context("no lineage of revenue_month_to_date")?;
    assert_eq!(text(total, "/transformations/0/subtype"), Some("AGGREGATION"));

    let orders = event(&events, "retail.silver.orders", "COMPLETE")?;
    let assertions = orders.pointer("/outputs/0/facets/dataQualityAssertions/assertions");
    let assertions = assertions.and_then(Value::as_array).context("no assertions")?;
    let of_order_id = assertions.iter().find(|found| text(found, "/assertion") == Some("has_order_id"));
    assert_eq!(of_order_id.and_then(|found| found.get("success")), Some(&Value::Bool(false)), "{assertions:?}");
    let fields = orders.pointer("/outputs/0/facets/schema/fields").and_then(Value::as_array).context("no schema")?;
    assert!(
        fields.iter().any(|field| text(field, "/name") == Some("order_date") && text(field, "/type") == Some("date"))
    );
    Ok(())
}

#[test]
fn a_failed_run_tells_its_catalogue_why_with_the_key_and_in_order() -> Result<()> {
    let workspace = Workspace::new()?;
    let catalogue = Collector::start()?;
    workspace.file("words.csv", "id,word\n1,a\n2,\n")?;
    let job = workspace.job("words", WITHOUT_A_WORD)?;
    let key = workspace.file("key", "secret-key\n")?;
    let submit = Submit::local()
        .env("LAKE_OPENLINEAGE_URL", &catalogue.url())
        .env("LAKE_OPENLINEAGE_API_KEY_FILE", &key.display().to_string())
        .env("LAKE_OPENLINEAGE_NAMESPACE", "prod");
    submit.arg(&job).run()?.failed("data-quality", "expectation", &["has_word"])?;
    let posted = catalogue.posted("/api/v1/lineage");
    let moments: Vec<(&str, &str)> = posted
        .iter()
        .filter_map(|posted| Some((text(&posted.document, "/job/name")?, text(&posted.document, "/eventType")?)))
        .collect();
    let expected =
        [("words", "START"), ("words.bronze.words", "START"), ("words.bronze.words", "FAIL"), ("words", "FAIL")];
    assert_eq!(moments, expected);
    for posted in &posted {
        assert!(posted.headers.iter().any(|line| line == "authorization: Bearer secret-key"), "{:?}", posted.headers);
        assert_eq!(text(&posted.document, "/job/namespace"), Some("prod"));
        assert!(!posted.document.to_string().contains("secret-key"));
    }
    let failed = &posted.get(2).context("no third event")?.document;
    assert!(text(failed, "/run/facets/errorMessage/message").is_some_and(|message| message.contains("has_word")));
    Ok(())
}

#[test]
fn a_run_that_is_killed_tells_that_it_was_aborted() -> Result<()> {
    let workspace = Workspace::new()?;
    let path = workspace.path().join("events.jsonl");
    let server = Postgres::start()?;
    let cluster = Cluster::builder()
        .env("CRM_URL", &server.url())
        .env("LAKE_OPENLINEAGE_FILE", &path.display().to_string())
        .start(1)?;
    let job = workspace.job("told", GATED)?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    cluster.submit().args(["--kill", &id]).run()?.succeeded()?;
    let events = wait_for("the end of the run among the events", DEADLINE, || {
        events(&path).ok().filter(|events| event(events, "told", "ABORT").is_ok())
    })?;
    let step = event(&events, "told.bronze.numbers", "ABORT")?;
    let input = step.pointer("/inputs/0").context("no input")?;
    assert!(
        text(input, "/namespace").is_some_and(|namespace| namespace.starts_with("postgres://127.0.0.1:")),
        "{input}"
    );
    assert!(text(input, "/name").is_some_and(|name| name.ends_with(".query.numbers")), "{input}");
    gate.open()?;
    Ok(())
}
