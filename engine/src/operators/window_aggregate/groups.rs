//! The groups of one window: DataFusion's table of keys and one vectorised accumulator per aggregate.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use crate::error::{Error, Result};

/// What the groups of every window have in common.
#[derive(Debug)]
pub(in crate::operators) struct GroupLayout {
    /// The keys beside the time.
    keys: SchemaRef,
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// What each aggregate reads of a row: its arguments, then what it is ordered by.
    arguments: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    /// How many columns the state of each aggregate has.
    state_widths: Vec<usize>,
}

impl GroupLayout {
    pub(in crate::operators) fn new(
        keys: Vec<Field>,
        aggregates: Vec<Arc<AggregateFunctionExpr>>,
    ) -> Result<Self> {
        let mut arguments = Vec::with_capacity(aggregates.len());
        let mut state_widths = Vec::with_capacity(aggregates.len());
        for aggregate in &aggregates {
            let order = aggregate.order_bys().iter().map(|order| Arc::clone(&order.expr));
            arguments.push(aggregate.expressions().into_iter().chain(order).collect());
            state_widths.push(aggregate.state_fields()?.len());
        }
        Ok(Self { keys: Arc::new(Schema::new(keys)), aggregates, arguments, state_widths })
    }

    /// The rows of `batch`, whose keys are known, with the `FILTER` of each aggregate.
    pub(in crate::operators) fn rows(
        &self,
        batch: &RecordBatch,
        keys: Vec<ArrayRef>,
        filters: &[Option<Arc<dyn PhysicalExpr>>],
    ) -> Result<Rows> {
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| -> Result<ArrayRef> {
            Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)
        };
        let of_aggregate =
            |exprs: &Vec<Arc<dyn PhysicalExpr>>| exprs.iter().map(evaluate).collect();
        let arguments = self.arguments.iter().map(of_aggregate).collect::<Result<_>>()?;
        let filter = |filter: &Option<Arc<dyn PhysicalExpr>>| -> Result<Option<BooleanArray>> {
            let filter = filter.as_ref().map(evaluate).transpose()?;
            Ok(filter.map(|filter| filter.as_boolean().clone()))
        };
        let filters = filters.iter().map(filter).collect::<Result<_>>()?;
        Ok(Rows { keys, arguments, filters })
    }

    fn accumulators(&self) -> Result<Vec<Box<dyn GroupsAccumulator>>> {
        let accumulator = |aggregate: &Arc<AggregateFunctionExpr>| -> Result<_> {
            if aggregate.groups_accumulator_supported() {
                return Ok(aggregate.create_groups_accumulator()?);
            }
            let aggregate = Arc::clone(aggregate);
            let one = move || aggregate.create_accumulator();
            Ok(Box::new(GroupsAccumulatorAdapter::new(one)) as Box<dyn GroupsAccumulator>)
        };
        self.aggregates.iter().map(accumulator).collect()
    }
}

/// Rows to accumulate: everything evaluated, nothing split.
#[derive(Debug)]
pub(in crate::operators) struct Rows {
    pub(in crate::operators) keys: Vec<ArrayRef>,
    pub(in crate::operators) arguments: Vec<Vec<ArrayRef>>,
    pub(in crate::operators) filters: Vec<Option<BooleanArray>>,
}

impl Rows {
    /// The rows in another order.
    pub(in crate::operators) fn reordered(&self, order: &UInt32Array) -> Result<Self> {
        let keys = take_arrays(&self.keys, order, None)?;
        let arguments = self.arguments.iter().map(|of_one| take_arrays(of_one, order, None));
        let arguments = arguments.collect::<Result<_, _>>()?;
        let mut filters = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            let filter = filter.as_ref().map(|filter| take(filter, order, None)).transpose()?;
            filters.push(filter.map(|filter| BooleanArray::from(filter.to_data())));
        }
        Ok(Self { keys, arguments, filters })
    }

    /// `count` rows from `start` on, without a copy.
    pub(in crate::operators) fn slice(&self, start: usize, count: usize) -> Self {
        let cut = |columns: &Vec<ArrayRef>| -> Vec<ArrayRef> {
            columns.iter().map(|column| column.slice(start, count)).collect()
        };
        let filter = |filter: &Option<BooleanArray>| {
            filter.as_ref().map(|filter| filter.slice(start, count))
        };
        Self {
            keys: cut(&self.keys),
            arguments: self.arguments.iter().map(cut).collect(),
            filters: self.filters.iter().map(filter).collect(),
        }
    }
}

