//! Snapshots of an index: the rows added since the last one, and those taken back of the rows before.
//!
//! While no snapshot is taken nothing is recorded for one: all rows count as added since.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::{KeyedRows, NONE, RowIndex};
use crate::delta::Delta;
use crate::error::{Error, Result};

impl RowIndex {
    /// What changed since the last snapshot.
    pub(in crate::operators) fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let from = self.segments.partition_point(|segment| segment.first < self.saved);
        for segment in &self.segments[from.saturating_sub(1)..] {
            let skip = self.saved.saturating_sub(segment.first) as usize;
            let rows = segment.rows;
            if skip >= rows {
                continue;
            }
            let batch = segment.batch(&self.schema)?.slice(skip, rows - skip);
            let first = segment.first as usize;
            let Some(changes) = &self.changes else {
                batches.push(weighted(&batch, vec![1; rows - skip])?);
                continue;
            };
            let weights = &changes.weights[first + skip..first + rows];
            let alive: BooleanArray = weights.iter().map(|w| Some(*w != 0)).collect();
            let batch = weighted(&batch, weights.to_vec())?;
            if alive.true_count() > 0 {
                batches.push(filter_record_batch(&batch, &alive)?);
            }
        }
        if let Some(changes) = &mut self.changes {
            for (rows, weights) in changes.taken_back.drain(..) {
                batches.push(weighted(&rows, weights)?);
            }
        }
        self.saved = u32::try_from(self.older.len()).unwrap_or(NONE);
        Ok(batches)
    }

    /// Makes the next snapshot hold all rows.
    pub(in crate::operators) fn forget_snapshots(&mut self) {
        self.saved = 0;
        if let Some(changes) = &mut self.changes {
            changes.taken_back.clear();
        }
    }

    /// Adds what a snapshot holds.
    pub(in crate::operators) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = self.restored(rows)?;
        self.apply(&rows)?;
        self.all_saved();
        Ok(())
    }

    /// Adds what a snapshot holds to an index of keys, as [`RowIndex::merge`] does.
    pub(in crate::operators) fn restore_keys(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = self.restored(rows)?.net()?;
        let keys = self.keys.clone();
        let found = self.find(&rows, &keys)?;
        self.merge(&rows, &found)?;
        self.all_saved();
        Ok(())
    }

    fn restored(&self, rows: &RecordBatch) -> Result<KeyedRows> {
        let not_ours = || Error::bug("not the state of an index of rows");
        let columns = self.schema.fields().len();
        if rows.num_columns() != columns + 1 {
            return Err(not_ours());
        }
        let weights = rows.column(columns).as_primitive_opt::<Int64Type>();
        let weights = Some(weights.ok_or_else(not_ours)?.clone());
        let columns = rows.columns()[..columns].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        self.keyed(Delta { batch, weights })
    }

    fn all_saved(&mut self) {
        self.saved = u32::try_from(self.older.len()).unwrap_or(NONE);
        if let Some(changes) = &mut self.changes {
            changes.taken_back.clear();
        }
    }
}

fn weighted(batch: &RecordBatch, weights: Vec<i64>) -> Result<RecordBatch> {
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|f| f.as_ref().clone());
    let weight = Field::new("weight", DataType::Int64, false);
    let schema = Schema::new(fields.chain([weight]).collect::<Vec<_>>());
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(weights)));
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
