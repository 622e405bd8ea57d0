//! Patterns for dates and times in the letters of Java's `SimpleDateFormat`: `yyyy-MM-dd HH:mm:ss`.
//!
//! Reading is lenient, as Java's is by default: what follows the pattern's end is left alone, numbers
//! out of range count on (month 13 is the next January), and what a pattern does not name is that of
//! 1970-01-01 00:00:00. There is one difference: Java's two-digit years move with the machine's clock,
//! which would make a replay differ; here they are 1946 to 2045.

mod read;
mod write;

use datafusion::common::{Result, exec_err};
pub(super) use write::{date, time, timestamp};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Sunday.
pub(super) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The letters that mean something.
const LETTERS: &str = "GyYMLwWDdFEuaHkKhmsSzZX";

/// A pattern as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(String),
    /// A letter and how often it stands there.
    Field(char, usize),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// When it has a letter that means nothing, or a quote that does not end.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut items: Vec<Item> = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            if letter == '\'' && rest.next_if_eq(&'\'').is_some() {
                literal(&mut items, "'");
            } else if letter == '\'' {
                let mut quoted = String::new();
                loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => quoted.push('\''),
                        Some('\'') => break,
                        Some(other) => quoted.push(other),
                        None => return exec_err!("the quote in the pattern '{text}' does not end"),
                    }
                }
                literal(&mut items, &quoted);
            } else if LETTERS.contains(letter) {
                let mut count = 1;
                while rest.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                items.push(Item::Field(letter, count));
            } else if letter.is_ascii_alphabetic() {
                return exec_err!("the letter {letter} means nothing in the pattern '{text}'");
            } else {
                literal(&mut items, letter.encode_utf8(&mut [0; 4]));
            }
        }
        Ok(Self { items })
    }
}

fn literal(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        Some(Item::Literal(before)) => before.push_str(text),
        _ => items.push(Item::Literal(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pattern: &str, text: &str) -> Option<i64> {
        Pattern::parse(pattern).unwrap().read(text)
    }

    fn write(pattern: &str, ms: i64) -> String {
        let mut text = String::new();
        Pattern::parse(pattern).unwrap().write(ms, &mut text);
        text
    }

    const FULL: &str = "yyyy-MM-dd HH:mm:ss.SSS";

    #[test]
    fn the_documented_vectors_read_as_documented() {
        for (pattern, text, result) in [
            ("yyyy-MM-dd", "2009-09-16 03:15:24", "2009-09-16 00:00:00.000"),
            ("yyyy-hh-mm", "2009-09-16 03:15:24", "2009-01-01 09:16:00.000"),
            ("yyyy-mm", "2012-02-08 07:23:19", "2012-01-01 00:02:00.000"),
            ("MMM dd, yyyy", "March 7, 2010", "2010-03-07 00:00:00.000"),
            ("MMM dd,", "March 7, 2010", "1970-03-07 00:00:00.000"),
            ("M-d", "2-8", "1970-02-08 00:00:00.000"),
            ("dd-MM-yy hh:mm:ss", "23-06-11 10:11:12", "2011-06-23 10:11:12.000"),
            ("MM/dd/yy hh:mm:ss", "12/19/11 12:11:10", "2011-12-19 00:11:10.000"),
            ("yyyy", "16 03:15", "0016-01-01 00:00:00.000"),
            ("dd/MMM/yyyy:HH:mm:ss z", "24/May/2004:22:01:02 -0700", "2004-05-25 05:01:02.000"),
            ("yyyyMMddHHmmss", "20181101123456", "2018-11-01 12:34:56.000"),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2018-11-01T12:34:56+02", "2018-11-01 10:34:56.000"),
            ("yyyy-MM-dd hh:mm a", "2018-11-01 11:05 pm", "2018-11-01 23:05:00.000"),
            ("yyyy-MM-dd", "2018-13-32", "2019-02-01 00:00:00.000"),
            ("yyyy DDD", "2020 366", "2020-12-31 00:00:00.000"),
        ] {
            let read = read(pattern, text).map(|ms| write(FULL, ms));
            assert_eq!(read.as_deref(), Some(result), "{pattern} {text}");
        }
        for (pattern, text) in
            [("yyyy hh", "2009-09-16"), ("yyyy-MM hh", "2009-09-16"), ("MMM", "09"), ("HH", "")]
        {
            assert_eq!(read(pattern, text), None, "{pattern} {text}");
        }
    }

    #[test]
    fn a_time_is_written_in_every_letter() {
        let ms = 1_525_870_241_337; // Wednesday 2018-05-09 12:50:41.337
        for (pattern, text) in [
            ("yyyy-MM-dd hh:mm:ss", "2018-05-09 12:50:41"),
            ("yy MMM MMMM d", "18 May May 9"),
            ("EEE, EEEE u", "Wed, Wednesday 3"),
            ("k K h H a SSS", "12 0 12 12 PM 337"),
            ("D w W F", "129 19 2 2"),
            ("z Z X G ''''", "UTC +0000 Z AD ''"),
            ("'at' HH 'o''clock'", "at 12 o'clock"),
        ] {
            assert_eq!(write(pattern, ms), text, "{pattern}");
        }
        assert_eq!(write("hh", 13 * 3_600_000), "01");
    }

    #[test]
    fn a_wrong_pattern_is_refused() {
        assert!(Pattern::parse("yyyy b").is_err());
        assert!(Pattern::parse("yyyy 'T").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ms in -50_000_000_000_000_i64..200_000_000_000_000) {
            for pattern in [FULL, "EEE dd MMM yyyy HH:mm:ss.SSS z", "yyyyMMddHHmmssSSS", "yyyy DDD kk:mm:ss.SSS", "yyyy-MM-dd hh:mm:ss.SSS a"] {
                prop_assert_eq!(read(pattern, &write(pattern, ms)), Some(ms), "{}", pattern);
            }
        }

        #[test]
        fn no_text_is_a_surprise(pattern in "[yMdHhmsSaEzZX '/:-]{0,12}", text in "\\PC{0,20}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.read(&text);
            }
        }
    }
}
