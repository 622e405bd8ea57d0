//! `UNNEST` in `FROM`: of a list that a row beside it has, or of one that no row is needed for.
//!
//! ```text
//!   FROM a CROSS JOIN UNNEST(a.list) AS u(x)     ─►     FROM (SELECT *, UNNEST(a.list) AS x FROM a) AS a
//! ```
//!
//! Joining each row with the elements of its own list is unnesting the list, so the element becomes a
//! column of the relation that the list is from, and `u.x` is `a.x`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, JoinConstraint, JoinOperator, Select, SelectItem, SetExpr, Spanned,
    TableAlias, TableFactor, TableWithJoins, Value, visit_expressions, visit_expressions_mut,
};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::{self, call, into_expr, is_named};

/// An `UNNEST` that stands in `FROM`.
struct Unnested {
    lists: Vec<Expr>,
    alias: Option<TableAlias>,
}

/// Rewrites the `UNNEST`s in the `FROM` of a `SELECT`.
pub(super) fn select(select: &mut Select) -> Result<(), SqlError> {
    if !factors(select).into_iter().any(is_unnest) {
        return Ok(());
    }
    let names: Vec<Ident> = factors(select).into_iter().filter_map(name_of).collect();
    let mut elements: Vec<(Ident, Ident)> = Vec::new();
    let mut from = std::mem::take(&mut select.from);
    let mut at = 0;
    while at < from.len() {
        let mut join = 0;
        while join < from[at].joins.len() {
            let of_row = open(&mut from[at].joins[join].relation, &names)?;
            let Some((unnested, owner)) = of_row else {
                join += 1;
                continue;
            };
            let removed = from[at].joins.remove(join);
            check(&removed.join_operator, &unnested)?;
            attach(&mut from, unnested, &owner, &mut elements)?;
        }
        match open(&mut from[at].relation, &names)? {
            Some((unnested, owner)) => {
                let item = from.remove(at);
                if let Some(join) = item.joins.first() {
                    return Err(refused(&join.relation.span()));
                }
                attach(&mut from, unnested, &owner, &mut elements)?;
            }
            None => at += 1,
        }
    }
    select.from = from;
    rename(select, &elements);
    Ok(())
}

fn factors(select: &Select) -> Vec<&TableFactor> {
    let mut all = Vec::new();
    for item in &select.from {
        all.push(&item.relation);
        all.extend(item.joins.iter().map(|join| &join.relation));
    }
    all
}

fn is_unnest(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, args: Some(_), .. } if is_named(name, "UNNEST"))
}

/// The name the columns of a relation are qualified with.
fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), args: None, .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// Reads an `UNNEST`. One of lists that no row is needed for becomes a relation of its own; for another
/// the name of the relation whose rows have the lists is returned.
fn open(factor: &mut TableFactor, names: &[Ident]) -> Result<Option<(Unnested, Ident)>, SqlError> {
    if !is_unnest(factor) {
        return Ok(None);
    }
    let span = factor.span();
    let TableFactor::Table { alias, args: Some(args), with_ordinality, .. } = factor else {
        return Ok(None);
    };
    let alias = alias.take();
    let lists: Option<Vec<Expr>> =
        std::mem::take(&mut args.args).into_iter().map(into_expr).collect();
    let Some(lists) = lists.filter(|lists| !lists.is_empty() && !*with_ordinality) else {
        return Err(refused(&span));
    };
    let mut owners: Vec<Ident> = Vec::new();
    let mut reads_rows = false;
    let _nothing: ControlFlow<()> = visit_expressions(&lists, |expr| {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                reads_rows = true;
                owners.extend(parts.first().cloned());
            }
            Expr::Identifier(_) => reads_rows = true,
            _ => {}
        }
        ControlFlow::Continue(())
    });
    if !reads_rows {
        *factor = TableFactor::UNNEST {
            alias,
            array_exprs: lists,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
        return Ok(None);
    }
    owners.dedup_by(|a, b| a.value == b.value);
    let owner = match (owners.as_slice(), names) {
        ([owner], _) | ([], [owner]) => owner.clone(),
        _ => {
            let error = SqlError::new("UNNEST needs the lists of one relation")
                .with_hint("qualify the column: UNNEST(a.list)");
            return Err(span_of(span).into_iter().fold(error, SqlError::or_at));
        }
    };
    Ok(Some((Unnested { lists, alias }, owner)))
}

