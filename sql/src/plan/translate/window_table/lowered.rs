//! A plan above rows in windows that overlap, in terms of the rows as they were before.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, Projection, SubqueryAlias, Unnest, cast, utils::conjunction,
};
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::event_window::Overlapping;

use super::with_columns;
use crate::error::SqlError;
use crate::plan::window_functions::overlapping;
use crate::rewrite::window_table::{WINDOW_END, WINDOW_START, WINDOW_TIME};

/// Rows that are about to be given windows.
#[derive(Debug)]
pub(super) struct Windowed {
    pub(super) windows: Overlapping,
    /// The rows, with the time in place of the list of its windows.
    pub(super) input: LogicalPlan,
    /// Which column that is.
    pub(super) column: usize,
}

impl Windowed {
    /// What `unnest` unnests, if that is a list of windows.
    pub(super) fn of(unnest: &Unnest) -> Option<Self> {
        let [(column, list)] = unnest.list_type_columns.as_slice() else { return None };
        let as_they_are =
            unnest.dependency_indices.iter().copied().eq(0..unnest.input.schema().fields().len());
        if list.depth != 1 || !unnest.struct_type_columns.is_empty() || !as_they_are {
            return None;
        }
        let (input, windows) = with_time(&unnest.input, *column)?;
        Some(Self { windows, input, column: *column })
    }
}

/// `plan` with the time in place of its column `column`, the list of the time's windows.
fn with_time(plan: &LogicalPlan, column: usize) -> Option<(LogicalPlan, Overlapping)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut exprs = projection.expr.clone();
            let (qualifier, field) = plan.schema().qualified_field(column);
            match exprs.get(column)?.clone().unalias() {
                Expr::ScalarFunction(call) => {
                    let numbers: Option<Vec<i64>> = call.args.iter().skip(1).map(number).collect();
                    let windows = overlapping(call.func.name(), &numbers?)?;
                    let time = cast(call.args.first()?.clone(), TIMESTAMP_TYPE);
                    exprs[column] = time.alias_qualified(qualifier.cloned(), field.name());
                    let input = Arc::clone(&projection.input);
                    let plan = Projection::try_new(exprs, input).ok()?;
                    Some((LogicalPlan::Projection(plan), windows))
                }
                Expr::Column(below) => {
                    let below = projection.input.schema().index_of_column(&below).ok()?;
                    let (input, windows) = with_time(&projection.input, below)?;
                    let plan = Projection::try_new(exprs, Arc::new(input)).ok()?;
                    Some((LogicalPlan::Projection(plan), windows))
                }
                _ => None,
            }
        }
        LogicalPlan::Filter(filter) => {
            let (input, windows) = with_time(&filter.input, column)?;
            let plan = Filter::try_new(filter.predicate.clone(), Arc::new(input)).ok()?;
            Some((LogicalPlan::Filter(plan), windows))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let (input, windows) = with_time(&alias.input, column)?;
            let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone()).ok()?;
            Some((LogicalPlan::SubqueryAlias(plan), windows))
        }
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(number), _) => *number,
        _ => None,
    }
}

/// What stands between a `GROUP BY` and the windows of its rows.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) windowed: Windowed,
    /// The window, as the expressions here name it.
    window: Column,
    /// The columns of the plan.
    columns: Vec<(Column, Expr)>,
    /// What must hold of a row.
    pub(super) filters: Vec<Expr>,
}

impl Lowered {
    /// `plan` in terms of the rows before their windows; none if it is more than projections and
    /// filters above windows that overlap.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::Unnest(unnest) => {
                let windowed = Windowed::of(unnest)?;
                let window = unnest.schema.columns().into_iter().nth(windowed.column)?;
                let below = windowed.input.schema().columns();
                let columns = unnest.schema.columns().into_iter().zip(below);
                let is_window = |above: &Column| *above == window;
                let columns = columns.map(|(above, below)| {
                    let meant = if is_window(&above) { above.clone() } else { below };
                    (above, Expr::Column(meant))
                });
                let columns = columns.collect();
                Some(Self { windowed, window, columns, filters: Vec::new() })
            }
            LogicalPlan::Projection(projection) => {
                let mut lowered = Self::of(&projection.input)?;
                let exprs = lowered.all(&projection.expr).ok()?;
                let exprs = exprs.into_iter().map(Expr::unalias);
                lowered.columns = projection.schema.columns().into_iter().zip(exprs).collect();
                Some(lowered)
            }
            LogicalPlan::Filter(filter) => {
                let mut lowered = Self::of(&filter.input)?;
                let predicate = lowered.one(&filter.predicate).ok()?;
                lowered.filters.push(predicate);
                Some(lowered)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let mut lowered = Self::of(&alias.input)?;
                let exprs = lowered.columns.into_iter().map(|(_, expr)| expr);
                lowered.columns = alias.schema.columns().into_iter().zip(exprs).collect();
                Some(lowered)
            }
            _ => None,
        }
    }

    fn one(&self, expr: &Expr) -> Result<Expr, SqlError> {
        with_columns(expr, &|column| {
            self.columns.iter().find(|(known, _)| known == column).map(|(_, expr)| expr.clone())
        })
    }

    /// Expressions over the plan, in terms of the rows and their window.
    pub(super) fn all(&self, exprs: &[Expr]) -> Result<Vec<Expr>, SqlError> {
        exprs.iter().map(|expr| self.one(expr)).collect()
    }

    pub(super) fn reads_window(&self, expr: &Expr) -> bool {
        expr.column_refs().contains(&self.window)
    }

    pub(super) fn reads_window_alone(&self, expr: &Expr) -> bool {
        let read = expr.column_refs();
        read.len() == 1 && read.contains(&self.window)
    }

    /// Whether different windows have different values of `expr`.
    pub(super) fn tells_window(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Alias(alias) => self.tells_window(&alias.expr),
            Expr::Column(column) => *column == self.window,
            Expr::ScalarFunction(call) => {
                [WINDOW_START, WINDOW_END, WINDOW_TIME].contains(&call.func.name())
                    && call.args.first().is_some_and(|time| self.tells_window(time))
            }
            _ => false,
        }
    }

    /// `expr`, which reads the window alone, with `window` in its place.
    pub(super) fn over(&self, expr: &Expr, window: &Column) -> Result<Expr, SqlError> {
        let replaced = with_columns(expr, &|column| {
            (*column == self.window).then(|| Expr::Column(window.clone()))
        })?;
        Ok(replaced.unalias())
    }

    /// The rows that the filters leave, before their windows.
    pub(super) fn filtered(&self) -> DfResult<LogicalPlan> {
        let input = self.windowed.input.clone();
        let Some(predicate) = conjunction(self.filters.clone()) else { return Ok(input) };
        Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
    }

    /// The time of the rows that have this schema.
    pub(super) fn time(&self, schema: &DFSchema) -> Expr {
        let time = schema.columns().into_iter().nth(self.windowed.column);
        Expr::Column(time.unwrap_or_else(|| self.window.clone()))
    }
}
