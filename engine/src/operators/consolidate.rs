//! The net change of an epoch: what is added and removed in the same epoch never leaves it.
//!
//! Invariant: the sum of the changes stays what it was.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;

use super::row_index::KeyedRows;
use crate::delta::Delta;
use crate::error::Result;

/// The rows of a batch that comes out: DataFusion's own batch size, which the operators downstream are
/// tuned for.
pub(super) const BATCH_ROWS: usize = 8192;

/// The net change that `deltas` of one schema make together.
///
/// Where all weights have one sign nothing can cancel, and nothing is looked at but the weights.
pub(super) fn consolidated(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    if !may_cancel(&deltas) { Ok(deltas) } else { net(deltas) }
}

/// Whether some weights are positive and some are not.
fn may_cancel(deltas: &[Delta]) -> bool {
    let (mut added, mut removed) = (false, false);
    for delta in deltas {
        match &delta.weights {
            None => added |= delta.num_rows() > 0,
            Some(weights) => {
                for weight in weights.values() {
                    added |= *weight >= 0;
                    removed |= *weight <= 0;
                }
            }
        }
        if added && removed {
            return true;
        }
    }
    false
}

fn net(deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    let Some(first) = deltas.first() else { return Ok(deltas) };
    let batch = concat_batches(&first.batch.schema(), deltas.iter().map(|delta| &delta.batch))?;
    let weights = deltas.iter().flat_map(|delta| {
        (0..delta.num_rows()).map(|row| delta.weights.as_ref().map_or(1, |w| w.value(row)))
    });
    let all = Delta { batch, weights: Some(weights.collect()) };
    let rows = KeyedRows::new(all, &[], NullEquality::NullEqualsNull)?.net()?;
    Ok(slices(&Delta { batch: rows.batch, weights: rows.weights }))
}

/// A large delta as several of bounded size.
fn slices(delta: &Delta) -> Vec<Delta> {
    let of = |from: usize| {
        let rows = BATCH_ROWS.min(delta.num_rows() - from);
        let batch: RecordBatch = delta.batch.slice(from, rows);
        Delta { batch, weights: delta.weights.as_ref().map(|weights| weights.slice(from, rows)) }
    };
    (0..delta.num_rows()).step_by(BATCH_ROWS).map(of).collect()
}

/// Small batches on their way out, joined until they have [`BATCH_ROWS`] rows.
#[derive(Debug)]
pub(super) struct Joined {
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    rows: usize,
    deltas: Vec<Delta>,
}

impl Joined {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema), waiting: Vec::new(), rows: 0, deltas: Vec::new() }
    }

    /// Adds rows that are appended.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.waiting.push(batch);
        if self.rows >= BATCH_ROWS { self.join() } else { Ok(()) }
    }

    fn join(&mut self) -> Result<()> {
        if self.rows > 0 {
            self.deltas.push(Delta::append(match self.waiting.as_slice() {
                [one] => one.clone(),
                several => concat_batches(&self.schema, several)?,
            }));
        }
        self.waiting.clear();
        self.rows = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Delta>> {
        self.join()?;
        Ok(self.deltas)
    }
}
