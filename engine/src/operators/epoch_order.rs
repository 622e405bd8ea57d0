//! Puts the append-only rows of an epoch in the order of their time. Linear: it keeps nothing.
//!
//! Lanes and keys each give their rows in order, one behind the other; in front of a sink they are made
//! one sequence again. What an epoch gives is later than what the epochs before gave, as far as the
//! watermark decides when rows come out; so the order holds beyond the epoch for windows.
//!
//! All rows pass one lane: an order is global.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, TimestampMillisecondType};

use super::sorted_stream::{described, sorted};
use super::{EpochContext, Input, Linear, Output};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, SortKey};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::Operator;
use crate::watermark::Watermarks;

/// An order within epochs as planned. The input is append-only.
#[derive(Debug, Clone)]
pub struct EpochOrderSpec {
    /// The column of the rows' time, `Timestamp(ms)`.
    pub time: usize,
    /// The columns of the input, and of the output.
    pub schema: SchemaRef,
}

impl EpochOrderSpec {
    fn key(&self) -> SortKey {
        SortKey { column: self.time, descending: false, nulls_first: true }
    }
}

impl OperatorSpec for EpochOrderSpec {
    fn name(&self) -> &'static str {
        "EpochOrder"
    }

    fn explain(&self) -> Explanation {
        let detail = format!("key={}", described(&self.key(), &self.schema));
        Explanation { detail, ..Explanation::default() }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let none = || Watermarks::none(self.schema.fields().len());
        inputs.first().cloned().unwrap_or_else(none)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(EpochOrder { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct EpochOrder {
    spec: EpochOrderSpec,
}

impl EpochOrder {
    /// Whether the rows of `batches`, one behind the other, are in order.
    fn is_in_order(&self, batches: &[RecordBatch]) -> Result<bool> {
        let mut latest = i64::MIN;
        for batch in batches {
            let times = batch.column(self.spec.time);
            let times = times.as_primitive_opt::<TimestampMillisecondType>();
            let times = times.ok_or_else(|| Error::bug("rows are ordered by what is no time"))?;
            if times.null_count() > 0 || !times.values().is_sorted() {
                return Ok(false);
            }
            let (Some(first), Some(last)) = (times.values().first(), times.values().last()) else {
                continue;
            };
            if *first < latest {
                return Ok(false);
            }
            latest = *last;
        }
        Ok(true)
    }
}

impl Linear for EpochOrder {
    fn map(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = Input::exactly(inputs)?;
        if input.deltas.iter().any(|delta| delta.weights.is_some()) {
            return Err(Error::bug("rows that may be taken back have no order"));
        }
        let batches: Vec<RecordBatch> = input.deltas.into_iter().map(|delta| delta.batch).collect();
        if self.is_in_order(&batches)? {
            return Ok(batches.into_iter().map(Delta::append).collect::<Vec<_>>().into());
        }
        let rows = concat_batches(&Arc::clone(&self.spec.schema), &batches)?;
        Ok(vec![Delta::append(sorted(&rows, &[self.spec.key()])?)].into())
    }
}
