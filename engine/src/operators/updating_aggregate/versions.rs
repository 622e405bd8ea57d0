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

use crate::error::Result;
use crate::operators::held::Picked;
use crate::operators::number_table::{NumberTable, half};
use crate::operators::row_index::equal_values;
pub(super) use crate::operators::segments::NONE;
use crate::operators::segments::Segments;

/// Half of the hash of each of `rows` keys.
pub(super) fn hashes_of(keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
    let mut hashes = vec![0_u64; rows];
    if !keys.is_empty() {
        create_hashes(keys, &RandomState::default(), &mut hashes)?;
    }
    Ok(hashes.into_iter().map(half).collect())
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
    table: NumberTable,
    pub(super) rows: Segments,
    free_groups: Vec<u32>,
    /// Keys of groups that a snapshot holds and that are gone since.
    removed: Vec<Vec<ArrayRef>>,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self {
            table: NumberTable::default(),
            rows: Segments::tracking_changes(),
            free_groups: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Makes room for `rows` groups in all.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.table.reserve(rows);
    }

    /// The groups of `rows` keys, all distinct.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Found> {
        let hashes = hashes_of(keys, rows)?;
        let mut groups = self.table.first_of(&hashes);
        let mut open: Vec<u32> =
            (0_u32..).zip(&groups).filter(|(_, group)| **group != NONE).map(|(r, _)| r).collect();
        // Another round is for other keys of the same hash.
        while !open.is_empty() {
            let equal = self.have_keys(keys, &open, &groups)?;
            let mut equal = equal.iter();
            open.retain(|row| {
                let group = &mut groups[*row as usize];
                if equal.next().copied().unwrap_or(true) {
                    return false;
                }
                *group = self.table.after(hashes[*row as usize], *group);
                *group != NONE
            });
        }
        Ok(Found { hashes, groups })
    }

    /// Whether the groups of these rows have the keys of the rows; nothing where they all have.
    fn have_keys(&self, keys: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<Vec<bool>> {
        let groups: Vec<u32> = rows.iter().map(|row| groups[*row as usize]).collect();
        let (picked, rows) = (self.pick(&groups)?, UInt32Array::from(rows.to_vec()));
        let mut all: Vec<bool> = Vec::new();
        for (column, key) in keys.iter().enumerate() {
            let kept = picked.column(column)?;
            let key = take(key, &rows, None)?;
            let equal = equal_values(&key, &kept, NullEquality::NullEqualsNull)?;
            if equal.true_count() < equal.len() {
                all.resize(equal.len(), true);
                all.iter_mut().zip(equal.values()).for_each(|(all, equal)| *all &= equal);
            }
        }
        Ok(all)
    }

    /// The newest rows of these groups, ready to be gathered column by column.
    pub(super) fn pick(&self, groups: &[u32]) -> Result<Picked<'_>> {
        self.rows.pick(groups)
    }

    /// All groups.
    pub(super) fn all(&self) -> Vec<u32> {
        self.rows.all()
    }

    /// Replaces the rows of groups, and adds groups. The first columns are the keys `found` is of.
    pub(super) fn put(&mut self, mut found: Found, columns: &[ArrayRef]) -> Result<()> {
        let new = found.groups.iter_mut().zip(&found.hashes);
        for (group, hash) in new.filter(|(group, _)| **group == NONE) {
            *group = self.add_group()?;
            self.table.insert(*hash, *group);
        }
        self.rows.put(found.groups, columns)
    }

    /// Forgets groups; `keys` are theirs.
    pub(super) fn remove(&mut self, found: &Found, keys: &[ArrayRef]) -> Result<()> {
        let mut saved: Vec<u32> = Vec::new();
        for (row, (&group, &hash)) in (0_u32..).zip(found.groups.iter().zip(&found.hashes)) {
            if self.rows.is_saved(group) {
                saved.push(row);
            }
            self.table.remove(hash, group);
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
        self.rows.add_number()
    }

    /// Makes the next snapshot hold all groups.
    pub(super) fn forget_snapshots(&mut self) {
        self.removed.clear();
        self.rows.forget_saved();
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
        self.rows.take_changed()
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let removed = self.removed.iter().flatten().map(|key| key.get_array_memory_size());
        self.rows.memory_bytes()
            + removed.sum::<usize>()
            + self.table.memory_bytes()
            + self.free_groups.capacity() * size_of::<u32>()
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
