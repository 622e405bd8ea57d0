//! Texts. Positions count characters from 1, and may lie before the first or behind the last.
//!
//! Source: "String functions" of the Kinesis Data Analytics SQL reference.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};

use super::Function;
use super::Param::{Bytes, Integer, Text};
use super::bytes::{self, is_bytes};
use super::call::{Call, Compiled};
use super::regex::Regex;
use crate::rewrite::with_backslashes;

/// `SUBSTRING(s FROM p [FOR n])`, and `SUBSTRING(s FROM 'regex')`.
pub(crate) const SUBSTRING: &str = "__substring";
/// `SUBSTRING(s, p [, n])`, which is NULL behind the end.
pub(crate) const SUBSTR: &str = "substr";
/// `SUBSTRING(s SIMILAR pattern ESCAPE c)`: the regular expressions of the three parts of the pattern.
pub(crate) const SUBSTRING_SIMILAR: &str = "__substring_similar";
/// `TRIM([where] [c FROM] s)`.
pub(crate) const TRIM: &str = "__trim";
/// The pattern of a `LIKE` with the escapes of DataFusion's: the pattern and its escape, or nothing.
pub(crate) const LIKE_PATTERN: &str = "__like_pattern";
/// `OVERLAY(s PLACING r FROM p [FOR n])`.
pub(crate) const OVERLAY: &str = "__overlay";

pub(super) fn functions() -> Vec<Function> {
    let text = |_: &[DataType], _: &[Option<&ScalarValue>]| Ok(DataType::Utf8);
    vec![
        Function::new("initcap", &[&[Text]], text, initcap),
        Function::new(
            SUBSTRING,
            &[
                &[Text, Integer],
                &[Text, Integer, Integer],
                &[Text, Text],
                &[Bytes, Integer],
                &[Bytes, Integer, Integer],
            ],
            part,
            |call| match call.returns {
                DataType::Binary => bytes::substring(call),
                _ if call.is_text(1) => first_match(call),
                _ => substring(call, Behind::Empty),
            },
        ),
        Function::new(
            SUBSTR,
            &[
                &[Text, Integer],
                &[Text, Integer, Integer],
                &[Bytes, Integer],
                &[Bytes, Integer, Integer],
            ],
            part,
            |call| match call.returns {
                DataType::Binary => bytes::substring(call),
                _ => substring(call, Behind::Null),
            },
        ),
        Function::new(SUBSTRING_SIMILAR, &[&[Text, Text]], text, similar),
        Function::new(LIKE_PATTERN, &[&[Text, Text]], text, like_pattern),
        Function::new(TRIM, &[&[Text, Text, Text]], text, trim),
        Function::new(
            OVERLAY,
            &[&[Text, Text, Integer], &[Text, Text, Integer, Integer]],
            text,
            overlay,
        ),
        Function::new(
            "regex_replace",
            &[&[Text, Text, Text, Integer, Integer]],
            text,
            regex_replace,
        ),
    ]
}

/// A part of a text is text, of bytes bytes.
fn part(types: &[DataType], _literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    Ok(if is_bytes(&types[0]) { DataType::Binary } else { DataType::Utf8 })
}

/// The first letter of each word upper, the others lower; blanks part words, nothing else does.
fn initcap(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    call.map_text(|row, into| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        let mut is_first = true;
        for letter in text.chars() {
            if is_first {
                into.extend(letter.to_uppercase());
            } else {
                into.extend(letter.to_lowercase());
            }
            is_first = letter == ' ';
        }
        Ok(true)
    })
}

/// What a part that begins behind the end of the text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Empty,
    Null,
}

fn substring(call: &Call<'_>, behind: Behind) -> Result<ArrayRef> {
    let (texts, starts) = (call.texts(0)?, call.values::<Int64Type>(1)?);
    let lengths = if call.count() > 2 { Some(call.values::<Int64Type>(2)?) } else { None };
    call.map_text(|row, into| {
        let (Some(text), Some(start)) = (texts.get(row), starts.get(row)) else { return Ok(false) };
        let end = match lengths.as_ref().map(|lengths| lengths.get(row)) {
            None => i64::MAX,
            Some(None) => return Ok(false),
            Some(Some(length)) if length < 0 => {
                return exec_err!("a part of a text cannot be {length} characters long");
            }
            Some(Some(length)) => start.saturating_add(length),
        };
        if behind == Behind::Null && start > 1 && nth(text, start - 1) == text.len() {
            return Ok(false);
        }
        into.push_str(between(text, start, end));
        Ok(true)
    })
}

