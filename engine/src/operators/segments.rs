//! Rows that an operator keeps under numbers, as columns.
//!
//! ```text
//!   number ──► place ──► segments  [ rows of epoch 7 ][ 4096 older rows ][ … ]
//! ```
//!
//! A segment is immutable: an epoch appends one with its rows, and what had their numbers before is dead
//! from then on. A segment without a live row is dropped; one that is mostly dead is rewritten, a bounded
//! number of rows per epoch; and eight segments of a size are joined into one of the next. So a row is
//! copied a handful of times and each epoch pays for what it brings.
//!
//! Invariant: a number has at most one live row, the one its place names.

use std::collections::VecDeque;
use std::hint::black_box;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::DataType;

use super::held::{Held, Picked};
use super::number_table::AHEAD;
pub(super) use super::number_table::NONE;
use crate::error::{Error, Result};
use crate::spill::SpillStore;

/// How many segments of a size are joined into one.
const FAN_IN: usize = 8;

/// Segments of this many rows are not joined any more, and none is much larger: few are needed, and
/// copying one takes a few milliseconds at most.
const SEGMENT_ROWS: usize = 32_768;

/// The same in bytes, for wide rows.
const SEGMENT_BYTES: usize = 16 << 20;

/// The sizes below [`SEGMENT_ROWS`]: powers of [`FAN_IN`].
const LEVELS: usize = 5;

/// Rows of mostly dead segments that are copied per epoch whatever its size, so that small epochs
/// also reclaim. Larger epochs copy in proportion, see [`Segments::tidy`].
const TIDY_ROWS: usize = 1024;

/// Segments of fewer rows are not worth a place on the disk: they are about to be joined.
pub(super) const SPILLED_ROWS_MIN: usize = if cfg!(test) { 1 } else { 4096 };

/// The row of a number is newer than what was saved last.
const CHANGED: u32 = 1 << 31;

/// Some row of a number is among what was saved.
const SAVED: u32 = 1 << 30;

/// Where a number's row is. What is known of the number beside that is told by the upper bits of `row`,
/// which a segment's size leaves free: looking at one number is one read of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u32,
    row: u32,
}

const NOWHERE: Place = Place { segment: NONE, row: 0 };

impl Place {
    fn new(segment: u32, row: u32) -> Self {
        Self { segment, row }
    }

    fn row(self) -> u32 {
        self.row & !(CHANGED | SAVED)
    }

    fn is(self, mark: u32) -> bool {
        self.row & mark != 0
    }

    /// The place, without a mark.
    fn plain(self) -> Self {
        Self { row: self.row(), ..self }
    }

    /// Another place, with the marks of this one.
    fn moved(self, to: Self) -> Self {
        Self { row: to.row | self.row & (CHANGED | SAVED), ..to }
    }
}

#[derive(Debug)]
struct Segment {
    held: Held,
    /// When it was made, by the count of segments: the rows of an old one have not changed for long.
    made: u64,
    /// The number of each row; [`NONE`] for one that was never kept.
    numbers: Vec<u32>,
    live: usize,
    bytes: usize,
    /// Whether it waits to be rewritten.
    sparse: bool,
}

impl Segment {
    /// Which size it is; `None` for those that are joined no more.
    fn level(&self) -> Option<usize> {
        let rows = self.numbers.len();
        if rows >= SEGMENT_ROWS || self.bytes >= SEGMENT_BYTES || !self.held.is_in_memory() {
            return None;
        }
        Some((rows.max(1).ilog2() / FAN_IN.ilog2()) as usize).filter(|level| *level < LEVELS)
    }
}

/// Rows under numbers.
#[derive(Debug, Default)]
pub(super) struct Segments {
    places: Vec<Place>,
    segments: Vec<Option<Segment>>,
    free: Vec<u32>,
    levels: [Vec<u32>; LEVELS],
    /// Mostly dead segments, oldest first; some may be gone by now.
    sparse: VecDeque<u32>,
    /// How many segments were made.
    made: u64,
    /// The numbers marked as changed, where that is asked for; some may have no row by now.
    changed: Option<Vec<u32>>,
    /// Rows copied by joining and rewriting, for the test that it stays in proportion.
    pub(super) rows_copied: u64,
}

impl Segments {
    /// Rows of which it is known what changes between one saving and the next.
    pub(super) fn tracking_changes() -> Self {
        Self { changed: Some(Vec::new()), ..Self::default() }
    }

    /// Another number, without a row.
    pub(super) fn add_number(&mut self) -> Result<u32> {
        let number = u32::try_from(self.places.len()).ok().filter(|number| *number != NONE);
        let number = number.ok_or_else(|| {
            Error::settings(format!("more than {NONE} rows are kept in one lane"))
                .with_hint("run with more lanes, or bound the state with a window")
        })?;
        self.places.push(NOWHERE);
        Ok(number)
    }

