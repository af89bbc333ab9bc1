//! What a visitor asks of a page behind the `?`, and long lists in pieces. Pure.

use crate::html::{Html, element, text};
use crate::link;
use lake_proto::quantity::count;

/// The furthest that a list can be asked from: what is longer is searched, not paged.
const MOST_OFFSET: usize = 10_000_000;
const MOST_TEXT: usize = 1_000;

/// Pairs of a query string, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked(Vec<(String, String)>);

/// Why a page cannot be shown as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad(pub(crate) String);

impl Asked {
    /// Of these pairs, in their order.
    pub const fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Refuses every key that has a value and is none of these: one that is misspelt would change nothing, in silence.
    pub(crate) fn only(&self, keys: &[&'static str]) -> Result<(), Bad> {
        let strange = self.0.iter().find(|(key, value)| !value.trim().is_empty() && !keys.contains(&key.as_str()));
        match strange {
            None => Ok(()),
            Some((key, _)) => {
                let expected = keys.join(", ");
                Err(Bad(format!("'{}' is nothing that this page can be asked for: expected {expected}", shown(key))))
            }
        }
    }

    /// Every value of this key that is not empty.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.trim());
        values.filter(|value| !value.is_empty())
    }

    /// Whether this key is there with a value.
    pub fn has(&self, key: &str) -> bool {
        self.all(key).next().is_some()
    }

    /// The text of this key; empty when it is not there.
    pub(crate) fn text(&self, key: &str) -> Result<String, Bad> {
        let value = self.all(key).next().unwrap_or_default();
        if value.len() > MOST_TEXT {
            return Err(Bad(format!("'{key}' has {} bytes: expected at most {MOST_TEXT}", value.len())));
        }
        Ok(value.to_owned())
    }

    /// One of these words, in any case; the first one when the key is not there.
    pub(crate) fn word(&self, key: &str, words: &[&'static str]) -> Result<&'static str, Bad> {
        let Some(value) = self.all(key).next() else { return Ok(words.first().copied().unwrap_or_default()) };
        let found = words.iter().find(|word| word.eq_ignore_ascii_case(value)).copied();
        found.ok_or_else(|| Bad(format!("'{key}' is '{}': expected {}", shown(value), words.join(", "))))
    }

    /// The number of this key, which must be in the range.
    pub(crate) fn number(&self, key: &str, least: usize, most: usize) -> Result<Option<usize>, Bad> {
        let Some(value) = self.all(key).next() else { return Ok(None) };
        let found = value.parse::<usize>().ok().filter(|found| (least..=most).contains(found));
        match found {
            Some(found) => Ok(Some(found)),
            None => Err(Bad(format!(
                "'{key}' is '{}': expected a whole number from {} to {}",
                shown(value),
                count_of(least),
                count_of(most)
            ))),
        }
    }
}

fn shown(value: &str) -> String {
    value.chars().take(100).collect()
}

fn count_of(number: usize) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}

/// A piece of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many are before it.
    pub offset: usize,
    /// How many it has at most.
    pub limit: usize,
}

impl Window {
    /// As asked by `offset` and `limit`.
    ///
    /// # Errors
    /// When one of them is not a number, or too large.
    pub(crate) fn of(asked: &Asked, limit: usize, most: usize) -> Result<Self, Bad> {
        Ok(Self {
            offset: asked.number("offset", 0, MOST_OFFSET)?.unwrap_or(0),
            limit: asked.number("limit", 1, most)?.unwrap_or(limit),
        })
    }

    /// `1–100 of 1,234`.
    pub(crate) fn remark(&self, shown: usize, total: usize) -> String {
        if shown == total {
            return count_of(total);
        }
        if shown == 0 {
            return format!("none of {} from number {} on", count_of(total), count_of(self.offset + 1));
        }
        format!("{}–{} of {}", count_of(self.offset + 1), count_of(self.offset + shown), count_of(total))
    }

