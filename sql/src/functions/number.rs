//! Numbers. Where a function has no value, it fails: there is no infinity and no "not a number".
//!
//! Source: "Numeric functions" of the Kinesis Data Analytics SQL reference.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};

use super::Function;
use super::Param::{Any, Integer};
use super::call::{Call, exact_cast};
use super::interval::{DURATION_TYPE, duration};

pub(super) fn functions() -> Vec<Function> {
    let float = |types: &[DataType], _: &[Option<&ScalarValue>]| floating(types);
    vec![
        Function::new("abs", &[&[Any]], |types, _| same(types), abs),
        Function::new(
            "floor",
            &[&[Any]],
            |types, _| whole(types),
            |call| round(call, Round::Floor),
        ),
        Function::new("ceil", &[&[Any]], |types, _| whole(types), |call| round(call, Round::Ceil)),
        Function::new("exp", &[&[Any]], float, |call| real(call, "EXP", f64::exp)),
        Function::new("ln", &[&[Any]], float, |call| real(call, "LN", f64::ln)),
        Function::new("log10", &[&[Any]], float, |call| real(call, "LOG10", f64::log10)),
        Function::new("sqrt", &[&[Any]], float, |call| real(call, "SQRT", f64::sqrt)),
        Function::new("power", &[&[Any, Any]], float, power),
        Function::new(
            "mod",
            &[&[Integer, Integer], &[Any, Any]],
            |types, _| super::arithmetic::remainder_type(types),
            super::arithmetic::remainder,
        ),
    ]
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_null()
}

fn floating(types: &[DataType]) -> Result<DataType> {
    match types.iter().find(|data_type| !is_number(data_type)) {
        Some(other) => plan_err!("a number is wanted here, not {other}"),
        None => Ok(DataType::Float64),
    }
}

/// The type of the argument.
fn same(types: &[DataType]) -> Result<DataType> {
    match &types[0] {
        DataType::Interval(_) | DataType::Duration(_) => Ok(DURATION_TYPE),
        DataType::Null => Ok(DataType::Float64),
        other => floating(types).map(|_| other.clone()),
    }
}

/// The type of the argument without digits behind the point.
fn whole(types: &[DataType]) -> Result<DataType> {
    match &types[0] {
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            let digits = i16::from(*precision) - i16::from(*scale) + 1;
            Ok(DataType::Decimal128(u8::try_from(digits.clamp(1, 38)).unwrap_or(38), 0))
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            plan_err!("an interval is rounded TO a unit")
        }
        _ => same(types),
    }
}

fn overflow() -> DataFusionError {
    DataFusionError::Execution("the number has no counterpart of the other sign".to_owned())
}

fn abs(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.expanded(0)?;
    fn of<T: ArrowPrimitiveType>(
        values: &ArrayRef,
        abs: fn(T::Native) -> Option<T::Native>,
    ) -> Result<ArrayRef> {
        let absolute: PrimitiveArray<T> =
            values.as_primitive::<T>().try_unary(|value| abs(value).ok_or_else(overflow))?;
        Ok(Arc::new(absolute.with_data_type(values.data_type().clone())))
    }
    match values.data_type() {
        DataType::Int8 => of::<Int8Type>(&values, i8::checked_abs),
        DataType::Int16 => of::<Int16Type>(&values, i16::checked_abs),
        DataType::Int32 => of::<Int32Type>(&values, i32::checked_abs),
        DataType::Int64 => of::<Int64Type>(&values, i64::checked_abs),
        DataType::Float32 => of::<Float32Type>(&values, |value| Some(value.abs())),
        DataType::Float64 => of::<Float64Type>(&values, |value| Some(value.abs())),
        DataType::Decimal128(..) => of::<Decimal128Type>(&values, i128::checked_abs),
        DataType::Interval(_) => {
            let values = exact_cast(&values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            debug_assert!(values.as_primitive_opt::<IntervalMonthDayNanoType>().is_some());
            of::<arrow::datatypes::DurationMillisecondType>(&duration(&values)?, i64::checked_abs)
        }
        DataType::Duration(_) => {
            of::<arrow::datatypes::DurationMillisecondType>(&duration(&values)?, i64::checked_abs)
        }
        // Unsigned numbers and NULL are their own.
        _ => exact_cast(&values, call.returns),
    }
}

#[derive(Clone, Copy)]
enum Round {
    Floor,
    Ceil,
}

fn round(call: &Call<'_>, direction: Round) -> Result<ArrayRef> {
    let values = call.expanded(0)?;
    let rounded: ArrayRef = match (values.data_type(), direction) {
        (DataType::Float32, Round::Floor) => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::floor))
        }
        (DataType::Float32, Round::Ceil) => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::ceil))
        }
        (DataType::Float64, Round::Floor) => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::floor))
        }
        (DataType::Float64, Round::Ceil) => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::ceil))
        }
        (DataType::Decimal128(_, scale), direction) if *scale > 0 => {
            let unit = 10_i128.pow(u32::try_from(*scale).unwrap_or_default());
            let digits = values.as_primitive::<Decimal128Type>();
            let whole = digits.unary::<_, Decimal128Type>(|value| match direction {
                Round::Floor => value.div_euclid(unit),
                Round::Ceil => value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0),
            });
            Arc::new(whole.with_data_type(call.returns.clone()))
        }
        _ => exact_cast(&values, call.returns)?,
    };
    Ok(rounded)
}

/// A function of one real number, which must have a value.
fn real(call: &Call<'_>, name: &str, function: fn(f64) -> f64) -> Result<ArrayRef> {
    let values = exact_cast(&call.expanded(0)?, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let results = values.try_unary::<_, Float64Type, DataFusionError>(|value| {
        let result = function(value);
        if result.is_finite() { Ok(result) } else { exec_err!("{name}({value}) has no value") }
    })?;
    Ok(Arc::new(results))
}

fn power(call: &Call<'_>) -> Result<ArrayRef> {
    let base = exact_cast(&call.expanded(0)?, &DataType::Float64)?;
    let exponent = exact_cast(&call.expanded(1)?, &DataType::Float64)?;
    let (base, exponent) =
        (base.as_primitive::<Float64Type>(), exponent.as_primitive::<Float64Type>());
    call.map::<Float64Type>(|row| {
        if base.is_null(row) || exponent.is_null(row) {
            return Ok(None);
        }
        let (base, exponent) = (base.value(row), exponent.value(row));
        let result = base.powf(exponent);
        if result.is_finite() {
            Ok(Some(result))
        } else {
            exec_err!("POWER({base}, {exponent}) has no value")
        }
    })
}
