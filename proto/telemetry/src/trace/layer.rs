//! Gives spans their identity, and hands them over when they have ended. Edge: looks at the clock.

use std::time::SystemTime;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{Extensions, LookupSpan};

use super::export::Spans;
use super::identity::Identity;
use crate::fields::Fields;

/// Spans of our own crates.
const OURS: &str = "lake";
/// Warnings and errors that are kept with a span; of those beyond it the log tells.
const MOST_EVENTS: usize = 16;

/// A span that has not ended.
pub(crate) struct Recorded {
    pub(super) identity: Identity,
    parent: Option<Identity>,
    started: SystemTime,
    fields: Fields,
    events: Vec<Noted>,
}

/// A warning or an error inside a span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noted {
    pub(super) at: SystemTime,
    pub(super) level: &'static str,
    pub(super) fields: Fields,
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finished {
    pub(super) identity: Identity,
    pub(super) parent: Option<Identity>,
    pub(super) name: &'static str,
    pub(super) started: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) fields: Fields,
    pub(super) events: Vec<Noted>,
}

/// The identity of a span by what is kept with it.
pub(crate) fn identity(extensions: &Extensions<'_>) -> Option<Identity> {
    extensions.get::<Recorded>().map(|recorded| recorded.identity)
}

/// What is exported: our spans, and our warnings inside them.
pub(super) fn filter() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let is_exported: fn(&Metadata<'_>) -> bool = |metadata| {
        let most = if metadata.is_span() { Level::INFO } else { Level::WARN };
        metadata.target().starts_with(OURS) && *metadata.level() <= most
    };
    filter_fn(is_exported).with_max_level_hint(LevelFilter::INFO)
}

impl Recorded {
    /// Moves the span into the trace of `parent`.
    pub(super) fn follow(&mut self, parent: Identity) {
        self.identity = self.identity.in_trace_of(&parent);
        self.parent = Some(parent);
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| identity(&parent.extensions()));
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let identity = parent.map_or_else(Identity::fresh, |parent| parent.child());
        let recorded = Recorded { identity, parent, started: SystemTime::now(), fields, events: Vec::new() };
        span.extensions_mut().insert(recorded);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(recorded) = span.extensions_mut().get_mut::<Recorded>() {
            values.record(&mut recorded.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else { return };
        let mut extensions = span.extensions_mut();
        let recorded = extensions.get_mut::<Recorded>();
        let Some(recorded) = recorded.filter(|recorded| recorded.events.len() < MOST_EVENTS) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        recorded.events.push(Noted { at: SystemTime::now(), level, fields });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(recorded) = span.extensions_mut().remove::<Recorded>() else { return };
        if recorded.identity.is_sampled {
            self.hand_over(Finished {
                identity: recorded.identity,
                parent: recorded.parent,
                name: span.name(),
                started: recorded.started,
                ended: SystemTime::now(),
                fields: recorded.fields,
                events: recorded.events,
            });
        }
    }
}
