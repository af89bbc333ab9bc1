//! Dates and times: PostgreSQL counts from 2000, Arrow from 1970; PostgreSQL has infinity, Arrow has not. Pure.

use super::Bad;

/// Length of `HH:MM:SS.ffffff`.
pub(super) const TIME_LENGTH: usize = 15;

/// From 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// Days since 1970 of days since 2000.
pub(super) fn date(days: i32) -> Result<i32, Bad> {
    match days {
        i32::MAX => Err(Bad::Value("the date 'infinity'".to_owned())),
        i32::MIN => Err(Bad::Value("the date '-infinity'".to_owned())),
        _ => days.checked_add(EPOCH_DAYS).ok_or_else(|| Bad::Value(format!("a date {days} days after 2000-01-01"))),
    }
}

/// Microseconds since 1970 of microseconds since 2000.
pub(super) fn timestamp(micros: i64) -> Result<i64, Bad> {
    match micros {
        i64::MAX => Err(Bad::Value("the timestamp 'infinity'".to_owned())),
        i64::MIN => Err(Bad::Value("the timestamp '-infinity'".to_owned())),
        _ => micros.checked_add(EPOCH_MICROS).ok_or_else(|| {
            Bad::Value(format!(
                "a timestamp {micros} microseconds after 2000-01-01, beyond the range of a Delta timestamp"
            ))
        }),
    }
}

/// `HH:MM:SS.ffffff` of microseconds since midnight; PostgreSQL has 24:00:00 too.
pub(super) fn time(micros: i64) -> Result<[u8; TIME_LENGTH], Bad> {
    if !(0..=DAY_MICROS).contains(&micros) {
        return Err(Bad::Malformed("a time outside of its day"));
    }
    let mut text = *b"00:00:00.000000";
    let seconds = micros / 1_000_000;
    let parts = [(0, 2, seconds / 3600), (3, 2, seconds / 60 % 60), (6, 2, seconds % 60), (9, 6, micros % 1_000_000)];
    for (start, digits, mut number) in parts {
        for place in text.iter_mut().skip(start).take(digits).rev() {
            *place += u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_and_the_far_future_are_refused_and_the_rest_shifted() {
        assert_eq!(date(0), Ok(10_957));
        assert_eq!(date(-10_957), Ok(0));
        assert!(matches!(date(i32::MAX), Err(Bad::Value(_))));
        assert_eq!(timestamp(-EPOCH_MICROS), Ok(0));
        assert!(matches!(timestamp(i64::MIN), Err(Bad::Value(_))));
        assert!(matches!(timestamp(9_223_371_331_199_999_999), Err(Bad::Value(_))));
    }

    #[test]
    fn times_have_six_fraction_digits() {
        assert_eq!(time(0).unwrap(), *b"00:00:00.000000");
        assert_eq!(time(86_399_000_001).unwrap(), *b"23:59:59.000001");
        assert_eq!(time(DAY_MICROS).unwrap(), *b"24:00:00.000000");
        assert!(time(-1).is_err());
    }
}
