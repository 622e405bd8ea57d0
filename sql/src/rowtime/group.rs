//! `GROUP BY`: which expression is the window, and when it ends.
//!
//! A group is known to be complete when its window has passed; that is the `ROWTIME` of its row,
//! whatever the value of the grouping expression. It is computed from that expression, repeated word
//! for word so that the planner knows it for what it is.

use std::cmp::Ordering;
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, GroupByExpr, Ident, SelectItem, Spanned, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::expressions::{in_input, reading, unwrapped};
use super::from::Source;
use super::monotonic::{Direction, direction, sign};
use super::time_of;
use crate::functions::{CEIL_TO, CLOCK, DIFFERENCE};
use crate::rewrite::window_table::{WINDOW_END, WINDOW_START, WINDOW_TIME};
use crate::statement::clauses::{ENDS_AT, STAGGER};
use crate::syntax::{self, arguments_of, binary, call};

/// The grouping expressions, in terms of the input: ordinals and aliases replaced by what they stand
/// for. None for grouping sets, `GROUP BY ALL` and where there is no `GROUP BY`.
pub(super) fn keys<'a>(
    group_by: &'a mut GroupByExpr,
    projection: &[SelectItem],
    sources: &[Source],
) -> Option<&'a [Expr]> {
    let GroupByExpr::Expressions(keys, modifiers) = group_by else { return None };
    if keys.iter().any(|key| arguments_of(key, STAGGER).is_some()) {
        // A partition is by expressions: a number is the same for all rows, and no place in the list.
        keys.retain(|key| !matches!(key, Expr::Value(_)));
    }
    for key in keys.iter_mut() {
        if let Some(meant) = meant(key, projection, sources) {
            *key = meant;
        }
        in_input(key, sources);
        place_stagger(key, sources);
    }
    let is_set =
        |key: &Expr| matches!(key, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_));
    if keys.is_empty() || !modifiers.is_empty() || keys.iter().any(is_set) {
        return None;
    }
    Some(keys)
}

/// Puts the row's time in front of the length of a stagger window.
fn place_stagger(key: &mut Expr, sources: &[Source]) {
    if let Some(arguments) = arguments_of(key, STAGGER)
        && let [length] = arguments.as_slice()
        && let Some(time) = time_of(sources)
    {
        *key = call(STAGGER, key.span(), vec![time, (*length).clone()]);
    }
}

/// The selected expression that the ordinal or alias `key` stands for.
fn meant(key: &Expr, projection: &[SelectItem], sources: &[Source]) -> Option<Expr> {
    match key {
        Expr::Value(value) => {
            let Value::Number(digits, _) = &value.value else { return None };
            let at = digits.parse::<usize>().ok()?.checked_sub(1)?;
            match projection.get(at)? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    Some(expr.clone())
                }
                _ => None,
            }
        }
        Expr::Identifier(Ident { value: name, .. }) => {
            if sources.iter().any(|source| source.has(name)) {
                return None;
            }
            projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if alias.value == *name => {
                    Some(expr.clone())
                }
                _ => None,
            })
        }
        _ => None,
    }
}

/// How many milliseconds before the end of a row's window `expr` is, if it is one of those a window
/// table function makes.
pub(super) fn marked_end(expr: &Expr) -> Option<i64> {
    let size = |name| match arguments_of(expr, name)?.as_slice() {
        [_, Expr::Value(value)] => match &value.value {
            Value::Number(digits, _) => digits.parse::<i64>().ok(),
            _ => None,
        },
        _ => None,
    };
    let end = arguments_of(expr, WINDOW_END).map(|_| 0);
    end.or_else(|| arguments_of(expr, WINDOW_TIME).map(|_| 1)).or_else(|| size(WINDOW_START))
}

/// The end of the window, from a column of a window table function among `keys`.
fn end_column(keys: &[Expr], sources: &[Source]) -> Option<Expr> {
    let end = |key: &Expr| {
        let column = unwrapped(key);
        let before = sources.iter().find_map(|source| source.window_end(column))?;
        Some((before, column.clone()))
    };
    let (before, column) = keys.iter().filter_map(end).min_by_key(|(before, _)| *before)?;
    let length = Expr::Value(Value::Number(before.to_string(), false).into());
    Some(if before == 0 { column } else { call(WINDOW_END, Span::empty(), vec![column, length]) })
}

/// When the rows of a group are all there.
pub(super) struct WindowEnd {
    /// The end of the window that a row was grouped into.
    pub(super) end: Expr,
    /// Whether it is to be one more grouping expression.
    pub(super) is_key: bool,
}

