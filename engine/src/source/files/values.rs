//! Text to typed values, exactly: an integer never wraps, a decimal never passes through a float, a date must exist.
//! One set of rules for reading and for inference, for CSV and for JSON. Pure; never here: arrays, files.

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::Utc;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// `true`, `t`, `1`, `false`, `f`, `0` in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.as_bytes() {
        b"1" | b"t" | b"T" => Some(true),
        b"0" | b"f" | b"F" => Some(false),
        word if word.eq_ignore_ascii_case(b"true") => Some(true),
        word if word.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// A 64-bit integer; `None` for anything else, an overflow included.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A 64-bit float.
pub(super) fn double(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A 32-bit float.
pub(super) fn float(text: &str) -> Option<f32> {
    text.parse().ok()
}

/// The unscaled value of a decimal, rounded half up to `scale` as Spark does; `None` when it has more than
/// `precision` digits. Takes an exponent.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut unscaled: i128 = 0;
    let mut digits_seen = 0_u32;
    // Digits after the point that are in `unscaled`.
    let mut fraction: i64 = 0;
    let mut dropped: Option<u8> = None;
    let mut after_point = false;
    let mut exponent: i64 = 0;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits_seen += 1;
                let digit = i128::from(byte - b'0');
                // Beyond 38 digits only fraction digits may be left out, and the first of them rounds.
                match unscaled.checked_mul(10).and_then(|value| value.checked_add(digit)) {
                    Some(value) if dropped.is_none() && value < 10_i128.pow(38) => {
                        unscaled = value;
                        fraction += i64::from(after_point);
                    }
                    _ if after_point => {
                        dropped.get_or_insert(byte - b'0');
                    }
                    _ => return None,
                }
            }
            b'.' if !after_point => after_point = true,
            b'e' | b'E' => {
                exponent = std::str::from_utf8(digits.get(at + 1..)?).ok()?.parse::<i32>().ok()?.into();
                break;
            }
            _ => return None,
        }
    }
    if digits_seen == 0 {
        return None;
    }
    let shift = i64::from(scale) - fraction + exponent;
    let magnitude = if shift >= 0 {
        if dropped.is_some() && shift > 0 {
            return None;
        }
        let rounding = i128::from(dropped.is_some_and(|digit| digit >= 5));
        let factor = u32::try_from(shift).ok().and_then(|shift| 10_i128.checked_pow(shift));
        match factor {
            Some(factor) => unscaled.checked_mul(factor)?.checked_add(rounding)?,
            None if unscaled == 0 => 0,
            None => return None,
        }
    } else {
        match u32::try_from(-shift).ok().and_then(|shift| 10_i128.checked_pow(shift)) {
            Some(divisor) => unscaled / divisor + i128::from(unscaled % divisor >= divisor / 2),
            None => 0,
        }
    };
    let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
    (magnitude < limit).then_some(if negative { -magnitude } else { magnitude })
}

/// Days since 1970-01-01 of `YYYY-MM-DD` (month and day may have one digit).
pub(super) fn date(text: &str) -> Option<i32> {
    let (days, rest) = leading_date(text.as_bytes())?;
    rest.is_empty().then_some(days)
}

/// Microseconds since the epoch of an instant; text without a zone is UTC.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    if let Some((micros, zone)) = leading_timestamp(text.as_bytes())
        && let Some(offset) = zone_offset_seconds(zone)
    {
        return micros.checked_sub(offset.checked_mul(MICROS_PER_SECOND)?);
    }
    // Named zones and rarer spellings.
    string_to_datetime(&Utc, text).ok().map(|instant| instant.timestamp_micros())
}

/// Microseconds since the epoch of a wall-clock time; text with a zone is not one.
pub(super) fn timestamp_ntz(text: &str) -> Option<i64> {
    let (micros, rest) = leading_timestamp(text.as_bytes())?;
    rest.is_empty().then_some(micros)
}

/// Whether inference may take it for a date: exactly `YYYY-MM-DD`.
pub(super) fn looks_like_date(text: &str) -> bool {
    text.len() == 10 && date(text).is_some()
}

/// Whether inference may take it for an instant: a date and a time of day, with or without a zone.
pub(super) fn looks_like_timestamp(text: &str) -> bool {
    text.len() >= 16 && leading_timestamp(text.as_bytes()).is_some_and(|(_, zone)| zone_offset_seconds(zone).is_some())
}

/// Whether inference may take it for a double: a number with digits (not `nan` or `infinity`, which may be words).
pub(super) fn looks_like_double(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
        && double(text).is_some_and(f64::is_finite)
}

/// Whether inference may take it for a boolean: `true` or `false` only, because `1` and `t` are more often data.
pub(super) fn looks_like_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

fn leading_date(text: &[u8]) -> Option<(i32, &[u8])> {
    let (year, rest) = number(text, 4, 4)?;
    let (month, rest) = number(rest.strip_prefix(b"-")?, 1, 2)?;
    let (day, rest) = number(rest.strip_prefix(b"-")?, 1, 2)?;
    let days = days_from_civil(year, month, day)?;
    Some((days, rest))
}

