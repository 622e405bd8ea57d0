//! Rows that an operator keeps, found by the hash of their key.
//!
//! ```text
//!   hash ──► newest row ──► older ──► older        one chain of row numbers per hash
//!               │
//!               ▼ row number
//!   segments  [0 … 40 000)[40 000 … 44 096)[44 096 … 44 100)       immutable batches
//! ```
//!
//! A row's number never changes, so that chains stay valid while neighbouring small segments are
//! joined: eight of a size become one of the next, so a row is copied a handful of times however
//! small the epochs were, and there are few segments to gather from. Probing costs what matches.
//!
//! With [`Changes`] rows can be taken back: the index is then the integral of a Z-set. A row taken
//! back is unlinked at once; its space is reclaimed when half of all rows are dead.
//!
//! Invariant: the rows linked in chains, with their weights, are the sum of all deltas applied.

mod alive;
mod changes;
mod find;
mod keyed;
mod snapshot;
#[cfg(test)]
mod tests;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{and_kleene, concat_batches, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;

use self::changes::Changes;
pub(super) use self::keyed::compact;
use self::keyed::hash_columns;
pub(super) use self::keyed::{KeyedRows, equal_values};
use super::held::{Held, Picked};
use super::number_table::{AHEAD, NONE, NumberTable, half};
use super::segments::SPILLED_ROWS_MIN;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::spill::SpillStore;

/// How many segments of a size are joined into one.
const FAN_IN: usize = 8;

/// Segments of this many rows are not joined any more: large enough that gathering from them is cheap
/// and few are needed, small enough that joining them stalls nothing (a few milliseconds).
const SEGMENT_ROWS: usize = 32_768;

/// The same in bytes, for wide rows; it also keeps the offsets of joined texts below 2³¹.
const SEGMENT_BYTES: usize = 16 << 20;

/// Candidate pairs looked at together.
const PAIRS: usize = 8192;

#[derive(Debug)]
struct Segment {
    /// The number of its first row.
    first: u32,
    rows: usize,
    held: Held,
    bytes: usize,
}

impl Segment {
    fn new(first: u32, batch: &RecordBatch) -> Self {
        let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
        Self { first, rows, held: Held::Memory(batch.columns().to_vec()), bytes }
    }

    fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let columns = self.held.columns()?.into_owned();
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
    }

    /// The numbers of its rows.
    fn numbers(&self) -> std::ops::Range<usize> {
        self.first as usize..self.first as usize + self.rows
    }

    /// Segments of a level are joined into one of the next; those of the highest stay.
    fn level(&self) -> u32 {
        let is_full = self.rows >= SEGMENT_ROWS || self.bytes >= SEGMENT_BYTES;
        if is_full || !self.held.is_in_memory() {
            return u32::MAX;
        }
        self.rows.max(1).ilog2() / FAN_IN.ilog2()
    }
}

/// Rows that an operator keeps, found by their key.
#[derive(Debug)]
pub(super) struct RowIndex {
    schema: SchemaRef,
    keys: Vec<usize>,
    nulls: NullEquality,
    segments: Vec<Segment>,
    /// The newest row of each hash.
    heads: NumberTable,
    /// For each row the next older one of its hash.
    older: Vec<u32>,
    /// `None` where rows are only added.
    changes: Option<Changes>,
    /// For each row the weight of the rows of another index that match it, where an operator counts
    /// them.
    matched: Option<Vec<i64>>,
    /// Rows below this number are in a snapshot.
    saved: u32,
    /// Rows copied by joining and reclaiming, for the test that it stays in proportion.
    rows_copied: u64,
}

/// Where to go on in the middle of a probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    row: usize,
    /// The next candidate for `row`; `None` before the first.
    candidate: Option<u32>,
}

/// Pairs of a probing row and a kept row.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) probe: Vec<u32>,
    pub(super) kept: Vec<u32>,
}

impl Pairs {
    fn with_capacity(pairs: usize) -> Self {
        Self { probe: Vec::with_capacity(pairs), kept: Vec::with_capacity(pairs) }
    }

