//! Texts of DataFusion, Arrow, Parquet and the Delta kernel as people read them: on one line, types by the names of
//! job.toml, without dumps of Rust structures and lists of overloads. Pure.
//!
//! Only about words: the class of an error never depends on what is done here.

/// What stands before a message because of where it went through.
const PREFIXES: [&str; 28] = [
    "Arithmetic overflow: ",
    "Arrow error: ",
    "Arrow: ",
    "Avro error: ",
    "Cast error: ",
    "Compute error: ",
    "Csv error: ",
    "EOF: ",
    "Error during planning: ",
    "Execution error: ",
    "External error: ",
    "External: ",
    "Generic delta kernel error: ",
    "Generic error: ",
    "IO error: ",
    "Internal error: ",
    "Invalid argument error: ",
    "Invalid or Unsupported Configuration: ",
    "Json error: ",
    "Kernel error: ",
    "Memory error: ",
    "Not yet implemented: ",
    "Parquet argument error: ",
    "Parquet error: ",
    "Parser error: ",
    "Resources exhausted: ",
    "SQL error: ",
    "Schema error: ",
];

/// What follows a message that is for the engine's own authors.
const APPENDICES: [&str; 3] =
    ["\n\nbacktrace: ", "\nThis issue was likely caused by a bug in ", "\n\tCandidate functions:"];

/// How names stand before names of tables when SQL said nothing.
const QUALIFIERS: [&str; 2] = ["datafusion.public.", "?table?."];

/// Characters of a text that are looked at: whole queries stand in some.
const LONGEST: usize = 4_000;

/// The text in our words.
pub(super) fn plain(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
    let text = text.get(..end).unwrap_or(text);
    let end = APPENDICES.iter().filter_map(|appendix| text.find(appendix)).min().unwrap_or(text.len());
    let text = without_signatures(text.get(..end).unwrap_or(text));
    let lines: Vec<String> = text.lines().map(line).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// One line of a text, as a part of a sentence.
fn line(text: &str) -> String {
    let mut text = text.trim().to_owned();
    for prefix in PREFIXES {
        text = text.replace(&format!(": {prefix}"), ": ");
    }
    let mut rest = text.as_str();
    while let Some(after) = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = after;
    }
    let text = unqualified(named(&without_dumps(rest)));
    lower_first(text.trim_end_matches(['.', ' ']))
}

/// Without what SQL did not say of a name.
pub(super) fn unqualified(text: String) -> String {
    QUALIFIERS.iter().fold(text, |text, qualifier| text.replace(qualifier, ""))
}

/// With a small first letter, unless it begins an abbreviation.
pub(super) fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return String::new() };
    if characters.clone().next().is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    first.to_lowercase().chain(characters).collect()
}

/// Without what a function could have been called with.
fn without_signatures(text: &str) -> String {
    let mut text = text.replace(" You might need to add explicit type casts.", "");
    for (begin, end) in [(" to the signature ", " failed"), (" (DataType: ", ")")] {
        while let Some(at) = text.find(begin) {
            let after = text.get(at + begin.len()..).unwrap_or_default();
            let length = match (begin.contains('('), after.find(end)) {
                (true, _) => matching(after, '(', ')').map(|close| close + end.len()),
                (false, found) => found,
            };
            let until = length.map_or(text.len(), |length| at + begin.len() + length);
            text.replace_range(at..until, "");
        }
    }
    text
}

