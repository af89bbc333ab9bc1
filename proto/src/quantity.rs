//! Byte sizes and durations as people write them; sizes, counts and durations as people read them; classes of file sizes.
//! Pure.

use std::time::Duration;

/// Upper bounds of the sizes by which data files of a table are counted, in bytes; what is larger is counted last.
pub const FILE_SIZE_BOUNDS: [u64; 7] = [64 << 10, 1 << 20, 8 << 20, 32 << 20, 128 << 20, 512 << 20, 1 << 30];

/// Where a file of this size is counted: an index into [`FILE_SIZE_BOUNDS`], or the one behind it.
pub fn file_size_bucket(bytes: u64) -> usize {
    FILE_SIZE_BOUNDS.iter().take_while(|bound| bytes > **bound).count()
}

/// Bytes in `text`: a whole number with an optional unit. `k`, `m`, `g` and `t` are powers of 1024, alone and with `b`
/// or `ib` behind, in any case, as in Spark.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected =
        || format!("expected a size such as 64MiB, 512m or 8g (k, m, g and t are powers of 1024), found '{text}'");
    let trimmed = text.trim();
    let (number, unit) = trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(expected()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(expected)
}

/// The duration in `text`: a whole number with `s`, `m`, `h` or `d`; seconds without.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a number with s, m, h or d, for example 7d, found '{text}'");
    let trimmed = text.trim();
    let (number, unit) = trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds.map(Duration::from_secs).ok_or_else(expected)
}

/// Bytes with a binary unit and at most one decimal: `1023 B`, `1.5 KiB`, `120 MiB`.
pub fn bytes(number: u64) -> String {
    if number < 1024 {
        return format!("{number} B");
    }
    let mut tenths = u128::from(number) * 10 / 1024;
    let mut name = "KiB";
    for larger in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        name = larger;
    }
    if tenths < 1_000 { format!("{}.{} {name}", tenths / 10, tenths % 10) } else { format!("{} {name}", tenths / 10) }
}

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its word: `1 row`, `1,234 rows`. The word's plural ends in `s`.
pub fn counted(number: impl TryInto<u64>, word: &str) -> String {
    // Of what is larger, only the plural can be said.
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {word}"),
        many => format!("{} {word}s", count(many)),
    }
}

/// The noun that goes with a number which stands elsewhere: `3 of 8 tasks`.
pub const fn noun<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}

/// `320 ms`, `4.2 s`, `3 min 05 s`, `2 h 03 min`, `3 d 04 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_counted_at_the_first_bound_that_holds_it() {
        assert_eq!([0, 64 << 10, (64 << 10) + 1, 1 << 30, u64::MAX].map(file_size_bucket), [0, 0, 1, 6, 7]);
    }

    #[test]
    fn every_unit_is_a_power_of_1024() {
        for (text, expected) in [
            ("7", 7),
            ("12b", 12),
            ("1k", 1 << 10),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("128MiB", 128 << 20),
            ("8G", 8 << 30),
            ("8GB", 8 << 30),
            (" 2 GiB ", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "g", "MiB", "8x", "-1", "1.5g", "1PB", "99999999999999t", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err_and(|why| why.contains(text)), "{text:?}");
        }
    }

    #[test]
    fn durations_read_like_sparks() {
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        for text in ["soon", "", "d", "-1s", "99999999999999999999s", "999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_is_singular_and_nothing_else_is() {
        assert_eq!([noun(1, "task", "tasks"), noun(8, "task", "tasks")], ["task", "tasks"]);
    }

    #[test]
    fn quantities_read_well() {
        let counts: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(count).collect();
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let words: Vec<String> = [0, 1, 2, 1000].into_iter().map(|number: usize| counted(number, "row")).collect();
        assert_eq!(words, ["0 rows", "1 row", "2 rows", "1,000 rows"]);
        let sizes: Vec<String> =
            [0, 1023, 1024, 1536, 15_360, 123_456, 5 << 30, u64::MAX].into_iter().map(bytes).collect();
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "15.0 KiB", "120 KiB", "5.0 GiB", "15.9 EiB"]);
        let times: Vec<String> = [320, 4_250, 185_000, 7_380_000, 273_600_000]
            .into_iter()
            .map(|ms| duration(Duration::from_millis(ms)))
            .collect();
        assert_eq!(times, ["320 ms", "4.2 s", "3 min 05 s", "2 h 03 min", "3 d 04 h"]);
    }
}
