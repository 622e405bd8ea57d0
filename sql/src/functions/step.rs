//! `STEP`: the multiple of a width at or below a value.
//!
//! Of times it is DataFusion's `date_bin`, here for dates too; of numbers it is `x - x % width`, so that
//! numbers below zero go towards it, as `(x / width) * width` of integers does.
//!
//! Source: "STEP" of the Kinesis Data Analytics SQL reference.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::compute::kernels::numeric::{rem, sub};
use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::Function;
use super::Param::Any;
use super::arithmetic::remainder_type;
use super::call::{Call, exact_cast, written};

/// `STEP(x BY n)` of numbers as a call.
pub(crate) const STEP: &str = "__step";

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
    let value = exact_cast(&call.expanded(0)?, call.returns)?;
    let (width, _) = call.column(1)?;
    let width = ScalarValue::try_from_array(&exact_cast(width, call.returns)?, 0)?;
    if ScalarValue::new_zero(call.returns).is_ok_and(|zero| zero == width) {
        return exec_err!("STEP BY 0");
    }
    let above = rem(&value, &width.to_scalar()?)?;
    Ok(cast(&sub(&value, &above)?, call.returns)?)
}

/// DataFusion's `date_bin`, which takes dates and gives dates too.
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

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.get(1).map(ColumnarValue::data_type) != Some(DataType::Date32) {
            return self.inner.invoke_with_args(args);
        }
        let times = args.args[1].cast_to(&TIMESTAMP_TYPE, None)?;
        let field = args.arg_fields.get(1).map(|field| field.as_ref().clone());
        let field = field.ok_or_else(|| DataFusionError::Internal("no second field".to_owned()))?;
        args.arg_fields[1] = Arc::new(field.with_data_type(TIMESTAMP_TYPE));
        args.return_field = Arc::clone(&args.arg_fields[1]);
        args.args[1] = times;
        self.inner.invoke_with_args(args)?.cast_to(&DataType::Date32, None)
    }
}
