//! Small pieces of HTML. Pure. Text from outside goes in only through [`text`] and as the value of an attribute: both are
//! escaped.

mod table;
mod words;

use lake_web::escape;

pub(crate) use self::table::{Column, Order, table};
pub(crate) use self::words::{
    ago, badge, cause, dash, duration, failure, instant, is_on_request, nowrap, number, optional, quantity_of_bytes,
    share,
};

/// HTML that is safe to put into a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Html(String);

impl Html {
    /// Our own markup.
    pub(crate) fn raw(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    pub(crate) fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        let mut all = Self::default();
        parts.into_iter().for_each(|part| all.push(&part));
        all
    }
}

/// Text from anywhere.
pub(crate) fn text(content: impl AsRef<str>) -> Html {
    Html(escape(content.as_ref()))
}

/// An element with attributes whose names are ours and whose values are escaped.
pub(crate) fn element(name: &'static str, attributes: &[(&'static str, &str)], children: &[Html]) -> Html {
    let mut markup = opening(name, attributes);
    for child in children {
        markup.push_str(&child.0);
    }
    markup.push_str("</");
    markup.push_str(name);
    markup.push('>');
    Html(markup)
}

/// An element that has no content and no end, such as `input`.
pub(crate) fn void(name: &'static str, attributes: &[(&'static str, &str)]) -> Html {
    Html(opening(name, attributes))
}

fn opening(name: &'static str, attributes: &[(&'static str, &str)]) -> String {
    let mut markup = format!("<{name}");
    for (attribute, value) in attributes {
        markup.push(' ');
        markup.push_str(attribute);
        // What is there or not, and has no value.
        if !value.is_empty() || *attribute == "value" {
            markup.push_str("=\"");
            markup.push_str(&escape(value));
            markup.push('"');
        }
    }
    markup.push('>');
    markup
}

/// A link to a page of ours, or elsewhere.
pub(crate) fn link(href: &str, label: impl AsRef<str>) -> Html {
    element("a", &[("href", href)], &[text(label)])
}

/// Text in a class of ours.
pub(crate) fn span(class: &'static str, content: impl AsRef<str>) -> Html {
    element("span", &[("class", class)], &[text(content)])
}

/// A line of its own under what stands before it in its cell.
pub(crate) fn under(class: &'static str, content: Html) -> Html {
    if class.is_empty() { element("div", &[], &[content]) } else { element("div", &[("class", class)], &[content]) }
}

/// A heading with a remark.
pub(crate) fn heading(title: impl AsRef<str>, remark: impl AsRef<str>) -> Html {
    let mut parts = vec![text(title)];
    if !remark.as_ref().is_empty() {
        parts.push(element("small", &[], &[text(remark)]));
    }
    element("h2", &[], &parts)
}

/// A part of a page that links can name.
pub(crate) fn section(id: &str, title: impl AsRef<str>, remark: impl AsRef<str>, body: &[Html]) -> Html {
    let mut parts = vec![heading(title, remark)];
    parts.extend_from_slice(body);
    element("section", &[("id", id)], &parts)
}

/// Terms with their values.
pub(crate) fn facts(pairs: Vec<(&str, Html)>) -> Html {
    let mut list = Html::default();
    for (term, value) in pairs {
        let pair = [element("dt", &[], &[text(term)]), element("dd", &[], &[value])];
        list.push(&element("div", &[], &pair));
    }
    element("dl", &[], &[list])
}

/// A few figures that say how things stand.
pub(crate) fn tiles(figures: Vec<(String, String)>) -> Html {
    let mut list = Html::default();
    for (value, label) in figures {
        let parts = [element("b", &[], &[text(value)]), element("span", &[], &[text(label)])];
        list.push(&element("li", &[("class", "tile")], &parts));
    }
    element("ul", &[("class", "tiles")], &[list])
}

/// How full something is.
pub(crate) fn meter(used: u64, total: u64, label: &str) -> Html {
    let (value, max) = (used.min(total).to_string(), total.max(1).to_string());
    // The label says the same in words.
    let bar = element("progress", &[("value", &value), ("max", &max), ("aria-hidden", "true")], &[]);
    element("span", &[("class", "meter")], &[bar, element("span", &[], &[text(label)])])
}

/// A sentence where there is nothing to show.
pub(crate) fn empty(sentence: &'static str) -> Html {
    element("p", &[("class", "empty")], &[text(sentence)])
}

/// A place that scrolls by itself where it is wider than its page, also by keys, and is called `label` there.
pub(crate) fn scroll(label: &str, content: Html) -> Html {
    element("div", &[("class", "scroll"), ("role", "region"), ("aria-label", label), ("tabindex", "0")], &[content])
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
    fn a_page_shows_the_same_characters_as_a_terminal_does_and_keeps_line_ends_and_tabs() {
        for c in ('\0'..=char::MAX).filter(|c| !matches!(c, '\n' | '\r' | '\t')) {
            let is_shown = escape(&c.to_string()).starts_with("\\u{");
            assert_eq!(is_shown, lake_proto::visible::is_obeyed(c), "{}", c.escape_unicode());
        }
        assert_eq!(escape("\n\r\t"), "\n\r\t");
    }

    #[test]
    fn a_meter_of_nothing_is_empty_and_none_is_overfull() {
        assert!(meter(0, 0, "0 / 0").into_string().contains("<progress value=\"0\" max=\"1\" aria-hidden"));
        assert!(meter(9, 4, "9 / 4").into_string().contains("<progress value=\"4\" max=\"4\" aria-hidden"));
    }

    #[test]
    fn what_has_no_value_has_no_equals_sign_but_an_empty_field_does() {
        let field = void("input", &[("name", "text"), ("value", ""), ("checked", "")]);
        assert_eq!(field.into_string(), "<input name=\"text\" value=\"\" checked>");
    }
}
