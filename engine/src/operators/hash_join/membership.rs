//! Semi, anti and mark joins by the keys alone: a row matches if its key is among those of the other
//! side, of which each distinct one is kept, with how often it occurs.
//!
//! An epoch touches the kept rows of those keys only that came to be or ceased to be, so a key that
//! occurs a million times costs what it changes.
//!
//! A null-aware anti join (`NOT IN`) keeps NULL keys too. A NULL among the keys bars every row, and a
//! row whose own key is NULL comes out only while there are no keys at all.

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;

use super::Side;
use super::preserved::{Change, Preserved};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::consolidate::{BATCH_ROWS, consolidated};
use crate::operators::join_output::JoinOutput;
use crate::operators::row_index::{KeyedRows, RowIndex};
use crate::operators::{EpochContext, Input, Operator, Output, StateBatch};
use crate::spill::SpillStore;

pub(super) const ROWS: &str = "rows";
pub(super) const KEYS: &str = "keys";

/// A join by membership.
#[derive(Debug)]
pub(super) struct MembershipJoin {
    pub(super) preserved: Preserved,
    pub(super) output: JoinOutput,
    pub(super) nulls: NullEquality,
    pub(super) null_aware: bool,
    /// The rows that come out, by their key columns.
    pub(super) rows: RowIndex,
    pub(super) row_keys: Vec<usize>,
    /// The distinct keys of the other side, each a row.
    pub(super) keys: RowIndex,
    /// Where they are in the other side's input.
    pub(super) key_columns: Vec<usize>,
    pub(super) key_schema: SchemaRef,
}

impl MembershipJoin {
    /// The net change of the keys, each key once.
    fn changed_keys(&self, deltas: Vec<Delta>) -> Result<KeyedRows> {
        let mut batches = Vec::with_capacity(deltas.len());
        let mut weights: Vec<i64> = Vec::new();
        for Delta { batch, weights: some } in deltas {
            match some {
                Some(some) => weights.extend_from_slice(some.values()),
                None => weights.resize(weights.len() + batch.num_rows(), 1),
            }
            let keys = self.key_columns.iter().map(|key| ArrayRef::clone(batch.column(*key)));
            let schema = SchemaRef::clone(&self.key_schema);
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let keys = RecordBatch::try_new_with_options(schema, keys.collect(), &options)?;
            batches.push(keys);
        }
        let batch = concat_batches(&self.key_schema, &batches)?;
        let delta = Delta { batch, weights: Some(weights.into()) };
        self.keys.keyed(delta)?.net()
    }

    /// Whether each of `rows` matches.
    fn matches(&self, rows: &KeyedRows) -> Result<BooleanArray> {
        let found = self.keys.find(rows, &self.row_keys)?;
        let is_there = |key: Option<u32>| key.is_some_and(|key| self.keys.weight(key) > 0);
        if !self.null_aware {
            return Ok(found.into_iter().map(|key| Some(is_there(key))).collect());
        }
        let key = rows.batch.column(self.row_keys[0]);
        let any = !self.keys.is_empty();
        let matches = |(row, found)| Some(if key.is_null(row) { any } else { is_there(found) });
        Ok(found.into_iter().enumerate().map(matches).collect())
    }

    /// The key NULL, to look it up.
    fn null_key(&self) -> Result<KeyedRows> {
        let columns = self.key_schema.fields().iter().map(|f| new_null_array(f.data_type(), 1));
        let batch = RecordBatch::try_new(SchemaRef::clone(&self.key_schema), columns.collect())?;
        KeyedRows::new(Delta::append(batch), &self.every_key(), self.nulls)
    }

    fn every_key(&self) -> Vec<usize> {
        (0..self.key_columns.len()).collect()
    }

    /// Whether a NULL among the keys bars every row, now and after `changed`.
    fn bars(&self, changed: &KeyedRows) -> Result<(bool, bool)> {
        if !self.null_aware {
            return Ok((false, false));
        }
        let found = self.keys.find(&self.null_key()?, &[0])?;
        let now: i64 = found.into_iter().flatten().map(|key| self.keys.weight(key)).sum();
        let key = changed.batch.column(0);
        let nulls = (0..changed.len()).filter(|row| key.is_null(*row));
        let change: i64 = nulls.map(|row| changed.weight(row)).sum();
        Ok((now > 0, now + change > 0))
    }

