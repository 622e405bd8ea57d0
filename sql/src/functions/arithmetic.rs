//! `+ - * /` and `MOD` on numbers.
//!
//! Whole numbers of one type stay of that type: `5 / 2` is 2. `DECIMAL`s get the digits that the
//! reference computes for them, at most 18, or as many as the wider operand has. A result that is out of
//! range fails, as does a division by zero, of floating point numbers too.
//!
//! Source: "Decimal precision and scale" in "Data types" of the Kinesis Data Analytics SQL reference.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Scalar};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};

use super::Function;
use super::Param::Any;
use super::call::{Call, exact_cast};

pub(crate) const ADD: &str = "__add";
pub(crate) const SUBTRACT: &str = "__subtract";
pub(crate) const MULTIPLY: &str = "__multiply";
pub(crate) const DIVIDE: &str = "__divide";
pub(crate) const REMAINDER: &str = "__remainder";
/// `AVG` of a sum and a count.
pub(crate) const AVERAGE: &str = "__average";

/// The digits behind the point that a quotient has at least.
const QUOTIENT_DIGITS: i16 = 6;

/// The digits a `DECIMAL` result has at most, unless an operand has more.
const DIGITS_MAX: i16 = 18;

pub(super) fn functions() -> Vec<Function> {
    let both: &[&[super::Param]] = &[&[Any, Any]];
    vec![
        Function::new(ADD, both, |types, _| sum_type(types), |call| compute(call, Op::Add)),
        Function::new(
            SUBTRACT,
            both,
            |types, _| sum_type(types),
            |call| compute(call, Op::Subtract),
        ),
        Function::new(
            MULTIPLY,
            both,
            |types, _| product_type(types),
            |call| compute(call, Op::Multiply),
        ),
        Function::new(
            DIVIDE,
            both,
            |types, _| quotient_type(types),
            |call| compute(call, Op::Divide),
        ),
        Function::new(REMAINDER, both, |types, _| remainder_type(types), remainder),
        Function::new(AVERAGE, both, |types, _| average_type(types), average),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// The digits of a number and how many of them are behind the point; none for floating point.
fn digits(data_type: &DataType) -> Option<(i16, i16)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 | DataType::UInt64 => (19, 0),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            (i16::from(*p), i16::from(*s))
        }
        _ => return None,
    })
}

/// The type of two operands that are not both exact with digits behind the point; none if they are.
fn common(types: &[DataType]) -> Result<Option<DataType>> {
    let (left, right) = match types {
        [DataType::Null, DataType::Null] => return Ok(Some(DataType::Int32)),
        [DataType::Null, other] | [other, DataType::Null] => (other, other),
        [left, right] => (left, right),
        _ => return plan_err!("an operator has two operands"),
    };
    if left.is_floating() || right.is_floating() {
        let is_real = |t: &DataType| *t == DataType::Float32;
        let both = is_real(left) && is_real(right);
        return Ok(Some(if both { DataType::Float32 } else { DataType::Float64 }));
    }
    if left.is_integer() && right.is_integer() {
        let wider = if left.primitive_width() >= right.primitive_width() { left } else { right };
        let is_mixed = left.is_signed_integer() != right.is_signed_integer();
        return Ok(Some(if is_mixed { DataType::Int64 } else { wider.clone() }));
    }
    Ok(None)
}

/// The precision and the scale of an operand.
type Digits = (i16, i16);

/// The digits of both operands, and how many the result may have.
fn operands(types: &[DataType]) -> Result<(Digits, Digits, i16)> {
    let of = |at: usize| {
        let given = types.get(at).filter(|t| !t.is_null()).or_else(|| types.get(1 - at));
        given.and_then(digits)
    };
    let (Some(left), Some(right)) = (of(0), of(1)) else {
        return plan_err!("{} and {} cannot be computed with", types[0], types[1]);
    };
    // A BIGINT has 19 digits in all, but asks for no more than the rule gives.
    let wide =
        |(precision, scale): (i16, i16)| if scale == 0 && precision == 19 { 0 } else { precision };
    Ok((left, right, DIGITS_MAX.max(wide(left)).max(wide(right)).min(38)))
}

fn decimal(precision: i16, scale: i16, most: i16) -> DataType {
    let precision = u8::try_from(precision.clamp(1, most)).unwrap_or(38);
    DataType::Decimal128(precision, i8::try_from(scale.clamp(0, most)).unwrap_or_default())
}

fn sum_type(types: &[DataType]) -> Result<DataType> {
    if let Some(common) = common(types)? {
        return Ok(common);
    }
    let ((p1, s1), (p2, s2), most) = operands(types)?;
    let scale = s1.max(s2);
    Ok(decimal((p1 - s1).max(p2 - s2) + scale + 1, scale, most))
}

