//! `FROM`: which relations a `SELECT` reads and which columns they show.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Select, SelectItem,
    SetExpr, Spanned, TableAlias, TableFactor, TableVersion, TableWithJoins, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::windowed::{self, Edge, Meeting, Window};
use super::{Names, RelationShape, Renamed, expressions, query, renamed, time_of};
use crate::error::SqlError;
use crate::source::span_of;
use crate::state_ttl;
use crate::syntax::{self, binary, call};

/// A relation in `FROM`.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The name its columns are qualified with; none for a function without an alias.
    qualifier: Option<Ident>,
    /// What is known of its columns.
    shape: Option<RelationShape>,
    /// Columns that `USING` merged into the left side's.
    merged: Vec<String>,
    /// What the names of these columns stand for, where a windowed join has merged them.
    stands: Vec<(String, Expr)>,
    /// The moment of `FOR SYSTEM_TIME AS OF`.
    as_of: Option<Expr>,
    /// The window on it.
    pub(super) window: Option<Window>,
    /// The time of a row of the windowed join that it is the last side of: of all sources up to it.
    pub(super) joined: Option<Expr>,
}

impl Source {
    /// The name its columns are qualified with.
    pub(super) fn name(&self) -> Option<&Ident> {
        self.qualifier.as_ref()
    }

    /// The columns that `*` shows, if they are known.
    pub(super) fn columns(&self) -> Option<impl Iterator<Item = &str>> {
        let shape = self.shape.as_ref()?;
        Some(shape.columns.iter().map(String::as_str))
    }

    /// Whether `*` shows the column once for both sides of a join, on the left.
    pub(super) fn is_merged(&self, column: &str) -> bool {
        self.merged.iter().any(|merged| merged == column)
    }

    /// What the name of a column stands for that a windowed join has merged.
    pub(super) fn stands_for(&self, column: &str) -> Option<&Expr> {
        self.stands.iter().find(|(name, _)| name == column).map(|(_, expr)| expr)
    }

