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

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, SortKey};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

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
        let keys: Vec<_> = self.keys.iter().map(|key| described(key, &self.schema)).collect();
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
        let leading = self.leading()?;
        let waiting = InOrder::new(leading);
        Ok(Box::new(SortedStream { leading, waiting, known: None, spec: self.clone() }))
    }
}

/// The key as it is written.
pub(super) fn described(key: &SortKey, schema: &SchemaRef) -> String {
    let name = schema.field(key.column).name();
    if key.descending { format!("{name} DESC") } else { name.clone() }
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
    /// By their leading keys.
    waiting: InOrder,
    /// What holds of the rows that have not come out.
    known: Option<Watermarks>,
}

impl SortedStream {
    /// The watermarks of the input, held back by the rows that wait.
    fn held(&mut self, mut watermarks: Watermarks) -> Result<Watermarks> {
        for (column, watermark) in watermarks.0.iter_mut().enumerate() {
            let Some(watermark) = watermark.as_mut().filter(|_| column != self.leading) else {
                continue;
            };
            if let Some(least) = self.waiting.least(column)? {
                *watermark = (*watermark).min(Watermark::At(least));
            }
        }
        Ok(watermarks)
    }
}

impl Operator for SortedStream {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        self.waiting.take_in(input.deltas)?;
        // More rows of the very bound may come.
        let passed = match input.watermarks.get(self.leading) {
            Some(Watermark::At(bound)) => Watermark::At(bound.saturating_sub(1)),
            Some(Watermark::End) => Watermark::End,
            Some(Watermark::Unknown) | None => Watermark::Unknown,
        };
        let mut deltas = Vec::new();
        if let Some((rows, _)) = self.waiting.release(passed)? {
            deltas.push(Delta::append(sorted(&rows, &self.spec.keys)?));
        }
        self.known = Some(self.held(input.watermarks)?);
        Ok(deltas.into())
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        self.waiting.snapshot()
    }

    fn forget_snapshots(&mut self) {
        self.waiting.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        self.waiting.restore_all(state)
    }

    fn state_rows(&self) -> usize {
        self.waiting.num_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.waiting.memory_bytes()
    }

    fn watermarks(&self) -> Option<Watermarks> {
        self.known.clone()
    }
}
