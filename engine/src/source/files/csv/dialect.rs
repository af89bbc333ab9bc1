//! Which characters of CSV text have a meaning, and what a quoted field says with them. Pure.

use lake_job::CsvOptions;
use memchr::memchr2;

use crate::{EngineError, Result};

/// The characters that have a meaning.
#[derive(Debug, Clone)]
pub(in super::super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    pub(super) multiline: bool,
}

impl Dialect {
    /// The dialect of a source's options.
    ///
    /// # Errors
    /// `invalid-job` for a character that is not ASCII, or one with two meanings.
    pub(in super::super) fn new(options: &CsvOptions) -> Result<Self> {
        let byte = |name: &str, character: char| {
            let byte = u8::try_from(character).ok().filter(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'\r'));
            byte.ok_or_else(|| {
                EngineError::invalid("csv-options", format!("csv {name} {character:?} is not an ASCII character"))
            })
        };
        let dialect = Self {
            delimiter: byte("delimiter", options.delimiter)?,
            quote: byte("quote", options.quote)?,
            escape: options.escape.map(|escape| byte("escape", escape)).transpose()?,
            comment: options.comment.map(|comment| byte("comment", comment)).transpose()?,
            multiline: options.multiline,
        };
        if dialect.delimiter == dialect.quote || dialect.escape == Some(dialect.delimiter) {
            let message = format!("csv delimiter {:?} is also the quote or the escape", options.delimiter);
            return Err(EngineError::invalid("csv-options", message));
        }
        Ok(Self { escape: dialect.escape.filter(|escape| *escape != dialect.quote), ..dialect })
    }
}

/// The value of a field that begins with a quote, or `None` when it is malformed. Borrowed from `scratch` when it had
/// to be unescaped.
pub(in super::super) fn unquote<'a>(raw: &'a str, dialect: &Dialect, scratch: &'a mut String) -> Option<&'a str> {
    let quote = char::from(dialect.quote);
    let inner = raw.strip_prefix(quote)?.strip_suffix(quote)?;
    let escape = dialect.escape.unwrap_or(dialect.quote);
    if memchr2(dialect.quote, escape, inner.as_bytes()).is_none() {
        return Some(inner);
    }
    scratch.clear();
    let mut rest = inner;
    while let Some(at) = memchr2(dialect.quote, escape, rest.as_bytes()) {
        let (before, marked) = rest.split_at_checked(at)?;
        scratch.push_str(before);
        let mut characters = marked.chars();
        let mark = characters.next()?;
        let next = characters.next()?;
        if next == quote || (dialect.escape.is_some() && mark != quote && next == mark) {
            scratch.push(next);
        } else if mark == quote {
            return None;
        } else {
            // An escape before any other character means nothing and stays.
            scratch.extend([mark, next]);
        }
        rest = characters.as_str();
    }
    scratch.push_str(rest);
    Some(scratch)
}
