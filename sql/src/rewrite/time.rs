//! Times: `FLOOR(x TO unit)`, `CEIL(x TO unit)`, `EXTRACT`, `MONOTONIC(x)` and interval literals. (`STEP` is
//! rewritten where it is parsed, by [`crate::dialect`].)

use datafusion::sql::sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, FunctionArguments, Ident, Spanned,
};

use crate::error::SqlError;
use crate::functions::{CEIL_TO, CLOCK, EXTRACT};
use crate::interval;
use crate::source::span_of;
use crate::syntax::{self, arguments_of, call};

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let span = expr.span();
    let new = match expr {
        Expr::Interval(interval) => interval::canonical(interval)?,
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(unit) } if is_unit(unit) => {
            call("date_trunc", span, vec![unit_name(unit)?, take(expr)])
        }
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(unit) } if is_unit(unit) => {
            call(CEIL_TO, span, vec![unit_name(unit)?, take(expr)])
        }
        Expr::Extract { field, expr, .. } if unit_name(field).is_ok() => {
            call(EXTRACT, span, vec![syntax::text(field.to_string()), take(expr)])
        }
        Expr::Identifier(name) if is_row_clock(name) => call(CLOCK, span, Vec::new()),
        other => return monotonic(other),
    };
    *expr = new;
    Ok(())
}

/// `MONOTONIC(x)` promises an order that the watermark holds anyway: it is `x`.
fn monotonic(expr: &mut Expr) -> Result<(), SqlError> {
    let Some(arguments) = arguments_of(expr, "MONOTONIC") else { return Ok(()) };
    let count = arguments.len();
    if count != 1 {
        let error = SqlError::new(format!("MONOTONIC has one argument, here {count}"))
            .with_hint("write MONOTONIC(expression)");
        return Err(span_of(expr.span()).into_iter().fold(error, SqlError::or_at));
    }
    let Expr::Function(function) = expr else { return Ok(()) };
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let argument = list.args.pop();
    if let Some(argument) = argument.and_then(syntax::into_expr) {
        *expr = Expr::Nested(Box::new(argument));
    }
    Ok(())
}

fn is_row_clock(name: &Ident) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case("CURRENT_ROW_TIMESTAMP")
}

fn is_unit(field: &DateTimeField) -> bool {
    *field != DateTimeField::NoDateTime
}

/// The unit as `date_trunc` names it.
fn unit_name(unit: &DateTimeField) -> Result<Expr, SqlError> {
    let name = match unit {
        DateTimeField::Year => "year",
        DateTimeField::Month => "month",
        DateTimeField::Day => "day",
        DateTimeField::Hour => "hour",
        DateTimeField::Minute => "minute",
        DateTimeField::Second => "second",
        other => {
            return Err(SqlError::new(format!("a time cannot be rounded to {other}"))
                .with_hint("the units are YEAR, MONTH, DAY, HOUR, MINUTE and SECOND"));
        }
    };
    Ok(syntax::text(name))
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), syntax::text(""))
}
