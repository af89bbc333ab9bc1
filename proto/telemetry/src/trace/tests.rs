use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::post::tests::{Server, address};

/// Runs `act` with an exporter, and gives the spans that a collector got, by name.
fn exported(act: impl FnOnce()) -> Vec<Value> {
    let server = Server::start(&[200]);
    let resource = vec![("service.name".to_owned(), "lake-test".to_owned())];
    let exporter = Exporter::start(Collector { address: address(&server), resource });
    tracing::subscriber::with_default(Registry::default().with(exporter.layer()), act);
    // Everything is delivered before this returns.
    drop(exporter);
    let mut spans = Vec::new();
    while let Ok(request) = server.requests.try_recv() {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let service = body.pointer("/resourceSpans/0/resource/attributes/0/value/stringValue");
        assert_eq!(service, Some(&Value::from("lake-test")));
        spans.extend(body.pointer("/resourceSpans/0/scopeSpans/0/spans").unwrap().as_array().unwrap().clone());
    }
    spans
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans.iter().find(|span| span.get("name").is_some_and(|found| found == name)).unwrap()
}

fn text<'a>(span: &'a Value, key: &str) -> &'a str {
    span.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn spans_inside_spans_are_one_trace_and_work_elsewhere_follows() {
    let mut carried = String::new();
    let here = exported(|| {
        let outer = tracing::info_span!(target: "lake_here", "submit", app_id = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("app_id", "app-1");
        let inner = tracing::info_span!(target: "lake_here", "step");
        carried = of(&inner);
        assert_eq!(traced(()).metadata().get(HEADER).unwrap(), current().as_str());
        let _inner = inner.enter();
        tracing::warn!(target: "lake_here", task_id = 3, "it healed");
        tracing::info!(target: "lake_here", "not worth keeping");
    });
    let there = exported(|| {
        let span = tracing::info_span!(target: "lake_there", "task_attempt");
        follow(&span, &carried);
        let inner = span.in_scope(|| tracing::info_span!(target: "lake_there", "fetch"));
        drop(inner);
        follow(&tracing::Span::none(), &carried);
        let lost = tracing::info_span!(target: "lake_there", "alone");
        follow(&lost, "not a context");
    });
    let (submit, step) = (named(&here, "submit"), named(&here, "step"));
    let (attempt, fetch) = (named(&there, "task_attempt"), named(&there, "fetch"));
    assert_eq!(text(submit, "parentSpanId"), "");
    assert_eq!(text(step, "parentSpanId"), text(submit, "spanId"));
    assert_eq!(text(attempt, "parentSpanId"), text(step, "spanId"));
    assert_eq!(text(fetch, "parentSpanId"), text(attempt, "spanId"));
    for span in [step, attempt, fetch] {
        assert_eq!(text(span, "traceId"), text(submit, "traceId"));
    }
    assert_ne!(text(named(&there, "alone"), "traceId"), text(submit, "traceId"));
    assert_eq!(submit.pointer("/attributes/0/value/stringValue"), Some(&Value::from("app-1")));
    let events = step.get("events").and_then(Value::as_array).unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(text(&events[0], "name"), "it healed");
}

#[test]
fn spans_of_others_and_details_are_not_exported_and_what_is_not_sampled_only_travels() {
    let spans = exported(|| {
        let outer = tracing::info_span!(target: "lake_here", "outer");
        let _outer = outer.enter();
        let other = tracing::info_span!(target: "h2::proto", "connection");
        let _other = other.enter();
        let detail = tracing::debug_span!(target: "lake_here", "detail");
        let _detail = detail.enter();
        drop(tracing::info_span!(target: "lake_here", "inner"));
        let unsampled = tracing::info_span!(target: "lake_here", "unsampled");
        follow(&unsampled, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        let context = of(&unsampled);
        assert!(context.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && context.ends_with("-00"), "{context}");
    });
    let mut names: Vec<&str> = spans.iter().map(|span| text(span, "name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["inner", "outer"]);
    assert_eq!(text(named(&spans, "inner"), "parentSpanId"), text(named(&spans, "outer"), "spanId"));
}

#[test]
fn without_an_exporter_nothing_travels() {
    tracing::subscriber::with_default(Registry::default(), || {
        let span = tracing::info_span!("step");
        let _span = span.enter();
        follow(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!((current(), of(&span)), (String::new(), String::new()));
        assert!(traced(()).metadata().get(HEADER).is_none());
    });
}
