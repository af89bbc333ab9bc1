//! Every record of a text, however it is quoted, broken or cut.

use lake_job::CsvOptions;
use proptest::prelude::*;

use super::*;

fn dialect(options: &CsvOptions) -> Dialect {
    Dialect::new(options).unwrap()
}

/// Fields of each record.
type Rows = Vec<Vec<Option<String>>>;

fn rows(text: &str, options: &CsvOptions, width: usize) -> (Rows, Vec<(usize, Malformed)>) {
    let dialect = dialect(options);
    let mut records = Records::default();
    let limits = Limits { records: usize::MAX, owned_until: usize::MAX, is_last: true };
    tokenize(text.as_bytes(), &dialect, width, limits, &mut records);
    assert_eq!(records.consumed(), text.len());
    let mut scratch = String::new();
    let rows = (0..records.len())
        .map(|record| {
            (0..width)
                .map(|field| {
                    let (start, end, quoted) = records.field(record, field);
                    let raw = text.get(start..end).unwrap_or_default();
                    if quoted { unquote(raw, &dialect, &mut scratch).map(str::to_owned) } else { Some(raw.to_owned()) }
                })
                .collect()
        })
        .collect();
    (rows, records.malformed().to_vec())
}

fn texts(row: &[&str]) -> Vec<Option<String>> {
    row.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn quotes_escapes_line_ends_and_empty_lines_are_understood() {
    let options = CsvOptions { escape: Some('\\'), comment: Some('#'), ..CsvOptions::default() };
    let text = "a,\"b,\"\"c\"\"\",d\r\n\n# no, row\n\r\n1,\"x\\\"y\\\\z\\n\",\nlong text that spans words,b\"c,\"\"";
    let (rows, malformed) = rows(text, &options, 3);
    assert_eq!(
        rows,
        [
            texts(&["a", "b,\"c\"", "d"]),
            texts(&["1", "x\"y\\z\\n", ""]),
            texts(&["long text that spans words", "b\"c", ""])
        ]
    );
    assert_eq!(malformed, []);
}

#[test]
fn ragged_and_badly_quoted_records_are_reported_and_the_next_line_is_fine() {
    let text = "1\n1,2,3,4\n1,\"open,3\n1,\"x\"y,3\na,b,c\n";
    let (rows, malformed) = rows(text, &CsvOptions::default(), 3);
    let expected =
        [(0, Malformed::TooFew(1)), (1, Malformed::TooMany(4)), (2, Malformed::OpenQuote), (3, Malformed::AfterQuote)];
    assert_eq!(malformed, expected);
    assert_eq!(rows[0], texts(&["1", "", ""]));
    assert_eq!(rows[1], texts(&["1", "2", "3"]));
    assert_eq!(rows[3], [Some("1".to_owned()), None, Some("3".to_owned())]);
    assert_eq!(rows[4], texts(&["a", "b", "c"]));
}

#[test]
fn line_breaks_inside_quotes_need_multiline() {
    let options = CsvOptions { multiline: true, ..CsvOptions::default() };
    let text = "1,\"two\nlines, \"\"quoted\"\"\n\"\n2,b\n";
    let (read, malformed) = rows(text, &options, 2);
    assert_eq!(read, [texts(&["1", "two\nlines, \"quoted\"\n"]), texts(&["2", "b"])]);
    assert_eq!(malformed, []);
    assert!(!rows(text, &CsvOptions::default(), 2).1.is_empty());
}

#[test]
fn the_first_record_is_counted_even_when_it_is_short_of_a_line_end() {
    let plain = dialect(&CsvOptions::default());
    assert_eq!(first_record(b"\n\na,\"b\"\"c\"\r\nx", &plain, false).unwrap(), (vec!["a".into(), "b\"c".into()], 12));
    assert_eq!(first_record(b"a,b", &plain, false), None);
    assert_eq!(first_record(b"a,b", &plain, true).unwrap().0, ["a", "b"]);
    assert_eq!(first_record(b"\n", &plain, true), None);
}

#[test]
fn characters_with_two_meanings_are_refused() {
    for options in [
        CsvOptions { delimiter: '"', ..CsvOptions::default() },
        CsvOptions { delimiter: 'ß', ..CsvOptions::default() },
        CsvOptions { quote: '\n', ..CsvOptions::default() },
        CsvOptions { escape: Some(','), ..CsvOptions::default() },
    ] {
        assert_eq!(Dialect::new(&options).unwrap_err().code(), "csv-options");
    }
}

fn field() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-c,\"\r ß]{0,12}").unwrap()
}

proptest! {
    #[test]
    fn every_table_of_texts_is_read_as_it_was_written(
        table in proptest::collection::vec(proptest::collection::vec(field(), 3), 0..20),
        breaks in any::<bool>(),
    ) {
        let line_end = if breaks { "\r\n" } else { "\n" };
        let mut text = String::new();
        for row in &table {
            let fields: Vec<String> = row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            text += &fields.join(",");
            text += line_end;
        }
        let (read, malformed) = rows(&text, &CsvOptions::default(), 3);
        let expected: Vec<Vec<Option<String>>> =
            table.iter().map(|row| row.iter().cloned().map(Some).collect()).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(malformed, vec![]);
    }

    #[test]
    fn any_cut_of_any_text_gives_the_same_records(text in "[ab,\"\n]{0,60}", cut in 0_usize..60, multiline: bool) {
        let options = CsvOptions { multiline, ..CsvOptions::default() };
        let dialect = dialect(&options);
        let spans = |text: &[u8], is_last, records: &mut Records| {
            let limits = Limits { records: usize::MAX, owned_until: usize::MAX, is_last };
            tokenize(text, &dialect, 2, limits, records);
            (0..records.len()).map(|record| text[records.span(record)].to_vec()).collect::<Vec<_>>()
        };
        let mut records = Records::default();
        let whole = spans(text.as_bytes(), true, &mut records);
        let cut = cut.min(text.len());
        let mut parts = spans(&text.as_bytes()[..cut], false, &mut records);
        parts.extend(spans(&text.as_bytes()[records.consumed()..], true, &mut records));
        prop_assert_eq!(parts, whole);
    }
}
