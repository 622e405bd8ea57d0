//! The distinct values of an argument per group: what makes a DISTINCT aggregate a plain one.
//!
//! ```text
//!   (group, value) ─► in how many rows      0 → 1: the value counts      1 → 0: it counts no more
//! ```
//!
//! Each value that begins or ceases to be there is one row, added or taken back, of an aggregate
//! without DISTINCT. So an epoch costs what it brings, not what its groups hold.
//!
//! Aggregates of the same arguments under different filters are members of one set: a value is looked up
//! once, and has a weight for each of them.
//!
//! ```text
//!   group, value │ sum of the weights │ weight of member 0 │ weight of member 1 │ …
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::aggregates::Aggregate;
use super::exact::counted_weights;
use super::ordered::OrderedValues;
use super::touched::{Contribution, Part, Rows, Touched};
use super::versions::{Found, NONE, Versions};
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

/// The distinct values of the arguments of aggregates, per group.
#[derive(Debug)]
pub(super) struct DistinctValues {
    /// The numbers of the aggregates, one for each filter.
    members: Vec<usize>,
    /// The keys of the groups, then the arguments.
    schema: SchemaRef,
    keys: usize,
    /// With an updating input a value has the weight of the rows it is in; else it is there for good, and
    /// the weight of a member is 1 or 0.
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
        let (members, values) = (vec![number], Versions::new());
        Ok(Self { members, schema, keys, values, updating, ordered, stale })
    }

    /// The aggregates whose values these are.
    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }

    /// Whether another aggregate may be a member: not where the values are ordered, for those are of one.
    pub(super) fn takes_members(&self) -> bool {
        self.ordered.is_none()
    }

    /// Makes aggregate number `number` a member; returns its place.
    pub(super) fn add_member(&mut self, number: usize) -> usize {
        self.members.push(number);
        self.members.len() - 1
    }

    /// How many columns the weights of a value are.
    fn weight_columns(&self) -> usize {
        match self.members.len() {
            1 => usize::from(self.updating),
            members => 1 + members,
        }
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

    /// Takes in the rows of an epoch; what turns, for each member.
    pub(super) fn take_in(&mut self, parts: &[Part]) -> Result<Vec<Transitions>> {
        if self.stale {
            self.restore_order()?;
        }
        let mut touched = Touched::new(&self.schema)?;
        let members = self.members.len();
        let (mut groups, mut change) = (Vec::new(), Vec::new());
        for part in parts {
            let weights = self.members.iter().map(|number| counted_weights(&part.of(*number)));
            let weights: Vec<Vec<i64>> = weights.collect();
            let counts = |row: &usize| weights.iter().any(|weights| weights[*row] != 0);
            let rows = (0_u32..).zip(0..part.groups.len()).filter(|(_, row)| counts(row));
            let rows: UInt32Array = rows.map(|(row, _)| row).collect();
            if rows.is_empty() {
                continue;
            }
            let columns = part.rows.keys.iter().chain(&part.rows.arguments[self.members[0]]);
            let columns = columns.map(|column| Ok(take(column, &rows, None)?));
            let keys = columns.collect::<Result<_>>()?;
            touched.add(Rows { keys, ..Rows::default() }, None, rows.len())?;
            groups.resize(touched.count(), 0);
            change.resize(touched.count() * members, 0_i64);
            let values = touched.parts.last().map_or(&[][..], |part| &part.groups);
            for (value, row) in values.iter().zip(rows.values()) {
                groups[*value] = part.groups[*row as usize];
                let of_value = &mut change[*value * members..][..members];
                for (change, weights) in of_value.iter_mut().zip(&weights) {
                    *change += weights[*row as usize];
                }
            }
        }
        if change.is_empty() {
            let fields = self.schema.fields().iter().skip(self.keys);
            let arguments: Vec<_> = fields.map(|f| new_empty_array(f.data_type())).collect();
            let none = || Transitions { arguments: arguments.clone(), ..Transitions::default() };
            return Ok((0..members).map(|_| none()).collect());
        }
        let columns = touched.take_keys()?;
        self.apply(&columns, &groups, &change)
    }

    /// Adds weights to values, which are all distinct: for each value those of the members.
    fn apply(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        change: &[i64],
    ) -> Result<Vec<Transitions>> {
        let members = self.members.len();
        let found = self.values.find(columns, groups.len())?;
        let before = self.weights(&found.groups)?;
        let (updating, both) = (self.updating, before.iter().zip(change));
        let after = both.map(|(b, c)| if updating { b + c } else { (b + c).min(1) });
        let after: Vec<i64> = after.collect();
        let transitions = (0..members).map(|member| {
            let at = |row: usize| row * members + member;
            let turned: Vec<u32> =
                rows_where(groups.len(), &|row| (before[at(row)] > 0) != (after[at(row)] > 0));
            let sign = |row: &u32| if after[at(*row as usize)] > 0 { 1 } else { -1 };
            let weights: Vec<i64> = turned.iter().map(sign).collect();
            let groups = turned.iter().map(|row| groups[*row as usize]).collect();
            let turned = take_arrays(columns, &UInt32Array::from(turned), None)?;
            let (keys, arguments) = turned.split_at(self.keys);
            if let (Some(ordered), [value]) = (&mut self.ordered, arguments) {
                ordered.apply(keys, value, weights.iter().copied())?;
            }
            Ok(Transitions { arguments: arguments.to_vec(), weights, groups })
        });
        let transitions = transitions.collect::<Result<Vec<_>>>()?;
        self.keep(columns, &found, (&before, &after))?;
        Ok(transitions)
    }

    /// Makes the weights after the epoch those of the values.
    fn keep(
        &mut self,
        columns: &[ArrayRef],
        found: &Found,
        (before, after): (&[i64], &[i64]),
    ) -> Result<()> {
        let (members, values) = (self.members.len(), found.groups.len());
        let of = |row: usize| row * members..(row + 1) * members;
        let is_gone = |row: usize| after[of(row)].iter().all(|weight| *weight == 0);
        let gone = rows_where(values, &|row| found.groups[row] != NONE && is_gone(row));
        if !gone.is_empty() {
            let keys = take_arrays(columns, &UInt32Array::from(gone.clone()), None)?;
            self.values.remove(&found.pick(&gone), &keys)?;
        }
        let kept = match self.weight_columns() {
            0 => rows_where(values, &|row| found.groups[row] == NONE),
            _ => rows_where(values, &|row| !is_gone(row) && before[of(row)] != after[of(row)]),
        };
        if kept.is_empty() {
            return Ok(());
        }
        let kept_found = found.pick(&kept);
        let mut weight_columns: Vec<ArrayRef> = Vec::with_capacity(members + 1);
        if members > 1 {
            let sum = |row: &u32| after[of(*row as usize)].iter().sum::<i64>();
            weight_columns.push(Arc::new(kept.iter().map(sum).collect::<Int64Array>()));
        }
        if members > 1 || self.updating {
            for member in 0..members {
                let weight = |row: &u32| after[*row as usize * members + member];
                weight_columns.push(Arc::new(kept.iter().map(weight).collect::<Int64Array>()));
            }
        }
        let mut columns = take_arrays(columns, &UInt32Array::from(kept.clone()), None)?;
        columns.append(&mut weight_columns);
        self.values.put(kept_found, &columns)
    }

    /// The weights of values, for each those of the members; 0 of one that is not there.
    fn weights(&self, values: &[u32]) -> Result<Vec<i64>> {
        let members = self.members.len();
        let mut weights = vec![0; values.len() * members];
        let known: Vec<u32> = values.iter().copied().filter(|value| *value != NONE).collect();
        if known.is_empty() {
            return Ok(weights);
        }
        let picked = self.values.pick(&known)?;
        let first = self.schema.fields().len() + usize::from(members > 1);
        for member in 0..members {
            let places = (member..).step_by(members).zip(values);
            let places = places.filter(|(_, value)| **value != NONE).map(|(place, _)| place);
            if self.weight_columns() == 0 {
                places.for_each(|place| weights[place] = 1);
                continue;
            }
            let column = picked.column(first + member)?;
            let column = column.as_primitive_opt::<Int64Type>();
            let column = column.ok_or_else(|| Error::bug("a distinct value lost its weight"))?;
            places.zip(column.values()).for_each(|(place, weight)| weights[place] = *weight);
        }
        Ok(weights)
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        let behind = self.weight_columns().saturating_sub(1);
        self.values.snapshot(&vec![DataType::Int64; behind])
    }

    pub(super) fn forget_snapshots(&mut self) {
        self.values.forget_snapshots();
    }

    pub(super) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_columns() != self.schema.fields().len() + self.weight_columns() {
            return Err(Error::bug("the state of distinct values has other columns"));
        }
        self.stale = self.ordered.is_some();
        self.values.restore(rows, &self.schema, self.updating)
    }

    /// How many values there are.
    pub(super) fn num_rows(&self) -> usize {
        self.values.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let ordered = self.ordered.as_ref().map_or(0, OrderedValues::memory_bytes);
        self.values.memory_bytes() + ordered
    }

    pub(super) fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<usize> {
        self.values.rows.spill(store, bytes)
    }
}

/// The numbers below `rows` that something holds for.
fn rows_where(rows: usize, holds: &dyn Fn(usize) -> bool) -> Vec<u32> {
    (0_u32..).take(rows).filter(|row| holds(*row as usize)).collect()
}
