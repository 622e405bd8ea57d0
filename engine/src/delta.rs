//! What flows along an edge of the dataflow: a change of a relation.

use arrow::array::{Int64Array, RecordBatch};

use crate::error::{Error, Result};

/// Rows added to (and, where the plan can retract, removed from) a relation: a Z-set as in DBSP.
///
/// Source: Budiu et al., "DBSP: Automatic Incremental View Maintenance", VLDB 2023.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows.
    pub batch: RecordBatch,
    /// One weight per row, how often it is added (`> 0`) or removed (`< 0`). `None` on append-only
    /// edges: every row counts once and no column is paid for it.
    pub weights: Option<Int64Array>,
}

impl Delta {
    /// Rows that are added once each.
    pub fn append(batch: RecordBatch) -> Self {
        Self { batch, weights: None }
    }

    /// The rows, for who can only add some.
    ///
    /// # Errors
    ///
    /// When they carry weights, and so may take rows back: our bug.
    pub(crate) fn appended(self) -> Result<RecordBatch> {
        match self.weights {
            None => Ok(self.batch),
            Some(_) => Err(Error::bug("rows were taken back from an append-only input")),
        }
    }

    /// The number of rows, whatever their weights.
    pub fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }
}

/// The number of rows in `deltas`, whatever their weights.
pub fn total_rows(deltas: &[Delta]) -> usize {
    deltas.iter().map(Delta::num_rows).sum()
}
