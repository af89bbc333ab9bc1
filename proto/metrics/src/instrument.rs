//! Counters and histograms that may be moved from any thread, without waiting. Pure: durations come as arguments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lake_proto::ErrorClass;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by class of error.
#[derive(Debug, Default)]
pub struct ByClass([Counter; ErrorClass::ALL.len()]);

impl ByClass {
    /// One more of this class.
    pub fn add_one(&self, class: ErrorClass) {
        let counted = ErrorClass::ALL.iter().zip(&self.0).find(|(known, _)| **known == class);
        if let Some((_, counter)) = counted {
            counter.add_one();
        }
    }

    /// Every class with how many there were.
    pub fn all(&self) -> impl Iterator<Item = (ErrorClass, u64)> {
        ErrorClass::ALL.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

/// Durations by size.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in seconds, ascending.
    bounds: &'static [f64],
    /// One for each bound, and one for what is above the last.
    buckets: Vec<AtomicU64>,
    sum_micros: AtomicU64,
}

impl Histogram {
    /// No observation yet. `bounds` are in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum_micros: AtomicU64::new(0) }
    }

    /// One that took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().take_while(|bound| seconds > **bound).count();
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All observations so far.
    pub fn get(&self) -> Distribution {
        let mut count = 0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for bucket in &self.buckets {
            count += bucket.load(Ordering::Relaxed);
            counts.push(count);
        }
        let buckets = self.bounds.iter().copied().zip(counts).collect();
        let sum_seconds = Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)).as_secs_f64();
        Distribution { buckets, count, sum_seconds }
    }
}

/// What a histogram holds at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// Upper bound in seconds, and how many took no longer.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum_seconds: f64,
}

/// Histograms by one label whose values are known.
#[derive(Debug)]
pub struct Outcomes<const N: usize> {
    names: [&'static str; N],
    histograms: [Histogram; N],
}

impl<const N: usize> Outcomes<N> {
    /// No observation yet, of any of these outcomes.
    pub fn new(names: [&'static str; N], bounds: &'static [f64]) -> Self {
        Self { names, histograms: names.map(|_| Histogram::new(bounds)) }
    }

    /// One that took so long and ended so; one that ended in a way that is not known counts as the last.
    pub fn observe(&self, outcome: &str, took: Duration) {
        let found = self.names.iter().position(|name| *name == outcome).unwrap_or(N.saturating_sub(1));
        if let Some(histogram) = self.histograms.get(found) {
            histogram.observe(took);
        }
    }

    /// Every outcome with its observations.
    pub fn get(&self) -> Vec<(&'static str, Distribution)> {
        self.names.iter().zip(&self.histograms).map(|(name, histogram)| (*name, histogram.get())).collect()
    }
}
