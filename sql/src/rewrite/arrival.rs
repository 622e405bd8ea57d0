//! `FIRST_VALUE`, `LAST_VALUE`, `NTH_VALUE`, `LAG` and `EXP_AVG` over a window in KDA's form, as calls
//! of aggregates that take the rows of the frame in the order of their arrival.
//!
//! ```text
//!   FIRST_VALUE(x)                   __nth(x, 'FIRST', 1, ignores nulls, NULL)
//!   NTH_VALUE(x, n) FROM LAST        __nth(x, 'LAST', n, …, NULL)
//!   LAG(x, n, d)                     __nth(x, 'BEFORE', n, …, d)
//!   EXP_AVG(x, INTERVAL …)           __exp_avg(x, ROWTIME, INTERVAL …)
//! ```

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    NullTreatment, ObjectName, Spanned, UnaryOperator, Value,
};
use millstream_engine::definition::ROWTIME;

use crate::error::SqlError;
use crate::interval::Amount;
use crate::source::span_of;
use crate::statement::clauses::FROM_LAST_MARK;
use crate::syntax::{into_expr, is_named, number, text};

/// The aggregate that is one row of the frame.
pub(crate) const NTH: &str = "__nth";

/// The aggregate that weighs rows by their age.
pub(crate) const EXP_AVG: &str = "__exp_avg";

/// Rows are counted from the first of the frame.
pub(crate) const FROM_FIRST: &str = "FIRST";

/// Rows are counted from the last of the frame.
pub(crate) const FROM_LAST: &str = "LAST";

/// Rows are counted back from the row itself, which is the last.
const BEFORE: &str = "BEFORE";

/// Replaces such a call, whose window has a frame and no order.
pub(super) fn function(function: &mut Function) -> Result<(), SqlError> {
    let names = ["FIRST_VALUE", "LAST_VALUE", "NTH_VALUE", "LAG", "EXP_AVG"];
    let Some(name) = names.into_iter().find(|name| is_named(&function.name, name)) else {
        return Ok(());
    };
    let span = function.name.span();
    let ignores_nulls = ignores_nulls(function);
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let args: Vec<Expr> = list.args.drain(..).filter_map(into_expr).collect();
    let null = || Expr::Value(Value::Null.into());
    let arguments = |value, mode: &str, n: Expr, default| {
        let ignores = Expr::Value(Value::Boolean(ignores_nulls).into());
        vec![value, text(mode), n, ignores, default]
    };
    let mut args = args.into_iter();
    let given = (args.next(), args.next(), args.next(), args.next());
    let (replaced, args) = match (name, given) {
        ("FIRST_VALUE", (Some(value), None, ..)) => {
            (NTH, arguments(value, FROM_FIRST, number(1), null()))
        }
        ("LAST_VALUE", (Some(value), None, ..)) => {
            (NTH, arguments(value, FROM_LAST, number(1), null()))
        }
        ("NTH_VALUE", (Some(value), Some(n), from_last, None)) => {
            let mode = if from_last.is_some_and(|mark| mark == text(FROM_LAST_MARK)) {
                FROM_LAST
            } else {
                FROM_FIRST
            };
            (NTH, arguments(value, mode, n, null()))
        }
        ("LAG", (Some(value), n, default, None)) => {
            let n = n.unwrap_or_else(|| number(1));
            (NTH, arguments(value, BEFORE, n, default.unwrap_or_else(null)))
        }
        ("EXP_AVG", (Some(value), Some(half_life), None, None)) => {
            (EXP_AVG, vec![value, Expr::Identifier(Ident::new(ROWTIME)), half_life])
        }
        _ => {
            let error = SqlError::new(format!("{name} takes other arguments")).with_hint(
                "FIRST_VALUE(x), NTH_VALUE(x, n), LAG(x [, n [, default]]), EXP_AVG(x, INTERVAL …)",
            );
            return Err(span_of(span).into_iter().fold(error, SqlError::or_at));
        }
    };
    if let Some(message) = out_of_range(name, &args) {
        let error = SqlError::new(message).with_hint("rows of a window are at or before the row");
        return Err(span_of(span).into_iter().fold(error, SqlError::or_at));
    }
    let unnamed = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
    list.args = args.into_iter().map(unnamed).collect();
    function.name =
        ObjectName::from(vec![Ident { value: replaced.to_owned(), quote_style: None, span }]);
    Ok(())
}

/// What is wrong with how many rows away, or how long, if that is a literal.
fn out_of_range(name: &str, args: &[Expr]) -> Option<String> {
    if let [_, _, Expr::Interval(half_life)] = args {
        let length = Amount::read(half_life).ok()?.fixed_ms();
        return length
            .is_none_or(|length| length <= 0)
            .then(|| format!("{name} takes an INTERVAL of days to seconds, longer than nothing"));
    }
    let [_, _, count, ..] = args else { return None };
    let least = i64::from(name == "NTH_VALUE");
    let count = match count {
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => -1,
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<i64>().ok()?,
            _ => return None,
        },
        _ => return None,
    };
    (count < least).then(|| format!("{name} counts rows from {least} on"))
}

/// Takes what is said about NULLs out, inside the parentheses or behind them.
fn ignores_nulls(function: &mut Function) -> bool {
    let mut treatment = function.null_treatment.take();
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.retain(|clause| match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(said) => {
                treatment = Some(*said);
                false
            }
            _ => true,
        });
    }
    treatment == Some(NullTreatment::IgnoreNulls)
}
