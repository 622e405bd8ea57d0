//! Taking rows back: what makes an index the integral of a Z-set.
//!
//! Invariant: no chain links a dead row.

use arrow::array::{BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion::common::NullEquality;
use hashbrown::{HashMap, HashTable};

use super::keyed::{KeyedRows, equal_values, hash_columns};
use super::{NONE, PAIRS, Pairs, RowIndex, Segment};
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

/// Rows about to be cancelled, and what has been cancelled so far.
struct Cancelling {
    /// Distinct rows, all of one sign.
    rows: KeyedRows,
    /// What is left of the weight of each.
    left: Vec<i64>,
    /// The rows by the hash of the whole row.
    by_hash: HashMap<u64, Vec<u32>>,
    /// Rows of earlier snapshots that were taken from, and how much.
    saved: Vec<u32>,
    saved_amounts: Vec<i64>,
}

/// Taking rows back.
impl RowIndex {
    /// Takes from `rows`, which all have the same sign, what kept rows of the other sign cancel.
    ///
    /// The chain of each key is walked once, whatever the number of rows to cancel in it: a table that
    /// is read again takes back all rows of a key together.
    pub(super) fn cancel(&mut self, rows: &KeyedRows) -> Result<KeyedRows> {
        let (rows, row_hashes) = rows.consolidated()?;
        let Some(mut changes) = self.changes.take() else { return Ok(rows) };
        let mut by_hash: HashMap<u64, Vec<u32>> = HashMap::new();
        for (row, hash) in (0..).zip(row_hashes) {
            by_hash.entry(hash).or_default().push(row);
        }
        let mut keys = rows.hashes.clone();
        keys.sort_unstable();
        keys.dedup();
        let left = (0..rows.len()).map(|row| rows.weight(row)).collect();
        let (saved, saved_amounts) = (Vec::new(), Vec::new());
        let mut cancelling = Cancelling { rows, left, by_hash, saved, saved_amounts };
        let cancelled = self.cancel_keys(&keys, &mut cancelling, &mut changes);
        self.changes = Some(changes);
        cancelled?;
        let Cancelling { rows, left, .. } = cancelling;
        let keep: BooleanArray = left.iter().map(|weight| Some(*weight != 0)).collect();
        let rows = KeyedRows { weights: Some(left.into()), ..rows };
        if keep.true_count() == rows.len() { Ok(rows) } else { rows.filtered(&keep) }
    }

    fn cancel_keys(
        &mut self,
        keys: &[u64],
        cancelling: &mut Cancelling,
        changes: &mut Changes,
    ) -> Result<()> {
        let mut pairs = Pairs::default();
        for hash in keys {
            let mut kept =
                self.heads.find(*hash, |head| head.hash == *hash).map_or(NONE, |h| h.newest);
            while kept != NONE {
                let alike = cancelling.by_hash.get(&changes.row_hashes[kept as usize]);
                for row in alike.into_iter().flatten() {
                    pairs.probe.push(*row);
                    pairs.kept.push(kept);
                }
                if pairs.len() >= PAIRS {
                    self.cancel_pairs(std::mem::take(&mut pairs), cancelling, changes)?;
                }
                kept = self.older[kept as usize];
            }
        }
        self.cancel_pairs(pairs, cancelling, changes)?;
        if !cancelling.saved.is_empty() {
            let batch = self.rows_of(&cancelling.saved)?;
            changes.taken_back.push((batch, std::mem::take(&mut cancelling.saved_amounts)));
        }
        keys.iter().for_each(|hash| self.unlink_dead(*hash, &changes.weights));
        Ok(())
    }

    fn cancel_pairs(
        &self,
        mut pairs: Pairs,
        cancelling: &mut Cancelling,
        changes: &mut Changes,
    ) -> Result<()> {
        self.retain_equal_rows(&cancelling.rows, &mut pairs)?;
        for (&row, &kept) in pairs.probe.iter().zip(&pairs.kept) {
            let weight = &mut changes.weights[kept as usize];
            let rest = &mut cancelling.left[row as usize];
            // An earlier pair may have used either up.
            if *weight == 0 || weight.signum() != -rest.signum() {
                continue;
            }
            let was_negative = *weight < 0;
            let amount = rest.signum() * rest.abs().min(weight.abs());
            *rest -= amount;
            *weight += amount;
            if *weight == 0 {
                changes.dead += 1;
                changes.negative -= usize::from(was_negative);
            }
            if kept < self.saved {
                cancelling.saved.push(kept);
                cancelling.saved_amounts.push(amount);
            }
        }
        Ok(())
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
    pub(super) fn unlink_dead(&mut self, hash: u64, weights: &[i64]) {
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
        let matched = self.matched.as_mut().map(std::mem::take);
        for Segment { first, batch, .. } in segments {
            let weights = &changes.weights[first as usize..first as usize + batch.num_rows()];
            let weights = Int64Array::from(weights.to_vec());
            let alive: BooleanArray = weights.values().iter().map(|w| Some(*w != 0)).collect();
            let hashes = hash_columns(&batch, &self.keys)?;
            let numbers = first as usize..first as usize + batch.num_rows();
            let matched = matched.as_ref().map(|matched| matched[numbers].to_vec().into());
            let weights = Some(weights);
            let rows = KeyedRows { batch, weights, hashes, unmatched: None, matched };
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
