//! A text value whose characters know where they were written, across TOML escapes and `${param}`. Pure.

use std::ops::Range;
use std::sync::Arc;

use super::{Place, SourceFile};

/// A text value.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Written through `${param}` or on the command line: where a number or a boolean is wanted, the text is read as
    /// one.
    pub(crate) is_substituted: bool,
    origin: Place,
    /// Ascending by `at`; the first one is at 0 for texts of files.
    segments: Vec<Segment>,
}

/// From byte `at` of the text on, characters were written at byte `source` of the file: one after the other when
/// `is_literal`, all at that one place (a parameter, an escape) when not.
#[derive(Debug, Clone, Copy)]
struct Segment {
    at: usize,
    source: usize,
    is_literal: bool,
}

impl Text {
    /// A whole file.
    pub(crate) fn whole(file: &Arc<SourceFile>) -> Self {
        let segments = vec![Segment { at: 0, source: 0, is_literal: true }];
        let origin = Place::File(file.clone(), 0);
        Self { text: file.text.clone(), is_substituted: false, origin, segments }
    }

    /// A text that was not written as a string of a file: every character has the same place.
    pub(crate) fn from_flag(text: String, place: Place) -> Self {
        Self { text, is_substituted: true, origin: place, segments: Vec::new() }
    }

    /// The TOML string whose token, quotes included, is at `span`.
    pub(crate) fn from_file(text: String, file: &Arc<SourceFile>, span: Range<usize>) -> Self {
        let token = file.text.get(span.clone()).unwrap_or_default();
        let segments = align(token, span.start, &text);
        Self { text, is_substituted: false, origin: Place::File(file.clone(), span.start), segments }
    }

    /// Where the character at byte `offset` was written.
    pub(crate) fn place_at(&self, offset: usize) -> Place {
        let index = self.segments.partition_point(|segment| segment.at <= offset);
        let segment = index.checked_sub(1).and_then(|index| self.segments.get(index));
        match (&self.origin, segment) {
            (Place::File(file, _), Some(segment)) => {
                let distance = if segment.is_literal { offset - segment.at } else { 0 };
                Place::File(file.clone(), segment.source + distance)
            }
            (origin, _) => origin.clone(),
        }
    }

    /// Where the character at this line and column (1-based, in characters) of the text was written.
    pub(crate) fn place_at_line(&self, line: u64, column: u64) -> Place {
        let line = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        let start: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        let rest = self.text.get(start..).unwrap_or_default();
        let inside: usize = rest.chars().take(column).map(char::len_utf8).sum();
        self.place_at(start + inside)
    }

    /// The same text with every range replaced: `pieces` are ascending ranges of bytes and what stands there instead.
    pub(crate) fn replaced(&self, pieces: &[(Range<usize>, String)]) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut segments = Vec::new();
        let mut from = 0;
        for (range, replacement) in pieces {
            self.copy(from..range.start, &mut text, &mut segments);
            if let Place::File(_, source) = self.place_at(range.start) {
                segments.push(Segment { at: text.len(), source, is_literal: false });
            }
            text.push_str(replacement);
            from = range.end;
        }
        self.copy(from..self.text.len(), &mut text, &mut segments);
        Self { text, is_substituted: true, origin: self.origin.clone(), segments }
    }

    fn copy(&self, range: Range<usize>, text: &mut String, segments: &mut Vec<Segment>) {
        let at = text.len();
        let first = self.segments.partition_point(|segment| segment.at <= range.start).saturating_sub(1);
        for segment in self.segments.iter().skip(first).take_while(|segment| segment.at < range.end) {
            let begin = segment.at.max(range.start);
            let distance = if segment.is_literal { begin - segment.at } else { 0 };
            segments.push(Segment { at: at + (begin - range.start), source: segment.source + distance, ..*segment });
        }
        text.push_str(self.text.get(range).unwrap_or_default());
    }
}

