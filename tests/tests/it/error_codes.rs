//! Every error code of the sources has a row in the documentation, and every row a code in the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lake_tests::fixture::project;

const CRATES: [&str; 5] = ["proto", "master", "engine", "worker", "client"];
/// Files and folders of tests: what they make up is not documented.
const TESTS: [&str; 4] = ["tests", "tests.rs", "simulation.rs", "bench"];
const DOCUMENTS: [&str; 2] = ["docs/errors.md", "docs/job-toml.md"];
/// Where codes are the names of an enum's variants.
const JOB_CODES: &str = "engine/job/src/errors.rs";
/// The codes by which another crate than the one that gives them decides.
const SHARED_CODES: &str = "proto/src/codes.rs";
/// Functions that take a code first.
const SHORTHANDS: [&str; 3] = ["invalid", "not_found", "unavailable"];
const ANY: &str = "";

#[test]
fn every_code_has_a_row_and_every_row_a_code() -> Result<()> {
    let produced = produced(&sources()?);
    let documented = documented()?;
    assert!(produced.len() > 100, "the scan finds only {} codes", produced.len());
    let list = |left: &Places, right: &Places| -> Vec<String> {
        let only = left.iter().filter(|(code, _)| !right.contains_key(*code));
        only.map(|(code, places)| format!("  {code} ({})", Vec::from_iter(places.iter().cloned()).join(", "))).collect()
    };
    let (no_row, no_code) = (list(&produced, &documented), list(&documented, &produced));
    assert!(
        no_row.is_empty() && no_code.is_empty(),
        "codes of the sources without a row in docs/errors.md:\n{}\nrows without a code in the sources:\n{}",
        no_row.join("\n"),
        no_code.join("\n")
    );
    Ok(())
}

/// A literal beside the constant could be changed on one side alone.
#[test]
fn a_code_by_which_another_crate_decides_is_written_once() -> Result<()> {
    let sources = sources()?;
    let shared = sources.iter().find(|source| source.path == SHARED_CODES).context(SHARED_CODES)?;
    let shared: BTreeSet<&str> = texts_of_constants(&shared.tokens).into_iter().map(|(_, code)| code).collect();
    let produced = produced(&sources);
    let unused: Vec<&&str> = shared.iter().filter(|code| !produced.contains_key(**code)).collect();
    assert!(!shared.is_empty() && unused.is_empty(), "no error has these codes: {unused:?}");
    let mut again = Vec::new();
    for source in &sources {
        let codes = codes_of(source).into_iter().filter_map(|value| match value {
            Value::Code(code) => Some(code),
            Value::Constant(_) => None,
        });
        let compared = source.tokens.windows(5).filter_map(compared_code);
        for code in codes.chain(compared).filter(|code| shared.contains(code)) {
            again.push(format!("'{code}' in {}", source.path));
        }
    }
    assert!(again.is_empty(), "use the constants of {SHARED_CODES}: {}", again.join(", "));
    Ok(())
}

