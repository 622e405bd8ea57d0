//! The passes over the syntax tree of a query that turn KDA's forms into ones DataFusion plans.
//!
//! Each keeps the meaning and works anywhere an expression may stand, in `GROUP BY` and subqueries too.
//! None needs to know the columns of a relation; what does is in [`crate::rowtime`].

pub(crate) mod arrival;
mod cast;
pub(crate) mod inline;
mod items;
pub(crate) mod model;
mod modulo;
mod monotonic;
mod pattern;
mod period;
mod qualifier;
mod quantified;
mod refused;
mod row_value;
mod session;
mod text;
mod time;
mod unnest;
mod window;
pub(crate) mod window_table;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, ObjectName, Select, TableFactor, VisitMut, VisitorMut,
};

use crate::error::SqlError;

pub(crate) use cast::arguments as type_arguments;
pub(crate) use pattern::{similar_part, with_backslashes};
pub use window::ARRIVAL_ORDER;

/// Rewrites a query in place.
pub(crate) fn query(query: &mut ast::Query) -> Result<(), SqlError> {
    match query.visit(&mut Rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Rewrites an expression in place.
pub(crate) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    match expr.visit(&mut Rewriter) {
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
        monotonic::select(select);
        let refused = refused::select(select).and_then(|()| refused::stagger(select));
        stop_on(refused.and_then(|()| quantified::select(select)))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        stop_on(
            window_table::table_factor(factor)
                .and_then(|()| items::table_factor(factor))
                .and_then(|()| model::table_factor(factor)),
        )
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<SqlError> {
        // There is one database and one schema, whatever they are called.
        relation.0.drain(..relation.0.len().saturating_sub(1));
        let names = relation.0.iter().filter_map(|part| part.as_ident());
        stop_on(names.into_iter().try_for_each(refused::name))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        session::expression(expr);
        qualifier::negative(expr);
        let rewritten = cast::expression(expr).and_then(|()| quantified::expression(expr));
        stop_on(rewritten.and_then(|()| match expr {
            Expr::Identifier(name) => refused::name(name),
            _ => Ok(()),
        }))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let passes = [
            pattern::expression,
            period::expression,
            text::expression,
            time::expression,
            modulo::expression,
            row_value::expression,
        ];
        stop_on(passes.into_iter().try_for_each(|pass| pass(expr)))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        stop_on(unnest::select(select).and_then(|()| window::select(select)))
    }
}

fn stop_on(result: Result<(), SqlError>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}
