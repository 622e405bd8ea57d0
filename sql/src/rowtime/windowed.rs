//! Windowed joins: `FROM a OVER (RANGE INTERVAL … PRECEDING) JOIN b OVER (…) ON …`.
//!
//! A row meets the rows of the other side that are in that side's window when it comes; a side without
//! a window has its present rows in it, those of the same time. In plain SQL terms the window is a
//! condition on the two times. The row's time is the later of the two; a row that meets none comes out
//! when its own side's window lets go of it, and that is its time.
//!
//! Source: "JOIN clause" of the Kinesis Data Analytics SQL reference, and its six tables.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, JoinConstraint, JoinOperator, Spanned,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::from::Source;
use crate::error::SqlError;
use crate::interval::Amount;
use crate::source::span_of;
use crate::statement::clauses::{FOLLOWING, ROWS};
use crate::syntax::{self, arguments_of, binary, call};

/// The time of a row of an outer windowed join: its first argument is the time of the side that is
/// always there, its second that of the other, its third when the first is let go of.
pub(crate) const JOINED_AT: &str = millstream_engine::monotonic::JOINED_AT;

/// The window on a relation in `FROM`: how many milliseconds before and after a row of the other side
/// it reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Window {
    before: i64,
    after: i64,
}

impl Window {
    /// Reads the hint that the clause has become; none if there is none.
    pub(super) fn of(hints: &mut Vec<Expr>) -> Result<Option<Self>, SqlError> {
        let Some(hint) = hints.pop() else { return Ok(None) };
        if arguments_of(&hint, ROWS).is_some() {
            return Err(refused(
                &hint,
                "a window of ROWS cannot stand on a relation in FROM",
                "write RANGE INTERVAL '1' MINUTE PRECEDING: how many rows that are, time decides",
            ));
        }
        let following = arguments_of(&hint, FOLLOWING);
        let length = match &following {
            Some(arguments) => arguments.first().copied(),
            None => Some(&hint),
        };
        let length = length.and_then(length_ms).ok_or_else(|| {
            refused(
                &hint,
                "the window of a relation in FROM is no fixed length of time",
                "count it in days, hours, minutes or seconds",
            )
        })?;
        Ok(Some(match following {
            Some(_) => Self { before: 0, after: length },
            None => Self { before: length, after: 0 },
        }))
    }
}

fn length_ms(expr: &Expr) -> Option<i64> {
    let Expr::Interval(interval) = expr else { return None };
    Amount::read(interval).ok()?.fixed_ms().filter(|ms| *ms >= 0)
}

fn refused(expr: &Expr, message: &str, hint: &str) -> SqlError {
    let error = SqlError::new(message).with_hint(hint);
    span_of(expr.span()).into_iter().fold(error, SqlError::or_at)
}

/// What a join of two streams, of which at least one has a window, is by.
#[derive(Debug, Clone)]
pub(super) struct Meeting {
    left: Expr,
    right: Expr,
    /// The least and the greatest difference of the right time and the left, in milliseconds.
    least: i64,
    greatest: i64,
}

impl Meeting {
    /// Of streams with these times; none where neither side has a window or one has no time.
    pub(super) fn of(left: (Option<Expr>, Option<Window>), right: &Source) -> Option<Self> {
        let (left, left_window) = left;
        if left_window.is_none() && right.window.is_none() {
            return None;
        }
        let (a, b) = (left_window.unwrap_or_default(), right.window.unwrap_or_default());
        Some(Self {
            left: left?,
            right: right.rowtime()?,
            least: a.after.max(b.before),
            greatest: a.before.max(b.after),
        })
    }

    /// `right >= left - least AND right <= left + greatest`.
    pub(super) fn condition(&self) -> Expr {
        let at = |op, ms: i64| binary(self.left.clone(), op, milliseconds(ms));
        let compare = |op, bound| binary(self.right.clone(), op, bound);
        binary(
            compare(BinaryOperator::GtEq, at(BinaryOperator::Minus, self.least)),
            BinaryOperator::And,
            compare(BinaryOperator::LtEq, at(BinaryOperator::Plus, self.greatest)),
        )
    }

    /// Adds the condition to that of the join.
    pub(super) fn narrow(&self, operator: &mut JoinOperator) -> Result<(), SqlError> {
        if matches!(operator, JoinOperator::CrossJoin(_)) {
            *operator = JoinOperator::Inner(JoinConstraint::On(self.condition()));
            return Ok(());
        }
        let written = super::from::constraint_of(operator).ok_or_else(|| {
            SqlError::new("this join has no windows on its sides")
                .with_hint("JOIN, LEFT JOIN, RIGHT JOIN and FULL JOIN have")
        })?;
        *written = match std::mem::replace(written, JoinConstraint::None) {
            JoinConstraint::On(on) => {
                let on = Expr::Nested(Box::new(on));
                JoinConstraint::On(binary(on, BinaryOperator::And, self.condition()))
            }
            JoinConstraint::None => JoinConstraint::On(self.condition()),
            JoinConstraint::Natural | JoinConstraint::Using(_) => {
                return Err(SqlError::new("a windowed join is by ON")
                    .with_hint("write ON a.key = b.key instead of USING or NATURAL"));
            }
        };
        Ok(())
    }

    /// The time of a row of the join.
    pub(super) fn time(&self, operator: &JoinOperator) -> Expr {
        let (left, right) = (self.left.clone(), self.right.clone());
        let at =
            |expr: &Expr, ms: i64| binary(expr.clone(), BinaryOperator::Plus, milliseconds(ms));
        let joined = |args| call(JOINED_AT, Span::empty(), args);
        match operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {
                let released = at(&left, self.greatest);
                joined(vec![left, right, released])
            }
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => {
                let released = at(&right, self.least);
                joined(vec![right, left, released])
            }
            JoinOperator::FullOuter(_) => {
                let one = at(&left, self.greatest);
                let other = at(&right, self.least);
                let alone = call("coalesce", Span::empty(), vec![one, other]);
                joined(vec![left, right, alone])
            }
            _ => call("greatest", Span::empty(), vec![left, right]),
        }
    }
}

fn milliseconds(ms: i64) -> Expr {
    syntax::interval(ms.to_string(), DateTimeField::Millisecond)
}

/// Whether `hints` name a window of the `WINDOW` clause.
pub(crate) fn named_window(hints: &[Expr]) -> Option<&datafusion::sql::sqlparser::ast::Ident> {
    match hints {
        [Expr::Identifier(name)] => Some(name),
        _ => None,
    }
}
