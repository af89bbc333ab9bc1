//! Finds records and fields in CSV text: eight bytes at a time, without copying and without interpreting. Pure.
//!
//! RFC 4180 with an optional escape character and comments. A record is a line, unless line breaks inside quotes are
//! allowed. Empty lines are not records.

use memchr::{memchr, memchr2, memchr3};

use super::dialect::{Dialect, unquote};
use super::scanner::Scanner;

/// Set in a field's end when the field begins with a quote.
const QUOTED: u32 = 1 << 31;
const OFFSET: u32 = QUOTED - 1;

/// What is wrong with the shape of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Malformed {
    /// Fewer fields than columns; the number found.
    TooFew(usize),
    /// More fields than columns; the number found.
    TooMany(usize),
    /// A quote that does not end before the line or the file does.
    OpenQuote,
    /// Text between a closing quote and the next delimiter.
    AfterQuote,
}

/// Where to stop.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    /// Records at most.
    pub records: usize,
    /// A record that starts here or later is not ours.
    pub owned_until: usize,
    /// Nothing follows the text: its last record needs no line end.
    pub is_last: bool,
}

/// Records of one text, each with the same number of fields; reusable.
#[derive(Debug, Default)]
pub(in super::super) struct Records {
    /// Per record `width + 1` offsets: field `i` lies between offset `i` and one before offset `i + 1`.
    bounds: Vec<u32>,
    width: usize,
    /// Start and end of every record without its line end.
    spans: Vec<(u32, u32)>,
    /// Records whose shape is wrong, ascending; short ones are filled with empty fields, long ones cut.
    malformed: Vec<(usize, Malformed)>,
    consumed: usize,
    reached_end: bool,
}

