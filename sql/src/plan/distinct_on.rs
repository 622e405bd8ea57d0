//! `SELECT DISTINCT ON (keys) … ORDER BY keys, order`: the first row of each key, which is what this says.
//!
//! ```text
//!   SELECT … FROM (…, ROW_NUMBER() OVER (PARTITION BY keys ORDER BY order) AS n) WHERE n = 1
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Distinct, Expr, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFunctionDefinition, col,
    lit,
};

use super::functions::functions;

/// The number of a row among those of its key.
const NUMBER: &str = "__distinct_on";

/// A `DISTINCT ON` put so.
pub(super) fn rewritten(distinct: Distinct) -> Result<Transformed<LogicalPlan>> {
    let on = match distinct {
        Distinct::On(on) => on,
        all @ Distinct::All(_) => return Ok(Transformed::no(LogicalPlan::Distinct(all))),
    };
    let order = on.sort_expr.unwrap_or_default();
    if order.is_empty() {
        return plan_err!("DISTINCT ON needs an ORDER BY: which row of each key is the first");
    }
    let params = WindowFunctionParams {
        args: Vec::new(),
        partition_by: on.on_expr,
        order_by: order,
        window_frame: WindowFrame::new(Some(false)),
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let function = Arc::clone(&functions().window["row_number"]);
    let fun = WindowFunctionDefinition::WindowUDF(function);
    let number = Expr::from(WindowFunction { fun, params }).alias(NUMBER);
    LogicalPlanBuilder::from(on.input)
        .window(vec![number])?
        .filter(col(NUMBER).eq(lit(1_u64)))?
        .project(on.select_expr)?
        .build()
        .map(Transformed::yes)
}
