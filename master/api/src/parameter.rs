//! What may be asked for: parameters of queries, each with its range, and the values of one request. Pure.
//!
//! A handler reads a parameter by the description that the OpenAPI document has of it, so that the two cannot differ.

use lake_proto::{ErrorClass, Fault};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::date::Date;

/// The most items of one answer.
pub(crate) const MOST_ITEMS: u64 = 1_000;
/// The largest place where a list may begin.
const MOST_OFFSET: u64 = 1_000_000_000;

/// One parameter of the query part of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// As it is written.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it does.
    pub about: &'static str,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number in a range.
    Integer {
        /// At least.
        least: u64,
        /// At most.
        most: u64,
        /// When it is not given.
        default: u64,
    },
    /// Some of these words, in any case, given several times or separated by commas.
    Words(&'static [&'static str]),
    /// Anything.
    Text,
    /// A day or a moment.
    Moment,
    /// Numbers from 0 to 1, separated by commas.
    Quantiles {
        /// When it is not given.
        default: &'static str,
    },
}

/// How many items an answer has at most.
pub const LIMIT: Parameter = Parameter {
    name: "limit",
    kind: Kind::Integer { least: 1, most: MOST_ITEMS, default: 100 },
    about: "How many items the answer has at most.",
};

/// Where in the list an answer begins.
pub const OFFSET: Parameter = Parameter {
    name: "offset",
    kind: Kind::Integer { least: 0, most: MOST_OFFSET, default: 0 },
    about: "How many items are left out before the first one.",
};

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Items before it.
    pub offset: usize,
    /// Items in it, at most.
    pub limit: usize,
}

