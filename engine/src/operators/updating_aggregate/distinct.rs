//! The distinct values of an argument per group: what makes a DISTINCT aggregate a plain one.
//!
//! ```text
//!   (group, value) ─► in how many rows      0 → 1: the value counts      1 → 0: it counts no more
//! ```
//!
//! Each value that begins or ceases to be there is one row, added or taken back, of an aggregate
//! without DISTINCT. So an epoch costs what it brings, not what its groups hold.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};

use super::aggregates::Aggregate;
use super::exact::counted_weights;
use super::ordered::OrderedValues;
use super::touched::{Contribution, Part, Rows, Touched};
use super::versions::{NONE, Versions};
use crate::error::{Error, Result};
use crate::spill::SpillStore;

/// The names of their parts of a snapshot, and so how many there may be.
pub(super) const PARTS: [&str; 16] = [
    "distinct 0",
    "distinct 1",
    "distinct 2",
    "distinct 3",
    "distinct 4",
    "distinct 5",
    "distinct 6",
    "distinct 7",
    "distinct 8",
    "distinct 9",
    "distinct 10",
    "distinct 11",
    "distinct 12",
    "distinct 13",
    "distinct 14",
    "distinct 15",
];

/// Rows of a snapshot that are ordered together.
const RESTORED_ROWS: usize = 32_768;

/// The distinct values of the arguments of an aggregate, per group.
#[derive(Debug)]
pub(super) struct DistinctValues {
    /// The number of the aggregate.
    number: usize,
    /// The keys of the groups, then the arguments.
    schema: SchemaRef,
    keys: usize,
    /// With an updating input a value has the weight of the rows it is in; else it is there for good.
    values: Versions,
    updating: bool,
    /// The same in order, where an aggregate asks for the ends.
    ordered: Option<OrderedValues>,
    /// Whether they have to be made anew.
    stale: bool,
}

/// Values that begin (weight 1) or cease (weight -1) to be there.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    arguments: Vec<ArrayRef>,
    weights: Vec<i64>,
    groups: Vec<usize>,
}

impl Transitions {
    pub(super) fn contribution(&self, groups_so_far: usize) -> Contribution<'_> {
        Contribution {
            arguments: &self.arguments,
            filter: None,
            weights: Some(&self.weights),
            groups: &self.groups,
            groups_so_far,
        }
    }
}

impl DistinctValues {
    /// For aggregate number `number`.
    pub(super) fn new(
        number: usize,
        aggregate: &Aggregate,
        keys: &SchemaRef,
        input: &SchemaRef,
        updating: bool,
    ) -> Result<Self> {
        let mut fields: Vec<_> = keys.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (at, data_type) in aggregate.argument_types(input)?.into_iter().enumerate() {
            fields.push(Field::new(format!("argument_{at}"), data_type, true));
        }
        let (schema, keys) = (Arc::new(Schema::new(fields)), keys.fields().len());
        let (ordered, stale) = (None, false);
        Ok(Self { number, schema, keys, values: Versions::new(), updating, ordered, stale })
    }

    /// Keeps the values in order as well.
    pub(super) fn keep_order(&mut self) -> Result<()> {
        if self.ordered.is_none() {
            let types = self.schema.fields().iter().map(|field| field.data_type().clone());
            let mut types: Vec<_> = types.collect();
            let value = types.pop().ok_or_else(|| Error::bug("values without an argument"))?;
            self.ordered = Some(OrderedValues::new(types, value)?);
        }
        Ok(())
    }

    /// The least or the greatest value of each of these groups.
    pub(super) fn ends(&self, keys: &[ArrayRef], groups: usize, last: bool) -> Result<ArrayRef> {
        let ordered = self.ordered.as_ref();
        ordered.ok_or_else(|| Error::bug("values without an order"))?.ends(keys, groups, last)
    }

    /// Orders the values of a snapshot.
    fn restore_order(&mut self) -> Result<()> {
        self.stale = false;
        let Some(ordered) = &mut self.ordered else { return Ok(()) };
        for values in self.values.all().chunks(RESTORED_ROWS) {
            let columns = self.values.pick(values)?.columns()?;
            let weights = columns.get(self.keys + 1);
            let weights = weights.and_then(|weights| weights.as_primitive_opt::<Int64Type>());
            let weights = weights.ok_or_else(|| Error::bug("a value lost its weight"))?;
            let weights = weights.values().iter().copied();
            ordered.apply(&columns[..self.keys], &columns[self.keys], weights)?;
        }
        Ok(())
    }