fn product_type(types: &[DataType]) -> Result<DataType> {
    if let Some(common) = common(types)? {
        return Ok(common);
    }
    let ((p1, s1), (p2, s2), most) = operands(types)?;
    Ok(decimal(p1 + p2, s1 + s2, most))
}

fn quotient_type(types: &[DataType]) -> Result<DataType> {
    if let Some(common) = common(types)? {
        return Ok(common);
    }
    let ((p1, s1), (p2, s2), most) = operands(types)?;
    let before = (p1 - s1 + s2).min(most);
    // Where there is no room for all digits, those behind the sixth go first: the rule gives six to the
    // quotient of any operands.
    let scale = (s1 + p2 + 1).max(QUOTIENT_DIGITS).min((most - before).max(QUOTIENT_DIGITS));
    Ok(decimal(before + scale, scale, most))
}

pub(super) fn remainder_type(types: &[DataType]) -> Result<DataType> {
    if let Some(common) = common(types)? {
        return Ok(common);
    }
    let ((p1, s1), (p2, s2), most) = operands(types)?;
    Ok(decimal(p1.max(p2), s1.max(s2), most))
}

/// The mean of whole numbers is a whole number; that of decimals has four more digits.
fn average_type(types: &[DataType]) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Decimal128(precision, scale) => {
            DataType::Decimal128((*precision).min(34) + 4, (*scale).min(34) + 4)
        }
        DataType::Duration(_) => types[0].clone(),
        sum if sum.is_integer() => sum.clone(),
        sum if sum.is_numeric() || sum.is_null() => DataType::Float64,
        other => return plan_err!("there is no AVG of {other}"),
    })
}

/// A sum by a count; of no values it is NULL.
fn average(call: &Call<'_>) -> Result<ArrayRef> {
    use arrow::datatypes::Int64Type;
    let (sums, counts) = (call.expanded(0)?, exact_cast(&call.expanded(1)?, &DataType::Int64)?);
    let counts = counts.as_primitive::<Int64Type>();
    let nothing = |row: usize| sums.is_null(row) || counts.is_null(row) || counts.value(row) == 0;
    match call.returns {
        DataType::Decimal128(..) => {
            let sums = sums.as_primitive::<Decimal128Type>();
            call.map::<Decimal128Type>(|row| {
                if nothing(row) {
                    return Ok(None);
                }
                let finer = sums.value(row).checked_mul(10_000);
                let mean = finer.and_then(|sum| divided(sum, i128::from(counts.value(row))));
                mean.map(Some)
                    .ok_or_else(|| DataFusionError::Execution("a result out of range".to_owned()))
            })
        }
        DataType::Float64 => {
            let sums = exact_cast(&sums, &DataType::Float64)?;
            let sums = sums.as_primitive::<Float64Type>();
            #[expect(clippy::cast_precision_loss, reason = "a mean is no more exact than its sum")]
            call.map::<Float64Type>(|row| {
                Ok((!nothing(row)).then(|| sums.value(row) / counts.value(row) as f64))
            })
        }
        returns => {
            let numbers = exact_cast(&sums, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>();
            let means: arrow::array::Int64Array = (0..call.rows)
                .map(|row| (!nothing(row)).then(|| numbers.value(row) / counts.value(row)))
                .collect();
            exact_cast(&(Arc::new(means) as ArrayRef), returns)
        }
    }
}

/// The operands as `data_type`; a literal stays one value.
fn pair(call: &Call<'_>, data_type: &DataType) -> Result<[Box<dyn Datum>; 2]> {
    let operand = |at: usize| -> Result<Box<dyn Datum>> {
        let (values, is_literal) = call.column(at)?;
        let values = exact_cast(values, data_type)?;
        Ok(if is_literal { Box::new(Scalar::new(values)) } else { Box::new(values) })
    };
    Ok([operand(0)?, operand(1)?])
}

fn compute(call: &Call<'_>, op: Op) -> Result<ArrayRef> {
    if matches!(call.returns, DataType::Decimal128(..)) {
        return decimals(call, op);
    }
    let [left, right] = pair(call, call.returns)?;
    let (left, right) = (left.as_ref(), right.as_ref());
    let result = match op {
        Op::Add => numeric::add(left, right),
        Op::Subtract => numeric::sub(left, right),
        Op::Multiply => numeric::mul(left, right),
        Op::Divide => numeric::div(left, right),
    };
    let result = sized(result.map_err(named)?, call)?;
    if call.returns.is_floating() && !is_finite(&result) {
        return exec_err!(
            "{}",
            if op == Op::Divide {
                "division by zero, or a result out of range"
            } else {
                "a result out of range"
            }
        );
    }
    Ok(one_zero(result))
}

/// Arrow tells -0.0 from 0.0 where it compares, SQL knows one zero: `0.0 * -1 = 0` is true.
fn one_zero(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => Arc::new(
            values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0),
        ),
        DataType::Float64 => Arc::new(
            values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0),
        ),
        _ => values,
    }
}