    /// Whether there are columns that `*` must not show.
    pub(super) fn has_system_columns(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| !shape.system_columns.is_empty())
    }

    /// Whether it has a column of this name.
    pub(super) fn has(&self, column: &str) -> bool {
        self.shape.as_ref().is_some_and(|shape| {
            shape.columns.iter().chain(&shape.system_columns).any(|known| known == column)
        })
    }

    /// The column `name`, qualified.
    pub(super) fn column(&self, name: &str) -> Expr {
        match &self.qualifier {
            Some(qualifier) => Expr::CompoundIdentifier(vec![qualifier.clone(), Ident::new(name)]),
            None => Expr::Identifier(Ident::new(name)),
        }
    }

    /// How many milliseconds before the end of a row's window the column `expr` is, if it says that.
    pub(super) fn window_end(&self, expr: &Expr) -> Option<i64> {
        let name = self.name_in(expr)?;
        let mut ends = self.shape.as_ref()?.window_ends.iter();
        ends.find(|(column, _)| column == name).map(|(_, before)| *before)
    }

    /// Its columns with a watermark of their own.
    pub(super) fn times(&self) -> &[String] {
        self.shape.as_ref().map_or(&[], |shape| &shape.times)
    }

    /// The name that `expr` has here, if it is a column that may be one of these.
    pub(super) fn name_in<'e>(&self, expr: &'e Expr) -> Option<&'e str> {
        match expr {
            Expr::Identifier(name) => Some(&name.value),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [source, name] if self.qualifier.as_ref() == Some(source) => Some(&name.value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The column that says when its window of `ROWS` lets go of a row.
    fn until(&self) -> Option<Expr> {
        matches!(self.window, Some(Window::Rows(_))).then(|| self.column(windowed::UNTIL))
    }

    /// The column with the row's time; none for a table.
    pub(super) fn rowtime(&self) -> Option<Expr> {
        self.shape.as_ref()?.rowtime().map(|name| self.column(name))
    }
}

/// Resolves the `FROM` of a `SELECT` and returns its relations.
pub(super) fn sources(select: &mut Select, names: &mut Names<'_>) -> Result<Vec<Source>, SqlError> {
    let mut sources = Vec::new();
    let mut unnamed = 0;
    for item in &mut select.from {
        let right = sources.len();
        table_with_joins(item, names, &mut sources, &mut unnamed)?;
        if right > 0 && right + 1 == sources.len() {
            // A comma between windowed relations is a join without a condition of its own.
            if let Some(meeting) = meet(&sources, right)? {
                let condition = meeting.condition();
                let inner = JoinOperator::Inner(JoinConstraint::None);
                if let Some(last) = sources.last_mut() {
                    last.joined = Some(meeting.time(&inner));
                }
                select.selection = Some(match select.selection.take() {
                    Some(other) => {
                        let other = Expr::Nested(Box::new(other));
                        binary(other, BinaryOperator::And, condition)
                    }
                    None => condition,
                });
            }
        }
    }
    Ok(sources)
}

fn table_with_joins(
    item: &mut TableWithJoins,
    names: &mut Names<'_>,
    sources: &mut Vec<Source>,
    unnamed: &mut usize,
) -> Result<(), SqlError> {
    let first = sources.len();
    factor(&mut item.relation, names, sources, unnamed)?;
    if let Some(moment) = sources.get_mut(first).and_then(|source| source.as_of.take()) {
        return Err(no_moment(&moment));
    }
    for join in &mut item.joins {
        let right = sources.len();
        factor(&mut join.relation, names, sources, unnamed)?;
        if let Some(moment) = sources.get_mut(right).and_then(|source| source.as_of.take()) {
            at_moment(&mut join.join_operator, moment, sources.get(right))?;
        }
        if let Some(constraint) = constraint_of(&mut join.join_operator) {
            merge(constraint, sources, first, right);
            if let JoinConstraint::On(on) = constraint {
                let visible = sources.get(first..).unwrap_or_default();
                expressions::subqueries(on, names)?;
                expressions::in_input(on, visible);
            }
        }
        if right + 1 == sources.len()
            && let Some(meeting) = meet(sources, right)?
        {
            spell_out(&mut join.join_operator, sources, first, right);
            meeting.narrow(&mut join.join_operator)?;
            if let Some(last) = sources.last_mut() {
                last.joined = Some(meeting.time(&join.join_operator));
            }
        }
        match &join.join_operator {
            JoinOperator::LeftSemi(_)
            | JoinOperator::Semi(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::Anti(_) => sources.truncate(right),
            JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => {
                sources.drain(first..right);
            }
            _ => {}
        }
    }
    Ok(())
}

/// How the source at `right` meets those before it, if any of them has a window.
fn meet(sources: &[Source], right: usize) -> Result<Option<Meeting>, SqlError> {
    let (left, joined) = sources.split_at(right);
    let [joined] = joined else { return Ok(None) };
    let last = left.last().filter(|last| last.joined.is_none());
    let (Some(time), Some(other)) = (time_of(left), joined.rowtime()) else { return Ok(None) };
    let window = last.and_then(|last| last.window);
    let until = last.and_then(Source::until);
    let left = Edge { time, window, until };
    Meeting::of(left, Edge { time: other, window: joined.window, until: joined.until() })
}

/// Turns `NATURAL` into `USING` the declared columns that both sides have, for the system columns of
/// two streams are no reason to match; and notes which columns `USING` merges.
fn merge(constraint: &mut JoinConstraint, sources: &mut [Source], first: usize, right: usize) {
    let (left, joined) = sources.split_at_mut(right);
    let left = left.get(first..).unwrap_or_default();
    if *constraint == JoinConstraint::Natural {
        let all = || left.iter().chain(joined.iter());
        if !all().any(Source::has_system_columns) || all().any(|source| source.shape.is_none()) {
            return;
        }
        let shown = |side: &[Source], column: &str| {
            side.iter()
                .any(|source| source.columns().is_some_and(|mut all| all.any(|c| c == column)))
        };
        let mut common: Vec<String> = Vec::new();
        for column in left.iter().filter_map(Source::columns).flatten() {
            if shown(joined, column) && !common.iter().any(|known| known == column) {
                common.push(column.to_owned());
            }
        }
        let object = |name: String| ObjectName::from(vec![Ident::new(name)]);
        *constraint = JoinConstraint::Using(common.into_iter().map(object).collect());
    }
    if let JoinConstraint::Using(columns) = constraint {
        for source in joined {
            source.merged.extend(columns.iter().filter_map(last_part));
        }
    }
}

/// Makes the `USING` of a windowed join a condition, to which that of its windows can be added. A merged
/// column stands for that of the side that is always there.
fn spell_out(operator: &mut JoinOperator, sources: &mut [Source], first: usize, right: usize) {
    let is_right = matches!(operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_));
    let is_full = matches!(operator, JoinOperator::FullOuter(_));
    let Some(constraint) = constraint_of(operator) else { return };
    let JoinConstraint::Using(names) = &*constraint else { return };
    let (left, joined) = sources.split_at_mut(right);
    let (Some(left), [joined]) = (left.get(first..), joined) else { return };
    let of_left = |name: &str| {
        let merged = left.iter().rev().find_map(|source| source.stands_for(name).cloned());
        merged.or_else(|| left.iter().find(|source| source.has(name)).map(|s| s.column(name)))
    };
    let mut condition: Option<Expr> = None;
    for name in names.iter().filter_map(last_part) {
        let Some(one) = of_left(&name) else { return };
        let other = joined.column(&name);
        let equal = binary(one.clone(), BinaryOperator::Eq, other.clone());
        condition = Some(match condition.take() {
            Some(before) => binary(before, BinaryOperator::And, equal),
            None => equal,
        });
        let stands = match (is_full, is_right) {
            (true, _) => call("coalesce", Span::empty(), vec![one, other]),
            (false, true) => other,
            (false, false) => one,
        };
        joined.stands.push((name, stands));
    }
    *constraint = condition.map_or(JoinConstraint::None, JoinConstraint::On);
}

fn last_part(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone())
}