    pub(super) fn len(&self) -> usize {
        self.probe.len()
    }

    /// Repeats each pair as often as `times` says of its kept row.
    pub(super) fn repeat(&mut self, times: impl Fn(u32) -> usize) {
        let each = |(probe, kept): (&u32, &u32)| std::iter::repeat_n((*probe, *kept), times(*kept));
        (self.probe, self.kept) = self.probe.iter().zip(&self.kept).flat_map(each).unzip();
    }

    /// Keeps the pairs that `mask` is true for.
    pub(super) fn retain(&mut self, mask: &BooleanArray) {
        let holds = |i: usize| mask.is_valid(i) && mask.value(i);
        let mut at = 0;
        self.probe.retain(|_| {
            at += 1;
            holds(at - 1)
        });
        at = 0;
        self.kept.retain(|_| {
            at += 1;
            holds(at - 1)
        });
    }
}

impl RowIndex {
    /// An empty index over rows of `schema` with these key columns. `changes` says whether rows can
    /// be taken back.
    pub(super) fn new(
        schema: SchemaRef,
        keys: Vec<usize>,
        nulls: NullEquality,
        changes: bool,
    ) -> Self {
        Self {
            schema,
            keys,
            nulls,
            segments: Vec::new(),
            heads: NumberTable::default(),
            older: Vec::new(),
            changes: changes.then(Changes::default),
            matched: None,
            saved: 0,
            rows_copied: 0,
        }
    }

    /// An empty index of the same kind.
    pub(super) fn emptied(&self) -> Self {
        let schema = SchemaRef::clone(&self.schema);
        Self::new(schema, self.keys.clone(), self.nulls, self.changes.is_some())
    }

    /// The same index with a place for the weight of each row's matches.
    pub(super) fn counting_matches(self) -> Self {
        Self { matched: Some(Vec::new()), ..self }
    }

    /// Adds `weight` to the matches of a row. Returns whether it begins or ceases to have any.
    pub(super) fn add_match(&mut self, row: u32, weight: i64) -> bool {
        let Some(matched) = &mut self.matched else { return false };
        let matched = &mut matched[row as usize];
        let before = *matched > 0;
        *matched += weight;
        before != (*matched > 0)
    }

    /// Sets the weights of the matches of all rows, by their number.
    pub(super) fn set_matched(&mut self, matched: Vec<i64>) {
        self.matched = Some(matched);
    }

    /// How many row numbers there are.
    pub(super) fn numbers(&self) -> usize {
        self.older.len()
    }

    /// The weight of the matches of a row.
    pub(super) fn matched(&self, row: u32) -> i64 {
        self.matched.as_ref().map_or(0, |matched| matched[row as usize])
    }

    /// Hashes `delta` by this index's keys, leaving out rows that can never match.
    pub(super) fn keyed(&self, delta: Delta) -> Result<KeyedRows> {
        KeyedRows::new(delta, &self.keys, self.nulls)?.matchable()
    }

    /// Adds rows and takes rows back.
    pub(super) fn apply(&mut self, rows: &KeyedRows) -> Result<()> {
        let Some(changes) = &self.changes else {
            if rows.weights.as_ref().is_some_and(|w| w.values().iter().any(|w| *w != 1)) {
                return Err(Error::bug("rows were taken back from an append-only input"));
            }
            return self.append(rows);
        };
        let only_added = (0..rows.len()).all(|row| rows.weight(row) > 0);
        if changes.negative == 0 && only_added {
            return self.append(rows);
        }
        // First what is added, so that an update within a batch finds the row it takes back.
        for sign in [1, -1] {
            let of_sign: BooleanArray =
                (0..rows.len()).map(|row| Some(rows.weight(row).signum() == sign)).collect();
            let left = self.cancel(&rows.filtered(&of_sign)?)?;
            self.append(&left)?;
        }
        self.reclaim()
    }

