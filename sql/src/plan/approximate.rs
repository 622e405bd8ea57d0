//! Where approximate numbers meet exact ones, both are approximate.
//!
//! DataFusion makes a `DECIMAL` of the `REAL` or `DOUBLE` beside one: large values then have no room, and
//! small ones become zero. Here the exact side becomes `DOUBLE`, as in standard SQL, where the result of
//! an operation on approximate and exact numbers is approximate. A literal beside a `REAL` is read as one, so
//! that `r = 0.1` holds for the `REAL` 0.1.
//!
//! Source: ISO/IEC 9075-2, result of data type combinations.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};

use super::expressions::rewritten;
use super::padded::is_comparison;
use super::typing::MIXED;

/// `plan`, not optimised yet, with the numbers that meet approximate where one of them is.
pub(super) fn met(plan: LogicalPlan) -> Result<LogicalPlan> {
    let see = |node: &LogicalPlan| {
        let mut schema = DFSchema::empty();
        node.inputs().into_iter().for_each(|input| schema.merge(input.schema()));
        Ok(Some(schema))
    };
    rewritten(plan, see, |expr, schema| Ok(met_in(expr, schema)))
}

/// `expr` with the values that meet right below it.
fn met_in(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            unify(vec![binary.left.as_mut(), binary.right.as_mut()], schema)
        }
        Expr::Between(between) => {
            let bounds = [between.low.as_mut(), between.high.as_mut()];
            unify(std::iter::once(between.expr.as_mut()).chain(bounds).collect(), schema)
        }
        Expr::InList(list) => {
            unify(std::iter::once(list.expr.as_mut()).chain(&mut list.list).collect(), schema)
        }
        Expr::Case(case) => {
            let (whens, thens): (Vec<_>, Vec<_>) =
                case.when_then_expr.iter_mut().map(|(w, t)| (w.as_mut(), t.as_mut())).unzip();
            let compared = match case.expr.as_deref_mut() {
                Some(operand) => unify(std::iter::once(operand).chain(whens).collect(), schema),
                None => false,
            };
            let results = thens.into_iter().chain(case.else_expr.as_deref_mut());
            unify(results.collect(), schema) | compared
        }
        Expr::ScalarFunction(call) if MIXED.contains(&call.func.name()) => {
            unify(call.args.iter_mut().collect(), schema)
        }
        _ => false,
    };
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Makes all of `values` approximate if one is and another is a `DECIMAL`; returns whether that was so.
fn unify(values: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> =
        values.iter().map(|value| value.get_type(schema).ok()).collect();
    let is_decimal = |of: &Option<DataType>| of.as_ref().is_some_and(DataType::is_decimal);
    let approximate: Vec<_> = types.iter().flatten().filter(|of| of.is_floating()).collect();
    if approximate.is_empty() || !types.iter().any(is_decimal) {
        return false;
    }
    let all_short = approximate.iter().all(|of| **of == DataType::Float32);
    let only_literals = values
        .iter()
        .zip(&types)
        .all(|(value, of)| !is_decimal(of) || matches!(value, Expr::Literal(..)));
    let common = if all_short && only_literals { DataType::Float32 } else { DataType::Float64 };
    for (value, _) in values.into_iter().zip(&types).filter(|(_, of)| **of != Some(common.clone()))
    {
        let exact = std::mem::take(value);
        *value = cast(exact, common.clone());
    }
    true
}
