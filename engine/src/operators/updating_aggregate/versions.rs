//! The newest row of every group, found by the group's key.
//!
//! ```text
//!   key ──hash──► group ──► its row among the segments
//! ```
//!
//! Invariant: every group in the table has exactly one row ([`Segments`]).

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{take, take_arrays};
use datafusion::common::NullEquality;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use hashbrown::HashTable;

use crate::error::Result;
use crate::operators::held::Picked;
use crate::operators::row_index::{Pairs, equal_values};
pub(super) use crate::operators::segments::NONE;
use crate::operators::segments::Segments;

/// The newest row of the group is in a snapshot of some time: one that forgets the group must say so.
const SAVED: u8 = 1;

/// The group is listed as changed since the last snapshot.
const CHANGED: u8 = 2;

/// Half of a key's hash is kept: eight bytes per group, and rarely a key to compare in vain.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    group: u32,
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Half of the hash of each of `rows` keys.
pub(super) fn hashes_of(keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
    let mut hashes = vec![0_u64; rows];
    if !keys.is_empty() {
        create_hashes(keys, &RandomState::default(), &mut hashes)?;
    }
    Ok(hashes.iter().map(|hash| u32::try_from(hash >> 32).unwrap_or(NONE)).collect())
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
    pub(super) rows: Segments,
    flags: Vec<u8>,
    free_groups: Vec<u32>,
    /// Groups whose row is newer than the last snapshot; some may be gone by now.
    changed: Vec<u32>,
    /// Keys of groups that a snapshot holds and that are gone since.
    removed: Vec<Vec<ArrayRef>>,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            rows: Segments::default(),
            flags: Vec::new(),
            free_groups: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Makes room for `rows` groups in all.
    pub(super) fn reserve(&mut self, rows: usize) {
        let known = self.table.len();
        self.table.reserve(rows.saturating_sub(known), |entry| spread(entry.hash));
    }

    /// Which of `parts` equal parts of the table a key belongs to, by its hash. Both are powers of two,
    /// and the lower bits of what the table is given are the place there.
    pub(super) fn part(&self, hash: u32, parts: usize) -> usize {
        let buckets = (self.table.capacity() * 8 / 7).next_power_of_two().max(parts);
        let place = spread(hash) & (buckets as u64 - 1);
        usize::try_from(place).unwrap_or_default() / (buckets / parts)
    }

    /// The groups of `rows` keys, all distinct.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Found> {
        let hashes = hashes_of(keys, rows)?;
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
            let kept = self.pick(&pairs.kept)?.column(column)?;
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
    pub(super) fn pick(&self, groups: &[u32]) -> Result<Picked<'_>> {
        self.rows.pick(groups)
    }

    /// All groups.
    pub(super) fn all(&self) -> Vec<u32> {
        (0_u32..).take(self.flags.len()).filter(|group| self.rows.has_row(*group)).collect()
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
        }
        self.rows.put(found.groups, columns)
    }

    /// Forgets groups; `keys` are theirs.
    pub(super) fn remove(&mut self, found: &Found, keys: &[ArrayRef]) -> Result<()> {
        let mut saved: Vec<u32> = Vec::new();
        for (row, (&group, &hash)) in (0_u32..).zip(found.groups.iter().zip(&found.hashes)) {
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
        self.rows.forget(&found.groups)
    }

    fn add_group(&mut self) -> Result<u32> {
        if let Some(group) = self.free_groups.pop() {
            return Ok(group);
        }
        let group = self.rows.add_number()?;
        self.flags.push(0);
        Ok(group)
    }

    /// Makes the next snapshot hold all groups.
    pub(super) fn forget_snapshots(&mut self) {
        self.removed.clear();
        self.changed = self.all();
        for group in &self.changed {
            self.flags[*group as usize] |= CHANGED;
        }
    }

    /// The newest rows of the groups changed since the last snapshot; the keys of those gone.
    pub(super) fn take_changes(&mut self) -> Result<Changes> {
        let removed = std::mem::take(&mut self.removed);
        let changed = self.all_saved();
        let rows = self.pick(&changed)?.columns()?;
        Ok(Changes { removed, rows, count: changed.len() })
    }

    /// All that changed is in a snapshot. Returns the groups that did and are still there.
    pub(super) fn all_saved(&mut self) -> Vec<u32> {
        self.removed.clear();
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|group| {
            self.flags[*group as usize] &= !CHANGED;
            self.rows.has_row(*group)
        });
        changed.iter().for_each(|group| self.flags[*group as usize] |= SAVED);
        changed
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let removed = self.removed.iter().flatten().map(|key| key.get_array_memory_size());
        let numbers = self.free_groups.capacity() + self.changed.capacity();
        self.rows.memory_bytes()
            + removed.sum::<usize>()
            + self.table.allocation_size()
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
