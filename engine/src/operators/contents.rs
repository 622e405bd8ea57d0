//! The rows of a relation as they are now: the integral of its changes.
//!
//! This is what a view shows, what a sink of `mode = 'snapshot'` writes, and what a terminal redraws.
//! It is kept by one lane and costs what changes; reading it costs what is read.
//!
//! Invariant: the rows, each as often as it is there, are the sum of all deltas applied.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;

use super::StateBatch;
use super::row_index::{KeyedRows, RowIndex};
use crate::dataflow::SortKey;
use crate::delta::Delta;
use crate::error::{Error, Result};

/// The rows of a relation as they are now.
#[derive(Debug)]
pub struct Contents {
    schema: SchemaRef,
    index: RowIndex,
    rows: i64,
}

impl Contents {
    /// Nothing yet. `updating` says whether rows can be taken back.
    pub fn new(schema: SchemaRef, updating: bool) -> Self {
        // Rows are found by all of their columns, which the index does by itself.
        let keys = Vec::new();
        let nulls = NullEquality::NullEqualsNull;
        let index = RowIndex::new(SchemaRef::clone(&schema), keys, nulls, updating);
        Self { schema, index, rows: 0 }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// How many rows there are, equal ones counted each.
    pub fn num_rows(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(0)
    }

    /// Adds rows and takes rows back.
    ///
    /// # Errors
    ///
    /// When the rows are not of this relation: our bug.
    pub fn apply(&mut self, deltas: &[Delta]) -> Result<()> {
        for delta in deltas.iter().filter(|delta| delta.num_rows() > 0) {
            let columns = delta.batch.columns().to_vec();
            let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
            let rows: KeyedRows =
                self.index.keyed(Delta { batch, weights: delta.weights.clone() })?;
            self.rows += (0..rows.len()).map(|row| rows.weight(row)).sum::<i64>();
            self.index.apply(&rows)?;
        }
        Ok(())
    }

    /// All rows, in the order they came, equal ones as often as they are there.
    ///
    /// # Errors
    ///
    /// When Arrow refuses the rows: our bug.
    pub fn all(&self) -> Result<Vec<RecordBatch>> {
        self.index.alive()?.iter().map(repeated).collect()
    }

    /// The first `rows_max` rows in the order of `keys`; the rest of the order is that of the columns,
    /// so that a row keeps its place while others change.
    ///
    /// # Errors
    ///
    /// When Arrow refuses the rows: our bug.
    pub fn first(&self, keys: &[SortKey], rows_max: usize) -> Result<RecordBatch> {
        let all = concat_batches(&self.schema, &self.all()?)?;
        let of = |key: &SortKey| SortColumn {
            values: Arc::clone(all.column(key.column)),
            options: Some(SortOptions { descending: key.descending, nulls_first: key.nulls_first }),
        };
        let rest = (0..all.num_columns()).filter(|at| keys.iter().all(|key| key.column != *at));
        let rest = rest.map(|column| SortKey { column, descending: false, nulls_first: false });
        let keys: Vec<SortKey> = keys.iter().copied().chain(rest).collect();
        // Lists and structures have no order here.
        let sortable = |column: &SortColumn| !column.values.data_type().is_nested();
        let columns: Vec<SortColumn> = keys.iter().map(of).filter(sortable).collect();
        if columns.is_empty() {
            return Ok(all.slice(0, all.num_rows().min(rows_max)));
        }
        let places = lexsort_to_indices(&columns, Some(rows_max))?;
        Ok(take_record_batch(&all, &places)?)
    }

    /// What changed since the last snapshot: see [`super::Operator::snapshot`].
    ///
    /// # Errors
    ///
    /// When Arrow refuses the batches: our bug.
    pub fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let batches = self.index.snapshot()?.into_iter();
        Ok(batches.map(|rows| StateBatch { part: "rows", rows }).collect())
    }

    /// Makes the next snapshot hold all rows.
    pub fn forget_snapshots(&mut self) {
        self.index.forget_snapshots();
    }

    /// Adds snapshots, in the order they were taken, to empty contents.
    ///
    /// # Errors
    ///
    /// When a batch is not of this relation.
    pub fn restore(&mut self, state: &[StateBatch]) -> Result<()> {
        state.iter().try_for_each(|piece| self.index.restore(&piece.rows))?;
        let alive = self.index.alive()?;
        let rows = alive.iter().map(|delta| match &delta.weights {
            Some(weights) => weights.values().iter().sum(),
            None => i64::try_from(delta.num_rows()).unwrap_or(i64::MAX),
        });
        self.rows = rows.sum();
        Ok(())
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }
}