#[test]
fn a_code_is_found_in_every_form_and_nothing_else_is() {
    let text = r##"
        const GONE: &str = "by-constant"; // EngineError::invalid("in-comment", "…")
        Fault::new(ErrorClass::Denied, "by-class", format!("{x} 'not-this' \"{}\"", '"'));
        EngineError::new(class_of(a, b), "by-call", r#"a raw "text""#);
        match kind { 1 => (lake_proto::ErrorClass::Conflict, "by-tuple"), _ => unavailable("by-shorthand", "") }
        match class { ErrorClass::NotFound => "by-arm", _ => "not-an-arm" }
        EngineError::unavailable(errors::GONE, "it's gone");
        header(CODE_HEADER).unwrap_or("by-default").to_owned();
        invalid("this is a message");
        match self { Self::JobFile => "job-file" }
    "##;
    let source = |path: &str| Source { path: path.to_owned(), tokens: tokens(text) };
    let found = |path: &str| produced(&[source(path)]).into_keys().collect::<Vec<_>>();
    let forms = ["by-arm", "by-call", "by-class", "by-constant", "by-default", "by-shorthand", "by-tuple"];
    assert_eq!(found("some.rs"), forms);
    let shared = Source { path: SHARED_CODES.to_owned(), tokens: tokens(r#"pub const SHARED: &str = "by-module";"#) };
    let user = r#"Fault::new(ErrorClass::Conflict, codes::SHARED, message); fault.code == "by-literal""#;
    let user = Source { path: "some.rs".to_owned(), tokens: tokens(user) };
    assert_eq!(user.tokens.windows(5).filter_map(compared_code).collect::<Vec<_>>(), ["by-literal"]);
    assert_eq!(produced(&[shared, user]).into_keys().collect::<Vec<_>>(), ["by-module"]);
    assert!(found(JOB_CODES).contains(&"job-file".to_owned()));
    assert_eq!(production("a\n#[cfg(test)]\nmod tests {\nb"), "a\n");
    assert_eq!(production("a\n#[cfg(test)]\nmod tests;\n"), "a\n#[cfg(test)]\nmod tests;\n");
}

/// Codes, each with the files it is in.
type Places = BTreeMap<String, BTreeSet<String>>;

struct Source {
    /// Relative to the project.
    path: String,
    tokens: Vec<Token>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A name or number.
    Word(String),
    /// What stands between quotes, escapes as they are written.
    Text(String),
    Mark(char),
}

/// What stands where a code is expected.
enum Value<'a> {
    Code(&'a str),
    Constant(&'a str),
}

/// The production code of our crates.
fn sources() -> Result<Vec<Source>> {
    let root = project()?;
    let mut sources = Vec::new();
    let mut folders: Vec<_> = CRATES.iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if TESTS.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let tokens = tokens(production(&fs::read_to_string(&path)?));
                sources.push(Source { path: relative(&path, &root), tokens });
            }
        }
    }
    Ok(sources)
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The text before the tests at its end.
fn production(text: &str) -> &str {
    let mut end = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let begins_module = |next: &&str| next.starts_with("mod ") && next.trim_end().ends_with('{');
        if line.trim_end() == "#[cfg(test)]" && lines.peek().is_some_and(begins_module) {
            break;
        }
        end += line.len();
    }
    text.get(..end).unwrap_or(text)
}

/// Names, texts and marks; comments and characters are left out.
fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied();
    let find = |from: usize, wanted: char| (from..characters.len()).find(|index| at(*index) == Some(wanted));
    let mut tokens = Vec::new();
    let mut index = 0;
    while let Some(character) = at(index) {
        if character.is_whitespace() {
            index += 1;
        } else if character == '/' && at(index + 1) == Some('/') {
            index = find(index, '\n').unwrap_or(characters.len());
        } else if character == '"' {
            let mut inside = String::new();
            index += 1;
            while let Some(next) = at(index).filter(|next| *next != '"') {
                if next == '\\' {
                    inside.push(next);
                    index += 1;
                }
                inside.extend(at(index));
                index += 1;
            }
            index += 1;
            tokens.push(Token::Text(inside));
        } else if character == '\'' {
            // A character, or a lifetime, of which only the mark is left out.
            index = match (at(index + 1), at(index + 2)) {
                (Some('\\'), _) => find(index + 3, '\'').map_or(characters.len(), |end| end + 1),
                (_, Some('\'')) => index + 3,
                _ => index + 1,
            };
        } else if character.is_alphanumeric() || character == '_' {
            let mut word = String::new();
            while let Some(next) = at(index).filter(|next| next.is_alphanumeric() || *next == '_') {
                word.push(next);
                index += 1;
            }
            let hashes = (index..).take_while(|index| at(*index) == Some('#')).count();
            if matches!(word.as_str(), "r" | "br") && at(index + hashes) == Some('"') {
                let mut end = index + hashes + 1;
                let closes = |end: usize| (1..=hashes).all(|hash| at(end + hash) == Some('#'));
                while at(end).is_some_and(|next| next != '"' || !closes(end)) {
                    end += 1;
                }
                index = end + 1 + hashes;
            } else {
                tokens.push(Token::Word(word));
            }
        } else {
            tokens.push(Token::Mark(character));
            index += 1;
        }
    }
    tokens
}

/// The codes that the sources give to errors.
fn produced(sources: &[Source]) -> Places {
    let mut constants: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for source in sources {
        for (name, text) in texts_of_constants(&source.tokens) {
            constants.entry(name).or_default().push((source.path.as_str(), text));
        }
    }
    let mut produced = Places::new();
    for source in sources {
        for value in codes_of(source) {
            let codes: Vec<&str> = match value {
                Value::Code(code) => vec![code],
                Value::Constant(name) => {
                    let all = constants.get(name).map(Vec::as_slice).unwrap_or_default();
                    let own = all.iter().filter(|(path, _)| *path == source.path);
                    let own: Vec<&str> = own.map(|(_, code)| *code).collect();
                    if own.is_empty() { all.iter().map(|(_, code)| *code).collect() } else { own }
                }
            };
            for code in codes.into_iter().filter(|code| is_code(code)) {
                produced.entry(code.to_owned()).or_default().insert(source.path.clone());
            }
        }
    }
    produced
}

