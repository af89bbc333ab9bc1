//! Log lines as JSON: one flat object per line, with the fields of the spans around it. Edge: writes.
//!
//! What a line always has: `timestamp`, `level`, `target`, `message`. Then the fields of the event and of every span around
//! it under their own names (the inner one wins), the innermost span's name as `span`, and `trace_id` and `span_id` where
//! spans are exported.

use std::io::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use lake_proto::Fault;
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::fields::Fields;
use crate::trace::identity;

/// Shape of log lines on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// As flags and files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// What the `log` crate's records are given with: their own places are fields.
const RECORD_TARGET: &str = "log";
const RECORD_FIELDS: [&str; 4] = ["log.target", "log.module_path", "log.file", "log.line"];
/// What stands at the head of a line.
const HEAD: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Writes lines.
pub(crate) struct Json<W> {
    out: W,
}

/// The fields of a span, kept with it.
struct OfSpan(Fields);

impl<W> Json<W> {
    pub(crate) const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<S, W> Layer<S> for Json<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(OfSpan(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(OfSpan(fields)) = span.extensions_mut().get_mut::<OfSpan>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            if let Some(OfSpan(known)) = extensions.get::<OfSpan>() {
                fields.extend(known.0.clone());
            }
            fields.insert("span".to_owned(), span.name().into());
            if let Some(identity) = identity(&extensions) {
                fields.insert("trace_id".to_owned(), identity.trace_id().into());
                fields.insert("span_id".to_owned(), identity.span_id().into());
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        fields.extend(own.0);
        let line = line(event, &mut fields, Utc::now());
        // A log that cannot be written has nowhere to say so.
        let _ = self.out.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

fn line(event: &Event<'_>, fields: &mut Map<String, Value>, at: DateTime<Utc>) -> String {
    let metadata = event.metadata();
    let mut target = metadata.target().to_owned();
    if target == RECORD_TARGET {
        let own = fields.get("log.target").and_then(Value::as_str).map(str::to_owned);
        target = own.unwrap_or(target);
        for name in RECORD_FIELDS {
            fields.remove(name);
        }
    }
    let message = fields.remove("message").unwrap_or_default();
    let message = message.as_str().unwrap_or_default().to_owned();
    object([moment(at), metadata.level().to_string(), target, message], fields)
}

/// Ids and the fields that they are told as.
type Ids<'a> = &'a [(&'static str, String)];

/// The line of an error that ends its program, in the shape of its log.
pub(crate) fn last_line(format: LogFormat, service: &str, ids: Ids<'_>, fault: &Fault, at: DateTime<Utc>) -> String {
    match format {
        LogFormat::Text => format!("error[{}/{}]: {fault}\n", fault.class, fault.code),
        LogFormat::Json => {
            let mut fields = of_run(ids);
            fields.insert("error.class".to_owned(), fault.class.name().into());
            fields.insert("error.code".to_owned(), fault.code.as_str().into());
            object([moment(at), Level::ERROR.to_string(), service.to_owned(), fault.to_string()], &fields)
        }
    }
}

/// The line of a panic.
pub(crate) fn panic_line(service: &str, ids: Ids<'_>, panic: &str, at: DateTime<Utc>) -> String {
    object([moment(at), Level::ERROR.to_string(), service.to_owned(), panic.to_owned()], &of_run(ids))
}

fn of_run(ids: Ids<'_>) -> Map<String, Value> {
    ids.iter().map(|(field, id)| ((*field).to_owned(), Value::from(id.as_str()))).collect()
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn object(head: [String; 4], fields: &Map<String, Value>) -> String {
    let mut line = String::from("{");
    for (name, value) in HEAD.into_iter().zip(head) {
        if line.len() > 1 {
            line.push(',');
        }
        line.push_str(&format!("\"{name}\":{}", Value::String(value)));
    }
    for (name, value) in fields.iter().filter(|(name, _)| !HEAD.contains(&name.as_str())) {
        line.push_str(&format!(",{}:{value}", Value::from(name.as_str())));
    }
    line.push_str("}\n");
    line
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{EnvFilter, Registry};

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<u8>>);

    impl io::Write for &Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(filter: &str, act: impl FnOnce()) -> Vec<Value> {
        let out: Arc<Lines> = Arc::default();
        let layer = Json::new(Arc::clone(&out)).with_filter(EnvFilter::new(filter));
        tracing::subscriber::with_default(Registry::default().with(layer), act);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_the_fields_of_its_spans_and_the_inner_one_wins() {
        let lines = lines("info", || {
            let outer =
                tracing::info_span!("application", app_id = "app-1", attempt = 1, version = tracing::field::Empty);
            let _outer = outer.enter();
            let inner = tracing::info_span!("step", table = "a.b", attempt = 2);
            let _inner = inner.enter();
            outer.record("version", 7);
            tracing::warn!(
                error.class = "conflict",
                rows = 3_u64,
                share = 0.5,
                is_last = true,
                "committed \"it\"\n{}",
                1
            );
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let expected = serde_json::json!({
            "level": "WARN", "target": "lake_telemetry::log::tests", "message": "committed \"it\"\n1",
            "span": "step", "app_id": "app-1", "table": "a.b", "attempt": 2, "version": 7,
            "error.class": "conflict", "rows": 3, "share": 0.5, "is_last": true,
        });
        let mut found = line.as_object().unwrap().clone();
        let at = found.remove("timestamp").unwrap();
        assert!(DateTime::parse_from_rfc3339(at.as_str().unwrap()).is_ok(), "{at}");
        assert_eq!(Value::Object(found), expected);
    }

    #[test]
    fn the_error_that_ends_a_program_is_one_line_in_the_shape_of_its_log() {
        let fault = Fault::new(lake_proto::ErrorClass::DataQuality, "expectation", "2 rows\nare \"wrong\"");
        let ids = [("app_id", "app-1".to_owned()), ("driver_id", "driver-1".to_owned())];
        let line = last_line(LogFormat::Json, "lake-driver", &ids, &fault, DateTime::UNIX_EPOCH);
        assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
        let expected = serde_json::json!({
            "timestamp": "1970-01-01T00:00:00.000000Z", "level": "ERROR", "target": "lake-driver",
            "message": "2 rows\nare \"wrong\"", "error.class": "data-quality", "error.code": "expectation",
            "app_id": "app-1", "driver_id": "driver-1",
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        let text = last_line(LogFormat::Text, "lake-driver", &ids, &fault, DateTime::UNIX_EPOCH);
        assert_eq!(text, "error[data-quality/expectation]: 2 rows\nare \"wrong\"\n");
        let panic = panic_line("lake-driver", &ids, "panicked at a.rs:1:\nwhy", DateTime::UNIX_EPOCH);
        let panic: Value = serde_json::from_str(&panic).unwrap();
        assert_eq!(panic.get("message"), Some(&Value::from("panicked at a.rs:1:\nwhy")));
        assert_eq!(panic.get("app_id"), Some(&Value::from("app-1")));
    }

    #[test]
    fn what_the_filter_leaves_out_is_not_written_and_its_spans_add_nothing() {
        let lines = lines("warn", || {
            let span = tracing::info_span!("step", table = "a.b");
            let _span = span.enter();
            tracing::info!("not this");
            tracing::error!(level = "mine", number = f64::NAN, what = ?Some(1), "this");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line.get("message"), Some(&Value::from("this")));
        assert_eq!(line.get("table"), None);
        assert_eq!(line.get("level"), Some(&Value::from("ERROR")), "what stands at the head is not overwritten");
        assert_eq!((line.get("number"), line.get("what")), (Some(&Value::from("NaN")), Some(&Value::from("Some(1)"))));
    }
}
