//! Quoting for statements that cannot have parameters (COPY). Pure.

/// `"name"` with inner quotes doubled.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'` with inner quotes doubled; sessions have `standard_conforming_strings` on, so backslashes are plain.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\ 'x'"), "'it''s \\ ''x'''");
    }
}
