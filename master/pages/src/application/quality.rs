//! What the data was like: expectations, and what was read of which version. Pure.

use lake_record::{ApplicationRecord, ReadKind};

use super::anchor;
use crate::html::Column::{Number, Text};
use crate::html::{Html, dash, link, number, optional, quantity_of_bytes, section, share, span, table, text};
use crate::link as to;

pub(super) fn expectations(record: &ApplicationRecord) -> Html {
    let mut rows = Vec::new();
    for step in &record.steps {
        for found in &step.expectations {
            let result = match (found.violations, found.action.as_str()) {
                (0, _) => span("good", "✓ holds"),
                (_, "fail") => span("bad", "✕ violated"),
                (_, _) => span("warn", "✕ violated"),
            };
            rows.push(vec![
                text(&found.name),
                to_step(record, &step.table),
                text(&found.action),
                result,
                number(found.violations),
                optional(found.checked, number),
                optional(found.checked, |checked| text(share(found.violations, checked))),
            ]);
        }
    }
    let columns = [
        Text("Expectation"),
        Text("Step"),
        Text("Action"),
        Text("Result"),
        Number("Violations"),
        Number("Rows checked"),
        Number("Share"),
    ];
    let remark = rows.len().to_string();
    let body = table("Expectations", &columns, rows, "No step has an expectation, or none was evaluated yet.");
    section("quality", "Data quality", remark, &[body])
}

pub(super) fn reads(record: &ApplicationRecord) -> Html {
    let mut rows = Vec::new();
    for step in &record.steps {
        for read in &step.reads {
            let (name, kind) = match read.kind {
                ReadKind::Table => (link(&to::table(&read.name), &read.name), "table"),
                ReadKind::Source => (text(&read.name), "source"),
            };
            rows.push(vec![
                name,
                text(kind),
                to_step(record, &step.table),
                optional(read.version, |version| text(version.to_string())),
                optional(read.files, number),
                optional(read.bytes, quantity_of_bytes),
                span("mono wrap", &read.location),
            ]);
        }
    }
    let columns = [
        Text("Read"),
        Text("Kind"),
        Text("By step"),
        Number("Version"),
        Number("Files"),
        Number("Bytes"),
        Text("Location"),
    ];
    let body = table("Inputs", &columns, rows, "Nothing was read yet.");
    section("reads", "Inputs", "as they are pinned for this run", &[body])
}

fn to_step(record: &ApplicationRecord, table: &str) -> Html {
    match anchor(&record.steps, table) {
        Some(id) => link(&format!("#{id}"), table),
        None => dash(),
    }
}
