//! Sizes and durations as people write them: `8g`, `512m`, `7d`, `30s`. Pure.

use std::time::Duration;

/// Bytes in `text`: a number with an optional `k`, `m`, `g` or `t` (powers of 1024, optional `b` or `ib` behind), as
/// in Spark.
///
/// # Errors
/// A sentence that says what was expected.
pub fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = split(&lower);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(format!("'{text}' is not a size: expected a number with k, m, g or t, for example 8g")),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is not a size: expected for example 8g or 512m"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is more than 16 EiB"))
}

/// The duration in `text`: a number with `s`, `m`, `h` or `d`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = split(&lower);
    let factor: u64 = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(format!("'{text}' is not a duration: expected a number with s, m, h or d, for example 7d")),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is not a duration: expected for example 7d"))?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| format!("'{text}' is too long"))
}

/// Bytes as people read them.
pub fn show_bytes(bytes: u64) -> String {
    let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (name, size) in units {
        if bytes >= size {
            return format!("{}.{} {name}", bytes / size, (bytes % size) * 10 / size);
        }
    }
    format!("{bytes} B")
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_like_sparks() {
        for (text, expected) in
            [("8g", 8 << 30), ("512m", 512 << 20), ("1024", 1024), ("2 GiB", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "g", "8x", "-1", "99999999999999t"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
        assert_eq!(show_bytes(1536), "1.5 KiB");
    }
}
