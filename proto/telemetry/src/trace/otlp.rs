//! Spans in OTLP's JSON encoding: `ExportTraceServiceRequest` of opentelemetry-proto 1. Pure.
//!
//! By that encoding ids are hexadecimal, enumerations are numbers, and 64-bit integers are strings.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::layer::{Finished, Noted};
use crate::fields::Fields;

const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;
/// A span with one of these fields has failed.
const FAILURES: [&str; 2] = ["error.class", "error"];

/// One request with these spans. `resource` says whose they are.
pub(super) fn request(resource: &[(String, String)], spans: &[Finished]) -> Value {
    let attribute = |(key, value): &(String, String)| json!({"key": key, "value": {"stringValue": value}});
    json!({"resourceSpans": [{
        "resource": {"attributes": resource.iter().map(attribute).collect::<Vec<_>>()},
        "scopeSpans": [{
            "scope": {"name": "lake", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

/// How many spans of a request the collector refused, by its answer.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = answer.pointer("/partialSuccess/rejectedSpans");
    // A number as a string, by the encoding; not every collector keeps to it.
    rejected.and_then(|number| number.as_u64().or_else(|| number.as_str()?.parse().ok())).unwrap_or(0)
}

fn span(span: &Finished) -> Value {
    let kind = match span.name {
        "request" => SERVER,
        "submit" => CLIENT,
        _ => INTERNAL,
    };
    let mut written = json!({
        "traceId": span.identity.trace_id(),
        "spanId": span.identity.span_id(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanos(span.started),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": attributes(&span.fields),
    });
    if let Some(parent) = &span.parent {
        put(&mut written, "parentSpanId", parent.span_id().into());
    }
    if !span.events.is_empty() {
        put(&mut written, "events", span.events.iter().map(event).collect());
    }
    if FAILURES.iter().any(|field| span.fields.0.contains_key(*field)) {
        let message = span.fields.0.get("error").map(text).unwrap_or_default();
        put(&mut written, "status", json!({"code": ERROR, "message": message}));
    }
    written
}

fn event(event: &Noted) -> Value {
    let mut fields = event.fields.clone();
    let name = fields.0.remove("message").map(|message| text(&message)).unwrap_or_default();
    fields.0.insert("level".to_owned(), event.level.into());
    json!({"timeUnixNano": nanos(event.at), "name": name, "attributes": attributes(&fields)})
}

fn attributes(fields: &Fields) -> Vec<Value> {
    let attribute = |(key, value): (&String, &Value)| json!({"key": key, "value": any_value(value)});
    fields.0.iter().map(attribute).collect()
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::Bool(is_so) => json!({"boolValue": is_so}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        // What does not fit a signed integer is told as text.
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        other => json!({"stringValue": text(other)}),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn put(object: &mut Value, key: &str, value: Value) {
    let fields: Option<&mut Map<String, Value>> = object.as_object_mut();
    if let Some(fields) = fields {
        fields.insert(key.to_owned(), value);
    }
}

fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::identity::Identity;
    use super::*;

    fn fields(values: Value) -> Fields {
        Fields(values.as_object().unwrap().clone())
    }

    #[test]
    fn a_span_is_written_as_collectors_read_it() {
        let identity = Identity::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let parent = Identity::parse("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01").unwrap();
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let noted =
            Noted { at: at(1_700), level: "WARN", fields: fields(json!({"message": "a task failed", "task_id": 3})) };
        let finished = Finished {
            identity,
            parent: Some(parent),
            name: "commit",
            started: at(1_500),
            ended: at(2_000),
            fields: fields(json!({"table": "a.b", "version": 7, "share": 0.5, "is_last": true, "big": u64::MAX,
                "error.class": "conflict", "error": "somebody else won"})),
            events: vec![noted],
        };
        let root = Finished {
            parent: None,
            name: "request",
            fields: Fields::default(),
            events: Vec::new(),
            ..finished.clone()
        };
        let written = request(&[("service.name".to_owned(), "lake-worker".to_owned())], &[finished, root]);
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "lake-worker"}}]},
            "scopeSpans": [{"scope": {"name": "lake", "version": env!("CARGO_PKG_VERSION")}, "spans": [
                {
                    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
                    "parentSpanId": "00f067aa0ba902b7", "name": "commit", "kind": 1,
                    "startTimeUnixNano": "1500000000", "endTimeUnixNano": "2000000000",
                    "attributes": [
                        {"key": "big", "value": {"stringValue": "18446744073709551615"}},
                        {"key": "error", "value": {"stringValue": "somebody else won"}},
                        {"key": "error.class", "value": {"stringValue": "conflict"}},
                        {"key": "is_last", "value": {"boolValue": true}},
                        {"key": "share", "value": {"doubleValue": 0.5}},
                        {"key": "table", "value": {"stringValue": "a.b"}},
                        {"key": "version", "value": {"intValue": "7"}},
                    ],
                    "events": [{"timeUnixNano": "1700000000", "name": "a task failed", "attributes": [
                        {"key": "level", "value": {"stringValue": "WARN"}},
                        {"key": "task_id", "value": {"intValue": "3"}},
                    ]}],
                    "status": {"code": 2, "message": "somebody else won"},
                },
                {
                    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "request",
                    "kind": 2, "startTimeUnixNano": "1500000000", "endTimeUnixNano": "2000000000", "attributes": [],
                },
            ]}],
        }]});
        assert_eq!(written, expected);
    }

    #[test]
    fn what_a_collector_refused_is_known_however_it_writes_numbers() {
        for (answer, expected) in [
            ("{}", 0),
            ("", 0),
            ("{\"partialSuccess\":{}}", 0),
            ("{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"full\"}}", 3),
            ("{\"partialSuccess\":{\"rejectedSpans\":2}}", 2),
        ] {
            assert_eq!(rejected(answer.as_bytes()), expected, "{answer}");
        }
    }
}
