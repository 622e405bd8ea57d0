//! Rows that an operator keeps in order: by partition, in it by the `ORDER BY`, and rows that are equal
//! so far by all their other columns. So no two different rows are equal, and what is the first, the
//! third or the one before does not depend on when a row came.
//!
//! ```text
//!   bytes of (partition | order | other columns)  ─►  weight        sorted: a partition is a range
//! ```
//!
//! The bytes compare as the rows do and are all there is of a row: it is decoded when it comes out. An
//! allocation per kept row is the price of finding any row, and the first ones of any partition, in
//! logarithmic time.
//!
//! Invariant: the rows with their weights are the sum of all deltas applied and rows removed.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::StateBatch;
use crate::dataflow::StateShare;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::monotonic::from_number;

const ROWS: &str = "rows";

/// How columns compare that no `ORDER BY` names.
pub(super) const PLAIN: SortOptions = SortOptions { descending: false, nulls_first: false };

/// The bytes of a row, or of the partition they begin with.
pub(super) type Key = Box<[u8]>;

/// What is known of a kept row beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// How often it is there; below zero while it is taken back before it was added.
    pub(super) weight: i64,
    partition_end: u32,
    order_end: u32,
}

impl Kept {
    /// The part of its bytes that says the partition.
    pub(super) fn partition(self, key: &[u8]) -> &[u8] {
        &key[..self.partition_end as usize]
    }

    /// The part of its bytes that says its place in the partition.
    pub(super) fn order(self, key: &[u8]) -> &[u8] {
        &key[self.partition_end as usize..self.order_end as usize]
    }

    /// The part of its bytes that peers share: partition and order.
    pub(super) fn peers(self, key: &[u8]) -> &[u8] {
        &key[..self.order_end as usize]
    }
}

/// Columns that are encoded together.
#[derive(Debug)]
pub(super) struct Section {
    columns: Vec<usize>,
    /// `None` where there are no columns.
    converter: Option<RowConverter>,
}

impl Section {
    pub(super) fn new(schema: &Schema, columns: &[(usize, SortOptions)]) -> Result<Self> {
        let field = |(column, options): &(usize, SortOptions)| {
            SortField::new_with_options(schema.field(*column).data_type().clone(), *options)
        };
        let fields: Vec<_> = columns.iter().map(field).collect();
        let converter = (!fields.is_empty()).then(|| RowConverter::new(fields)).transpose()?;
        Ok(Self { columns: columns.iter().map(|(column, _)| *column).collect(), converter })
    }

    /// The columns of each row as bytes; `None` where there are no columns.
    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<Option<Rows>> {
        let Some(converter) = &self.converter else { return Ok(None) };
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        Ok(Some(converter.convert_columns(&columns)?))
    }

    fn decode<'k>(&self, rows: impl Iterator<Item = &'k [u8]>) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let rows: Vec<&[u8]> = rows.collect();
        Ok(converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?)
    }
}

/// Rows as bytes.
#[derive(Debug)]
pub(super) struct Encoded {
    sections: [Option<Rows>; 3],
    weights: Option<Int64Array>,
    rows: usize,
}

impl Encoded {
    fn part(&self, section: usize, row: usize) -> &[u8] {
        self.sections[section].as_ref().map_or(&[], |rows| rows.row(row).data())
    }

    fn key(&self, row: usize) -> Result<(Key, [u32; 2])> {
        let parts = [self.part(0, row), self.part(1, row), self.part(2, row)];
        let end = |bytes: usize| {
            u32::try_from(bytes).map_err(|_| Error::settings("a row of more than 4 GB"))
        };
        let ends = [end(parts[0].len())?, end(parts[0].len() + parts[1].len())?];
        Ok((parts.concat().into_boxed_slice(), ends))
    }
}

/// Rows that an operator keeps in order.
#[derive(Debug)]
pub(super) struct OrderedRows {
    schema: SchemaRef,
    /// Partition, order, all other columns.
    sections: [Section; 3],
    rows: BTreeMap<Key, Kept>,
    /// The bytes of all keys.
    bytes: usize,
    /// What changed since the last snapshot; `None` before the first.
    unsaved: Option<BTreeMap<Key, Kept>>,
}