/// The rows of `delta`, one with weight 2 twice.
fn repeated(delta: &Delta) -> Result<RecordBatch> {
    let Some(weights) = &delta.weights else { return Ok(delta.batch.clone()) };
    if weights.values().iter().all(|weight| *weight == 1) {
        return Ok(delta.batch.clone());
    }
    let mut places = Vec::with_capacity(weights.len());
    for (row, weight) in (0_u32..).zip(weights.values()) {
        let times = usize::try_from(*weight)
            .map_err(|_| Error::bug("a row was taken back more often than it was there"))?;
        places.extend(std::iter::repeat_n(row, times));
    }
    Ok(take_record_batch(&delta.batch, &UInt32Array::from(places))?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    type Row = (i64, Option<String>);

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("N", DataType::Int64, true),
            Field::new("T", DataType::Utf8, true),
        ]))
    }

    fn delta(rows: &[(Row, i64)]) -> Delta {
        let numbers = Int64Array::from_iter_values(rows.iter().map(|((n, _), _)| *n));
        let texts: StringArray = rows.iter().map(|((_, t), _)| t.as_deref()).collect();
        let batch =
            RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
        Delta { batch, weights: Some(rows.iter().map(|(_, w)| *w).collect::<Vec<_>>().into()) }
    }

    fn rows(batches: &[RecordBatch]) -> Vec<Row> {
        let of = |batch: &RecordBatch| -> Vec<Row> {
            let texts = batch.column(1).as_string::<i32>().iter();
            let numbers = batch.column(0).as_primitive::<Int64Type>().values().iter().copied();
            numbers.zip(texts).map(|(n, t)| (n, t.map(str::to_owned))).collect()
        };
        batches.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn they_are_the_sum_of_all_changes_also_after_restores(
            // What changes in each epoch: a row, and whether it comes or goes if it is there.
            epochs in prop::collection::vec(
                prop::collection::vec((0_i64..4, prop::option::of("[ab]"), any::<bool>()), 0..12),
                1..12,
            ),
            restored in prop::collection::vec(any::<bool>(), 12),
        ) {
            let mut contents = Contents::new(schema(), true);
            let mut model: BTreeMap<Row, i64> = BTreeMap::new();
            let mut snapshots = Vec::new();
            for (epoch, restore) in epochs.into_iter().zip(restored) {
                let mut changes = Vec::new();
                for (n, t, comes) in epoch {
                    let weight = if comes { 1 } else { -1 };
                    let row = (n, t);
                    let count = model.entry(row.clone()).or_default();
                    if *count + weight >= 0 {
                        *count += weight;
                        changes.push((row, weight));
                    }
                }
                contents.apply(&[delta(&changes)]).unwrap();
                if restore {
                    snapshots.extend(contents.snapshot().unwrap());
                    contents = Contents::new(schema(), true);
                    contents.restore(&snapshots).unwrap();
                }
                let expected: Vec<Row> = model
                    .iter()
                    .flat_map(|(row, count)| {
                        std::iter::repeat_n(row.clone(), usize::try_from(*count).unwrap())
                    })
                    .collect();
                let mut found = rows(&contents.all().unwrap());
                found.sort();
                prop_assert_eq!(contents.num_rows(), expected.len());
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn the_first_rows_are_those_of_the_order_and_then_of_the_columns() {
        let mut contents = Contents::new(schema(), true);
        let text = |text: &str| Some(text.to_owned());
        let all = [((1, text("b")), 1), ((2, None), 1), ((2, text("a")), 2), ((0, text("z")), 1)];
        contents.apply(&[delta(&all)]).unwrap();
        contents.apply(&[delta(&[((0, text("z")), -1)])]).unwrap();
        let key = SortKey { column: 0, descending: true, nulls_first: false };
        let first = contents.first(&[key], 3).unwrap();
        assert_eq!(rows(&[first]), vec![(2, text("a")), (2, text("a")), (2, None)]);
        assert_eq!(rows(&[contents.first(&[], 1).unwrap()]), vec![(1, text("b"))]);
        assert_eq!(contents.first(&[key], 10).unwrap().num_rows(), contents.num_rows());
    }

    #[test]
    fn rows_that_only_come_need_no_weights() {
        let mut contents = Contents::new(schema(), false);
        let rows_of = |n: i64| Delta::append(delta(&[((n, None), 1)]).batch);
        contents.apply(&[rows_of(1), rows_of(1), rows_of(2)]).unwrap();
        assert_eq!(contents.num_rows(), 3);
        assert_eq!(rows(&contents.all().unwrap()), vec![(1, None), (1, None), (2, None)]);
    }
}
