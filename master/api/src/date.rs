//! Moments as Spark's API writes and reads them. Pure.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Milliseconds since 1970, written as `2026-11-21T09:30:12.000GMT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(i64);

impl Date {
    /// What Spark writes where something has not happened yet: a millisecond before 1970.
    pub(crate) const NEVER: Self = Self(-1);

    /// At this moment.
    pub(crate) fn at(at_ms: u64) -> Self {
        Self(i64::try_from(at_ms).unwrap_or(i64::MAX))
    }

    /// At this moment, unless it is 0, which means that it has not come.
    pub(crate) fn if_past(at_ms: u64) -> Option<Self> {
        (at_ms > 0).then(|| Self::at(at_ms))
    }

    /// Milliseconds since 1970.
    pub(crate) const fn epoch_ms(self) -> i64 {
        self.0
    }

    /// A day, as its first moment, or a moment: `2026-11-21`, `2026-11-21T09:30:12.000GMT`, with `Z`, `UTC` or an offset
    /// such as `+01:00` for `GMT`, with or without parts of seconds.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = |moment: NaiveDateTime| Self(moment.and_utc().timestamp_millis());
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(at(day.and_time(NaiveTime::MIN)));
        }
        let zoneless = ["GMT", "UTC", "Z"].iter().find_map(|zone| text.strip_suffix(zone));
        match zoneless {
            Some(moment) => NaiveDateTime::parse_from_str(moment, "%Y-%m-%dT%H:%M:%S%.f").ok().map(at),
            None => DateTime::parse_from_rfc3339(text).ok().map(|moment| Self(moment.timestamp_millis())),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond what a calendar has there is only damage, which need not be readable.
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        write!(f, "{}", moment.format("%Y-%m-%dT%H:%M:%S%.3fGMT"))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Date {
    fn schema_name() -> Cow<'static, str> {
        "Date".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A moment in Greenwich; one before 1970 has not come yet.",
            "examples": ["2026-11-21T09:30:12.000GMT"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_spark_writes_them() {
        assert_eq!(Date::at(1_795_253_412_000).to_string(), "2026-11-21T09:30:12.000GMT");
        assert_eq!(Date::NEVER.to_string(), "1969-12-31T23:59:59.999GMT");
        assert_eq!((Date::if_past(0), Date::if_past(1)), (None, Some(Date(1))));
        assert!(Date::at(u64::MAX).to_string().ends_with("GMT"));
    }

    #[test]
    fn days_and_moments_are_read_in_every_zone() {
        let expected = Date::at(1_795_253_412_000);
        for text in [
            "2026-11-21T09:30:12.000GMT",
            "2026-11-21T09:30:12GMT",
            "2026-11-21T09:30:12.000Z",
            "2026-11-21T09:30:12.000UTC",
            "2026-11-21T10:30:12.000+01:00",
            " 2026-11-21T09:30:12Z ",
        ] {
            assert_eq!(Date::parse(text), Some(expected), "{text}");
        }
        assert_eq!(Date::parse("1970-01-02"), Some(Date(86_400_000)));
        for text in ["", "today", "2026-13-01", "2026-11-21T25:00:00Z", "2026-11-21T09:30:12", "1795253412000", "-1"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