/// The groups of one window.
pub(in crate::operators) struct Groups {
    layout: Arc<GroupLayout>,
    /// `None` where the time is the only key: there is one group.
    keys: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("groups", &self.count()).finish_non_exhaustive()
    }
}

impl Groups {
    pub(in crate::operators) fn new(layout: &Arc<GroupLayout>) -> Result<Self> {
        let keys = (!layout.keys.fields().is_empty())
            .then(|| new_group_values(Arc::clone(&layout.keys), &GroupOrdering::None))
            .transpose()?;
        Ok(Self { layout: Arc::clone(layout), keys, accumulators: layout.accumulators()? })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.keys.as_ref().map_or(1, |keys| keys.len())
    }

    /// The group of each of `count` rows, into `indices`.
    fn intern(&mut self, keys: &[ArrayRef], count: usize, indices: &mut Vec<usize>) -> Result<()> {
        indices.clear();
        match &mut self.keys {
            Some(table) => table.intern(keys, indices)?,
            None => indices.resize(count, 0),
        }
        Ok(())
    }

    /// Accumulates rows. `indices` is scratch space.
    pub(in crate::operators) fn update(
        &mut self,
        rows: &Rows,
        count: usize,
        indices: &mut Vec<usize>,
    ) -> Result<()> {
        self.intern(&rows.keys, count, indices)?;
        let groups = self.count();
        let each = self.accumulators.iter_mut().zip(&rows.arguments).zip(&rows.filters);
        for ((accumulator, arguments), filter) in each {
            accumulator.update_batch(arguments, indices, filter.as_ref(), groups)?;
        }
        Ok(())
    }

    /// Accumulates partial states, as [`Groups::into_state`] made them.
    pub(in crate::operators) fn merge(&mut self, part: &RecordBatch) -> Result<()> {
        let keys = self.layout.keys.fields().len();
        let states: usize = self.layout.state_widths.iter().sum();
        if part.num_columns() != keys + states {
            return Err(Error::bug("the state of a windowed aggregate has other columns"));
        }
        let (keys, mut states) = part.columns().split_at(keys);
        let mut indices = Vec::with_capacity(part.num_rows());
        self.intern(keys, part.num_rows(), &mut indices)?;
        let groups = self.count();
        let layout = Arc::clone(&self.layout);
        for (accumulator, width) in self.accumulators.iter_mut().zip(&layout.state_widths) {
            let (state, rest) = states.split_at(*width);
            accumulator.merge_batch(state, &indices, None, groups)?;
            states = rest;
        }
        Ok(())
    }

    /// The keys and the partial states, one row per group. Reading them empties the accumulators,
    /// hence `self`.
    pub(in crate::operators) fn into_state(mut self) -> Result<RecordBatch> {
        let groups = self.count();
        let mut columns = self.emit_keys()?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        let field = |(i, column): (usize, &ArrayRef)| {
            Field::new(format!("column_{i}"), column.data_type().clone(), true)
        };
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        // There is no column where the time is the only key and nothing is computed.
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
    }

    /// The number of groups, their keys and their results.
    pub(in crate::operators) fn into_results(mut self) -> Result<(usize, Vec<ArrayRef>)> {
        let groups = self.count();
        let mut columns = self.emit_keys()?;
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(EmitTo::All)?);
        }
        Ok((groups, columns))
    }

    fn emit_keys(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(self.keys.as_mut().map(|keys| keys.emit(EmitTo::All)).transpose()?.unwrap_or_default())
    }

    pub(in crate::operators) fn memory_bytes(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.size());
        keys + self.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }
}