/// What stands in a source where codes are expected.
fn codes_of(source: &Source) -> Vec<Value<'_>> {
    let is_job = source.path == JOB_CODES;
    let places = (0..source.tokens.len()).flat_map(|index| places(&source.tokens, index, is_job));
    places.filter_map(|place| value(&source.tokens, place)).collect()
}

/// The code in `.code == "…"`.
fn compared_code(tokens: &[Token]) -> Option<&str> {
    match (after(tokens, 0, "."), path(tokens, 1, &["code"]), after(tokens, 2, "=="), tokens.get(4)) {
        (Some(_), Some(_), Some(_), Some(Token::Text(text))) => Some(text.as_str()),
        _ => None,
    }
}

/// `const NAME: &str = "…"`.
fn texts_of_constants(tokens: &[Token]) -> Vec<(&str, &str)> {
    let constant = |index: usize| {
        let name = path(tokens, index, &["const"])?;
        let Token::Word(found) = tokens.get(name)? else { return None };
        let kind = after(tokens, name + 1, ":&")?;
        let text = after(tokens, path(tokens, kind, &["str"])?, "=")?;
        let Token::Text(text) = tokens.get(text)? else { return None };
        Some((found.as_str(), text.as_str()))
    };
    (0..tokens.len()).filter_map(constant).collect()
}

/// Where a code stands when the form that begins at `index` has one.
fn places(tokens: &[Token], index: usize, is_job: bool) -> Vec<usize> {
    let class = path(tokens, index, &["ErrorClass", ANY]);
    let beside_class = class.and_then(|next| after(tokens, next, ",").or_else(|| after(tokens, next, "=>")));
    let made = [["Fault", "new"], ["EngineError", "new"]].iter().find_map(|words| path(tokens, index, words));
    let second = made.and_then(|next| second_argument(tokens, after(tokens, next, "(")?));
    let shorthand = SHORTHANDS.iter().find_map(|word| path(tokens, index, &[*word]));
    let first = shorthand.and_then(|next| after(tokens, next, "("));
    let header = path(tokens, index, &["CODE_HEADER"]).and_then(|next| after(tokens, next, ")."));
    let default = header.and_then(|next| after(tokens, path(tokens, next, &["unwrap_or"])?, "("));
    let variant = path(tokens, index, &["Self", ANY]).filter(|_| is_job);
    let name = variant.and_then(|next| after(tokens, next, "=>"));
    [beside_class, second, first, default, name].into_iter().flatten().collect()
}

/// What stands behind `a::b::c` when it begins at `index`.
fn path(tokens: &[Token], index: usize, words: &[&str]) -> Option<usize> {
    let mut next = index;
    for (position, wanted) in words.iter().enumerate() {
        if position > 0 {
            next = after(tokens, next, "::")?;
        }
        match tokens.get(next)? {
            Token::Word(word) if *wanted == ANY || word == wanted => next += 1,
            _ => return None,
        }
    }
    Some(next)
}

/// What stands behind these marks when they begin at `index`.
fn after(tokens: &[Token], index: usize, marks: &str) -> Option<usize> {
    let mut next = index;
    for mark in marks.chars() {
        if tokens.get(next)? != &Token::Mark(mark) {
            return None;
        }
        next += 1;
    }
    Some(next)
}

/// Behind the first comma of the call whose arguments begin at `index`.
fn second_argument(tokens: &[Token], index: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate().skip(index) {
        match token {
            Token::Mark(',') if depth == 0 => return Some(position + 1),
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

fn value(tokens: &[Token], index: usize) -> Option<Value<'_>> {
    if let Token::Text(text) = tokens.get(index)? {
        return Some(Value::Code(text));
    }
    let mut last = index;
    while let Some(next) = path(tokens, last, &[ANY]).and_then(|next| after(tokens, next, "::")) {
        last = next;
    }
    match tokens.get(last)? {
        Token::Word(name) if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') => Some(Value::Constant(name)),
        _ => None,
    }
}

/// Lower case, digits and single hyphens inside.
fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .split('-')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

/// The first cells of the tables whose first column is `code`.
fn documented() -> Result<Places> {
    let root = project()?;
    let mut documented = Places::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).with_context(|| document.to_owned())?;
        let mut is_of_codes = false;
        for line in text.lines() {
            let Some(row) = line.trim().strip_prefix('|') else {
                is_of_codes = false;
                continue;
            };
            let cell = row.split('|').next().unwrap_or_default().trim();
            is_of_codes |= cell == "code";
            for code in cell.split('`').skip(1).step_by(2).filter(|_| is_of_codes) {
                documented.entry(code.to_owned()).or_default().insert(document.to_owned());
            }
        }
    }
    Ok(documented)
}
