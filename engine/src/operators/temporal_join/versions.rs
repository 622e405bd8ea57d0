//! The versions of each key, in the order of their times.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, is_not_null};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::NullEquality;

use super::TimedSide;
use crate::dataflow::StateShare;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::StateBatch;
use crate::operators::row_index::{KeyedRows, RowIndex};
use crate::operators::timed_rows::times;

const VERSIONS: &str = "versions";
const BOUND: &str = "versions bound";

/// Below this many versions that nothing finds any more nothing is reclaimed.
const RECLAIM_MIN: usize = 1024;

/// The versions of each key.
#[derive(Debug)]
pub(super) struct Versions {
    /// The versions, found by number alone.
    pub(super) rows: RowIndex,
    /// The distinct keys; a key's number is its place in `history`.
    keys: RowIndex,
    key_schema: SchemaRef,
    key_columns: Vec<usize>,
    nulls: NullEquality,
    time: usize,
    /// For each key the times and numbers of its versions, ascending; of equal times the last counts.
    history: Vec<Vec<(i64, u32)>>,
    /// Keys with more than one version.
    open: Vec<u32>,
    forgotten: usize,
    bound: i64,
    saved_bound: i64,
}

impl Versions {
    pub(super) fn new(side: &TimedSide, nulls: NullEquality) -> Result<Self> {
        let key_schema: SchemaRef = Arc::new(side.schema.project(&side.keys)?);
        let all = (0..side.keys.len()).collect();
        Ok(Self {
            rows: RowIndex::new(Arc::clone(&side.schema), Vec::new(), nulls, false),
            keys: RowIndex::new(Arc::clone(&key_schema), all, nulls, false),
            key_schema,
            key_columns: side.keys.clone(),
            nulls,
            time: side.time,
            history: Vec::new(),
            open: Vec::new(),
            forgotten: 0,
            bound: i64::MIN,
            saved_bound: i64::MIN,
        })
    }

    /// Takes in versions.
    pub(super) fn add(&mut self, delta: Delta) -> Result<()> {
        if delta.weights.is_some() {
            return Err(Error::bug("a temporal join cannot take versions back"));
        }
        let rows = KeyedRows::new(delta, &self.key_columns, self.nulls)?;
        let has_time = is_not_null(&times(rows.batch.column(self.time))?)?;
        let has_key = (0..rows.len()).map(|row| Some(!rows.matches_nothing(row))).collect();
        let rows = rows.filtered(&and(&has_time, &has_key)?)?;
        if rows.len() > 0 {
            let first = self.rows.numbers();
            // The rows themselves have no key: only their numbers lead to them.
            let unkeyed = KeyedRows::new(Delta::append(rows.batch.clone()), &[], self.nulls)?;
            self.rows.append(&unkeyed)?;
            self.enter(&rows, first)?;
        }
        Ok(())
    }

    /// Enters `rows`, which are kept from number `first` on, into the histories of their keys.
    fn enter(&mut self, rows: &KeyedRows, first: usize) -> Result<()> {
        let keys = self.key_numbers(rows)?;
        let times = times(rows.batch.column(self.time))?;
        for ((time, key), row) in times.values().iter().zip(keys).zip(first..) {
            let history = &mut self.history[key as usize];
            let place = history.partition_point(|(known, _)| known <= time);
            // The index has refused more rows than there are numbers.
            history.insert(place, (*time, u32::try_from(row).unwrap_or(u32::MAX)));
            if history.len() == 2 {
                self.open.push(key);
            }
        }
        Ok(())
    }

    /// The number of each row's key; new keys get one.
    fn key_numbers(&mut self, rows: &KeyedRows) -> Result<Vec<u32>> {
        let found = self.keys.find(rows, &self.key_columns)?;
        if found.iter().any(Option::is_none) {
            let new: BooleanArray = found.iter().map(|key| Some(key.is_none())).collect();
            let new = rows.filtered(&new)?;
            let columns =
                self.key_columns.iter().map(|key| ArrayRef::clone(new.batch.column(*key)));
            let options = RecordBatchOptions::new().with_row_count(Some(new.len()));
            let schema = SchemaRef::clone(&self.key_schema);
            let batch = RecordBatch::try_new_with_options(schema, columns.collect(), &options)?;
            let distinct = self.keys.keyed(Delta::append(batch))?.net()?;
            let weights = vec![1; distinct.len()];
            self.keys.append(&distinct.with_weights(weights.into()))?;
            self.history.resize(self.keys.numbers(), Vec::new());
        }
        let found = self.keys.find(rows, &self.key_columns)?.into_iter();
        found.map(|key| key.ok_or_else(|| Error::bug("a key was not kept"))).collect()
    }

