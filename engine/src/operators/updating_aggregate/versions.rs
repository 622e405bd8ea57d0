//! The newest row of every group, found by the group's key.
//!
//! ```text
//!   key ──hash──► group ──► place ──► segments  [ rows of epoch 7 ][ 4096 older rows ][ … ]
//! ```
//!
//! A segment is immutable: an epoch appends one with the new rows of the groups it touched, and their
//! older rows are dead from then on. A segment without a live row is dropped; one that is mostly dead
//! is rewritten, a bounded number of rows per epoch; and eight segments of a size are joined into one
//! of the next. So a row is copied a handful of times and each epoch pays for what it brings.
//!
//! Invariant: every group in the table has exactly one live row, the one its place names.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array};
use arrow::compute::{interleave, take, take_arrays};
use arrow::datatypes::DataType;
use datafusion::common::NullEquality;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::operators::row_index::{Pairs, equal_values};

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
/// also reclaim. Larger epochs copy in proportion, see [`Versions::tidy`].
const TIDY_ROWS: usize = 1024;

/// No group, no segment.
pub(super) const NONE: u32 = u32::MAX;

/// The newest row of the group is in a snapshot of some time: one that forgets the group must say so.
const SAVED: u8 = 1;

/// The group is listed as changed since the last snapshot.
const CHANGED: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u32,
    row: u32,
}

const NOWHERE: Place = Place { segment: NONE, row: NONE };

#[derive(Debug)]
struct Segment {
    columns: Vec<ArrayRef>,
    /// The group of each row.
    groups: Vec<u32>,
    live: usize,
    bytes: usize,
    /// Whether it waits to be rewritten.
    sparse: bool,
}

impl Segment {
    /// Which size it is; `None` for those that are joined no more.
    fn level(&self) -> Option<usize> {
        let rows = self.groups.len();
        if rows >= SEGMENT_ROWS || self.bytes >= SEGMENT_BYTES {
            return None;
        }
        Some((rows.max(1).ilog2() / FAN_IN.ilog2()) as usize).filter(|level| *level < LEVELS)
    }
}

/// Half of a key's hash is kept: eight bytes per group, and rarely a key to compare in vain.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    group: u32,
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Which groups some keys belong to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hashes: Vec<u32>,
    /// [`NONE`] for a key without a group.
    pub(super) groups: Vec<u32>,
}

impl Found {
    /// These rows of it.
    pub(super) fn pick(&self, rows: &[u32]) -> Self {
        let hashes = rows.iter().map(|row| self.hashes[*row as usize]).collect();
        Self { hashes, groups: rows.iter().map(|row| self.groups[*row as usize]).collect() }
    }
}

/// The newest row of every group.
#[derive(Debug)]
pub(super) struct Versions {
    table: HashTable<Entry>,
    places: Vec<Place>,
    flags: Vec<u8>,
    free_groups: Vec<u32>,
    segments: Vec<Option<Segment>>,
    free_segments: Vec<u32>,
    levels: [Vec<u32>; LEVELS],
    /// Mostly dead segments, oldest first; some may be gone by now.
    sparse: VecDeque<u32>,
    /// Groups whose row is newer than the last snapshot; some may be gone by now.
    changed: Vec<u32>,
    /// Keys of groups that a snapshot holds and that are gone since.
    removed: Vec<Vec<ArrayRef>>,
    /// Rows copied by joining and rewriting, for the test that it stays in proportion.
    pub(super) rows_copied: u64,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            places: Vec::new(),
            flags: Vec::new(),
            free_groups: Vec::new(),
            segments: Vec::new(),
            free_segments: Vec::new(),
            levels: Default::default(),
            sparse: VecDeque::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            rows_copied: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The groups of `rows` keys, all distinct.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Found> {
        let mut hashes = vec![0_u64; rows];
        if !keys.is_empty() {
            create_hashes(keys, &RandomState::default(), &mut hashes)?;
        }
        let upper = |hash: &u64| u32::try_from(hash >> 32).unwrap_or(NONE);
        let hashes: Vec<u32> = hashes.iter().map(upper).collect();
        let mut pairs = Pairs::default();
        for (row, hash) in (0_u32..).zip(&hashes) {
            let alike = self.table.iter_hash(spread(*hash)).filter(|entry| entry.hash == *hash);
            for entry in alike {
                pairs.probe.push(row);
                pairs.kept.push(entry.group);
            }
        }
        for (column, key) in keys.iter().enumerate() {
            if pairs.len() == 0 {
                break;
            }
            let probe = take(key, &UInt32Array::from(pairs.probe.clone()), None)?;
            let kept = self.pick(&pairs.kept).column(column)?;
            let equal = equal_values(&probe, &kept, NullEquality::NullEqualsNull)?;
            if equal.true_count() < equal.len() {
                pairs.retain(&equal);
            }
        }
        let mut groups = vec![NONE; rows];
        for (row, group) in pairs.probe.iter().zip(&pairs.kept) {
            groups[*row as usize] = *group;
        }
        Ok(Found { hashes, groups })
    }

