//! What an application was started with, with Spark's fields: secrets are references. Pure.

use lake_job::{ConnectionProfile, Pipeline, Setting};
use lake_record::ApplicationRecord;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use url::Url;

/// A key and its value.
pub type Entry = (String, String);

/// What an application was started with. Spark's fields; ours come last.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationEnvironmentInfo {
    /// There is no JVM: the texts are empty.
    pub runtime: RuntimeInfo,
    /// What Spark has a name for, then what the job says, under `lake.`.
    pub spark_properties: Vec<Entry>,
    /// There is no Hadoop.
    pub hadoop_properties: Vec<Entry>,
    /// There is no JVM.
    pub system_properties: Vec<Entry>,
    /// Metrics are not configured by application.
    pub metrics_properties: Vec<Entry>,
    /// There is no JVM.
    pub classpath_entries: Vec<Entry>,
    /// There is one profile.
    pub resource_profiles: Vec<String>,
    /// The release of the master that answers.
    pub lake_version: String,
    /// What was submitted, whole; null when it is not kept.
    pub pipeline: Value,
}

/// Spark's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeInfo {
    /// Empty.
    pub java_version: String,
    /// Empty.
    pub java_home: String,
    /// Empty.
    pub scala_version: String,
}

/// What the application of this record was started with.
pub fn of(record: &ApplicationRecord, lake_version: &str) -> ApplicationEnvironmentInfo {
    let summary = &record.summary;
    let mut properties = Properties(vec![
        ("spark.app.id".to_owned(), summary.app_id.clone()),
        ("spark.app.name".to_owned(), summary.name.clone()),
        ("spark.driver.memory".to_owned(), format!("{}b", summary.driver_memory_bytes)),
        ("spark.submit.deployMode".to_owned(), summary.deploy_mode.clone()),
    ]);
    if summary.total_executor_cores > 0 {
        properties.add("spark.cores.max", summary.total_executor_cores.to_string());
    }
    properties.add("lake.job.name", summary.job_name.clone());
    properties.add("lake.run_number", summary.run_number.to_string());
    if let Some(pipeline) = &record.pipeline {
        properties.add_pipeline(pipeline);
    }
    ApplicationEnvironmentInfo {
        runtime: RuntimeInfo::default(),
        spark_properties: properties.0,
        hadoop_properties: Vec::new(),
        system_properties: Vec::new(),
        metrics_properties: Vec::new(),
        classpath_entries: Vec::new(),
        resource_profiles: Vec::new(),
        lake_version: lake_version.to_owned(),
        pipeline: record.pipeline.as_ref().map_or(Value::Null, shown),
    }
}

struct Properties(Vec<Entry>);

impl Properties {
    fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((key.to_owned(), value.into()));
    }

    fn add_pipeline(&mut self, pipeline: &Pipeline) {
        self.add("lake.job.max_attempts", pipeline.max_attempts.to_string());
        let durations =
            [("lake.job.timeout_ms", pipeline.timeout_ms), ("lake.job.task_timeout_ms", pipeline.task_timeout_ms)];
        for (key, value) in durations {
            value.iter().for_each(|value| self.add(key, value.to_string()));
        }
        self.add("lake.job.speculation", pipeline.speculation.to_string());
        self.add("lake.warehouse.root", pipeline.warehouse_root.clone());
        for (name, value) in &pipeline.params {
            self.add(&format!("lake.params.{name}"), value.clone());
        }
        for (prefix, profile) in &pipeline.storage {
            for (key, setting) in &profile.options {
                self.add(&format!("lake.storage.{prefix}.{key}"), text_of(setting));
            }
        }
        for (name, profile) in &pipeline.connections {
            let ConnectionProfile::Postgres { url, password } = profile;
            self.add(&format!("lake.connection.{name}.url"), text_of(url));
            password.iter().for_each(|set| self.add(&format!("lake.connection.{name}.password"), text_of(set)));
        }
    }
}

/// A reference by its name, a literal without a password.
fn text_of(setting: &Setting) -> String {
    match setting {
        Setting::Literal(text) => without_password(text),
        Setting::Env(name) => format!("{{ env = \"{name}\" }}"),
        Setting::File(path) => format!("{{ file = \"{path}\" }}"),
    }
}

