//! Days and years: the proleptic Gregorian calendar on milliseconds since the Unix epoch.

pub(super) const SECOND_MS: i64 = 1_000;
pub(super) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
}

const DAYS_PER_ERA: i64 = 146_097;
const YEARS_PER_ERA: i64 = 400;
/// From the first of March of year 0 to the Unix epoch.
const DAYS_TO_EPOCH: i64 = 719_468;

impl Day {
    /// The day that is `days` after the Unix epoch. Years begin in March while it is computed, so that
    /// the leap day is a year's last.
    pub(super) fn of(days: i64) -> Self {
        let shifted = days + DAYS_TO_EPOCH;
        let era = shifted.div_euclid(DAYS_PER_ERA);
        let in_era = shifted.rem_euclid(DAYS_PER_ERA);
        let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year + year / 4 - year / 100);
        let march_month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year + era * YEARS_PER_ERA + i64::from(month <= 2);
        Self { year, month, day }
    }

    /// How many days it is after the Unix epoch. The month and the day may be out of range: they count
    /// on, as in Java's lenient calendar.
    pub(super) fn number(self) -> i64 {
        let months = self.month - 1;
        let year = self.year + months.div_euclid(12);
        let month = months.rem_euclid(12) + 1;
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(YEARS_PER_ERA);
        let in_era = year.rem_euclid(YEARS_PER_ERA);
        let march_month = (month + 9) % 12;
        let in_year = (153 * march_month + 2) / 5;
        era * DAYS_PER_ERA + in_era * 365 + in_era / 4 - in_era / 100 + in_year - DAYS_TO_EPOCH
            + self.day
            - 1
    }

    /// The first of January of `year`.
    pub(super) fn new_year(year: i64) -> Self {
        Self { year, month: 1, day: 1 }
    }
}

/// The day of the week, Sunday 0, of the day that is `days` after the Unix epoch.
pub(super) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The day and the milliseconds in it of a time.
pub(super) fn split(ms: i64) -> (i64, i64) {
    (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_days_are_where_they_are() {
        for (days, year, month, day) in
            [(0, 1970, 1, 1), (-1, 1969, 12, 31), (11_016, 2000, 2, 29), (-719_162, 1, 1, 1)]
        {
            assert_eq!(Day::of(days), Day { year, month, day });
        }
        assert_eq!(weekday(0), 4);
        assert_eq!(
            Day { year: 2009, month: 14, day: 0 }.number(),
            Day { year: 2010, month: 1, day: 31 }.number()
        );
    }

    proptest! {
        #[test]
        fn a_day_has_one_number(days in -1_000_000_i64..1_000_000) {
            prop_assert_eq!(Day::of(days).number(), days);
            prop_assert!(Day::of(days).number() < Day::of(days + 1).number());
        }
    }
}