/// With `…` for each `Name { … }`.
fn without_dumps(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(" {") {
        let (before, after) = rest.split_at(at);
        let name = before.rfind(|c: char| !is_word(c) && c != ':').map_or(0, |end| end + char_length(before, end));
        let is_name = before.get(name..).is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
        let inside = after.get(" {".len()..).unwrap_or_default();
        if !is_name {
            plain.push_str(before);
            plain.push_str(" {");
            rest = inside;
            continue;
        }
        plain.push_str(before.get(..name).unwrap_or_default());
        plain.push('…');
        let Some(end) = matching(inside, '{', '}') else { return plain };
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    plain + rest
}

/// With the names of job.toml for Arrow's types, and values for its literals. What stands in quotes stays, unless it is
/// a call.
fn named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back().unwrap_or(' ');
        if let Some(length) = quoted(rest, before) {
            let (whole, after) = rest.split_at(length);
            let inner = whole.get(1..length - 1).unwrap_or_default();
            if inner.contains('(') {
                out.push(first);
                out.push_str(&named(inner));
                out.push(first);
            } else {
                out.push_str(whole);
            }
            rest = after;
        } else if first.is_ascii_uppercase() && !is_word(before) && before != '.' {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let arguments = arguments(after);
            let inside = arguments.map(|length| after.get(1..length - 1).unwrap_or_default());
            match typed(word, inside) {
                Some(name) => {
                    out.push_str(&name);
                    rest = after.get(arguments.unwrap_or(0)..).unwrap_or_default();
                }
                None => {
                    out.push_str(word);
                    rest = after;
                }
            }
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// The length of what is in quotes at the start of `text`, which follows `before`, quotes included.
fn quoted(text: &str, before: char) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    // An apostrophe.
    if quote == '\'' && is_word(before) {
        return None;
    }
    let inside = text.get(1..)?;
    inside.find(quote).map(|end| end + 2)
}

/// The length of what is in parentheses at the start of `text`, parentheses included.
fn arguments(text: &str) -> Option<usize> {
    matching(text.strip_prefix('(')?, '(', ')').map(|end| end + 2)
}

/// Where the bracket closes that was opened before `text`; brackets in double quotes do not count.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    let mut is_quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            _ if character == open => depth += 1,
            _ if character == close && depth == 0 => return Some(at),
            _ if character == close => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The name of one of Arrow's types, or the value when `inside` is the one of a literal; `None` for any other word.
fn typed(word: &str, inside: Option<&str>) -> Option<String> {
    let simple = match word {
        "Boolean" => "boolean",
        "Int8" => "tinyint",
        "Int16" => "smallint",
        "Int32" => "int",
        "Int64" => "bigint",
        "UInt8" => "tinyint unsigned",
        "UInt16" => "smallint unsigned",
        "UInt32" => "int unsigned",
        "UInt64" => "bigint unsigned",
        "Float16" | "Float32" => "float",
        "Float64" => "double",
        "Utf8" | "LargeUtf8" | "Utf8View" => "string",
        "Date32" | "Date64" => "date",
        "Binary" | "LargeBinary" | "BinaryView" => "binary",
        _ => return composed(word, inside?),
    };
    Some(inside.map_or_else(|| simple.to_owned(), literal))
}

/// As [`typed`], for types that have parts.
fn composed(word: &str, inside: &str) -> Option<String> {
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let name = match (word, parts.as_slice()) {
        ("Timestamp", _) if inside.contains('"') => "timestamp".to_owned(),
        ("Timestamp", _) => "timestamp_ntz".to_owned(),
        ("Time32" | "Time64", _) => "time".to_owned(),
        ("Duration" | "Interval", _) => "interval".to_owned(),
        ("IntervalMonthDayNano" | "IntervalDayTime" | "IntervalYearMonth", _) => "an interval".to_owned(),
        ("FixedSizeBinary", _) => "binary".to_owned(),
        ("Decimal32" | "Decimal64" | "Decimal128" | "Decimal256", [precision, scale]) => {
            format!("decimal({precision},{scale})")
        }
        ("Decimal32" | "Decimal64" | "Decimal128" | "Decimal256", [value, _, scale]) => decimal(value, scale),
        ("Dictionary", [_, value]) => named(value),
        ("List" | "LargeList" | "ListView" | "LargeListView" | "FixedSizeList", _) => {
            let item = inside.trim_start_matches("nullable ").trim_start_matches("non-null ");
            let end = item.find(", field: ").unwrap_or(item.len());
            format!("array<{}>", named(item.get(..end).unwrap_or(item)))
        }
        _ => return None,
    };
    Some(name)
}

/// `"x"` as SQL writes it.
fn literal(inside: &str) -> String {
    match inside.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => format!("'{text}'"),
        None => inside.to_owned(),
    }
}