/// Microseconds of date and time as if in UTC, and what follows them.
fn leading_timestamp(text: &[u8]) -> Option<(i64, &[u8])> {
    let (days, rest) = leading_date(text)?;
    let midnight = i64::from(days) * SECONDS_PER_DAY * MICROS_PER_SECOND;
    let [b'T' | b't' | b' ', rest @ ..] = rest else {
        return Some((midnight, rest));
    };
    let (hour, rest) = number(rest, 1, 2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2, 2)?;
    let (second, mut rest) = match rest.strip_prefix(b":") {
        Some(rest) => number(rest, 2, 2)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = 0;
    if let [b'.' | b',', digits @ ..] = rest {
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, after) = digits.split_at_checked(length).filter(|_| length > 0)?;
        // Spark keeps microseconds and cuts the rest.
        micros = (0..6).fold(0, |value, at| value * 10 + i64::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
        rest = after;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some((midnight + seconds * MICROS_PER_SECOND + micros, rest))
}

fn zone_offset_seconds(zone: &[u8]) -> Option<i64> {
    let zone = zone.strip_prefix(b" ").unwrap_or(zone);
    let (sign, rest) = match zone {
        [] | b"Z" | b"z" | b"UTC" | b"utc" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = number(rest, 2, 2)?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let (minutes, rest) = if rest.is_empty() { (0, rest) } else { number(rest, 2, 2)? };
    (rest.is_empty() && hours <= 18 && minutes <= 59).then_some(sign * i64::from(hours * 3600 + minutes * 60))
}

/// A number of `least` to `most` digits at the start, and what follows it.
fn number(text: &[u8], least: usize, most: usize) -> Option<(i32, &[u8])> {
    let length = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length).filter(|_| length >= least)?;
    Some((digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0')), rest))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; `None` when there is no such day.
fn days_from_civil(year: i32, month: i32, day: i32) -> Option<i32> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Years that start in March, so that the leap day is the last one of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_rounded_half_up_and_bounded_by_their_precision() {
        assert_eq!(decimal("12.345", 10, 2), Some(1235));
        assert_eq!(decimal("-12.345", 10, 2), Some(-1235));
        assert_eq!(decimal("12.344", 10, 2), Some(1234));
        assert_eq!(decimal("0.1", 38, 18), Some(100_000_000_000_000_000));
        assert_eq!(decimal("1e3", 10, 2), Some(100_000));
        assert_eq!(decimal("12345e-3", 10, 2), Some(1235));
        assert_eq!(decimal("1234.5", 5, 2), None);
        assert_eq!(decimal("999.995", 5, 2), None);
        assert_eq!(decimal("99999999999999999999999999999999999999", 38, 0), Some(10_i128.pow(38) - 1));
        assert_eq!(decimal("999999999999999999999999999999999999999", 38, 0), None);
        assert_eq!(decimal("0.99999999999999999999999999999999999999999", 38, 0), Some(1));
        assert_eq!(decimal("1500", 5, -2), Some(15));
        assert_eq!(decimal("1550", 5, -2), Some(16));
        for wrong in ["", "-", ".", "1.2.3", "1,2", " 1", "1x", "e5", "1e"] {
            assert_eq!(decimal(wrong, 10, 2), None, "{wrong}");
        }
    }

    #[test]
    fn dates_exist_and_agree_with_chrono() {
        for days in [-719_528, -1, 0, 59, 11_016, 19_782, 2_932_896] {
            let day = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(days);
            assert_eq!(date(&day.format("%Y-%m-%d").to_string()).map(i64::from), Some(days));
        }
        assert_eq!(date("2024-2-9"), date("2024-02-09"));
        for wrong in ["2023-02-29", "2024-13-01", "2024-00-01", "24-01-01", "2024-01-01 ", "2024/01/01", "20240101"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn timestamps_know_their_zone() {
        let noon = 1_704_110_400_000_000;
        for text in
            ["2024-01-01 12:00:00", "2024-01-01T12:00Z", "2024-01-01T13:00:00+01:00", "2024-01-01T06:30:00.000-0530"]
        {
            assert_eq!(timestamp(text), Some(noon), "{text}");
        }
        assert_eq!(timestamp("2024-01-01 12:00:00.1234567"), Some(noon + 123_456));
        assert_eq!(timestamp("2024-01-01"), Some(noon - 43_200_000_000));
        assert_eq!(timestamp_ntz("2024-01-01 12:00:00.5"), Some(noon + 500_000));
        assert_eq!(timestamp_ntz("2024-01-01T12:00:00Z"), None);
        for wrong in ["2024-01-01 24:00:00", "2024-01-01 12:60:00", "2024-01-01 12", "noon", ""] {
            assert_eq!(timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn integers_never_wrap_and_words_are_no_numbers() {
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("1.0"), None);
        assert!(!looks_like_double("nan"));
        assert!(!looks_like_double("infinity"));
        assert!(!looks_like_double("e5"));
        assert!(looks_like_double("-1.5e3"));
        assert_eq!(boolean("TRUE"), Some(true));
        assert_eq!(boolean("yes"), None);
    }
}
