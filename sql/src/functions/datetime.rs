//! Dates and times: from text and to text by a pattern, from and to numbers, and their fields.
//!
//! Source: "Date and time functions" of the Kinesis Data Analytics SQL reference.

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int64Type, IntervalUnit, Time32MillisecondType, TimeUnit,
    TimestampMillisecondType,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::Param::{Any, Date, Integer, Text, Time, Timestamp};
use super::calendar::{DAY_MS, Day, HOUR_MS, MINUTE_MS, split};
use super::call::{Call, Compiled, exact_cast};
use super::pattern::Pattern;
use super::{Function, TIME_TYPE};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "char_to_timestamp",
            &[&[Text, Text]],
            |_, _| Ok(TIMESTAMP_TYPE),
            |call| from_text::<TimestampMillisecondType>(call, Some),
        ),
        Function::new(
            "char_to_date",
            &[&[Text, Text]],
            |_, _| Ok(DataType::Date32),
            |call| from_text::<Date32Type>(call, |ms| i32::try_from(split(ms).0).ok()),
        ),
        Function::new(
            "char_to_time",
            &[&[Text, Text]],
            |_, _| Ok(TIME_TYPE),
            |call| from_text::<Time32MillisecondType>(call, |ms| i32::try_from(split(ms).1).ok()),
        ),
        Function::new(
            "timestamp_to_char",
            &[&[Text, Timestamp]],
            |_, _| Ok(DataType::Utf8),
            |call| {
                let times = call.values::<TimestampMillisecondType>(1)?;
                to_text(call, Some("null"), |row| times.get(row))
            },
        ),
        Function::new(
            "date_to_char",
            &[&[Text, Date]],
            |_, _| Ok(DataType::Utf8),
            |call| {
                let dates = call.values::<Date32Type>(1)?;
                to_text(call, None, |row| dates.get(row).map(|days| i64::from(days) * DAY_MS))
            },
        ),
        Function::new(
            "time_to_char",
            &[&[Text, Time]],
            |_, _| Ok(DataType::Utf8),
            |call| {
                let times = call.values::<Time32MillisecondType>(1)?;
                to_text(call, None, |row| times.get(row).map(i64::from))
            },
        ),
        Function::new(
            "to_timestamp",
            &[&[Integer], &[Text]],
            |_, _| Ok(TIMESTAMP_TYPE),
            |call| exact_cast(&call.expanded(0)?, call.returns),
        ),
        Function::new(
            "unix_timestamp",
            &[&[Timestamp]],
            |_, _| Ok(DataType::Int64),
            |call| exact_cast(&call.expanded(0)?, call.returns),
        ),
        Function::new(
            "tsdiff",
            &[&[Timestamp, Timestamp], &[Integer, Integer]],
            |_, _| Ok(DataType::Int64),
            difference,
        ),
        Function::new(EXTRACT, &[&[Text, Any]], extracted, extract),
    ]
}

/// `EXTRACT(unit FROM time)` as a call; the unit is a literal.
pub(crate) const EXTRACT: &str = "__extract";

fn from_text<T: arrow::datatypes::ArrowPrimitiveType>(
    call: &Call<'_>,
    convert: fn(i64) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let (patterns, texts) = (call.texts(0)?, call.texts(1)?);
    let mut compiled = Compiled::new();
    call.map::<T>(|row| {
        let (Some(pattern), Some(text)) = (patterns.get(row), texts.get(row)) else {
            return Ok(None);
        };
        match compiled.get(pattern, Pattern::parse)?.read(text).and_then(convert) {
            Some(value) => Ok(Some(value)),
            None => exec_err!("'{text}' does not match the pattern '{pattern}'"),
        }
    })
}

/// The text of times; that of NULL is `null`.
fn to_text(
    call: &Call<'_>,
    null: Option<&str>,
    time: impl Fn(usize) -> Option<i64>,
) -> Result<ArrayRef> {
    let patterns = call.texts(0)?;
    let mut compiled = Compiled::new();
    call.map_text(|row, text| {
        let Some(pattern) = patterns.get(row) else { return Ok(false) };
        match (time(row), null) {
            (Some(ms), _) => compiled.get(pattern, Pattern::parse)?.write(ms, text),
            (None, Some(null)) => text.push_str(null),
            (None, None) => return Ok(false),
        }
        Ok(true)
    })
}

