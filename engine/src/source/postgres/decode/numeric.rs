//! Binary `numeric`: base-10000 digits with a weight, to an integer at the column's scale. Pure.
//!
//! Layout: digit count, weight of the first digit, sign, display scale (16 bits each), then the digits.

use super::Bad;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
const BASE: i128 = 10_000;

/// The value times 10^scale, rounded half away from zero.
pub(super) fn decimal(value: &[u8], precision: u8, scale: i8) -> Result<i128, Bad> {
    let (header, digits) = value.split_first_chunk::<8>().ok_or(Bad::Malformed("a numeric without header"))?;
    let [c0, c1, w0, w1, s0, s1, ..] = *header;
    let weight = i16::from_be_bytes([w0, w1]);
    let sign = u16::from_be_bytes([s0, s1]);
    match sign {
        0 | NEGATIVE => {}
        NAN => return Err(Bad::Value("the numeric 'NaN', and a decimal has none".to_owned())),
        INFINITY => return Err(Bad::Value("the numeric 'Infinity', and a decimal has none".to_owned())),
        MINUS_INFINITY => return Err(Bad::Value("the numeric '-Infinity', and a decimal has none".to_owned())),
        _ => return Err(Bad::Malformed("a numeric of an unknown sign")),
    }
    if digits.len() != 2 * usize::from(u16::from_be_bytes([c0, c1])) {
        return Err(Bad::Malformed("a numeric of the wrong length"));
    }
    let magnitude = magnitude(digits, weight, scale)
        .filter(|magnitude| power_of_ten(i32::from(precision)).is_none_or(|limit| *magnitude < limit));
    match magnitude {
        Some(magnitude) if sign == NEGATIVE => Ok(-magnitude),
        Some(magnitude) => Ok(magnitude),
        None => Err(Bad::Value(format!(
            "the numeric {}, which does not fit a decimal({precision},{scale})",
            text(digits, weight, sign == NEGATIVE)
        ))),
    }
}

/// The absolute value times 10^scale; `None` when it does not fit.
fn magnitude(digits: &[u8], weight: i16, scale: i8) -> Option<i128> {
    // `value` counts units of 10^(power + 4): one more base-10000 digit makes it units of 10^power.
    let mut value: i128 = 0;
    let mut power = 4 * i32::from(weight) + i32::from(scale);
    for digit in digits.chunks_exact(2) {
        let digit = i128::from(u16::from_be_bytes(digit.try_into().ok()?));
        match power {
            0.. => value = value.checked_mul(BASE)?.checked_add(digit)?,
            -3..0 => {
                let divisor = power_of_ten(-power)?;
                let rounded = (digit + divisor / 2) / divisor;
                return value.checked_mul(power_of_ten(power + 4)?)?.checked_add(rounded);
            }
            -4 => return value.checked_add(i128::from(digit >= BASE / 2)),
            _ => return Some(value),
        }
        power -= 4;
    }
    // Zeros at the end are not sent.
    match power + 4 {
        _ if value == 0 => Some(0),
        zeros @ 1.. => value.checked_mul(power_of_ten(zeros)?),
        _ => Some(value),
    }
}

fn power_of_ten(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

/// The value in decimal digits, for messages.
fn text(digits: &[u8], weight: i16, negative: bool) -> String {
    let mut text = String::from(if negative { "-" } else { "" });
    let groups: Vec<u16> = digits.chunks_exact(2).map(|digit| digit.try_into().map_or(0, u16::from_be_bytes)).collect();
    let group = |place: i32| usize::try_from(i32::from(weight) - place).ok().and_then(|at| groups.get(at)).copied();
    let whole: String =
        (0..=i32::from(weight)).rev().map(|place| format!("{:04}", group(place).unwrap_or(0))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let last = i32::from(weight) + 1 - i32::try_from(groups.len()).unwrap_or(0);
    let fraction: String = (last..0).rev().map(|place| format!("{:04}", group(place).unwrap_or(0))).collect();
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let mut bytes = [count.to_be_bytes(), weight.to_be_bytes(), sign.to_be_bytes(), [0, 0]].concat();
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        bytes
    }

    #[test]
    fn digits_land_at_the_scale() {
        for (weight, sign, digits, scale, expected) in [
            (0, 0, [].as_slice(), 2, 0_i128),
            (0, 0, &[1], 0, 1),
            (0, NEGATIVE, &[12, 3400], 2, -1234),
            (0, 0, &[12, 3400], 4, 123_400),
            (0, 0, &[12, 3400], 18, 12_340_000_000_000_000_000),
            // 10^8 and 10^-8.
            (2, 0, &[1], 0, 100_000_000),
            (-2, 0, &[1], 8, 1),
            (-2, 0, &[1], 7, 0),
            (-2, 0, &[1], 2, 0),
            (-3, 0, &[9999], 0, 0),
        ] {
            assert_eq!(decimal(&numeric(weight, sign, digits), 38, scale), Ok(expected), "{weight} {digits:?} {scale}");
        }
    }

    #[test]
    fn excess_digits_round_half_away_from_zero() {
        // 1.2345 at scales 3 to 0, 0.5, 0.49995, 9.9999.
        assert_eq!(decimal(&numeric(0, 0, &[1, 2345]), 38, 3), Ok(1235));
        assert_eq!(decimal(&numeric(0, NEGATIVE, &[1, 2345]), 38, 3), Ok(-1235));
        assert_eq!(decimal(&numeric(0, 0, &[1, 2345]), 38, 2), Ok(123));
        assert_eq!(decimal(&numeric(-1, 0, &[5000]), 38, 0), Ok(1));
        assert_eq!(decimal(&numeric(-1, 0, &[4999, 9999]), 38, 0), Ok(0));
        assert_eq!(decimal(&numeric(0, 0, &[9, 9999]), 38, 1), Ok(100));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = decimal(&numeric(1, NEGATIVE, &[12, 3456, 7800]), 5, 1).unwrap_err();
        assert_eq!(error, Bad::Value("the numeric -123456.78, which does not fit a decimal(5,1)".to_owned()));
        let Err(Bad::Value(large)) = decimal(&numeric(9, 0, &[1]), 38, 18) else { panic!("10^36 fits decimal(38,18)") };
        assert!(large.contains(&format!("1{}", "0".repeat(36))), "{large}");
        assert!(decimal(&numeric(0, NAN, &[]), 38, 18).is_err());
        assert!(decimal(&numeric(0, INFINITY, &[]), 38, 18).is_err());
    }

    #[test]
    fn the_widest_decimal_fits() {
        let digits = [99].into_iter().chain(std::iter::repeat_n(9999, 9)).collect::<Vec<u16>>();
        assert_eq!(decimal(&numeric(9, 0, &digits), 38, 0), Ok(10_i128.pow(38) - 1));
        assert!(decimal(&numeric(9, 0, &[100]), 38, 0).is_err());
        // Rounding up may leave the precision.
        assert!(decimal(&numeric(0, 0, &[9, 9990]), 2, 1).is_err());
    }
}
