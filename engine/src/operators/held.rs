//! Rows that an operator keeps, in memory or on the local disk, and gathering some of them.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, UInt64Array, new_empty_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::spill::{SpillStore, Spilled};

/// Kept rows.
#[derive(Debug)]
pub(super) enum Held {
    Memory(Vec<ArrayRef>),
    Disk(Spilled),
}

impl Held {
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// All columns.
    pub(super) fn columns(&self) -> Result<Cow<'_, [ArrayRef]>> {
        Ok(match self {
            Self::Memory(columns) => Cow::Borrowed(columns),
            Self::Disk(spilled) => Cow::Owned(spilled.all()?),
        })
    }

    /// Moves the rows to the disk, if they have columns.
    pub(super) fn spill(&mut self, store: &SpillStore) -> Result<()> {
        if let Self::Memory(columns) = self
            && !columns.is_empty()
        {
            *self = Self::Disk(store.write(columns)?);
        }
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Memory(columns) => columns.iter().map(|c| c.get_array_memory_size()).sum(),
            Self::Disk(spilled) => spilled.memory_bytes(),
        }
    }
}

/// Rows chosen from some that are kept, ready to be gathered column by column.
#[derive(Debug)]
pub(super) struct Picked<'a> {
    used: Vec<Cow<'a, [ArrayRef]>>,
    /// For each row which of `used` it is in, and where.
    places: Vec<(usize, usize)>,
}

impl<'a> Picked<'a> {
    /// The rows at `places`: which of `used`, and where in it. Of those on disk only these are read.
    pub(super) fn new(used: Vec<&'a Held>, mut places: Vec<(usize, usize)>) -> Result<Self> {
        let mut wanted: Vec<Vec<u32>> = vec![Vec::new(); used.len()];
        let on_disk: Vec<bool> = used.iter().map(|held| !held.is_in_memory()).collect();
        if on_disk.contains(&true) {
            for (held, row) in places.iter_mut().filter(|(held, _)| on_disk[*held]) {
                wanted[*held].push(u32::try_from(*row).unwrap_or(u32::MAX));
                *row = wanted[*held].len() - 1;
            }
        }
        let columns = used.into_iter().zip(wanted).map(|(held, wanted)| match held {
            Held::Memory(columns) => Ok(Cow::Borrowed(columns.as_slice())),
            Held::Disk(spilled) => Ok(Cow::Owned(spilled.take(&wanted)?)),
        });
        Ok(Self { used: columns.collect::<Result<_>>()?, places })
    }

    /// How many columns the rows have; none if there are no rows.
    pub(super) fn width(&self) -> usize {
        self.used.first().map_or(0, |columns| columns.len())
    }

    /// A column of these rows, of which there is at least one.
    pub(super) fn column(&self, column: usize) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> =
            self.used.iter().map(|columns| columns[column].as_ref()).collect();
        if let [one] = arrays.as_slice() {
            let rows: UInt64Array = self.places.iter().map(|(_, row)| *row as u64).collect();
            return Ok(take(*one, &rows, None)?);
        }
        Ok(interleave(&arrays, &self.places)?)
    }

    /// As [`Picked::column`], for a column of this type: empty for no rows.
    pub(super) fn column_of(&self, column: usize, data_type: &DataType) -> Result<ArrayRef> {
        if self.used.is_empty() { Ok(new_empty_array(data_type)) } else { self.column(column) }
    }

    /// All columns of these rows; none for no rows.
    pub(super) fn columns(&self) -> Result<Vec<ArrayRef>> {
        (0..self.width()).map(|column| self.column(column)).collect()
    }
}