    /// The newest rows of these groups, ready to be gathered column by column.
    pub(super) fn pick(&self, groups: &[u32]) -> Picked<'_> {
        let mut local = vec![usize::MAX; self.segments.len()];
        let mut used = Vec::new();
        let place = |group: &u32| {
            let Place { segment, row } = self.places[*group as usize];
            let local = &mut local[segment as usize];
            if *local == usize::MAX {
                *local = used.len();
                used.extend(&self.segments[segment as usize]);
            }
            (*local, row as usize)
        };
        let places = groups.iter().map(place).collect();
        Picked { used, places }
    }

    /// Replaces the rows of groups, and adds groups. The first columns are the keys `found` is of.
    pub(super) fn put(&mut self, mut found: Found, columns: &[ArrayRef]) -> Result<()> {
        let new = found.groups.iter_mut().zip(&found.hashes);
        for (group, hash) in new.filter(|(group, _)| **group == NONE) {
            *group = self.add_group()?;
            let entry = Entry { hash: *hash, group: *group };
            self.table.insert_unique(spread(*hash), entry, |entry| spread(entry.hash));
        }
        for &group in &found.groups {
            let flags = &mut self.flags[group as usize];
            if *flags & CHANGED == 0 {
                *flags |= CHANGED;
                self.changed.push(group);
            }
            self.leave(group);
        }
        let rows = found.groups.len();
        if rows <= SEGMENT_ROWS {
            self.add_segment(columns.to_vec(), found.groups);
        } else {
            let mut first = 0;
            for groups in found.groups.chunks(SEGMENT_ROWS) {
                let last = first + u32::try_from(groups.len()).unwrap_or(NONE);
                let columns =
                    take_arrays(columns, &UInt32Array::from_iter_values(first..last), None)?;
                self.add_segment(columns, groups.to_vec());
                first = last;
            }
        }
        self.tidy(rows)
    }

    /// Forgets groups; `keys` are theirs.
    pub(super) fn remove(&mut self, found: &Found, keys: &[ArrayRef]) -> Result<()> {
        let mut saved: Vec<u32> = Vec::new();
        for (row, (&group, &hash)) in (0_u32..).zip(found.groups.iter().zip(&found.hashes)) {
            self.leave(group);
            self.places[group as usize] = NOWHERE;
            let flags = &mut self.flags[group as usize];
            if *flags & SAVED != 0 {
                saved.push(row);
                *flags &= !SAVED;
            }
            if let Ok(entry) = self.table.find_entry(spread(hash), |entry| entry.group == group) {
                entry.remove();
            }
            self.free_groups.push(group);
        }
        if !saved.is_empty() {
            self.removed.push(take_arrays(keys, &UInt32Array::from(saved), None)?);
        }
        self.tidy(found.groups.len())
    }

    fn add_group(&mut self) -> Result<u32> {
        if let Some(group) = self.free_groups.pop() {
            return Ok(group);
        }
        let group = u32::try_from(self.places.len()).ok().filter(|group| *group != NONE);
        let group = group.ok_or_else(|| {
            Error::settings(format!("more than {NONE} groups are kept in one lane"))
                .with_hint("run with more lanes, or bound the state with a window")
        })?;
        self.places.push(NOWHERE);
        self.flags.push(0);
        Ok(group)
    }

    /// The row of `group` is dead.
    fn leave(&mut self, group: u32) {
        let slot = self.places[group as usize].segment;
        let Some(Some(segment)) = self.segments.get_mut(slot as usize) else { return };
        segment.live -= 1;
        if segment.live == 0 {
            self.drop_segment(slot);
        } else if !segment.sparse && segment.live * 2 < segment.groups.len() {
            segment.sparse = true;
            self.sparse.push_back(slot);
        }
    }

    fn drop_segment(&mut self, slot: u32) -> Option<Segment> {
        let segment = self.segments[slot as usize].take()?;
        if let Some(level) = segment.level() {
            self.levels[level].retain(|other| *other != slot);
        }
        self.free_segments.push(slot);
        Some(segment)
    }

    fn add_segment(&mut self, columns: Vec<ArrayRef>, groups: Vec<u32>) {
        let slot = self.free_segments.pop().unwrap_or_else(|| {
            self.segments.push(None);
            // There are fewer segments than groups.
            u32::try_from(self.segments.len() - 1).unwrap_or(NONE)
        });
        for (row, group) in (0_u32..).zip(&groups) {
            self.places[*group as usize] = Place { segment: slot, row };
        }
        let bytes = columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        let bytes = bytes + groups.capacity() * size_of::<u32>();
        let segment = Segment { columns, live: groups.len(), groups, bytes, sparse: false };
        if let Some(level) = segment.level() {
            self.levels[level].push(slot);
        }
        self.segments[slot as usize] = Some(segment);
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
        let mut groups = Vec::new();
        for &slot in slots {
            let Some(segment) = &self.segments[slot as usize] else { continue };
            let rows = (0_u32..).zip(&segment.groups);
            let live = rows.filter(|(row, group)| {
                self.places[**group as usize] == Place { segment: slot, row: *row }
            });
            groups.extend(live.map(|(_, group)| *group));
        }
        let picked = self.pick(&groups);
        let width = picked.used.first().map_or(0, |segment| segment.columns.len());
        let columns = (0..width).map(|column| Ok(owned(picked.column(column)?)));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        slots.iter().for_each(|slot| drop(self.drop_segment(*slot)));
        self.rows_copied += groups.len() as u64;
        self.add_segment(columns, groups);
        Ok(())
    }

    /// Makes the next snapshot hold all groups.
    pub(super) fn forget_snapshots(&mut self) {
        self.removed.clear();
        let numbers = (0_u32..).zip(&self.places);
        self.changed =
            numbers.filter(|(_, place)| **place != NOWHERE).map(|(group, _)| group).collect();
        for group in &self.changed {
            self.flags[*group as usize] |= CHANGED;
        }
    }

    /// The newest rows of the groups changed since the last snapshot; the keys of those gone.
    pub(super) fn take_changes(&mut self) -> Result<Changes> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|group| {
            self.flags[*group as usize] &= !CHANGED;
            self.places[*group as usize] != NOWHERE
        });
        changed.iter().for_each(|group| self.flags[*group as usize] |= SAVED);
        let picked = self.pick(&changed);
        let width = picked.used.first().map_or(0, |segment| segment.columns.len());
        let rows = (0..width).map(|column| picked.column(column)).collect::<Result<_>>()?;
        Ok(Changes { removed: std::mem::take(&mut self.removed), rows, count: changed.len() })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let segments = self.segments.iter().flatten().map(|segment| segment.bytes);
        let removed = self.removed.iter().flatten().map(|key| key.get_array_memory_size());
        let numbers = self.free_groups.capacity() + self.changed.capacity();
        segments.sum::<usize>()
            + removed.sum::<usize>()
            + self.segments.capacity() * size_of::<Option<Segment>>()
            + self.table.allocation_size()
            + self.places.capacity() * size_of::<Place>()
            + self.flags.capacity()
            + numbers * size_of::<u32>()
    }
}

/// What a snapshot needs to hold.
#[derive(Debug)]
pub(super) struct Changes {
    /// Keys of groups that are gone.
    pub(super) removed: Vec<Vec<ArrayRef>>,
    /// The newest rows of groups that changed.
    pub(super) rows: Vec<ArrayRef>,
    /// How many those are.
    pub(super) count: usize,
}

/// Rows chosen from the segments.
#[derive(Debug)]
pub(super) struct Picked<'a> {
    used: Vec<&'a Segment>,
    places: Vec<(usize, usize)>,
}

impl Picked<'_> {
    /// A column of these rows, of which there is at least one.
    pub(super) fn column(&self, column: usize) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> =
            self.used.iter().map(|segment| segment.columns[column].as_ref()).collect();
        if let [one] = arrays.as_slice() {
            let rows: UInt64Array = self.places.iter().map(|(_, row)| *row as u64).collect();
            return Ok(take(*one, &rows, None)?);
        }
        Ok(interleave(&arrays, &self.places)?)
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
