//! Aggregation without a window: `GROUP BY` keys that no watermark closes, or none at all.
//!
//! Every epoch takes back the rows of the groups it touches and gives their new ones; a row that is
//! the same as before does not come out.
//!
//! ```text
//!   rows ─► touched groups ─► old state ──┬─► new state ─► versions (and the next snapshot)
//!                                         │       │
//!                                  old row: -1   new row: +1
//! ```
//!
//! State is never read destructively: an epoch merges the old state of the touched groups with what it
//! brings into new, immutable rows ([`versions`]). Aggregates that cannot take back what they have
//! seen are computed anew from the rows of the touched groups ([`kept`]).
//!
//! Keys alone (`DISTINCT`) over rows that are only added need no taking back: each key comes out once.
//!
//! Invariant: after every epoch the sum of the output is the batch answer for the sum of the input.

mod aggregates;
mod exact;
mod kept;
#[cfg(test)]
mod tests;
mod touched;
mod versions;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{and, cast, take, take_arrays};
use arrow::datatypes::{Field, FieldRef, Int64Type, Schema, SchemaRef};
use datafusion::common::NullEquality;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use self::aggregates::{Aggregate, Class};
use self::kept::KeptRows;
use self::touched::{Rows, Touched};
use self::versions::{Found, NONE, Versions};
use super::isolate::isolate;
use super::row_index::equal_values;
use super::{EpochContext, Input, Operator, Output, StateBatch};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::Watermarks;

const GROUPS: &str = "groups";
const ROWS: &str = "rows";

/// An aggregation without a window as planned.
#[derive(Debug, Clone)]
pub struct UpdatingAggregateSpec {
    /// The columns of the input to group by. Without any there is one group, which is never empty of
    /// a result: it has a row before the first row of the input has come.
    pub keys: Vec<usize>,
    /// What is computed per group, over columns and literals. An AVG of integers is cheap to take back
    /// if the cast that DataFusion plans for it is part of the argument, dear if it is a column's.
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// The `FILTER (WHERE …)` of each aggregate.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The columns of the input.
    pub input_schema: SchemaRef,
    /// The columns of the output: the keys, then the aggregates.
    pub schema: SchemaRef,
    /// Whether the input can take back rows.
    pub input_updating: bool,
}

impl UpdatingAggregateSpec {
    /// Whether the output takes back no row and so carries no weights: that of keys alone over an
    /// input that takes back none.
    pub fn is_append_only(&self) -> bool {
        self.aggregates.is_empty() && !self.input_updating
    }

    fn aggregates(&self) -> Result<Vec<Aggregate>> {
        let flags = (self.input_updating, self.keys.is_empty());
        let each = self.aggregates.iter().zip(&self.filters);
        each.map(|(aggregate, filter)| {
            Aggregate::new(aggregate, filter.as_ref(), &self.input_schema, flags)
        })
        .collect()
    }

    fn key_schema(&self) -> Result<SchemaRef> {
        Ok(Arc::new(self.input_schema.project(&self.keys)?))
    }
}

impl OperatorSpec for UpdatingAggregateSpec {
    fn name(&self) -> &'static str {
        "UpdatingAggregate"
    }

    fn explain(&self) -> Explanation {
        let keys: Vec<_> =
            self.schema.fields().iter().take(self.keys.len()).map(|f| f.name().as_str()).collect();
        let names: Vec<_> = self.aggregates.iter().map(|a| a.name()).collect();
        let kept = self.aggregates().unwrap_or_default();
        let kept: Vec<_> =
            kept.iter().filter(|a| a.class == Class::Rows).map(Aggregate::name).collect();
        let keeps = if !kept.is_empty() {
            format!("every row per group, for {}", kept.join(", "))
        } else if self.aggregates.is_empty() {
            "every group".to_owned()
        } else {
            format!("the state of {} aggregates per group", self.aggregates.len())
        };
        // The state of a single group is a handful of numbers, unless its rows are kept.
        let bounded = self.keys.is_empty() && kept.is_empty();
        Explanation {
            detail: format!("keys=[{}] aggregates=[{}]", keys.join(", "), names.join(", ")),
            keeps: if bounded { String::new() } else { keeps },
            freed_by: String::new(),
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        if self.keys.is_empty() {
            return Distribution::Single;
        }
        Distribution::Hash(self.keys.clone())
    }

    fn watermarks(&self, _inputs: &[Watermarks]) -> Watermarks {
        // A group of any age may change: no bound on the times among its columns holds.
        Watermarks::none(self.schema.fields().len())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.keys.is_empty() && self.aggregates.is_empty() {
            return Err(Error::bug("an aggregation needs a key or an aggregate"));
        }
        if self.filters.len() != self.aggregates.len()
            || self.schema.fields().len() != self.keys.len() + self.aggregates.len()
        {
            return Err(Error::bug("the columns of an aggregation do not match its schema"));
        }
        let (aggregates, key_schema) = (self.aggregates()?, self.key_schema()?);
        let kept = KeptRows::new(&aggregates, &key_schema, &self.input_schema)?;
        let versions = Versions::new();
        Ok(Box::new(UpdatingAggregate {
            spec: self.clone(),
            aggregates,
            key_schema,
            versions,
            kept,
        }))
    }
}