    /// Merges the change of the keys. Returns those that came to be and those that ceased to be.
    fn merge_keys(&mut self, changed: &KeyedRows) -> Result<[KeyedRows; 2]> {
        let found = self.keys.find(changed, &self.every_key())?;
        let (mut came, mut went) = (vec![false; changed.len()], vec![false; changed.len()]);
        for (row, key) in found.iter().enumerate() {
            let before = key.map_or(0, |key| self.keys.weight(key));
            let after = before + changed.weight(row);
            came[row] = before <= 0 && after > 0;
            went[row] = before > 0 && after <= 0;
        }
        self.keys.merge(changed, &found)?;
        Ok([changed.filtered(&came.into())?, changed.filtered(&went.into())?])
    }

    /// The kept rows of `keys` begin (`now`) or cease to match.
    fn flip(&self, keys: &KeyedRows, now: bool, change: &mut Change) -> Result<()> {
        let mut cursor = RowIndex::start();
        while let Some(pairs) = self.rows.matches(keys, &self.every_key(), &mut cursor)? {
            for rows in pairs.kept.chunks(BATCH_ROWS) {
                let weights: Vec<i64> = rows.iter().map(|row| self.rows.weight(*row)).collect();
                change.flipped(&self.rows.rows_of(rows)?, &weights, now);
            }
        }
        Ok(())
    }

    /// All kept rows come (`sign` 1) or go (-1), as they match now.
    fn all(&self, sign: i64, change: &mut Change) -> Result<()> {
        for part in self.rows.parts() {
            let (_, rows) = part?;
            let alive = (0..rows.len()).map(|row| Some(rows.weight(row) != 0)).collect();
            let rows = rows.filtered(&alive)?;
            let weights = (0..rows.len()).map(|row| sign * rows.weight(row)).collect();
            let rows = rows.with_weights(weights);
            change.changed(&rows, &self.matches(&rows)?)?;
        }
        Ok(())
    }

    fn arrived(&self, deltas: Vec<Delta>) -> Result<Vec<KeyedRows>> {
        let deltas = consolidated(deltas)?.into_iter().filter(|delta| delta.num_rows() > 0);
        deltas.map(|delta| KeyedRows::new(delta, &self.row_keys, self.nulls)).collect()
    }

    fn keep(&mut self, rows: KeyedRows, matches: &BooleanArray) -> Result<()> {
        let rows = if self.preserved.only_unmatched_kept {
            let open = |row| Some(!matches.value(row) && !rows.matches_nothing(row));
            rows.filtered(&(0..rows.len()).map(open).collect())?
        } else {
            rows.matchable()?
        };
        self.rows.apply(&rows)
    }
}

impl Operator for MembershipJoin {
    fn step(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [left, right] = Input::exactly(inputs)?;
        let (rows, keys) = match self.preserved.side {
            Side::Left => (left, right),
            Side::Right => (right, left),
        };
        let changed = self.changed_keys(keys.deltas)?;
        let mut change = self.preserved.unchanged();
        let (was_barred, is_barred) = self.bars(&changed)?;
        if is_barred && !was_barred {
            self.all(-1, &mut change)?;
        }
        let was_empty = self.keys.is_empty();
        let [came, went] = self.merge_keys(&changed)?;
        if !was_barred && !is_barred {
            self.flip(&came, true, &mut change)?;
            self.flip(&went, false, &mut change)?;
            if self.null_aware && was_empty != self.keys.is_empty() {
                self.flip(&self.null_key()?, was_empty, &mut change)?;
            }
        }
        for rows in self.arrived(rows.deltas)? {
            let matches = self.matches(&rows)?;
            if !was_barred && !is_barred {
                change.changed(&rows, &matches)?;
            }
            // What nothing ever takes back bars for good.
            if !(is_barred && self.preserved.only_unmatched_kept) {
                self.keep(rows, &matches)?;
            }
        }
        if was_barred && !is_barred {
            self.all(1, &mut change)?;
        }
        let mut output = Output::default();
        self.preserved.emit(change, &self.output, &mut output.deltas)?;
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let part = |part: &'static str| move |rows| StateBatch { part, rows };
        let rows = self.rows.snapshot()?.into_iter().map(part(ROWS));
        let keys = self.keys.snapshot()?.into_iter().map(part(KEYS));
        Ok(rows.chain(keys).collect())
    }

    fn forget_snapshots(&mut self) {
        self.rows.forget_snapshots();
        self.keys.forget_snapshots();
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        state.into_iter().try_for_each(|StateBatch { part, rows }| match part {
            ROWS => self.rows.restore(&rows),
            KEYS => self.keys.restore_keys(&rows),
            _ => Err(Error::bug("not the state of a join")),
        })
    }

    fn state_rows(&self) -> usize {
        self.rows.live_rows() + self.keys.live_rows()
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.keys.memory_bytes()
    }

    fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        let mut freed = self.rows.spill(store, bytes)?;
        freed += self.keys.spill(store, bytes.saturating_sub(freed))?;
        Ok(freed)
    }
}
