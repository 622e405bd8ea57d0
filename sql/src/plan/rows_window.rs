//! Joins with windows of `ROWS`, in batch: which rows meet, and when.
//!
//! A relation with such a window says of each row when the window lets go of it (the time of the row
//! that many places behind it), so that a join needs to look at two rows only.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use millstream_engine::definition::TIMESTAMP_TYPE;

use crate::rowtime::windowed::{IN_WINDOW, MET_AT};

/// The functions of such a join.
pub(super) fn functions() -> [ScalarUDF; 2] {
    let in_window = vec![
        TIMESTAMP_TYPE,
        TIMESTAMP_TYPE,
        DataType::Int64,
        TIMESTAMP_TYPE,
        TIMESTAMP_TYPE,
        DataType::Int64,
    ];
    let function = |name, args| {
        let signature = Signature::exact(args, Volatility::Immutable);
        ScalarUDF::from(OfWindow { name, signature })
    };
    [function(IN_WINDOW, in_window), function(MET_AT, vec![TIMESTAMP_TYPE; 4])]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfWindow {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for OfWindow {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.name == MET_AT { TIMESTAMP_TYPE } else { DataType::Boolean })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|arg| numbers(arg, rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let result: ArrayRef = match columns.as_slice() {
            [_, one, other, alone] => Arc::new(met_at([one, other, alone], rows)),
            [a, a_until, a_reach, b, b_until, b_reach] => {
                Arc::new(in_window([a, a_until, a_reach], [b, b_until, b_reach], rows))
            }
            _ => return Err(DataFusionError::Internal("a window of other arguments".to_owned())),
        };
        Ok(ColumnarValue::Array(result))
    }
}

/// Times and milliseconds as numbers.
fn numbers(arg: ColumnarValue, rows: usize) -> Result<Int64Array> {
    let numbers = cast(&arg.into_array(rows)?, &DataType::Int64)?;
    Ok(numbers.as_primitive::<Int64Type>().clone())
}

fn at(numbers: &Int64Array, row: usize) -> Option<i64> {
    use arrow::array::Array;
    numbers.is_valid(row).then(|| numbers.value(row))
}

/// The later time of a pair; of a row alone when it was let go of, or if it never was its own time.
fn met_at([one, other, alone]: [&Int64Array; 3], rows: usize) -> TimestampMillisecondArray {
    let time = |row| {
        let (one, other) = (at(one, row), at(other, row));
        let both = one.zip(other).map(|(one, other)| one.max(other));
        both.or(at(alone, row)).or(one).or(other)
    };
    let times: Int64Array = (0..rows).map(time).collect();
    times.reinterpret_cast::<TimestampMillisecondType>()
}

/// Whether one of two rows is in its window at the time of the other.
fn in_window(left: [&Int64Array; 3], right: [&Int64Array; 3], rows: usize) -> BooleanArray {
    let holds = |[time, until, reach]: [&Int64Array; 3], row, moment: i64| {
        let Some(time) = at(time, row).filter(|time| *time <= moment) else { return false };
        match (at(reach, row), at(until, row)) {
            (Some(reach), _) => moment <= time.saturating_add(reach),
            (None, until) => until.is_none_or(|until| moment < until),
        }
    };
    let meets = |row| {
        let of_left = at(right[0], row).is_some_and(|moment| holds(left, row, moment));
        of_left || at(left[0], row).is_some_and(|moment| holds(right, row, moment))
    };
    (0..rows).map(|row| Some(meets(row))).collect()
}
