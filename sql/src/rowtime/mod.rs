//! `ROWTIME` through queries, and what `*` stands for over streams.
//!
//! Every stream has a system column `ROWTIME` that `*` never shows and that a query passes on without
//! being asked. In plain SQL terms: wildcards are expanded to the declared columns, derived tables get
//! one more column behind their own, and the word `ROWTIME` becomes the column, the greatest of the
//! columns (a join), or the end of the window (a grouping) that it means. What comes out is a query
//! that any planner reads as it stands.
//!
//! Source: "ROWTIME" of the Kinesis Data Analytics SQL reference.

mod expressions;
mod from;
mod group;
pub(crate) mod monotonic;
mod recursive;
mod select;
#[cfg(test)]
mod tests;
pub(crate) mod windowed;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, OrderByKind, SelectItem, SetExpr, SetOperator, SetQuantifier, TableAlias,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millstream_engine::definition::ROWTIME;

use crate::error::SqlError;
use crate::source::span_of;
use crate::stack::with_room;
use crate::syntax::{self, call};

#[cfg(test)]
pub(crate) use self::expressions::AGGREGATES;
use self::from::Source;

/// The name of the function that `FOR SYSTEM_TIME AS OF` becomes in the condition of its join: of the
/// time of the row, and the time of the version.
pub const AS_OF: &str = "__as_of";

/// The name of the row's time behind the columns of a query that shows a column `ROWTIME` itself.
pub const HIDDEN_ROWTIME: &str = "__ROWTIME";

/// What a query's relation names stand for.
pub trait Relations {
    /// The relation `name`, if there is one.
    fn relation(&self, name: &str) -> Option<RelationShape>;

    /// For how many milliseconds the rows of the relation `name` count, unless the query says so where
    /// it names it; none for ever.
    fn state_ttl(&self, name: &str) -> Option<i64> {
        let _for_ever = name;
        None
    }
}

/// The columns of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationShape {
    /// Its columns, without system columns.
    pub columns: Vec<String>,
    /// Its system columns, which follow them; none for a table.
    pub system_columns: Vec<String>,
    /// Its columns that say when the window of a row ends, and how many milliseconds before.
    pub window_ends: WindowEnds,
    /// Its columns with a watermark of their own: a time that the stream declares, passed on.
    pub times: Vec<String>,
}

impl RelationShape {
    /// All its columns, the system columns last.
    pub(crate) fn all(&self) -> impl Iterator<Item = SelectItem> {
        let names = self.columns.iter().chain(&self.system_columns);
        names.map(|name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::new(name))))
    }

    /// The column with the row's time; none for a table.
    pub(crate) fn rowtime(&self) -> Option<&'static str> {
        let system = &self.system_columns;
        [HIDDEN_ROWTIME, ROWTIME].into_iter().find(|name| system.iter().any(|known| known == name))
    }
}

/// Columns that say when the window of a row ends, each with the milliseconds from it to the end.
pub type WindowEnds = Vec<(String, i64)>;

/// A query whose wildcards are expanded and whose `ROWTIME`s are columns.
#[derive(Debug, Clone)]
pub struct ResolvedQuery {
    /// The syntax tree.
    pub ast: ast::Query,
    /// Whether its last column is the row's time and was not among those that were asked for: named
    /// `ROWTIME`, or [`HIDDEN_ROWTIME`] where the query shows a column `ROWTIME` itself.
    pub has_rowtime: bool,
    /// Its columns that say when the window of a row ends.
    pub window_ends: WindowEnds,
    /// Its columns with a watermark of their own.
    pub times: Vec<String>,
    /// Why the rows of a grouping have no time.
    pub untimed: Option<String>,
}

/// Resolves `query` over the relations of `scope`. With `want_rowtime` the row's time becomes its last
/// column, where it has one: rows of a stream do; rows of a table, of `VALUES`, of `DISTINCT` and of a
/// `GROUP BY` without a time do not. `expr AS ROWTIME` makes `expr` the row's time.
///
/// # Errors
///
/// When a wildcard or `ROWTIME` means nothing.
pub fn resolve(
    query: &ast::Query,
    scope: &dyn Relations,
    want_rowtime: bool,
) -> Result<ResolvedQuery, SqlError> {
    with_room(|| {
        let mut ast = query.clone();
        let mut names = Names { scope, ctes: Vec::new() };
        let output = self::query(&mut ast, &mut names, want_rowtime)?;
        let Output { rowtime, window_ends, times, untimed, .. } = output;
        Ok(ResolvedQuery { ast, has_rowtime: rowtime.is_some(), window_ends, times, untimed })
    })
}