    /// For each row, whose key is in the columns `keys`, the version of its time.
    pub(super) fn at(
        &self,
        rows: &KeyedRows,
        keys: &[usize],
        times: &Int64Array,
    ) -> Result<Vec<Option<u32>>> {
        let found = self.keys.find(rows, keys)?.into_iter().zip(times.values());
        let version = |(key, time): (Option<u32>, &i64)| {
            let history = &self.history[key? as usize];
            let later = history.partition_point(|(known, _)| known <= time);
            Some(history[later.checked_sub(1)?].1)
        };
        Ok(found.map(version).collect())
    }

    /// Forgets what no row of this time or later finds.
    pub(super) fn forget_before(&mut self, bound: i64) -> Result<()> {
        if bound <= self.bound {
            return Ok(());
        }
        self.bound = bound;
        let (history, forgotten) = (&mut self.history, &mut self.forgotten);
        self.open.retain(|key| {
            let history = &mut history[*key as usize];
            let later = history.partition_point(|(time, _)| *time <= bound);
            *forgotten += history.drain(..later.saturating_sub(1)).len();
            // The room for what has gone is given back; what is to come needs some.
            history.shrink_to(4 * history.len());
            history.len() > 1
        });
        self.reclaim()
    }

    fn reclaim(&mut self) -> Result<()> {
        if self.forgotten < RECLAIM_MIN || self.forgotten * 2 < self.rows.numbers() {
            return Ok(());
        }
        let mut alive = vec![false; self.rows.numbers()];
        self.history.iter().flatten().for_each(|(_, row)| alive[*row as usize] = true);
        let renumbered = self.rows.retain(&alive)?;
        let all = self.history.iter_mut().flatten();
        all.for_each(|(_, row)| *row = renumbered[*row as usize]);
        self.forgotten = 0;
        Ok(())
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let rows = self.rows.snapshot()?.into_iter();
        let mut state: Vec<_> = rows.map(|rows| StateBatch { part: VERSIONS, rows }).collect();
        if self.bound != self.saved_bound {
            self.saved_bound = self.bound;
            let bounds: ArrayRef = Arc::new(Int64Array::from(vec![self.bound]));
            let rows = RecordBatch::try_from_iter([(BOUND, bounds)])?;
            state.push(StateBatch { part: BOUND, rows });
        }
        Ok(state)
    }

    /// Makes the next snapshot hold all versions.
    pub(super) fn forget_snapshots(&mut self) {
        self.rows.forget_snapshots();
        self.saved_bound = i64::MIN;
    }

    /// Which lanes a part belongs to, where versions have these keys.
    pub(super) fn state_share(part: &str, keys: &[usize]) -> Option<StateShare> {
        match part {
            VERSIONS => Some(StateShare::Keys(keys.to_vec())),
            BOUND => Some(StateShare::Shared),
            _ => None,
        }
    }

    pub(super) fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let not_ours = || Error::bug("not the state of a temporal join");
        let mut bound = i64::MIN;
        for StateBatch { part, rows } in state {
            match part {
                VERSIONS => self.rows.restore(&rows)?,
                BOUND => {
                    let saved = rows.column(0).as_primitive_opt::<Int64Type>();
                    let saved = saved.and_then(|bounds| bounds.iter().flatten().max());
                    bound = bound.max(saved.ok_or_else(not_ours)?);
                }
                _ => return Err(not_ours()),
            }
        }
        let parts: Vec<_> = self.rows.parts().collect::<Result<_>>()?;
        for (first, rows) in parts {
            let rows = KeyedRows::new(Delta::append(rows.batch), &self.key_columns, self.nulls)?;
            self.enter(&rows, first as usize)?;
        }
        self.forget_before(bound)?;
        self.saved_bound = bound;
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let histories: usize = self.history.iter().map(Vec::capacity).sum();
        self.rows.memory_bytes()
            + self.keys.memory_bytes()
            + self.history.capacity() * size_of::<Vec<(i64, u32)>>()
            + histories * size_of::<(i64, u32)>()
            + self.open.capacity() * size_of::<u32>()
    }
}
