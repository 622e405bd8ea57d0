//! Joins of more than two streams by time: the time of a row that is joined already, the later one of its
//! streams, becomes a column, so that the next join has a time on either side.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection};

use crate::rowtime::windowed::{JOINED_AT, MET_AT};

/// What the column is called.
const JOINED: &str = "__joined";

/// The join over inputs in which such times are columns, with the columns of `join`; none where it reads
/// none.
pub(super) fn over_columns(join: &Join) -> Result<Option<LogicalPlan>> {
    let Some(filter) = &join.filter else { return Ok(None) };
    let mut found = None;
    filter.apply(|part| {
        let is_left = |column: &&Column| join.left.schema().has_column(column);
        if is_joined_time(part) && !part.column_refs().is_empty() {
            let columns = part.column_refs();
            let left = columns.iter().filter(|column| is_left(column)).count();
            if left == columns.len() || left == 0 {
                found = Some((part.clone(), left > 0));
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let Some((time, of_left)) = found else { return Ok(None) };
    let side = if of_left { &join.left } else { &join.right };
    let name = format!("{JOINED}_{}", side.schema().fields().len());
    let columns = side.schema().columns().into_iter().map(Expr::Column);
    let columns = columns.chain([time.clone().alias(&name)]).collect();
    let side = Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(side))?));
    let column = Expr::Column(Column::from_name(name));
    let filter = filter.clone().transform(|part| {
        Ok(if part == time { Transformed::yes(column.clone()) } else { Transformed::no(part) })
    })?;
    let (left, right) = match of_left {
        true => (side, Arc::clone(&join.right)),
        false => (Arc::clone(&join.left), side),
    };
    let joined = Join::try_new(
        left,
        right,
        join.on.clone(),
        Some(filter.data),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build().map(Some)
}

fn is_joined_time(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, .. }) => {
            ["greatest", JOINED_AT, MET_AT].contains(&func.name())
        }
        _ => false,
    }
}
