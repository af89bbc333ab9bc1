//! What is wrong with a job, all of it at once: place, key, code, message, suggestion. Pure.
//!
//! Never here: rules of the format; they live where the key is read.

use std::fmt;

use lake_proto::quantity::counted;
use lake_proto::{ErrorClass, Fault};

/// Errors beyond this many are counted, not kept.
pub const MAX_ERRORS: usize = 100;

/// The stable short name of an error; docs/job-toml.md lists cause and remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// job.toml does not exist.
    JobFile,
    /// job.toml or a SQL file is larger than 1 MiB.
    TooLarge,
    /// A file is not UTF-8.
    NotUtf8,
    /// The text is not TOML.
    TomlSyntax,
    /// A key is not part of the format.
    UnknownKey,
    /// A required key is not there.
    MissingKey,
    /// A value has another type than its key wants.
    WrongType,
    /// A value has the right type and the wrong content.
    InvalidValue,
    /// A key does not go with another one of the same entry.
    KeyCombination,
    /// Part of the format, executed by a later version.
    NotSupported,
    /// A secret is written in the file.
    LiteralSecret,
    /// `${name}` or `--param name` where no such parameter is declared, or a broken `${`.
    UnknownParam,
    /// A parameter without a default got no value.
    MissingParam,
    /// A parameter's value is not of its type.
    ParamType,
    /// `--conf` names no key.
    Override,
    /// A name that SQL could not use.
    InvalidName,
    /// Two entries have one name.
    DuplicateName,
    /// Two tables share a location, or one lies inside the other.
    LocationOverlap,
    /// A path or URL cannot be used.
    InvalidUrl,
    /// `sql_file` cannot be read.
    SqlFile,
    /// The text is not SQL.
    SqlSyntax,
    /// Not exactly one query.
    SqlStatement,
    /// SQL or `from` names neither a source nor a table.
    UnknownTable,
    /// `connection` names no connection.
    UnknownConnection,
    /// A table reads itself, directly or through others.
    Cycle,
    /// `--only` or `--from` names no table.
    Selection,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 26] = [
        Self::JobFile,
        Self::TooLarge,
        Self::NotUtf8,
        Self::TomlSyntax,
        Self::UnknownKey,
        Self::MissingKey,
        Self::WrongType,
        Self::InvalidValue,
        Self::KeyCombination,
        Self::NotSupported,
        Self::LiteralSecret,
        Self::UnknownParam,
        Self::MissingParam,
        Self::ParamType,
        Self::Override,
        Self::InvalidName,
        Self::DuplicateName,
        Self::LocationOverlap,
        Self::InvalidUrl,
        Self::SqlFile,
        Self::SqlSyntax,
        Self::SqlStatement,
        Self::UnknownTable,
        Self::UnknownConnection,
        Self::Cycle,
        Self::Selection,
    ];

    /// The code as it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobFile => "job-file",
            Self::TooLarge => "too-large",
            Self::NotUtf8 => "not-utf8",
            Self::TomlSyntax => "toml-syntax",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::InvalidValue => "invalid-value",
            Self::KeyCombination => "key-combination",
            Self::NotSupported => "not-supported",
            Self::LiteralSecret => "literal-secret",
            Self::UnknownParam => "unknown-param",
            Self::MissingParam => "missing-param",
            Self::ParamType => "param-type",
            Self::Override => "override",
            Self::InvalidName => "invalid-name",
            Self::DuplicateName => "duplicate-name",
            Self::LocationOverlap => "location-overlap",
            Self::InvalidUrl => "invalid-url",
            Self::SqlFile => "sql-file",
            Self::SqlSyntax => "sql-syntax",
            Self::SqlStatement => "sql-statement",
            Self::UnknownTable => "unknown-table",
            Self::UnknownConnection => "unknown-connection",
            Self::Cycle => "cycle",
            Self::Selection => "selection",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where something stands, as a person would look for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// job.toml or a SQL file as the user named it, or the command-line option, for example `--param ds`.
    pub file: String,
    /// 1-based; 0 = the file or option as a whole.
    pub line: u32,
    /// 1-based, in characters; 0 = the line as a whole.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// One thing that is wrong. Displays as
