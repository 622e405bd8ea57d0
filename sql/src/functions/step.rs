//! `STEP`: the multiple of a width at or below a value.
//!
//! Of times it is called `date_bin`, as DataFusion's is, which takes what is not of the dialect; of numbers
//! it is `x - x % width`, so that numbers below zero go towards it, as `(x / width) * width` of integers
//! does.
//!
//! Source: "STEP" of the Kinesis Data Analytics SQL reference.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::{rem, sub};
use arrow::datatypes::{DataType, Date32Type, IntervalUnit, TimestampMillisecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::Function;
use super::Param::Any;
use super::arithmetic::remainder_type;
use super::calendar::{DAY_MS, Day, split};
use super::call::{Call, exact_cast, written};

/// `STEP(x BY n)` of numbers as a call.
pub(crate) const STEP: &str = "__step";

const NANOS_PER_MS: i64 = 1_000_000;

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new(STEP, &[&[Any, Any]], |types, _| type_of(types), multiple_below)]
}

/// Whole numbers stay what they are; others are as in a remainder, with the digits of the value.
fn type_of(types: &[DataType]) -> Result<DataType> {
    match types {
        [value, width] if value.is_integer() && width.is_integer() => Ok(value.clone()),
        [value, width] if is_number(value) && is_number(width) => match remainder_type(types)? {
            DataType::Decimal128(precision, scale) => {
                // What is before the point may be as long as that of the value.
                let whole = |t: &DataType| match t {
                    DataType::Decimal128(precision, scale) => {
                        i16::from(*precision) - i16::from(*scale)
                    }
                    _ => 19,
                };
                let wanted = whole(value) + i16::from(scale);
                let precision = i16::from(precision).max(wanted).min(38);
                Ok(DataType::Decimal128(u8::try_from(precision).unwrap_or(38), scale))
            }
            other => Ok(other),
        },
        [value, _] => plan_err!(
            "STEP of {} BY a number: a number is wanted, or an INTERVAL behind BY",
            written(value)
        ),
        _ => plan_err!("STEP takes a value and a width"),
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_null() || data_type.is_numeric()
}

fn multiple_below(call: &Call<'_>) -> Result<ArrayRef> {
    // A width may be wider than the values, the result is not.
    let wide = match call.returns {
        whole if whole.is_signed_integer() => DataType::Int64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        other => other.clone(),
    };
    let value = exact_cast(&call.expanded(0)?, &wide)?;
    let (width, _) = call.column(1)?;
    let width = ScalarValue::try_from_array(&exact_cast(width, &wide)?, 0)?;
    if ScalarValue::new_zero(&wide).is_ok_and(|zero| zero == width) {
        return exec_err!("STEP BY 0");
    }
    let above = rem(&value, &width.to_scalar()?)?;
    Ok(cast(&sub(&value, &above)?, call.returns)?)
}

/// DataFusion's `date_bin`; of milliseconds and dates our own, which gives the type it is given.
pub(crate) fn of_dates_too(inner: Arc<ScalarUDF>) -> ScalarUDF {
    let date = |unit| TypeSignature::Exact(vec![DataType::Interval(unit), DataType::Date32]);
    let own = [IntervalUnit::MonthDayNano, IntervalUnit::DayTime].map(date).into_iter();
    let theirs = std::iter::once(inner.signature().type_signature.clone());
    let signature = Signature::one_of(own.chain(theirs).collect(), Volatility::Immutable);
    ScalarUDF::from(DateBin { inner, signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.get(1) {
            Some(DataType::Date32) => Ok(DataType::Date32),
            _ => self.inner.return_type(arg_types),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(width), times] = args.args.as_slice() else {
            return self.inner.invoke_with_args(args);
        };
        let (Some(width), true) = (Width::of(width), is_counted(&times.data_type())) else {
            return self.inner.invoke_with_args(args);
        };
        match times {
            ColumnarValue::Array(times) => Ok(ColumnarValue::Array(width.floor(times)?)),
            ColumnarValue::Scalar(time) => {
                let floor = width.floor(&time.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&floor, 0)?))
            }
        }
    }
}

/// Whether the values are counted in milliseconds or days. DataFusion counts in nanoseconds, of which 64
/// bits reach to the year 2262.
fn is_counted(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32) || *data_type == TIMESTAMP_TYPE
}

/// How wide a step of time is.
#[derive(Clone, Copy)]
enum Width {
    Months(i64),
    Ms(i64),
}

impl Width {
    /// An interval of whole months or of whole milliseconds, longer than nothing.
    fn of(interval: &ScalarValue) -> Option<Self> {
        let width = match interval {
            ScalarValue::IntervalMonthDayNano(Some(of)) if of.months != 0 => {
                (of.days == 0 && of.nanoseconds == 0).then_some(Self::Months(of.months.into()))
            }
            ScalarValue::IntervalMonthDayNano(Some(of)) => (of.nanoseconds % NANOS_PER_MS == 0)
                .then(|| Self::Ms(i64::from(of.days) * DAY_MS + of.nanoseconds / NANOS_PER_MS)),
            ScalarValue::IntervalDayTime(Some(of)) => {
                Some(Self::Ms(i64::from(of.days) * DAY_MS + i64::from(of.milliseconds)))
            }
            _ => None,
        };
        width.filter(|width| matches!(width, Self::Months(1..) | Self::Ms(1..)))
    }

    /// The steps at or below `times`.
    fn floor(self, times: &ArrayRef) -> Result<ArrayRef> {
        let out_of_range = || DataFusionError::Execution("the time is out of range".to_owned());
        let below = |ms: i64| match self {
            Self::Ms(width) => ms.checked_sub(ms.rem_euclid(width)).ok_or_else(out_of_range),
            Self::Months(width) => {
                let Day { year, month, .. } = Day::of(split(ms).0);
                let months = (year - 1970) * 12 + month - 1;
                let first = months.div_euclid(width) * width + 1;
                Ok(Day { year: 1970, month: first, day: 1 }.number() * DAY_MS)
            }
        };
        if *times.data_type() == DataType::Date32 {
            let days = times.as_primitive::<Date32Type>();
            let floor: Date32Array = days.try_unary(|day| {
                let ms = below(i64::from(day) * DAY_MS)?;
                i32::try_from(ms.div_euclid(DAY_MS)).map_err(|_| out_of_range())
            })?;
            return Ok(Arc::new(floor));
        }
        let times = times.as_primitive::<TimestampMillisecondType>();
        let floor: TimestampMillisecondArray = times.try_unary(below)?;
        Ok(Arc::new(floor))
    }
}
