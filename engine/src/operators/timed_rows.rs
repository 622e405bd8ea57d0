//! Rows kept until a watermark passes their time.
//!
//! Rows come in any order; the earliest is always at hand (a heap of times and row numbers), so that
//! taking out what a watermark has passed costs what it takes out. Space is reclaimed when half of the
//! rows have been taken out, so a row is copied a bounded number of times on average.
//!
//! Rows can be marked as matched; the marks survive restarts, by the key of a row and the number it got
//! when it came.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion::common::NullEquality;

use super::StateBatch;
use super::row_index::{KeyedRows, RowIndex};
use crate::dataflow::{Distribution, StateShare};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;

/// Below this many rows taken out nothing is reclaimed.
const RECLAIM_MIN: usize = 1024;

const NUMBER: &str = "__number";

/// One side of a join by times.
#[derive(Debug, Clone)]
pub struct TimedSide {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its key columns.
    pub keys: Vec<usize>,
    /// Its time, a column with a watermark.
    pub time: usize,
    /// Other columns that hold the same time.
    pub same_time: Vec<usize>,
}

impl TimedSide {
    /// Whether a column holds its time.
    pub(super) fn is_time(&self, column: usize) -> bool {
        column == self.time || self.same_time.contains(&column)
    }

    /// The name of its time.
    pub(super) fn time_name(&self) -> &str {
        self.schema.field(self.time).name()
    }

    /// How it wants its rows spread.
    pub(super) fn distribution(&self) -> Distribution {
        Distribution::by_keys(&self.keys)
    }
}

/// The names of the parts of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// The rows.
    pub(super) rows: &'static str,
    /// The keys and numbers of rows that were marked since.
    pub(super) matched: &'static str,
    /// The time before which rows have been taken out.
    pub(super) bound: &'static str,
}

impl Parts {
    /// Which lanes a part belongs to, where rows have these keys.
    pub(super) fn state_share(&self, part: &str, keys: &[usize]) -> Option<StateShare> {
        if part == self.rows {
            Some(StateShare::Keys(keys.to_vec()))
        } else if part == self.matched {
            Some(StateShare::Keys((0..keys.len()).collect()))
        } else {
            (part == self.bound).then_some(StateShare::Shared)
        }
    }
}

/// Rows kept until a watermark passes their time.
#[derive(Debug)]
pub(super) struct TimedRows {
    /// The rows by key, each with its number as one more column.
    pub(super) index: RowIndex,
    keys: Vec<usize>,
    nulls: NullEquality,
    time: usize,
    schema: SchemaRef,
    parts: Parts,
    waiting: BinaryHeap<Reverse<(i64, u32)>>,
    next_number: u64,
    /// Marked since the last snapshot; some may be taken out by now.
    marked: Vec<u32>,
    bound: i64,
    saved_bound: i64,
}

impl TimedRows {
    /// None yet, of this side.
    pub(super) fn new(side: &TimedSide, nulls: NullEquality, parts: Parts) -> Self {
        let keys = side.keys.clone();
        let fields = side.schema.fields().iter().map(|field| field.as_ref().clone());
        let number = Field::new(NUMBER, DataType::UInt64, false);
        let schema = Arc::new(Schema::new(fields.chain([number]).collect::<Vec<_>>()));
        Self {
            index: RowIndex::new(Arc::clone(&schema), keys.clone(), nulls, false)
                .counting_matches(),
            keys,
            nulls,
            time: side.time,
            schema,
            parts,
            waiting: BinaryHeap::new(),
            next_number: 0,
            marked: Vec::new(),
            bound: i64::MIN,
            saved_bound: i64::MIN,
        }
    }

    /// The time of each of `rows`; none where it is NULL.
    pub(super) fn times(&self, rows: &RecordBatch) -> Result<Int64Array> {
        times(rows.column(self.time))
    }

    /// Keeps those of `rows` that `chosen` is true for; they have a time. A row whose `matched` is
    /// positive is marked.
    pub(super) fn keep(
        &mut self,
        rows: &KeyedRows,
        matched: &[i64],
        chosen: &BooleanArray,
    ) -> Result<()> {
        let numbers = (self.next_number..).take(rows.len()).collect::<UInt64Array>();
        self.next_number += rows.len() as u64;
        let mut columns = rows.batch.columns().to_vec();
        columns.push(Arc::new(numbers));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let rows = rows.with_batch(batch).with_matched(matched.to_vec().into());
        let rows = if chosen.true_count() == rows.len() { rows } else { rows.filtered(chosen)? };
        let first = self.index.numbers();
        self.index.append(&rows)?;
        let times = self.times(&rows.batch)?;
        for (row, time) in (first..).zip(times.values()) {
            // The index has refused more rows than there are numbers.
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            self.waiting.push(Reverse((*time, row)));
            if self.index.matched(row) > 0 {
                self.marked.push(row);
            }
        }
        Ok(())
    }

    /// Marks kept rows as matched. Returns those that were not yet, each once.
    pub(super) fn mark(&mut self, rows: impl Iterator<Item = u32>) -> Result<Vec<u32>> {
        let mut new = Vec::new();
        for row in rows {
            if self.index.add_match(row, 1) {
                new.push(row);
            }
        }
        self.marked.extend_from_slice(&new);
        Ok(new)
    }

    /// Takes out the rows with a time before `bound`. They stay readable by their numbers until
    /// [`TimedRows::reclaim`].
    pub(super) fn take_before(&mut self, bound: i64) -> Vec<u32> {
        self.bound = self.bound.max(bound);
        let mut taken = Vec::new();
        while let Some(Reverse((time, row))) = self.waiting.peek().copied()
            && time < bound
        {
            taken.push(row);
            self.waiting.pop();
        }
        taken
    }