/// The values of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The values in the query part of a path, as it is written.
    pub fn of(written: &str) -> Self {
        Self(form_urlencoded::parse(written.as_bytes()).into_owned().collect())
    }

    /// The part of a list that is asked for.
    ///
    /// # Errors
    /// `invalid-job/parameter` when it is out of range.
    pub fn page(&self) -> Result<Page, Fault> {
        self.page_of(&LIMIT)
    }

    /// As [`Self::page`], where the limit has another name.
    ///
    /// # Errors
    /// `invalid-job/parameter` when it is out of range.
    pub(crate) fn page_of(&self, limit: &Parameter) -> Result<Page, Fault> {
        let (offset, limit) = (self.integer(&OFFSET)?, self.integer(limit)?);
        Ok(Page {
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }

    /// The value of a number, or its default.
    ///
    /// # Errors
    /// `invalid-job/parameter` when it is not in its range.
    pub(crate) fn integer(&self, parameter: &Parameter) -> Result<u64, Fault> {
        let Kind::Integer { least, most, default } = parameter.kind else { return Err(misread(parameter)) };
        let Some(text) = self.text(parameter) else { return Ok(default) };
        // A sign or a space is not part of a number here.
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| wrong(parameter, text, &format!("a number from {least} to {most}")))
    }

    /// The words that are given, as they are written; empty when none is.
    ///
    /// # Errors
    /// `invalid-job/parameter` for a word that is not known.
    pub(crate) fn words(&self, parameter: &Parameter) -> Result<Vec<&str>, Fault> {
        let Kind::Words(known) = parameter.kind else { return Err(misread(parameter)) };
        let given = self.0.iter().filter(|(name, _)| name == parameter.name).flat_map(|(_, value)| value.split(','));
        let mut words = Vec::new();
        for word in given.map(str::trim).filter(|word| !word.is_empty()) {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                return Err(wrong(parameter, word, &format!("one of {}", known.join(", "))));
            }
            words.push(word);
        }
        Ok(words)
    }

    /// The one word that is given, or nothing.
    ///
    /// # Errors
    /// `invalid-job/parameter` for a word that is not known, or several.
    pub(crate) fn word(&self, parameter: &Parameter) -> Result<Option<&str>, Fault> {
        let words = self.words(parameter)?;
        match words.as_slice() {
            [] => Ok(None),
            [word] => Ok(Some(*word)),
            _ => Err(wrong(parameter, &words.join(","), "one word")),
        }
    }

    /// A moment in milliseconds since 1970, or nothing.
    ///
    /// # Errors
    /// `invalid-job/parameter` when it is neither a day nor a moment.
    pub(crate) fn moment(&self, parameter: &Parameter) -> Result<Option<i64>, Fault> {
        let Some(text) = self.text(parameter) else { return Ok(None) };
        let date = Date::parse(text).ok_or_else(|| {
            wrong(parameter, text, "a day such as 2026-11-21 or a moment such as 2026-11-21T09:30:12.000GMT")
        })?;
        Ok(Some(date.epoch_ms()))
    }

    /// Numbers from 0 to 1.
    ///
    /// # Errors
    /// `invalid-job/parameter` for anything else, or more than 100 of them.
    pub(crate) fn quantiles(&self, parameter: &Parameter) -> Result<Vec<f64>, Fault> {
        const MOST: usize = 100;
        let Kind::Quantiles { default } = parameter.kind else { return Err(misread(parameter)) };
        let text = self.text(parameter).unwrap_or(default);
        let mut quantiles = Vec::new();
        for part in text.split(',').take(MOST + 1) {
            let number = part.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
            quantiles.push(number.ok_or_else(|| wrong(parameter, part, "numbers from 0 to 1, separated by commas"))?);
        }
        if quantiles.len() > MOST {
            return Err(wrong(parameter, text, &format!("at most {MOST} numbers")));
        }
        Ok(quantiles)
    }

    /// What is written, unless it is empty; of several the last one.
    pub(crate) fn text(&self, parameter: &Parameter) -> Option<&str> {
        let given = self.0.iter().rev().find(|(name, _)| name == parameter.name);
        given.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl Parameter {
    /// Its schema in the OpenAPI document.
    pub(crate) fn schema(&self) -> Value {
        match self.kind {
            Kind::Integer { least, most, default } => {
                json!({ "type": "integer", "minimum": least, "maximum": most, "default": default })
            }
            Kind::Words(known) => json!({ "type": "array", "items": { "type": "string", "enum": known } }),
            Kind::Text | Kind::Moment => json!({ "type": "string" }),
            Kind::Quantiles { default } => json!({ "type": "string", "default": default }),
        }
    }
}

fn wrong(parameter: &Parameter, found: &str, expected: &str) -> Fault {
    let found: String = found.chars().take(100).collect();
    let message = format!("parameter '{}' is '{found}': expected {expected}", parameter.name);
    Fault::new(ErrorClass::InvalidJob, "parameter", message)
}

/// A handler asks for a parameter by another kind than it has.
fn misread(parameter: &Parameter) -> Fault {
    debug_assert!(false, "parameter {} is read as what it is not", parameter.name);
    Fault::new(ErrorClass::Internal, "internal", format!("parameter '{}' cannot be read", parameter.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: Parameter = Parameter { name: "status", kind: Kind::Words(&["running", "COMPLETE"]), about: "" };
    const SHARES: Parameter = Parameter { name: "q", kind: Kind::Quantiles { default: "0.5" }, about: "" };
    const FROM: Parameter = Parameter { name: "minDate", kind: Kind::Moment, about: "" };

    #[test]
    fn pages_are_within_their_bounds_or_refused() {
        let page = |written: &str| Query::of(written).page();
        assert_eq!(page(""), Ok(Page { offset: 0, limit: 100 }));
        assert_eq!(page("limit=&offset="), Ok(Page { offset: 0, limit: 100 }));
        assert_eq!(page("limit=1000&offset=7"), Ok(Page { offset: 7, limit: 1_000 }));
        for written in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=%2B5",
            "limit=1e3",
            "limit=abc",
            "limit=5.0",
            "limit=18446744073709551616",
            "offset=-1",
            "offset=1000000001",
            "offset=NaN",
            "limit=10&limit=x",
        ] {
            let fault = page(written).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "parameter"), "{written}");
        }
        let fault = page(&format!("limit={}", "9".repeat(10_000))).unwrap_err();
        assert!(fault.message.len() < 300, "{fault}");
    }

    #[test]
    fn words_are_known_and_may_be_given_in_two_ways() {
        let words = |written: &str| Query::of(written).words(&STATUS).map(|words| words.join("+"));
        assert_eq!(words("").unwrap(), "");
        assert_eq!(words("status=RUNNING,complete&status=running").unwrap(), "RUNNING+complete+running");
        assert!(words("status=flying").unwrap_err().message.contains("expected one of running, COMPLETE"));
        let word = |written: &str| Query::of(written).word(&STATUS).map(|word| word.map(str::to_owned));
        assert_eq!(word("status=running"), Ok(Some("running".to_owned())));
        assert!(word("status=running,running").is_err());
    }

    #[test]
    fn quantiles_are_shares() {
        let of = |written: &str| Query::of(written).quantiles(&SHARES);
        assert_eq!(of("").unwrap(), [0.5]);
        assert_eq!(of("q=0,0.25, 1").unwrap(), [0.0, 0.25, 1.0]);
        for written in ["q=-0.1", "q=1.1", "q=NaN", "q=inf", "q=0.5,,0.6", "q=x"] {
            assert!(of(written).is_err(), "{written}");
        }
        assert!(of(&format!("q={}", ["0.5"; 101].join(","))).is_err());
        assert_eq!(of(&format!("q={}", ["0.5"; 100].join(","))).unwrap().len(), 100);
    }

    #[test]
    fn moments_and_escapes_are_read() {
        assert_eq!(Query::of("minDate=1970-01-02").moment(&FROM), Ok(Some(86_400_000)));
        assert_eq!(Query::of("").moment(&FROM), Ok(None));
        assert!(Query::of("minDate=soon").moment(&FROM).is_err());
        assert_eq!(Query::of("status=%72unning&x=%zz%").words(&STATUS).unwrap(), ["running"]);
    }
}