/// An `UNNEST` is joined with the row it belongs to, without a condition.
fn check(operator: &JoinOperator, unnested: &Unnested) -> Result<(), SqlError> {
    let is_true = |constraint: &JoinConstraint| match constraint {
        JoinConstraint::None => true,
        JoinConstraint::On(Expr::Value(value)) => value.value == Value::Boolean(true),
        _ => false,
    };
    match operator {
        JoinOperator::CrossJoin(on) | JoinOperator::Join(on) | JoinOperator::Inner(on)
            if is_true(on) =>
        {
            Ok(())
        }
        _ => Err(refused(&unnested.lists[0].span())),
    }
}

fn refused(span: &datafusion::sql::sqlparser::tokenizer::Span) -> SqlError {
    let error = SqlError::new("not supported in a query: this form of UNNEST")
        .with_hint("write FROM a CROSS JOIN UNNEST(a.list) AS u(x), and conditions in WHERE");
    span_of(*span).into_iter().fold(error, SqlError::or_at)
}

/// Makes the elements columns of the relation `owner`.
fn attach(
    from: &mut [TableWithJoins],
    unnested: Unnested,
    owner: &Ident,
    elements: &mut Vec<(Ident, Ident)>,
) -> Result<(), SqlError> {
    // The lists may be the elements of an UNNEST before.
    let mut lists = unnested.lists;
    rename(&mut lists, elements);
    let known = elements.iter().find(|(name, _)| name.value == owner.value);
    let owner = known.map_or(owner, |(_, owner)| owner).clone();
    let mut factors = from.iter_mut().flat_map(|item| {
        let joined = item.joins.iter_mut().map(|join| &mut join.relation);
        std::iter::once(&mut item.relation).chain(joined)
    });
    let found =
        factors.find(|factor| name_of(factor).is_some_and(|name| name.value == owner.value));
    let Some(relation) = found else {
        let error = SqlError::new(format!("UNNEST reads {owner}, which is not in FROM"))
            .with_hint("unnest a list of a relation that stands before it");
        return Err(span_of(owner.span).into_iter().fold(error, SqlError::or_at));
    };
    let name =
        unnested.alias.as_ref().map_or_else(|| Ident::new("UNNEST"), |alias| alias.name.clone());
    let given = unnested.alias.map(|alias| alias.columns).unwrap_or_default();
    let mut projection = vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
    for (place, list) in lists.into_iter().enumerate() {
        let column = given.get(place).map_or_else(|| name.clone(), |column| column.name.clone());
        let expr = call("unnest", list.span(), vec![list]);
        projection.push(SelectItem::ExprWithAlias { expr, alias: column });
    }
    elements.push((name, owner.clone()));
    let inner = std::mem::replace(relation, syntax::derived(syntax::query(syntax::no_rows())));
    if let TableFactor::Derived { subquery, alias, .. } = relation {
        *subquery.body = SetExpr::Select(Box::new(syntax::select(projection, inner)));
        *alias = Some(TableAlias { explicit: true, name: owner, columns: Vec::new(), at: None });
    }
    Ok(())
}

/// Gives the elements the name of the relation they are columns of now.
fn rename(tree: &mut impl ast::VisitMut, elements: &[(Ident, Ident)]) {
    let _nothing: ControlFlow<()> = visit_expressions_mut(tree, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [qualifier, _] = parts.as_mut_slice()
            && let Some((_, owner)) =
                elements.iter().find(|(name, _)| name.value == qualifier.value)
        {
            qualifier.value.clone_from(&owner.value);
            qualifier.quote_style = owner.quote_style;
        }
        ControlFlow::Continue(())
    });
}
