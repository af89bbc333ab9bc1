//! JSON as Jackson lays it out for Spark: two spaces, ` : ` between a name and its value. Pure.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The text of a message.
pub(super) fn text(message: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Spaced(PrettyFormatter::new()));
    // Neither a message nor memory refuses: an empty text would only be a bug here.
    let written = message.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "{written:?}");
    String::from_utf8(bytes).unwrap_or_default()
}

struct Spaced(PrettyFormatter<'static>);

impl Formatter for Spaced {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, is_first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, is_first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_values_are_apart_and_texts_are_escaped() {
        let laid_out = text(&json!({ "a": "x \"y\"\n", "b": ["c", 1], "d": {} }));
        assert_eq!(laid_out, "{\n  \"a\" : \"x \\\"y\\\"\\n\",\n  \"b\" : [\"c\",1],\n  \"d\" : {}\n}");
    }
}