/// The end of the window that a row was grouped into: from the expression over `ROWTIME` among `keys`;
/// without one, from a column of a window table function; without that, from an expression over a column
/// with a watermark of its own or over the clock; and without any, from the only one that rounds a time.
/// Else why there is none.
pub(super) fn window_end(keys: &[Expr], sources: &[Source]) -> Result<WindowEnd, String> {
    let found = |end: Expr| Ok(WindowEnd { end, is_key: false });
    let is_stagger = |key: &&Expr| arguments_of(key, STAGGER).is_some();
    if let Some(end) = keys.iter().find(is_stagger) {
        return found(end.clone());
    }
    let rowtimes = rowtimes(sources).ok_or("the rows of a table have no time")?;
    let others = other_times(sources);
    for (times, end_column) in [(&rowtimes, end_column(keys, sources)), (&others, None)] {
        let is_time = |expr: &Expr| times.iter().any(|time| (time.is)(expr));
        if std::ptr::eq(times, &raw const rowtimes) {
            refuse_two(keys, &is_time)?;
        }
        if let Some(end) = keys.iter().find_map(|key| end_of(key, &is_time)) {
            return found(end);
        }
        if let Some(end) = end_column {
            return found(end);
        }
        if let Some(end) = run_end(keys, times) {
            return Ok(WindowEnd { end, is_key: true });
        }
    }
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let mut rounded = keys.iter().filter(|key| rounds(key));
    let mut ends = rounded.by_ref().filter_map(|key| end_of(key, &is_column));
    match (ends.next(), ends.next()) {
        (Some(only), None) => found(only),
        _ if keys.is_empty() => Err("it is not grouped by a time".to_owned()),
        _ => Err(no_end(keys, &[rowtimes, others].concat())),
    }
}

/// Refuses two different expressions over the row's time: one of them says when a group is complete.
fn refuse_two(keys: &[Expr], is_time: &dyn Fn(&Expr) -> bool) -> Result<(), String> {
    let moves =
        |key: &&Expr| matches!(direction(key, is_time), Ok(Direction::Rising | Direction::Falling));
    let mut by_time = keys.iter().filter(moves).map(reading);
    let first = by_time.next();
    match by_time.find(|other| Some(other) != first.as_ref()) {
        Some(_) => Err("GROUP BY has two expressions over ROWTIME, and takes one".to_owned()),
        None => Ok(()),
    }
}

/// A time that windows may be over.
#[derive(Clone)]
struct Time<'a> {
    expr: Expr,
    /// Whether an expression is this time.
    is: Rc<dyn Fn(&Expr) -> bool + 'a>,
}

/// The row's time, and the `ROWTIME` of each source; none if the rows have no time.
fn rowtimes(sources: &[Source]) -> Option<Vec<Time<'static>>> {
    let times =
        std::iter::once(time_of(sources)?).chain(sources.iter().filter_map(Source::rowtime));
    let time = |expr: Expr| {
        let read = reading(&expr);
        Time { expr, is: Rc::new(move |expr: &Expr| reading(expr) == read) }
    };
    Some(times.map(time).collect())
}

/// The columns with a watermark of their own, and the clock.
fn other_times(sources: &[Source]) -> Vec<Time<'_>> {
    let column = |source, name| {
        let is = move |expr: &Expr| Source::name_in(source, unwrapped(expr)) == Some(name);
        Time { expr: source.column(name), is: Rc::new(is) }
    };
    let columns = sources
        .iter()
        .flat_map(|source| source.times().iter().map(move |name| column(source, name.as_str())));
    let is_clock = |expr: &Expr| arguments_of(unwrapped(expr), CLOCK).is_some();
    let clock = time_of(sources)
        .map(|time| Time { expr: call(CLOCK, Span::empty(), vec![time]), is: Rc::new(is_clock) });
    columns.chain(clock).collect()
}

