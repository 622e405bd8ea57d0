//! Windowed joins: `FROM a OVER (RANGE INTERVAL … PRECEDING) JOIN b OVER (…) ON …`.
//!
//! A row meets the rows of the other side that are in that side's window when it comes; a side without
//! a window has its present rows in it, those of the same time. In plain SQL terms the window is a
//! condition on the two times. The row's time is the later of the two; a row that meets none comes out
//! when its own side's window lets go of it, and that is its time.
//!
//! A window of `ROWS` lets go of a row when so many others have come: in plain SQL terms at the time of
//! the row that many places behind it, which is a column of the relation.
//!
//! Source: "JOIN clause" of the Kinesis Data Analytics SQL reference, and its six tables.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, Ident, JoinConstraint, JoinOperator, OrderByExpr,
    OrderByOptions, SelectItem, Spanned, Value, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::SqlError;
use crate::interval::Amount;
use crate::rewrite::ARRIVAL_ORDER;
use crate::source::span_of;
use crate::statement::clauses::{FOLLOWING, ROWS};
use crate::syntax::{self, arguments_of, binary, call};

/// The time of a row of an outer windowed join: its first argument is the time of the side that is
/// always there, its second that of the other, its third when the first is let go of.
pub(crate) const JOINED_AT: &str = millstream_engine::monotonic::JOINED_AT;

/// The condition of a windowed join with a window of `ROWS`: of the time of either side, when its window
/// lets go of the row, and where that is by time how many milliseconds later.
pub(crate) const IN_WINDOW: &str = "__in_window";

/// The time of a row of such a join: its first argument is when the window of one side lets go of its
/// row, or the dataflow says that the row came about; then come the times of both sides, and when a row
/// that met none is let go of.
pub(crate) const MET_AT: &str = millstream_engine::monotonic::MET_AT;

/// The column of a relation with a window of `ROWS` that says when the window lets go of the row.
pub(super) const UNTIL: &str = "__UNTIL";

/// The window on a relation in `FROM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// How many milliseconds before and after a row of the other side it reaches.
    Times { before: i64, after: i64 },
    /// The last row and so many before it.
    Rows(u32),
}

impl Default for Window {
    /// The rows of the same time.
    fn default() -> Self {
        Self::Times { before: 0, after: 0 }
    }
}

impl Window {
    /// Reads the hint that the clause has become; none if there is none.
    pub(super) fn of(hints: &mut Vec<Expr>) -> Result<Option<Self>, SqlError> {
        let Some(hint) = hints.pop() else { return Ok(None) };
        if let Some(rows) = arguments_of(&hint, ROWS) {
            let rows = rows.first().and_then(|rows| count(rows));
            return rows.map(|rows| Some(Self::Rows(rows))).ok_or_else(|| {
                refused(
                    &hint,
                    "the window of a relation in FROM is no fixed number of rows",
                    "write ROWS 10 PRECEDING: the last row and the ten before it",
                )
            });
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
            Some(_) => Self::Times { before: 0, after: length },
            None => Self::Times { before: length, after: 0 },
        }))
    }

    fn before(self) -> i64 {
        match self {
            Self::Times { before, .. } => before,
            Self::Rows(_) => 0,
        }
    }

    fn after(self) -> i64 {
        match self {
            Self::Times { after, .. } => after,
            Self::Rows(_) => 0,
        }
    }
}

fn count(expr: &Expr) -> Option<u32> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// `LEAD(time, rows + 1)` in the order of arrival: when a window of so many rows lets go of each row.
pub(super) fn until(time: &str, rows: u32) -> SelectItem {
    let time = || Expr::Identifier(Ident::new(time));
    let mut lead = call("lead", Span::empty(), vec![time(), syntax::number(i128::from(rows) + 1)]);
    if let Expr::Function(function) = &mut lead {
        function.over = Some(WindowType::WindowSpec(WindowSpec {
            window_name: None,
            partition_by: Vec::new(),
            order_by: vec![OrderByExpr {
                expr: call(ARRIVAL_ORDER, Span::empty(), vec![time()]),
                options: OrderByOptions { asc: None, nulls_first: None },
                with_fill: None,
            }],
            window_frame: None,
        }));
    }
    SelectItem::ExprWithAlias { expr: lead, alias: Ident::new(UNTIL) }
}

fn length_ms(expr: &Expr) -> Option<i64> {
    let Expr::Interval(interval) = expr else { return None };
    Amount::read(interval).ok()?.fixed_ms().filter(|ms| *ms >= 0)
}