    /// Whether the number has a row.
    pub(super) fn has_row(&self, number: u32) -> bool {
        self.places[number as usize].segment != NONE
    }

    /// All numbers that have a row.
    pub(super) fn all(&self) -> Vec<u32> {
        let all = (0_u32..).zip(&self.places).filter(|(_, place)| place.segment != NONE);
        all.map(|(number, _)| number).collect()
    }

    /// Gives numbers new rows. A row whose number is [`NONE`] is not kept.
    pub(super) fn put(&mut self, numbers: Vec<u32>, columns: &[ArrayRef]) -> Result<()> {
        let rows = numbers.len();
        if rows <= SEGMENT_ROWS {
            self.add_segment(columns.to_vec(), numbers, true);
        } else {
            let mut first = 0;
            for numbers in numbers.chunks(SEGMENT_ROWS) {
                let last = first + u32::try_from(numbers.len()).unwrap_or(NONE);
                let columns =
                    take_arrays(columns, &UInt32Array::from_iter_values(first..last), None)?;
                self.add_segment(columns, numbers.to_vec(), true);
                first = last;
            }
        }
        self.tidy(rows)
    }

    /// Forgets the rows of numbers.
    pub(super) fn forget(&mut self, numbers: &[u32]) -> Result<()> {
        for &number in numbers {
            let place = &mut self.places[number as usize];
            let before = std::mem::replace(place, place.moved(NOWHERE));
            place.row &= !SAVED;
            self.leave(before.segment);
        }
        self.tidy(numbers.len())
    }

    /// Whether some row of the number was saved; not once it is forgotten.
    pub(super) fn is_saved(&self, number: u32) -> bool {
        self.places[number as usize].is(SAVED)
    }

    /// Makes all numbers that have a row count as changed.
    pub(super) fn forget_saved(&mut self) {
        let all = self.all();
        for number in self.changed.replace(all).unwrap_or_default() {
            self.places[number as usize].row &= !CHANGED;
        }
        for number in self.changed.iter().flatten() {
            self.places[*number as usize].row |= CHANGED;
        }
    }

