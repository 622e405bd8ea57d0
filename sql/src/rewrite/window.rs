//! Sliding windows in KDA's form: a frame without an order.
//!
//! `OVER (PARTITION BY k RANGE INTERVAL '1' HOUR PRECEDING)` means: the rows that have arrived before
//! this one and are not older than an hour. Standard SQL would call for an `ORDER BY` and take rows of
//! the same time in; so an order by [`ARRIVAL_ORDER`] is put in, under which no two rows are equal.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DateTimeField, Expr, Ident, NamedWindowExpr, OrderByExpr, OrderByOptions, Select, TableFactor,
    VisitMut, VisitorMut, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use millstream_engine::definition::ROWTIME;

use crate::error::SqlError;
use crate::rowtime::windowed::named_window;
use crate::source::span_of;
use crate::spelling::did_you_mean;
use crate::statement::clauses::{FOLLOWING, ROWS};
use crate::syntax::{self, call};

/// The marker function of the order in which rows arrive: its argument is the row's `ROWTIME`; rows of
/// the same time follow each other in the order of arrival, and none is a peer of another.
pub const ARRIVAL_ORDER: &str = "__arrival_order";

/// Puts the named windows of a `SELECT` where they are used, and orders into KDA's frames.
pub(super) fn select(select: &mut Select) -> Result<(), SqlError> {
    let mut windows = Windows { named: named(select)? };
    for item in &mut select.from {
        let joined = item.joins.iter_mut().map(|join| &mut join.relation);
        for relation in std::iter::once(&mut item.relation).chain(joined) {
            place_named(relation, &windows.named)?;
        }
    }
    let mut result = select.projection.visit(&mut windows);
    if result.is_continue() {
        result = select.qualify.visit(&mut windows);
    }
    match result {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => {
            select.named_window.clear();
            Ok(())
        }
    }
}

/// Puts a named window where a relation in `FROM` uses it, as the hint that one written there is.
fn place_named(
    relation: &mut TableFactor,
    named: &HashMap<String, WindowSpec>,
) -> Result<(), SqlError> {
    let TableFactor::Table { with_hints, .. } = relation else { return Ok(()) };
    let Some(name) = named_window(with_hints) else { return Ok(()) };
    let spec = find(named, name)?;
    if !spec.partition_by.is_empty() {
        let error = SqlError::new("a window on a relation in FROM has no PARTITION BY");
        return Err(at(
            name,
            error.with_hint("the condition behind ON says which rows belong together"),
        ));
    }
    let hint = spec.window_frame.as_ref().and_then(hint_of).ok_or_else(|| {
        let error = SqlError::new("this window cannot stand on a relation in FROM");
        at(name, error.with_hint("write RANGE INTERVAL '1' MINUTE PRECEDING"))
    })?;
    *with_hints = vec![hint];
    Ok(())
}

/// The hint for a frame that ends at the current row or begins there.
fn hint_of(frame: &WindowFrame) -> Option<Expr> {
    if !matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow)) {
        return None;
    }
    let length = match &frame.start_bound {
        WindowFrameBound::CurrentRow if frame.units == WindowFrameUnits::Rows => {
            return Some(call(ROWS, Span::empty(), vec![syntax::number(0)]));
        }
        WindowFrameBound::CurrentRow => {
            return Some(syntax::interval("0", DateTimeField::Second));
        }
        WindowFrameBound::Preceding(Some(length)) | WindowFrameBound::Following(Some(length)) => {
            length.as_ref().clone()
        }
        _ => return None,
    };
    match (&frame.units, &frame.start_bound) {
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(_)) => Some(length),
        (WindowFrameUnits::Range, _) => Some(call(FOLLOWING, Span::empty(), vec![length])),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(_)) => {
            Some(call(ROWS, Span::empty(), vec![length]))
        }
        _ => None,
    }
}

/// The windows of `WINDOW w AS (…), …`, each free of references to others.
fn named(select: &Select) -> Result<HashMap<String, WindowSpec>, SqlError> {
    let mut named: HashMap<String, WindowSpec> = HashMap::new();
    for definition in &select.named_window {
        let spec = match &definition.1 {
            NamedWindowExpr::NamedWindow(name) => find(&named, name)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => merged(&named, spec.clone())?,
        };
        if named.insert(definition.0.value.clone(), spec).is_some() {
            let message = format!("window {} is defined twice", definition.0.value);
            return Err(at(&definition.0, SqlError::new(message).with_hint("rename one of them")));
        }
    }
    Ok(named)
}

fn find<'a>(
    named: &'a HashMap<String, WindowSpec>,
    name: &Ident,
) -> Result<&'a WindowSpec, SqlError> {
    named.get(&name.value).ok_or_else(|| {
        let mut known: Vec<&str> = named.keys().map(String::as_str).collect();
        known.sort_unstable();
        let error = SqlError::new(format!("there is no window {}", name.value));
        at(name, error.with_hint(did_you_mean(&name.value, known, "windows")))
    })
}

fn at(name: &Ident, error: SqlError) -> SqlError {
    span_of(name.span).into_iter().fold(error, SqlError::or_at)
}

/// `(w …)`: the window `w` with what the parentheses add.
fn merged(
    named: &HashMap<String, WindowSpec>,
    mut spec: WindowSpec,
) -> Result<WindowSpec, SqlError> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let mut base = find(named, &name)?.clone();
    if !spec.partition_by.is_empty() {
        let error = SqlError::new(format!("window {} has its partitions already", name.value));
        return Err(at(
            &name,
            error.with_hint("leave PARTITION BY out, or write the window in full"),
        ));
    }
    if !spec.order_by.is_empty() {
        base.order_by = spec.order_by;
    }
    base.window_frame = spec.window_frame.or(base.window_frame);
    Ok(base)
}

struct Windows {
    named: HashMap<String, WindowSpec>,
}

impl VisitorMut for Windows {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(over) = function.over.take() else { return ControlFlow::Continue(()) };
        let spec = match over {
            WindowType::NamedWindow(name) => find(&self.named, &name).cloned(),
            WindowType::WindowSpec(spec) => merged(&self.named, spec),
        };
        match spec {
            Ok(spec) => {
                let in_arrival = spec.order_by.is_empty() && spec.window_frame.is_some();
                function.over = Some(WindowType::WindowSpec(ordered(spec)));
                if in_arrival {
                    return super::stop_on(super::arrival::function(function));
                }
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The window with an order, if it has a frame and none.
fn ordered(mut spec: WindowSpec) -> WindowSpec {
    let Some(frame) = &mut spec.window_frame else { return spec };
    if !spec.order_by.is_empty() {
        return spec;
    }
    let WindowFrame { end_bound, .. } = frame;
    end_bound.get_or_insert(WindowFrameBound::CurrentRow);
    let rowtime = Expr::Identifier(Ident::new(ROWTIME));
    spec.order_by.push(OrderByExpr {
        expr: call(ARRIVAL_ORDER, Span::empty(), vec![rowtime]),
        options: OrderByOptions { asc: None, nulls_first: None },
        with_fill: None,
    });
    spec
}