/// The relations a query can name: those of the catalog, and the `WITH`s around it.
struct Names<'a> {
    scope: &'a dyn Relations,
    ctes: Vec<(String, Option<RelationShape>)>,
}

impl Names<'_> {
    fn relation(&self, name: &str) -> Option<RelationShape> {
        match self.ctes.iter().rev().find(|(known, _)| known == name) {
            Some((_, shape)) => shape.clone(),
            None => self.scope.relation(name),
        }
    }

    /// For how long the rows of the relation `name` count by the query as a whole.
    fn state_ttl(&self, name: &str) -> Option<(i64, Option<Span>)> {
        let is_cte = self.ctes.iter().any(|(known, _)| known == name);
        self.scope.state_ttl(name).filter(|_| !is_cte).map(|ttl| (ttl, None))
    }
}

/// The columns of a resolved query.
#[derive(Debug, Default)]
struct Output {
    /// Those that were asked for; none if that is for the planner to find out.
    columns: Option<Vec<String>>,
    /// The name of the row's time behind them.
    rowtime: Option<String>,
    /// The columns that say when the window of a row ends.
    window_ends: WindowEnds,
    /// The columns with a watermark of their own.
    times: Vec<String>,
    /// Why the rows of a grouping have no time.
    untimed: Option<String>,
}

impl Output {
    /// The query as a relation; none if its columns are not known.
    fn shape(self) -> Option<RelationShape> {
        let system_columns = self.rowtime.into_iter().collect();
        let Self { columns, window_ends, times, .. } = self;
        columns.map(|columns| RelationShape { columns, system_columns, window_ends, times })
    }
}

fn query(
    query: &mut ast::Query,
    names: &mut Names<'_>,
    want_rowtime: bool,
) -> Result<Output, SqlError> {
    let outside = names.ctes.len();
    let output = query_inside(query, names, want_rowtime);
    names.ctes.truncate(outside);
    output
}

fn query_inside(
    query: &mut ast::Query,
    names: &mut Names<'_>,
    want_rowtime: bool,
) -> Result<Output, SqlError> {
    if let Some(with) = &mut query.with {
        let recursive = with.recursive;
        for cte in &mut with.cte_tables {
            if recursive && recursive::resolve(cte, names)? {
                continue;
            }
            let output = self::query(&mut cte.query, names, true)?;
            let shape = renamed(&mut cte.alias, &mut cte.query, output.shape())?;
            names.ctes.push((cte.alias.name.value.clone(), shape));
        }
    }
    if query.order_by.is_some() && matches!(*query.body, SetExpr::SetOperation { .. }) {
        derive_set(query);
    }
    let ast::Query { body, order_by, .. } = query;
    let order = match order_by.as_mut().map(|order_by| &mut order_by.kind) {
        Some(OrderByKind::Expressions(order)) => order.as_mut_slice(),
        _ => &mut [],
    };
    match body.as_mut() {
        SetExpr::Select(select) => select::select(select, order, names, want_rowtime),
        body => set(body, names, want_rowtime),
    }
}

/// Makes `a UNION ALL b ORDER BY …` into `SELECT * FROM (a UNION ALL b) ORDER BY …`, so that the order
/// may be by the row's time and by expressions.
fn derive_set(query: &mut ast::Query) {
    let wildcard = SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
    let inner = syntax::query(std::mem::replace(query.body.as_mut(), syntax::no_rows()));
    let select = syntax::select(vec![wildcard], syntax::derived(inner));
    *query.body = SetExpr::Select(Box::new(select));
}

/// A relation whose columns have the names of `AS x(a, b)`, as a projection of the relation it was; the
/// system columns keep theirs. DataFusion's own way to rename loses the case of names.
struct Renamed {
    shape: RelationShape,
    projection: Vec<SelectItem>,
}

