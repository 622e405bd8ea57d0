//! `GROUP BY`: windows that the watermark closes, where a key is a time that only grows; else groups
//! that are kept up to date for ever.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use millstream_engine::dataflow::{NodeId, OperatorSpec};
use millstream_engine::operators::updating_aggregate::UpdatingAggregateSpec;
use millstream_engine::operators::window_aggregate::WindowAggregateSpec;

use super::columns::{Columns, unqualified};
use super::{Translator, column};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

impl Translator<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<NodeId, SqlError> {
        if let Some(node) = self.pane_aggregate(aggregate)? {
            return Ok(node);
        }
        let input = self.plan(&aggregate.input)?;
        if let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() {
            return self.grouping_sets(aggregate, input, sets);
        }
        let mut columns = Columns::over(aggregate.input.schema());
        // A key given twice is two columns of the output, so keys are kept apart by their number.
        let keys: Vec<usize> = aggregate.group_expr.iter().map(|key| columns.add(key)).collect();
        let calls: Vec<Expr> =
            aggregate.aggr_expr.iter().map(|call| replace(call, &mut columns)).collect();
        let schema = columns.schema()?;
        let projected = self.project(input, columns.physical()?, &schema);
        let output = Arc::new(aggregate.schema.as_arrow().clone());
        self.aggregated(&output, projected, keys, &calls)
    }

    /// The operator that computes `calls` per group of `keys`, over columns of the node `input`; what it
    /// gives are the keys, then the results.
    pub(super) fn aggregated(
        &mut self,
        output: &SchemaRef,
        input: NodeId,
        keys: Vec<usize>,
        calls: &[Expr],
    ) -> Result<NodeId, SqlError> {
        let schema = Arc::clone(&self.dataflow.node(input).schema);
        let (aggregates, filters) = calls_over(&schema, calls)?;
        let output = Arc::clone(output);
        let input_updating = self.dataflow.node(input).updating;
        let timed = self.timed(input);
        let is_time = |key: &usize| timed.get(keys[*key]).is_some();
        let time_keys: Vec<usize> = (0..keys.len()).filter(is_time).collect();
        if time_keys.is_empty() || input_updating {
            let spec = UpdatingAggregateSpec {
                keys,
                aggregates,
                filters,
                input_schema: schema,
                schema: Arc::clone(&output),
                input_updating,
            };
            // What an operator cannot be built of is said before anything runs.
            spec.build().map_err(|error| SqlError {
                message: error.message().to_owned(),
                hint: error.hint().map(str::to_owned),
                span: None,
            })?;
            let updating = !spec.is_append_only();
            return Ok(self.operator(output, updating, vec![input], spec));
        }
        let counts_arrivals = |call: &Arc<AggregateFunctionExpr>| {
            matches!(call.fun().name(), "first_value" | "last_value")
        };
        if aggregates.iter().any(counts_arrivals) {
            self.in_arrival_order(input, &keys);
        }
        let named = keys.iter().zip(output.fields());
        let spec = WindowAggregateSpec {
            keys: named.map(|(key, field)| (column(&schema, *key), field.name().clone())).collect(),
            time_keys,
            aggregates,
            filters,
            input_schema: Arc::clone(&schema),
            schema: Arc::clone(&output),
        };
        Ok(self.operator(output, false, vec![input], spec))
    }
}

pub(super) type Calls = (Vec<Arc<AggregateFunctionExpr>>, Vec<Option<Arc<dyn PhysicalExpr>>>);

/// The aggregates and their filters, over columns of `schema`.
pub(super) fn calls_over(schema: &SchemaRef, calls: &[Expr]) -> Result<Calls, SqlError> {
    let logical = unqualified(schema)?;
    let mut aggregates = Vec::with_capacity(calls.len());
    let mut filters = Vec::with_capacity(calls.len());
    for call in calls {
        let props = ExecutionProps::new();
        let lowered = LoweredAggregateBuilder::new(call, &logical, schema, &props).build();
        let lowered = lowered.map_err(|error| from_datafusion(&error))?;
        aggregates.push(lowered.aggregate);
        filters.push(lowered.filter);
    }
    Ok((aggregates, filters))
}

/// An aggregate over the columns of a projection.
pub(super) fn replace(call: &Expr, columns: &mut Columns<'_>) -> Expr {
    match call {
        Expr::Alias(alias) => replace(&alias.expr, columns).alias(alias.name.clone()),
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            Expr::AggregateFunction(AggregateFunction {
                func: Arc::clone(func),
                params: columns.replace_aggregate(params),
            })
        }
        other => other.clone(),
    }
}
