//! The rows of one side that its window holds, under consecutive numbers in the order of time.
//!
//! ```text
//!   number    7  8  9  10 …     chunks   [7 8 9][10][11 12]
//!   hash of the keys ─► numbers with it, ascending
//! ```
//!
//! Rows come at one end and go at the other. Chunks of small epochs are joined now and then, so that a
//! row is copied a bounded number of times while it is held.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion::common::NullEquality;
use hashbrown::HashMap;

use super::{Reach, RowsSide};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::to_numbers;
use crate::operators::StateBatch;
use crate::operators::held::{Held, Picked};
use crate::operators::row_index::KeyedRows;
use crate::watermark::Watermark;

/// More chunks than these are joined into one.
const CHUNKS_MAX: usize = 64;

const NUMBER: &str = "__number";

/// The names of the parts of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// The rows, each with its number.
    pub(super) rows: &'static str,
    /// The numbers of rows that were marked.
    pub(super) matched: &'static str,
    /// The number of the first row that is held.
    pub(super) first: &'static str,
}

#[derive(Debug)]
struct Chunk {
    first: u64,
    rows: usize,
    held: Held,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.rows as u64
    }
}

/// What is known of a row beside its columns.
#[derive(Debug, Clone, Copy)]
struct Known {
    time: i64,
    hash: u64,
    /// Whether it is joined at all.
    counts: bool,
    /// Whether it has met a row.
    matched: bool,
}

/// The rows in a window.
#[derive(Debug)]
pub(super) struct Recent {
    side: RowsSide,
    /// Whether its rows come out alone where they met none.
    preserved: bool,
    parts: Parts,
    chunks: VecDeque<Chunk>,
    rows: VecDeque<Known>,
    /// The number of the first row.
    first: u64,
    index: HashMap<u64, VecDeque<u64>>,
    /// Rows of lower numbers are in a snapshot.
    saved: u64,
    /// Rows that were marked since the last snapshot; some may be gone by now.
    marked: Vec<u64>,
}

impl Recent {
    /// No rows yet.
    pub(super) fn new(side: &RowsSide, preserved: bool, parts: Parts) -> Self {
        Self {
            side: side.clone(),
            preserved,
            parts,
            chunks: VecDeque::new(),
            rows: VecDeque::new(),
            first: 0,
            index: HashMap::new(),
            saved: 0,
            marked: Vec::new(),
        }
    }

    /// The number of the next row.
    pub(super) fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    fn known(&self, number: u64) -> Option<&Known> {
        self.rows.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The time of a row, if there is one of this number.
    pub(super) fn time(&self, number: u64) -> Option<i64> {
        self.known(number).map(|row| row.time)
    }

    /// The hash of its keys; none for a row that is not joined.
    pub(super) fn hash(&self, number: u64) -> Option<u64> {
        self.known(number).filter(|row| row.counts).map(|row| row.hash)
    }

    /// Adds rows, later than all others.
    pub(super) fn push(&mut self, rows: &RecordBatch, times: &[i64]) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let nulls = NullEquality::NullEqualsNull;
        let keyed = KeyedRows::new(Delta::append(rows.clone()), &self.side.keys, nulls)?;
        let counts = self.side.counts.map(|column| rows.column(column).as_boolean().clone());
        let mut latest = self.rows.back().map_or(i64::MIN, |row| row.time);
        let chunk = Chunk {
            first: self.end(),
            rows: rows.num_rows(),
            held: Held::Memory(rows.columns().to_vec()),
        };
        for (row, (time, hash)) in times.iter().zip(keyed.hashes()).enumerate() {
            let number = chunk.first + row as u64;
            latest = latest.max(*time);
            let counts = counts.as_ref().is_none_or(|c| c.is_valid(row) && c.value(row));
            if counts {
                self.index.entry(*hash).or_default().push_back(number);
            }
            self.rows.push_back(Known { time: latest, hash: *hash, counts, matched: false });
        }
        self.chunks.push_back(chunk);
        if self.chunks.len() > CHUNKS_MAX { self.join_chunks() } else { Ok(()) }
    }

