//! The order in which a result is shown.
//!
//! A relation has no order, and neither have its changes; but a result that is shown or written as a
//! whole can be shown in the order its query asks for. So the outermost `ORDER BY` of such a query is
//! taken off its plan and remembered. One with a `LIMIT` stays in the plan as well: it decides which
//! rows there are.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort};
use millstream_engine::dataflow::SortKey;

/// A plan and the order in which its rows are shown.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) plan: LogicalPlan,
    /// Empty where the query asks for none, or for one by what is not in its result.
    pub(super) order: Vec<SortKey>,
    /// Whether the plan was sorted and is not any more.
    pub(super) taken_off: bool,
}

impl Ordered {
    /// The optimised plan as it is.
    pub(super) fn untouched(plan: LogicalPlan) -> Self {
        Self { plan, order: Vec::new(), taken_off: false }
    }

    /// The optimised plan without its outermost sort, where that only orders.
    pub(super) fn new(plan: LogicalPlan) -> Self {
        let Some((keys, above)) = outermost_sort(&plan) else { return Self::untouched(plan) };
        let order = keys.expr.iter().map(|key| {
            let column = place(&key.expr, keys.input.schema(), above)?;
            Some(SortKey { column, descending: !key.asc, nulls_first: key.nulls_first })
        });
        let Some(order) = order.collect::<Option<Vec<_>>>() else { return Self::untouched(plan) };
        if keys.fetch.is_some() || matches!(plan, LogicalPlan::Limit(_)) {
            return Self { plan, order, taken_off: false };
        }
        let input = Arc::clone(&keys.input);
        let bare = match above {
            None => Arc::unwrap_or_clone(input),
            Some(above) => {
                let (exprs, schema) = (above.expr.clone(), Arc::clone(&above.schema));
                match Projection::try_new_with_schema(exprs, input, schema) {
                    Ok(projection) => LogicalPlan::Projection(projection),
                    // Then the sort stays, and is refused where it cannot be run.
                    Err(_) => return Self::untouched(plan),
                }
            }
        };
        Self { plan: bare, order, taken_off: true }
    }
}

/// The sort that gives the plan's rows their order, and the projection above it, if there is one.
fn outermost_sort(plan: &LogicalPlan) -> Option<(&Sort, Option<&Projection>)> {
    match plan {
        LogicalPlan::Sort(sort) => Some((sort, None)),
        LogicalPlan::Limit(limit) => outermost_sort(&limit.input),
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) => Some((sort, Some(projection))),
            _ => None,
        },
        _ => None,
    }
}

/// Where the column `key` of the sort's input is in the result.
fn place(key: &Expr, input: &DFSchema, above: Option<&Projection>) -> Option<usize> {
    let Expr::Column(column) = key else { return None };
    let Some(above) = above else { return input.index_of_column(column).ok() };
    above.expr.iter().position(|expr| match expr {
        Expr::Column(shown) => shown == column,
        Expr::Alias(alias) => matches!(alias.expr.as_ref(), Expr::Column(shown) if shown == column),
        _ => false,
    })
}
