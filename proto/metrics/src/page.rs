//! Prometheus' text format, version 0.0.4. Pure.

use std::fmt::{self, Write as _};

use crate::declared::{Kind, Metric};
use crate::instrument::Distribution;

/// The content type of a page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub struct Page(String);

/// A value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number, exact.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl Page {
    /// Metrics one after the other; each of them once on a page.
    pub fn new() -> Self {
        Self::default()
    }

    /// A metric without labels.
    pub fn value(&mut self, metric: &Metric, value: impl Into<Value>) {
        self.family(metric).value(&[], value);
    }

    /// A metric, to which values by label are added; it may have none.
    pub fn family(&mut self, metric: &Metric) -> Family<'_> {
        let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {} {help}\n# TYPE {} {}", metric.name, metric.name, metric.kind.name());
        Family { text: &mut self.0, metric: *metric }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    metric: Metric,
}

impl Family<'_> {
    /// One sample; `labels` are values in the order of the metric's labels.
    pub fn value(&mut self, labels: &[&str], value: impl Into<Value>) -> &mut Self {
        debug_assert_ne!(self.metric.kind, Kind::Histogram, "{} is a histogram", self.metric.name);
        self.sample("", labels, None, value.into());
        self
    }

    /// One histogram; `labels` as in [`Self::value`].
    pub fn distribution(&mut self, labels: &[&str], distribution: &Distribution) -> &mut Self {
        debug_assert_eq!(self.metric.kind, Kind::Histogram, "{} is not a histogram", self.metric.name);
        for (bound, count) in &distribution.buckets {
            self.sample("_bucket", labels, Some(&bound.to_string()), Value::Whole(*count));
        }
        self.sample("_bucket", labels, Some("+Inf"), Value::Whole(distribution.count));
        self.sample("_sum", labels, None, Value::Real(distribution.sum_seconds));
        self.sample("_count", labels, None, Value::Whole(distribution.count));
        self
    }

    fn sample(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: Value) {
        let names = self.metric.labels;
        debug_assert_eq!(names.len(), labels.len(), "labels of {}", self.metric.name);
        let pairs = names.iter().copied().zip(labels.iter().copied()).chain(bound.map(|bound| ("le", bound)));
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let mut opening = '{';
        for (name, value) in pairs {
            self.text.push(opening);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape_into(self.text, value);
            self.text.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, " {value}");
    }
}

fn escape_into(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => fmt::Display::fmt(number, f),
            Self::Real(number) if number.is_nan() => f.write_str("NaN"),
            Self::Real(number) if number.is_infinite() => f.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" }),
            Self::Real(number) => fmt::Display::fmt(number, f),
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Whole(u64::from(is_so))
    }
}
