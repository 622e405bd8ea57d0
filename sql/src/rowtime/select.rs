//! `SELECT`: wildcards, names of unnamed expressions, and the row's time behind the columns.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, Ident, ObjectName, OrderByExpr, Select, SelectItem,
    SelectItemQualifiedWildcardKind, Value, Visit, Visitor, WildcardAdditionalOptions,
};
use millstream_engine::definition::ROWTIME;

use super::expressions::{
    Grouped, in_input, is_aggregate, is_bare_rowtime, merged, reading, subqueries, unwrapped,
};
use super::from::{Source, sources};
use super::{HIDDEN_ROWTIME, Names, Output, WindowEnds, group, is_rowtime, time_of};
use crate::error::SqlError;
use crate::source::span_of;

/// Resolves a `SELECT` with the `ORDER BY` of the query it is the body of.
pub(super) fn select(
    select: &mut Select,
    order: &mut [OrderByExpr],
    names: &mut Names<'_>,
    want_rowtime: bool,
) -> Result<Output, SqlError> {
    let sources = sources(select, names)?;
    expand(&mut select.projection, &sources)?;
    name_merged(&mut select.projection, &sources);
    let shown = shown_rowtimes(&select.projection);
    distinct_by_window(select, &shown, &sources);
    resolve_subqueries(select, order, names)?;
    if let Some(condition) = &mut select.selection {
        in_input(condition, &sources);
    }
    let mut untimed = None;
    let time = if is_grouped(select) {
        grouped(select, order, &sources)?.map_err(|reason| untimed = Some(reason)).ok()
    } else {
        let time = time_of(&sources);
        for expr in exprs(&mut select.projection) {
            in_input(expr, &sources);
        }
        for OrderByExpr { expr, .. } in order.iter_mut() {
            in_input(expr, &sources);
        }
        if let Some(condition) = &mut select.qualify {
            in_input(condition, &sources);
        }
        time.filter(|_| select.distinct.is_none())
    };
    name_shown(&mut select.projection, &shown);
    name_all(&mut select.projection);
    tell_apart(&mut select.projection, &shown);
    let rowtime = if want_rowtime {
        let promoted = promoted(&select.projection, &shown);
        add_rowtime(&mut select.projection, order, promoted, time)
    } else {
        None
    };
    let mut columns = columns(&select.projection);
    if let (Some(columns), Some(_)) = (&mut columns, &rowtime) {
        columns.pop();
    }
    let window_ends = window_ends(&select.projection, &sources);
    let times = times(&select.projection, &sources);
    Ok(Output { columns, rowtime, window_ends, times, untimed })
}

/// Resolves what stands under a `GROUP BY` or an aggregate, and returns the time of a group, or why it has
/// none.
fn grouped(
    select: &mut Select,
    order: &mut [OrderByExpr],
    sources: &[Source],
) -> Result<Result<Expr, String>, SqlError> {
    let Select { projection, group_by, having, .. } = select;
    let keys = group::keys(group_by, projection, sources).unwrap_or_default();
    let found = group::window_end(keys, sources);
    let read: Vec<_> = keys.iter().map(|key| (reading(key), key.clone())).collect();
    let end = found.as_ref().ok().map(|found| found.end.clone());
    if let (Ok(group::WindowEnd { end, is_key: true }), GroupByExpr::Expressions(keys, _)) =
        (&found, group_by)
    {
        keys.push(end.clone());
    }
    let groups = Grouped { sources, keys: &read, end: end.as_ref() };
    for expr in exprs(projection) {
        groups.resolve(expr)?;
    }
    if let Some(condition) = having {
        groups.resolve(condition)?;
    }
    for OrderByExpr { expr, .. } in order.iter_mut() {
        let is_alias = is_bare_rowtime(expr) && end.is_none();
        if !is_alias {
            groups.resolve(expr)?;
        }
    }
    let is_plain = select.distinct.is_none();
    Ok(found
        .map(|found| found.end)
        .and_then(|end| is_plain.then_some(end).ok_or_else(|| "DISTINCT has none".to_owned())))
}