/// Segments of the string whose token begins at byte `start` of its file.
fn align(token: &str, start: usize, text: &str) -> Vec<Segment> {
    let quote = if token.starts_with("\"\"\"") || token.starts_with("'''") { 3 } else { 1 };
    let Some(content) = token.get(quote..token.len().saturating_sub(quote)) else {
        return vec![Segment { at: 0, source: start, is_literal: false }];
    };
    let first_break = match quote {
        3 if content.starts_with("\r\n") => 2,
        3 if content.starts_with('\n') => 1,
        _ => 0,
    };
    let content = content.get(first_break..).unwrap_or_default();
    let source = start + quote + first_break;
    if content == text {
        return vec![Segment { at: 0, source, is_literal: true }];
    }
    align_escapes(content, source, text)
}

fn align_escapes(content: &str, source: usize, text: &str) -> Vec<Segment> {
    let mut segments = vec![Segment { at: 0, source, is_literal: true }];
    let (mut at, mut read) = (0, 0);
    while let Some(rest) = content.get(read..).filter(|rest| !rest.is_empty()) {
        let Some(wanted) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let length = escape_length(rest);
        let found = rest.chars().next().unwrap_or(wanted);
        if length == 0 && found == wanted {
            at += found.len_utf8();
            read += found.len_utf8();
            continue;
        }
        match length {
            // A line break that was normalised.
            0 => read += found.len_utf8(),
            _ if rest.starts_with("\\\n") || rest.starts_with("\\\r") || rest.starts_with("\\ ") => read += length,
            _ => {
                segments.push(Segment { at, source: source + read, is_literal: false });
                at += wanted.len_utf8();
                read += length;
            }
        }
        segments.push(Segment { at, source: source + read, is_literal: true });
    }
    segments
}

/// Bytes of the TOML escape that `rest` begins with; 0 when it begins with none.
fn escape_length(rest: &str) -> usize {
    let Some(escaped) = rest.strip_prefix('\\') else { return 0 };
    match escaped.chars().next() {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(c) if c.is_whitespace() => 1 + escaped.len() - escaped.trim_start().len(),
        Some(c) => 1 + c.len_utf8(),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Node, parse};
    use crate::errors::Report;

    fn value(text: &str) -> Text {
        let tree: Node = parse(&SourceFile::new("job.toml", text), &mut Report::default()).expect("TOML");
        tree.get("sql").and_then(Node::text).cloned().expect("text")
    }

    fn shown(text: &Text, needle: &str) -> String {
        text.place_at(text.text.find(needle).expect("needle")).position().to_string()
    }

    #[test]
    fn characters_of_a_string_know_their_line_and_column() {
        assert_eq!(shown(&value("sql = \"SELECT x FROM y\""), "x"), "job.toml:1:15");
        assert_eq!(shown(&value("sql = '''\nSELECT\n  x FROM y'''"), "x"), "job.toml:3:3");
        assert_eq!(shown(&value("sql = \"\"\"SELECT\n  x FROM y\"\"\""), "x"), "job.toml:2:3");
    }

    #[test]
    fn escapes_do_not_shift_what_follows() {
        assert_eq!(shown(&value(r#"sql = "a \" \u00e9 x""#), "x"), "job.toml:1:20");
        assert_eq!(shown(&value("sql = \"\"\"\na \\\n   b \\t x\"\"\""), "x"), "job.toml:3:9");
        assert_eq!(shown(&value("sql = \"\"\"\r\na\r\nb x\"\"\""), "x"), "job.toml:3:3");
    }

    #[test]
    fn replaced_parts_keep_the_place_of_the_rest() {
        let text = value("sql = '''\nSELECT ${ds}, x\nFROM y'''");
        let start = text.text.find("${ds}").unwrap();
        let text = text.replaced(&[(start..start + 5, "'2026-01-01 and more'".to_owned())]);
        assert_eq!(text.text, "SELECT '2026-01-01 and more', x\nFROM y");
        assert_eq!(shown(&text, "and more"), "job.toml:2:8");
        assert_eq!(shown(&text, "x"), "job.toml:2:15");
        assert_eq!(shown(&text, "FROM"), "job.toml:3:1");
        assert_eq!(text.place_at_line(2, 6).position().to_string(), "job.toml:3:6");
    }
}
