//! `UNNEST` in `FROM`: of a list that a row beside it has, or of one that no row is needed for.
//!
//! ```text
//!   FROM a CROSS JOIN UNNEST(a.list) AS u(x)     ─►     FROM (SELECT *, UNNEST(a.list) AS x FROM a) AS a
//! ```
//!
//! Joining each row with the elements of its own list is unnesting the list, so the element becomes a
//! column of the relation that the list is from, and `u.x` is `a.x`. `LEFT JOIN … ON TRUE` keeps a row
//! without elements: its list is taken to have one, NULL. `WITH ORDINALITY` is one more list beside the
//! others, of numbers from one. `generate_series(…)` and `range(…)` in `FROM` are lists without a row.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, FunctionArg, FunctionArgExpr, Ident, JoinConstraint,
    JoinOperator, ObjectName, Select, SelectItem, SetExpr, Spanned, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, visit_expressions,
    visit_expressions_mut,
};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::{self, call, into_expr, is_named};

/// The functions that make a list, which stand in `FROM` as well.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// An `UNNEST` that stands in `FROM`.
struct Unnested {
    lists: Vec<Expr>,
    alias: Option<TableAlias>,
    /// Whether the places of the elements are wanted as well.
    ordinality: bool,
    /// Whether a row without elements stays.
    outer: bool,
}

/// Rewrites the `UNNEST`s in the `FROM` of a `SELECT`.
pub(super) fn select(select: &mut Select) -> Result<(), SqlError> {
    for item in &mut select.from {
        list_of_series(&mut item.relation);
        item.joins.iter_mut().for_each(|join| list_of_series(&mut join.relation));
    }
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
            let Some((mut unnested, owner)) = of_row else {
                join += 1;
                continue;
            };
            let removed = from[at].joins.remove(join);
            let condition = check(removed.join_operator, &mut unnested)?;
            if !unnested.outer {
                may_lose_rows(&from, &unnested, &owner, &elements)?;
            }
            if let Some(condition) = condition {
                let selection = select.selection.take();
                select.selection = Some(match selection {
                    Some(other) => {
                        let other = Expr::Nested(Box::new(other));
                        syntax::binary(other, BinaryOperator::And, condition)
                    }
                    None => condition,
                });
            }
            attach(&mut from, unnested, &owner, &mut elements)?;
        }
        match open(&mut from[at].relation, &names)? {
            Some((unnested, owner)) => {
                let item = from.remove(at);
                if let Some(join) = item.joins.first() {
                    return Err(refused(&join.relation.span()));
                }
                may_lose_rows(&from, &unnested, &owner, &elements)?;
                attach(&mut from, unnested, &owner, &mut elements)?;
            }
            None => at += 1,
        }
    }
    select.from = from;
    rename(select, &elements);
    Ok(())
}

/// `generate_series(…)` and `range(…)` as the `UNNEST` of the lists of these names, with the column `VALUE`.
fn list_of_series(factor: &mut TableFactor) {
    let TableFactor::Table { name, alias, args: Some(args), .. } = factor else { return };
    let Some(function) = SERIES.into_iter().find(|series| is_named(name, series)) else { return };
    let Some(Ident { value, span, .. }) = syntax::ident_of(name).cloned() else { return };
    let values: Option<Vec<Expr>> = args.args.iter().cloned().map(into_expr).collect();
    let Some(values) = values else { return };
    args.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(call(function, span, values)))];
    // Names fold as those that are written do.
    let column = if value == function { "value" } else { "VALUE" };
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(value),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: Ident::new(column), data_type: None });
    }
    *name = ObjectName::from(vec![Ident::new("UNNEST")]);
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
    let ordinality = *with_ordinality;
    let lists: Option<Vec<Expr>> =
        std::mem::take(&mut args.args).into_iter().map(into_expr).collect();
    let Some(lists) = lists.filter(|lists| !lists.is_empty()) else {
        return Err(refused(&span));
    };
    let unnested = Unnested { lists, alias, ordinality, outer: false };
    let mut owners: Vec<Ident> = Vec::new();
    let mut reads_rows = false;
    let _nothing: ControlFlow<()> = visit_expressions(&unnested.lists, |expr| {
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
        let Unnested { lists, alias, .. } = unnested;
        if ordinality {
            return Err(refused(&span));
        }
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
    Ok(Some((unnested, owner)))
}

/// How an `UNNEST` is joined with the row it belongs to: returns the condition on the elements, if there
/// is one. An outer join has none, for a row whose elements all fail it would have to stay.
fn check(operator: JoinOperator, unnested: &mut Unnested) -> Result<Option<Expr>, SqlError> {
    let refused = || refused(&unnested.lists[0].span());
    let (constraint, outer) = match operator {
        JoinOperator::CrossJoin(on) | JoinOperator::Join(on) | JoinOperator::Inner(on) => {
            (on, false)
        }
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, true),
        _ => return Err(refused()),
    };
    let condition = match constraint {
        JoinConstraint::None if !outer => None,
        JoinConstraint::On(Expr::Value(value)) if value.value == Value::Boolean(true) => None,
        JoinConstraint::On(condition) if !outer => Some(condition),
        _ => return Err(refused()),
    };
    unnested.outer = outer;
    Ok(condition)
}

