//! Taking rows back: what makes an index the integral of a Z-set.
//!
//! A row to be taken back is found by the hash of the whole row, and leaves the chain of its key by its
//! two neighbours, so that it costs the same however many rows its key has.
//!
//! Invariant: no chain links a dead row, but for one whose hash another row has by chance.

use arrow::array::{BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion::common::NullEquality;

use super::keyed::{KeyedRows, equal_values, hash_columns};
use super::{NONE, Pairs, RowIndex};
use crate::error::Result;
use crate::operators::number_table::{NumberTable, half};

/// Below this many dead rows nothing is reclaimed.
const DEAD_ROWS: usize = 1024;

/// What is needed to take rows back.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// How often each row counts; 0 for a dead one.
    pub(super) weights: Vec<i64>,
    /// For each row the next newer one of its key's hash.
    newer: Vec<u32>,
    /// Half the hash of each whole row.
    row_hashes: Vec<u32>,
    /// The newest row of each of these hashes.
    alike: NumberTable,
    /// For each row the next older one of the same hash.
    older_alike: Vec<u32>,
    pub(super) dead: usize,
    /// Rows taken back before they were added; they wait for their counterpart.
    pub(super) negative: usize,
    /// What was taken back of rows that earlier snapshots hold.
    pub(super) taken_back: Vec<(RecordBatch, Vec<i64>)>,
}

impl Changes {
    /// Adds rows. `older` are those that were the newest of their keys' hashes.
    pub(super) fn push(&mut self, rows: &KeyedRows, older: &[u32], row_hashes: &[u64]) {
        let first = u32::try_from(self.weights.len()).unwrap_or(NONE);
        self.newer.resize(self.newer.len() + rows.len(), NONE);
        for (row, older) in (first..).zip(older).filter(|(_, older)| **older != NONE) {
            self.newer[*older as usize] = row;
        }
        for weight in (0..rows.len()).map(|row| rows.weight(row)) {
            self.negative += usize::from(weight < 0);
            self.weights.push(weight);
        }
        self.older_alike.extend(self.alike.put_all(row_hashes, first));
        self.row_hashes.extend(row_hashes.iter().map(|hash| half(*hash)));
    }

    /// Forgets the newest rows of the hash of `row` as long as they are dead.
    fn forget(&mut self, row: u32) {
        let hash = self.row_hashes[row as usize];
        let known = self.alike.first(hash);
        let mut newest = known;
        while newest != NONE && self.weights[newest as usize] == 0 {
            newest = self.older_alike[newest as usize];
        }
        self.alike.replace(hash, known, newest);
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let taken_back = self.taken_back.iter();
        self.weights.capacity() * size_of::<i64>()
            + (self.row_hashes.capacity() + self.newer.capacity() + self.older_alike.capacity())
                * size_of::<u32>()
            + self.alike.memory_bytes()
            + taken_back.map(|(rows, _)| rows.get_array_memory_size()).sum::<usize>()
    }
}

/// What became of kept rows.
#[derive(Debug, Default)]
struct Cancelled {
    /// Rows of earlier snapshots that were taken from, and how much.
    saved: Vec<u32>,
    saved_amounts: Vec<i64>,
    /// Rows that are dead now, and the hashes of their keys.
    dead: Vec<(u32, u64)>,
}

/// Taking rows back.
impl RowIndex {
    /// Takes from `rows`, which all have the same sign, what kept rows of the other sign cancel.
    pub(super) fn cancel(&mut self, rows: &KeyedRows) -> Result<KeyedRows> {
        let (rows, row_hashes) = rows.consolidated()?;
        let Some(mut changes) = self.changes.take() else { return Ok(rows) };
        let mut left: Vec<i64> = (0..rows.len()).map(|row| rows.weight(row)).collect();
        let cancelled = self.cancel_rows(&rows, &row_hashes, &mut left, &mut changes);
        self.changes = Some(changes);
        cancelled?;
        let keep: BooleanArray = left.iter().map(|weight| Some(*weight != 0)).collect();
        let rows = rows.with_weights(left.into());
        if keep.true_count() == rows.len() { Ok(rows) } else { rows.filtered(&keep) }
    }