#[derive(Debug)]
struct UpdatingAggregate {
    spec: UpdatingAggregateSpec,
    aggregates: Vec<Aggregate>,
    key_schema: SchemaRef,
    /// Per group: its keys, with an updating input the sum of its rows' weights, and the state of each
    /// aggregate.
    versions: Versions,
    /// The rows of every group, if an aggregate needs them.
    kept: Option<KeptRows>,
}

/// The touched groups, those that were there before first: their keys, and what was and will be kept.
#[derive(Debug)]
struct Change {
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
    fn is_global(&self) -> bool {
        self.spec.keys.is_empty()
    }

    /// The number of columns of a version in front of the states.
    fn weight_width(&self) -> usize {
        usize::from(self.spec.input_updating)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Rows, DataFusionError> {
        let mut rows = Rows {
            keys: self.spec.keys.iter().map(|key| Arc::clone(batch.column(*key))).collect(),
            ..Rows::default()
        };
        for aggregate in &self.aggregates {
            rows.arguments.push(aggregate.evaluate(batch)?);
            let filter = aggregate.filter.as_ref();
            let filter = filter.map(|f| f.evaluate(batch)?.into_array(batch.num_rows()));
            rows.filters.push(filter.transpose()?.map(|filter| filter.as_boolean().clone()));
        }
        Ok(rows)
    }

    /// Takes in the rows of the epoch.
    fn take_in(
        &mut self,
        cx: &EpochContext,
        deltas: Vec<Delta>,
        output: &mut Output,
    ) -> Result<Touched> {
        let mut touched = Touched::new(&self.key_schema)?;
        for delta in deltas.into_iter().filter(|delta| delta.num_rows() > 0) {
            if delta.weights.is_some() && !self.spec.input_updating {
                return Err(Error::bug(
                    "an aggregation planned for added rows cannot take rows back",
                ));
            }
            let parts = isolate(cx, delta, &|batch| self.evaluate(batch), &mut output.bad)?;
            for (Delta { batch, weights }, rows) in parts {
                if let Some(kept) = &mut self.kept {
                    kept.apply(&rows, weights.as_ref())?;
                }
                touched.add(rows, weights, batch.num_rows())?;
            }
        }
        if self.is_global() && touched.count() == 0 && self.versions.is_empty() {
            let nothing =
                self.evaluate(&RecordBatch::new_empty(Arc::clone(&self.spec.input_schema)))?;
            touched.add(nothing, None, 0)?;
        }
        Ok(touched)
    }

    /// What the epoch changes in the groups it touches.
    fn change(&self, mut touched: Touched) -> Result<Change> {
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
        let mut at = self.weight_width();
        for (number, aggregate) in self.aggregates.iter().enumerate() {
            let state = before.get(at..at + aggregate.width).unwrap_or_default();
            at += aggregate.width;
            if let Some(place) = results.iter().position(|(other, _)| *other == number) {
                after.push(results.swap_remove(place).1);
            } else {
                after.extend(aggregate.advance(number, state, &touched.parts, groups)?);
            }
        }
        Ok(Change { found, old, keys, before, after })
    }

    /// The weight and the states of groups; nothing for no groups.
    fn picked(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let picked = self.versions.pick(groups);
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
    fn output(&self, change: &Change) -> Result<Vec<Delta>> {
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
        let columns = columns.collect::<Result<_, arrow::error::ArrowError>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?;
        Ok(Some(Delta { batch, weights }))
    }

    /// Makes what was computed the state.
    fn keep(&mut self, change: &Change) -> Result<()> {
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

    /// Brings back groups; where a key is there more than once its last row counts.
    fn restore_groups(&mut self, rows: &RecordBatch) -> Result<()> {
        let width = self.spec.keys.len();
        let mut touched = Touched::new(&self.key_schema)?;
        let keys = rows.columns()[..width].to_vec();
        touched.add(Rows { keys, ..Rows::default() }, None, rows.num_rows())?;
        let groups = touched.count();
        let mut last = vec![0_u32; groups];
        for (row, group) in (0..).zip(&touched.parts[0].groups) {
            last[*group] = row;
        }
        let keys = touched.take_keys()?;
        let found = self.versions.find(&keys, groups)?;
        let mut columns = take_arrays(rows.columns(), &UInt32Array::from(last), None)?;
        columns.splice(..width, keys);
        // The only group of an aggregation without keys is never gone.
        let weights = (self.spec.input_updating && !self.is_global())
            .then(|| columns[width].as_primitive::<Int64Type>().clone());
        let gone = |row: usize| weights.as_ref().is_some_and(|weights| weights.value(row) == 0);
        let (gone, alive): (Vec<u32>, Vec<u32>) =
            (0..).take(groups).partition(|row| gone(*row as usize));
        let gone: Vec<u32> =
            gone.into_iter().filter(|row| found.groups[*row as usize] != NONE).collect();
        let gone_keys = take_arrays(&columns[..width], &UInt32Array::from(gone.clone()), None)?;
        self.versions.remove(&found.pick(&gone), &gone_keys)?;
        let columns = take_arrays(&columns, &UInt32Array::from(alive.clone()), None)?;
        if !alive.is_empty() {
            self.versions.put(found.pick(&alive), &columns)?;
        }
        // All of it is in a snapshot already.
        self.versions.take_changes()?;
        Ok(())
    }

    /// Groups that are gone, as rows of a snapshot: keys, a weight of zero, no states.
    fn gone(&self, mut columns: Vec<ArrayRef>) -> Vec<ArrayRef> {
        let rows = columns.first().map_or(0, |key| key.len());
        columns.push(Arc::new(Int64Array::from(vec![0; rows])));
        let types = self.aggregates.iter().flat_map(Aggregate::state_types);
        columns.extend(types.map(|data_type| new_null_array(&data_type, rows)));
        columns
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

fn state_batch(columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let field = |(i, column): (usize, &ArrayRef)| {
        Field::new(format!("column_{i}"), column.data_type().clone(), true)
    };
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

impl Operator for UpdatingAggregate {
    fn step(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let [input] = <[Input; 1]>::try_from(inputs)
            .map_err(|_| Error::bug("an aggregation has one input"))?;
        let mut output = Output::default();
        let touched = self.take_in(cx, input.deltas, &mut output)?;
        if touched.count() > 0 {
            let change = self.change(touched)?;
            output.deltas = self.output(&change)?;
            self.keep(&change)?;
        }
        Ok(output)
    }

    fn snapshot(&mut self) -> Result<Vec<StateBatch>> {
        let changes = self.versions.take_changes()?;
        let mut state = Vec::new();
        for keys in changes.removed {
            state.push(StateBatch { part: GROUPS, rows: state_batch(self.gone(keys))? });
        }
        if changes.count > 0 {
            state.push(StateBatch { part: GROUPS, rows: state_batch(changes.rows)? });
        }
        if let Some(kept) = &mut self.kept {
            let rows = kept.snapshot()?.into_iter();
            state.extend(rows.map(|rows| StateBatch { part: ROWS, rows }));
        }
        Ok(state)
    }

    fn restore(&mut self, state: Vec<StateBatch>) -> Result<()> {
        let not_ours = || Error::bug("not the state of an aggregation");
        let widths: usize = self.aggregates.iter().map(|aggregate| aggregate.width).sum();
        let width = self.spec.keys.len() + self.weight_width() + widths;
        for StateBatch { part, rows } in state {
            match part {
                GROUPS if rows.num_columns() == width => self.restore_groups(&rows)?,
                ROWS => self.kept.as_mut().ok_or_else(not_ours)?.restore(&rows)?,
                _ => return Err(not_ours()),
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.versions.memory_bytes() + self.kept.as_ref().map_or(0, KeptRows::memory_bytes)
    }
}