/// Passwords in URLs are refused when a job is read; a submission of another client may have one all the same.
fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    let is_secret = |key: &str| key.to_ascii_lowercase().contains("password");
    let hides_query = url.query_pairs().any(|(key, _)| is_secret(&key));
    if url.password().is_none() && !hides_query {
        return text.to_owned();
    }
    // Neither fails on a URL that has what is taken out.
    let _ = url.set_password(None);
    if hides_query {
        url.set_query(None);
    }
    url.to_string()
}

/// The pipeline as JSON, with the literals of connections as [`text_of`] shows them.
fn shown(pipeline: &Pipeline) -> Value {
    let mut pipeline = pipeline.clone();
    for profile in pipeline.connections.values_mut() {
        let ConnectionProfile::Postgres { url, .. } = profile;
        if let Setting::Literal(text) = url {
            *text = without_password(text);
        }
    }
    for option in pipeline.storage.values_mut().flat_map(|profile| profile.options.values_mut()) {
        if let Setting::Literal(text) = option {
            *text = without_password(text);
        }
    }
    serde_json::to_value(pipeline).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lake_job::StorageProfile;

    use super::*;
    use crate::example;

    #[test]
    fn secrets_are_references_and_passwords_are_not_there() {
        let literal = |text: &str| Setting::Literal(text.to_owned());
        let storage = StorageProfile {
            options: BTreeMap::from([
                ("endpoint".to_owned(), literal("http://user:hidden1@store:9000")),
                ("secret_access_key".to_owned(), Setting::Env("AWS_SECRET".to_owned())),
            ]),
        };
        let url = literal("postgres://app:hidden2@db/crm?password=hidden3");
        let password = Some(Setting::File("/run/secrets/crm".to_owned()));
        let mut record = example::record();
        record.pipeline = Some(Pipeline {
            name: "orders".to_owned(),
            max_attempts: 3,
            timeout_ms: Some(60_000),
            task_timeout_ms: None,
            speculation: false,
            params: BTreeMap::from([("ds".to_owned(), "2026-11-21".to_owned())]),
            warehouse_root: "s3://lake".to_owned(),
            storage: BTreeMap::from([("s3://lake".to_owned(), storage)]),
            connections: BTreeMap::from([("crm".to_owned(), ConnectionProfile::Postgres { url, password })]),
            sources: Vec::new(),
            tables: Vec::new(),
            external_locations: BTreeMap::new(),
        });
        let environment = of(&record, "1.2.3");
        let json = serde_json::to_string(&environment).unwrap();
        assert!(!json.contains("hidden"), "{json}");
        let value = |key: &str| {
            let found = environment.spark_properties.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        assert_eq!(value("spark.app.name"), "orders of today");
        assert_eq!(value("spark.cores.max"), "4");
        assert_eq!(value("lake.params.ds"), "2026-11-21");
        assert_eq!(value("lake.job.timeout_ms"), "60000");
        assert_eq!(value("lake.storage.s3://lake.endpoint"), "http://user@store:9000/");
        assert_eq!(value("lake.storage.s3://lake.secret_access_key"), "{ env = \"AWS_SECRET\" }");
        assert_eq!(value("lake.connection.crm.url"), "postgres://app@db/crm");
        assert_eq!(value("lake.connection.crm.password"), "{ file = \"/run/secrets/crm\" }");
        assert_eq!(environment.pipeline["warehouse_root"], "s3://lake");
        assert!(json.contains(r#""sparkProperties":[["spark.app.id","app-20261121093012-0001"],"#), "{json}");
    }

    #[test]
    fn an_application_whose_pipeline_is_not_kept_still_has_its_name() {
        let environment = of(&example::record(), "1.2.3");
        assert_eq!(environment.pipeline, Value::Null);
        assert!(environment.spark_properties.contains(&("lake.job.name".to_owned(), "orders".to_owned())));
        assert_eq!(without_password("plain text"), "plain text");
    }
}
