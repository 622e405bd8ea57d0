//! The passes over the syntax tree of a query that turn KDA's forms into ones DataFusion plans.
//!
//! Each keeps the meaning and works anywhere an expression may stand, in `GROUP BY` and subqueries too.
//! None needs to know the columns of a relation; what does is in [`crate::rowtime`].

mod refused;
mod time;
mod window;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, Select, VisitMut, VisitorMut};

use crate::error::SqlError;
use crate::stack::with_room;

pub use window::ARRIVAL_ORDER;

/// Rewrites a query in place.
pub(crate) fn query(query: &mut ast::Query) -> Result<(), SqlError> {
    match with_room(|| query.visit(&mut Rewriter)) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<SqlError> {
        stop_on(refused::query(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        stop_on(refused::select(select))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        stop_on(time::expression(expr))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        stop_on(window::select(select))
    }
}

fn stop_on(result: Result<(), SqlError>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}
