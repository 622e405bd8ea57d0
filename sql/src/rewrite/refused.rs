//! What sqlparser reads and we do not run: refused, so that nothing is dropped in silence.

use datafusion::sql::sqlparser::ast::{self, GroupByExpr, Ident, Select, SetExpr, Spanned};

use crate::error::{Span, SqlError};
use crate::interval::Amount;
use crate::source::span_of;
use crate::statement::clauses::STAGGER;
use crate::statement::reserved::is_reserved;
use crate::syntax::arguments_of;

/// Refuses clauses of a query that would have no effect.
pub(super) fn query(query: &ast::Query) -> Result<(), SqlError> {
    let span = span_of(query.body.span());
    let changes = matches!(
        query.body.as_ref(),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    );
    let clause = if changes {
        "INSERT, UPDATE, DELETE and MERGE"
    } else if !query.locks.is_empty() || query.for_clause.is_some() {
        "FOR"
    } else if !query.pipe_operators.is_empty() {
        "|>"
    } else if query.settings.is_some() || query.format_clause.is_some() {
        "SETTINGS and FORMAT"
    } else {
        return Ok(());
    };
    Err(refused(span, clause))
}

/// Refuses clauses of a `SELECT` that would have no effect.
pub(super) fn select(select: &Select) -> Result<(), SqlError> {
    let span = span_of(select.select_token.0.span);
    let clause = if select.into.is_some() {
        "SELECT … INTO"
    } else if select.top.is_some() {
        "TOP"
    } else if !select.lateral_views.is_empty() {
        "LATERAL VIEW"
    } else if !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
    {
        "CLUSTER BY, DISTRIBUTE BY and SORT BY"
    } else if !select.connect_by.is_empty() {
        "CONNECT BY"
    } else if select.value_table_mode.is_some() {
        "SELECT AS"
    } else if select.exclude.is_some() {
        "EXCLUDE"
    } else {
        return Ok(());
    };
    Err(refused(span, clause))
}

/// Refuses the length of a stagger window that is none.
pub(super) fn stagger(select: &Select) -> Result<(), SqlError> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
    for length in keys.iter().filter_map(|key| arguments_of(key, STAGGER)?.last().copied()) {
        let ast::Expr::Interval(interval) = length else { continue };
        let ms = Amount::read(interval)?.fixed_ms();
        if ms.is_none_or(|ms| ms <= 0) {
            let error = SqlError::new("this is no length of a stagger window")
                .with_hint("count it in days, hours, minutes or seconds, more than none");
            return Err(span_of(length.span()).into_iter().fold(error, SqlError::or_at));
        }
    }
    Ok(())
}

/// Refuses a reserved word as a name: more likely than not something before it is missing.
pub(super) fn name(name: &Ident) -> Result<(), SqlError> {
    if name.quote_style.is_some() || !is_reserved(&name.value) {
        return Ok(());
    }
    let error = SqlError::new(format!("{} is a reserved word and cannot be a name", name.value))
        .with_hint(format!("if it is meant as one, quote it: \"{}\"", name.value));
    Err(span_of(name.span).into_iter().fold(error, SqlError::or_at))
}

fn refused(span: Option<Span>, clause: &str) -> SqlError {
    let error = SqlError::new(format!("not supported in a query: {clause}"))
        .with_hint("rows go where a pump or a sink writes them; for the first n use LIMIT");
    span.into_iter().fold(error, SqlError::or_at)
}