    fn join_chunks(&mut self) -> Result<()> {
        let all: Vec<u64> = (self.first..self.end()).collect();
        let columns = self.pick(&all)?.columns()?;
        let chunk = Chunk { first: self.first, rows: all.len(), held: Held::Memory(columns) };
        self.chunks = VecDeque::from([chunk]);
        Ok(())
    }

    /// The numbers of the rows in the window at `time`.
    pub(super) fn window_at(&self, time: i64) -> Range<u64> {
        let end = self.rows.partition_point(|row| row.time <= time);
        let start = match self.side.reach {
            Reach::Rows(rows) => {
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                end.saturating_sub(rows.saturating_add(1))
            }
            Reach::Within(ms) => {
                let oldest = time.saturating_sub(ms);
                self.rows.partition_point(|row| row.time < oldest)
            }
        };
        self.first + start as u64..self.first + end as u64
    }

    /// The rows among those of these numbers whose keys have this hash.
    pub(super) fn candidates(
        &self,
        window: &Range<u64>,
        hash: Option<u64>,
    ) -> impl Iterator<Item = u64> + '_ {
        let numbers = hash.and_then(|hash| self.index.get(&hash));
        let found = numbers.map(|numbers| {
            let start = numbers.partition_point(|number| *number < window.start);
            let end = numbers.partition_point(|number| *number < window.end);
            numbers.range(start..end.max(start)).copied()
        });
        found.into_iter().flatten()
    }

    /// Rows ready to be gathered.
    pub(super) fn pick(&self, numbers: &[u64]) -> Result<Picked<'_>> {
        let place = |number: &u64| {
            let chunk = self.chunks.partition_point(|chunk| chunk.end() <= *number);
            let first = self.chunks.get(chunk).map_or(*number, |chunk| chunk.first);
            (chunk, usize::try_from(number - first).unwrap_or(usize::MAX))
        };
        let places = numbers.iter().map(place).collect();
        Picked::new(self.chunks.iter().map(|chunk| &chunk.held).collect(), places)
    }

    /// Notes that a row has met another.
    pub(super) fn mark(&mut self, number: u64) {
        if !self.preserved {
            return;
        }
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(row) = at.and_then(|at| self.rows.get_mut(at)).filter(|row| !row.matched) {
            row.matched = true;
            self.marked.push(number);
        }
    }

    /// How many of the first rows the window does not hold from `passed` on.
    fn gone(&self, passed: Watermark) -> usize {
        let at = match passed {
            Watermark::End => return self.rows.len(),
            passed => passed.bound(),
        };
        match self.side.reach {
            Reach::Rows(rows) => {
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                self.rows.len().saturating_sub(rows.saturating_add(1))
            }
            Reach::Within(ms) => self.rows.partition_point(|row| row.time.saturating_add(ms) <= at),
        }
    }

    /// The rows that have met none and that the window does not hold from `passed` on, and when it let go
    /// of each: at `latest` those that it held to the end.
    pub(super) fn unmatched_until(&self, passed: Watermark, latest: i64) -> (Vec<u64>, Vec<i64>) {
        if !self.preserved {
            return (Vec::new(), Vec::new());
        }
        let moment = |at: usize, row: &Known| match self.side.reach {
            Reach::Within(ms) => row.time.saturating_add(ms),
            Reach::Rows(rows) => {
                let next = usize::try_from(rows)
                    .ok()
                    .and_then(|rows| at.checked_add(rows)?.checked_add(1));
                next.and_then(|next| self.rows.get(next)).map_or(latest, |row| row.time)
            }
        };
        let leaving = self.rows.iter().enumerate().take(self.gone(passed));
        let alone = leaving.filter(|(_, row)| row.counts && !row.matched);
        alone.map(|(at, row)| (self.first + at as u64, moment(at, row))).unzip()
    }

    /// Forgets the rows that the window does not hold from `passed` on.
    pub(super) fn drop_until(&mut self, passed: Watermark) -> Result<()> {
        let gone = self.gone(passed) as u64;
        self.drop_before(self.first + gone)
    }

    fn drop_before(&mut self, first: u64) -> Result<()> {
        while self.first < first
            && let Some(row) = self.rows.pop_front()
        {
            if row.counts
                && let Some(numbers) = self.index.get_mut(&row.hash)
            {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.index.remove(&row.hash);
                }
            }
            self.first += 1;
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= self.first) {
            self.chunks.pop_front();
        }
        // A large chunk of which little is left would hold its memory until the rest has gone.
        let left = self.rows.len();
        let in_chunks: usize = self.chunks.iter().map(|chunk| chunk.rows).sum();
        if left > 0 && in_chunks > 2 * left { self.join_chunks() } else { Ok(()) }
    }

    fn schema(&self) -> SchemaRef {
        let fields = self.side.schema.fields().iter().map(|field| field.as_ref().clone());
        let number = Field::new(NUMBER, DataType::UInt64, false);
        Arc::new(Schema::new(fields.chain([number]).collect::<Vec<_>>()))
    }

    /// What changed since the last snapshot.
    pub(super) fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let mut state = Vec::new();
        let new: Vec<u64> = (self.saved.max(self.first)..self.end()).collect();
        if !new.is_empty() {
            let mut columns = self.pick(&new)?.columns()?;
            columns.push(Arc::new(UInt64Array::from(new)));
            let rows = RecordBatch::try_new(self.schema(), columns)?;
            state.push(StateBatch { part: self.parts.rows, rows });
        }
        self.saved = self.end();
        let first = self.first;
        let mut marked = std::mem::take(&mut self.marked);
        marked.retain(|number| *number >= first);
        if !marked.is_empty() {
            state.push(StateBatch { part: self.parts.matched, rows: numbers(marked)? });
        }
        state.push(StateBatch { part: self.parts.first, rows: numbers(vec![first])? });
        Ok(state)
    }

    /// Makes the next snapshot hold all rows.
    pub(super) fn forget_snapshots(&mut self) {
        self.saved = self.first;
        let rows = (self.first..).zip(&self.rows);
        self.marked = rows.filter(|(_, row)| row.matched).map(|(number, _)| number).collect();
    }

    /// Takes a part of a snapshot, or gives it back if it is another's.
    pub(super) fn restore(&mut self, state: StateBatch) -> Result<Option<StateBatch>> {
        let StateBatch { part, rows } = state;
        if part == self.parts.rows {
            let last = rows.num_columns().saturating_sub(1);
            let first = numbers_of(&rows, last)?.first().copied();
            if let Some(first) = first.filter(|first| *first != self.end()) {
                // All that was there before has gone since.
                self.drop_before(self.end())?;
                self.first = first;
            }
            let width: Vec<usize> = (0..last).collect();
            let rows = rows.project(&width)?;
            let times = to_numbers(rows.column(self.side.time))?;
            self.push(&rows, times.as_primitive::<Int64Type>().values())?;
        } else if part == self.parts.matched {
            numbers_of(&rows, 0)?.iter().for_each(|number| self.mark(*number));
        } else if part == self.parts.first {
            let first = numbers_of(&rows, 0)?.first().copied().unwrap_or_default();
            self.drop_before(first)?;
            // Rows may have come and gone between two snapshots.
            self.first = self.first.max(first);
            self.saved = self.end();
            self.marked.clear();
        } else {
            return Ok(Some(StateBatch { part, rows }));
        }
        Ok(None)
    }

    pub(super) fn num_rows(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.held.memory_bytes()).sum();
        let numbers = self.rows.len() * size_of::<u64>();
        chunks + numbers + self.rows.capacity() * size_of::<Known>()
    }
}

fn numbers(numbers: Vec<u64>) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(UInt64Array::from(numbers));
    let schema = Schema::new(vec![Field::new(NUMBER, DataType::UInt64, false)]);
    Ok(RecordBatch::try_new(Arc::new(schema), vec![numbers])?)
}

fn numbers_of(rows: &RecordBatch, column: usize) -> Result<Vec<u64>> {
    let numbers = rows.columns().get(column).and_then(|c| c.as_primitive_opt::<UInt64Type>());
    let numbers = numbers.ok_or_else(|| Error::bug("rows of a window without their numbers"))?;
    Ok(numbers.values().to_vec())
}

/// The only number of a part of a snapshot.
pub(super) fn number(rows: &RecordBatch) -> Result<i64> {
    let numbers = rows.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
    let numbers: Option<&Int64Array> = numbers.filter(|numbers| !numbers.is_empty());
    numbers.map(|n| n.value(0)).ok_or_else(|| Error::bug("a part of a snapshot without its number"))
}
