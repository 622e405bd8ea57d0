//! Which expressions only grow, or only fall, with the row's time: a group by one of them is complete as
//! soon as its value changes.
//!
//! Source: the monotonicity deduction table of the Kinesis Data Analytics SQL reference ("Monotonic
//! expressions and operators"). A time is taken to be later than 1970, so that `c / m` has one direction.

use std::cmp::Ordering;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CeilFloorKind, DateTimeField, Expr, UnaryOperator, Value,
};

use super::expressions::unwrapped;
use crate::functions::{CAST, CEIL_TO, DIFFERENCE, GIVEN, STEP, SUBSTR, SUBSTRING};
use crate::interval::Amount;
use crate::syntax::{arguments_of, is_named};

/// What an expression does as time goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// It stays what it is.
    Constant,
    /// It never falls.
    Rising,
    /// It never rises.
    Falling,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Constant => Self::Constant,
            Self::Rising => Self::Falling,
            Self::Falling => Self::Rising,
        }
    }

    /// The direction of this times something of that sign.
    fn times(self, sign: Ordering) -> Self {
        match sign {
            Ordering::Greater => self,
            Ordering::Less => self.reversed(),
            Ordering::Equal => Self::Constant,
        }
    }
}

/// The functions that are the time of planning.
const NOW: [&str; 6] =
    ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "NOW"];

/// The direction of `expr`, or why it has none; `is_time` says what the row's time is.
pub(crate) fn direction(expr: &Expr, is_time: &dyn Fn(&Expr) -> bool) -> Result<Direction, String> {
    let expr = unwrapped(expr);
    if is_time(expr) {
        return Ok(Direction::Rising);
    }
    match expr {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => Ok(Direction::Constant),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => direction(expr, is_time),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            Ok(direction(expr, is_time)?.reversed())
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) }
        | Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            direction(expr, is_time)
        }
        Expr::BinaryOp { left, op, right } => of_operator(left, op, right, is_time),
        // When the query was planned, for as long as it runs.
        Expr::Function(function) if NOW.iter().any(|name| is_named(&function.name, name)) => {
            Ok(Direction::Constant)
        }
        Expr::Function(function) => of_call(expr, is_time).unwrap_or_else(|| {
            let name = function.name.to_string().to_uppercase();
            Err(format!("{} is not known to keep an order", name.trim_start_matches('_')))
        }),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            Err(format!("{expr} is not made of the row's time"))
        }
        other => Err(format!("{other} is not known to keep an order")),
    }
}

fn of_operator(
    left: &Expr,
    op: &BinaryOperator,
    right: &Expr,
    is_time: &dyn Fn(&Expr) -> bool,
) -> Result<Direction, String> {
    let (a, b) = (direction(left, is_time)?, direction(right, is_time)?);
    match op {
        BinaryOperator::Plus => {
            sum(a, b).ok_or_else(|| format!("of {left} and {right} one rises and one falls"))
        }
        BinaryOperator::Minus => sum(a, b.reversed())
            .ok_or_else(|| format!("{left} and {right} go the same way, their difference may not")),
        BinaryOperator::Multiply => match (sign(left), sign(right)) {
            (_, Some(sign)) => Ok(a.times(sign)),
            (Some(sign), None) => Ok(b.times(sign)),
            (None, None) => Err(format!("neither {left} nor {right} is a constant")),
        },
        BinaryOperator::Divide => match (sign(left), sign(right)) {
            (_, Some(Ordering::Equal)) => Err(format!("{left} is divided by zero")),
            (_, Some(sign)) => Ok(a.times(sign)),
            (Some(sign), None) if is_positive(right, is_time) => Ok(b.reversed().times(sign)),
            (Some(_), None) => Err(format!("{right} may pass zero")),
            (None, None) => Err(format!("neither {left} nor {right} is a constant")),
        },
        other => Err(format!("{other} keeps no order")),
    }
}

/// Whether `expr` is above zero at every time later than 1970: nothing is taken from the time.
fn is_positive(expr: &Expr, is_time: &dyn Fn(&Expr) -> bool) -> bool {
    let expr = unwrapped(expr);
    let of = |expr: &Expr| is_positive(expr, is_time);
    let greater = |expr: &Expr| sign(expr) == Some(Ordering::Greater);
    match expr {
        _ if is_time(expr) => true,
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => {
            (greater(right) && of(left)) || (greater(left) && of(right))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Divide, right } => greater(right) && of(left),
        _ => {
            let first = ["unix_timestamp", STEP, CAST].into_iter();
            let first = first.filter_map(|name| arguments_of(expr, name)).next();
            first.is_some_and(|args| args.first().is_some_and(|value| of(value)))
        }
    }
}

