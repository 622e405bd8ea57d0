//! Intervals: the difference of two times, and arithmetic.
//!
//! Intervals of days and less are a number of milliseconds; those of months and years are months. An
//! interval does not know its qualifier: where the text says it, it comes along as an argument.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMillisecondType, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};

use super::Param::{Any, Text};
use super::calendar::{DAY_MS, Day, split};
use super::call::{Call, exact_cast, written};
use super::datetime::milliseconds;
use super::{Function, TIME_TYPE};

/// `(a - b) qualifier` as a call.
pub(crate) const DIFFERENCE: &str = "__difference";
/// An interval in milliseconds.
pub(crate) const DURATION: &str = "__duration";
/// An interval times a number.
pub(crate) const SCALE: &str = "__scale_interval";
/// An interval divided by a number.
pub(crate) const PART: &str = "__divide_interval";
/// A date or a time of day plus an interval.
pub(crate) const SHIFT: &str = "__shift";

/// The type of an interval of days and less.
pub(crate) const DURATION_TYPE: DataType = DataType::Duration(TimeUnit::Millisecond);
const MONTHS_TYPE: DataType = DataType::Interval(IntervalUnit::YearMonth);

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(DIFFERENCE, &[&[Any, Any, Text]], difference_type, difference),
        Function::new(
            DURATION,
            &[&[Any]],
            |_, _| Ok(DURATION_TYPE),
            |call| duration(&call.expanded(0)?),
        ),
        Function::new(SCALE, &[&[Any, Any]], scaled_type, |call| scale(call, |a, b| a * b)),
        Function::new(PART, &[&[Any, Any]], scaled_type, |call| scale(call, part)),
        Function::new(SHIFT, &[&[Any, Any]], |types, _| Ok(types[0].clone()), shift),
    ]
}

/// Whether a qualifier is of years and months.
fn is_of_months(qualifier: &str) -> bool {
    qualifier.starts_with("YEAR") || qualifier.starts_with("MONTH")
}

fn difference_type(types: &[DataType], literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    let family = |data_type: &DataType| match data_type {
        DataType::Timestamp(..) => Some(0),
        DataType::Date32 | DataType::Date64 => Some(1),
        DataType::Time32(_) | DataType::Time64(_) => Some(2),
        _ => None,
    };
    let (a, b) = (&types[0], &types[1]);
    let is_null = a.is_null() || b.is_null();
    if !is_null && (family(a).is_none() || family(a) != family(b)) {
        return plan_err!(
            "the difference of {} and {} is no interval: both must be the same kind of time",
            written(a),
            written(b)
        );
    }
    let qualifier = literals.get(2).copied().flatten().map(ToString::to_string);
    Ok(if is_of_months(&qualifier.unwrap_or_default()) { MONTHS_TYPE } else { DURATION_TYPE })
}

fn difference(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (milliseconds(&call.expanded(0)?)?, milliseconds(&call.expanded(1)?)?);
    if *call.returns == DURATION_TYPE {
        return exact_cast(&arrow::compute::kernels::numeric::sub(&a, &b)?, call.returns);
    }
    let (a, b) = (a.as_primitive::<Int64Type>(), b.as_primitive::<Int64Type>());
    call.map::<IntervalYearMonthType>(|row| {
        if a.is_null(row) || b.is_null(row) {
            return Ok(None);
        }
        Ok(i32::try_from(months_between(b.value(row), a.value(row))).ok())
    })
}

/// The whole months from one time to another.
fn months_between(from: i64, to: i64) -> i64 {
    if to < from {
        return -months_between(to, from);
    }
    let ((from_day, from_ms), (to_day, to_ms)) = (split(from), split(to));
    let (from, to) = (Day::of(from_day), Day::of(to_day));
    let months = (to.year - from.year) * 12 + to.month - from.month;
    months - i64::from((to.day, to_ms) < (from.day, from_ms))
}

