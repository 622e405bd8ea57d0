//! The rows of open sessions, as the batches they came in.
//!
//! A batch is gone when none of its rows is needed; when most of what is held is not, the rest moves
//! together, so that what is held stays in proportion to what is needed.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave};
use arrow::datatypes::SchemaRef;

use super::sessions::Row;
use crate::error::Result;

/// Rows no longer needed before any are moved.
const SPARE_ROWS: usize = 65_536;

#[derive(Debug)]
struct Stored {
    batch: RecordBatch,
    /// Which rows are needed, and how many.
    needed: Vec<bool>,
    count: usize,
    /// Whether a snapshot has it.
    saved: bool,
}

/// The rows, by the number of their batch.
#[derive(Debug)]
pub(super) struct Store {
    schema: SchemaRef,
    batches: BTreeMap<u64, Stored>,
    next: u64,
    /// Rows held, and rows needed.
    held: usize,
    needed: usize,
}

impl Store {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: BTreeMap::new(), next: 0, held: 0, needed: 0 }
    }

    /// Keeps a batch; returns its number.
    pub(super) fn push(&mut self, batch: RecordBatch, saved: bool) -> u64 {
        let rows = batch.num_rows();
        let number = self.next;
        self.next += 1;
        if rows > 0 {
            self.held += rows;
            self.needed += rows;
            let stored = Stored { batch, needed: vec![true; rows], count: rows, saved };
            self.batches.insert(number, stored);
        }
        number
    }

    /// The row is needed no longer.
    pub(super) fn release(&mut self, (number, row): Row) {
        let Some(stored) = self.batches.get_mut(&number) else { return };
        stored.needed[row] = false;
        stored.count -= 1;
        self.needed -= 1;
        if stored.count == 0 {
            self.held -= stored.batch.num_rows();
            self.batches.remove(&number);
        }
    }

    /// The columns of these rows.
    pub(super) fn gather(&self, rows: &[Row]) -> Result<Vec<ArrayRef>> {
        let mut places: BTreeMap<u64, usize> = rows.iter().map(|(batch, _)| (*batch, 0)).collect();
        places.values_mut().enumerate().for_each(|(place, of)| *of = place);
        let batches: Vec<&RecordBatch> =
            places.keys().filter_map(|number| self.batches.get(number)).map(|s| &s.batch).collect();
        let indices: Vec<(usize, usize)> =
            rows.iter().filter_map(|(batch, row)| Some((*places.get(batch)?, *row))).collect();
        let column = |at: usize| {
            let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(at).as_ref()).collect();
            Ok(interleave(&parts, &indices)?)
        };
        (0..self.schema.fields().len()).map(column).collect()
    }

    /// The rows that are needed and that no snapshot has yet.
    pub(super) fn unsaved(&mut self) -> Result<Vec<RecordBatch>> {
        let mut unsaved = Vec::new();
        for stored in self.batches.values_mut().filter(|stored| !stored.saved) {
            stored.saved = true;
            unsaved.push(if stored.count == stored.needed.len() {
                stored.batch.clone()
            } else {
                filter_record_batch(&stored.batch, &BooleanArray::from(stored.needed.clone()))?
            });
        }
        Ok(unsaved)
    }

    /// Makes the next snapshot hold all rows that are needed.
    pub(super) fn forget_snapshots(&mut self) {
        self.batches.values_mut().for_each(|stored| stored.saved = false);
    }

    /// Moves what is needed together if most of what is held is not; returns where rows are now.
    pub(super) fn compacted(&mut self) -> Result<Option<impl Fn(Row) -> Row + use<>>> {
        if self.held < 2 * self.needed + SPARE_ROWS {
            return Ok(None);
        }
        let mut moved: BTreeMap<u64, (u64, Vec<usize>)> = BTreeMap::new();
        let mut kept = Vec::new();
        for saved in [true, false] {
            let to = self.next;
            self.next += 1;
            let mut rows: Vec<Row> = Vec::new();
            for (number, stored) in self.batches.iter().filter(|(_, s)| s.saved == saved) {
                let mut places = vec![0; stored.needed.len()];
                for row in (0..stored.needed.len()).filter(|row| stored.needed[*row]) {
                    places[row] = rows.len();
                    rows.push((*number, row));
                }
                moved.insert(*number, (to, places));
            }
            if !rows.is_empty() {
                let columns = self.gather(&rows)?;
                let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
                let needed = vec![true; rows.len()];
                kept.push((to, Stored { batch, needed, count: rows.len(), saved }));
            }
        }
        self.batches = kept.into_iter().collect();
        self.held = self.needed;
        Ok(Some(move |(number, row): Row| {
            let place = moved.get(&number).and_then(|(to, places)| Some((*to, *places.get(row)?)));
            place.unwrap_or((number, row))
        }))
    }

    /// How many rows are needed.
    pub(super) fn num_rows(&self) -> usize {
        self.needed
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let of = |stored: &Stored| {
            size_of::<Stored>() + stored.needed.len() + stored.batch.get_array_memory_size()
        };
        self.batches.values().map(of).sum()
    }
}
