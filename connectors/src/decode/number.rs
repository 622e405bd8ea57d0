//! Numbers as text, read exactly: a value that its type cannot hold is an error, never a neighbour.

/// A whole number. `1.0` and `1e3` are whole, `1.5` is not.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // 18 digits cannot overflow, and nearly all numbers have fewer.
    if (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        let value = digits.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        return Some(if negative { -value } else { value });
    }
    i64::try_from(parse_scaled(bytes, 0, Excess::Refuse)?).ok()
}

/// A decimal of `precision` digits, `scale` of them behind the point; further ones are rounded, half
/// away from zero.
pub(super) fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let value = parse_scaled(text.as_bytes(), scale.into(), Excess::Round)?;
    let limit = 10_i128.checked_pow(precision.into())?;
    (-limit < value && value < limit).then_some(value)
}

/// A floating-point number; what is too large for one is an error, not infinity.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let value = text.parse::<f64>().ok()?;
    let named = value.is_finite() || !text.bytes().any(|byte| byte.is_ascii_digit());
    named.then_some(value)
}

/// What happens to digits behind the last one that is kept.
#[derive(Clone, Copy, PartialEq)]
enum Excess {
    Round,
    Refuse,
}

/// `text` times ten to the power of `scale`, as a whole number.
fn parse_scaled(text: &[u8], scale: i64, excess: Excess) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mantissa_len = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match mantissa_len {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let (whole, fraction) = (&mantissa[..point], mantissa.get(point + 1..).unwrap_or_default());
    let count = whole.len() + fraction.len();
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    (count > 0 && all_digits).then_some(())?;
    // How many digits stand before the point of the scaled number.
    let kept = i64::try_from(whole.len()).ok()? + exponent + scale;
    let mut value = 0_i128;
    for (index, digit) in (0_i64..).zip(whole.iter().chain(fraction)) {
        let digit = i128::from(digit - b'0');
        if index < kept {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 && excess == Excess::Refuse {
            return None;
        } else if index == kept && digit >= 5 {
            value = value.checked_add(1)?;
        }
    }
    let missing = kept - i64::try_from(count).ok()?;
    if value != 0 && missing > 0 {
        value = value.checked_mul(10_i128.checked_pow(u32::try_from(missing).ok()?)?)?;
    }
    Some(if negative { -value } else { value })
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(())?;
    // Beyond a million every number is zero or too large; saturating keeps the sum in range.
    let value = digits
        .iter()
        .fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1 << 20));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_read_as_the_standard_library_reads_them(number: i64) {
            prop_assert_eq!(parse_integer(&number.to_string()), Some(number));
            prop_assert_eq!(parse_integer(&format!("{number}.000")), Some(number));
        }

        /// The model: shift the point in the text, then read a whole number.
        #[test]
        fn decimals_are_exact(whole in 0..1_000_000_i64, fraction in "[0-9]{0,6}", minus: bool) {
            let sign = if minus { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}");
            let shifted: i128 = format!("{sign}{whole}{fraction:0<6}").parse().unwrap();
            prop_assert_eq!(parse_decimal(&text, 18, 6), Some(shifted));
            prop_assert_eq!(parse_decimal(&format!("{text}e-2"), 18, 8), Some(shifted));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9eE.]{0,50}") {
            let _ = (parse_integer(&text), parse_decimal(&text, 38, 10), parse_float(&text));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(parse_integer("9223372036854775808"), None);
        assert_eq!(parse_integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_integer("1.5"), None);
        assert_eq!(parse_integer("1e3"), Some(1_000));
        assert_eq!(parse_integer("1e-400000000000000000000"), None);
        assert_eq!(parse_integer(""), None);
        assert_eq!(parse_integer("."), None);
        assert_eq!(parse_decimal("0.125", 5, 2), Some(13));
        assert_eq!(parse_decimal("-0.125", 5, 2), Some(-13));
        assert_eq!(parse_decimal("999.995", 5, 2), None);
        assert_eq!(parse_decimal("0e999999999999", 5, 2), Some(0));
        assert_eq!(parse_float("1e999"), None);
        assert_eq!(parse_float("inf"), Some(f64::INFINITY));
    }
}