/// Rows without elements go before the joins are made. That is the same unless a join fills up the rows
/// of the relation with the lists, or of others beside it, with NULLs.
fn may_lose_rows(
    from: &[TableWithJoins],
    unnested: &Unnested,
    owner: &Ident,
    elements: &[(Ident, Ident)],
) -> Result<(), SqlError> {
    let known = elements.iter().find(|(name, _)| name.value == owner.value);
    let owner = known.map_or(owner, |(_, owner)| owner);
    let is_owner =
        |relation: &TableFactor| name_of(relation).is_some_and(|n| n.value == owner.value);
    let items = from.iter().filter(|item| {
        is_owner(&item.relation) || item.joins.iter().any(|join| is_owner(&join.relation))
    });
    for join in items.flat_map(|item| &item.joins) {
        let fills = match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => is_owner(&join.relation),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_) => {
                true
            }
            _ => false,
        };
        if fills {
            return Err(refused(&unnested.lists[0].span()));
        }
    }
    Ok(())
}

fn refused(span: &datafusion::sql::sqlparser::tokenizer::Span) -> SqlError {
    let error = SqlError::new("not supported in a query: this form of UNNEST").with_hint(
        "write FROM a CROSS JOIN UNNEST(a.list) AS u(x), or LEFT JOIN … ON TRUE, and conditions in \
             WHERE; beside an outer join, unnest in a query of its own",
    );
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
    let places = unnested.ordinality.then(|| numbers(&lists));
    for (place, list) in lists.into_iter().enumerate() {
        let column = given.get(place).map_or_else(|| name.clone(), |column| column.name.clone());
        let list = if unnested.outer { never_empty(list) } else { list };
        let expr = call("unnest", list.span(), vec![list]);
        projection.push(SelectItem::ExprWithAlias { expr, alias: column });
    }
    if let Some(numbers) = places {
        let alias = given.get(projection.len() - 1);
        let alias = alias.map_or_else(|| Ident::new("ORDINALITY"), |column| column.name.clone());
        let expr = call("unnest", numbers.span(), vec![numbers]);
        projection.push(SelectItem::ExprWithAlias { expr, alias });
    }
    elements.push((name, owner.clone()));
    let inner = std::mem::replace(relation, syntax::derived(syntax::query(syntax::no_rows())));
    if let TableFactor::Derived { subquery, alias, .. } = relation {
        *subquery.body = SetExpr::Select(Box::new(syntax::select(projection, inner)));
        *alias = Some(TableAlias { explicit: true, name: owner, columns: Vec::new(), at: None });
    }
    Ok(())
}

/// The numbers from one to how many elements the longest of `lists` has.
fn numbers(lists: &[Expr]) -> Expr {
    let span = lists[0].span();
    let lengths = lists.iter().map(|list| call("array_length", span, vec![list.clone()]));
    let longest = call("greatest", span, lengths.collect());
    call("generate_series", span, vec![syntax::number(1), longest])
}

/// `list`, or one with a NULL in its place if it has no element.
fn never_empty(list: Expr) -> Expr {
    let span = list.span();
    let length = call("array_length", span, vec![list.clone()]);
    let null = Expr::value(Value::Null);
    let condition = syntax::binary(length, BinaryOperator::Gt, syntax::number(0));
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        else_result: Some(Box::new(call("array_append", span, vec![list.clone(), null]))),
        conditions: vec![CaseWhen { condition, result: list }],
    }
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
