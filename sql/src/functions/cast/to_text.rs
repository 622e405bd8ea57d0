//! Casts to text.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Int64Type, IntervalUnit};
use datafusion::common::{Result, exec_err};

use super::super::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use super::super::call::Call;
use super::super::datetime::milliseconds;
use super::super::interval::duration;
use super::super::is_text;
use super::super::pattern;
use super::{Target, is_interval};

/// The texts of `values`, as long as `target` wants them.
pub(super) fn cast(call: &Call<'_>, values: &ArrayRef, target: &Target) -> Result<ArrayRef> {
    let from = values.data_type().clone();
    let too_long = match &from {
        from if is_interval(from) => TooLong::Cut,
        from if is_text(from) => TooLong::CutBlanks,
        _ => TooLong::Fail,
    };
    let show = shown(values, target)?;
    call.map_text(|row, text| {
        if values.is_null(row) {
            return Ok(false);
        }
        show(row, text);
        fit(text, target, too_long)?;
        Ok(true)
    })
}

type Show = Box<dyn Fn(usize, &mut String)>;

/// How each value is written.
fn shown(values: &ArrayRef, target: &Target) -> Result<Show> {
    let from = values.data_type();
    if is_interval(from) {
        return interval(values, &target.qualifier);
    }
    Ok(match from {
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_) => {
            let write = match from {
                DataType::Timestamp(..) => pattern::timestamp,
                DataType::Time32(_) | DataType::Time64(_) => pattern::time,
                _ => |ms: i64, text: &mut String| pattern::date(ms.div_euclid(DAY_MS), text),
            };
            let ms = milliseconds(values)?.as_primitive::<Int64Type>().clone();
            Box::new(move |row, text| write(ms.value(row), text))
        }
        DataType::Boolean => {
            let values = values.as_boolean().clone();
            Box::new(move |row, text| {
                text.push_str(if values.value(row) { "TRUE" } else { "FALSE" });
            })
        }
        _ => {
            let texts = arrow_cast(values, &DataType::Utf8)?.as_string::<i32>().clone();
            Box::new(move |row, text| text.push_str(texts.value(row)))
        }
    })
}

/// What becomes of a text that is longer than its type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TooLong {
    Cut,
    CutBlanks,
    Fail,
}

/// Makes `text` as long as the type says.
fn fit(text: &mut String, target: &Target, too_long: TooLong) -> Result<()> {
    if target.length == 0 {
        return Ok(());
    }
    let characters = text.chars().count();
    if characters > target.length {
        let end = text.char_indices().nth(target.length).map_or(text.len(), |(at, _)| at);
        let blanks = text.get(end..).is_some_and(|rest| rest.trim_end_matches(' ').is_empty());
        if too_long == TooLong::Fail || (too_long == TooLong::CutBlanks && !blanks) {
            return exec_err!("'{text}' is longer than {}({})", target.name, target.length);
        }
        text.truncate(end);
    } else if target.name == "CHAR" {
        text.extend(std::iter::repeat_n(' ', target.length - characters));
    }
    Ok(())
}

/// Intervals have their sign: `+2 00:06:11`.
fn interval(values: &ArrayRef, qualifier: &str) -> Result<Show> {
    let months = arrow_cast(values, &DataType::Interval(IntervalUnit::MonthDayNano));
    let qualifier = qualifier.to_owned();
    let is_of_months = qualifier.starts_with("YEAR") || qualifier.starts_with("MONTH");
    if is_of_months || *values.data_type() == DataType::Interval(IntervalUnit::YearMonth) {
        let months = months?.as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>().clone();
        return Ok(Box::new(move |row, text| {
            let months = i64::from(months.value(row).months);
            text.push(if months < 0 { '-' } else { '+' });
            let months = months.abs();
            text.push_str(&match qualifier.as_str() {
                "YEAR" => (months / 12).to_string(),
                "MONTH" => months.to_string(),
                _ => format!("{}-{:02}", months / 12, months % 12),
            });
        }));
    }
    let ms = arrow_cast(&duration(values)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    let (first, last) = match qualifier.split_once(" TO ") {
        Some((first, last)) => (place(first), place(last)),
        None if qualifier.is_empty() => (0, 3),
        None => (place(&qualifier), place(&qualifier)),
    };
    Ok(Box::new(move |row, text| day_time(ms.value(row), first, last, text)))
}

fn place(unit: &str) -> usize {
    ["DAY", "HOUR", "MINUTE", "SECOND"].iter().position(|name| *name == unit).unwrap_or(3)
}

fn day_time(ms: i64, first: usize, last: usize, text: &mut String) {
    let units = [DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS];
    text.push(if ms < 0 { '-' } else { '+' });
    let mut rest = ms.abs();
    for (at, unit) in units.iter().enumerate().take(last + 1).skip(first) {
        let count = rest / unit;
        rest %= unit;
        if at == first {
            text.push_str(&count.to_string());
        } else {
            text.push(if at == 1 { ' ' } else { ':' });
            text.push_str(&format!("{count:02}"));
        }
        if at == 3 && rest > 0 {
            text.push_str(format!(".{rest:03}").trim_end_matches('0'));
        }
    }
}