impl OrderedRows {
    /// No rows of `schema` yet. A column of `order_by` that is one of `partition_by` has no effect.
    pub(super) fn new(
        schema: &SchemaRef,
        partition_by: &[usize],
        order_by: &[(usize, SortOptions)],
    ) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let mut section = |columns: &mut dyn Iterator<Item = (usize, SortOptions)>| {
            let columns: Vec<_> = columns.filter(|(column, _)| seen.insert(*column)).collect();
            Section::new(schema, &columns)
        };
        let sections = [
            section(&mut partition_by.iter().map(|column| (*column, PLAIN)))?,
            section(&mut order_by.iter().copied())?,
            section(&mut (0..schema.fields().len()).map(|column| (column, PLAIN)))?,
        ];
        let (schema, rows) = (Arc::clone(schema), BTreeMap::new());
        Ok(Self { schema, sections, rows, bytes: 0, unsaved: None })
    }

    /// Whether rows of `schema` can be kept.
    pub(super) fn supports(schema: &Schema) -> bool {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        RowConverter::supports_fields(&fields.collect::<Vec<_>>())
    }

    /// The rows of `delta` as bytes.
    pub(super) fn encode(&self, delta: &Delta) -> Result<Encoded> {
        let [partition, order, others] = &self.sections;
        let batch = &delta.batch;
        Ok(Encoded {
            sections: [partition.encode(batch)?, order.encode(batch)?, others.encode(batch)?],
            weights: delta.weights.clone(),
            rows: batch.num_rows(),
        })
    }

    /// The partitions that rows are of, each once, in order.
    pub(super) fn partitions(encoded: &[Encoded]) -> Vec<Key> {
        let mut partitions = BTreeSet::new();
        for rows in encoded {
            partitions.extend((0..rows.rows).map(|row| rows.part(0, row)));
        }
        partitions.into_iter().map(Key::from).collect()
    }

    /// Adds rows and takes rows back.
    pub(super) fn apply(&mut self, encoded: &Encoded) -> Result<()> {
        for row in 0..encoded.rows {
            let (key, [partition_end, order_end]) = encoded.key(row)?;
            let weight = encoded.weights.as_ref().map_or(1, |weights| weights.value(row));
            self.add(key, Kept { weight, partition_end, order_end });
        }
        Ok(())
    }

    fn add(&mut self, key: Key, kept: Kept) {
        if let Some(unsaved) = &mut self.unsaved {
            add_to(unsaved, key.clone(), kept);
        }
        let bytes = key.len();
        match add_to(&mut self.rows, key, kept) {
            Added::New => self.bytes += bytes,
            Added::Gone => self.bytes -= bytes,
            Added::There => {}
        }
    }

    /// Removes a row, however often it is there.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(kept) = self.rows.get(&key).copied() {
            self.add(key, Kept { weight: -kept.weight, ..kept });
        }
    }

    /// The rows of a partition, in order.
    pub(super) fn of<'a>(
        &'a self,
        partition: &'a [u8],
    ) -> impl Iterator<Item = (&'a Key, Kept)> + 'a {
        self.from(partition, partition)
    }

    /// The rows of a partition from `key` on, in order.
    pub(super) fn from<'a>(
        &'a self,
        partition: &'a [u8],
        key: &'a [u8],
    ) -> impl Iterator<Item = (&'a Key, Kept)> + 'a {
        let from = (Bound::Included(key), Bound::Unbounded);
        // What the columns of a partition are encoded as is never the beginning of another encoding.
        let rows = self.rows.range::<[u8], _>(from);
        rows.take_while(move |(key, _)| key.starts_with(partition)).map(|(key, kept)| (key, *kept))
    }

    /// Removes the partitions whose first column is below `bound`, all rows for `None`, and returns
    /// their rows in order.
    pub(super) fn take_before(&mut self, bound: Option<i64>) -> Result<Vec<(Key, Kept)>> {
        let bound = match (bound, self.sections[0].columns.first()) {
            (Some(bound), Some(column)) => {
                let data_type = self.schema.field(*column).data_type();
                let value = from_number(&Int64Array::from(vec![bound]), data_type)?;
                let field = SortField::new_with_options(data_type.clone(), PLAIN);
                let rows = RowConverter::new(vec![field])?.convert_columns(&[value])?;
                Some(Key::from(rows.row(0).data()))
            }
            _ => None,
        };
        let mut taken = Vec::new();
        while let Some((key, kept)) = self.rows.first_key_value() {
            if bound.as_ref().is_some_and(|bound| key >= bound) {
                break;
            }
            taken.push((key.clone(), *kept));
            let key = key.clone();
            self.remove(key);
        }
        Ok(taken)
    }

    /// Rows as a batch.
    pub(super) fn decode<'k>(
        &self,
        rows: impl Iterator<Item = (&'k Key, Kept)> + Clone,
    ) -> Result<RecordBatch> {
        let [partition, order, others] = &self.sections;
        let parts = [
            partition.decode(rows.clone().map(|(key, kept)| kept.partition(key)))?,
            order.decode(rows.clone().map(|(key, kept)| kept.order(key)))?,
            others.decode(rows.clone().map(|(key, kept)| &key[kept.order_end as usize..]))?,
        ];
        let numbers = self.sections.iter().flat_map(|section| section.columns.iter());
        let mut columns: Vec<_> = numbers.zip(parts.into_iter().flatten()).collect();
        columns.sort_by_key(|(number, _)| **number);
        let fields = self.schema.fields();
        let columns = columns.into_iter().zip(fields).map(|((_, column), field)| {
            if column.data_type() == field.data_type() {
                return Ok(column);
            }
            // Dictionaries come back as their values.
            cast(&column, field.data_type())
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.count()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// The bytes of a number in the first column of the `ORDER BY`.
    pub(super) fn order_bytes(&self, number: i64) -> Result<Key> {
        let section = &self.sections[1];
        let column = section.columns.first().ok_or_else(|| Error::bug("rows without an order"))?;
        let data_type = self.schema.field(*column).data_type();
        let value = from_number(&Int64Array::from(vec![number]), data_type)?;
        let field = SortField::new_with_options(data_type.clone(), PLAIN);
        let rows = RowConverter::new(vec![field])?.convert_columns(&[value])?;
        Ok(Key::from(rows.row(0).data()))
    }

    /// The columns of partitions.
    pub(super) fn decode_partitions(&self, partitions: &[&Key]) -> Result<Vec<ArrayRef>> {
        self.sections[0].decode(partitions.iter().map(|key| key.as_ref()))
    }

    /// The partitions of `rows` rows of their columns.
    pub(super) fn encode_partitions(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Key>> {
        let Some(converter) = &self.sections[0].converter else {
            return Ok(vec![Key::default(); rows]);
        };
        let rows = converter.convert_columns(columns)?;
        Ok(rows.iter().map(|row| Key::from(row.data())).collect())
    }

    /// All partitions, in order.
    pub(super) fn all_partitions(&self) -> Vec<Key> {
        let mut partitions: Vec<Key> = Vec::new();
        for (key, kept) in &self.rows {
            let partition = kept.partition(key);
            if partitions.last().is_none_or(|last| last.as_ref() != partition) {
                partitions.push(partition.into());
            }
        }
        partitions
    }

    /// What changed since the last snapshot, with its weights in the last column.
    pub(super) fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let changed = self.unsaved.replace(BTreeMap::new());
        let changed = changed.as_ref().unwrap_or(&self.rows);
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let batch = self.decode(changed.iter().map(|(key, kept)| (key, *kept)))?;
        let weights: Int64Array = changed.values().map(|kept| kept.weight).collect();
        let fields = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<_>>();
        let weight = Field::new("weight", DataType::Int64, false);
        let schema = Schema::new(fields.into_iter().chain([weight]).collect::<Vec<_>>());
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(weights));
        let rows = RecordBatch::try_new(Arc::new(schema), columns)?;
        Ok(vec![StateBatch { part: ROWS, rows }])
    }

    /// Makes the next snapshot hold all rows.
    pub(super) fn forget_snapshots(&mut self) {
        self.unsaved = None;
    }

    /// Which lanes a part of a snapshot belongs to, where rows have these partitions.
    pub(super) fn state_share(part: &str, partition_by: &[usize]) -> Option<StateShare> {
        (part == ROWS).then(|| StateShare::Keys(partition_by.to_vec()))
    }

    /// Restores all there is in a snapshot.
    pub(super) fn restore_all(&mut self, state: Vec<StateBatch>) -> Result<()> {
        for state in state {
            if self.restore(state)?.is_some() {
                return Err(Error::bug("not the state of ordered rows"));
            }
        }
        Ok(())
    }

    /// Takes a part of a snapshot, or gives it back if it is another's.
    pub(super) fn restore(&mut self, state: StateBatch) -> Result<Option<StateBatch>> {
        if state.part != ROWS {
            return Ok(Some(state));
        }
        let rows = state.rows;
        let not_ours = || Error::bug("not the state of ordered rows");
        let (weights, columns) = rows.columns().split_last().ok_or_else(not_ours)?;
        let weights = weights.as_primitive_opt::<Int64Type>().ok_or_else(not_ours)?.clone();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns.to_vec(), &options)?;
        let encoded = self.encode(&Delta { batch, weights: Some(weights) })?;
        self.apply(&encoded)?;
        self.unsaved = Some(BTreeMap::new());
        Ok(None)
    }

    /// How many different rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let entry = size_of::<Key>() + size_of::<Kept>();
        let unsaved = self.unsaved.iter().flatten().map(|(key, _)| key.len() + entry);
        self.bytes + self.rows.len() * entry + unsaved.sum::<usize>()
    }
}

/// What became of a row that was added.
enum Added {
    New,
    There,
    Gone,
}

fn add_to(rows: &mut BTreeMap<Key, Kept>, key: Key, kept: Kept) -> Added {
    use std::collections::btree_map::Entry;
    match rows.entry(key) {
        Entry::Vacant(_) if kept.weight == 0 => Added::There,
        Entry::Vacant(vacant) => {
            vacant.insert(kept);
            Added::New
        }
        Entry::Occupied(mut occupied) => {
            occupied.get_mut().weight += kept.weight;
            if occupied.get().weight == 0 {
                occupied.remove();
                return Added::Gone;
            }
            Added::There
        }
    }
}
