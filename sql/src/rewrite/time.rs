//! Times: `FLOOR(x TO unit)`, `CEIL(x TO unit)`, `EXTRACT`, `MONOTONIC(x)` and interval literals. (`STEP` is
//! rewritten where it is parsed, by [`crate::dialect`].)

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CeilFloorKind, DateTimeField, Expr, FunctionArguments, Ident, Spanned,
    UnaryOperator,
};

use crate::error::SqlError;
use crate::functions::{CEIL_TO, CLOCK, DIFFERENCE, EXTRACT};
use crate::interval;
use crate::source::span_of;
use crate::syntax::{self, arguments_of, binary, call};

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let span = expr.span();
    let new = match expr {
        Expr::Interval(interval) => interval::canonical(interval)?,
        Expr::Between { expr, low, high, negated }
            if [&*expr, &*low, &*high].into_iter().any(|side| is_interval(side)) =>
        {
            between(expr, low, high, *negated)
        }
        Expr::InList { expr, list, negated } if list.iter().any(is_interval) => {
            one_of(expr, list, *negated)
        }
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

/// Whether it is an interval, as far as the text says it.
fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => is_interval(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            is_interval(left) && is_interval(right)
        }
        other => arguments_of(other, DIFFERENCE).is_some(),
    }
}

/// `BETWEEN` of intervals as the comparisons that it stands for, which know that a day is 24 hours.
fn between(expr: &Expr, low: &Expr, high: &Expr, negated: bool) -> Expr {
    let above = binary(expr.clone(), BinaryOperator::GtEq, low.clone());
    let below = binary(expr.clone(), BinaryOperator::LtEq, high.clone());
    not_if(negated, binary(above, BinaryOperator::And, below))
}

/// `IN` a list of intervals likewise.
fn one_of(expr: &Expr, list: &[Expr], negated: bool) -> Expr {
    let equal = |one: &Expr| binary(expr.clone(), BinaryOperator::Eq, one.clone());
    let any = list.iter().map(equal).reduce(|a, b| binary(a, BinaryOperator::Or, b));
    not_if(negated, any.unwrap_or_else(|| syntax::text("")))
}

fn not_if(negated: bool, expr: Expr) -> Expr {
    if !negated {
        return expr;
    }
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
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
