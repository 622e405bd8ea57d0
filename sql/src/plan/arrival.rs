//! What KDA's sliding windows compute from the order in which their rows arrived: `FIRST_VALUE`,
//! `LAST_VALUE`, `NTH_VALUE`, `LAG` and `EXP_AVG`.
//!
//! In KDA `LAG` looks no further back than its window does, unlike in standard SQL; so all of them are
//! aggregates over the rows of the frame, of which the last is the row itself.
//!
//! Source: the pages of these functions in the
//! Kinesis Data Analytics SQL reference.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMillisecondType};
use datafusion::common::{Result, ScalarValue, exec_err, not_impl_err, plan_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::translate::interval_ms;
use crate::rewrite::arrival::{EXP_AVG, FROM_FIRST, FROM_LAST, NTH};

/// The aggregates over rows in the order of arrival.
pub(super) fn aggregates() -> impl Iterator<Item = AggregateUDF> {
    [NTH, EXP_AVG].into_iter().map(|name| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::from(InArrival { name, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InArrival {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for InArrival {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.name, types) {
            (NTH, [value, _, _, _, default]) => {
                if *default != DataType::Null
                    && (default.is_numeric() != value.is_numeric()
                        || default.is_temporal() != value.is_temporal())
                {
                    return plan_err!("the default of LAG is {default}, its values are {value}");
                }
                let (mode, number) = (DataType::Utf8, DataType::Int64);
                Ok(vec![value.clone(), mode, number, DataType::Boolean, value.clone()])
            }
            (EXP_AVG, [value, time, half_life])
                if value.is_numeric() && matches!(time, DataType::Timestamp(..)) =>
            {
                Ok(vec![DataType::Float64, TIMESTAMP_TYPE, half_life.clone()])
            }
            (EXP_AVG, _) => {
                plan_err!("EXP_AVG takes a number and the INTERVAL in which its weight halves")
            }
            _ => plan_err!("this function takes other arguments"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(value) if self.name == NTH => Ok(value.clone()),
            _ => Ok(DataType::Float64),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if self.name == EXP_AVG {
            return Ok(Box::new(ExpAvg { rows: VecDeque::new(), half_life: None }));
        }
        let null = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(Nth { null, values: VecDeque::new(), asked: None }))
    }
}

/// What is asked of the rows.
#[derive(Debug)]
struct Asked {
    mode: Mode,
    number: usize,
    ignores_nulls: bool,
    default: ScalarValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The n-th row of the frame.
    FromFirst,
    /// The n-th row from its end.
    FromLast,
    /// The n-th row before the last.
    Before,
}

/// One row of the frame. The values are scalars, because a result is one.
#[derive(Debug)]
struct Nth {
    null: ScalarValue,
    values: VecDeque<ScalarValue>,
    asked: Option<Asked>,
}

impl Asked {
    fn of(arguments: &[ArrayRef]) -> Result<Self> {
        let [_, mode, number, ignores_nulls, default] = arguments else {
            return exec_err!("a value of a window has five arguments");
        };
        let number = number.as_primitive::<Int64Type>().value(0);
        let mode = match mode.as_string::<i32>().value(0) {
            FROM_FIRST => Mode::FromFirst,
            FROM_LAST => Mode::FromLast,
            _ => Mode::Before,
        };
        let Ok(number) = usize::try_from(number) else {
            return exec_err!("a row {number} places away is none of the window");
        };
        if number == 0 && mode != Mode::Before {
            return exec_err!("the rows of a window are counted from 1");
        }
        Ok(Self {
            mode,
            number,
            ignores_nulls: ignores_nulls.as_boolean().value(0),
            default: ScalarValue::try_from_array(default, 0)?,
        })
    }

    fn pick<'v>(&self, values: &'v VecDeque<ScalarValue>) -> Option<&'v ScalarValue> {
        let counts = |value: &&ScalarValue| !(self.ignores_nulls && value.is_null());
        match (self.mode, self.number) {
            (Mode::FromFirst, number) => values.iter().filter(counts).nth(number - 1),
            (Mode::FromLast, number) => values.iter().rev().filter(counts).nth(number - 1),
            (Mode::Before, 0) => values.back(),
            (Mode::Before, number) => values.iter().rev().skip(1).filter(counts).nth(number - 1),
        }
    }
}

impl Accumulator for Nth {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(rows) = values.first().filter(|rows| !rows.is_empty()) else { return Ok(()) };
        if self.asked.is_none() {
            self.asked = Some(Asked::of(values)?);
        }
        for row in 0..rows.len() {
            self.values.push_back(ScalarValue::try_from_array(rows, row)?);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let gone = values.first().map_or(0, |rows| rows.len()).min(self.values.len());
        self.values.drain(..gone);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(asked) = &self.asked else { return Ok(self.null.clone()) };
        let otherwise = if asked.mode == Mode::Before { &asked.default } else { &self.null };
        Ok(asked.pick(&self.values).unwrap_or(otherwise).clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<ScalarValue>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("a value of a window outside OVER")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a value of a window outside OVER")
    }
}

/// The mean in which a row weighs half as much for each half-life between it and the last row: in
/// steps, so that all rows of one half-life weigh the same.
#[derive(Debug)]
struct ExpAvg {
    /// The times, and the values where there are some.
    rows: VecDeque<(i64, Option<f64>)>,
    half_life: Option<i64>,
}

impl Accumulator for ExpAvg {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [numbers, times, half_life] = values else {
            return exec_err!("EXP_AVG has a number, a time and an interval");
        };
        if numbers.is_empty() {
            return Ok(());
        }
        if self.half_life.is_none() {
            let length = ScalarValue::try_from_array(half_life, 0)?;
            self.half_life = interval_ms(&length).filter(|length| *length > 0);
            if self.half_life.is_none() {
                return exec_err!(
                    "EXP_AVG takes an INTERVAL of days to seconds, longer than nothing"
                );
            }
        }
        let times = times.as_primitive::<TimestampMillisecondType>().values();
        let numbers = numbers.as_primitive::<Float64Type>();
        self.rows.extend(times.iter().copied().zip(numbers));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let gone = values.first().map_or(0, |rows| rows.len()).min(self.rows.len());
        self.rows.drain(..gone);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (Some(half_life), Some((now, _))) = (self.half_life, self.rows.back().copied()) else {
            return Ok(ScalarValue::Float64(None));
        };
        let (mut sum, mut weights) = (0.0, 0.0);
        for (time, value) in &self.rows {
            let Some(value) = value else { continue };
            let halvings = now.saturating_sub(*time) / half_life;
            let weight = (-f64::from(i32::try_from(halvings).unwrap_or(i32::MAX))).exp2();
            sum += weight * value;
            weights += weight;
        }
        Ok(ScalarValue::Float64((weights > 0.0).then(|| sum / weights)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.capacity() * size_of::<(i64, Option<f64>)>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("EXP_AVG outside OVER")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("EXP_AVG outside OVER")
    }
}
