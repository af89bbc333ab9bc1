use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::{Kind, Metric, master, process, worker};

const BEGIN: &str = "<!-- generated: metrics -->\n";
const END: &str = "<!-- end -->\n";
/// Words of PromQL and of scrapes that look like names of our metrics.
const OURS: [&str; 2] = ["lake_", "process_"];

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn declared() -> BTreeMap<&'static str, Metric> {
    [master::ALL, worker::ALL, process::ALL].into_iter().flatten().map(|metric| (metric.name, *metric)).collect()
}

/// Every name of ours in a text, without what a histogram appends.
fn names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| OURS.iter().any(|prefix| word.starts_with(prefix)));
    words.map(str::to_owned).collect()
}

fn is_declared(name: &str, declared: &BTreeMap<&str, Metric>) -> bool {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let of_histogram = of_histogram.and_then(|base| declared.get(base)).filter(|metric| metric.kind == Kind::Histogram);
    declared.get(name).is_some_and(|metric| metric.kind != Kind::Histogram) || of_histogram.is_some()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_is_one_that_a_daemon_has() {
    let declared = declared();
    for path in ["docker/grafana/dashboard.json", "docker/prometheus/alerts.yml"] {
        let names = names(&read(path));
        assert!(names.len() > 10, "the scan of {path} finds only {names:?}");
        for name in names {
            assert!(is_declared(&name, &declared), "{path} names {name}, which no daemon has");
        }
    }
    assert!(!is_declared("lake_task_duration_seconds", &declared), "a histogram has no sample of its own name");
    assert!(!is_declared("lake_master_is_leader_count", &declared));
}

/// Labels in braces must be those of the metric, or of the scrape.
#[test]
fn every_label_of_the_dashboard_and_the_alerts_is_one_that_the_metric_has() {
    let declared = declared();
    let mut selectors = 0;
    for path in ["docker/grafana/dashboard.json", "docker/prometheus/alerts.yml"] {
        let text = read(path).replace("\\\"", "\"");
        for (at, _) in text.match_indices('{') {
            let name: String =
                text[..at].chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let name: String = name.chars().rev().collect();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let Some(metric) = declared.get(name.as_str()).or_else(|| declared.get(base?)) else { continue };
            let inside = text[at + 1..].split('}').next().unwrap();
            for matcher in inside.split("\",").filter(|matcher| !matcher.is_empty()) {
                let label = matcher.split(['=', '!']).next().unwrap().trim();
                let known = ["job", "instance", "le"].contains(&label) || metric.labels.contains(&label);
                assert!(known, "{path}: {name} has no label {label}");
                selectors += 1;
            }
        }
    }
    assert!(selectors > 30, "only {selectors} selectors were found");
}

#[test]
fn the_dashboard_is_one_that_grafana_reads_with_a_panel_of_each_topic() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("docker/grafana/dashboard.json")).unwrap();
    let panels = dashboard.get("panels").and_then(|panels| panels.as_array()).unwrap();
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel.get("type").is_some_and(|kind| kind == "row"))
        .filter_map(|panel| panel.get("title")?.as_str())
        .collect();
    assert_eq!(rows, ["Cluster", "Applications", "Tasks", "Commits", "Raft", "Memory and disk"]);
    let mut ids: Vec<u64> = panels.iter().map(|panel| panel.get("id").unwrap().as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in panels.iter().filter(|panel| panel.get("targets").is_some()) {
        let source = panel.pointer("/datasource/uid").and_then(|uid| uid.as_str());
        assert_eq!(source, Some("${datasource}"), "{panel}");
    }
}

#[test]
fn no_metric_is_declared_twice_and_none_has_an_unbounded_label() {
    let all = [master::ALL, worker::ALL, process::ALL];
    assert_eq!(declared().len(), all.iter().map(|metrics| metrics.len()).sum::<usize>());
    // Job and table are bounded by `Steps`, members by the size of a group; the others are closed lists.
    let bounded = ["state", "role", "member", "class", "outcome", "version", "job_name", "table"];
    for metric in all.iter().flat_map(|metrics| metrics.iter()) {
        assert!(metric.labels.iter().all(|label| bounded.contains(label)), "{metric:?}");
    }
}

/// LAKE_WRITE_METRICS=1 rewrites it.
#[test]
fn the_documentation_has_every_metric() {
    let mut table = String::new();
    for (title, metrics) in [("Masters", master::ALL), ("Workers", worker::ALL), ("Every daemon", process::ALL)] {
        let _ = writeln!(table, "### {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|");
        for metric in metrics {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, help) = (metric.name, metric.kind.name(), metric.help);
            let _ = writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(" "));
        }
        table.push('\n');
    }
    let text = read("docs/metrics.md");
    let (head, rest) = text.split_once(BEGIN).expect("docs/metrics.md has no place for the table");
    let (_, tail) = rest.split_once(END).expect("docs/metrics.md has no end of the table");
    let expected = format!("{head}{BEGIN}{table}{END}{tail}");
    if std::env::var_os("LAKE_WRITE_METRICS").is_some() {
        fs::write(project("docs/metrics.md"), &expected).unwrap();
    } else {
        assert!(text == expected, "docs/metrics.md is out of date: LAKE_WRITE_METRICS=1 rewrites it");
    }
}