    /// Links to the pieces before and after; nothing when this is all.
    pub(crate) fn turns(&self, label: &'static str, path: &str, kept: &[(&str, String)], total: usize) -> Html {
        if self.offset == 0 && total <= self.limit {
            return Html::default();
        }
        let to = |offset: usize, words: &'static str, rel: &'static str| {
            let mut pairs = kept.to_vec();
            pairs.push(("offset", if offset == 0 { String::new() } else { offset.to_string() }));
            element("a", &[("href", &link::asked(path, &pairs)), ("rel", rel)], &[text(words)])
        };
        let last = (total.saturating_sub(1) / self.limit) * self.limit;
        let mut links = Html::default();
        if self.offset > 0 {
            links.push(&to(0, "« First", "first"));
            links.push(&to(self.offset.saturating_sub(self.limit).min(last), "‹ Previous", "prev"));
        }
        if self.offset.saturating_add(self.limit) < total {
            links.push(&to(self.offset + self.limit, "Next ›", "next"));
            links.push(&to(last, "Last »", "last"));
        }
        element("nav", &[("class", "turns"), ("aria-label", label)], &[links])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        Asked::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_is_no_number_or_too_large_is_refused_with_what_was_expected() {
        assert_eq!(Window::of(&asked(&[]), 100, 1_000), Ok(Window { offset: 0, limit: 100 }));
        let window = Window::of(&asked(&[("offset", " 30 "), ("limit", "5")]), 100, 1_000);
        assert_eq!(window, Ok(Window { offset: 30, limit: 5 }));
        for (key, value) in [
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "-1"),
            ("limit", "1e3"),
            ("offset", "99999999999999999999999"),
            ("offset", "10000001"),
            ("offset", "<b>"),
        ] {
            let Err(Bad(why)) = Window::of(&asked(&[(key, value)]), 100, 1_000) else { panic!("{key}={value}") };
            assert!(why.contains(key) && why.contains(value) && why.contains("a whole number from"), "{why}");
        }
        assert!(asked(&[("text", &"x".repeat(1_001))]).text("text").is_err());
        assert_eq!(asked(&[("s", "Rows")]).word("s", &["time", "rows"]), Ok("rows"));
        assert_eq!(asked(&[]).word("s", &["time", "rows"]), Ok("time"));
        assert!(asked(&[("s", "x")]).word("s", &["time", "rows"]).is_err());
    }

    #[test]
    fn a_key_that_the_page_does_not_know_is_refused_with_those_it_knows() {
        let keys = ["state", "text"];
        assert_eq!(asked(&[("state", "x"), ("text", "y"), ("state", "z"), ("else", " ")]).only(&keys), Ok(()));
        let Err(Bad(why)) = asked(&[("state", "x"), ("status", "FAILED")]).only(&keys) else { panic!("it is known") };
        assert!(why.starts_with("'status' ") && why.ends_with("expected state, text"), "{why}");
    }

    #[test]
    fn a_list_in_pieces_leads_to_the_others() {
        let links = |offset, limit, total| {
            let page = Window { offset, limit }.turns("Pages", "/history", &[("state", "FAILED".to_owned())], total);
            page.into_string()
        };
        assert_eq!(links(0, 100, 100), "");
        let first = links(0, 100, 250);
        assert!(first.contains("href=\"/history?state=FAILED&amp;offset=100\" rel=\"next\""), "{first}");
        assert!(first.contains("offset=200\" rel=\"last\"") && !first.contains("rel=\"prev\""), "{first}");
        let last = links(200, 100, 250);
        assert!(last.contains("offset=100\" rel=\"prev\"") && !last.contains("rel=\"next\""), "{last}");
        assert!(last.contains("href=\"/history?state=FAILED\" rel=\"first\""), "{last}");
        let beyond = links(900, 100, 250);
        assert!(beyond.contains("offset=200\" rel=\"prev\""), "{beyond}");
    }

    #[test]
    fn a_remark_says_which_piece_it_is() {
        let remark = |offset, shown, total| Window { offset, limit: 100 }.remark(shown, total);
        assert_eq!(remark(0, 30, 30), "30");
        assert_eq!(remark(1_000, 100, 2_345), "1,001–1,100 of 2,345");
        assert_eq!(remark(500, 0, 30), "none of 30 from number 501 on");
    }
}
