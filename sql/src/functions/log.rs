//! The log parsers: functions that make a row value of a line.
//!
//! The columns of the row follow from the pattern or format, which must be a literal. A line that does
//! not match gives a row of NULLs, except for `FAST_REGEX_LOG_PARSE`, where it fails.
//!
//! Source: "Log parsing functions" of the Kinesis Data Analytics SQL reference.

mod columns;
mod fast_regex;
mod w3c;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder, StructArray, TimestampMillisecondBuilder};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::error::words_of;

use super::Function;
use super::Param::{Integer, Text};
use super::call::{Call, Compiled};
use super::pattern::Pattern;
use super::regex::Regex;
use columns::{Columns, Splitter};
use fast_regex::FastRegex;

pub(super) fn functions() -> Vec<Function> {
    let both: &[&[super::Param]] = &[&[Text, Text]];
    vec![
        Function::new("regex_log_parse", both, |_, literals| of_regex(pattern(literals)?), regex),
        Function::new(
            "fast_regex_log_parse",
            both,
            |_, literals| Ok(numbered(FastRegex::parse(pattern(literals)?)?.groups_count())),
            fast,
        ),
        Function::new(
            // The title of the page names it so.
            "fast_regex_log_parser",
            both,
            |_, literals| Ok(numbered(FastRegex::parse(pattern(literals)?)?.groups_count())),
            fast,
        ),
        Function::new(
            "w3c_log_parse",
            both,
            |_, literals| of_regex(&w3c::regex(pattern(literals)?)?),
            |call| by_regex(call, w3c::regex),
        ),
        Function::new("sys_log_parse", &[&[Text]], |_, _| Ok(syslog_type()), syslog),
        Function::new(
            "variable_column_log_parse",
            &[
                &[Text, Text, Text],
                &[Text, Integer, Text],
                &[Text, Text, Text, Text],
                &[Text, Integer, Text, Text],
                &[Text, Text, Text, Text, Text],
                &[Text, Integer, Text, Text, Text],
            ],
            |_, literals| Ok(Columns::variable(literals.get(1).copied().flatten())?.data_type()),
            variable,
        ),
        Function::new(
            "fixed_column_log_parse",
            both,
            |_, literals| Ok(Columns::fixed(pattern(literals)?)?.data_type()),
            fixed,
        ),
    ]
}

/// The second argument, which must be a literal.
fn pattern<'a>(literals: &[Option<&'a ScalarValue>]) -> Result<&'a str> {
    match literals.get(1).copied().flatten().and_then(ScalarValue::try_as_str) {
        Some(Some(text)) => Ok(text),
        _ => plan_err!("the pattern of a log parser is a literal: its columns follow from it"),
    }
}

/// A row of texts `COLUMN1`, `COLUMN2` ….
fn numbered(count: usize) -> DataType {
    let fields = (1..=count).map(|at| Field::new(format!("COLUMN{at}"), DataType::Utf8, true));
    DataType::Struct(fields.collect())
}

fn of_regex(pattern: &str) -> Result<DataType> {
    match Regex::new(pattern) {
        Ok(regex) if regex.groups_count() > 0 => Ok(numbered(regex.groups_count())),
        Ok(_) => plan_err!("the pattern '{pattern}' has no group, and so no column"),
        Err(error) => plan_err!("{}", words_of(&error)),
    }
}

fn fields(data_type: &DataType) -> Fields {
    match data_type {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    }
}

