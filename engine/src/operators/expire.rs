//! `STATE TTL`: a row counts for so long, by its own time, and is then taken back.
//!
//! ```text
//!   rows ─┬──────────────► +1, at once
//!         └─► waiting ───► -1, when the watermark is their time and the length of time further
//! ```
//!
//! Everything behind it keeps what the rows that count make of it, and lets go of the rest as it does for
//! rows that are taken back for any other reason: so its state is bounded by the rows of that length of
//! time, and what comes out is always what batch says about the rows that count. When the input ends time
//! stands still: nothing more is taken back.
//!
//! Invariant: after every epoch the sum of the output is the rows later than the watermark less the
//! length of time.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;

use super::consolidate::consolidated;
use super::waiting::InOrder;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::{Watermark, Watermarks};

/// Rows that count for a length of time, as planned. The input is append-only and its time has a
/// watermark.
#[derive(Debug, Clone)]
pub struct ExpireSpec {
    /// The column with the time.
    pub time: usize,
    /// How long a row counts, in the unit of the time.
    pub counts_for: i64,
    /// How long that is, in words.
    pub written: String,
    /// The columns of the input, and of the output.
    pub schema: SchemaRef,
}

impl OperatorSpec for ExpireSpec {
    fn name(&self) -> &'static str {
        "Expire"
    }

    fn explain(&self) -> Explanation {
        let name = self.schema.field(self.time).name();
        Explanation {
            detail: format!("rows count for {} of {name}", self.written),
            keeps: format!("the rows of the last {}", self.written),
            freed_by: format!("the watermark of {name}, {} on", self.written),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Any
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // Rows taken back are as old as can be: no bound holds for them.
        Watermarks::none(self.schema.fields().len())
    }

    fn state_share(&self, part: &str) -> Option<StateShare> {
        InOrder::state_share(part, &[])
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.time >= self.schema.fields().len() || self.counts_for < 1 {
            return Err(Error::bug("rows that expire need a time and a length of time"));
        }
        let waiting = InOrder::new(self.time);
        Ok(Box::new(Expire { time: self.time, counts_for: self.counts_for, waiting }))
    }
}

#[derive(Debug)]
struct Expire {
    time: usize,
    counts_for: i64,
    /// The rows that count.
    waiting: InOrder,
}

impl Operator for Expire {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [Input { deltas, watermarks }] = Input::exactly(inputs)?;
        let mut changes = deltas.clone();
        self.waiting.take_in(deltas)?;
        if let Some(Watermark::At(watermark)) = watermarks.get(self.time) {
            let bound = Watermark::At(watermark.saturating_sub(self.counts_for));
            if let Some((batch, _)) = self.waiting.release(bound)? {
                let weights = Some(Int64Array::from(vec![-1; batch.num_rows()]));
                changes.push(Delta { batch, weights });
            }
        }
        for change in &mut changes {
            let rows = change.batch.num_rows();
            change.weights.get_or_insert_with(|| Int64Array::from(vec![1; rows]));
        }
        Ok(consolidated(changes)?.into())
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
}

/// Whether a specification is that of rows that expire.
pub(crate) fn expires(spec: &Arc<dyn OperatorSpec>) -> bool {
    let spec: &dyn std::any::Any = spec.as_ref();
    spec.is::<ExpireSpec>()
}
