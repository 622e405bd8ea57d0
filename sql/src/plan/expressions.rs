//! Rewriting the expressions of a plan that is not optimised yet.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// `plan` with every expression and part of one rewritten, parts first, subqueries too; columns keep their
/// names. `see` says what the expressions of a node see; they stay as they are where it is nothing.
///
/// # Errors
///
/// Those of `see` and `rewrite`.
pub(super) fn rewritten<S>(
    plan: LogicalPlan,
    see: impl Fn(&LogicalPlan) -> Result<Option<S>>,
    rewrite: impl Fn(Expr, &S) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let Some(seen) = see(&node)? else { return Ok(Transformed::no(node)) };
        // A column keeps its name, whatever stands in its expression now.
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| rewrite(expr, &seen))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(rewritten.data)
}
