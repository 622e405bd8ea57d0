//! `MOD(a, b)`: the remainder of a division, which DataFusion writes `a % b`.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, FunctionArguments, Spanned};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::{arguments_of, binary, into_expr};

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let span = expr.span();
    let Some(arguments) = arguments_of(expr, "MOD") else { return Ok(()) };
    let count = arguments.len();
    let Expr::Function(function) = &mut *expr else { return Ok(()) };
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let arguments: Vec<Expr> = list.args.drain(..).filter_map(into_expr).collect();
    let Ok([dividend, divisor]) = <[Expr; 2]>::try_from(arguments) else {
        let error = SqlError::new(format!("MOD has two arguments, here {count}"))
            .with_hint("write MOD(dividend, divisor)");
        return Err(span_of(span).into_iter().fold(error, SqlError::or_at));
    };
    let nested = |part| Expr::Nested(Box::new(part));
    *expr = binary(nested(dividend), BinaryOperator::Modulo, nested(divisor));
    Ok(())
}