fn sum(a: Direction, b: Direction) -> Option<Direction> {
    match (a, b) {
        (Direction::Constant, other) | (other, Direction::Constant) => Some(other),
        (a, b) => (a == b).then_some(a),
    }
}

/// The direction of a call; none of a function that is not among those that keep an order.
fn of_call(expr: &Expr, is_time: &dyn Fn(&Expr) -> bool) -> Option<Result<Direction, String>> {
    let args = |name| arguments_of(expr, name);
    let of = |expr: &Expr| direction(expr, is_time);
    for name in ["date_trunc", CEIL_TO, "date_bin"] {
        if let Some([unit, time, rest @ ..]) = args(name).as_deref() {
            let mut fixed = std::iter::once(unit).chain(rest);
            return fixed.all(|arg| of(arg) == Ok(Direction::Constant)).then(|| of(time));
        }
    }
    if let Some([value, width]) = args(STEP).as_deref() {
        return (sign(width) == Some(Ordering::Greater)).then(|| of(value));
    }
    if let Some([value, _]) = args(GIVEN).as_deref() {
        return Some(of(value));
    }
    for name in ["unix_timestamp", "to_timestamp"] {
        if let Some([time]) = args(name).as_deref() {
            return Some(of(time));
        }
    }
    let difference = match (args(DIFFERENCE).as_deref(), args("tsdiff").as_deref()) {
        (Some([to, from, ..]), _) | (_, Some([from, to])) => Some((*from, *to)),
        _ => None,
    };
    if let Some((from, to)) = difference {
        return Some(of_operator(to, &BinaryOperator::Minus, from, is_time));
    }
    if let Some([value, target, ..]) = args(CAST).as_deref() {
        return Some(of_cast(value, text(target).unwrap_or_default(), is_time));
    }
    for name in [SUBSTRING, SUBSTR] {
        if let Some([text, from, length @ ..]) = args(name).as_deref() {
            let is_front = number(from).is_some_and(|from| from <= 1.0)
                && length.iter().all(|length| of(length) == Ok(Direction::Constant));
            let front = || Err("what is cut out of the middle of a text begins again".to_owned());
            return Some(if is_front { of(text) } else { front() });
        }
    }
    None
}

fn of_cast(
    value: &Expr,
    target: &str,
    is_time: &dyn Fn(&Expr) -> bool,
) -> Result<Direction, String> {
    let of_value = direction(value, is_time)?;
    match target {
        "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "DECIMAL" | "REAL" | "DOUBLE"
        | "TIMESTAMP" | "DATE" | "INTERVAL" => Ok(of_value),
        "TIME" => Err("a TIME begins again every day".to_owned()),
        "VARCHAR" | "CHAR" if is_moment(value, is_time) => Ok(of_value),
        "VARCHAR" | "CHAR" => Err("the texts of numbers sort otherwise than numbers".to_owned()),
        other => Err(format!("a {other} keeps no order")),
    }
}

/// Whether `expr` is a `TIMESTAMP` or a `DATE`, whose texts sort as it does.
fn is_moment(expr: &Expr, is_time: &dyn Fn(&Expr) -> bool) -> bool {
    let expr = unwrapped(expr);
    if is_time(expr) {
        return true;
    }
    let rounded = ["date_trunc", CEIL_TO, "date_bin"].into_iter();
    if let Some(args) = rounded.filter_map(|name| arguments_of(expr, name)).next() {
        return args.get(1).is_some_and(|time| is_moment(time, is_time));
    }
    match arguments_of(expr, CAST).as_deref() {
        Some([_, target, ..]) => matches!(text(target), Some("TIMESTAMP" | "DATE")),
        _ => match expr {
            Expr::BinaryOp { left, right, .. } => {
                is_moment(left, is_time) && matches!(unwrapped(right), Expr::Interval(_))
            }
            _ => false,
        },
    }
}

fn text(expr: &Expr) -> Option<&str> {
    let Expr::Value(value) = expr else { return None };
    match &value.value {
        Value::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

/// The sign of a constant: a number or an interval.
pub(super) fn sign(expr: &Expr) -> Option<Ordering> {
    match unwrapped(expr) {
        Expr::Interval(interval) => {
            let Amount { months, ms } = Amount::read(interval).ok()?;
            Some((months, ms).cmp(&(0, 0)))
        }
        other => number(other)?.partial_cmp(&0.0),
    }
}

/// The value of a constant of numbers.
fn number(expr: &Expr) -> Option<f64> {
    match unwrapped(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(-number(expr)?),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => number(expr),
        Expr::BinaryOp { left, op, right } => {
            let (a, b) = (number(left)?, number(right)?);
            match op {
                BinaryOperator::Plus => Some(a + b),
                BinaryOperator::Minus => Some(a - b),
                BinaryOperator::Multiply => Some(a * b),
                _ => None,
            }
        }
        _ => None,
    }
}
