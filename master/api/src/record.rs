//! Records as history files have them: the whole of one application, and a list of all. Pure.
//!
//! Their fields are those of `lake_record`, which are added and never renamed. The document does not list them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lake_proto::Fault;
use lake_record::history::SummaryFilter;
use lake_record::story::Runs;
use lake_record::{ApplicationRecord, ApplicationSummary, StepRecord};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::count;
use crate::parameter::{Kind, Page, Parameter, Query};

/// Applications of one answer.
const MOST: usize = 1_000;

/// States of applications.
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Words(&["SUBMITTED", "RUNNING", "RELAUNCHING", "FINISHED", "FAILED", "KILLED", "ERROR"]),
    about: "States.",
};

/// Part of a name.
pub const TEXT: Parameter =
    Parameter { name: "text", kind: Kind::Text, about: "What the name or an id of the application has in it." };

/// How many applications an answer has at most.
pub const LIMIT: Parameter = Parameter {
    name: "limit",
    kind: Kind::Integer { least: 0, most: 1_000_000_000, default: 1_000 },
    about: "How many applications the answer has at most; it never has more than 1,000.",
};

/// Summaries and steps of applications.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Records {
    /// The newest first: those not over, then those that have ended.
    pub applications: Vec<Entry>,
    /// How many there are, on all pages.
    pub count: u64,
    /// History files that cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// An application of the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// What it is.
    #[serde(flatten)]
    pub summary: ApplicationSummary,
    /// None of one that has not begun, or ended long ago.
    pub steps: Vec<StepRecord>,
}

/// A history file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unreadable {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// The whole of one application.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded(pub Arc<ApplicationRecord>);

/// Which applications are asked for, and which part of them.
///
/// # Errors
/// `invalid-job/parameter` for a page or a state that is none.
pub fn wanted(query: &Query) -> Result<(SummaryFilter, Page), Fault> {
    let page = query.page_of(&LIMIT)?;
    let states = query.words(&STATUS)?.into_iter().map(str::to_ascii_uppercase).collect();
    let filter = SummaryFilter { states, text: query.text(&TEXT).unwrap_or_default().to_owned() };
    Ok((filter, Page { limit: page.limit.min(MOST), ..page }))
}

impl Records {
    /// A part of `total` applications with what is known of their steps, and files that cannot be read with the reason.
    pub fn new(
        summaries: Vec<ApplicationSummary>,
        total: usize,
        runs: &Runs,
        unreadable: Vec<(String, String)>,
    ) -> Self {
        let steps: BTreeMap<&str, &[StepRecord]> =
            runs.iter().map(|(summary, steps)| (summary.app_id.as_str(), steps.as_ref())).collect();
        let entry = |summary: ApplicationSummary| {
            let steps = steps.get(summary.app_id.as_str()).map(|steps| steps.to_vec()).unwrap_or_default();
            Entry { summary, steps }
        };
        Self {
            applications: summaries.into_iter().map(entry).collect(),
            count: count(total),
            unreadable: unreadable.into_iter().map(|(file, why)| Unreadable { file, why }).collect(),
        }
    }
}

impl Serialize for Recorded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl JsonSchema for Recorded {
    fn schema_name() -> Cow<'static, str> {
        "Record".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        unlisted("The record of an application, as its history file has it.")
    }
}

impl JsonSchema for Entry {
    fn schema_name() -> Cow<'static, str> {
        "RecordSummary".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        unlisted("The summary of an application with its steps, as its history file has them.")
    }
}

/// An object with fields of its own.
fn unlisted(about: &str) -> Schema {
    json_schema!({ "type": "object", "description": about, "additionalProperties": true })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn a_list_has_what_is_asked_for_and_never_more_than_its_most() {
        let of = |written: &str| wanted(&Query::of(written));
        assert_eq!(of("").unwrap(), (SummaryFilter::default(), Page { offset: 0, limit: MOST }));
        let (filter, page) = of("status=killed,%20Failed&text=shop&limit=5000&offset=3").unwrap();
        assert_eq!((filter.states, filter.text.as_str()), (vec!["KILLED".to_owned(), "FAILED".to_owned()], "shop"));
        assert_eq!(page, Page { offset: 3, limit: MOST });
        assert_eq!(of("limit=0").unwrap().1.limit, 0);
        for refused in ["limit=many", "status=typo"] {
            assert_eq!(of(refused).unwrap_err().code, "parameter", "{refused}");
        }
    }

    #[test]
    fn an_application_has_its_steps_and_a_record_its_own_fields() {
        let record = example::record();
        let steps: Arc<[StepRecord]> = Arc::from(record.steps.clone());
        let runs = [(Arc::new(record.summary.clone()), steps)];
        let other = ApplicationSummary { app_id: "app-0".to_owned(), ..record.summary.clone() };
        let unreadable = vec![("notes.txt".to_owned(), "not ours".to_owned())];
        let records = Records::new(vec![record.summary.clone(), other], 7, &runs, unreadable);
        assert_eq!(
            records.applications.iter().map(|entry| entry.steps.len()).collect::<Vec<_>>(),
            [record.steps.len(), 0]
        );
        let json = serde_json::to_value(&records).unwrap();
        assert_eq!((&json["count"], &json["applications"][1]["app_id"]), (&json!(7), &json!("app-0")));
        assert_eq!(json["unreadable"], json!([{ "file": "notes.txt", "why": "not ours" }]));
        let whole = serde_json::to_value(Recorded(Arc::new(record.clone()))).unwrap();
        assert_eq!(whole, serde_json::to_value(&record).unwrap());
    }
}
