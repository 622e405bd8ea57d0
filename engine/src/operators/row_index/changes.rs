//! Taking rows back: what makes an index the integral of a Z-set.
//!
//! Invariant: no chain links a dead row.

use arrow::array::{BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
use hashbrown::HashTable;

use super::keyed::{KeyedRows, equal_values, hash_columns};
use super::{NONE, Pairs, RowIndex, Segment};
use crate::error::Result;

/// Below this many dead rows nothing is reclaimed.
const DEAD_ROWS: usize = 1024;

/// What is needed to take rows back.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// How often each row counts; 0 for a dead one.
    pub(super) weights: Vec<i64>,
    /// The hash of each whole row, so that only equal rows are compared.
    pub(super) row_hashes: Vec<u64>,
    pub(super) dead: usize,
    /// Rows taken back before they were added; they wait for their counterpart.
    pub(super) negative: usize,
    /// What was taken back of rows that earlier snapshots hold.
    pub(super) taken_back: Vec<(RecordBatch, Vec<i64>)>,
}

/// Taking rows back.
impl RowIndex {
    /// Takes from `rows`, which all have the same sign, what kept rows of the other sign cancel.
    pub(super) fn cancel(&mut self, rows: KeyedRows) -> Result<KeyedRows> {
        let Some(mut changes) = self.changes.take() else { return Ok(rows) };
        let cancelled = self.cancel_in(&rows, &mut changes);
        self.changes = Some(changes);
        let left = cancelled?;
        let keep: BooleanArray = left.iter().map(|weight| Some(*weight != 0)).collect();
        let rows = KeyedRows { weights: Some(left.into()), ..rows };
        if keep.true_count() == rows.len() { Ok(rows) } else { rows.filtered(&keep) }
    }

    fn cancel_in(&mut self, rows: &KeyedRows, changes: &mut Changes) -> Result<Vec<i64>> {
        let mut left: Vec<i64> = (0..rows.len()).map(|row| rows.weight(row)).collect();
        let columns: Vec<usize> = (0..rows.batch.num_columns()).collect();
        let row_hashes = hash_columns(&rows.batch, &columns)?;
        let mut cursor = Self::start();
        let mut saved_rows: Vec<u32> = Vec::new();
        let mut saved_amounts = Vec::new();
        let mut killed = Vec::new();
        while cursor.row < rows.len() {
            let mut pairs = self.candidates(rows, &mut cursor);
            let alike = pairs.probe.iter().zip(&pairs.kept).map(|(&probe, &kept)| {
                let (probe, kept) = (probe as usize, kept as usize);
                let opposite = changes.weights[kept].signum() == -left[probe].signum();
                Some(opposite && changes.row_hashes[kept] == row_hashes[probe])
            });
            let alike: BooleanArray = alike.collect();
            pairs.retain(&alike);
            self.retain_equal_rows(rows, &mut pairs)?;
            for (&probe, &kept) in pairs.probe.iter().zip(&pairs.kept) {
                let weight = changes.weights[kept as usize];
                let rest = left[probe as usize];
                // An earlier pair may have used either up.
                if weight.signum() != -rest.signum() || weight == 0 {
                    continue;
                }
                let amount = rest.signum() * rest.abs().min(weight.abs());
                left[probe as usize] -= amount;
                changes.weights[kept as usize] += amount;
                if kept < self.saved {
                    saved_rows.push(kept);
                    saved_amounts.push(amount);
                }
                if changes.weights[kept as usize] == 0 {
                    changes.dead += 1;
                    changes.negative -= usize::from(weight < 0);
                    killed.push(rows.hashes[probe as usize]);
                }
            }
        }
        if !saved_rows.is_empty() {
            let picked = self.pick(&saved_rows);
            let columns = columns.iter().map(|column| picked.column(*column));
            let batch = RecordBatch::try_new(
                SchemaRef::clone(&self.schema),
                columns.collect::<Result<_>>()?,
            )?;
            changes.taken_back.push((batch, saved_amounts));
        }
        killed.sort_unstable();
        killed.dedup();
        killed.into_iter().for_each(|hash| self.unlink_dead(hash, &changes.weights));
        Ok(left)
    }

    fn retain_equal_rows(&self, rows: &KeyedRows, pairs: &mut Pairs) -> Result<()> {
        for column in 0..rows.batch.num_columns() {
            if pairs.len() == 0 {
                return Ok(());
            }
            let probe = UInt32Array::from(pairs.probe.clone());
            let left = take(rows.batch.column(column), &probe, None)?;
            let equal = equal_values(
                &left,
                &self.pick(&pairs.kept).column(column)?,
                NullEquality::NullEqualsNull,
            )?;
            if equal.true_count() < equal.len() {
                pairs.retain(&equal);
            }
        }
        Ok(())
    }

    /// Takes the dead rows out of the chain of `hash`.
    fn unlink_dead(&mut self, hash: u64, weights: &[i64]) {
        let Ok(mut head) = self.heads.find_entry(hash, |head| head.hash == hash) else { return };
        let mut newest = NONE;
        let mut last_alive = NONE;
        let mut row = head.get().newest;
        while row != NONE {
            if weights[row as usize] != 0 {
                if last_alive == NONE {
                    newest = row;
                } else {
                    self.older[last_alive as usize] = row;
                }
                last_alive = row;
            }
            row = self.older[row as usize];
        }
        if last_alive == NONE {
            head.remove();
        } else {
            self.older[last_alive as usize] = NONE;
            head.get_mut().newest = newest;
        }
    }

    /// Rebuilds the index without its dead rows once they are half of it.
    pub(super) fn reclaim(&mut self) -> Result<()> {
        let Some(changes) = &mut self.changes else { return Ok(()) };
        if changes.dead < DEAD_ROWS || changes.dead * 2 < self.older.len() {
            return Ok(());
        }
        let changes = std::mem::take(changes);
        let segments = std::mem::take(&mut self.segments);
        let saved = changes.weights[..self.saved as usize].iter().filter(|w| **w != 0).count();
        self.heads = HashTable::new();
        self.older = Vec::new();
        for Segment { first, batch, .. } in segments {
            let weights = &changes.weights[first as usize..first as usize + batch.num_rows()];
            let weights = Int64Array::from(weights.to_vec());
            let alive: BooleanArray = weights.values().iter().map(|w| Some(*w != 0)).collect();
            let hashes = hash_columns(&batch, &self.keys)?;
            let rows = KeyedRows { batch, weights: Some(weights), hashes, unmatched: None };
            let rows = rows.filtered(&alive)?;
            self.rows_copied += rows.len() as u64;
            self.append(&rows)?;
        }
        self.saved = u32::try_from(saved).unwrap_or(NONE);
        if let Some(rebuilt) = &mut self.changes {
            rebuilt.taken_back = changes.taken_back;
        }
        Ok(())
    }
}
