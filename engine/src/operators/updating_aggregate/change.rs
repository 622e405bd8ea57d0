//! What an epoch changes: the new state of the groups it touches, and their old and new rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{and, cast, take, take_arrays};
use arrow::datatypes::{FieldRef, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::NullEquality;

use super::UpdatingAggregate;
use super::aggregates::{Aggregate, Class};
use super::touched::Touched;
use super::versions::{Found, NONE};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::operators::row_index::equal_values;

/// The touched groups, those that were there before first: their keys, and what was and will be kept.
#[derive(Debug)]
pub(super) struct Change {
    found: Found,
    /// How many groups were there before.
    old: usize,
    keys: Vec<ArrayRef>,
    /// The old weights, if the input can take back rows, and states; empty if there were no groups.
    before: Vec<ArrayRef>,
    /// The same after the epoch, of all groups.
    after: Vec<ArrayRef>,
}

impl UpdatingAggregate {
    /// What the epoch changes in the groups it touches.
    pub(super) fn change(&mut self, mut touched: Touched) -> Result<Change> {
        let groups = touched.count();
        let keys = touched.take_keys()?;
        let found = self.versions.find(&keys, groups)?;
        let is_old = |row: &u32| found.groups[*row as usize] != NONE;
        let all =
            0..u32::try_from(groups).map_err(|_| Error::bug("too many groups in an epoch"))?;
        let (mut order, new): (Vec<u32>, Vec<u32>) = all.partition(is_old);
        let old = order.len();
        order.extend(new);
        touched.renumber(&order, old);
        let found = found.pick(&order);
        let keys = take_arrays(&keys, &UInt32Array::from(order), None)?;
        let before = self.picked(&found.groups[..old])?;
        let mut after = Vec::with_capacity(before.len());
        if self.spec.input_updating {
            after.push(weights_after(before.first(), &touched, groups)?);
        }
        let mut results = self.kept_results(&keys, after.first(), groups)?;
        let distinct = self.distinct.iter_mut().map(|values| values.take_in(&touched.parts));
        let distinct = distinct.collect::<Result<Vec<_>>>()?;
        let mut at = self.weight_width();
        for (number, aggregate) in self.aggregates.iter().enumerate() {
            let state = before.get(at..at + aggregate.width).unwrap_or_default();
            at += aggregate.width;
            if let Some(place) = results.iter().position(|(other, _)| *other == number) {
                after.push(results.swap_remove(place).1);
            } else if let (Class::Extreme { greatest }, Some((values, _))) =
                (&aggregate.class, self.values_of[number])
            {
                after.push(self.distinct[values].ends(&keys, groups, *greatest)?);
            } else {
                let parts = match self.values_of[number] {
                    Some((values, member)) => vec![distinct[values][member].contribution(groups)],
                    None => touched.parts.iter().map(|part| part.of(number)).collect(),
                };
                after.extend(aggregate.advance(state, &parts, groups)?);
            }
        }
        Ok(Change { found, old, keys, before, after })
    }

    /// The weight and the states of groups; nothing for no groups.
    fn picked(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let picked = self.versions.pick(groups)?;
        let widths: usize = self.aggregates.iter().map(|aggregate| aggregate.width).sum();
        let first = self.spec.keys.len();
        let columns = first..first + self.weight_width() + widths;
        columns.map(|column| picked.column(column)).collect()
    }

    /// The results over kept rows of the groups that have any; NULL for the others.
    fn kept_results(
        &self,
        keys: &[ArrayRef],
        weights: Option<&ArrayRef>,
        groups: usize,
    ) -> Result<Vec<(usize, ArrayRef)>> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        let visible = self.visible(weights, groups);
        if visible.true_count() == groups {
            return kept.results(&self.aggregates, keys, groups);
        }
        let rows: UInt32Array = rows_where(&visible);
        let keys = take_arrays(keys, &rows, None)?;
        let mut place = 0..;
        let places = visible.values().iter().map(|visible| visible.then(|| place.next()).flatten());
        let places: UInt32Array = places.collect();
        let count = rows.len();
        let results = if count == 0 {
            let numbers =
                self.aggregates.iter().enumerate().filter(|(_, a)| a.class == Class::Rows);
            let of_none = |(number, aggregate): (usize, &Aggregate)| {
                (number, new_null_array(&aggregate.state_types()[0], groups))
            };
            return Ok(numbers.map(of_none).collect());
        } else {
            kept.results(&self.aggregates, &keys, count)?
        };
        let spread =
            |(number, values): (usize, ArrayRef)| Ok((number, take(&values, &places, None)?));
        results.into_iter().map(spread).collect()
    }

    /// Which groups have a row in the output: those that have one in the input, or the only one.
    fn visible(&self, weights: Option<&ArrayRef>, groups: usize) -> BooleanArray {
        match weights.filter(|_| !self.is_global()) {
            Some(weights) => {
                let weights = weights.as_primitive::<Int64Type>().values();
                weights.iter().map(|weight| Some(*weight > 0)).collect()
            }
            None => BooleanArray::from(vec![true; groups]),
        }
    }

    /// The results of groups with these weights and states.
    fn results(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let mut at = self.weight_width();
        let mut results = Vec::with_capacity(self.aggregates.len());
        for aggregate in &self.aggregates {
            results.push(aggregate.results(&columns[at..at + aggregate.width])?);
            at += aggregate.width;
        }
        Ok(results)
    }

    /// The rows that leave the output and those that enter it.
    pub(super) fn output(&self, change: &Change) -> Result<Vec<Delta>> {
        let (old, groups) = (change.old, change.found.groups.len());
        let weights = |columns: &[ArrayRef]| {
            columns.first().filter(|_| self.spec.input_updating).map(Arc::clone)
        };
        let was = self.visible(weights(&change.before).as_ref(), old);
        let is = self.visible(weights(&change.after).as_ref(), groups);
        let new = self.results(&change.after)?;
        let (mut leave, mut enter) = (Vec::new(), Vec::new());
        let mut deltas = Vec::with_capacity(2);
        if old > 0 {
            let results = self.results(&change.before)?;
            let mut same = and(&was, &is.slice(0, old))?;
            for (before, after) in results.iter().zip(&new) {
                let after = after.slice(0, old);
                same = and(&same, &equal_values(before, &after, NullEquality::NullEqualsNull)?)?;
            }
            let changed = |row: &u32| !same.value(*row as usize);
            leave.extend((0..).take(old).filter(|row| was.value(*row as usize) && changed(row)));
            enter.extend((0..).take(old).filter(|row| is.value(*row as usize) && changed(row)));
            let columns = change.keys.iter().chain(&results);
            deltas.extend(self.delta(columns, leave, -1)?);
        }
        enter.extend((0..).take(groups).skip(old).filter(|row| is.value(*row as usize)));
        deltas.extend(self.delta(change.keys.iter().chain(&new), enter, 1)?);
        Ok(deltas)
    }

    /// These rows of `columns` as a change of the output.
    fn delta<'a>(
        &self,
        columns: impl Iterator<Item = &'a ArrayRef>,
        rows: Vec<u32>,
        weight: i64,
    ) -> Result<Option<Delta>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let weights = (!self.spec.is_append_only()).then(|| vec![weight; rows.len()].into());
        let rows = UInt32Array::from(rows);
        let column = |(column, field): (&ArrayRef, &FieldRef)| {
            let column = take(column, &rows, None)?;
            if column.data_type() == field.data_type() {
                return Ok(column);
            }
            cast(&column, field.data_type())
        };
        let columns = columns.zip(self.spec.schema.fields()).map(column);
        let columns = columns.collect::<Result<_, ArrowError>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?;
        Ok(Some(Delta { batch, weights }))
    }

    /// Makes what was computed the state.
    pub(super) fn keep(&mut self, change: &Change) -> Result<()> {
        let groups = change.found.groups.len();
        let alive = match change.after.first().filter(|_| self.spec.input_updating) {
            Some(weights) if !self.is_global() => {
                let weights = weights.as_primitive::<Int64Type>().values();
                weights.iter().map(|weight| Some(*weight != 0)).collect()
            }
            _ => BooleanArray::from(vec![true; groups]),
        };
        // The state of keys alone does not change.
        let first = if self.spec.is_append_only() { change.old } else { 0 };
        let all = || (0_u32..).zip(alive.values().iter());
        let gone: Vec<u32> =
            all().take(change.old).filter(|(_, alive)| !alive).map(|(row, _)| row).collect();
        let kept: Vec<u32> =
            all().skip(first).filter(|(_, alive)| *alive).map(|(row, _)| row).collect();
        if !gone.is_empty() {
            let keys = take_arrays(&change.keys, &UInt32Array::from(gone.clone()), None)?;
            self.versions.remove(&change.found.pick(&gone), &keys)?;
        }
        if kept.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<ArrayRef> =
            change.keys.iter().chain(&change.after).map(Arc::clone).collect();
        if kept.len() < groups {
            columns = take_arrays(&columns, &UInt32Array::from(kept.clone()), None)?;
        }
        self.versions.put(change.found.pick(&kept), &columns)
    }
}

/// The weights of groups after the epoch.
fn weights_after(before: Option<&ArrayRef>, touched: &Touched, groups: usize) -> Result<ArrayRef> {
    let mut weights = Vec::with_capacity(groups);
    if let Some(before) = before {
        let before = before.as_primitive_opt::<Int64Type>();
        let before = before.ok_or_else(|| Error::bug("a group lost its weight"))?;
        weights.extend_from_slice(before.values());
    }
    weights.resize(groups, 0);
    for part in &touched.parts {
        for (row, group) in part.groups.iter().enumerate() {
            weights[*group] += part.weights.as_ref().map_or(1, |weights| weights.value(row));
        }
    }
    Ok(Arc::new(Int64Array::from(weights)))
}

fn rows_where(mask: &BooleanArray) -> UInt32Array {
    (0_u32..).zip(mask.values().iter()).filter_map(|(row, holds)| holds.then_some(row)).collect()
}