/// Rows of texts: `parts` gives each line's, or none.
fn rows_of_texts(
    call: &Call<'_>,
    mut parts: impl FnMut(&str, &mut Vec<Option<Range<usize>>>) -> Result<bool>,
) -> Result<ArrayRef> {
    let lines = call.texts(0)?;
    let fields = fields(call.returns);
    let mut built: Vec<StringBuilder> = fields.iter().map(|_| StringBuilder::new()).collect();
    let mut found = Vec::new();
    for row in 0..call.rows {
        found.clear();
        let line = lines.get(row);
        let matches = match line {
            Some(line) => parts(line, &mut found)?,
            None => false,
        };
        for (at, column) in built.iter_mut().enumerate() {
            let range = found.get(at).cloned().flatten().filter(|_| matches);
            column.append_option(range.zip(line).and_then(|(range, line)| line.get(range)));
        }
    }
    let columns = built.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
    Ok(Arc::new(StructArray::try_new_with_length(fields, columns, None, call.rows)?))
}

fn regex(call: &Call<'_>) -> Result<ArrayRef> {
    by_regex(call, |pattern| Ok(pattern.to_owned()))
}

fn by_regex(call: &Call<'_>, of: fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let patterns = call.texts(1)?;
    let mut compiled = Compiled::new();
    let Some(pattern) = patterns.get(0) else { return exec_err!("a log parser without a pattern") };
    rows_of_texts(call, |line, found| {
        let regex = compiled.get(pattern, |pattern| Regex::new(&of(pattern)?))?;
        let Some(groups) = regex.groups(line)? else { return Ok(false) };
        found.extend(groups);
        Ok(true)
    })
}

fn fast(call: &Call<'_>) -> Result<ArrayRef> {
    let patterns = call.texts(1)?;
    let Some(pattern) = patterns.get(0) else { return exec_err!("a log parser without a pattern") };
    let regex = FastRegex::parse(pattern)?;
    rows_of_texts(call, |line, found| match regex.groups(line) {
        Some(groups) => {
            found.extend(groups.into_iter().map(Some));
            Ok(true)
        }
        None => exec_err!("'{line}' does not match the pattern '{pattern}'"),
    })
}

fn syslog_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("COLUMN1", TIMESTAMP_TYPE, true),
        Field::new("COLUMN2", DataType::Utf8, true),
    ]))
}

/// `Mon dd HH:mm:ss rest`. A line does not say its year: it is 1970.
fn syslog(call: &Call<'_>) -> Result<ArrayRef> {
    const TIME_CHARACTERS: usize = 15;
    let lines = call.texts(0)?;
    let time = Pattern::parse("MMM dd HH:mm:ss")?;
    let (mut times, mut rests) = (TimestampMillisecondBuilder::new(), StringBuilder::new());
    for row in 0..call.rows {
        let parts = lines.get(row).and_then(|line| line.split_at_checked(TIME_CHARACTERS));
        let read = parts.and_then(|(head, rest)| Some((time.read(head)?, rest.trim_start())));
        times.append_option(read.map(|(ms, _)| ms));
        rests.append_option(read.map(|(_, rest)| rest));
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(times.finish()), Arc::new(rests.finish())];
    Ok(Arc::new(StructArray::try_new(fields(call.returns), columns, None)?))
}

fn variable(call: &Call<'_>) -> Result<ArrayRef> {
    let described = ScalarValue::try_from_array(call.column(1)?.0, 0)?;
    let columns = Columns::variable(Some(&described))?;
    let text = |at: usize| -> Result<String> {
        if at >= call.count() {
            return Ok(String::new());
        }
        Ok(call.texts(at)?.get(0).unwrap_or_default().to_owned())
    };
    let splitter = Splitter::new(&text(2)?, &text(3)?, &text(4)?)?;
    columns.read(call, |line, parts| splitter.split(line, parts))
}

fn fixed(call: &Call<'_>) -> Result<ArrayRef> {
    let patterns = call.texts(1)?;
    let Some(described) = patterns.get(0) else { return exec_err!("a log parser without columns") };
    let columns = Columns::fixed(described)?;
    columns.read(call, |line, parts| columns.cut(line, parts))
}

/// A piece of text as the error of a pattern.
fn wrong(pattern: &str, reason: &str) -> DataFusionError {
    DataFusionError::Plan(format!("'{pattern}' is wrong: {reason}"))
}
