//! Snapshots of [`Versions`]: the rows of the groups that changed, and the keys of those that are gone.
//!
//! A group that is gone is a row with a weight of 0. Only versions with a weight, the first column
//! behind the key, forget groups.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{take_arrays, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::touched::{Rows, Touched};
use super::versions::{NONE, Versions, hashes_of};
use crate::error::Result;
use crate::operators::number_table::NumberTable;

/// The rows that are brought back at a time.
const RESTORED_ROWS: usize = if cfg!(test) { 3 } else { 16_384 };

impl Versions {
    /// What changed since the last snapshot. `types` are those of the columns behind the weight.
    pub(super) fn snapshot(&mut self, types: &[DataType]) -> Result<Vec<RecordBatch>> {
        let changes = self.take_changes()?;
        let mut batches = Vec::with_capacity(changes.removed.len() + 1);
        for mut columns in changes.removed {
            let rows = columns.first().map_or(0, |key| key.len());
            columns.push(Arc::new(Int64Array::from(vec![0; rows])));
            columns.extend(types.iter().map(|data_type| new_null_array(data_type, rows)));
            batches.push(batch(columns)?);
        }
        if changes.count > 0 {
            batches.push(batch(changes.rows)?);
        }
        Ok(batches)
    }

    /// Brings back what a snapshot holds; where a key is there more than once its last row counts.
    /// `weighted` says whether groups with a weight of 0 are gone.
    pub(super) fn restore(
        &mut self,
        rows: &RecordBatch,
        keys: &SchemaRef,
        weighted: bool,
    ) -> Result<()> {
        let count = rows.num_rows();
        self.reserve(count);
        if count <= RESTORED_ROWS {
            return self.restore_part(rows, keys, weighted);
        }
        for part in Self::parts(&rows.columns()[..keys.fields().len()], count)? {
            self.restore_part(&take_record_batch(rows, &part)?, keys, weighted)?;
        }
        Ok(())
    }

    /// The rows of these keys, those first that belong at the beginning of the table: a part of the table
    /// stays in the caches while its rows are put there. Rows of equal keys keep their order.
    fn parts(keys: &[ArrayRef], rows: usize) -> Result<Vec<UInt32Array>> {
        let parts = rows.div_ceil(RESTORED_ROWS).next_power_of_two();
        let hashes = hashes_of(keys, rows)?;
        let part_of: Vec<usize> =
            hashes.iter().map(|hash| NumberTable::part(*hash, parts)).collect();
        let mut ends = vec![0_usize; parts];
        part_of.iter().for_each(|part| ends[*part] += 1);
        let mut first = 0;
        for end in &mut ends {
            first += std::mem::replace(end, first);
        }
        let mut order = vec![0_u32; rows];
        for (row, part) in (0..).zip(&part_of) {
            order[ends[*part]] = row;
            ends[*part] += 1;
        }
        let order = UInt32Array::from(order);
        let starts = std::iter::once(&0).chain(&ends);
        let parts = starts.zip(&ends).filter(|(start, end)| start < end);
        Ok(parts.map(|(start, end)| order.slice(*start, end - start)).collect())
    }

    fn restore_part(&mut self, rows: &RecordBatch, keys: &SchemaRef, weighted: bool) -> Result<()> {
        let width = keys.fields().len();
        let mut touched = Touched::new(keys)?;
        let key_columns = rows.columns()[..width].to_vec();
        touched.add(Rows { keys: key_columns, ..Rows::default() }, None, rows.num_rows())?;
        let groups = touched.count();
        let mut last = vec![0_u32; groups];
        for (row, group) in (0..).zip(&touched.parts[0].groups) {
            last[*group] = row;
        }
        let keys = touched.take_keys()?;
        let found = self.find(&keys, groups)?;
        let mut columns = take_arrays(rows.columns(), &UInt32Array::from(last), None)?;
        columns.splice(..width, keys);
        let weights = columns.get(width).filter(|_| weighted);
        let weights = weights.and_then(|weights| weights.as_primitive_opt::<Int64Type>());
        let is_gone = |row: &u32| weights.is_some_and(|weights| weights.value(*row as usize) == 0);
        let (gone, alive): (Vec<u32>, Vec<u32>) = (0..).take(groups).partition(is_gone);
        let is_known = |row: &u32| found.groups[*row as usize] != NONE;
        let gone: Vec<u32> = gone.into_iter().filter(is_known).collect();
        if !gone.is_empty() {
            let keys = take_arrays(&columns[..width], &UInt32Array::from(gone.clone()), None)?;
            self.remove(&found.pick(&gone), &keys)?;
        }
        if !alive.is_empty() {
            let alive_found = found.pick(&alive);
            self.put(alive_found, &take_arrays(&columns, &UInt32Array::from(alive), None)?)?;
        }
        self.all_saved();
        Ok(())
    }
}

fn batch(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let field = |(i, column): (usize, &ArrayRef)| {
        Field::new(format!("column_{i}"), column.data_type().clone(), true)
    };
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