fn refused(expr: &Expr, message: &str, hint: &str) -> SqlError {
    let error = SqlError::new(message).with_hint(hint);
    span_of(expr.span()).into_iter().fold(error, SqlError::or_at)
}

/// One side of a windowed join.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) time: Expr,
    pub(super) window: Option<Window>,
    /// When its window of `ROWS` lets go of a row.
    pub(super) until: Option<Expr>,
}

impl Edge {
    fn window(&self) -> Window {
        self.window.unwrap_or_default()
    }

    /// When a row that meets none is let go of.
    fn released(&self, after: i64) -> Expr {
        self.until
            .clone()
            .unwrap_or_else(|| binary(self.time.clone(), BinaryOperator::Plus, milliseconds(after)))
    }
}

/// What a join of two streams, of which at least one has a window, is by.
#[derive(Debug, Clone)]
pub(super) struct Meeting {
    left: Edge,
    right: Edge,
    /// The least and the greatest difference of the right time and the left, in milliseconds; of windows
    /// of rows alone nothing.
    least: i64,
    greatest: i64,
}

impl Meeting {
    /// Of these sides; none where neither has a window.
    pub(super) fn of(left: Edge, right: Edge) -> Result<Option<Self>, SqlError> {
        if left.window.is_none() && right.window.is_none() {
            return Ok(None);
        }
        let (a, b) = (left.window(), right.window());
        let by_rows = left.until.is_some() || right.until.is_some();
        if by_rows && a.after().max(b.after()) > 0 {
            return Err(SqlError::new("a window of ROWS cannot meet one that is FOLLOWING")
                .with_hint("write the other window with PRECEDING"));
        }
        let (least, greatest) = (a.after().max(b.before()), a.before().max(b.after()));
        Ok(Some(Self { left, right, least, greatest }))
    }

    fn by_rows(&self) -> Option<&Expr> {
        self.left.until.as_ref().or(self.right.until.as_ref())
    }

    /// `right >= left - least AND right <= left + greatest`, or that one row is in the other's window.
    pub(super) fn condition(&self) -> Expr {
        let (left, right) = (&self.left.time, &self.right.time);
        if self.by_rows().is_some() {
            let side = |edge: &Edge| {
                let null = || Expr::value(Value::Null);
                let reach = match edge.window() {
                    Window::Times { before, .. } => syntax::number(before),
                    Window::Rows(_) => null(),
                };
                [edge.time.clone(), edge.until.clone().unwrap_or_else(null), reach]
            };
            let args = side(&self.left).into_iter().chain(side(&self.right)).collect();
            return call(IN_WINDOW, Span::empty(), args);
        }
        let at = |op, ms: i64| binary(left.clone(), op, milliseconds(ms));
        let compare = |op, bound| binary(right.clone(), op, bound);
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
        let (left, right) = (self.left.time.clone(), self.right.time.clone());
        let of_left = || self.left.released(self.greatest);
        let of_right = || self.right.released(self.least);
        let coalesced = || call("coalesce", Span::empty(), vec![of_left(), of_right()]);
        let joined = |first, second, alone: Expr| match self.by_rows() {
            Some(until) => call(MET_AT, Span::empty(), vec![until.clone(), first, second, alone]),
            None => call(JOINED_AT, Span::empty(), vec![first, second, alone]),
        };
        // A row that waits for those ahead of it keeps its time, where it is always there.
        let (of_a, of_b) = (self.left.window().after() > 0, self.right.window().after() > 0);
        match operator {
            JoinOperator::FullOuter(_) => {}
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) if !of_a || of_b => {}
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) if of_a || !of_b => {}
            _ if of_b && !of_a => return left,
            _ if of_a && !of_b => return right,
            _ => {}
        }
        match operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => joined(left, right, of_left()),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => joined(right, left, of_right()),
            JoinOperator::FullOuter(_) => joined(left, right, coalesced()),
            _ if self.by_rows().is_some() => joined(left, right, coalesced()),
            _ => call("greatest", Span::empty(), vec![left, right]),
        }
    }
}

fn milliseconds(ms: i64) -> Expr {
    syntax::interval(ms.to_string(), DateTimeField::Millisecond)
}

/// Whether `hints` name a window of the `WINDOW` clause.
pub(crate) fn named_window(hints: &[Expr]) -> Option<&Ident> {
    match hints {
        [Expr::Identifier(name)] => Some(name),
        _ => None,
    }
}