/// The places where the word `ROWTIME` is selected as it is: a column that shows the row's time.
fn shown_rowtimes(projection: &[SelectItem]) -> Vec<usize> {
    let is_shown =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(expr) if is_bare_rowtime(expr));
    let items = projection.iter().enumerate();
    items.filter(|(_, item)| is_shown(item)).map(|(at, _)| at).collect()
}

/// Names the columns that a windowed join has merged, whatever they stand for.
fn name_merged(projection: &mut [SelectItem], sources: &[Source]) {
    for item in projection {
        if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(name)) = &*item
            && merged(expr, sources).is_some()
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name.clone() };
        }
    }
}

/// Names the columns that show the row's time, whatever expression it has become.
fn name_shown(projection: &mut [SelectItem], shown: &[usize]) {
    for at in shown {
        if let Some(item) = projection.get_mut(*at)
            && let SelectItem::UnnamedExpr(expr) = item
            && name_of(expr).is_none_or(|name| !is_rowtime(&name) && name != HIDDEN_ROWTIME)
        {
            let alias = Ident::new(ROWTIME);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

/// Makes `SELECT DISTINCT` with a window among its columns a grouping by them: a row comes out at the end
/// of its window. The column that shows the row's time is no reason for two rows to differ.
fn distinct_by_window(select: &mut Select, shown: &[usize], sources: &[Source]) {
    if !matches!(select.distinct, Some(ast::Distinct::Distinct)) || is_grouped(select) {
        return;
    }
    let mut keys = Vec::with_capacity(select.projection.len());
    for (at, item) in select.projection.iter().enumerate() {
        match item {
            _ if shown.contains(&at) => {}
            SelectItem::UnnamedExpr(Expr::Value(_))
            | SelectItem::ExprWithAlias { expr: Expr::Value(_), .. } => {}
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                let mut key = expr.clone();
                in_input(&mut key, sources);
                keys.push(key);
            }
            _ => return,
        }
    }
    if group::window_end(&keys, sources).is_ok() {
        select.distinct = None;
        select.group_by = GroupByExpr::Expressions(keys, Vec::new());
    }
}

/// The expressions of a select list.
fn exprs(projection: &mut [SelectItem]) -> impl Iterator<Item = &mut Expr> {
    projection.iter_mut().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr)
        | SelectItem::ExprWithAlias { expr, .. }
        | SelectItem::ExprWithAliases { expr, .. } => Some(expr),
        _ => None,
    })
}

fn resolve_subqueries(
    select: &mut Select,
    order: &mut [OrderByExpr],
    names: &mut Names<'_>,
) -> Result<(), SqlError> {
    let Select { projection, selection, having, qualify, .. } = select;
    let conditions = [selection, having, qualify].into_iter().flatten();
    let order = order.iter_mut().map(|order| &mut order.expr);
    for expr in exprs(projection).chain(conditions).chain(order) {
        subqueries(expr, names)?;
    }
    Ok(())
}

/// Whether the rows of a `SELECT` are groups.
fn is_grouped(select: &Select) -> bool {
    let has_keys = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
    };
    has_keys || select.having.is_some() || select.projection.visit(&mut Aggregates(0)).is_break()
}

/// Looks for an aggregate outside subqueries.
struct Aggregates(usize);

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.0 == 0 && is_aggregate(function) => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Expands the wildcards over sources with system columns; others mean what they say.
fn expand(projection: &mut Vec<SelectItem>, sources: &[Source]) -> Result<(), SqlError> {
    let any_system = sources.iter().any(Source::has_system_columns);
    let mut expanded = Vec::with_capacity(projection.len());
    for item in projection.drain(..) {
        match item {
            SelectItem::Wildcard(options) if any_system => {
                for source in sources {
                    let from = expanded.len();
                    expand_one(source, &options, true, &mut expanded)?;
                    stand_in(expanded.get_mut(from..).unwrap_or_default(), sources);
                }
            }
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) if any_system => match sources.iter().find(|source| is_called(source, &name)) {
                Some(source) => expand_one(source, &options, false, &mut expanded)?,
                None => {
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                    expanded.push(SelectItem::QualifiedWildcard(kind, options));
                }
            },
            other => expanded.push(other),
        }
    }
    *projection = expanded;
    Ok(())
}

