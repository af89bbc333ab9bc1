//! What a driver printed: its end, which the script goes on with. Pure. Streams have names, never paths.

use lake_proto::Fault;
use lake_proto::quantity::bytes;
use lake_record::ApplicationSummary;

use crate::application::{shown_name, state};
use crate::asked::{Asked, Bad};
use crate::frame::{Freshness, Page, Place};
use crate::html::{Html, element, failure, link, text, void};
use crate::link as to;

/// Bytes of the end of a log that the page shows.
pub const TAIL_BYTES: u64 = 256 << 10;
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// What it says.
    pub content: String,
    /// Where in the log it begins, in bytes.
    pub offset: u64,
    /// Where it ends: what was printed since begins here.
    pub end: u64,
}

/// What the page of a log shows.
#[derive(Debug, Clone, Copy)]
pub struct Logs<'a> {
    /// Whose log it is.
    pub summary: &'a ApplicationSummary,
    /// `stdout` or `stderr`.
    pub stream: &'static str,
    /// Its end, or why there is none.
    pub tail: Result<&'a Tail, &'a Fault>,
}

/// The stream that is asked for by `stream`.
///
/// # Errors
/// When there is no stream of that name, or something else is asked for.
pub fn stream_of(asked: &Asked) -> Result<&'static str, Bad> {
    asked.only(&["stream", "offset", "download"])?;
    asked.word("stream", &STREAMS)
}

/// Where in a log to begin, in bytes, as asked for by `offset`.
///
/// # Errors
/// When it is not a number.
pub fn offset_of(asked: &Asked) -> Result<u64, Bad> {
    let offset = asked.number("offset", 0, usize::MAX)?;
    Ok(offset.map_or(0, |offset| u64::try_from(offset).unwrap_or(u64::MAX)))
}

/// The page.
pub fn logs(shown: &Logs<'_>) -> Page {
    let summary = shown.summary;
    let name = text(format!("{} of {} ", shown.stream, shown_name(summary)));
    let title = element("h1", &[], &[name, state(summary)]);
    let content = match shown.tail {
        Ok(tail) => shown.content(tail),
        Err(fault) => failure(fault),
    };
    let body = [
        element("div", &[("class", "title")], &[title]),
        shown.streams(),
        element("section", &[("id", "log")], &[content]),
    ];
    Page {
        title: format!("{} of the driver", shown.stream),
        place: Place::History,
        above: vec![
            ("Applications".to_owned(), to::route::HISTORY.to_owned()),
            (shown_name(summary).to_owned(), to::application(&summary.app_id)),
        ],
        body: body.into_iter().collect(),
        freshness: Freshness::Log,
    }
}

impl Logs<'_> {
    fn streams(&self) -> Html {
        let mut links = Html::default();
        for stream in STREAMS {
            let href = to::logs(&self.summary.app_id, stream);
            let mut attributes = vec![("href", href.as_str())];
            if stream == self.stream {
                attributes.push(("aria-current", "page"));
            }
            links.push(&element("a", &attributes, &[text(stream)]));
        }
        element("nav", &[("class", "within"), ("aria-label", "Streams")], &[links])
    }

    fn content(&self, tail: &Tail) -> Html {
        let source = to::log_text(&self.summary.app_id, self.stream);
        let whole = to::asked(&source, &[("download", "1".to_owned())]);
        // The script takes `hidden` away: without it, there is nothing to follow.
        let tick = void("input", &[("type", "checkbox"), ("id", "follow"), ("checked", "")]);
        let follow = element("label", &[("class", "follow"), ("hidden", "")], &[tick, text(" Follow")]);
        let download = element("a", &[("href", &whole), ("download", "")], &[text("Download the whole log")]);
        let size = element("span", &[("class", "soft")], &[text(format!("{} so far", bytes(tail.end)))]);
        let mut parts = vec![element("div", &[("class", "tools")], &[follow, download, size])];
        if tail.offset > 0 {
            let words = format!("Not shown before this: {}.", bytes(tail.offset));
            parts.push(element("p", &[("class", "notice")], &[text(words)]));
        }
        let next = tail.end.to_string();
        let again = link(&to::logs(&self.summary.app_id, self.stream), "Look again");
        let attributes = [
            ("class", "log"),
            ("tabindex", "0"),
            ("aria-label", "Log"),
            ("data-source", source.as_str()),
            ("data-next", next.as_str()),
            ("data-over", if self.summary.is_over() { "true" } else { "false" }),
        ];
        parts.push(element("pre", &attributes, &[text(&tail.content)]));
        parts.push(element("p", &[("class", "more")], &[again]));
        parts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
