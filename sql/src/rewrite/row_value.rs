//! Row values: `(a, b) = (c, d)` and its kin as comparisons of their parts, so that a part that is NULL
//! makes the whole unknown where it decides. DataFusion compares them as structs, to which NULLs are equal.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Spanned, UnaryOperator};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::binary;

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let span = expr.span();
    let new = match expr {
        Expr::BinaryOp { left, op, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Tuple(left), Expr::Tuple(right)) => compared(left, op, right),
            _ => return Ok(()),
        },
        Expr::InList { expr, list, negated } => {
            let Expr::Tuple(row) = expr.as_ref() else { return Ok(()) };
            let equal = |one: &Expr| match one {
                Expr::Tuple(one) => compared(row, &BinaryOperator::Eq, one),
                _ => None,
            };
            let any: Option<Vec<Expr>> = list.iter().map(equal).collect();
            any.and_then(|any| any.into_iter().reduce(|a, b| binary(a, BinaryOperator::Or, b))).map(
                |any| match negated {
                    true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) },
                    false => any,
                },
            )
        }
        _ => return Ok(()),
    };
    let Some(new) = new else {
        let error = SqlError::new("row values of different lengths cannot be compared")
            .with_hint("both have as many parts, such as (a, b) = (1, 2)");
        return Err(span_of(span).into_iter().fold(error, SqlError::or_at));
    };
    *expr = new;
    Ok(())
}

/// The comparison of two row values; none if it is none, or they differ in length.
fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    if left.len() != right.len() {
        return None;
    }
    let each = |op: &BinaryOperator, by: BinaryOperator| {
        let parts = left.iter().zip(right);
        let compared = parts.map(|(a, b)| binary(a.clone(), op.clone(), b.clone()));
        compared.reduce(|a, b| binary(a, by.clone(), b))
    };
    // The first part that differs decides.
    let first = |op: &BinaryOperator, last: &BinaryOperator| {
        let mut parts = left.iter().zip(right).rev();
        let (a, b) = parts.next()?;
        let whole = binary(a.clone(), last.clone(), b.clone());
        Some(parts.fold(whole, |rest, (a, b)| {
            let equal = binary(a.clone(), Eq, b.clone());
            let decided = binary(a.clone(), op.clone(), b.clone());
            binary(decided, Or, binary(equal, And, rest))
        }))
    };
    match op {
        Eq => each(&Eq, And),
        NotEq => each(&NotEq, Or),
        Lt => first(&Lt, &Lt),
        LtEq => first(&Lt, &LtEq),
        Gt => first(&Gt, &Gt),
        GtEq => first(&Gt, &GtEq),
        _ => None,
    }
}