    /// Adds rows as they are, whatever the signs of their weights.
    pub(super) fn append(&mut self, rows: &KeyedRows) -> Result<()> {
        if rows.len() == 0 {
            return Ok(());
        }
        let first = self.older.len();
        let too_many = || {
            Error::settings(format!("more than {NONE} rows are kept in one lane"))
                .with_hint("run with more lanes, or bound the state with a window")
        };
        let next = u32::try_from(first + rows.len()).map_err(|_| too_many())?;
        let first = next - u32::try_from(rows.len()).map_err(|_| too_many())?;
        self.older.extend(self.heads.put_all(&rows.hashes, first));
        if let Some(changes) = &mut self.changes {
            let columns: Vec<usize> = (0..rows.batch.num_columns()).collect();
            let older = &self.older[first as usize..];
            let row_hashes = hash_columns(&rows.batch, &columns)?;
            changes.push(rows, older, &row_hashes);
        }
        if let Some(matched) = &mut self.matched {
            match &rows.matched {
                Some(known) => matched.extend_from_slice(known.values()),
                None => matched.resize(next as usize, 0),
            }
        }
        self.segments.push(Segment::new(first, &compact(&rows.batch)?));
        self.join_segments()
    }

    /// Joins the newest segments while there are enough of a size.
    fn join_segments(&mut self) -> Result<()> {
        while let Some(level) = self.segments.last().map(Segment::level).filter(|l| *l < u32::MAX) {
            let run = self.segments.iter().rev().take_while(|s| s.level() <= level).count();
            if run < FAN_IN {
                break;
            }
            let joined = self.segments.split_off(self.segments.len() - run);
            let batches = joined.iter().map(|segment| segment.batch(&self.schema));
            let batches = batches.collect::<Result<Vec<_>>>()?;
            let batch = concat_batches(&self.schema, &batches)?;
            self.rows_copied += batch.num_rows() as u64;
            self.segments.push(Segment::new(joined[0].first, &batch));
        }
        Ok(())
    }

    /// A cursor before the first candidate.
    pub(super) fn start() -> Cursor {
        Cursor { row: 0, candidate: None }
    }

    /// The next pairs whose keys are equal; `None` at the end. Some calls may return no pair at all.
    pub(super) fn matches(
        &self,
        probe: &KeyedRows,
        keys: &[usize],
        cursor: &mut Cursor,
    ) -> Result<Option<Pairs>> {
        if cursor.row >= probe.len() {
            return Ok(None);
        }
        let mut pairs = self.candidates(probe, cursor);
        if pairs.len() > 0 {
            let all = self.equal_keys(probe, keys, &pairs)?;
            if let Some(all) = all.filter(|all| all.true_count() < all.len()) {
                pairs.retain(&all);
            }
        }
        Ok(Some(pairs))
    }

    /// Whether the keys of each pair are equal; `None` where there are no keys.
    fn equal_keys(
        &self,
        probe: &KeyedRows,
        keys: &[usize],
        pairs: &Pairs,
    ) -> Result<Option<BooleanArray>> {
        let rows = UInt32Array::from(pairs.probe.clone());
        let kept = self.pick(&pairs.kept)?;
        let mut all: Option<BooleanArray> = None;
        for (probe_key, own_key) in keys.iter().zip(&self.keys) {
            let left = take(probe.batch.column(*probe_key), &rows, None)?;
            let equal = equal_values(&left, &kept.column(*own_key)?, self.nulls)?;
            all = Some(match all {
                Some(all) => and_kleene(&all, &equal)?,
                None => equal,
            });
        }
        Ok(all)
    }

