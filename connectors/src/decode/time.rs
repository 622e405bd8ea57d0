//! Dates and times as text: what KDA accepts, and ISO 8601 as its examples use it.
//!
//! `yyyy-MM-dd`, `yyyy-MM-dd HH:mm:ss[.f…]`, the same with `T` between, and with `Z` or an offset
//! such as `+02:00` behind, which is converted to UTC. Written by hand because it runs once per
//! record; a test compares it with Arrow's parser.

/// A moment as seconds since the Unix epoch and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    seconds: i64,
    nanos: u32,
}

impl Moment {
    /// The moment in units of which `per_second` make a second, finer parts cut off.
    pub(super) fn in_units(self, per_second: i64) -> Option<i64> {
        let fraction = i64::from(self.nanos) / (1_000_000_000 / per_second);
        self.seconds.checked_mul(per_second)?.checked_add(fraction)
    }
}

const DAY_SECONDS: i64 = 86_400;

/// A date with or without a time of day.
pub(super) fn parse_timestamp(text: &str) -> Option<Moment> {
    let bytes = text.trim_ascii().as_bytes();
    let days = i64::from(date_prefix(bytes)?);
    let Some((separator, time)) = bytes[10..].split_first() else {
        return Some(Moment { seconds: days * DAY_SECONDS, nanos: 0 });
    };
    matches!(separator, b' ' | b'T' | b't').then_some(())?;
    let (time_seconds, nanos, rest) = time_prefix(time)?;
    let seconds = days * DAY_SECONDS + time_seconds - offset_seconds(rest)?;
    Some(Moment { seconds, nanos })
}

/// A date alone, as days since the Unix epoch.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.trim_ascii().as_bytes();
    if bytes.len() == 10 { date_prefix(bytes) } else { None }
}

/// A time of day.
pub(super) fn parse_time(text: &str) -> Option<Moment> {
    let (seconds, nanos, rest) = time_prefix(text.trim_ascii().as_bytes())?;
    rest.is_empty().then_some(Moment { seconds, nanos })
}

fn date_prefix(bytes: &[u8]) -> Option<i32> {
    let (year, month, day) = match bytes.get(..10)? {
        [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] => {
            (two(*y0, *y1)? * 100 + two(*y2, *y3)?, two(*m0, *m1)?, two(*d0, *d1)?)
        }
        _ => return None,
    };
    let real = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    real.then(|| days_since_epoch(year, month, day))
}

/// Seconds since midnight, nanoseconds, and what follows.
fn time_prefix(bytes: &[u8]) -> Option<(i64, u32, &[u8])> {
    let (hour, minute, rest) = match bytes {
        [h0, h1, b':', m0, m1, rest @ ..] => (two(*h0, *h1)?, two(*m0, *m1)?, rest),
        _ => return None,
    };
    let (second, rest) = match rest {
        [b':', s0, s1, rest @ ..] => (two(*s0, *s1)?, rest),
        _ => return None,
    };
    (hour < 24 && minute < 60 && second < 60).then_some(())?;
    let (nanos, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        _ => (0, rest),
    };
    Some((i64::from(hour * 3600 + minute * 60 + second), nanos, rest))
}

fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = bytes.split_at(digits);
    let at = |i: usize| fraction.get(i).map_or(0, |digit| u32::from(digit - b'0'));
    let nanos = (0..9).fold(0, |nanos, i| nanos * 10 + at(i));
    (digits > 0).then_some((nanos, rest))
}

/// Seconds east of Greenwich: nothing and `Z` are none.
fn offset_seconds(bytes: &[u8]) -> Option<i64> {
    let (sign, hour, minute) = match bytes.trim_ascii_start() {
        [] | [b'Z' | b'z'] => return Some(0),
        [sign, h0, h1] => (sign, two(*h0, *h1)?, 0),
        [sign, h0, h1, b':', m0, m1] | [sign, h0, h1, m0, m1] => {
            (sign, two(*h0, *h1)?, two(*m0, *m1)?)
        }
        _ => return None,
    };
    (hour < 24 && minute < 60).then_some(())?;
    let seconds = i64::from(hour * 3600 + minute * 60);
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i32> {
    let both = tens.is_ascii_digit() && ones.is_ascii_digit();
    both.then(|| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        2 => 28 + i32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, for years 0 to 9999.
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    // Days before each month of a year that is no leap year.
    const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_day = i32::from(month > 2 && is_leap(year));
    let in_year = BEFORE.get(usize::try_from(month - 1).unwrap_or(0)).copied().unwrap_or(0);
    // Leap days in the years before this one; the year 0 is a leap year itself.
    let leap_days = if year == 0 {
        0
    } else {
        let last = year - 1;
        last / 4 - last / 100 + last / 400 + 1
    };
    year * 365 + leap_days + in_year + leap_day + day - 1 - 719_528
}

#[cfg(test)]
mod tests {
    use arrow::compute::kernels::cast_utils::{Parser, string_to_timestamp_nanos};
    use arrow::datatypes::Date32Type;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timestamps_read_as_arrow_reads_them(
            date in (1700..2260_i32, 1..13_u32, 1..32_u32),
            time in (0..24_u32, 0..60_u32, 0..60_u32),
            fraction in proptest::option::of("[0-9]{1,9}"),
            zone in prop::sample::select(vec!["", "Z", "+02:00", "-11:30"]),
            separator in prop::sample::select(vec![" ", "T"]),
        ) {
            let fraction = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
            let (date, time) = (
                format!("{:04}-{:02}-{:02}", date.0, date.1, date.2),
                format!("{:02}:{:02}:{:02}", time.0, time.1, time.2),
            );
            let text = format!("{date}{separator}{time}{fraction}{zone}");
            let ours = parse_timestamp(&text).and_then(|moment| moment.in_units(1_000_000_000));
            prop_assert_eq!(ours, string_to_timestamp_nanos(&text).ok());
            prop_assert_eq!(parse_date(&date), Date32Type::parse(&date));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (parse_timestamp(&text), parse_date(&text), parse_time(&text));
        }
    }

    #[test]
    fn the_edges_of_the_calendar_hold() {
        let ms = |text| parse_timestamp(text).and_then(|moment| moment.in_units(1_000));
        assert_eq!(ms("1970-01-01"), Some(0));
        assert_eq!(ms("0000-01-01"), Some(-62_167_219_200_000));
        assert_eq!(ms("9999-12-31 23:59:59.999"), Some(253_402_300_799_999));
        assert_eq!(ms("1992-02-14 18:35:44.0"), Some(698_092_544_000));
        assert_eq!(ms("2023-02-29"), None);
        assert_eq!(ms("2023-01-01x"), None);
        assert_eq!(parse_date("1992-02-14 18:35:44"), None);
        assert_eq!(parse_time("23:59:59.5").and_then(|t| t.in_units(1_000)), Some(86_399_500));
    }
}