impl Records {
    /// Number of records.
    pub(in super::super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Bytes that need not be seen again.
    pub(in super::super) fn consumed(&self) -> usize {
        self.consumed
    }

    /// Whether the next record is not ours.
    pub(in super::super) fn reached_end(&self) -> bool {
        self.reached_end
    }

    /// Records whose shape is wrong, ascending.
    pub(in super::super) fn malformed(&self) -> &[(usize, Malformed)] {
        &self.malformed
    }

    /// The bytes of a record within the text.
    pub(in super::super) fn span(&self, record: usize) -> std::ops::Range<usize> {
        self.spans.get(record).map_or(0..0, |(start, end)| *start as usize..*end as usize)
    }

    /// The bytes of a field within the text, and whether it begins with a quote.
    #[inline]
    pub(in super::super) fn field(&self, record: usize, field: usize) -> (usize, usize, bool) {
        let at = record * (self.width + 1) + field;
        match self.bounds.get(at..at + 2) {
            Some([start, end]) => {
                ((start & OFFSET) as usize, ((end & OFFSET) as usize).saturating_sub(1), end & QUOTED != 0)
            }
            _ => (0, 0, false),
        }
    }

    fn clear(&mut self, width: usize) {
        self.bounds.clear();
        self.spans.clear();
        self.malformed.clear();
        self.width = width;
        self.consumed = 0;
        self.reached_end = false;
    }

    /// Takes back the fields of a record that is not complete in the text.
    fn forget(&mut self, mark: usize) {
        self.bounds.truncate(mark);
    }

    /// Gives a record exactly `width` fields.
    fn close(&mut self, mark: usize, start: u32, end: u32, mut problem: Option<Malformed>) {
        let found = self.bounds.len() - mark - 1;
        if found != self.width {
            problem =
                problem.or(Some(if found < self.width { Malformed::TooFew(found) } else { Malformed::TooMany(found) }));
            if found > self.width {
                self.bounds.truncate(mark + self.width + 1);
            } else {
                let last = self.bounds.last().map_or(0, |bound| bound & OFFSET);
                self.bounds.extend((1..).map(|more| last + more).take(self.width - found));
            }
        }
        if let Some(problem) = problem {
            self.malformed.push((self.spans.len(), problem));
        }
        self.spans.push((start, end));
    }
}

/// Finds the records of `text` from its start, which must be the start of a line. `text` is shorter than 1 GiB.
pub(in super::super) fn tokenize(text: &[u8], dialect: &Dialect, width: usize, limits: Limits, records: &mut Records) {
    records.clear(width);
    let mut scanner = Scanner::new(text, [dialect.delimiter, b'\n', dialect.quote]);
    let mut position = 0;
    while records.len() < limits.records && position < text.len() {
        if position >= limits.owned_until {
            records.reached_end = true;
            break;
        }
        let next = if dialect.comment.is_some() && text.get(position) == dialect.comment.as_ref() {
            let next = comment_end(text, position, limits.is_last);
            scanner.seek(next.unwrap_or(position));
            next
        } else {
            record(text, position, dialect, limits.is_last, &mut scanner, records)
        };
        match next {
            Some(next) => position = next,
            None => break,
        }
    }
    if position >= limits.owned_until {
        records.reached_end = true;
    }
    records.consumed = position;
}

fn comment_end(text: &[u8], position: usize, is_last: bool) -> Option<usize> {
    let rest = text.get(position..).unwrap_or_default();
    memchr(b'\n', rest).map(|at| position + at + 1).or(is_last.then_some(text.len()))
}

/// One record or empty line from `start`; the start of the next line, or `None` when it is not complete.
#[expect(clippy::cast_possible_truncation, reason = "the text is shorter than 1 GiB")]
#[inline]
fn record(
    text: &[u8],
    start: usize,
    dialect: &Dialect,
    is_last: bool,
    scanner: &mut Scanner<'_>,
    records: &mut Records,
) -> Option<usize> {
    let mark = records.bounds.len();
    records.bounds.push(start as u32);
    let mut field_start = start;
    let mut quoted = 0;
    let mut quote_end = 0;
    let mut problem = None;
    loop {
        let at = scanner.next();
        let byte = text.get(at).copied();
        if byte == Some(dialect.delimiter) {
            if quoted != 0 && quote_end != at {
                problem = problem.or(Some(Malformed::AfterQuote));
            }
            records.bounds.push((at + 1) as u32 | quoted);
            quoted = 0;
            field_start = at + 1;
        } else if byte == Some(dialect.quote) {
            // A quote inside an unquoted field is text.
            if at == field_start {
                quoted = QUOTED;
                match closing_quote(text, at + 1, dialect) {
                    Closing::At(close) => quote_end = close + 1,
                    Closing::LineEnd(end) => {
                        quote_end = end;
                        problem = Some(Malformed::OpenQuote);
                    }
                    Closing::Missing if is_last => {
                        quote_end = text.len();
                        problem = Some(Malformed::OpenQuote);
                    }
                    Closing::Missing => {
                        records.forget(mark);
                        return None;
                    }
                }
                scanner.seek(quote_end);
            }
        } else {
            if byte.is_none() && !is_last {
                records.forget(mark);
                return None;
            }
            let carriage = at > field_start && text.get(at - 1) == Some(&b'\r');
            let end = if carriage { at - 1 } else { at };
            let next = (at + 1).min(text.len());
            if records.bounds.len() == mark + 1 && end == field_start {
                records.forget(mark);
                return Some(next);
            }
            if quoted != 0 && quote_end != end && problem.is_none() {
                problem = Some(Malformed::AfterQuote);
            }
            records.bounds.push((end + 1) as u32 | quoted);
            records.close(mark, start as u32, end as u32, problem);
            return Some(next);
        }
    }
}

enum Closing {
    At(usize),
    LineEnd(usize),
    Missing,
}

/// Where a quoted field that starts at `from` ends.
fn closing_quote(text: &[u8], mut from: usize, dialect: &Dialect) -> Closing {
    let escape = dialect.escape.unwrap_or(dialect.quote);
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let found = if dialect.multiline {
            memchr2(dialect.quote, escape, rest)
        } else {
            memchr3(dialect.quote, escape, b'\n', rest)
        };
        let Some(at) = found.map(|at| from + at) else {
            return Closing::Missing;
        };
        let byte = text.get(at).copied();
        if byte == Some(b'\n') && !dialect.multiline {
            return Closing::LineEnd(at);
        }
        let following = text.get(at + 1).copied();
        if byte == Some(dialect.quote) {
            if following != Some(dialect.quote) {
                return Closing::At(at);
            }
            from = at + 2;
        } else if following == Some(b'\n') && !dialect.multiline {
            return Closing::LineEnd(at + 1);
        } else {
            from = (at + 2).min(text.len());
        }
    }
}

/// The fields of the first record of `text` and where the next line begins; `None` when it is not complete.
pub(in super::super) fn first_record(text: &[u8], dialect: &Dialect, is_last: bool) -> Option<(Vec<String>, usize)> {
    let limits = Limits { records: 1, owned_until: usize::MAX, is_last };
    let mut records = Records::default();
    tokenize(text, dialect, 0, limits, &mut records);
    let width = match records.malformed.first()? {
        (_, Malformed::TooMany(width)) => *width,
        _ => {
            // The shape is wrong, so its fields are counted with room for as many as there can be.
            let delimiters = records.span(0);
            let line = text.get(delimiters).unwrap_or_default();
            memchr::memchr_iter(dialect.delimiter, line).count() + 1
        }
    };
    tokenize(text, dialect, width, limits, &mut records);
    let mut scratch = String::new();
    let fields = (0..width).map(|field| {
        let (start, end, quoted) = records.field(0, field);
        let raw = String::from_utf8_lossy(text.get(start..end).unwrap_or_default());
        if quoted {
            unquote(&raw, dialect, &mut scratch).map_or_else(|| raw.to_string(), str::to_owned)
        } else {
            raw.into_owned()
        }
    });
    Some((fields.collect(), records.consumed()))
}

#[cfg(test)]
mod tests;
