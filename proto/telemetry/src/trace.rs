//! Traces over processes: which trace a span belongs to, how that travels, and the way of spans to a collector. Edge.
//!
//! A span of ours (its target begins with `lake`, its level is `info` or above) is given an identity when it is made: that of
//! its parent's trace, or of a new one. Work that another process does carries the identity of the span it belongs to as a
//! W3C `traceparent`: in the metadata of a call, and as a field of what outlives the call. Nothing of this costs anything
//! where no spans are exported.

mod export;
mod identity;
mod layer;
mod otlp;

use tonic::metadata::MetadataValue;
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

pub(crate) use self::export::{Collector, Exporter};
pub use self::export::{Counts, counts};
use self::identity::Identity;
use self::layer::Recorded;
pub(crate) use self::layer::identity;

/// The header of a call.
pub const HEADER: &str = "traceparent";

/// The trace context of the current span; empty when none is exported.
pub fn current() -> String {
    of(&Span::current())
}

/// The trace context of a span; empty when it is not exported.
pub fn of(span: &Span) -> String {
    with_recorded(span, |recorded| recorded.identity.to_string()).unwrap_or_default()
}

/// The trace context that came with a request, or else that of the current span; empty when there is neither.
pub fn accepted(traceparent: &str) -> String {
    Identity::parse(traceparent).map_or_else(current, |identity| identity.to_string())
}

/// Makes a span, in which nothing was begun yet, part of the trace of the span with this context. Without a valid one it
/// stays where it is.
pub fn follow(span: &Span, traceparent: &str) {
    if let Some(parent) = Identity::parse(traceparent) {
        with_recorded(span, |recorded| recorded.follow(parent));
    }
}

/// A call that belongs to the current span.
pub fn traced<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let context = current();
    if !context.is_empty()
        && let Ok(value) = MetadataValue::try_from(context)
    {
        request.metadata_mut().insert(HEADER, value);
    }
    request
}

fn with_recorded<R>(span: &Span, act: impl FnOnce(&mut Recorded) -> R) -> Option<R> {
    let found = span.with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>()?;
        let span = registry.span(id)?;
        let mut extensions = span.extensions_mut();
        extensions.get_mut::<Recorded>().map(act)
    });
    found.flatten()
}

#[cfg(test)]
mod tests;
