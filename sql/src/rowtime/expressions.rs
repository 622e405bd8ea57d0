//! The word `ROWTIME` inside expressions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, Function, Ident, Spanned, VisitMut, VisitorMut};

use super::from::Source;
use super::{Names, is_rowtime, query, time_of};
use crate::error::SqlError;
use crate::functions::CLOCK;
use crate::source::span_of;
use crate::syntax::{arguments_of, call, is_named};

/// The aggregates whose arguments are about single rows, so that `ROWTIME` in them is the row's.
pub(crate) const AGGREGATES: [&str; 47] = [
    "ANY_VALUE",
    "APPROX_DISTINCT",
    "APPROX_MEDIAN",
    "APPROX_PERCENTILE_CONT",
    "APPROX_PERCENTILE_CONT_WITH_WEIGHT",
    "ARRAY_AGG",
    "AVG",
    "BIT_AND",
    "BIT_OR",
    "BIT_XOR",
    "BOOL_AND",
    "BOOL_OR",
    "CORR",
    "COUNT",
    "COVAR",
    "COVAR_POP",
    "COVAR_SAMP",
    "EVERY",
    "FIRST_VALUE",
    "GROUPING",
    "LAST_VALUE",
    "MAX",
    "MEAN",
    "MEDIAN",
    "MIN",
    "NTH_VALUE",
    "PERCENTILE_CONT",
    "QUANTILE_CONT",
    "REGR_AVGX",
    "REGR_AVGY",
    "REGR_COUNT",
    "REGR_INTERCEPT",
    "REGR_R2",
    "REGR_SLOPE",
    "REGR_SXX",
    "REGR_SXY",
    "REGR_SYY",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STRING_AGG",
    "SUM",
    "VAR",
    "VAR_POP",
    "VAR_POPULATION",
    "VAR_SAMP",
    "VAR_SAMPLE",
];

/// Whether a function without `OVER` sums up the rows of a group.
pub(super) fn is_aggregate(function: &Function) -> bool {
    function.over.is_none() && AGGREGATES.iter().any(|name| is_named(&function.name, name))
}

/// Whether `expr` is the word `ROWTIME` alone.
pub(super) fn is_bare_rowtime(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if is_rowtime(&ident.value))
}

/// `expr` without parentheses around it.
pub(super) fn unwrapped(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// What makes two expressions the same: how they read without parentheses around them.
pub(super) fn reading(expr: &Expr) -> String {
    unwrapped(expr).to_string()
}

/// Resolves the subqueries of an expression.
pub(super) fn subqueries(expr: &mut Expr, names: &mut Names<'_>) -> Result<(), SqlError> {
    match expr.visit(&mut Subqueries { names, depth: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Subqueries<'a, 'b> {
    names: &'a mut Names<'b>,
    /// How many queries we are inside of; those are resolved with the outermost.
    depth: usize,
}

impl VisitorMut for Subqueries<'_, '_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, inner: &mut ast::Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        if self.depth > 1 {
            return ControlFlow::Continue(());
        }
        match query(inner, self.names, false) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Replaces `ROWTIME` by the time of the input row, which the clock is given too: its rows end with it;
/// and columns that a windowed join has merged by what they stand for. Over tables alone all stay what
/// they are.
pub(super) fn in_input(expr: &mut Expr, sources: &[Source]) {
    if let Some(time) = time_of(sources) {
        let mut words = Words { depth: 0, time, sources };
        let ControlFlow::Continue(()) = expr.visit(&mut words);
    }
}

/// What `expr` stands for, if it is a column that a windowed join has merged.
pub(super) fn merged<'s>(expr: &Expr, sources: &'s [Source]) -> Option<&'s Expr> {
    let Expr::Identifier(name) = expr else { return None };
    sources.iter().rev().find_map(|source| source.stands_for(&name.value))
}

struct Words<'a> {
    depth: usize,
    time: Expr,
    sources: &'a [Source],
}

impl VisitorMut for Words<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if is_bare_rowtime(expr) {
            *expr = self.time.clone();
        } else if arguments_of(expr, CLOCK).is_some_and(|args| args.is_empty()) {
            *expr = call(CLOCK, expr.span(), vec![self.time.clone()]);
        } else if let Some(merged) = merged(expr, self.sources) {
            *expr = merged.clone();
        }
        ControlFlow::Continue(())
    }
}

/// What `ROWTIME` means behind a grouping.
pub(super) struct Grouped<'a> {
    pub(super) sources: &'a [Source],
    /// How each grouping expression reads, and the expression.
    pub(super) keys: &'a [(String, Expr)],
    /// The end of the window, if a grouping expression is one.
    pub(super) end: Option<&'a Expr>,
}

impl Grouped<'_> {
    /// Replaces `ROWTIME` in an expression over groups: inside a grouping expression or an aggregate it
    /// is the input row's, elsewhere the end of the window.
    pub(super) fn resolve(&self, expr: &mut Expr) -> Result<(), SqlError> {
        let mut found = Vec::new();
        let mut marker = Marker { grouped: self, found: &mut found, depth: 0 };
        if let ControlFlow::Break(error) = expr.visit(&mut marker) {
            return Err(error);
        }
        let ControlFlow::Continue(()) = expr.visit(&mut Restorer { found });
        Ok(())
    }
}

/// Marks begin with a character that no identifier of a text has.
const MARK: char = '\u{1}';

/// Puts marks where grouping expressions and window ends belong, so that they are not looked into.
struct Marker<'a, 'b> {
    grouped: &'a Grouped<'b>,
    found: &'a mut Vec<Expr>,
    depth: usize,
}

impl Marker<'_, '_> {
    fn mark(&mut self, replacement: Expr) -> Expr {
        self.found.push(replacement);
        Expr::Identifier(Ident::new(format!("{MARK}{}", self.found.len() - 1)))
    }
}

impl VisitorMut for Marker<'_, '_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut ast::Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        if is_bare_rowtime(expr) {
            return match self.grouped.end {
                Some(end) => {
                    *expr = self.mark(end.clone());
                    ControlFlow::Continue(())
                }
                None if time_of(self.grouped.sources).is_none() => ControlFlow::Continue(()),
                None => ControlFlow::Break(no_time(expr)),
            };
        }
        let mut qualified = expr.clone();
        in_input(&mut qualified, self.grouped.sources);
        let read = reading(&qualified);
        if let Some((_, key)) = self.grouped.keys.iter().find(|(key, _)| *key == read) {
            *expr = self.mark(key.clone());
        } else if matches!(expr, Expr::Function(function) if is_aggregate(function)) {
            *expr = qualified;
        }
        ControlFlow::Continue(())
    }
}

fn no_time(expr: &Expr) -> SqlError {
    let error = SqlError::new("a group has no ROWTIME unless it is grouped by time").with_hint(
        "group by STEP(s.ROWTIME BY INTERVAL '1' MINUTE) too, or select MIN(s.ROWTIME) AS ROWTIME",
    );
    let Expr::Identifier(ident) = expr else { return error };
    span_of(ident.span).into_iter().fold(error, SqlError::or_at)
}

struct Restorer {
    found: Vec<Expr>,
}

impl VisitorMut for Restorer {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Identifier(ident) = expr
            && let Some(number) = ident.value.strip_prefix(MARK)
            && let Some(found) = number.parse::<usize>().ok().and_then(|at| self.found.get(at))
        {
            *expr = found.clone();
        }
        ControlFlow::Continue(())
    }
}
