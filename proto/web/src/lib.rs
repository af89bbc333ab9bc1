//! What our web pages have in common: their look, the few lines that keep them fresh, and escaping. Pure.
//!
//! Never here: what a page shows.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

/// A file that pages refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// What it is.
    pub content_type: &'static str,
    /// Its text.
    pub content: &'static str,
}

/// Every file that pages refer to, and the one that browsers ask for beside answers that are no pages.
pub const ASSETS: [Asset; 4] = [
    Asset { path: "/style.css", content_type: "text/css; charset=utf-8", content: include_str!("style.css") },
    Asset { path: "/refresh.js", content_type: "text/javascript; charset=utf-8", content: include_str!("refresh.js") },
    Asset { path: "/favicon.svg", content_type: "image/svg+xml", content: include_str!("icon.svg") },
    Asset { path: "/favicon.ico", content_type: "image/svg+xml", content: include_str!("icon.svg") },
];

/// The start of a page, up to its title.
pub const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
     <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
     <meta name=\"color-scheme\" content=\"light dark\">\
     <link rel=\"icon\" type=\"image/svg+xml\" href=\"/favicon.svg\"><link rel=\"stylesheet\" href=\"/style.css\">\
     <script src=\"/refresh.js\" defer></script>";

/// Three layers of water, to stand before the name of a page.
pub const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.2\" \
     stroke-linecap=\"round\" aria-hidden=\"true\"><path d=\"M2 7c3.3-3 6.7 3 10 0s6.7-3 10 0M2 12.5c3.3-3 6.7 3 10 0s6.7-3 \
     10 0M2 18c3.3-3 6.7 3 10 0s6.7-3 10 0\"/></svg>";

/// Where the script says that the page is no longer fresh.
pub const SILENT: &str = "<p id=\"silent\" class=\"notice\" role=\"alert\" hidden></p>";

/// Text from anywhere as HTML, in elements and in quoted attributes. What a browser would obey in silence, as the marks that
/// turn the direction of writing, is shown as `\u{202e}`; line ends and tabs stay.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\r' | '\t' => escaped.push(c),
            unseen if is_unseen(unseen) => escaped.extend(unseen.escape_unicode()),
            other => escaped.push(other),
        }
    }
    escaped
}

/// As `lake_proto::visible` has it, of which this crate knows nothing: it stands on no other.
fn is_unseen(c: char) -> bool {
    let is_bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidirectional || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_become_markup() {
        assert_eq!(escape("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
        assert_eq!(escape("grün"), "grün");
    }

    #[test]
    fn what_turns_the_direction_of_a_page_or_is_not_seen_is_shown() {
        assert_eq!(escape("a\u{202e}b\u{1b}[2J\u{2066}c\0"), "a\\u{202e}b\\u{1b}[2J\\u{2066}c\\u{0}");
        assert_eq!(escape("one\n\ttwo\r\nשלום"), "one\n\ttwo\r\nשלום");
    }

    #[test]
    fn pages_refer_to_nothing_but_files_that_are_served() {
        for (reference, rest) in HEAD.match_indices("=\"/").map(|(at, _)| HEAD.split_at(at + 2)) {
            let path = rest.split('"').next().unwrap();
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{path} after {reference}");
        }
        for asset in ASSETS {
            assert!(!asset.content.contains("url(") && !asset.content.contains("@import"), "{}", asset.path);
        }
    }
}
