//! The way of ended spans to a collector: OTLP over HTTP, in its JSON encoding. Edge.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::layer::{Finished, filter};
use super::otlp;
use crate::post::{self, Address, Habits, Http, Post, Receipt, Slot, Tally};

const HABITS: Habits =
    Habits { name: "lake-spans", goods: "spans", bound: 8_192, batch: 512, linger: Duration::from_millis(500) };

/// Those of the process's only exporter.
static TALLY: OnceLock<Arc<Tally>> = OnceLock::new();

/// Where spans go, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector {
    pub(crate) address: Address,
    /// Attributes of the resource.
    pub(crate) resource: Vec<(String, String)>,
}

/// What became of this process's spans; zeros where none are exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// A collector has them.
    pub exported: u64,
    /// Nobody has them.
    pub dropped: u64,
}

/// What became of this process's spans.
pub fn counts() -> Counts {
    TALLY.get().map_or_else(Counts::default, |tally| Counts { exported: tally.delivered(), dropped: tally.dropped() })
}

/// Delivers spans until it is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    spans: Spans,
    _post: Post,
}

/// The layer that hands spans over.
#[derive(Debug, Clone)]
pub(crate) struct Spans(Slot<Finished>);

impl Spans {
    pub(super) fn hand_over(&self, span: Finished) {
        self.0.put(span);
    }
}

impl Exporter {
    pub(crate) fn start(collector: Collector) -> Self {
        let http = Arc::new(Http::new(collector.address.clone()));
        let collector = Arc::new(collector);
        let (slot, post) = post::start(HABITS, move |spans: Vec<Finished>| {
            let (http, collector) = (http.clone(), collector.clone());
            async move {
                let request = otlp::request(&collector.resource, &spans);
                let answer = http.post(request.to_string().into_bytes()).await?;
                Ok(Receipt { refused: otlp::rejected(&answer) })
            }
        });
        // Only a test starts a second one.
        let _ = TALLY.set(slot.tally().clone());
        Self { spans: Spans(slot), _post: post }
    }

    /// The layer.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        self.spans.clone().with_filter(filter())
    }
}