    fn cancel_rows(
        &mut self,
        rows: &KeyedRows,
        row_hashes: &[u64],
        left: &mut [i64],
        changes: &mut Changes,
    ) -> Result<()> {
        let mut open = Pairs::with_capacity(rows.len());
        let row_hashes: Vec<u32> = row_hashes.iter().map(|hash| half(*hash)).collect();
        for (row, kept) in (0_u32..).zip(changes.alike.first_of(&row_hashes)) {
            if kept != NONE {
                open.probe.push(row);
                open.kept.push(kept);
            }
        }
        let mut cancelled = Cancelled::default();
        // Another round is for rows that one kept row did not cancel.
        while open.len() > 0 {
            let mut equal = Pairs { probe: open.probe.clone(), kept: open.kept.clone() };
            self.retain_equal_rows(rows, &mut equal)?;
            for (&row, &kept) in equal.probe.iter().zip(&equal.kept) {
                let key_hash = rows.hashes[row as usize];
                let left = &mut left[row as usize];
                self.cancel_row((kept, key_hash), left, changes, &mut cancelled);
            }
            let mut next = Pairs::default();
            for (&row, &kept) in open.probe.iter().zip(&open.kept) {
                let older = changes.older_alike[kept as usize];
                if left[row as usize] != 0 && older != NONE {
                    next.probe.push(row);
                    next.kept.push(older);
                }
            }
            open = next;
        }
        let Cancelled { saved, saved_amounts, dead } = cancelled;
        if !saved.is_empty() {
            changes.taken_back.push((self.rows_of(&saved)?, saved_amounts));
        }
        dead.into_iter().for_each(|(row, key_hash)| self.unlink(row, key_hash, changes));
        Ok(())
    }

    /// Cancels what is left of a row with an equal kept one.
    fn cancel_row(
        &self,
        (kept, key_hash): (u32, u64),
        left: &mut i64,
        changes: &mut Changes,
        cancelled: &mut Cancelled,
    ) {
        let weight = &mut changes.weights[kept as usize];
        if *weight == 0 || weight.signum() != -left.signum() {
            return;
        }
        let was_negative = *weight < 0;
        let amount = left.signum() * left.abs().min(weight.abs());
        *left -= amount;
        *weight += amount;
        if *weight == 0 {
            changes.dead += 1;
            changes.negative -= usize::from(was_negative);
            cancelled.dead.push((kept, key_hash));
        }
        if kept < self.saved {
            cancelled.saved.push(kept);
            cancelled.saved_amounts.push(amount);
        }
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
                &self.pick(&pairs.kept)?.column(column)?,
                NullEquality::NullEqualsNull,
            )?;
            if equal.true_count() < equal.len() {
                pairs.retain(&equal);
            }
        }
        Ok(())
    }

    /// Takes a dead row out of the chains.
    pub(super) fn unlink(&mut self, row: u32, key_hash: u64, changes: &mut Changes) {
        let (older, newer) = (self.older[row as usize], changes.newer[row as usize]);
        if older != NONE {
            changes.newer[older as usize] = newer;
        }
        if newer != NONE {
            self.older[newer as usize] = older;
        } else {
            self.heads.replace(half(key_hash), row, older);
        }
        changes.forget(row);
    }

    /// Rebuilds an index that only adds with the rows that `alive` is true for. Returns the new number
    /// of each row.
    pub(in crate::operators) fn retain(&mut self, alive: &[bool]) -> Result<Vec<u32>> {
        let mut next = 0..;
        let number = |alive: &bool| if *alive { next.next().unwrap_or(NONE) } else { NONE };
        let renumbered: Vec<u32> = alive.iter().map(number).collect();
        let saved = alive[..self.saved as usize].iter().filter(|alive| **alive).count();
        let segments = std::mem::take(&mut self.segments);
        self.heads = NumberTable::default();
        self.older = Vec::new();
        let matched = self.matched.as_mut().map(std::mem::take);
        for segment in segments {
            let (numbers, batch) = (segment.numbers(), segment.batch(&self.schema)?);
            drop(segment);
            let keep: BooleanArray =
                alive[numbers.clone()].iter().map(|alive| Some(*alive)).collect();
            if keep.true_count() == 0 {
                continue;
            }
            let hashes = hash_columns(&batch, &self.keys)?;
            let matched = matched.as_ref().map(|matched| matched[numbers].to_vec().into());
            let rows = KeyedRows { batch, weights: None, hashes, unmatched: None, matched };
            let rows = rows.filtered(&keep)?;
            self.rows_copied += rows.len() as u64;
            self.append(&rows)?;
        }
        self.saved = u32::try_from(saved).unwrap_or(NONE);
        Ok(renumbered)
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
        self.heads = NumberTable::default();
        self.older = Vec::new();
        let matched = self.matched.as_mut().map(std::mem::take);
        for segment in segments {
            let (numbers, batch) = (segment.numbers(), segment.batch(&self.schema)?);
            drop(segment);
            let weights = Int64Array::from(changes.weights[numbers.clone()].to_vec());
            let alive: BooleanArray = weights.values().iter().map(|w| Some(*w != 0)).collect();
            let hashes = hash_columns(&batch, &self.keys)?;
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
