//! One kept row per key: whether a key is there at all, and an index that holds each key once.

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::keyed::KeyedRows;
use super::{NONE, Pairs, RowIndex};
use crate::error::Result;

/// Questions about keys, not rows.
impl RowIndex {
    /// For each row the newest kept row of an equal key, if there is one. The cost does not depend on
    /// how many there are.
    pub(in crate::operators) fn find(
        &self,
        rows: &KeyedRows,
        keys: &[usize],
    ) -> Result<Vec<Option<u32>>> {
        let mut found = vec![None; rows.len()];
        let mut open = Pairs::with_capacity(rows.len());
        // Row numbers of a delta fit: the executor's batches are far below 2³².
        for (row, newest) in (0_u32..).zip(self.newest_of(rows, 0..rows.len())) {
            if newest != NONE {
                open.probe.push(row);
                open.kept.push(newest);
            }
        }
        // A second round is only for other keys of the same hash.
        while open.len() > 0 {
            let equal = self.equal_keys(rows, keys, &open)?;
            let mut next = Pairs::default();
            for (pair, (&row, &kept)) in open.probe.iter().zip(&open.kept).enumerate() {
                let is_equal = equal.as_ref().is_none_or(|e| e.is_valid(pair) && e.value(pair));
                let older = self.older[kept as usize];
                if is_equal {
                    found[row as usize] = Some(kept);
                } else if older != NONE {
                    next.probe.push(row);
                    next.kept.push(older);
                }
            }
            open = next;
        }
        Ok(found)
    }

    /// Adds `rows`, each of them the whole key, to those of the same key: `found`, as
    /// [`RowIndex::find`] says for them. No two of `rows` are equal.
    pub(in crate::operators) fn merge(
        &mut self,
        rows: &KeyedRows,
        found: &[Option<u32>],
    ) -> Result<()> {
        let Some(mut changes) = self.changes.take() else { return self.append(rows) };
        let (mut saved, mut amounts, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for (row, kept) in found.iter().enumerate() {
            let Some(kept) = *kept else { continue };
            let (weight, amount) = (&mut changes.weights[kept as usize], rows.weight(row));
            let before = *weight;
            *weight += amount;
            changes.negative += usize::from(before >= 0 && *weight < 0);
            changes.negative -= usize::from(before < 0 && *weight >= 0);
            if *weight == 0 {
                changes.dead += 1;
                dead.push((kept, rows.hashes[row]));
            }
            if kept < self.saved {
                saved.push(kept);
                amounts.push(amount);
            }
        }
        let recorded = self.rows_of(&saved);
        dead.into_iter().for_each(|(row, hash)| self.unlink(row, hash, &mut changes));
        if !saved.is_empty() {
            changes.taken_back.push((recorded?, amounts));
        }
        self.changes = Some(changes);
        let new: BooleanArray = found.iter().map(|kept| Some(kept.is_none())).collect();
        self.append(&rows.filtered(&new)?)?;
        self.reclaim()
    }

    /// The rows with these numbers as a batch.
    pub(in crate::operators) fn rows_of(&self, rows: &[u32]) -> Result<RecordBatch> {
        let picked = self.pick(rows)?;
        let columns = self.schema.fields().iter().enumerate();
        let columns = columns.map(|(column, field)| picked.column_of(column, field.data_type()));
        let columns = columns.collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = SchemaRef::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// Whether no row is kept.
    pub(in crate::operators) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// All rows, in parts: the number of the first of a part, and the part. Rows taken back are among
    /// them with weight 0.
    pub(in crate::operators) fn parts(
        &self,
    ) -> impl Iterator<Item = Result<(u32, KeyedRows)>> + '_ {
        self.segments.iter().map(|segment| {
            let rows = (segment.first..).take(segment.rows);
            let weights = rows.map(|row| self.weight(row)).collect();
            let batch = segment.batch(&self.schema)?;
            let delta = crate::delta::Delta { batch, weights: Some(weights) };
            Ok((segment.first, KeyedRows::new(delta, &self.keys, self.nulls)?))
        })
    }
}
