//! Small pieces of HTML. Pure. Text from outside goes in only through [`text`], which escapes it.

use std::time::Duration;

use lake_proto::web::escape;
use lake_proto::{Fault, quantity};

/// HTML that is safe to put into a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Our own markup.
    pub(super) fn raw(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    pub(super) fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Text from anywhere.
pub(super) fn text(content: impl AsRef<str>) -> Html {
    Html(escape(content.as_ref()))
}

/// An element with attributes whose names are ours and whose values are escaped.
pub(super) fn element(name: &'static str, attributes: &[(&'static str, &str)], children: &[Html]) -> Html {
    let mut markup = format!("<{name}");
    for (attribute, value) in attributes {
        markup.push_str(&format!(" {attribute}=\"{}\"", text(value).0));
    }
    markup.push('>');
    for child in children {
        markup.push_str(&child.0);
    }
    markup.push_str(&format!("</{name}>"));
    Html(markup)
}

/// A table; nothing but `empty` when it has no rows.
pub(super) fn table(heads: &[&'static str], rows: Vec<Vec<Html>>, empty: &'static str) -> Html {
    if rows.is_empty() {
        return element("p", &[("class", "empty")], &[text(empty)]);
    }
    let mut head = Html::default();
    for title in heads {
        head.push(&element("th", &[], &[text(title)]));
    }
    let mut body = Html::default();
    for row in rows {
        let cells: Vec<Html> = row.into_iter().map(|cell| element("td", &[], &[cell])).collect();
        body.push(&element("tr", &[], &cells));
    }
    let table =
        element("table", &[], &[element("thead", &[], &[element("tr", &[], &[head])]), element("tbody", &[], &[body])]);
    element("div", &[("class", "scroll")], &[table])
}

/// A state as a coloured badge.
pub(super) fn badge(state: &str) -> Html {
    let class = match state {
        "RUNNING" | "COMMITTING" => "badge run",
        "FINISHED" | "COMMITTED" | "ALIVE" | "leader" => "badge good",
        "SKIPPED" | "FENCED" => "badge calm",
        "FAILED" | "ERROR" | "LOST" => "badge bad",
        "RELAUNCHING" | "KILLING" | "DRAINING" | "UNKNOWN" => "badge warn",
        _ => "badge",
    };
    element("span", &[("class", class)], &[text(state)])
}

/// How full something is.
pub(super) fn meter(used: u64, total: u64, label: &str) -> Html {
    let percent = used.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
    let width = format!("width:{percent}%");
    let bar = element("span", &[("class", "fill"), ("style", &width)], &[]);
    let bar = element("span", &[("class", "bar")], &[bar]);
    element("span", &[("class", "meter")], &[bar, element("span", &[], &[text(label)])])
}

/// A failure, with all that its reader needs.
pub(super) fn failure(fault: &Fault) -> Html {
    let class = element("strong", &[], &[text(fault.class.name())]);
    let code = element("code", &[], &[text(&fault.code)]);
    let head = element("div", &[], &[class, text(" · "), code]);
    element("div", &[("class", "failure")], &[head, element("pre", &[], &[text(&fault.message)])])
}

/// Milliseconds as people read them.
pub(super) fn duration(ms: u64) -> String {
    quantity::duration(Duration::from_millis(ms))
}

/// `2026-11-21 09:30:12` in UTC; a dash for 0.
pub(super) fn instant(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().filter(|at| *at > 0).and_then(chrono::DateTime::from_timestamp_millis);
    at.map_or_else(|| "–".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let hostile = "<script>alert('x')</script>\"&";
        let page = element("a", &[("href", hostile)], &[text(hostile)]).into_string();
        assert_eq!(page.matches('<').count(), 2);
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
    }

    #[test]
    fn times_are_readable() {
        assert_eq!([duration(350), duration(125_000)], ["350 ms", "2 min 05 s"]);
        assert_eq!([instant(0), instant(1_795_253_412_000)], ["–", "2026-11-21 09:30:12"]);
    }
}
