//! Writing times by a pattern.

use std::fmt::Write as _;

use super::super::calendar::{DAY_MS, Day, HOUR_MS, MINUTE_MS, SECOND_MS, split, weekday};
use super::{Item, MONTHS, Pattern, WEEKDAYS};

impl Pattern {
    /// Appends the time `ms`, in milliseconds since the Unix epoch, to `text`.
    pub(in super::super) fn write(&self, ms: i64, text: &mut String) {
        let (days, in_day) = split(ms);
        let moment = Moment { days, day: Day::of(days), in_day };
        for item in &self.items {
            match item {
                Item::Literal(literal) => text.push_str(literal),
                Item::Field(letter, count) => moment.field(*letter, *count, text),
            }
        }
    }
}

struct Moment {
    days: i64,
    day: Day,
    in_day: i64,
}

impl Moment {
    fn field(&self, letter: char, count: usize, text: &mut String) {
        let Day { year, month, day } = self.day;
        let hour = self.in_day / HOUR_MS;
        let number = match letter {
            'y' => return years(if year > 0 { year } else { 1 - year }, count, text),
            'Y' => return years(self.week().0, count, text),
            'M' | 'L' if count >= 3 => return name(&MONTHS, month - 1, count, text),
            'E' => return name(&WEEKDAYS, weekday(self.days), count, text),
            'G' => return text.push_str(if year > 0 { "AD" } else { "BC" }),
            'a' => return text.push_str(if hour < 12 { "AM" } else { "PM" }),
            'z' if count >= 4 => return text.push_str("Coordinated Universal Time"),
            'z' => return text.push_str("UTC"),
            'Z' => return text.push_str("+0000"),
            'X' => return text.push('Z'),
            'M' | 'L' => month,
            'd' => day,
            'D' => self.days - Day::new_year(year).number() + 1,
            'u' => (weekday(self.days) + 6) % 7 + 1,
            'w' => self.week().1,
            'W' => (day - 1 + weekday(self.days - day + 1)) / 7 + 1,
            'F' => (day - 1) / 7 + 1,
            'H' => hour,
            'k' if hour == 0 => 24,
            'k' => hour,
            'K' => hour % 12,
            'h' => (hour + 11) % 12 + 1,
            'm' => self.in_day % HOUR_MS / MINUTE_MS,
            's' => self.in_day % MINUTE_MS / SECOND_MS,
            _ => self.in_day % SECOND_MS,
        };
        padded(number, count, text);
    }

    /// The year and number of the week; weeks begin on Sunday, and the first has the first of January.
    fn week(&self) -> (i64, i64) {
        let sunday = self.days - weekday(self.days);
        let year = Day::of(sunday + 6).year;
        let first = Day::new_year(year).number();
        (year, (sunday - (first - weekday(first))) / 7 + 1)
    }
}

fn years(year: i64, count: usize, text: &mut String) {
    if count == 2 { padded(year % 100, 2, text) } else { padded(year, count, text) }
}

fn name(names: &[&str], at: i64, count: usize, text: &mut String) {
    let name = usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    if count >= 4 { text.push_str(name) } else { text.extend(name.chars().take(3)) }
}

fn padded(number: i64, width: usize, text: &mut String) {
    // Writing to a text does not fail.
    write!(text, "{number:0width$}").unwrap_or_default();
}

/// Appends `ms`, milliseconds since the Unix epoch, as `yyyy-MM-dd HH:mm:ss`.
pub(in super::super) fn timestamp(ms: i64, text: &mut String) {
    date(ms.div_euclid(DAY_MS), text);
    text.push(' ');
    time(ms.rem_euclid(DAY_MS), text);
}

/// Appends the day that is `days` after the Unix epoch as `yyyy-MM-dd`.
pub(in super::super) fn date(days: i64, text: &mut String) {
    let Day { year, month, day } = Day::of(days);
    write!(text, "{year:04}-{month:02}-{day:02}").unwrap_or_default();
}

/// Appends the time of day as `HH:mm:ss`.
pub(in super::super) fn time(in_day: i64, text: &mut String) {
    let (hour, minute) = (in_day / HOUR_MS, in_day % HOUR_MS / MINUTE_MS);
    let second = in_day % MINUTE_MS / SECOND_MS;
    write!(text, "{hour:02}:{minute:02}:{second:02}").unwrap_or_default();
}
