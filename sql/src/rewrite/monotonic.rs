//! `GROUP BY MONOTONIC(STEP(time BY …))`: the promise that a time of the rows' own only grows.
//!
//! It is taken at its word: that time becomes the row's (`… AS ROWTIME`), as it would in a pump of its own,
//! and a row on which the promise breaks is late. Over `ROWTIME` itself nothing is promised that is not so
//! anyway.
//!
//! Source: "MONOTONIC" of the Kinesis Data Analytics SQL reference.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, DateTimeField, Expr, GroupByExpr, Ident, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, Select, SelectItem, Spanned, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use millstream_engine::definition::ROWTIME;

use crate::statement::clauses::WITHIN;
use crate::syntax::{self, arguments_of, call, ident_of};

/// Makes the time of such a grouping the row's.
pub(super) fn select(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    let Some(time) = keys.iter().find_map(promised) else { return };
    let [from] = select.from.as_mut_slice() else { return };
    let TableFactor::Table { name, alias, args: None, .. } = &mut from.relation else { return };
    let Some(named) =
        alias.as_ref().map(|alias| alias.name.clone()).or_else(|| ident_of(name).cloned())
    else {
        return;
    };
    if !from.joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return;
    }
    let wildcard = SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
    let shown = SelectItem::ExprWithAlias { expr: time.clone(), alias: Ident::new(ROWTIME) };
    let inner = syntax::select(vec![wildcard, shown], from.relation.clone());
    let mut query = syntax::query(ast::SetExpr::Select(Box::new(inner)));
    let no_wait = syntax::interval("0", DateTimeField::Second);
    query.order_by = Some(OrderBy {
        kind: OrderByKind::Expressions(vec![OrderByExpr {
            expr: call(WITHIN, time.span(), vec![time.clone(), no_wait]),
            options: OrderByOptions { asc: None, nulls_first: None },
            with_fill: None,
        }]),
        interpolate: None,
    });
    let mut derived = syntax::derived(query);
    if let TableFactor::Derived { alias, .. } = &mut derived {
        *alias =
            Some(TableAlias { explicit: true, name: named.clone(), columns: Vec::new(), at: None });
    }
    let mut replace = Replace {
        wanted: time.to_string(),
        by: Expr::CompoundIdentifier(vec![named, Ident::new(ROWTIME)]),
    };
    let _never_stops = select.visit(&mut replace);
    if let [from] = select.from.as_mut_slice() {
        from.relation = derived;
    }
}

/// The time that `key` promises, if it is one of the row's own.
fn promised(key: &Expr) -> Option<Expr> {
    let arguments = arguments_of(key, "MONOTONIC")?;
    let [promised] = arguments.as_slice() else { return None };
    let time = rounded(promised);
    let is_rowtime = match time {
        Expr::Identifier(name) => is_rowtime(name),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(is_rowtime),
        Expr::Function(_) => time.to_string().to_uppercase().contains(ROWTIME),
        _ => true,
    };
    (!is_rowtime).then(|| time.clone())
}

fn is_rowtime(name: &Ident) -> bool {
    name.value.eq_ignore_ascii_case(ROWTIME)
}

/// What `expr` rounds, if it rounds anything.
fn rounded(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => rounded(inner),
        Expr::Floor { expr, .. } | Expr::Ceil { expr, .. } => rounded(expr),
        other => match arguments_of(other, "date_bin").as_deref() {
            Some([_, time]) => rounded(time),
            _ => other,
        },
    }
}

/// Puts one expression in the place of all that read like another.
struct Replace {
    wanted: String,
    by: Expr,
}

impl VisitorMut for Replace {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if expr.to_string() == self.wanted {
            *expr = self.by.clone();
        }
        ControlFlow::Continue(())
    }
}
