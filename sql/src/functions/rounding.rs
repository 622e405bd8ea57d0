//! `FLOOR(time TO unit)` and `CEIL(time TO unit)`.
//!
//! The first is called `date_trunc`, as DataFusion's is, and takes what that takes; it gives the type it
//! is given, for dates, times of day and intervals too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use millstream_engine::monotonic::to_numbers;

use super::Function;
use super::Param::{Any, Text};
use super::calendar::{DAY_MS, Day, HOUR_MS, MINUTE_MS, SECOND_MS, split};
use super::call::Call;

/// `CEIL(time TO unit)` as a call.
pub(crate) const CEIL_TO: &str = "__ceil_to";

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("date_trunc", &[&[Text, Any]], rounded, |call| round(call, Direction::Down)),
        Function::new(CEIL_TO, &[&[Text, Any]], rounded, |call| round(call, Direction::Up)),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Down,
    Up,
}

fn rounded(types: &[DataType], _literals: &[Option<&ScalarValue>]) -> Result<DataType> {
    match types.get(1) {
        Some(DataType::Null) => Ok(millstream_engine::definition::TIMESTAMP_TYPE),
        Some(DataType::Interval(_)) => Ok(DataType::Duration(TimeUnit::Millisecond)),
        // A text may be a time, as DataFusion reads it.
        Some(text) if super::is_text(text) => Ok(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        Some(time) if time.is_temporal() => Ok(time.clone()),
        Some(other) => plan_err!("a time can be rounded TO a unit, {other} cannot"),
        None => plan_err!("there is nothing to round"),
    }
}

fn round(call: &Call<'_>, direction: Direction) -> Result<ArrayRef> {
    let unit = call.texts(0)?.get(0).unwrap_or_default().to_lowercase();
    let values = call.expanded(1)?;
    let Some(unit) = Unit::named(&unit, values.data_type()) else {
        return if direction == Direction::Down {
            by_datafusion(call, values)
        } else {
            exec_err!("{} cannot be rounded to {unit}", values.data_type())
        };
    };
    let as_given = values.data_type();
    let per_number = ms_per_number(as_given);
    let counted = match as_given {
        DataType::Interval(_) => cast(&values, call.returns)?,
        DataType::Null => cast(&values, &DataType::Int64)?,
        _ => values,
    };
    let numbers = to_numbers(&counted).or_else(|_| cast(&counted, &DataType::Int64))?;
    let rounded: Int64Array = numbers.as_primitive::<Int64Type>().try_unary(|number| {
        let ms = match per_number {
            PerNumber::Ms(ms) => number.checked_mul(ms),
            PerNumber::Parts(parts) => Some(number.div_euclid(parts)),
        };
        let exact = !matches!(per_number, PerNumber::Parts(parts) if number.rem_euclid(parts) != 0);
        let rounded = ms.map(|ms| match direction {
            Direction::Down => unit.floor(ms),
            Direction::Up if exact && unit.floor(ms) == ms => ms,
            Direction::Up => unit.above(unit.floor(ms)),
        });
        let back = rounded.and_then(|ms| match per_number {
            PerNumber::Ms(per_number) => Some(ms.div_euclid(per_number)),
            PerNumber::Parts(parts) => ms.checked_mul(parts),
        });
        back.ok_or_else(|| DataFusionError::Execution("the time is out of range".to_owned()))
    })?;
    from_numbers(rounded, call.returns)
}

/// What one of the numbers behind a time is.
#[derive(Clone, Copy)]
enum PerNumber {
    /// This many milliseconds.
    Ms(i64),
    /// One of this many parts of a millisecond.
    Parts(i64),
}

fn ms_per_number(data_type: &DataType) -> PerNumber {
    let of_unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => PerNumber::Ms(SECOND_MS),
        TimeUnit::Millisecond => PerNumber::Ms(1),
        TimeUnit::Microsecond => PerNumber::Parts(1_000),
        TimeUnit::Nanosecond => PerNumber::Parts(1_000_000),
    };
    match data_type {
        DataType::Date32 => PerNumber::Ms(DAY_MS),
        DataType::Timestamp(unit, _)
        | DataType::Time32(unit)
        | DataType::Time64(unit)
        | DataType::Duration(unit) => of_unit(unit),
        _ => PerNumber::Ms(1),
    }
}

fn from_numbers(numbers: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let numbers: ArrayRef = Arc::new(numbers);
    Ok(match data_type {
        DataType::Date32 | DataType::Time32(_) => {
            cast(&cast(&numbers, &DataType::Int32)?, data_type)?
        }
        _ => cast(&numbers, data_type)?,
    })
}

/// Units that have no millisecond form, and times in a zone.
fn by_datafusion(call: &Call<'_>, values: ArrayRef) -> Result<ArrayRef> {
    use arrow::datatypes::Field;
    let unit = call.texts(0)?.get(0).unwrap_or_default().to_owned();
    let unit = ScalarValue::from(unit);
    let rows = values.len();
    let values =
        if *values.data_type() == *call.returns { values } else { cast(&values, call.returns)? };
    let fields = [unit.data_type(), values.data_type().clone()];
    let fields = fields.map(|data_type| Arc::new(Field::new("", data_type, true)));
    let result = date_trunc().inner().invoke_with_args(ScalarFunctionArgs {
        args: vec![ColumnarValue::Scalar(unit), ColumnarValue::Array(values)],
        arg_fields: fields.to_vec(),
        number_rows: rows,
        return_field: Arc::new(Field::new("", call.returns.clone(), true)),
        config_options: Arc::default(),
    })?;
    result.into_array(rows)
}

/// What a time is rounded to.
#[derive(Clone, Copy)]
enum Unit {
    Months(i64),
    Ms(i64),
}

impl Unit {
    /// The unit of this name, lower case, for times of this type that are counted without a zone.
    fn named(name: &str, data_type: &DataType) -> Option<Self> {
        let is_of_calendar =
            matches!(data_type, DataType::Timestamp(_, None) | DataType::Date32 | DataType::Null);
        let is_counted = is_of_calendar
            || matches!(
                data_type,
                DataType::Time32(_)
                    | DataType::Time64(_)
                    | DataType::Duration(_)
                    | DataType::Interval(_)
            );
        if !is_counted {
            return None;
        }
        Some(match name {
            "year" if is_of_calendar => Self::Months(12),
            "quarter" if is_of_calendar => Self::Months(3),
            "month" if is_of_calendar => Self::Months(1),
            "day" => Self::Ms(DAY_MS),
            "hour" => Self::Ms(HOUR_MS),
            "minute" => Self::Ms(MINUTE_MS),
            "second" => Self::Ms(SECOND_MS),
            _ => return None,
        })
    }

    fn floor(self, ms: i64) -> i64 {
        match self {
            Self::Ms(unit) => ms.div_euclid(unit) * unit,
            Self::Months(months) => {
                let Day { year, month, .. } = Day::of(split(ms).0);
                let month = (month - 1) / months * months + 1;
                Day { year, month, day: 1 }.number() * DAY_MS
            }
        }
    }

    /// The multiple above `floor`, which is one.
    fn above(self, floor: i64) -> i64 {
        match self {
            Self::Ms(unit) => floor + unit,
            Self::Months(months) => {
                let Day { year, month, .. } = Day::of(split(floor).0);
                Day { year, month: month + months, day: 1 }.number() * DAY_MS
            }
        }
    }
}
