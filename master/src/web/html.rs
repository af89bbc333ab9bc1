//! Small pieces of HTML. Pure. Text from outside goes in only through [`text`], which escapes it.

use std::time::Duration;

use lake_proto::Fault;

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
    let mut escaped = String::with_capacity(content.as_ref().len());
    for c in content.as_ref().chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    Html(escaped)
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
        "FINISHED" | "COMMITTED" | "ALIVE" => "badge good",
        "SKIPPED" => "badge calm",
        "FAILED" | "ERROR" | "LOST" => "badge bad",
        "RELAUNCHING" | "KILLING" => "badge warn",
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

/// `1.5 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = "KiB";
    for larger in UNITS.into_iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `12 345 678`.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `2 min 5 s`, `350 ms`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1_000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
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
    fn quantities_are_readable() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(8 << 30)], ["0 B", "1023 B", "1.5 KiB", "8.0 GiB"]);
        assert_eq!([number(7), number(1_234), number(12_345_678)], ["7", "1\u{202f}234", "12\u{202f}345\u{202f}678"]);
        assert_eq!([duration(350), duration(1_250), duration(125_000)], ["350 ms", "1.2 s", "2 min 5 s"]);
        assert_eq!([instant(0), instant(1_795_253_412_000)], ["–", "2026-11-21 09:30:12"]);
    }
}