/// `Some(150)` with scale 2 as `1.50`.
fn decimal(value: &str, scale: &str) -> String {
    let digits = value.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')'));
    let (Some(digits), Ok(scale)) = (digits, scale.parse::<u8>()) else { return "NULL".to_owned() };
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, part)) if !part.is_empty() => format!("{sign}{whole}.{part}"),
        _ => format!("{sign}{digits}"),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn char_length(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_says_is_one_line_in_our_words() {
        for (text, expected) in [
            (
                "Error during planning: Invalid function 'foo'.\nDid you mean 'floor'?",
                "invalid function 'foo'; did you mean 'floor'?",
            ),
            (
                "No function matches the given name and argument types 'round(Utf8, Float64)'. You might need to add \
                 explicit type casts.\n\tCandidate functions:\n\tround(Float64, Int64)\n\tround(Float32)",
                "no function matches the given name and argument types 'round(string, double)'",
            ),
            (
                "Error during planning: Failed to coerce arguments to satisfy a call to 'sum' function: coercion from \
                 Utf8View, Int64 to the signature OneOf([Exact([Int64]), Exact([Float64])]) failed",
                "failed to coerce arguments to satisfy a call to 'sum' function: coercion from string, bigint failed",
            ),
            (
                "Function 'lower' requires String, but received Int64 (DataType: List(Int64)).",
                "function 'lower' requires String, but received bigint",
            ),
            (
                "Cannot coerce arithmetic expression Timestamp(Nanosecond, Some(\"UTC\")) + Decimal128(12, 2)",
                "cannot coerce arithmetic expression timestamp + decimal(12,2)",
            ),
            ("UNION queries have different number of columns", "UNION queries have different number of columns"),
            ("table 'datafusion.public.orders' not found", "table 'orders' not found"),
            (
                "Internal error: Input field name a does not match.\nThis issue was likely caused by a bug in \
                 DataFusion's code. Please help us",
                "input field name a does not match",
            ),
            (
                "Arrow error: Cast error: Cannot cast string 'Int64' to value of Int64 type\n\nbacktrace:    0: x",
                "cannot cast string 'Int64' to value of bigint type",
            ),
            ("", ""),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        assert_eq!(plain(&"A(".repeat(1_000_000)).chars().count(), LONGEST);
    }

    #[test]
    fn dumps_are_left_out_and_braces_of_people_are_not() {
        for (text, expected) in [
            (
                "Physical plan does not support logical expression AggregateFunction(AggregateFunction { func: \
                 AggregateUDF { inner: Count { name: \"}\" } }, args: [Column(Column { relation: None })] })",
                "physical plan does not support logical expression AggregateFunction(…)",
            ),
            ("unexpected [Column { name: \"a\" }, Column { name: \"b\" }] here", "unexpected […, …] here"),
            ("cut in Count { name: \"a\"", "cut in …"),
            ("found {\"a\": 1} and then {}", "found {\"a\": 1} and then {}"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn types_have_the_names_of_the_job_and_names_of_people_stay() {
        for (text, expected) in [
            ("Int8 UInt16 Float32 Boolean Date32", "tinyint smallint unsigned float boolean date"),
            ("a Timestamp(µs) is Timestamp(ns, \"+01:00\")", "a timestamp_ntz is timestamp"),
            (
                "from List(nullable Utf8View) to LargeList(Int64, field: 'element')",
                "from array<string> to array<bigint>",
            ),
            ("Dictionary(Int32, Utf8) or Interval(MonthDayNano)", "string or interval"),
            ("sum(t.a + Int64(1)) > Utf8(\"x\") AND Boolean(NULL)", "sum(t.a + 1) > 'x' AND NULL"),
            ("b = Decimal128(Some(-150),10,2) or Decimal128(Some(5),3,0)", "b = -1.50 or 5"),
            (
                "column \"t.Int64\" of 'Utf8', t.Int64 and My_Int64",
                "column \"t.Int64\" of 'Utf8', t.Int64 and My_Int64",
            ),
            ("there isn't a type for Utf8 and Int64", "there isn't a type for string and bigint"),
            ("only \"t.b, max(t.a + Int64(1))\" appears", "only \"t.b, max(t.a + 1)\" appears"),
            ("an Odd (Word)", "an Odd (Word)"),
            ("Decimal128(Some(é),1,1) Decimal128(Some(1),1,999)", "0é NULL"),
            ("Int64( 'é Utf8(", "bigint( 'é string("),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }
}
