//! The rows of every group, for the aggregates that can only be computed anew.
//!
//! What is kept of a row is what these aggregates read of it. A row taken back is cancelled; when a
//! group is touched, all its rows are gathered, in the order they came, and accumulated once.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::NullEquality;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;

use super::aggregates::{Aggregate, Class};
use super::touched::Rows;
use crate::delta::Delta;
use crate::error::Result;
use crate::operators::row_index::{KeyedRows, RowIndex};
use crate::spill::SpillStore;

/// Rows accumulated together.
const CHUNK_ROWS: usize = 32_768;

/// An aggregate over kept rows, and where its arguments are among their columns.
#[derive(Debug)]
struct Reader {
    number: usize,
    arguments: Vec<usize>,
    filter: Option<usize>,
}

/// The rows of every group.
#[derive(Debug)]
pub(super) struct KeptRows {
    index: RowIndex,
    schema: SchemaRef,
    keys: SchemaRef,
    readers: Vec<Reader>,
    /// Where each column behind the keys comes from: an aggregate and the number of its argument, or
    /// `None` for its filter.
    columns: Vec<(usize, Option<usize>)>,
}

impl KeptRows {
    /// `None` if no aggregate needs them.
    pub(super) fn new(
        aggregates: &[Aggregate],
        keys: &SchemaRef,
        input: &SchemaRef,
    ) -> Result<Option<Self>> {
        let mut fields: Vec<_> = keys.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let (mut readers, mut columns) = (Vec::new(), Vec::new());
        for (number, aggregate) in aggregates.iter().enumerate() {
            if aggregate.class != Class::Rows {
                continue;
            }
            let mut column = |expr: &Arc<dyn PhysicalExpr>, argument| -> Result<usize> {
                let at = exprs.iter().position(|other| other == expr).unwrap_or(exprs.len());
                if at == exprs.len() {
                    exprs.push(Arc::clone(expr));
                    columns.push((number, argument));
                    fields.push(Field::new(format!("column_{at}"), expr.data_type(input)?, true));
                }
                Ok(keys.fields().len() + at)
            };
            let arguments = aggregate.arguments.iter().enumerate();
            let arguments = arguments.map(|(at, expr)| column(expr, Some(at)));
            let arguments = arguments.collect::<Result<_>>()?;
            let filter = aggregate.filter.as_ref().map(|expr| column(expr, None)).transpose()?;
            readers.push(Reader { number, arguments, filter });
        }
        if readers.is_empty() {
            return Ok(None);
        }
        let schema = Arc::new(Schema::new(fields));
        let key_columns = (0..keys.fields().len()).collect();
        let nulls = NullEquality::NullEqualsNull;
        let index = RowIndex::new(Arc::clone(&schema), key_columns, nulls, true);
        Ok(Some(Self { index, schema, keys: Arc::clone(keys), readers, columns }))
    }