pub(super) fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::StraightJoin(constraint) => Some(constraint),
        _ => None,
    }
}

fn factor(
    factor: &mut TableFactor,
    names: &mut Names<'_>,
    sources: &mut Vec<Source>,
    unnamed: &mut usize,
) -> Result<(), SqlError> {
    if matches!(factor, TableFactor::Table { args: None, .. }) {
        sources.push(table(factor, names)?);
        return Ok(());
    }
    let (qualifier, shape) = match factor {
        TableFactor::Derived { subquery, alias, .. } => {
            let output = query(subquery, names, true)?;
            let alias = alias.get_or_insert_with(|| nameless(unnamed));
            let shape = renamed(alias, subquery, output.shape())?;
            (Some(alias.name.clone()), shape)
        }
        TableFactor::NestedJoin { table_with_joins: inner, .. } => {
            return table_with_joins(inner, names, sources, unnamed);
        }
        TableFactor::TableFunction { expr, alias } => {
            expressions::subqueries(expr, names)?;
            (alias.as_ref().map(|alias| alias.name.clone()), None)
        }
        TableFactor::Table { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => {
            (alias.as_ref().map(|alias| alias.name.clone()), None)
        }
        _ => (None, None),
    };
    sources.push(Source { qualifier, shape, ..Source::default() });
    Ok(())
}

/// A relation by its name.
fn table(factor: &mut TableFactor, names: &Names<'_>) -> Result<Source, SqlError> {
    let TableFactor::Table { name, alias, version, with_hints, .. } = factor else {
        return Ok(Source::default());
    };
    let as_of = version.take().map(moment_of).transpose()?;
    let ttl_hint = state_ttl::take(with_hints)?;
    let window = Window::of(with_hints)?;
    let ident = name.0.last().and_then(|part| part.as_ident()).cloned();
    let known = ident.as_ref().filter(|_| name.0.len() == 1);
    let found = known.and_then(|ident| names.relation(&ident.value));
    let renamed = match alias {
        Some(alias) => Renamed::take(alias, found.as_ref())?,
        None => None,
    };
    let has_names = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
    let qualifier = alias.as_ref().map(|alias| alias.name.clone()).or_else(|| ident.clone());
    let ttl = match ttl_hint {
        None if as_of.is_some() || window.is_some() => None,
        None => known.and_then(|ident| names.state_ttl(&ident.value)),
        Some((_, span)) if as_of.is_some() || window.is_some() => {
            return Err(state_ttl::refused(span, "a relation with a window or a version"));
        }
        hint => hint,
    };
    let mut shape = found.filter(|_| renamed.is_some() || !has_names);
    let counted = match (ttl, &shape) {
        (Some(ttl), Some(shape)) => Some(state_ttl::counted(ttl, shape)?),
        (Some((_, span)), None) => return Err(state_ttl::refused(span, "such a relation")),
        (None, _) => None,
    };
    let until = match (window, &shape) {
        (Some(Window::Rows(rows)), Some(shape)) => {
            shape.rowtime().map(|time| windowed::until(time, rows))
        }
        _ => None,
    };
    let window = window.filter(|window| until.is_some() || !matches!(window, Window::Rows(_)));
    if renamed.is_some() || counted.is_some() || until.is_some() {
        let mut projection: Vec<SelectItem> = shape.iter().flat_map(RelationShape::all).collect();
        if let Some(renamed) = renamed {
            projection = renamed.projection;
            shape = Some(renamed.shape);
        }
        projection.extend(until);
        let alias = alias.take().unwrap_or_else(|| TableAlias {
            explicit: true,
            name: qualifier.clone().unwrap_or_else(|| Ident::new("")),
            columns: Vec::new(),
            at: None,
        });
        let mut select = syntax::select(projection, factor.clone());
        select.selection = counted;
        *factor = syntax::derived(syntax::query(SetExpr::Select(Box::new(select))));
        if let TableFactor::Derived { alias: place, .. } = factor {
            *place = Some(alias);
        }
    }
    Ok(Source { qualifier, shape, as_of, window, ..Source::default() })
}

/// The moment of `FOR SYSTEM_TIME AS OF`.
fn moment_of(version: TableVersion) -> Result<Expr, SqlError> {
    match version {
        TableVersion::ForSystemTimeAsOf(moment) => Ok(moment),
        _ => Err(SqlError::new("not supported in a query: this version of a relation")
            .with_hint("write FOR SYSTEM_TIME AS OF a.ROWTIME")),
    }
}

/// Joins with the version of a moment: a table's is the present one, a stream's is chosen by
/// [`super::AS_OF`].
fn at_moment(
    operator: &mut JoinOperator,
    moment: Expr,
    versions: Option<&Source>,
) -> Result<(), SqlError> {
    let is_join = matches!(
        operator,
        JoinOperator::Join(_)
            | JoinOperator::Inner(_)
            | JoinOperator::Left(_)
            | JoinOperator::LeftOuter(_)
    );
    let Some(JoinConstraint::On(on)) = constraint_of(operator).filter(|_| is_join) else {
        return Err(no_moment(&moment));
    };
    if let Some(time) = versions.and_then(Source::rowtime) {
        let before = std::mem::replace(on, Expr::value(Value::Null));
        let is_version = call(super::AS_OF, moment.span(), vec![moment, time]);
        *on = binary(before, BinaryOperator::And, is_version);
    }
    Ok(())
}

fn no_moment(moment: &Expr) -> SqlError {
    let error = SqlError::new("FOR SYSTEM_TIME AS OF belongs to the right side of a JOIN … ON")
        .with_hint(
            "write FROM a JOIN b FOR SYSTEM_TIME AS OF a.ROWTIME ON a.k = b.k, or LEFT JOIN",
        );
    span_of(moment.span()).into_iter().fold(error, SqlError::or_at)
}

/// The alias of a derived table that has none.
fn nameless(unnamed: &mut usize) -> TableAlias {
    *unnamed += 1;
    let name = Ident::new(format!("__derived_{unnamed}"));
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}
