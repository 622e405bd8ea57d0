//! The functions that the window table functions are made of, as [`crate::rewrite::window_table`]
//! writes them. Batch queries run them; continuous ones know them by name.
//!
//! Times are milliseconds; a time of another unit is brought to them first.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimestampMillisecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowUDF,
};
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::event_window::{Overlapping, tumble};

use super::over_partition::over_partition;
use crate::rewrite::window_table::{
    CUMULATE, HOP, SESSION_END, SESSION_START, TUMBLE, WINDOW_END, WINDOW_START, WINDOW_TIME,
};

/// The scalar ones.
pub(super) fn scalar() -> impl Iterator<Item = ScalarUDF> {
    let names = [
        (TUMBLE, 3),
        (HOP, 4),
        (CUMULATE, 4),
        (WINDOW_START, 2),
        (WINDOW_END, 2),
        (WINDOW_TIME, 2),
    ];
    names.into_iter().map(|(name, arguments)| {
        let signature = Signature::any(arguments, Volatility::Immutable);
        ScalarUDF::from(OfTime { name, signature })
    })
}

/// Those over the rows of a session's keys.
pub(super) fn window() -> impl Iterator<Item = WindowUDF> {
    [SESSION_START, SESSION_END].into_iter().map(|name| {
        let type_of = |_: &str, time: Option<&DataType>| {
            expect_time(time)?;
            Ok(TIMESTAMP_TYPE)
        };
        over_partition(name, Signature::any(2, Volatility::Immutable), sessions, type_of)
    })
}

/// The windows that a call of [`HOP`] or [`CUMULATE`] with these numbers behind the time lists.
pub(super) fn overlapping(name: &str, numbers: &[i64]) -> Option<Overlapping> {
    match (name, numbers) {
        (HOP, &[slide, size, offset]) => Some(Overlapping::Hop { slide, size, offset }),
        (CUMULATE, &[step, size, offset]) => Some(Overlapping::Cumulate { step, size, offset }),
        _ => None,
    }
}

/// A function of a time and numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfTime {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for OfTime {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        expect_time(arg_types.first())?;
        let lists = [HOP, CUMULATE].contains(&self.name);
        Ok(if lists { DataType::List(item()) } else { TIMESTAMP_TYPE })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = args.args.iter().skip(1).map(number).collect::<Result<Vec<_>>>()?;
        let rows = args.number_rows;
        let Some(time) = args.args.into_iter().next() else { return Ok(null()) };
        let times = cast(&time.into_array(rows)?, &TIMESTAMP_TYPE)?;
        let times = times.as_primitive::<TimestampMillisecondType>();
        let result: ArrayRef = match (self.name, numbers.as_slice()) {
            (TUMBLE, &[width, offset]) => Arc::new(starts(times, width, offset)),
            (WINDOW_START, _) => Arc::new(times.clone()),
            (WINDOW_END, &[size]) => Arc::new(shifted(times, size)),
            (WINDOW_TIME, &[size]) => Arc::new(shifted(times, size.saturating_sub(1))),
            (name, numbers) => match overlapping(name, numbers) {
                Some(windows) => Arc::new(lists(times, windows)),
                None => return plan_err!("{name} takes numbers behind a time"),
            },
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn null() -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::Null)
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(TIMESTAMP_TYPE, true))
}

fn expect_time(data_type: Option<&DataType>) -> Result<()> {
    match data_type {
        Some(DataType::Timestamp(..) | DataType::Null) => Ok(()),
        Some(DataType::Date32 | DataType::Date64) | None => {
            plan_err!("the DESCRIPTOR of a window names a DATE: it needs a TIMESTAMP")
        }
        Some(other) => {
            plan_err!("the DESCRIPTOR of a window names a column of {other}: it needs a TIMESTAMP")
        }
    }
}

fn number(argument: &ColumnarValue) -> Result<i64> {
    match argument {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(number))) => Ok(*number),
        _ => Err(DataFusionError::Internal("the length of a window is no literal".to_owned())),
    }
}

/// The start of each row's tumbling window. Neighbours mostly share one, so the division is rare.
fn starts(times: &TimestampMillisecondArray, width: i64, offset: i64) -> TimestampMillisecondArray {
    let mut start = i64::MIN;
    let mut end = i64::MIN;
    let of = times.values().iter().map(|&time| {
        if time < start || time >= end {
            start = tumble(time, width, offset);
            end = start.saturating_add(width);
        }
        start
    });
    TimestampMillisecondArray::new(of.collect(), times.nulls().cloned())
}

fn shifted(times: &TimestampMillisecondArray, by: i64) -> TimestampMillisecondArray {
    if by == 0 { times.clone() } else { times.unary(|time| time.saturating_add(by)) }
}

/// The windows of each row; none of a row without a time.
fn lists(times: &TimestampMillisecondArray, windows: Overlapping) -> ListArray {
    let mut values: Vec<i64> = Vec::with_capacity(times.len());
    let mut lengths = Vec::with_capacity(times.len());
    for time in times {
        let before = values.len();
        if let Some(time) = time {
            values.extend(windows.of(time));
        }
        lengths.push(values.len() - before);
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values: ArrayRef = Arc::new(TimestampMillisecondArray::from(values));
    ListArray::new(item(), offsets, values, times.nulls().cloned())
}

/// The starts or ends of the sessions of rows of the same keys, in the order of their times.
fn sessions(name: &str, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let ends = name == SESSION_END;
    let [times, gaps] = values else {
        return plan_err!("a session is of a time and a gap");
    };
    let times = cast(times, &TIMESTAMP_TYPE)?;
    let times = times.as_primitive::<TimestampMillisecondType>().values();
    let gap = gaps.as_primitive::<Int64Type>().values().first().copied().unwrap_or_default();
    let mut result: Vec<<TimestampMillisecondType as ArrowPrimitiveType>::Native> =
        Vec::with_capacity(rows);
    for row in 0..times.len() {
        let goes_on = row > 0 && times[row] <= times[row - 1].saturating_add(gap);
        if !goes_on && ends && row > 0 {
            let end = times[row - 1].saturating_add(gap);
            result.resize(row, end);
        }
        if !ends {
            result.push(if goes_on { result[row - 1] } else { times[row] });
        }
    }
    if ends && let Some(last) = times.last() {
        result.resize(times.len(), last.saturating_add(gap));
    }
    Ok(Arc::new(TimestampMillisecondArray::from(result)))
}
