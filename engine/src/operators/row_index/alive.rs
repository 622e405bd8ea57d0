//! All rows of an index, for those who read it whole.

use arrow::array::{BooleanArray, Int64Array};
use arrow::compute::filter_record_batch;

use super::RowIndex;
use crate::delta::Delta;
use crate::error::Result;

impl RowIndex {
    /// The rows there are, with their weights, in the order they came.
    pub(in crate::operators) fn alive(&self) -> Result<Vec<Delta>> {
        let mut alive = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let batch = segment.batch(&self.schema)?;
            let Some(changes) = &self.changes else {
                alive.push(Delta::append(batch));
                continue;
            };
            let weights = &changes.weights[segment.numbers()];
            let lives: BooleanArray = weights.iter().map(|weight| Some(*weight != 0)).collect();
            let living = weights.iter().copied().filter(|weight| *weight != 0);
            let weights: Int64Array = living.collect::<Vec<_>>().into();
            if !weights.values().is_empty() {
                let batch = filter_record_batch(&batch, &lives)?;
                alive.push(Delta { batch, weights: Some(weights) });
            }
        }
        Ok(alive)
    }
}
