//! Rows in windows that overlap: each comes out once per window it is in, with the window in place of
//! its time. Linear: it maps a delta to a delta and keeps nothing.
//!
//! Source: "Windowing table-valued functions" of the Apache Flink SQL documentation (`HOP` and
//! `CUMULATE`).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};

use super::{EpochContext, Input, Linear, Operator, Output};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::event_window::Overlapping;
use crate::watermark::{Watermark, Watermarks};

/// How many rows come out in one batch, before the last row's windows are added.
const OUTPUT_ROWS: usize = 32_768;

/// A window table function as planned.
#[derive(Debug, Clone)]
pub struct WindowTableSpec {
    /// The windows, in milliseconds.
    pub windows: Overlapping,
    /// The column that is a time in the input and a window in the output: see [`Overlapping`].
    pub time: usize,
    /// The columns of the output.
    pub schema: SchemaRef,
}

/// The least window that a row at or behind this watermark can be in.
pub(super) fn first_open(windows: Overlapping, watermark: Watermark) -> Watermark {
    match watermark {
        Watermark::At(time) => Watermark::At(windows.first_open(time)),
        other => other,
    }
}

/// The windows as `EXPLAIN` says them.
pub(super) fn described(windows: Overlapping) -> String {
    match windows {
        Overlapping::Hop { slide, size, offset } => {
            format!("hop slide={slide}ms size={size}ms offset={offset}ms")
        }
        Overlapping::Cumulate { step, size, offset } => {
            format!("cumulate step={step}ms size={size}ms offset={offset}ms")
        }
    }
}

impl OperatorSpec for WindowTableSpec {
    fn name(&self) -> &'static str {
        "WindowTable"
    }

    fn explain(&self) -> Explanation {
        Explanation { detail: described(self.windows), ..Explanation::default() }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Any
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let mut watermarks = inputs[0].clone();
        let of_time = watermarks.get(self.time).map(|time| first_open(self.windows, time));
        watermarks.0[self.time] = of_time;
        watermarks
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowTable { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct WindowTable {
    spec: WindowTableSpec,
}

impl WindowTable {
    fn expand(&self, delta: &Delta, deltas: &mut Vec<Delta>) -> Result<()> {
        let times = delta.batch.column(self.spec.time);
        let times = times.as_primitive_opt::<TimestampMillisecondType>();
        let times = times.ok_or_else(|| Error::bug("the time of a window is no TIMESTAMP"))?;
        let (mut rows, mut windows) = (Vec::new(), Vec::new());
        for (row, time) in (0_u32..).zip(times) {
            // A row without a time is in no window.
            for window in time.into_iter().flat_map(|time| self.spec.windows.of(time)) {
                rows.push(row);
                windows.push(window);
            }
            if rows.len() >= OUTPUT_ROWS {
                deltas.push(self.output(delta, std::mem::take(&mut rows), &windows)?);
                windows.clear();
            }
        }
        if !rows.is_empty() {
            deltas.push(self.output(delta, rows, &windows)?);
        }
        Ok(())
    }

    fn output(&self, delta: &Delta, rows: Vec<u32>, windows: &[i64]) -> Result<Delta> {
        let rows = UInt32Array::from(rows);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(delta.batch.num_columns());
        for (number, column) in delta.batch.columns().iter().enumerate() {
            if number == self.spec.time {
                columns.push(Arc::new(TimestampMillisecondArray::from(windows.to_vec())));
            } else {
                columns.push(take(column, &rows, None)?);
            }
        }
        let weights =
            delta.weights.as_ref().map(|weights| take(weights, &rows, None)).transpose()?;
        Ok(Delta {
            batch: RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?,
            weights: weights.map(|weights| Int64Array::from(weights.to_data())),
        })
    }
}

impl Linear for WindowTable {
    fn map(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let mut deltas = Vec::new();
        for delta in inputs.iter().flat_map(|input| &input.deltas) {
            self.expand(delta, &mut deltas)?;
        }
        Ok(deltas.into())
    }
}