    /// The next pairs whose hashes are equal, a bounded number.
    fn candidates(&self, probe: &KeyedRows, cursor: &mut Cursor) -> Pairs {
        let mut pairs = Pairs::with_capacity(PAIRS.min(probe.len() - cursor.row));
        let (mut newest, mut older, mut first) = (Vec::new(), Vec::new(), cursor.row);
        while cursor.row < probe.len() {
            if cursor.row - first == newest.len() {
                first = cursor.row;
                newest = self.newest_of(probe, first..probe.len().min(first + AHEAD));
                older = newest.iter().map(|row| self.older_than(*row)).collect();
            }
            let at = cursor.row - first;
            let mut candidate = cursor.candidate.unwrap_or(newest[at]);
            // Row numbers of a delta fit: the executor's batches are far below 2³².
            let row = u32::try_from(cursor.row).unwrap_or(NONE);
            while candidate != NONE {
                if pairs.len() == PAIRS {
                    cursor.candidate = Some(candidate);
                    return pairs;
                }
                pairs.probe.push(row);
                pairs.kept.push(candidate);
                let is_newest = candidate == newest[at];
                candidate = if is_newest { older[at] } else { self.older_than(candidate) };
            }
            cursor.row += 1;
            cursor.candidate = None;
        }
        pairs
    }

    /// The row that follows in the chain.
    fn older_than(&self, row: u32) -> u32 {
        self.older.get(row as usize).copied().unwrap_or(NONE)
    }

    /// The newest row of the hash of each of these rows.
    fn newest_of(&self, probe: &KeyedRows, rows: std::ops::Range<usize>) -> Vec<u32> {
        let hashes: Vec<u32> = probe.hashes[rows.clone()].iter().map(|h| half(*h)).collect();
        let mut newest = self.heads.first_of(&hashes);
        if let Some(unmatched) = &probe.unmatched {
            let unmatched = rows.map(|row| unmatched.value(row));
            newest.iter_mut().zip(unmatched).filter(|(_, u)| *u).for_each(|(n, _)| *n = NONE);
        }
        newest
    }

    /// The rows with these numbers, ready to be gathered column by column.
    pub(super) fn pick(&self, rows: &[u32]) -> Result<Picked<'_>> {
        let mut used: Vec<&Held> = Vec::new();
        // Side by side the bounds of thousands of segments are in the cache.
        let firsts: Vec<u32> = self.segments.iter().map(|segment| segment.first).collect();
        let mut number = vec![usize::MAX; firsts.len()];
        let mut places = Vec::with_capacity(rows.len());
        let mut last = (u32::MAX, 0_u32, 0_usize);
        for &row in rows {
            // Neighbours in a chain are often in one segment.
            if !(last.0..last.1).contains(&row) {
                let segment = firsts.partition_point(|first| *first <= row) - 1;
                if number[segment] == usize::MAX {
                    number[segment] = used.len();
                    used.push(&self.segments[segment].held);
                }
                let end = firsts.get(segment + 1).copied().unwrap_or(NONE);
                last = (firsts[segment], end, number[segment]);
            }
            places.push((last.2, (row - last.0) as usize));
        }
        Picked::new(used, places)
    }

    /// Moves rows to the disk, the oldest first, until `bytes` of memory are free. Returns how much that
    /// freed.
    pub(super) fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        let mut freed = 0;
        for segment in &mut self.segments {
            if freed >= bytes {
                break;
            }
            if segment.held.is_in_memory() && segment.rows >= SPILLED_ROWS_MIN {
                let before = segment.bytes;
                segment.held.spill(store)?;
                segment.bytes = segment.held.memory_bytes();
                freed += before.saturating_sub(segment.bytes);
            }
        }
        Ok(freed)
    }

    /// The weight of a kept row.
    pub(super) fn weight(&self, row: u32) -> i64 {
        self.changes.as_ref().map_or(1, |changes| changes.weights[row as usize])
    }

    /// How many rows are kept.
    pub(super) fn live_rows(&self) -> usize {
        self.older.len() - self.changes.as_ref().map_or(0, |changes| changes.dead)
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let segments = self.segments.iter().map(|segment| segment.bytes + size_of::<Segment>());
        let changes = self.changes.as_ref().map_or(0, Changes::memory_bytes);
        segments.sum::<usize>()
            + self.heads.memory_bytes()
            + self.older.capacity() * size_of::<u32>()
            + self.matched.as_ref().map_or(0, |matched| matched.capacity() * size_of::<i64>())
            + changes
    }
}
