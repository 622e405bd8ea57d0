//! The table functions of models over the rows of a query: `RANDOM_CUT_FOREST`,
//! `RANDOM_CUT_FOREST_WITH_EXPLANATION` and `HOTSPOTS`.
//!
//! ```text
//!   TABLE(HOTSPOTS(CURSOR(q), 1000, 0.2, 17))
//!   (SELECT c.*, __hotspots('1000 0.2 17') OVER (ROWS UNBOUNDED PRECEDING) AS "HOTSPOTS_RESULT" FROM (q) AS c)
//! ```
//!
//! The columns with numbers are put in where they are known, in [`crate::plan`].
//!
//! Source: "Statistical variance and machine learning functions" of the Kinesis Data Analytics SQL
//! reference.

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArguments, Spanned, TableFactor, UnaryOperator, Value,
};

use super::items::{arguments, derived, query_of, written_out, wrong};
use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::is_named;

/// The window function that scores rows by a forest.
pub(crate) const FOREST_SCORE: &str = "__forest_score";

/// The window function that explains those scores.
pub(crate) const FOREST_EXPLANATION: &str = "__forest_explanation";

/// The window function that finds dense regions.
pub(crate) const HOTSPOTS: &str = "__hotspots";

/// How many columns of numbers a forest takes at most, as in Kinesis Data Analytics.
pub(crate) const NUMBERS_MAX: usize = 30;

/// Writes such a table function out.
pub(super) fn table_factor(factor: &mut TableFactor) -> Result<(), SqlError> {
    let TableFactor::TableFunction { expr: Expr::Function(function), alias } = factor else {
        return Ok(());
    };
    let write: fn(&mut Function) -> Result<(String, ast::Query), SqlError> =
        if is_named(&function.name, "RANDOM_CUT_FOREST") {
            |function| forest(function, false)
        } else if is_named(&function.name, "RANDOM_CUT_FOREST_WITH_EXPLANATION") {
            |function| forest(function, true)
        } else if is_named(&function.name, "HOTSPOTS") {
            hotspots
        } else {
            return Ok(());
        };
    let span = function.name.span();
    let (columns, cursor) =
        write(function).map_err(|error| span_of(span).into_iter().fold(error, SqlError::or_at))?;
    let text = format!("SELECT c.*, {columns} FROM (SELECT 1) AS c");
    let query = written_out(&text, span, cursor)?;
    *factor = derived(query, alias.take());
    Ok(())
}

const OVER: &str = "OVER (ROWS UNBOUNDED PRECEDING)";

fn forest(function: &mut Function, explains: bool) -> Result<(String, ast::Query), SqlError> {
    let usage = if explains {
        "RANDOM_CUT_FOREST_WITH_EXPLANATION(CURSOR(SELECT STREAM …) [, trees [, sample size [, time decay \
         [, shingle size [, with directionality]]]]])"
    } else {
        "RANDOM_CUT_FOREST(CURSOR(SELECT STREAM …) [, trees [, sample size [, time decay [, shingle size]]]])"
    };
    let most = if explains { 6 } else { 5 };
    let mut given = some_arguments(function, 1..=most, usage)?.into_iter();
    let cursor = query_of(given.next().ok_or_else(|| wrong(usage))?, usage)?;
    let mut whole = |default: u64, least: u64, most: u64, what: &str| match given.next() {
        None => Ok(default),
        Some(expr) => number(&expr, |number: &u64| (least..=most).contains(number))
            .ok_or_else(|| SqlError::new(format!("the {what} is a number from {least} to {most}"))),
    };
    let trees = whole(100, 1, 1_000, "number of trees")?;
    let sample = whole(256, 10, 1_000, "sample size of a forest")?;
    let decay = whole(100_000, 1, 2_147_483_647, "time decay of a forest")?;
    let shingle = whole(1, 1, 30, "shingle size of a forest")?;
    if sample >= decay {
        return Err(SqlError::new("the sample size of a forest is less than its time decay"));
    }
    let directions = match given.next() {
        None => false,
        Some(Expr::Value(value)) if matches!(value.value, Value::Boolean(_)) => {
            value.value == Value::Boolean(true)
        }
        Some(_) => return Err(wrong(usage)),
    };
    let settings = format!("'{trees} {sample} {decay} {shingle} {}'", u8::from(directions));
    let mut text = format!("{FOREST_SCORE}({settings}) {OVER} AS \"ANOMALY_SCORE\"");
    if explains {
        text += &format!(", {FOREST_EXPLANATION}({settings}) {OVER} AS \"ANOMALY_EXPLANATION\"");
    }
    Ok((text, cursor))
}

fn hotspots(function: &mut Function) -> Result<(String, ast::Query), SqlError> {
    let usage = "HOTSPOTS(CURSOR(SELECT STREAM …), window size, scan radius, minimum of points)";
    let [cursor, window, radius, points] = arguments(function, usage)?;
    let cursor = query_of(cursor, usage)?;
    let window = number(&window, |number: &u64| (100..=1_000).contains(number))
        .ok_or_else(|| SqlError::new("the window size of HOTSPOTS is a number from 100 to 1000"))?;
    let radius = number(&radius, |radius: &f64| *radius > 0.0 && radius.is_finite())
        .ok_or_else(|| SqlError::new("the scan radius of HOTSPOTS is a number above 0"))?;
    let points =
        number(&points, |number: &u64| (2..=window).contains(number)).ok_or_else(|| {
            SqlError::new(format!(
                "the minimum of points of HOTSPOTS is a number from 2 to {window}"
            ))
        })?;
    let text = format!("{HOTSPOTS}('{window} {radius:?} {points}') {OVER} AS \"HOTSPOTS_RESULT\"");
    Ok((text, cursor))
}

/// The arguments of the call, if there are as many.
fn some_arguments(
    function: &mut Function,
    counts: std::ops::RangeInclusive<usize>,
    usage: &str,
) -> Result<Vec<Expr>, SqlError> {
    let FunctionArguments::List(list) = &mut function.args else { return Err(wrong(usage)) };
    let all = list.args.len();
    let arguments: Vec<Expr> = list.args.drain(..).filter_map(crate::syntax::into_expr).collect();
    if arguments.len() != all || !counts.contains(&all) {
        return Err(wrong(usage));
    }
    Ok(arguments)
}

/// A number that is written out.
fn number<T: std::str::FromStr>(expr: &Expr, is_right: impl Fn(&T) -> bool) -> Option<T> {
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => number(expr, is_right),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok().filter(is_right),
            _ => None,
        },
        _ => None,
    }
}