    /// Adds rows and takes rows back.
    pub(super) fn apply(&mut self, rows: &Rows, weights: Option<&Int64Array>) -> Result<()> {
        let column = |(aggregate, argument): &(usize, Option<usize>)| -> ArrayRef {
            match argument {
                Some(argument) => Arc::clone(&rows.arguments[*aggregate][*argument]),
                None => match &rows.filters[*aggregate] {
                    Some(filter) => Arc::new(filter.clone()),
                    None => arrow::array::new_empty_array(&DataType::Boolean),
                },
            }
        };
        let columns = rows.keys.iter().map(Arc::clone).chain(self.columns.iter().map(column));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())?;
        let keyed = self.index.keyed(Delta { batch, weights: weights.cloned() })?;
        self.index.apply(&keyed)
    }

    /// The results for `groups` groups with these keys: for each aggregate over kept rows its number
    /// and one value per group.
    pub(super) fn results(
        &self,
        aggregates: &[Aggregate],
        keys: &[ArrayRef],
        groups: usize,
    ) -> Result<Vec<(usize, ArrayRef)>> {
        let mut accumulators = Vec::with_capacity(self.readers.len());
        for reader in &self.readers {
            accumulators.push(aggregates[reader.number].accumulator()?);
        }
        let rows = self.rows_of(keys, groups)?;
        let mut chunk = Chunk::default();
        for (group, row) in rows {
            // Below zero only while a row is taken back before it was added.
            let mut times = usize::try_from(self.index.weight(row)).unwrap_or(0);
            while times > 0 {
                let now = times.min(CHUNK_ROWS - chunk.rows.len());
                chunk.rows.extend(std::iter::repeat_n(row, now));
                chunk.groups.extend(std::iter::repeat_n(group as usize, now));
                times -= now;
                if chunk.rows.len() == CHUNK_ROWS {
                    self.accumulate(&mut chunk, &mut accumulators)?;
                }
            }
        }
        self.accumulate(&mut chunk, &mut accumulators)?;
        let mut results = Vec::with_capacity(self.readers.len());
        for (reader, mut accumulator) in self.readers.iter().zip(accumulators) {
            if chunk.groups_so_far < groups {
                // Groups without a row: the one of an aggregation without keys.
                let column =
                    |at: &usize| arrow::array::new_empty_array(self.schema.field(*at).data_type());
                let arguments: Vec<ArrayRef> = reader.arguments.iter().map(column).collect();
                accumulator.update_batch(&arguments, &[], None, groups)?;
            }
            results.push((reader.number, accumulator.evaluate(EmitTo::All)?));
        }
        Ok(results)
    }

    /// The kept rows of each group in the order they came, group by group. An accumulator of many
    /// groups takes those below the highest it has seen to have a row, so their order matters.
    fn rows_of(&self, keys: &[ArrayRef], groups: usize) -> Result<Vec<(u32, u32)>> {
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        let schema = Arc::clone(&self.keys);
        let batch = RecordBatch::try_new_with_options(schema, keys.to_vec(), &options)?;
        let columns: Vec<usize> = (0..keys.len()).collect();
        let nulls = NullEquality::NullEqualsNull;
        let probe = KeyedRows::new(Delta::append(batch), &columns, nulls)?;
        let mut rows = Vec::new();
        let mut cursor = RowIndex::start();
        while let Some(pairs) = self.index.matches(&probe, &columns, &mut cursor)? {
            rows.extend(pairs.probe.into_iter().zip(pairs.kept));
        }
        rows.sort_unstable();
        Ok(rows)
    }

    fn accumulate(
        &self,
        chunk: &mut Chunk,
        accumulators: &mut [Box<dyn GroupsAccumulator>],
    ) -> Result<()> {
        let Some(last) = chunk.groups.last() else { return Ok(()) };
        chunk.groups_so_far = last + 1;
        let picked = self.index.pick(&chunk.rows)?;
        let keys = self.keys.fields().len();
        let columns = (keys..self.schema.fields().len()).map(|column| picked.column(column));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        for (reader, accumulator) in self.readers.iter().zip(accumulators) {
            let arguments = reader.arguments.iter().map(|at| Arc::clone(&columns[at - keys]));
            let arguments: Vec<ArrayRef> = arguments.collect();
            let filter: Option<&BooleanArray> =
                reader.filter.map(|at| columns[at - keys].as_boolean());
            accumulator.update_batch(&arguments, &chunk.groups, filter, chunk.groups_so_far)?;
        }
        chunk.rows.clear();
        chunk.groups.clear();
        Ok(())
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        self.index.snapshot()
    }

    pub(super) fn forget_snapshots(&mut self) {
        self.index.forget_snapshots();
    }

    pub(super) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        self.index.restore(rows)
    }

    /// How many rows are kept.
    pub(super) fn num_rows(&self) -> usize {
        self.index.live_rows()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.index.memory_bytes()
    }

    pub(super) fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        self.index.spill(store, bytes)
    }
}

/// Rows to accumulate next.
#[derive(Debug, Default)]
struct Chunk {
    rows: Vec<u32>,
    groups: Vec<usize>,
    /// How many groups the accumulators know of.
    groups_so_far: usize,
}