/// The end of the time for which the first of `keys` that grows or falls with one of `times` stays what
/// it is.
fn run_end(keys: &[Expr], times: &[Time<'_>]) -> Option<Expr> {
    times.iter().find_map(|time| {
        let key = keys.iter().find(|key| {
            matches!(direction(key, time.is.as_ref()), Ok(Direction::Rising | Direction::Falling))
        })?;
        Some(call(ENDS_AT, key.span(), vec![key.clone(), time.expr.clone()]))
    })
}

/// Why none of `keys` ends.
fn no_end(keys: &[Expr], times: &[Time<'_>]) -> String {
    let is_time = |expr: &Expr| times.iter().any(|time| (time.is)(expr));
    let reason = |key: &Expr| match direction(key, &is_time) {
        Ok(Direction::Constant) => format!("{key} never changes"),
        Ok(_) => format!("{key} is made of several times"),
        Err(reason) => reason,
    };
    let mut reasons: Vec<String> = keys.iter().map(reason).collect();
    reasons.sort();
    reasons.dedup();
    reasons.join("; ")
}

/// When the window of the grouping expression `key` ends, if it is one over a time.
fn end_of(key: &Expr, is_time: &dyn Fn(&Expr) -> bool) -> Option<Expr> {
    let steps = steps(key, is_time)?;
    let add = |end: Expr, (op, step): (BinaryOperator, Expr)| binary(end, op, step);
    let key = match unwrapped(key) {
        sum @ Expr::BinaryOp { .. } => Expr::Nested(Box::new(sum.clone())),
        key => key.clone(),
    };
    Some(steps.into_iter().fold(key, add))
}

/// What must be done to `expr` to get the end of the window of times for which it is the same.
fn steps(expr: &Expr, is_time: &dyn Fn(&Expr) -> bool) -> Option<Vec<(BinaryOperator, Expr)>> {
    let expr = unwrapped(expr);
    if is_time(expr) {
        return Some(Vec::new());
    }
    if let Some(time) = rounded_up(expr) {
        return steps(time, is_time);
    }
    let (inner, op, step) = undone(expr)?;
    let mut steps_of_inner = steps(inner, is_time)?;
    // What was done last is undone first.
    steps_of_inner.insert(0, (op, step));
    Some(steps_of_inner)
}

/// The expression that `expr` moves, rounds or divides, and what undoes it.
fn undone(expr: &Expr) -> Option<(&Expr, BinaryOperator, Expr)> {
    if let Some([width, time]) = arguments_of(expr, "date_bin").as_deref() {
        return Some((time, BinaryOperator::Plus, (*width).clone()));
    }
    if let Some([unit, time]) = arguments_of(expr, "date_trunc").as_deref() {
        return Some((time, BinaryOperator::Plus, syntax::interval("1", unit_named(unit)?)));
    }
    if let Some([time, from, _]) = arguments_of(expr, DIFFERENCE).as_deref() {
        return is_constant(from).then(|| (*time, BinaryOperator::Plus, (*from).clone()));
    }
    let Expr::BinaryOp { left, op, right } = expr else { return None };
    let (moved, op, shift) = match op {
        BinaryOperator::Plus if is_constant(right) => (left, BinaryOperator::Minus, right),
        BinaryOperator::Plus if is_constant(left) => (right, BinaryOperator::Minus, left),
        BinaryOperator::Minus if is_constant(right) => (left, BinaryOperator::Plus, right),
        BinaryOperator::Divide if sign(right) == Some(Ordering::Greater) => {
            (left, BinaryOperator::Multiply, right)
        }
        _ => return None,
    };
    Some((moved, op, shift.as_ref().clone()))
}

/// Whether `expr` rounds a time, however it moves or divides what comes out.
fn rounds(expr: &Expr) -> bool {
    let expr = unwrapped(expr);
    let by = |name| arguments_of(expr, name).is_some();
    by("date_bin")
        || by("date_trunc")
        || rounded_up(expr).is_some()
        || undone(expr).is_some_and(|(inner, ..)| rounds(inner))
}

/// The time that `CEIL(time TO unit)` rounds, in the form the rewrite gave it.
fn rounded_up(expr: &Expr) -> Option<&Expr> {
    match arguments_of(expr, CEIL_TO)?.as_slice() {
        [_, time] => Some(time),
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match unwrapped(expr) {
        Expr::Interval(_) | Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        Expr::UnaryOp { expr, .. } => is_constant(expr),
        _ => false,
    }
}

fn unit_named(expr: &Expr) -> Option<DateTimeField> {
    let Expr::Value(value) = expr else { return None };
    let Value::SingleQuotedString(name) = &value.value else { return None };
    match name.as_str() {
        "year" => Some(DateTimeField::Year),
        "month" => Some(DateTimeField::Month),
        "day" => Some(DateTimeField::Day),
        "hour" => Some(DateTimeField::Hour),
        "minute" => Some(DateTimeField::Minute),
        "second" => Some(DateTimeField::Second),
        _ => None,
    }
}
