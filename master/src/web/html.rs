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

/// A column by its title; numbers stand at the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) => title,
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Text(_) => "",
            Self::Number(_) => "n",
        }
    }
}

/// A table whose first column names its rows; nothing but `empty` when it has none. Where it is wider than its page it
/// scrolls, also by keys, and is called `label` there.
pub(super) fn table(label: &'static str, columns: &[Column], rows: Vec<Vec<Html>>, empty: &'static str) -> Html {
    if rows.is_empty() {
        return element("p", &[("class", "empty")], &[text(empty)]);
    }
    let mut head = Html::default();
    for column in columns {
        head.push(&cell("th", Some("col"), *column, text(column.title())));
    }
    let mut body = Html::default();
    for row in rows {
        let mut cells = Html::default();
        for (index, (column, content)) in columns.iter().zip(row).enumerate() {
            cells.push(&match index {
                0 => cell("th", Some("row"), *column, content),
                _ => cell("td", None, *column, content),
            });
        }
        body.push(&element("tr", &[], &[cells]));
    }
    let table =
        element("table", &[], &[element("thead", &[], &[element("tr", &[], &[head])]), element("tbody", &[], &[body])]);
    element("div", &[("class", "scroll"), ("role", "region"), ("aria-label", label), ("tabindex", "0")], &[table])
}

fn cell(name: &'static str, scope: Option<&'static str>, column: Column, content: Html) -> Html {
    let mut attributes = Vec::new();
    if let Some(scope) = scope {
        attributes.push(("scope", scope));
    }
    if !column.class().is_empty() {
        attributes.push(("class", column.class()));
    }
    element(name, &attributes, &[content])
}

/// A state as a coloured badge.
pub(super) fn badge(state: &str) -> Html {
    let class = match state {
        "RUNNING" | "COMMITTING" => "badge run",
        "FINISHED" | "COMMITTED" | "ALIVE" | "leader" => "badge good",
        "FAILED" | "ERROR" | "LOST" => "badge bad",
        "RELAUNCHING" | "KILLING" | "DRAINING" => "badge warn",
        _ => "badge",
    };
    element("span", &[("class", class)], &[text(state)])
}

/// How full something is.
pub(super) fn meter(used: u64, total: u64, label: &str) -> Html {
    let (value, max) = (used.min(total).to_string(), total.max(1).to_string());
    // The label says the same in words.
    let bar = element("progress", &[("value", &value), ("max", &max), ("aria-hidden", "true")], &[]);
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

/// `2026-11-21 09:30:12` in UTC, for programs too; a dash for 0.
pub(super) fn instant(at_ms: u64) -> Html {
    let at = i64::try_from(at_ms).ok().filter(|at| *at > 0).and_then(chrono::DateTime::from_timestamp_millis);
    let Some(at) = at else { return text("–") };
    let exact = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let shown = at.format("%Y-%m-%d %H:%M:%S").to_string();
    element("time", &[("datetime", &exact), ("class", "nowrap")], &[text(shown)])
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
        assert_eq!(instant(0), text("–"));
        let expected = "<time datetime=\"2026-11-21T09:30:12Z\" class=\"nowrap\">2026-11-21 09:30:12</time>";
        assert_eq!(instant(1_795_253_412_000).into_string(), expected);
    }

    #[test]
    fn a_table_names_its_columns_and_rows_and_is_reached_by_keys() {
        let rows = vec![vec![text("a"), text("1")]];
        let page = table("Things", &[Column::Text("Thing"), Column::Number("Count")], rows, "none").into_string();
        for expected in [
            "<div class=\"scroll\" role=\"region\" aria-label=\"Things\" tabindex=\"0\">",
            "<th scope=\"col\">Thing</th><th scope=\"col\" class=\"n\">Count</th>",
            "<th scope=\"row\">a</th><td class=\"n\">1</td>",
        ] {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
        assert_eq!(table("Things", &[], vec![], "none").into_string(), "<p class=\"empty\">none</p>");
    }

    #[test]
    fn a_meter_of_nothing_is_empty_and_none_is_overfull() {
        assert!(meter(0, 0, "0 / 0").into_string().contains("<progress value=\"0\" max=\"1\" aria-hidden"));
        assert!(meter(9, 4, "9 / 4").into_string().contains("<progress value=\"4\" max=\"4\" aria-hidden"));
    }
}