/// The characters of `text` from the position `start` to before the position `end`.
fn between(text: &str, start: i64, end: i64) -> &str {
    let (from, to) = (nth(text, start - 1), nth(text, end.saturating_sub(1)));
    text.get(from..to).unwrap_or_default()
}

/// Where the character `index`, counted from 0, begins in `text`.
fn nth(text: &str, index: i64) -> usize {
    let Ok(index) = usize::try_from(index) else { return 0 };
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

fn first_match(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let mut compiled = Compiled::new();
    call.map_text(|row, into| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            return Ok(false);
        };
        let found = compiled.get(pattern, Regex::new)?.find(text)?;
        let Some(found) = found.and_then(|range| text.get(range)) else { return Ok(false) };
        into.push_str(found);
        Ok(true)
    })
}

/// The second part of a pattern of three.
fn similar(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let mut compiled = Compiled::new();
    call.map_text(|row, into| {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            return Ok(false);
        };
        let groups = compiled.get(pattern, Regex::new)?.groups(text)?;
        let part = groups.and_then(|groups| groups.into_iter().next().flatten());
        let Some(part) = part.and_then(|range| text.get(range)) else { return Ok(false) };
        into.push_str(part);
        Ok(true)
    })
}

fn like_pattern(call: &Call<'_>) -> Result<ArrayRef> {
    let (patterns, escapes) = (call.texts(0)?, call.texts(1)?);
    call.map_text(|row, into| {
        let Some(pattern) = patterns.get(row) else { return Ok(false) };
        let escape = escapes.get(row).and_then(|escape| escape.chars().next());
        let Some(escaped) = with_backslashes(pattern, escape) else {
            return exec_err!("the pattern '{pattern}' ends with its escape character");
        };
        into.push_str(&escaped);
        Ok(true)
    })
}

fn trim(call: &Call<'_>) -> Result<ArrayRef> {
    let (sides, characters, texts) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    call.map_text(|row, into| {
        let (Some(side), Some(what), Some(text)) =
            (sides.get(row), characters.get(row), texts.get(row))
        else {
            return Ok(false);
        };
        let mut letters = what.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else {
            return exec_err!("TRIM takes exactly one character away, not '{what}'");
        };
        let text = if side == "TRAILING" { text } else { text.trim_start_matches(letter) };
        into.push_str(if side == "LEADING" { text } else { text.trim_end_matches(letter) });
        Ok(true)
    })
}

fn overlay(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, news, starts) = (call.texts(0)?, call.texts(1)?, call.values::<Int64Type>(2)?);
    let lengths = if call.count() > 3 { Some(call.values::<Int64Type>(3)?) } else { None };
    call.map_text(|row, into| {
        let (Some(text), Some(new), Some(start)) = (texts.get(row), news.get(row), starts.get(row))
        else {
            return Ok(false);
        };
        let length = match lengths.as_ref().map(|lengths| lengths.get(row)) {
            None => i64::try_from(new.chars().count()).unwrap_or(i64::MAX),
            Some(None) => return Ok(false),
            Some(Some(length)) if length < 0 => {
                return exec_err!("OVERLAY cannot replace {length} characters");
            }
            Some(Some(length)) => length,
        };
        into.push_str(between(text, 1, start));
        into.push_str(new);
        into.push_str(between(text, start.saturating_add(length), i64::MAX));
        Ok(true)
    })
}

/// `REGEX_REPLACE(text, regex, new, start, occurrence)`; occurrence 0 is all of them.
fn regex_replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns, news) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let (starts, occurrences) = (call.values::<Int64Type>(3)?, call.values::<Int64Type>(4)?);
    let mut compiled = Compiled::new();
    call.map_text(|row, into| {
        let (Some(text), Some(pattern), Some(new), Some(start), Some(occurrence)) = (
            texts.get(row),
            patterns.get(row),
            news.get(row),
            starts.get(row),
            occurrences.get(row),
        ) else {
            return Ok(false);
        };
        if start < 1 || occurrence < 0 {
            return exec_err!(
                "REGEX_REPLACE starts at position 1 or later and counts occurrences from 0, not at \
                 {start} and {occurrence}"
            );
        }
        let regex = compiled.get(pattern, Regex::new)?;
        regex.replace(text, (nth(text, start - 1), occurrence), new, into)?;
        Ok(true)
    })
}