/// Puts in what columns stand for that a windowed join has merged.
fn stand_in(shown: &mut [SelectItem], sources: &[Source]) {
    for item in shown {
        if let SelectItem::UnnamedExpr(expr) = &*item
            && let Some(name) = name_of(expr)
            && let Some(stands) = merged(&Expr::Identifier(Ident::new(&name)), sources)
        {
            let alias = Ident::new(name);
            *item = SelectItem::ExprWithAlias { expr: stands.clone(), alias };
        }
    }
}

fn is_called(source: &Source, name: &ObjectName) -> bool {
    let [part] = name.0.as_slice() else { return false };
    match (part.as_ident(), source.name()) {
        (Some(wanted), Some(name)) => wanted.value == name.value,
        _ => false,
    }
}

fn expand_one(
    source: &Source,
    options: &WildcardAdditionalOptions,
    merges: bool,
    into: &mut Vec<SelectItem>,
) -> Result<(), SqlError> {
    let Some(columns) = source.columns() else {
        let Some(name) = source.name() else {
            let error = SqlError::new("the columns that * stands for are not known")
                .with_hint("give the table function an alias, or name the columns");
            let span = span_of(options.wildcard_token.0.span);
            return Err(span.into_iter().fold(error, SqlError::or_at));
        };
        let name = ObjectName::from(vec![name.clone()]);
        let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
        into.push(SelectItem::QualifiedWildcard(kind, options.clone()));
        return Ok(());
    };
    let excepted = |column: &str| {
        options.opt_except.as_ref().is_some_and(|except| {
            std::iter::once(&except.first_element)
                .chain(&except.additional_elements)
                .any(|ident| ident.value == column)
        })
    };
    let replaced = |column: &str| {
        let mut items = options.opt_replace.iter().flat_map(|replace| &replace.items);
        items.find(|item| item.column_name.value == column)
    };
    for column in columns {
        if excepted(column) || (merges && source.is_merged(column)) {
            continue;
        }
        into.push(match replaced(column) {
            Some(item) => SelectItem::ExprWithAlias {
                expr: item.expr.clone(),
                alias: item.column_name.clone(),
            },
            None => SelectItem::UnnamedExpr(source.column(column)),
        });
    }
    Ok(())
}

/// Names the expressions that have no name: `EXPR$0`, `EXPR$1` …, as KDA does.
fn name_all(projection: &mut [SelectItem]) {
    let mut unnamed = 0;
    for item in projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let alias = match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => continue,
            Expr::Nested(inner) if name_of(inner).is_some() => {
                Ident::new(name_of(inner).unwrap_or_default())
            }
            _ => {
                unnamed += 1;
                Ident::new(format!("EXPR${}", unnamed - 1))
            }
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// Gives another name to what has the name of a column before it: `N`, `N0`, `N1` …. Columns of one name
/// from two relations are told apart by these.
fn tell_apart(projection: &mut [SelectItem], shown: &[usize]) {
    let mut taken: Vec<(Option<String>, String)> = Vec::with_capacity(projection.len());
    for (at, item) in projection.iter_mut().enumerate() {
        let (relation, name) = match &*item {
            SelectItem::ExprWithAlias { alias, .. } => (None, alias.value.clone()),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => match parts.as_slice() {
                [relation, column] => (Some(relation.value.clone()), column.value.clone()),
                _ => continue,
            },
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => (None, name.value.clone()),
            _ => continue,
        };
        if is_rowtime(&name) && !shown.contains(&at) {
            // What is promoted to the row's time, and the time of one relation among several.
            continue;
        }
        let is_taken = taken.iter().any(|(other, known)| {
            *known == name && (other.is_none() || relation.is_none() || *other == relation)
        });
        if !is_taken {
            taken.push((relation, name));
            continue;
        }
        let free = (0..).map(|count| format!("{name}{count}"));
        let free = free.into_iter().find(|free| !taken.iter().any(|(_, known)| known == free));
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = &*item
        else {
            continue;
        };
        let alias = free.unwrap_or(name);
        taken.push((None, alias.clone()));
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(alias) };
    }
}