/// `job.toml:12:5: error[unknown-key]: table.expct: unknown key 'expct'; did you mean 'expect'?`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Error {
    /// Where.
    pub position: Position,
    /// Dotted path of the key, without positions in lists; empty when no key is to blame.
    pub key: String,
    /// Which kind.
    pub code: Code,
    /// Lower case, no full stop: what was expected and what was found.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Error {
    /// As it displays, without its code, for whoever tells that before it.
    pub fn without_code(&self) -> String {
        format!("{}: {}", self.position, self.what())
    }

    /// Key, message and suggestion.
    fn what(&self) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        let guess = self.suggestion.as_ref().map_or_else(String::new, |word| format!("; did you mean '{word}'?"));
        format!("{key}{}{guess}", self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: error[{}]: {}", self.position, self.code, self.what())
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong with a job, by place. Displays one error a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    list: Vec<Error>,
    omitted: usize,
}

impl Errors {
    /// A list of one.
    pub fn one(error: Error) -> Self {
        Self { list: vec![error], omitted: 0 }
    }

    /// The errors, ordered by file and position; at least one, at most [`MAX_ERRORS`].
    pub fn list(&self) -> &[Error] {
        &self.list
    }

    /// How many more there were.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// `not-found` when job.toml itself is missing, `invalid-job` otherwise.
    pub fn class(&self) -> ErrorClass {
        match self.list.first() {
            Some(error) if error.code == Code::JobFile => ErrorClass::NotFound,
            _ => ErrorClass::InvalidJob,
        }
    }

    /// What is said of those beyond the limit; `None` when there are none.
    pub fn remainder(&self) -> Option<String> {
        (self.omitted > 0).then(|| format!("and {}", counted(self.omitted, "more error")))
    }

    /// The code of the first error.
    pub fn code(&self) -> &'static str {
        self.list.first().map_or("invalid-job", |error| error.code.name())
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        self.remainder().map_or(Ok(()), |words| write!(f, "\n{words}"))
    }
}

impl std::error::Error for Errors {}

impl From<Errors> for Fault {
    /// The code of the first error is the fault's own: its line does not repeat it.
    fn from(errors: Errors) -> Self {
        let (class, code) = (errors.class(), errors.code());
        let mut lines = Vec::with_capacity(errors.list.len() + 1);
        for (index, error) in errors.list.iter().enumerate() {
            lines.push(if index == 0 { error.without_code() } else { error.to_string() });
        }
        lines.extend(errors.remainder());
        Self::new(class, code, lines.join("\n"))
    }
}

/// Collects errors while a job is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    list: Vec<Error>,
    omitted: usize,
}

impl Report {
    pub(crate) fn push(&mut self, error: Error) {
        if self.list.len() < MAX_ERRORS {
            self.list.push(error);
        } else {
            self.omitted += 1;
        }
    }

    /// Errors so far; a caller that compares two counts learns whether something failed in between.
    pub(crate) fn count(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// Whether another error would be kept: searching for a suggestion is worth its time only then.
    pub(crate) fn has_room(&self) -> bool {
        self.list.len() < MAX_ERRORS
    }

    /// `value` when nothing is wrong.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Errors> {
        self.list.sort();
        self.list.dedup();
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(Errors { list: self.list, omitted: self.omitted }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_like_a_compilers_short_form() {
        let error = Error {
            position: Position { file: "job.toml".into(), line: 12, column: 5 },
            key: "table.expct".into(),
            code: Code::UnknownKey,
            message: "unknown key 'expct'".into(),
            suggestion: Some("expect".into()),
        };
        let text = "job.toml:12:5: error[unknown-key]: table.expct: unknown key 'expct'; did you mean 'expect'?";
        assert_eq!(error.to_string(), text);
        let mut errors = Errors::one(error.clone());
        let fault = Fault::from(errors.clone());
        assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "unknown-key"));
        let words = "job.toml:12:5: table.expct: unknown key 'expct'; did you mean 'expect'?";
        assert_eq!((fault.message.as_str(), error.without_code().as_str()), (words, words));
        errors.list.push(error);
        errors.omitted = 2;
        assert_eq!(Fault::from(errors).message, format!("{words}\n{text}\nand 2 more errors"));
    }

    #[test]
    fn codes_are_distinct() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn errors_beyond_the_limit_are_counted() {
        let mut report = Report::default();
        for line in (0..).take(MAX_ERRORS + 5) {
            let position = Position { file: "job.toml".into(), line, column: 1 };
            let (key, message) = (String::new(), "bad".to_owned());
            report.push(Error { position, key, code: Code::InvalidValue, message, suggestion: None });
        }
        let errors = report.finish(Some(())).unwrap_err();
        assert_eq!((errors.list().len(), errors.omitted()), (MAX_ERRORS, 5));
        assert!(errors.to_string().ends_with("and 5 more errors"));
    }
}
