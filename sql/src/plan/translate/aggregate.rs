//! `GROUP BY`: windows that the watermark closes, where a key is a time that only grows; else groups
//! that are kept up to date for ever.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::updating_aggregate::UpdatingAggregateSpec;
use millstream_engine::operators::window_aggregate::WindowAggregateSpec;

use super::columns::{Columns, unqualified};
use super::{Translator, column};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;

impl Translator<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<NodeId, SqlError> {
        let input = self.plan(&aggregate.input)?;
        if self.is_table(input) {
            return Err(SqlError::new("the query aggregates tables alone")
                .with_hint("ask once instead: SELECT without STREAM"));
        }
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(SqlError::new("GROUPING SETS, ROLLUP and CUBE cannot run continuously")
                .with_hint("write one GROUP BY per set and UNION ALL them"));
        }
        let mut columns = Columns::over(aggregate.input.schema());
        // A key given twice is two columns of the output, so keys are kept apart by their number.
        let keys: Vec<usize> = aggregate.group_expr.iter().map(|key| columns.add(key)).collect();
        let calls: Vec<Expr> =
            aggregate.aggr_expr.iter().map(|call| replace(call, &mut columns)).collect();
        let schema = columns.schema()?;
        let projected = self.project(input, columns.physical()?, &schema);
        let (aggregates, filters) = calls_over(&schema, &calls)?;
        let output = Arc::new(aggregate.schema.as_arrow().clone());
        let input_updating = self.dataflow.node(projected).updating;
        let timed = self.timed(projected);
        let time_key = keys.iter().position(|key| timed.get(*key).is_some());
        let Some(time_key) = time_key.filter(|_| !input_updating) else {
            let spec = UpdatingAggregateSpec {
                keys,
                aggregates,
                filters,
                input_schema: schema,
                schema: Arc::clone(&output),
                input_updating,
            };
            let updating = !spec.is_append_only();
            return Ok(self.operator(output, updating, vec![projected], spec));
        };
        let named = keys.iter().zip(output.fields());
        let spec = WindowAggregateSpec {
            keys: named.map(|(key, field)| (column(&schema, *key), field.name().clone())).collect(),
            time_key,
            aggregates,
            filters,
            input_schema: Arc::clone(&schema),
            schema: Arc::clone(&output),
            time_input: keys[time_key],
        };
        Ok(self.operator(output, false, vec![projected], spec))
    }
}

type Calls = (Vec<Arc<AggregateFunctionExpr>>, Vec<Option<Arc<dyn PhysicalExpr>>>);

/// The aggregates and their filters, over columns of `schema`.
fn calls_over(schema: &SchemaRef, calls: &[Expr]) -> Result<Calls, SqlError> {
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

fn replace(call: &Expr, columns: &mut Columns<'_>) -> Expr {
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