/// The kernels give one value for two literals.
fn sized(result: ArrayRef, call: &Call<'_>) -> Result<ArrayRef> {
    if result.len() == call.rows {
        return Ok(result);
    }
    let zeros = arrow::array::UInt32Array::from(vec![0; call.rows]);
    Ok(arrow::compute::take(&result, &zeros, None)?)
}

fn is_finite(values: &ArrayRef) -> bool {
    match values.data_type() {
        DataType::Float32 => {
            values.as_primitive::<Float32Type>().iter().flatten().all(f32::is_finite)
        }
        _ => values.as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite),
    }
}

fn named(error: ArrowError) -> DataFusionError {
    match error {
        ArrowError::DivideByZero => DataFusionError::Execution("division by zero".to_owned()),
        ArrowError::ArithmeticOverflow(_) => {
            DataFusionError::Execution("a result out of range".to_owned())
        }
        other => other.into(),
    }
}

/// `DECIMAL`s, as whole numbers of their smallest unit.
fn decimals(call: &Call<'_>, op: Op) -> Result<ArrayRef> {
    let scale_of = |at: usize| -> Result<i16> {
        Ok(digits(call.column(at)?.0.data_type()).map_or(0, |(_, scale)| scale))
    };
    let (left_scale, right_scale) = (scale_of(0)?, scale_of(1)?);
    let DataType::Decimal128(precision, scale) = *call.returns else {
        return exec_err!("{} is no DECIMAL", call.returns);
    };
    let scale = i16::from(scale);
    let unscaled = |at: usize, scale: i16| -> Result<ArrayRef> {
        let digits = i8::try_from(scale).unwrap_or_default();
        exact_cast(&call.expanded(at)?, &DataType::Decimal128(38, digits))
    };
    let (left, right) = (unscaled(0, left_scale)?, unscaled(1, right_scale)?);
    let (left, right) =
        (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let limit = power_of_ten(i16::from(precision))?;
    call.map::<Decimal128Type>(|row| {
        if left.is_null(row) || right.is_null(row) {
            return Ok(None);
        }
        let (left, right) = (left.value(row), right.value(row));
        if op == Op::Divide && right == 0 {
            return exec_err!("division by zero");
        }
        let result = exact(op, (left, left_scale), (right, right_scale), scale);
        match result.filter(|result| result.abs() < limit) {
            Some(result) => Ok(Some(result)),
            None => exec_err!("a result out of range of {}", call.returns),
        }
    })
}

/// The result with `scale` digits behind the point, rounded half away from zero; none if it is too
/// large to be computed.
fn exact(op: Op, (left, s1): (i128, i16), (right, s2): (i128, i16), scale: i16) -> Option<i128> {
    match op {
        Op::Add => rescaled(left, s1, scale)?.checked_add(rescaled(right, s2, scale)?),
        Op::Subtract => rescaled(left, s1, scale)?.checked_sub(rescaled(right, s2, scale)?),
        Op::Multiply => rescaled(left.checked_mul(right)?, s1 + s2, scale),
        Op::Divide => {
            // left / 10^s1 / (right / 10^s2) in units of 10^-scale
            let shift = scale - s1 + s2;
            let (numerator, denominator) = if shift >= 0 {
                (left.checked_mul(power_of_ten(shift).ok()?)?, right)
            } else {
                (left, right.checked_mul(power_of_ten(-shift).ok()?)?)
            };
            divided(numerator, denominator)
        }
    }
}

fn rescaled(value: i128, from: i16, to: i16) -> Option<i128> {
    if to >= from {
        value.checked_mul(power_of_ten(to - from).ok()?)
    } else {
        divided(value, power_of_ten(from - to).ok()?)
    }
}

/// The quotient, rounded half away from zero.
fn divided(numerator: i128, denominator: i128) -> Option<i128> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?;
    let is_half = rest.unsigned_abs() >= denominator.unsigned_abs().div_ceil(2);
    let away = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
    Some(if is_half && rest != 0 { quotient + away } else { quotient })
}

fn power_of_ten(digits: i16) -> Result<i128> {
    u32::try_from(digits)
        .ok()
        .and_then(|digits| 10_i128.checked_pow(digits))
        .ok_or_else(|| DataFusionError::Execution("a result out of range".to_owned()))
}

/// The remainder, with the sign of the dividend.
pub(super) fn remainder(call: &Call<'_>) -> Result<ArrayRef> {
    let [left, right] = pair(call, call.returns)?;
    let result = sized(numeric::rem(left.as_ref(), right.as_ref()).map_err(named)?, call)?;
    if call.returns.is_floating() && !is_finite(&result) {
        return exec_err!("division by zero");
    }
    // The kernel may find another precision for decimals.
    exact_cast(&one_zero(result), call.returns)
}
