//! Which applications a list has: Spark's parameters and ours. Pure.

use lake_proto::Fault;
use lake_record::ApplicationSummary;

use crate::parameter::{Kind, Parameter, Query};

const OVER: [&str; 4] = ["FINISHED", "FAILED", "KILLED", "ERROR"];
const NOT_OVER: [&str; 3] = ["SUBMITTED", "RUNNING", "RELAUNCHING"];

/// States, or Spark's two groups of them.
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Words(&[
        "running",
        "completed",
        "SUBMITTED",
        "RUNNING",
        "RELAUNCHING",
        "FINISHED",
        "FAILED",
        "KILLED",
        "ERROR",
    ]),
    about: "States. In lower case, 'running' is every application that has not ended, and 'completed' every other one, as in \
            Spark.",
};

/// Part of a name.
pub const SEARCH: Parameter =
    Parameter { name: "search", kind: Kind::Text, about: "What the name or the id of the application has in it." };

/// The earliest start.
pub const MIN_DATE: Parameter =
    Parameter { name: "minDate", kind: Kind::Moment, about: "The earliest time at which the application began." };

/// The latest start.
pub const MAX_DATE: Parameter =
    Parameter { name: "maxDate", kind: Kind::Moment, about: "The latest time at which the application began." };

/// The earliest end.
pub const MIN_END_DATE: Parameter =
    Parameter { name: "minEndDate", kind: Kind::Moment, about: "The earliest time at which the application ended." };

/// The latest end.
pub const MAX_END_DATE: Parameter =
    Parameter { name: "maxEndDate", kind: Kind::Moment, about: "The latest time at which the application ended." };

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In these states; empty = in any.
    pub states: Vec<String>,
    /// With this in the name or id.
    pub text: String,
    dates: Dates,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Dates {
    min: Option<i64>,
    max: Option<i64>,
    min_end: Option<i64>,
    max_end: Option<i64>,
}

impl Filter {
    /// What a request asks for.
    ///
    /// # Errors
    /// `invalid-job/parameter` for a state or date that is none.
    pub fn of(query: &Query) -> Result<Self, Fault> {
        let mut states: Vec<String> = Vec::new();
        for word in query.words(&STATUS)? {
            match word {
                "running" => states.extend(NOT_OVER.map(str::to_owned)),
                _ if word.eq_ignore_ascii_case("completed") => states.extend(OVER.map(str::to_owned)),
                _ => states.push(word.to_ascii_uppercase()),
            }
        }
        states.sort_unstable();
        states.dedup();
        let dates = Dates {
            min: query.moment(&MIN_DATE)?,
            max: query.moment(&MAX_DATE)?,
            min_end: query.moment(&MIN_END_DATE)?,
            max_end: query.moment(&MAX_END_DATE)?,
        };
        Ok(Self { states, text: query.text(&SEARCH).unwrap_or_default().to_owned(), dates })
    }

    /// Whether states and text say it all, so that nobody has to look at dates.
    pub fn has_dates(&self) -> bool {
        self.dates != Dates::default()
    }

    /// Whether an application of these states and this text began and ended when it should.
    pub fn admits(&self, summary: &ApplicationSummary) -> bool {
        let at = |at_ms: u64| i64::try_from(at_ms).unwrap_or(i64::MAX);
        let began = at(if summary.started_at_ms > 0 { summary.started_at_ms } else { summary.submitted_at_ms });
        let Dates { min, max, min_end, max_end } = self.dates;
        let ends_when_wanted = match (min_end, max_end) {
            (None, None) => true,
            _ if !summary.is_over() => false,
            (min, max) => is_within(at(summary.ended_at_ms), min, max),
        };
        is_within(began, min, max) && ends_when_wanted
    }
}

fn is_within(moment: i64, min: Option<i64>, max: Option<i64>) -> bool {
    min.is_none_or(|min| min <= moment) && max.is_none_or(|max| moment <= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn states(written: &str) -> String {
        Filter::of(&Query::of(written)).unwrap().states.join(" ")
    }

    #[test]
    fn sparks_words_in_lower_case_are_groups_and_states_are_themselves_in_any_case() {
        assert_eq!(states(""), "");
        assert_eq!(states("status=running"), "RELAUNCHING RUNNING SUBMITTED");
        assert_eq!(states("status=RUNNING"), "RUNNING");
        assert_eq!(states("status=completed"), "ERROR FAILED FINISHED KILLED");
        assert_eq!(states("status=COMPLETED&status=submitted"), "ERROR FAILED FINISHED KILLED SUBMITTED");
        assert_eq!(states("status=killed,Error"), "ERROR KILLED");
        assert!(Filter::of(&Query::of("status=stuck")).is_err());
    }

    #[test]
    fn dates_are_of_the_beginning_and_of_the_end() {
        let running = example::summary();
        let ended = ApplicationSummary { ended_at_ms: 90_000_000, ..running.clone() };
        let waiting = ApplicationSummary { started_at_ms: 0, submitted_at_ms: 2_000, ..running.clone() };
        let admits = |written: &str, summary: &ApplicationSummary| {
            let filter = Filter::of(&Query::of(written)).unwrap();
            assert!(filter.has_dates(), "{written}");
            filter.admits(summary)
        };
        for summary in [&running, &ended, &waiting] {
            assert!(admits("minDate=1970-01-01&maxDate=1970-01-01T00:00:02.000GMT", summary));
            assert!(!admits("minDate=1970-01-01T00:00:02.001GMT", summary));
            assert!(!admits("maxDate=1970-01-01T00:00:01.999GMT", summary));
        }
        assert!(admits("minEndDate=1970-01-02&maxEndDate=1970-01-03", &ended));
        assert!(!admits("minEndDate=1970-01-03", &ended) && !admits("minEndDate=1970-01-01", &running));
        assert!(Filter::of(&Query::of("minDate=yesterday")).is_err());
        assert!(!Filter::of(&Query::of("search=x")).unwrap().has_dates());
    }
}
