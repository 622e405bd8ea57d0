//! `ORDER BY` on a stream: rows of one value of the leading key come out sorted by the others, when it
//! is known that no more of that value will come.
//!
//! The leading key is a time that only grows, ascending. All rows pass one lane: an order is global.
//! State: the rows whose leading key the watermark has not passed.
//!
//! Source: "ORDER BY clause" of the Kinesis Data Analytics SQL reference.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, min, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::sliding_window::waiting::{Waiting, released_of, released_rows};
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;
use crate::watermark::{Watermark, Watermarks};

const WAITING: &str = "waiting";
const RELEASED: &str = "released";

/// A key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub column: usize,
    /// Whether the greatest value comes first.
    pub descending: bool,
    /// Whether NULLs come first.
    pub nulls_first: bool,
}

/// An order of a stream as planned. The input is append-only.
#[derive(Debug, Clone)]
pub struct SortedStreamSpec {
    /// What rows are ordered by; the first has a watermark and is ascending.
    pub keys: Vec<SortKey>,
    /// The columns of the input, and of the output.
    pub schema: SchemaRef,
}

impl SortedStreamSpec {
    fn leading(&self) -> Result<usize> {
        let first = self.keys.first().filter(|key| !key.descending);
        first.map(|key| key.column).ok_or_else(|| Error::bug("an order without an ascending key"))
    }
}

impl OperatorSpec for SortedStreamSpec {
    fn name(&self) -> &'static str {
        "SortedStream"
    }

    fn explain(&self) -> Explanation {
        let keys: Vec<_> = self.keys.iter().map(|key| key.describe(&self.schema)).collect();
        let leading = keys.first().cloned().unwrap_or_default();
        Explanation {
            detail: format!("keys=[{}]", keys.join(", ")),
            keeps: format!("the rows of the present {leading}"),
            freed_by: format!("the watermark passing {leading}"),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        // Which columns keep one; what they are, the running operator knows.
        let none = || Watermarks::none(self.schema.fields().len());
        inputs.first().cloned().unwrap_or_else(none)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SortedStream {
            leading: self.leading()?,
            waiting: Waiting::default(),
            released: Watermark::Unknown,
            known: None,
            spec: self.clone(),
        }))
    }
}

impl SortKey {
    /// The key as it is written.
    pub(super) fn describe(&self, schema: &SchemaRef) -> String {
        let name = schema.field(self.column).name();
        if self.descending { format!("{name} DESC") } else { name.clone() }
    }
}

/// `rows` in the order of `keys`; equal rows keep their order.
pub(super) fn sorted(rows: &RecordBatch, keys: &[SortKey]) -> Result<RecordBatch> {
    let mut columns: Vec<SortColumn> = keys
        .iter()
        .map(|key| SortColumn {
            values: Arc::clone(rows.column(key.column)),
            options: Some(SortOptions { descending: key.descending, nulls_first: key.nulls_first }),
        })
        .collect();
    let places = Int64Array::from_iter_values((0_i64..).take(rows.num_rows()));
    columns.push(SortColumn { values: Arc::new(places), options: None });
    Ok(take_record_batch(rows, &lexsort_to_indices(&columns, None)?)?)
}

#[derive(Debug)]
struct SortedStream {
    spec: SortedStreamSpec,
    leading: usize,
    waiting: Waiting,
    /// Rows whose leading key is up to this have come out.
    released: Watermark,
    /// What holds of the rows that have not come out.
    known: Option<Watermarks>,
}

impl SortedStream {
    /// The watermarks of the input, held back by the rows that wait.
    fn held(&self, mut watermarks: Watermarks) -> Result<Watermarks> {
        for (column, watermark) in watermarks.0.iter_mut().enumerate() {
            let Some(watermark) = watermark else { continue };
            if column == self.leading {
                continue;
            }
            for rows in self.waiting.batches() {
                let numbers = to_numbers(rows.column(column))?;
                if let Some(least) = min(numbers.as_primitive::<Int64Type>()) {
                    *watermark = (*watermark).min(Watermark::At(least));
                }
            }
        }
        Ok(watermarks)
    }
}

impl Operator for SortedStream {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] =
            <[Input; 1]>::try_from(inputs).map_err(|_| Error::bug("an order has one input"))?;
        for delta in input.deltas {
            if delta.weights.is_some() {
                return Err(Error::bug("an ordered stream cannot take back rows"));
            }
            let times = to_numbers(delta.batch.column(self.leading))?;
            self.waiting.push(delta.batch, times.as_primitive::<Int64Type>())?;
        }
        // More rows of the very bound may come.
        let passed = match input.watermarks.get(self.leading) {
            Some(Watermark::At(bound)) => Watermark::At(bound.saturating_sub(1)),
            Some(Watermark::End) => Watermark::End,
            Some(Watermark::Unknown) | None => Watermark::Unknown,
        };
        self.released = self.released.max(passed);
        let released = self.waiting.release(self.released)?;
        let mut deltas = Vec::new();
        if let Some((rows, _)) = released {
            deltas.push(Delta::append(sorted(&rows, &self.spec.keys)?));
        }
        self.known = Some(self.held(input.watermarks)?);
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let waiting = self.waiting.snapshot().into_iter();
        let mut state: Vec<_> = waiting.map(|rows| StateBatch { part: WAITING, rows }).collect();
        let released = released_rows(self.released)?;
        state.extend(released.map(|rows| StateBatch { part: RELEASED, rows }));
        Ok(state)
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for StateBatch { part, rows } in state {
            match part {
                WAITING => {
                    let times = to_numbers(rows.column(self.leading))?;
                    self.waiting.restore(rows, times.as_primitive::<Int64Type>())?;
                }
                RELEASED => {
                    self.released = released_of(&rows)?;
                    // They came out between two snapshots.
                    self.waiting.release(self.released)?;
                }
                _ => return Err(Error::bug("not the state of an ordered stream")),
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes()
    }

    fn watermarks(&self) -> Option<Watermarks> {
        self.known.clone()
    }
}