    /// Gives back the space of rows that were taken out, once they are half of all.
    pub(super) fn reclaim(&mut self) -> Result<()> {
        let kept = self.waiting.len();
        let taken = self.index.numbers() - kept;
        if taken < RECLAIM_MIN || taken < kept {
            return Ok(());
        }
        let mut alive = vec![false; self.index.numbers()];
        self.waiting.iter().for_each(|Reverse((_, row))| alive[*row as usize] = true);
        let renumbered = self.index.retain(&alive)?;
        self.marked.retain(|row| alive[*row as usize]);
        self.marked.iter_mut().for_each(|row| *row = renumbered[*row as usize]);
        let waiting = std::mem::take(&mut self.waiting).into_vec();
        let waiting = waiting.into_iter();
        self.waiting =
            waiting.map(|Reverse((time, row))| Reverse((time, renumbered[row as usize]))).collect();
        Ok(())
    }

    /// The rows without their numbers.
    pub(super) fn rows_of(&self, rows: &[u32]) -> Result<RecordBatch> {
        let batch = self.index.rows_of(rows)?;
        let columns: Vec<usize> = (0..batch.num_columns() - 1).collect();
        Ok(batch.project(&columns)?)
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let Parts { rows, matched, bound } = self.parts;
        let mut state: Vec<StateBatch> = Vec::new();
        let batches = self.index.snapshot()?.into_iter();
        state.extend(batches.map(|batch| StateBatch { part: rows, rows: batch }));
        if !self.marked.is_empty() {
            let marked = self.index.rows_of(&std::mem::take(&mut self.marked))?;
            let number = marked.num_columns() - 1;
            let columns: Vec<usize> = self.keys.iter().copied().chain([number]).collect();
            let rows = marked.project(&columns)?;
            state.push(StateBatch { part: matched, rows });
        }
        if self.bound != self.saved_bound {
            self.saved_bound = self.bound;
            let bounds: ArrayRef = Arc::new(Int64Array::from(vec![self.bound]));
            let rows = RecordBatch::try_from_iter([(bound, bounds)])?;
            state.push(StateBatch { part: bound, rows });
        }
        Ok(state)
    }

    /// Makes the next snapshot hold all rows.
    pub(super) fn forget_snapshots(&mut self) {
        self.index.forget_snapshots();
        let waiting = self.waiting.iter().map(|Reverse((_, row))| *row);
        self.marked = waiting.filter(|row| self.index.matched(*row) > 0).collect();
        self.marked.sort_unstable();
        self.saved_bound = i64::MIN;
    }

    /// Takes from `state` what is its own and leaves the rest.
    pub(super) fn restore(&mut self, state: Vec<StateBatch>) -> Result<Vec<StateBatch>> {
        let not_ours = || Error::bug("not the state of rows with a time");
        // Another lane may have given other rows the same numbers, but not rows of these keys.
        let mut marked: HashSet<(u64, u64)> = HashSet::new();
        let mut others = Vec::new();
        for StateBatch { part, rows } in state {
            if part == self.parts.rows {
                self.index.restore(&rows)?;
            } else if part == self.parts.matched {
                let numbers =
                    rows.columns().last().and_then(|c| c.as_primitive_opt::<UInt64Type>());
                let numbers = numbers.ok_or_else(not_ours)?.clone();
                let keys: Vec<usize> = (0..rows.num_columns() - 1).collect();
                let rows = KeyedRows::new(Delta::append(rows), &keys, self.nulls)?;
                marked.extend(rows.hashes().iter().copied().zip(numbers.values().iter().copied()));
            } else if part == self.parts.bound {
                let bounds = rows.column(0).as_primitive_opt::<Int64Type>();
                let bound = bounds.and_then(|bounds| bounds.iter().flatten().max());
                self.bound = self.bound.max(bound.ok_or_else(not_ours)?);
                self.saved_bound = self.bound;
            } else {
                others.push(StateBatch { part, rows });
            }
        }
        let mut matched = Vec::with_capacity(self.index.numbers());
        let mut waiting = Vec::with_capacity(self.index.numbers());
        for part in self.index.parts() {
            let (first, rows) = part?;
            let numbers = rows.batch.column(rows.batch.num_columns() - 1);
            let numbers = numbers.as_primitive_opt::<UInt64Type>().ok_or_else(not_ours)?;
            let times = times(rows.batch.column(self.time))?;
            let known = rows.hashes().iter().zip(numbers.values());
            for ((row, (hash, number)), time) in (first..).zip(known).zip(times.values()) {
                self.next_number = self.next_number.max(number + 1);
                matched.push(i64::from(marked.contains(&(*hash, *number))));
                if *time >= self.bound {
                    waiting.push(Reverse((*time, row)));
                }
            }
        }
        self.index.set_matched(matched);
        self.waiting = waiting.into();
        self.waiting.shrink_to_fit();
        self.reclaim()?;
        Ok(others)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
            + self.waiting.capacity() * size_of::<(i64, u32)>()
            + self.marked.capacity() * size_of::<u32>()
    }
}

/// A column of times as numbers.
pub(super) fn times(column: &ArrayRef) -> Result<Int64Array> {
    let numbers = to_numbers(column)?;
    let numbers = numbers.as_primitive_opt::<Int64Type>();
    Ok(numbers.ok_or_else(|| Error::bug("a time is not a number"))?.clone())
}