    /// All that changed is saved. Returns the numbers that did and have a row.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let mut changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        changed.retain(|number| {
            let place = &mut self.places[*number as usize];
            place.row &= !CHANGED;
            let is_there = place.segment != NONE;
            place.row |= if is_there { SAVED } else { 0 };
            is_there
        });
        changed
    }

    /// The rows of these numbers, ready to be gathered column by column.
    pub(super) fn pick(&self, numbers: &[u32]) -> Result<Picked<'_>> {
        // Reads that do not wait for one another, before anything is done with them.
        let places: Vec<Place> = numbers.iter().map(|n| self.places[*n as usize]).collect();
        let mut local = vec![usize::MAX; self.segments.len()];
        let mut used = Vec::new();
        let place = |place: Place| {
            let (segment, row) = (place.segment, place.row());
            let local = &mut local[segment as usize];
            if *local == usize::MAX {
                *local = used.len();
                used.extend(self.segments[segment as usize].iter().map(|segment| &segment.held));
            }
            (*local, row as usize)
        };
        let places = places.into_iter().map(place).collect();
        Picked::new(used, places)
    }

    /// A row of a segment is dead.
    fn leave(&mut self, slot: u32) {
        let Some(Some(segment)) = self.segments.get_mut(slot as usize) else { return };
        segment.live -= 1;
        if segment.live == 0 {
            self.drop_segment(slot);
        } else if !segment.sparse && segment.live * 2 < segment.numbers.len() {
            segment.sparse = true;
            self.sparse.push_back(slot);
        }
    }

    fn drop_segment(&mut self, slot: u32) -> Option<Segment> {
        let segment = self.segments[slot as usize].take()?;
        if let Some(level) = segment.level() {
            self.levels[level].retain(|other| *other != slot);
        }
        self.free.push(slot);
        Some(segment)
    }

    /// Reads the places of some numbers, so that what is done with them next does not wait for each in
    /// turn.
    fn read_ahead(&self, numbers: &[u32]) {
        let place = |number: &u32| self.places.get(*number as usize);
        black_box(numbers.iter().filter_map(place).fold(0, |all, place| all ^ place.segment));
    }

    /// Gives a number its place. If its row there is new, the one it had is dead.
    fn settle(&mut self, number: u32, place: Place, is_new: bool) {
        let known = &mut self.places[number as usize];
        let before = std::mem::replace(known, known.moved(place));
        if !is_new {
            return;
        }
        if let Some(changed) = &mut self.changed
            && !before.is(CHANGED)
        {
            known.row |= CHANGED;
            changed.push(number);
        }
        self.leave(before.segment);
    }

    /// Adds a segment. `is_new` says whether its rows are: then those their numbers had before are dead.
    fn add_segment(&mut self, columns: Vec<ArrayRef>, numbers: Vec<u32>, is_new: bool) {
        let live = numbers.iter().filter(|number| **number != NONE).count();
        if live == 0 {
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.segments.push(None);
            // There are fewer segments than numbers.
            u32::try_from(self.segments.len() - 1).unwrap_or(NONE)
        });
        let mut rows = 0_u32..;
        for numbers in numbers.chunks(AHEAD) {
            self.read_ahead(numbers);
            let kept = numbers.iter().zip(rows.by_ref()).filter(|(number, _)| **number != NONE);
            kept.for_each(|(number, row)| self.settle(*number, Place::new(slot, row), is_new));
        }
        let held = Held::Memory(columns);
        let bytes = held.memory_bytes() + numbers.capacity() * size_of::<u32>();
        let sparse = live * 2 < numbers.len();
        self.made += 1;
        let segment = Segment { held, made: self.made, live, numbers, bytes, sparse };
        if let Some(level) = segment.level() {
            self.levels[level].push(slot);
        }
        self.segments[slot as usize] = Some(segment);
        if sparse {
            self.sparse.push_back(slot);
        }
    }

    /// Joins small segments and rewrites mostly dead ones, after `rows` rows have changed. Each
    /// rewriting of a segment was preceded by the death of as many rows as it copies, so copying twice
    /// what has changed catches up.
    fn tidy(&mut self, rows: usize) -> Result<()> {
        let mut budget = 2 * rows + TIDY_ROWS;
        while budget > 0
            && let Some(slot) = self.sparse.pop_front()
        {
            let segment = self.segments[slot as usize].as_ref().filter(|segment| segment.sparse);
            if let Some(live) = segment.map(|segment| segment.live) {
                budget = budget.saturating_sub(live);
                self.rewrite(&[slot])?;
            }
        }
        for level in 0..LEVELS {
            if self.levels[level].len() >= FAN_IN {
                let slots = self.levels[level].clone();
                self.rewrite(&slots)?;
            }
        }
        Ok(())
    }

    /// Makes one segment of the live rows of some.
    fn rewrite(&mut self, slots: &[u32]) -> Result<()> {
        let mut numbers = Vec::new();
        for &slot in slots {
            let Some(segment) = &self.segments[slot as usize] else { continue };
            let rows = (0_u32..).zip(&segment.numbers);
            let live = rows.filter(|(row, number)| {
                let place = self.places.get(**number as usize);
                place.is_some_and(|place| place.plain() == Place::new(slot, *row))
            });
            numbers.extend(live.map(|(_, number)| *number));
        }
        let columns = self.pick(&numbers)?.columns()?;
        let columns = columns.into_iter().map(owned).collect();
        slots.iter().for_each(|slot| drop(self.drop_segment(*slot)));
        self.rows_copied += numbers.len() as u64;
        self.add_segment(columns, numbers, false);
        Ok(())
    }

    /// Moves segments to the disk, the oldest first, until `bytes` of memory are free. Returns how much
    /// that freed; small segments stay.
    pub(super) fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        let large = |segment: &&Segment| {
            segment.held.is_in_memory() && segment.numbers.len() >= SPILLED_ROWS_MIN
        };
        let slots = (0_u32..).zip(&self.segments);
        let slots =
            slots.filter_map(|(slot, segment)| Some((segment.as_ref().filter(large)?, slot)));
        let mut oldest: Vec<(u64, u32)> =
            slots.map(|(segment, slot)| (segment.made, slot)).collect();
        oldest.sort_unstable();
        let mut freed = 0;
        for (_, slot) in oldest {
            if freed >= bytes {
                break;
            }
            self.levels.iter_mut().for_each(|level| level.retain(|other| *other != slot));
            let Some(Some(segment)) = self.segments.get_mut(slot as usize) else { continue };
            let before = segment.bytes;
            segment.held.spill(store)?;
            segment.bytes =
                segment.held.memory_bytes() + segment.numbers.capacity() * size_of::<u32>();
            freed += before.saturating_sub(segment.bytes);
        }
        Ok(freed)
    }

    /// How many numbers have a row.
    pub(super) fn num_rows(&self) -> usize {
        self.segments.iter().flatten().map(|segment| segment.live).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let segments = self.segments.iter().flatten().map(|segment| segment.bytes);
        segments.sum::<usize>()
            + self.segments.capacity() * size_of::<Option<Segment>>()
            + self.places.capacity() * size_of::<Place>()
            + self.changed.as_ref().map_or(0, Vec::capacity) * size_of::<u32>()
    }
}

/// The column without what it shares with the segments it was gathered from.
fn owned(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => std::sync::Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => std::sync::Arc::new(column.as_binary_view().gc()),
        _ => column,
    }
}
