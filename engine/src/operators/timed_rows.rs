//! Rows kept until a watermark passes their time.
//!
//! Rows come in any order; the earliest is always at hand (a heap of times and row numbers), so that
//! taking out what a watermark has passed costs what it takes out. Space is reclaimed when half of the
//! rows have been taken out, so a row is copied a bounded number of times on average.
//!
//! Rows can be marked as matched; the marks survive restarts, by the number each row got when it came.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion::common::NullEquality;

use super::StateBatch;
use super::row_index::{KeyedRows, RowIndex};
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;

/// Below this many rows taken out nothing is reclaimed.
const RECLAIM_MIN: usize = 1024;

const NUMBER: &str = "__number";

/// The names of the parts of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// The rows.
    pub(super) rows: &'static str,
    /// The numbers of rows that were marked since.
    pub(super) matched: &'static str,
    /// The time before which rows have been taken out.
    pub(super) bound: &'static str,
}

/// Rows kept until a watermark passes their time.
#[derive(Debug)]
pub(super) struct TimedRows {
    /// The rows by key, each with its number as one more column.
    pub(super) index: RowIndex,
    time: usize,
    schema: SchemaRef,
    parts: Parts,
    waiting: BinaryHeap<Reverse<(i64, u32)>>,
    next_number: u64,
    /// Marked since the last snapshot.
    marked: Vec<u64>,
    bound: i64,
    saved_bound: i64,
}

impl TimedRows {
    /// None yet, of this schema, by these keys and this column of time.
    pub(super) fn new(
        schema: &SchemaRef,
        keys: Vec<usize>,
        nulls: NullEquality,
        time: usize,
        parts: Parts,
    ) -> Self {
        let fields = schema.fields().iter().map(|field| field.as_ref().clone());
        let number = Field::new(NUMBER, DataType::UInt64, false);
        let schema = Arc::new(Schema::new(fields.chain([number]).collect::<Vec<_>>()));
        Self {
            index: RowIndex::new(Arc::clone(&schema), keys, nulls, false).counting_matches(),
            time,
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
        let marked = numbers.values().iter().zip(matched).zip(chosen.values().iter());
        let marked = marked.filter(|((_, matched), chosen)| **matched > 0 && *chosen);
        self.marked.extend(marked.map(|((number, _), _)| *number));
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
            self.waiting.push(Reverse((*time, u32::try_from(row).unwrap_or(u32::MAX))));
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
        if !new.is_empty() {
            let rows = self.index.rows_of(&new)?;
            let numbers = rows.column(rows.num_columns() - 1).as_primitive::<UInt64Type>();
            self.marked.extend_from_slice(numbers.values());
        }
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
            let numbers: ArrayRef = Arc::new(UInt64Array::from(std::mem::take(&mut self.marked)));
            let rows = RecordBatch::try_from_iter([(matched, numbers)])?;
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

    /// Takes from `state` what is its own and leaves the rest.
    pub(super) fn restore(&mut self, state: Vec<StateBatch>) -> Result<Vec<StateBatch>> {
        let not_ours = || Error::bug("not the state of rows with a time");
        let mut marked: HashSet<u64> = HashSet::new();
        let mut others = Vec::new();
        for StateBatch { part, rows } in state {
            if part == self.parts.rows {
                self.index.restore(&rows)?;
            } else if part == self.parts.matched {
                let numbers = rows.column(0).as_primitive_opt::<UInt64Type>();
                marked.extend(numbers.ok_or_else(not_ours)?.values());
            } else if part == self.parts.bound {
                let bound = rows.column(0).as_primitive_opt::<Int64Type>();
                self.bound = bound.filter(|b| !b.is_empty()).ok_or_else(not_ours)?.value(0);
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
            for ((row, number), time) in (first..).zip(numbers.values()).zip(times.values()) {
                self.next_number = self.next_number.max(number + 1);
                matched.push(i64::from(marked.contains(number)));
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
            + self.marked.capacity() * size_of::<u64>()
    }
}

/// A column of times as numbers.
pub(super) fn times(column: &ArrayRef) -> Result<Int64Array> {
    let numbers = to_numbers(column)?;
    let numbers = numbers.as_primitive_opt::<Int64Type>();
    Ok(numbers.ok_or_else(|| Error::bug("a time is not a number"))?.clone())
}
