//! `STATE TTL`: for how long the rows of a relation count.
//!
//! `FROM orders AS o WITH (state_ttl = '1 day')` says so of one relation, `CREATE VIEW v WITH (state_ttl =
//! '1 day') AS …` and the same option of a sink of every stream that its query names. The relation becomes
//! the rows of it that count:
//!
//! ```text
//!   (SELECT * FROM orders WHERE __counts(ROWTIME, 86400000)) AS o
//! ```
//!
//! In batch every row counts. The continuous planner puts an operator in the place of the condition.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, Spanned, Value};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::SqlError;
use crate::interval::Amount;
use crate::rowtime::RelationShape;
use crate::source::span_of;
use crate::syntax::{call, number};

/// The name of the option.
pub(crate) const OPTION: &str = "state_ttl";

/// The condition on the rows that count: of a row's time, and for how many milliseconds it does.
pub(crate) const COUNTS: &str = "__counts";

/// A length of time, where it is written if it is.
pub(crate) type Ttl = (i64, Option<Span>);

/// Reads a length of time such as `1 day` or `90 minutes`, in milliseconds.
pub(crate) fn read(text: &str) -> Result<i64, SqlError> {
    let length = Amount::of_words(text).and_then(Amount::fixed_ms).filter(|length| *length > 0);
    length.ok_or_else(|| {
        SqlError::new(format!("'{text}' is no length of time"))
            .with_hint("write state_ttl = '1 day', in days, hours, minutes or seconds")
    })
}

/// Takes the hint out of those of a relation in `FROM`.
pub(crate) fn take(hints: &mut Vec<Expr>) -> Result<Option<Ttl>, SqlError> {
    let is_ttl = |hint: &Expr| match hint {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, .. } => {
            matches!(left.as_ref(), Expr::Identifier(name)
                if name.value.eq_ignore_ascii_case(OPTION))
        }
        _ => false,
    };
    let Some(at) = hints.iter().position(is_ttl) else { return Ok(None) };
    let hint = hints.remove(at);
    let span = hint.span();
    let Expr::BinaryOp { right, .. } = &hint else { return Ok(None) };
    let length = match right.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => read(text),
            other => read(&other.to_string()),
        },
        Expr::Interval(interval) => Amount::read(interval).and_then(|amount| {
            let length = amount.fixed_ms().filter(|length| *length > 0);
            length.ok_or_else(|| SqlError::new(format!("{interval} is no fixed length of time")))
        }),
        other => read(&other.to_string()),
    };
    length
        .map(|length| Some((length, Some(span))))
        .map_err(|error| span_of(span).into_iter().fold(error, SqlError::or_at))
}

/// The condition that a row of a relation counts.
pub(crate) fn counted((length, span): Ttl, shape: &RelationShape) -> Result<Expr, SqlError> {
    let time = shape.rowtime().ok_or_else(|| refused(span, "rows without ROWTIME"))?;
    let time = Expr::Identifier(Ident::new(time));
    Ok(call(COUNTS, span.unwrap_or_else(Span::empty), vec![time, number(length)]))
}

/// The error that there is no such thing of `what`.
pub(crate) fn refused(span: Option<Span>, what: &str) -> SqlError {
    let error = SqlError::new(format!("{what} cannot have a state_ttl")).with_hint(
        "say it of the stream that the rows come from: FROM s WITH (state_ttl = '1 day')",
    );
    span.and_then(span_of).into_iter().fold(error, SqlError::or_at)
}
