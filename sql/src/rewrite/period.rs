//! Temporal predicates, as comparisons of the ends of the periods. A period is `start <= t < end`.
//!
//! The reference shows what they cover in pictures. Taken here: `STRICTLY` means that the two neither
//! begin nor end together, and of two that follow each other that there is a gap between them;
//! `IMMEDIATELY` that there is none.
//!
//! Source: "Temporal predicates" of the Kinesis Data Analytics SQL reference.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Spanned, Value};

use crate::error::SqlError;
use crate::functions::PERIOD;
use crate::source::span_of;
use crate::syntax::{arguments_of, binary};

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let Some(arguments) = arguments_of(expr, PERIOD) else { return Ok(()) };
    let [name, start, end, other @ ..] = arguments.as_slice() else { return Ok(()) };
    let Expr::Value(name) = name else { return Ok(()) };
    let Value::SingleQuotedString(name) = &name.value else { return Ok(()) };
    let compare = |left: &Expr, op: BinaryOperator, right: &Expr| {
        binary((*left).clone(), op, (*right).clone())
    };
    let comparisons = match other {
        [at] => contains_moment(name, (start, end), at, &compare),
        [s, e] => periods(name, (start, end), (s, e), &compare),
        _ => None,
    };
    let Some(comparisons) = comparisons else {
        let error = SqlError::new(format!("{name} compares two periods")).with_hint(
            "the periods are (start, end); they OVERLAP, CONTAIN, EQUAL, PRECEDE, SUCCEED, LEAD or LAG",
        );
        return Err(span_of(expr.span()).into_iter().fold(error, SqlError::or_at));
    };
    let all = comparisons.into_iter().reduce(|a, b| binary(a, BinaryOperator::And, b));
    if let Some(all) = all {
        *expr = all;
    }
    Ok(())
}

type Compare<'a> = &'a dyn Fn(&Expr, BinaryOperator, &Expr) -> Expr;

fn contains_moment(
    name: &str,
    (start, end): (&Expr, &Expr),
    at: &Expr,
    compare: Compare<'_>,
) -> Option<Vec<Expr>> {
    match name {
        "CONTAINS" => Some(vec![
            compare(start, BinaryOperator::LtEq, at),
            compare(at, BinaryOperator::Lt, end),
        ]),
        "STRICTLY CONTAINS" => {
            Some(vec![compare(start, BinaryOperator::Lt, at), compare(at, BinaryOperator::Lt, end)])
        }
        _ => None,
    }
}

fn periods(
    name: &str,
    (s1, e1): (&Expr, &Expr),
    (s2, e2): (&Expr, &Expr),
    compare: Compare<'_>,
) -> Option<Vec<Expr>> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let overlaps = || vec![compare(s1, Lt, e2), compare(s2, Lt, e1)];
    let apart = || vec![compare(s1, NotEq, s2), compare(e1, NotEq, e2)];
    Some(match name {
        "EQUALS" => vec![compare(s1, Eq, s2), compare(e1, Eq, e2)],
        "CONTAINS" => vec![compare(s1, LtEq, s2), compare(e1, GtEq, e2)],
        "STRICTLY CONTAINS" => vec![compare(s1, Lt, s2), compare(e1, Gt, e2)],
        "OVERLAPS" => overlaps(),
        "STRICTLY OVERLAPS" => overlaps().into_iter().chain(apart()).collect(),
        "PRECEDES" => vec![compare(e1, LtEq, s2)],
        "STRICTLY PRECEDES" => vec![compare(e1, Lt, s2)],
        "IMMEDIATELY PRECEDES" => vec![compare(e1, Eq, s2)],
        "SUCCEEDS" => vec![compare(s1, GtEq, e2)],
        "STRICTLY SUCCEEDS" => vec![compare(s1, Gt, e2)],
        "IMMEDIATELY SUCCEEDS" => vec![compare(s1, Eq, e2)],
        "LEADS" => vec![compare(s1, Lt, s2)],
        "STRICTLY LEADS" => vec![compare(s1, Lt, s2), compare(e1, NotEq, e2)],
        "IMMEDIATELY LEADS" => vec![compare(s1, Lt, s2), compare(e1, Eq, s2)],
        "LAGS" => vec![compare(e1, Gt, e2)],
        "STRICTLY LAGS" => vec![compare(e1, Gt, e2), compare(s1, NotEq, s2)],
        "IMMEDIATELY LAGS" => vec![compare(e1, Gt, e2), compare(s1, Eq, e2)],
        _ => return None,
    })
}