impl Renamed {
    /// Takes the names out of `alias`; none if it has none, or the columns they are for are not known.
    fn take(
        alias: &mut TableAlias,
        shape: Option<&RelationShape>,
    ) -> Result<Option<Self>, SqlError> {
        let Some(shape) = shape.filter(|_| !alias.columns.is_empty()) else { return Ok(None) };
        if shape.columns.len() != alias.columns.len() {
            let (given, there) = (alias.columns.len(), shape.columns.len());
            let error = SqlError::new(format!(
                "{given} names for the {there} columns of {}",
                alias.name.value
            ))
            .with_hint(format!("the columns are {}", shape.columns.join(", ")));
            return Err(span_of(alias.name.span).into_iter().fold(error, SqlError::or_at));
        }
        let names: Vec<Ident> =
            std::mem::take(&mut alias.columns).into_iter().map(|column| column.name).collect();
        let column = |name: &String| Expr::Identifier(Ident::new(name));
        let renamed = shape
            .columns
            .iter()
            .zip(&names)
            .map(|(old, new)| SelectItem::ExprWithAlias { expr: column(old), alias: new.clone() });
        let system = shape.system_columns.iter().map(|name| SelectItem::UnnamedExpr(column(name)));
        let called = |old: &String| {
            let at = shape.columns.iter().position(|column| column == old)?;
            Some(names.get(at)?.value.clone())
        };
        let ends = shape.window_ends.iter();
        let shape_renamed = RelationShape {
            columns: names.iter().map(|name| name.value.clone()).collect(),
            system_columns: shape.system_columns.clone(),
            window_ends: ends.filter_map(|(old, before)| Some((called(old)?, *before))).collect(),
            times: shape.times.iter().filter_map(called).collect(),
        };
        let projection = renamed.chain(system).collect();
        Ok(Some(Self { shape: shape_renamed, projection }))
    }
}

/// Gives the columns of a query the names of `AS x(a, b)`, and says what they are then.
fn renamed(
    alias: &mut TableAlias,
    query: &mut ast::Query,
    shape: Option<RelationShape>,
) -> Result<Option<RelationShape>, SqlError> {
    let Some(Renamed { shape, projection }) = Renamed::take(alias, shape.as_ref())? else {
        return Ok(if alias.columns.is_empty() { shape } else { None });
    };
    let inner = std::mem::replace(query, syntax::query(syntax::no_rows()));
    *query.body = SetExpr::Select(Box::new(syntax::select(projection, syntax::derived(inner))));
    Ok(Some(shape))
}

fn set(body: &mut SetExpr, names: &mut Names<'_>, want_rowtime: bool) -> Result<Output, SqlError> {
    match body {
        SetExpr::Select(select) => select::select(select, &mut [], names, want_rowtime),
        SetExpr::Query(inner) => query(inner, names, want_rowtime),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            let all = *op == SetOperator::Union && *set_quantifier == SetQuantifier::All;
            let mut first = set(left, names, want_rowtime && all)?;
            let second = set(right, names, want_rowtime && all)?;
            match (&first.rowtime, &second.rowtime) {
                (Some(_), None) => {
                    drop_last(left);
                    first.rowtime = None;
                }
                (None, Some(_)) => drop_last(right),
                _ => {}
            }
            first.window_ends.retain(|end| second.window_ends.contains(end));
            first.times.retain(|time| second.times.contains(time));
            Ok(first)
        }
        _ => Ok(Output::default()),
    }
}

/// Takes the row's time away again, because the other branch of a union has none.
fn drop_last(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            select.projection.pop();
        }
        SetExpr::Query(query) => drop_last(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            drop_last(left);
            drop_last(right);
        }
        _ => {}
    }
}

/// The time of a row that is made of one row of each source: the latest, or what a windowed join says;
/// none over tables alone.
fn time_of(sources: &[Source]) -> Option<Expr> {
    let joined = sources.iter().rposition(|source| source.joined.is_some());
    let behind = sources.get(joined.map_or(0, |at| at + 1)..).unwrap_or_default();
    let joined = joined.and_then(|at| sources.get(at)?.joined.clone());
    let mut times: Vec<Expr> =
        joined.into_iter().chain(behind.iter().filter_map(Source::rowtime)).collect();
    if times.len() > 1 { Some(call("greatest", Span::empty(), times)) } else { times.pop() }
}

/// Whether `name` is that of the row's time.
fn is_rowtime(name: &str) -> bool {
    name == ROWTIME
}
