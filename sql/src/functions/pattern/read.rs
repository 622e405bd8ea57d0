//! Reading times by a pattern.

use super::super::calendar::{DAY_MS, Day, HOUR_MS, MINUTE_MS, SECOND_MS};
use super::{Item, MONTHS, Pattern, WEEKDAYS};

/// The first of the hundred years that two digits mean.
const CENTURY_START: i64 = 1946;

/// No time further from 1970 than this, some 250,000 years, can be shown.
const LATEST_MS: i64 = 8_000_000_000_000_000;

/// The zones that have a name, with their hours from UTC.
const ZONES: [(&str, i64); 16] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("WET", 0),
    ("CEST", 2),
    ("CET", 1),
    ("EET", 2),
    ("BST", 1),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
];

/// What was read so far.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    /// The day of the year, where the pattern says it instead.
    day_of_year: Option<i64>,
    is_bc: bool,
    hour: i64,
    /// Whether the hour is one of twelve, to which the half of the day adds.
    is_half: bool,
    /// What the second half of the day adds.
    half_hours: i64,
    minute: i64,
    second: i64,
    ms: i64,
    offset_ms: i64,
}

impl Pattern {
    /// The time that `text` begins with, in milliseconds since the Unix epoch; none if it does not.
    pub(in super::super) fn read(&self, text: &str) -> Option<i64> {
        let mut fields = Fields {
            year: 1970,
            month: 1,
            day: 1,
            day_of_year: None,
            is_bc: false,
            hour: 0,
            is_half: true,
            half_hours: 0,
            minute: 0,
            second: 0,
            ms: 0,
            offset_ms: 0,
        };
        let mut rest = text;
        for (at, item) in self.items.iter().enumerate() {
            match item {
                Item::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Item::Field(letter, count) => {
                    // Digits without anything between two numbers are shared out by the letters.
                    let is_tight = matches!(self.items.get(at + 1), Some(Item::Field(..)));
                    rest = rest.trim_start_matches([' ', '\t']);
                    rest = fields.read(*letter, *count, is_tight, rest)?;
                }
            }
        }
        fields.ms_since_epoch()
    }
}

impl Fields {
    /// Reads one field from the beginning of `text` and returns what is behind it.
    fn read<'t>(
        &mut self,
        letter: char,
        count: usize,
        is_tight: bool,
        text: &'t str,
    ) -> Option<&'t str> {
        match letter {
            'M' | 'L' if count >= 3 => {
                let (month, rest) = name(&MONTHS, text)?;
                self.month = month + 1;
                return Some(rest);
            }
            'E' => return name(&WEEKDAYS, text).map(|(_, rest)| rest),
            'G' => {
                let (era, rest) = name(&["AD", "BC"], text)?;
                self.is_bc = era == 1;
                return Some(rest);
            }
            'a' => {
                let (half, rest) = name(&["AM", "PM"], text)?;
                self.half_hours = half * 12;
                return Some(rest);
            }
            'z' | 'Z' | 'X' => {
                let (offset_ms, rest) = zone(text)?;
                self.offset_ms = offset_ms;
                return Some(rest);
            }
            _ => {}
        }
        let (number, digits, rest) = number(text, if is_tight { count } else { usize::MAX })?;
        match letter {
            'y' | 'Y' if count <= 2 && digits == 2 => {
                self.year = CENTURY_START + (number - CENTURY_START).rem_euclid(100);
            }
            'y' | 'Y' => self.year = number,
            'M' | 'L' => self.month = number,
            'd' => (self.day, self.day_of_year) = (number, None),
            'D' => self.day_of_year = Some(number),
            'H' => (self.hour, self.is_half) = (number, false),
            'k' => (self.hour, self.is_half) = (if number == 24 { 0 } else { number }, false),
            'K' => (self.hour, self.is_half) = (number, true),
            // Leniently, as Java reads it: 14 is two in the afternoon, of either half.
            'h' => (self.hour, self.is_half) = (if number == 12 { 0 } else { number }, true),
            'm' => self.minute = number,
            's' => self.second = number,
            'S' => self.ms = number,
            // A week or its day does not say which day of which month it is.
            _ => {}
        }
        Some(rest)
    }

    fn ms_since_epoch(&self) -> Option<i64> {
        let year = if self.is_bc { 1 - self.year } else { self.year };
        let day = match self.day_of_year {
            Some(day) => Day { year, month: 1, day },
            None => Day { year, month: self.month, day: self.day },
        };
        let hour = if self.is_half { self.hour + self.half_hours } else { self.hour };
        let parts = [
            (day.number(), DAY_MS),
            (hour, HOUR_MS),
            (self.minute, MINUTE_MS),
            (self.second, SECOND_MS),
            (self.ms - self.offset_ms, 1),
        ];
        let ms = parts
            .into_iter()
            .try_fold(0_i64, |sum, (count, ms)| sum.checked_add(count.checked_mul(ms)?));
        ms.filter(|ms| ms.abs() <= LATEST_MS)
    }
}

/// The number of at most `digits_max` digits that `text` begins with, how many it has, and what is
/// behind it.
fn number(text: &str, digits_max: usize) -> Option<(i64, usize, &str)> {
    // More digits than these would be no date of this calendar.
    const DIGITS: usize = 9;
    let digits = text.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > DIGITS {
        return None;
    }
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, digits, rest))
}

/// Which of `names` the text begins with, whole or by its first three letters, in any case.
fn name<'t>(names: &[&str], text: &'t str) -> Option<(i64, &'t str)> {
    let whole = |name: &str| strip(text, name);
    let short = |name: &str| strip(text, name.get(..3)?);
    let find = |strip: &dyn Fn(&str) -> Option<&'t str>| {
        names.iter().zip(0_i64..).find_map(|(name, at)| Some((at, strip(name)?)))
    };
    find(&whole).or_else(|| find(&short))
}

/// What is behind `prefix`, in any case.
fn strip<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The zone that `text` begins with as milliseconds ahead of UTC: a name, `Z`, `+hh`, `+hhmm`, `+hh:mm`,
/// alone or behind `GMT`.
fn zone(text: &str) -> Option<(i64, &str)> {
    let behind_gmt = strip(text, "GMT").filter(|rest| rest.starts_with(['+', '-']));
    let signed = behind_gmt.unwrap_or(text);
    let sign = match signed.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => {
            let named =
                ZONES.iter().find_map(|(name, hours)| Some((hours * HOUR_MS, strip(text, name)?)));
            return named.or_else(|| Some((0, strip(text, "Z")?)));
        }
    };
    let (hours, digits, rest) = number(signed.get(1..)?, 4)?;
    let (hours, minutes, rest) = match (digits, rest.strip_prefix(':')) {
        (3 | 4, _) => (hours / 100, hours % 100, rest),
        (_, Some(behind)) => match number(behind, 2) {
            Some((minutes, _, rest)) => (hours, minutes, rest),
            None => (hours, 0, rest),
        },
        (_, None) => (hours, 0, rest),
    };
    Some((sign * (hours * HOUR_MS + minutes * MINUTE_MS), rest))
}
