//! `x NOT IN (SELECT y FROM … WHERE condition on the row)`: what it says is what this says.
//!
//! ```text
//!   NOT EXISTS (SELECT y FROM … WHERE condition on the row AND (y = x OR y IS NULL OR x IS NULL))
//! ```
//!
//! A comparison with NULL is not known, so a NULL on either side bars the row unless the subquery has no
//! row for it. DataFusion has a join for `NOT IN` without a further condition only.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, not_exists};

/// A filter with each such condition put so.
pub(super) fn rewritten(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    // Within a condition of another kind, not known and false are not the same.
    let is_ours = |expr: &Expr| {
        matches!(expr, Expr::InSubquery(condition)
            if condition.negated && !condition.subquery.outer_ref_columns.is_empty())
    };
    let conjuncts = split_conjunction_owned(filter.predicate.clone());
    if !conjuncts.iter().any(is_ours) {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let schema = filter.input.schema();
    let conjuncts = conjuncts.into_iter().map(|expr| match expr {
        Expr::InSubquery(condition) if is_ours(&Expr::InSubquery(condition.clone())) => {
            without_match(condition, schema)
        }
        other => Ok(other),
    });
    let conjuncts = conjuncts.collect::<Result<Vec<_>>>()?;
    let predicate = conjunction(conjuncts).unwrap_or(filter.predicate);
    Filter::try_new(predicate, filter.input).map(LogicalPlan::Filter).map(Transformed::yes)
}

fn without_match(condition: InSubquery, schema: &DFSchema) -> Result<Expr> {
    let plan = condition.subquery.subquery.as_ref().clone();
    let (qualifier, field) = plan.schema().qualified_field(0);
    let y = Expr::Column(datafusion::common::Column::from((qualifier, field)));
    let x = of_the_row(*condition.expr, schema)?;
    let matches = y.clone().eq(x.clone()).or(y.is_null()).or(x.is_null());
    let plan = LogicalPlanBuilder::from(plan).filter(matches)?.build()?;
    Ok(not_exists(Arc::new(plan)))
}

/// An expression of the row, as it is written inside the subquery.
pub(super) fn of_the_row(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let outside = |expr: Expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    };
    expr.transform_up(outside).map(|transformed| transformed.data)
}
