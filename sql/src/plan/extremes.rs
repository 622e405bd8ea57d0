//! `MIN` and `MAX` of structs. DataFusion passes over the parts that are NULL in one of two structs, so
//! that which one is the least depends on the order the rows come in. Here the parts decide one after the
//! other, one that is NULL behind all others; a struct that is NULL itself does not take part.
//!
//! ```text
//!   MIN(s)  →  FIRST_VALUE(s ORDER BY s IS NULL, s.a NULLS LAST, s.b NULLS LAST, …)
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Fields};
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, Sort};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit,
};

use super::functions::{call, functions};

/// `plan`, an aggregate, with such `MIN` and `MAX`; its columns keep their names.
pub(super) fn rewritten(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
    let rewritten = |expr: &Expr| {
        let of_structs = extreme(expr, &aggregate)?;
        Ok(of_structs.unwrap_or_else(|| expr.clone()))
    };
    let changed = aggregate.aggr_expr.iter().map(rewritten).collect::<Result<Vec<_>>>()?;
    if changed == aggregate.aggr_expr {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let names = aggregate.schema.columns();
    let Aggregate { input, group_expr, .. } = aggregate;
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, changed)?);
    let columns = plan.schema().columns().into_iter().zip(names).map(|(column, name)| {
        let is_same = column == name;
        let column = Expr::Column(column);
        if is_same { column } else { column.alias_qualified(name.relation, name.name) }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build().map(Transformed::yes)
}

/// What stands in the place of a `MIN` or `MAX`, if it is one of structs.
fn extreme(expr: &Expr, aggregate: &Aggregate) -> Result<Option<Expr>> {
    let Expr::AggregateFunction(function) = expr else { return Ok(None) };
    let is_max = function.func.name() == "max";
    let [value] = function.params.args.as_slice() else { return Ok(None) };
    if !is_max && function.func.name() != "min" {
        return Ok(None);
    }
    let DataType::Struct(fields) = value.get_type(aggregate.input.schema())? else {
        return Ok(None);
    };
    let mut order_by = vec![value.clone().is_null().sort(true, false)];
    parts(value, &fields, is_max, &mut order_by);
    Ok(Some(Expr::AggregateFunction(AggregateFunction {
        func: Arc::clone(&functions().aggregate["first_value"]),
        params: AggregateFunctionParams {
            args: vec![value.clone()],
            distinct: false,
            filter: function.params.filter.clone(),
            order_by,
            null_treatment: None,
        },
    })))
}

/// Adds the parts of `value` to an order, those of its parts that are structs among them.
fn parts(value: &Expr, fields: &Fields, descending: bool, order_by: &mut Vec<Sort>) {
    for field in fields {
        let part = call("get_field", vec![value.clone(), lit(field.name().as_str())]);
        match field.data_type() {
            DataType::Struct(fields) => parts(&part, fields, descending, order_by),
            _ => order_by.push(part.sort(!descending, false)),
        }
    }
}