/// Intervals in milliseconds; one with months in it has no fixed length and fails.
pub(super) fn duration(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Interval(_) => {}
        DataType::Duration(_) | DataType::Null => return exact_cast(values, &DURATION_TYPE),
        other => return exec_err!("{other} is no interval"),
    }
    let values = cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let values = values.as_primitive::<IntervalMonthDayNanoType>();
    let ms = values.try_unary::<_, DurationMillisecondType, DataFusionError>(|interval| {
        if interval.months != 0 {
            return exec_err!("an interval with months has no fixed length");
        }
        Ok(i64::from(interval.days) * DAY_MS + interval.nanoseconds / 1_000_000)
    })?;
    Ok(Arc::new(ms))
}

fn scaled_type(types: &[DataType], _literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    if !types[1].is_numeric() && !types[1].is_null() {
        return plan_err!("an interval can be multiplied with a number, not with {}", types[1]);
    }
    Ok(if types[0] == MONTHS_TYPE { MONTHS_TYPE } else { DURATION_TYPE })
}

/// A part by a whole number is whole.
fn part(amount: f64, by: f64) -> f64 {
    let part = amount / by;
    if by.fract() == 0.0 { part.trunc() } else { part }
}

/// What comes out is rounded to the millisecond or month; a part by a whole number is cut to it, as that
/// of a whole number is.
fn scale(call: &Call<'_>, by: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let is_months = *call.returns == MONTHS_TYPE;
    let amounts = call.expanded(0)?;
    let amounts: ArrayRef = if is_months {
        Arc::new(amounts.as_primitive::<IntervalYearMonthType>().reinterpret_cast::<Int32Type>())
    } else {
        duration(&amounts)?
    };
    let amounts = cast(&amounts, &DataType::Int64)?;
    let amounts = amounts.as_primitive::<Int64Type>();
    let factors = exact_cast(&call.expanded(1)?, &DataType::Float64)?;
    let factors: &Float64Array = factors.as_primitive::<Float64Type>();
    let scaled: Int64Array = (0..call.rows)
        .map(|row| {
            if amounts.is_null(row) || factors.is_null(row) {
                return Ok(None);
            }
            scaled(amounts.value(row), factors.value(row), by).map(Some)
        })
        .collect::<Result<_>>()?;
    let scaled: ArrayRef = Arc::new(scaled);
    if is_months {
        let months = exact_cast(&scaled, &DataType::Int32)?;
        let months = months.as_primitive::<Int32Type>();
        return Ok(Arc::new(months.reinterpret_cast::<IntervalYearMonthType>()));
    }
    exact_cast(&scaled, call.returns)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
#[expect(clippy::cast_precision_loss, reason = "an interval is far below 2^53 milliseconds")]
fn scaled(amount: i64, factor: f64, by: fn(f64, f64) -> f64) -> Result<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let result = by(amount as f64, factor);
    if !result.is_finite() || result.abs() > EXACT {
        return exec_err!("an interval times or divided by {factor} is out of range");
    }
    Ok(result.round() as i64)
}

/// A date plus days, or a time of day plus an interval, which goes around midnight.
fn shift(call: &Call<'_>) -> Result<ArrayRef> {
    let times = milliseconds(&call.expanded(0)?)?;
    let by = cast(&duration(&call.expanded(1)?)?, &DataType::Int64)?;
    let sum = arrow::compute::kernels::numeric::add(&times, &by)?;
    let sum = sum.as_primitive::<Int64Type>();
    let shifted: ArrayRef = match call.returns {
        DataType::Date32 => Arc::new(sum.unary::<_, Int64Type>(|ms| split(ms).0)),
        DataType::Time32(_) | DataType::Time64(_) => {
            let in_day: ArrayRef = Arc::new(sum.unary::<_, Int64Type>(|ms| split(ms).1));
            let in_day = exact_cast(&exact_cast(&in_day, &DataType::Int32)?, &TIME_TYPE)?;
            return exact_cast(&in_day, call.returns);
        }
        _ => Arc::new(sum.clone()),
    };
    match call.returns {
        DataType::Date32 => exact_cast(&exact_cast(&shifted, &DataType::Int32)?, call.returns),
        _ => exact_cast(
            &exact_cast(&shifted, &millstream_engine::definition::TIMESTAMP_TYPE)?,
            call.returns,
        ),
    }
}