    /// Takes in the rows of an epoch.
    pub(super) fn take_in(&mut self, parts: &[Part]) -> Result<Transitions> {
        if self.stale {
            self.restore_order()?;
        }
        let mut touched = Touched::new(&self.schema)?;
        let (mut groups, mut change) = (Vec::new(), Vec::new());
        for part in parts {
            let weights = counted_weights(&part.of(self.number));
            let rows = (0_u32..).zip(&weights).filter(|(_, weight)| **weight != 0);
            let rows: UInt32Array = rows.map(|(row, _)| row).collect();
            if rows.is_empty() {
                continue;
            }
            let columns = part.rows.keys.iter().chain(&part.rows.arguments[self.number]);
            let columns = columns.map(|column| Ok(take(column, &rows, None)?));
            let keys = columns.collect::<Result<_>>()?;
            touched.add(Rows { keys, ..Rows::default() }, None, rows.len())?;
            groups.resize(touched.count(), 0);
            change.resize(touched.count(), 0_i64);
            let values = touched.parts.last().map_or(&[][..], |part| &part.groups);
            for (value, row) in values.iter().zip(rows.values()) {
                groups[*value] = part.groups[*row as usize];
                change[*value] += weights[*row as usize];
            }
        }
        if change.is_empty() {
            let fields = self.schema.fields().iter().skip(self.keys);
            let arguments = fields.map(|field| new_empty_array(field.data_type())).collect();
            return Ok(Transitions { arguments, ..Transitions::default() });
        }
        let columns = touched.take_keys()?;
        self.apply(&columns, &groups, &change)
    }

    /// Adds weights to values, which are all distinct.
    fn apply(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        change: &[i64],
    ) -> Result<Transitions> {
        let found = self.values.find(columns, change.len())?;
        let before = self.weights(&found.groups)?;
        let after: Vec<i64> = before.iter().zip(change).map(|(b, c)| b + c).collect();
        let rows_where = |holds: &dyn Fn(usize) -> bool| -> Vec<u32> {
            (0_u32..).take(change.len()).filter(|row| holds(*row as usize)).collect()
        };
        let turned = rows_where(&|row| (before[row] > 0) != (after[row] > 0));
        let weights = turned.iter().map(|row| if after[*row as usize] > 0 { 1 } else { -1 });
        let weights: Vec<i64> = weights.collect();
        let of_turned = turned.iter().map(|row| groups[*row as usize]).collect();
        let turned = take_arrays(columns, &UInt32Array::from(turned), None)?;
        let (keys, arguments) = turned.split_at(self.keys);
        if let (Some(ordered), [value]) = (&mut self.ordered, arguments) {
            ordered.apply(keys, value, weights.iter().copied())?;
        }
        let transitions = Transitions { arguments: arguments.to_vec(), weights, groups: of_turned };
        let gone = rows_where(&|row| after[row] == 0 && found.groups[row] != NONE);
        if !gone.is_empty() {
            let keys = take_arrays(columns, &UInt32Array::from(gone.clone()), None)?;
            self.values.remove(&found.pick(&gone), &keys)?;
        }
        let kept = rows_where(&|row| match self.updating {
            true => after[row] != 0 && after[row] != before[row],
            false => found.groups[row] == NONE,
        });
        if !kept.is_empty() {
            let weights: Int64Array = kept.iter().map(|row| after[*row as usize]).collect();
            let kept_found = found.pick(&kept);
            let mut columns = take_arrays(columns, &UInt32Array::from(kept), None)?;
            if self.updating {
                columns.push(Arc::new(weights));
            }
            self.values.put(kept_found, &columns)?;
        }
        Ok(transitions)
    }

    /// The weights of values; 0 of one that is not there.
    fn weights(&self, values: &[u32]) -> Result<Vec<i64>> {
        let mut weights = vec![0; values.len()];
        let known: Vec<u32> = values.iter().copied().filter(|value| *value != NONE).collect();
        if known.is_empty() {
            return Ok(weights);
        }
        let of_known = if self.updating {
            let column = self.values.pick(&known)?.column(self.schema.fields().len())?;
            let column =
                column.as_primitive_opt::<Int64Type>().map(|column| column.values().clone());
            column.ok_or_else(|| Error::bug("a distinct value lost its weight"))?.to_vec()
        } else {
            vec![1; known.len()]
        };
        let places = weights.iter_mut().zip(values).filter(|(_, value)| **value != NONE);
        places.zip(of_known).for_each(|((weight, _), of_known)| *weight = of_known);
        Ok(weights)
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        self.values.snapshot(&[])
    }

    pub(super) fn forget_snapshots(&mut self) {
        self.values.forget_snapshots();
    }

    pub(super) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_columns() != self.schema.fields().len() + usize::from(self.updating) {
            return Err(Error::bug("the state of distinct values has other columns"));
        }
        self.stale = self.ordered.is_some();
        self.values.restore(rows, &self.schema, self.updating)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let ordered = self.ordered.as_ref().map_or(0, OrderedValues::memory_bytes);
        self.values.memory_bytes() + ordered
    }

    pub(super) fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        self.values.rows.spill(store, bytes)
    }
}