/// The name of a plain column.
fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
        _ => None,
    }
}

/// The names of the columns, if no wildcard is left among them.
fn columns(projection: &[SelectItem]) -> Option<Vec<String>> {
    projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(expr) => name_of(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        })
        .collect()
}

/// The selected columns that say when the window of a row ends: those that a window table function
/// makes, and those that are passed on.
fn window_ends(projection: &[SelectItem], sources: &[Source]) -> WindowEnds {
    let end = |(expr, name): (&Expr, String)| {
        let passed = || sources.iter().find_map(|source| source.window_end(expr));
        Some((name, group::marked_end(expr).or_else(passed)?))
    };
    projection.iter().filter_map(named).filter_map(end).collect()
}

/// The selected columns with a watermark of their own, which are passed on.
fn times(projection: &[SelectItem], sources: &[Source]) -> Vec<String> {
    let is_time = |source: &Source, expr: &Expr| {
        source.name_in(expr).is_some_and(|name| source.times().iter().any(|time| time == name))
    };
    let passed = projection.iter().filter_map(named);
    let passed = passed.filter(|(expr, _)| sources.iter().any(|source| is_time(source, expr)));
    passed.map(|(_, name)| name).collect()
}

/// A selected expression and its name.
fn named(item: &SelectItem) -> Option<(&Expr, String)> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some((unwrapped(expr), name_of(expr)?)),
        SelectItem::ExprWithAlias { expr, alias } => Some((unwrapped(expr), alias.value.clone())),
        _ => None,
    }
}

/// Where `expr AS ROWTIME` is selected, which makes `expr` the row's time.
fn promoted(projection: &[SelectItem], shown: &[usize]) -> Option<usize> {
    let is_promoted = |item: &SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if is_rowtime(&alias.value));
    let mut items = projection.iter().enumerate();
    items.find(|(at, item)| is_promoted(item) && !shown.contains(at)).map(|(at, _)| at)
}

/// Puts the row's time behind the columns and returns its name: the column `promoted`, else `time`.
fn add_rowtime(
    projection: &mut Vec<SelectItem>,
    order: &mut [OrderByExpr],
    promoted: Option<usize>,
    time: Option<Expr>,
) -> Option<String> {
    let expr = match promoted {
        Some(at) => {
            move_ordinals(order, at + 1, projection.len());
            match projection.remove(at) {
                SelectItem::ExprWithAlias { expr, .. } => expr,
                other => {
                    projection.insert(at, other);
                    return None;
                }
            }
        }
        None => time?,
    };
    let shows_rowtime = projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) => name_of(expr).is_some_and(|name| is_rowtime(&name)),
        SelectItem::ExprWithAlias { alias, .. } => is_rowtime(&alias.value),
        _ => false,
    });
    let name = if shows_rowtime { HIDDEN_ROWTIME } else { ROWTIME };
    projection.push(SelectItem::ExprWithAlias { expr, alias: Ident::new(name) });
    Some(name.to_owned())
}

/// Keeps the ordinals of an `ORDER BY` true when the column `from` becomes the column `last`.
fn move_ordinals(order: &mut [OrderByExpr], from: usize, last: usize) {
    for OrderByExpr { expr, .. } in order {
        let Expr::Value(value) = expr else { continue };
        let Value::Number(digits, _) = &mut value.value else { continue };
        let Ok(ordinal) = digits.parse::<usize>() else { continue };
        let moved = match ordinal {
            ordinal if ordinal == from => last,
            ordinal if ordinal > from && ordinal <= last => ordinal - 1,
            other => other,
        };
        *digits = moved.to_string();
    }
}