/// `TSDIFF(start, end)`: the milliseconds from one to the other.
fn difference(call: &Call<'_>) -> Result<ArrayRef> {
    let number = |at| -> Result<(ArrayRef, bool)> {
        let (values, is_literal) = call.column(at)?;
        Ok((cast(values, &DataType::Int64)?, is_literal))
    };
    let ((start, one_start), (end, one_end)) = (number(0)?, number(1)?);
    let (start, end) = (start.as_primitive::<Int64Type>(), end.as_primitive::<Int64Type>());
    let at = |values: &Int64Array, is_literal: bool, row: usize| {
        let row = if is_literal { 0 } else { row };
        values.is_valid(row).then(|| values.value(row))
    };
    call.map::<Int64Type>(|row| match (at(start, one_start, row), at(end, one_end, row)) {
        (Some(start), Some(end)) => match end.checked_sub(start) {
            Some(difference) => Ok(Some(difference)),
            None => exec_err!("TSDIFF({start}, {end}) is too large"),
        },
        _ => Ok(None),
    })
}

/// A second has its milliseconds behind the point; the other fields are whole.
fn extracted(types: &[DataType], literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    let unit = literals.first().copied().flatten().map(ToString::to_string).unwrap_or_default();
    if types
        .get(1)
        .is_some_and(|t| !t.is_temporal() && !t.is_null() && !matches!(t, DataType::Interval(_)))
    {
        return plan_err!("EXTRACT takes a date, a time or an interval, not {}", types[1]);
    }
    Ok(if unit == "SECOND" { DataType::Decimal128(5, 3) } else { DataType::Int64 })
}

fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let unit = call.texts(0)?.get(0).unwrap_or_default().to_owned();
    let values = call.expanded(1)?;
    let field: Box<dyn Fn(i64) -> i64> = match (values.data_type(), unit.as_str()) {
        (DataType::Null, _) => Box::new(|ms| ms),
        (DataType::Interval(_), _) => return of_interval(&values, &unit, call.returns),
        (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, "YEAR") => {
            Box::new(|ms| Day::of(split(ms).0).year)
        }
        (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, "MONTH") => {
            Box::new(|ms| Day::of(split(ms).0).month)
        }
        (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, "DAY") => {
            Box::new(|ms| Day::of(split(ms).0).day)
        }
        (DataType::Duration(_), "DAY") => Box::new(|ms| ms / DAY_MS),
        (DataType::Duration(_), "HOUR" | "MINUTE" | "SECOND") => {
            let unit = unit.clone();
            Box::new(move |ms| of_day(ms % DAY_MS, &unit))
        }
        (_, "HOUR" | "MINUTE" | "SECOND") => {
            let unit = unit.clone();
            Box::new(move |ms| of_day(split(ms).1, &unit))
        }
        (other, unit) => return exec_err!("{other} has no {unit}"),
    };
    let ms = milliseconds(&values)?;
    let ms = ms.as_primitive::<Int64Type>();
    finish(ms.unary::<_, Int64Type>(field), call.returns)
}

/// Whole numbers as the result of `EXTRACT`: those of a second are milliseconds.
fn finish(values: Int64Array, returns: &DataType) -> Result<ArrayRef> {
    if *returns == DataType::Int64 {
        return Ok(std::sync::Arc::new(values));
    }
    let decimals: Decimal128Array = values.unary::<_, Decimal128Type>(i128::from);
    Ok(std::sync::Arc::new(decimals.with_data_type(returns.clone())))
}

/// The field of a time of day; the sign is that of the time.
fn of_day(ms: i64, unit: &str) -> i64 {
    match unit {
        "HOUR" => ms / HOUR_MS,
        "MINUTE" => ms % HOUR_MS / MINUTE_MS,
        _ => ms % MINUTE_MS,
    }
}

fn of_interval(values: &ArrayRef, unit: &str, returns: &DataType) -> Result<ArrayRef> {
    let values = cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let values = values.as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>();
    let field = |at: usize| {
        let interval = values.value(at);
        let ms = interval.nanoseconds / 1_000_000;
        match unit {
            "YEAR" => i64::from(interval.months / 12),
            "MONTH" => i64::from(interval.months % 12),
            "DAY" => i64::from(interval.days) + ms / DAY_MS,
            unit => of_day(ms % DAY_MS, unit),
        }
    };
    let rows = (0..values.len()).map(|at| values.is_valid(at).then(|| field(at)));
    finish(rows.collect(), returns)
}

/// Times in milliseconds: since the Unix epoch, or since midnight.
pub(super) fn milliseconds(values: &ArrayRef) -> Result<ArrayRef> {
    let values = match values.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            cast(values, &TIMESTAMP_TYPE)?
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            cast(&cast(values, &TIME_TYPE)?, &DataType::Int32)?
        }
        DataType::Duration(_) => cast(values, &DataType::Duration(TimeUnit::Millisecond))?,
        _ => ArrayRef::clone(values),
    };
    Ok(cast(&values, &DataType::Int64)?)
}
