//! The map of the workspace: which of our crates may use which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result};
use lake_tests::fixture::project;
use serde_json::Value;

/// Normal dependencies between our crates. A new edge needs a decision record in docs/adr.
const ALLOWED: [(&str, &[&str]); 19] = [
    ("lake-proto", &[]),
    ("lake-web", &[]),
    ("lake-http", &["lake-proto"]),
    ("lake-metrics", &["lake-proto"]),
    ("lake-telemetry", &["lake-proto"]),
    ("lake-api", &["lake-proto", "lake-job", "lake-master-core", "lake-record"]),
    ("lake-master-core", &["lake-proto"]),
    ("lake-raft", &["lake-proto", "lake-master-core", "lake-metrics"]),
    ("lake-record", &["lake-proto", "lake-job"]),
    ("lake-pages", &["lake-proto", "lake-web", "lake-job", "lake-master-core", "lake-record"]),
    ("lake-scheduler-core", &["lake-proto"]),
    ("lake-job", &["lake-proto"]),
    ("lake-engine", &["lake-proto", "lake-job", "lake-telemetry"]),
    (
        "lake-scheduler",
        &["lake-proto", "lake-record", "lake-scheduler-core", "lake-engine", "lake-metrics", "lake-telemetry"],
    ),
    (
        "lake-master",
        &[
            "lake-proto",
            "lake-web",
            "lake-http",
            "lake-api",
            "lake-master-core",
            "lake-pages",
            "lake-raft",
            "lake-record",
            "lake-scheduler",
            "lake-engine",
            "lake-metrics",
            "lake-telemetry",
        ],
    ),
    ("lake-worker", &["lake-proto", "lake-web", "lake-http", "lake-engine", "lake-metrics", "lake-telemetry"]),
    ("lake-client", &["lake-proto", "lake-job", "lake-engine", "lake-telemetry"]),
    ("lake", &["lake-client", "lake-master", "lake-worker"]),
    ("lake-bench", &["lake-proto", "lake-job", "lake-engine", "lake-record"]),
];

/// Pure crates: no runtime, no sockets, no engine.
const PURE: [&str; 8] = [
    "lake-web",
    "lake-master-core",
    "lake-scheduler-core",
    "lake-job",
    "lake-record",
    "lake-api",
    "lake-pages",
    "lake-metrics",
];
const IMPURE: [&str; 8] =
    ["tokio", "datafusion", "object_store", "axum", "hyper-util", "reqwest", "tokio-postgres", "rand"];

fn packages() -> Result<Vec<Value>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(project()?)
        .output()?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout)?;
    document.get("packages").and_then(Value::as_array).cloned().context("no packages")
}

fn normal_dependencies() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut all = BTreeMap::new();
    for package in packages()? {
        let name = text(&package, "name").context("a package has no name")?;
        let dependencies = package.get("dependencies").and_then(Value::as_array).cloned().unwrap_or_default();
        // The kind of a normal dependency is null.
        let normal = dependencies.iter().filter(|dependency| dependency.get("kind").is_none_or(Value::is_null));
        all.insert(name, normal.filter_map(|dependency| text(dependency, "name")).collect());
    }
    Ok(all)
}

#[test]
fn our_crates_use_each_other_only_as_the_map_says() -> Result<()> {
    let dependencies = normal_dependencies()?;
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    for (name, used) in dependencies.iter().filter(|(name, _)| name.as_str() != "lake-tests") {
        let allowed = allowed.get(name.as_str()).with_context(|| format!("{name} is not on the map"))?;
        for other in used.iter().filter(|other| other.starts_with("lake-")) {
            assert!(allowed.contains(&other.as_str()), "{name} uses {other}, which the map does not allow");
        }
    }
    Ok(())
}

#[test]
fn pure_crates_have_no_runtime_and_no_engine() -> Result<()> {
    let dependencies = normal_dependencies()?;
    for name in PURE {
        let used = dependencies.get(name).with_context(|| format!("no crate {name}"))?;
        for other in IMPURE {
            assert!(!used.contains(other), "{name} is pure and uses {other}");
        }
    }
    Ok(())
}

#[test]
fn the_clients_engine_is_optional() -> Result<()> {
    let client = packages()?.into_iter().find(|package| package.get("name").is_some_and(|name| name == "lake-client"));
    let dependencies =
        client.and_then(|client| client.get("dependencies")?.as_array().cloned()).context("no client")?;
    let engine =
        dependencies.iter().find(|dependency| dependency.get("name").is_some_and(|name| name == "lake-engine"));
    assert_eq!(engine.and_then(|engine| engine.get("optional")), Some(&Value::Bool(true)));
    Ok(())
}
