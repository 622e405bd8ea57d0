//! The partitions of a sliding window, numbered.
//!
//! DataFusion's own table of groups cannot be read without emptying it and never forgets a group; a
//! snapshot needs the one, a stream that goes on for ever the other.

use std::hash::BuildHasher;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::hash_utils::RandomState;
use hashbrown::HashTable;

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    number: u32,
}

/// The partitions, numbered from 0 in the order in which they appeared.
#[derive(Debug)]
pub(super) struct Partitions {
    converter: RowConverter,
    /// The key of each partition.
    keys: Rows,
    table: HashTable<Entry>,
    /// Whether there are no key columns, and so one partition.
    single: bool,
}

impl Partitions {
    pub(super) fn new(types: Vec<DataType>) -> Result<Self> {
        let single = types.is_empty();
        let converter = RowConverter::new(types.into_iter().map(SortField::new).collect())?;
        let keys = converter.empty_rows(0, 0);
        Ok(Self { converter, keys, table: HashTable::new(), single })
    }

    /// The number of partitions.
    pub(super) fn len(&self) -> usize {
        if self.single { 1 } else { self.keys.num_rows() }
    }

    /// The partition of each of `rows` rows with these keys; NULLs equal one another.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        if self.single {
            return Ok(vec![0; rows]);
        }
        let state = RandomState::default();
        let converted = self.converter.convert_columns(keys)?;
        let mut of_row = Vec::with_capacity(rows);
        for row in &converted {
            let hash = state.hash_one(row.as_ref());
            let same = |e: &Entry| e.hash == hash && self.keys.row(e.number as usize) == row;
            if let Some(entry) = self.table.find(hash, same) {
                of_row.push(entry.number);
                continue;
            }
            let number = u32::try_from(self.keys.num_rows())
                .map_err(|_| Error::settings("more than 2^32 partitions in one lane"))?;
            self.keys.push(row);
            self.table.insert_unique(hash, Entry { hash, number }, |entry| entry.hash);
            of_row.push(number);
        }
        Ok(of_row)
    }

    /// The key columns of these partitions.
    pub(super) fn values(&self, partitions: &[usize]) -> Result<Vec<ArrayRef>> {
        if self.single {
            return Ok(Vec::new());
        }
        let rows = partitions.iter().map(|partition| self.keys.row(*partition));
        Ok(self.converter.convert_rows(rows)?)
    }

    /// Keeps the partitions that are `alive` and numbers them anew, in the same order.
    pub(super) fn retain(&mut self, alive: &[bool]) -> Result<()> {
        if self.single {
            return Ok(());
        }
        let old = std::mem::replace(&mut self.keys, self.converter.empty_rows(0, 0));
        let state = RandomState::default();
        self.table = HashTable::new();
        for (row, _) in old.iter().zip(alive).filter(|(_, alive)| **alive) {
            let hash = state.hash_one(row.as_ref());
            let number = u32::try_from(self.keys.num_rows())
                .map_err(|_| Error::bug("more partitions alive than there were"))?;
            self.keys.push(row);
            self.table.insert_unique(hash, Entry { hash, number }, |entry| entry.hash);
        }
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.keys.size() + self.table.allocation_size() + self.converter.size()
    }
}
