//! The qualifiers of intervals that a subquery, a view or a grouping gives.
//!
//! A value of ours does not know its qualifier, and the text of `CAST(x.d AS BIGINT)` does not say that of
//! `x.d`; so it is followed from where the interval is made up to the cast.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};

use super::expressions::rewritten;
use crate::functions::{CAST, DIFFERENCE, Family};
use crate::interval::spanned;

/// `plan`, not optimised yet, with the qualifiers of the intervals it casts.
pub(super) fn known(plan: LogicalPlan) -> Result<LogicalPlan> {
    let see = |node: &LogicalPlan| {
        let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
        let mut schema = DFSchema::empty();
        inputs.iter().for_each(|input| schema.merge(input.schema()));
        Ok(Some((inputs, schema)))
    };
    rewritten(plan, see, |expr, (inputs, schema)| Ok(cast(expr, inputs, schema)))
}

/// A cast of an interval whose text does not say the qualifier, with that which is found.
fn cast(mut expr: Expr, inputs: &[LogicalPlan], schema: &DFSchema) -> Transformed<Expr> {
    let Expr::ScalarFunction(call) = &mut expr else { return Transformed::no(expr) };
    let is_unknown = call.func.name() == CAST && text(call, 4) == Some("");
    let found = match call.args.first().filter(|_| is_unknown) {
        Some(value) if is_interval(value, schema) => of(value, inputs),
        _ => None,
    };
    match found {
        Some(qualifier) => {
            call.args[4] = lit(qualifier);
            Transformed::yes(expr)
        }
        None => Transformed::no(expr),
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|of| Family::of(&of) == Family::Interval)
}

/// The text that an argument of a call is.
fn text(call: &ScalarFunction, at: usize) -> Option<&str> {
    match call.args.get(at) {
        Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => Some(text),
        _ => None,
    }
}

/// The qualifier of an expression over `inputs`.
fn of(expr: &Expr, inputs: &[LogicalPlan]) -> Option<String> {
    let of_all = |values: &mut dyn Iterator<Item = &Expr>| {
        values.filter_map(|value| of(value, inputs)).reduce(|a, b| spanned(&a, &b))
    };
    match expr {
        Expr::Column(column) => inputs.iter().find_map(|input| {
            let place = input.schema().maybe_index_of_column(column)?;
            of_column(input, place)
        }),
        Expr::Alias(alias) => of(&alias.expr, inputs),
        Expr::Cast(cast) => of(&cast.expr, inputs),
        Expr::Negative(value) => of(value, inputs),
        Expr::BinaryExpr(binary) => of_all(&mut [&*binary.left, &*binary.right].into_iter()),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            of_all(&mut results.chain(case.else_expr.as_deref()))
        }
        Expr::ScalarFunction(call) => match call.func.name() {
            DIFFERENCE => text(call, 2).map(str::to_owned),
            CAST => text(call, 4).filter(|qualifier| !qualifier.is_empty()).map(str::to_owned),
            _ => of_all(&mut call.args.iter()),
        },
        Expr::AggregateFunction(call) => of_all(&mut call.params.args.iter()),
        Expr::WindowFunction(call) => of_all(&mut call.params.args.iter()),
        _ => None,
    }
}

/// The qualifier of a plan's column.
fn of_column(plan: &LogicalPlan, place: usize) -> Option<String> {
    match plan {
        LogicalPlan::Projection(projection) => {
            of(projection.expr.get(place)?, std::slice::from_ref(&*projection.input))
        }
        LogicalPlan::Aggregate(aggregate) => {
            let made = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).nth(place)?;
            of(made, std::slice::from_ref(&*aggregate.input))
        }
        LogicalPlan::Window(window) => {
            let passed_on = window.input.schema().fields().len();
            match place.checked_sub(passed_on) {
                None => of_column(&window.input, place),
                Some(made) => {
                    of(window.window_expr.get(made)?, std::slice::from_ref(&*window.input))
                }
            }
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match place.checked_sub(left) {
                None => of_column(&join.left, place),
                Some(place) => of_column(&join.right, place),
            }
        }
        LogicalPlan::TableScan(scan) => {
            let place = match &scan.projection {
                Some(projection) => *projection.get(place)?,
                None => place,
            };
            of_column(scan.source.get_logical_plan()?.as_ref(), place)
        }
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Union(_) => of_column(plan.inputs().first()?, place),
        _ => None,
    }
}
