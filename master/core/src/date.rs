//! Milliseconds since 1970 to UTC calendar text, for ids and messages. Pure.

const MS_PER_SECOND: u64 = 1_000;
const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_PER_ERA: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_OFFSET_DAYS: u64 = 719_468;

/// `YYYYMMDDHHMMSS` in UTC. Proleptic Gregorian, as in Howard Hinnant's `civil_from_days`.
pub(crate) fn compact(at_ms: u64) -> String {
    let seconds = at_ms / MS_PER_SECOND;
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let (hour, minute, second) = clock(seconds);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

/// `HH:MM:SS` in UTC.
pub(crate) fn time_of_day(at_ms: u64) -> String {
    let (hour, minute, second) = clock(at_ms / MS_PER_SECOND);
    format!("{hour:02}:{minute:02}:{second:02}")
}

const fn clock(seconds: u64) -> (u64, u64, u64) {
    let second = seconds % SECONDS_PER_DAY;
    (second / 3_600, second / 60 % 60, second % 60)
}

fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + EPOCH_OFFSET_DAYS;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months are counted from March, so that the leap day is the last one of the year.
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_in_utc() {
        for (at_ms, expected) in [
            (0, "19700101000000"),
            (951_782_399_000, "20000228235959"),
            (951_782_400_999, "20000229000000"),
            (951_868_800_000, "20000301000000"),
            (1_795_253_412_000, "20261121093012"),
            (4_107_542_400_000, "21000301000000"),
        ] {
            assert_eq!(compact(at_ms), expected);
            assert_eq!(time_of_day(at_ms).replace(':', ""), expected[8..]);
        }
    }

    #[test]
    fn consecutive_days_differ_by_one_day() {
        let mut previous = civil(0);
        for day in 1..60_000 {
            let current = civil(day);
            assert!(current > previous, "{current:?} follows {previous:?}");
            assert!(current.2 == previous.2 + 1 || current.2 == 1);
            previous = current;
        }
    }
}
