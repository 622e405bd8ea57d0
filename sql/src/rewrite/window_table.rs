//! `TUMBLE`, `HOP`, `CUMULATE` and `SESSION` as table functions, in Flink's form.
//!
//! `TABLE(HOP(TABLE bid, DESCRIPTOR(t), slide, size))` is every row of `bid` once per window it is in,
//! with the columns `window_start`, `window_end` and `window_time`. That is a derived table, in which
//! functions of ours stand for what the window of a row is:
//!
//! ```text
//!   SELECT *, __window_start(s, size), __window_end(s, size), __window_time(s, size)
//!   FROM (SELECT *, unnest(__hop(t, slide, size, offset)) AS s FROM bid WHERE t IS NOT NULL)
//! ```
//!
//! They are ordinary functions to the batch planner; the continuous one knows them by name. A row whose
//! time is NULL is in no window.
//!
//! Source: "Windowing table-valued functions" of the Apache Flink SQL documentation.

mod arguments;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, Ident, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use self::arguments::{Arguments, Data};
use crate::dialect::Streaming;
use crate::error::SqlError;
use crate::syntax;

/// The start of the tumbling window of a time: `(time, size, offset)`, all in milliseconds.
pub(crate) const TUMBLE: &str = "__tumble";
/// The starts of the hopping windows of a time: `(time, slide, size, offset)`.
pub(crate) const HOP: &str = "__hop";
/// The ends of the cumulating windows of a time: `(time, step, size, offset)`.
pub(crate) const CUMULATE: &str = "__cumulate";
/// The start of the session of a row, `OVER (PARTITION BY keys ORDER BY time)`: `(time, gap)`.
pub(crate) const SESSION_START: &str = "__session_start";
/// The end of the session of a row.
pub(crate) const SESSION_END: &str = "__session_end";
/// `(start, size)`: the start, of a window that is `size` long.
pub(crate) const WINDOW_START: &str = "__window_start";
/// `(start, size)`: the end of the window.
pub(crate) const WINDOW_END: &str = "__window_end";
/// `(start, size)`: the last millisecond of the window.
pub(crate) const WINDOW_TIME: &str = "__window_time";

/// The column that an inner select computes and the outer one turns into the three.
const INNER: &str = "__window";

/// Turns a window table function into the derived table that it means; other relations stay.
pub(super) fn table_factor(factor: &mut TableFactor) -> Result<(), SqlError> {
    let (function, alias) = match factor {
        TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
            (function.clone(), alias.take())
        }
        TableFactor::Table { name, args: Some(args), alias, .. } => {
            let function = syntax::function(name.clone(), args.args.clone());
            if Kind::of(&function).is_none() {
                return Ok(());
            }
            (function, alias.take())
        }
        _ => return Ok(()),
    };
    let Some(kind) = Kind::of(&function) else {
        if let TableFactor::TableFunction { alias: place, .. } = factor {
            *place = alias;
        }
        return Ok(());
    };
    let arguments = Arguments::read(kind, &function)?;
    let subquery = Box::new(derived(kind, arguments, is_lower(&function)));
    *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
    Ok(())
}

/// The window table functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Tumble, Self::Hop, Self::Cumulate, Self::Session];

    fn of(function: &Function) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| syntax::is_named(&function.name, kind.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE",
            Self::Hop => "HOP",
            Self::Cumulate => "CUMULATE",
            Self::Session => "SESSION",
        }
    }

    /// The intervals it takes, by name, in order; the last of all but `SESSION` may be left out.
    fn intervals(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["SIZE", "OFFSET"],
            Self::Hop => &["SLIDE", "SIZE", "OFFSET"],
            Self::Cumulate => &["STEP", "SIZE", "OFFSET"],
            Self::Session => &["GAP"],
        }
    }

    fn form(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(TABLE s, DESCRIPTOR(t), INTERVAL '10' SECOND)",
            Self::Hop => "HOP(TABLE s, DESCRIPTOR(t), INTERVAL '2' SECOND, INTERVAL '10' SECOND)",
            Self::Cumulate => {
                "CUMULATE(TABLE s, DESCRIPTOR(t), INTERVAL '1' MINUTE, INTERVAL '1' HOUR)"
            }
            Self::Session => "SESSION(TABLE s PARTITION BY k, DESCRIPTOR(t), INTERVAL '10' SECOND)",
        }
    }
}

/// Whether the text folds names to lower case; the names of the new columns are folded alike.
fn is_lower(function: &Function) -> bool {
    let ident = function.name.0.last().and_then(|part| part.as_ident());
    ident.is_some_and(|ident| ident.value.chars().all(char::is_lowercase))
}

fn derived(kind: Kind, arguments: Arguments, lower: bool) -> ast::Query {
    let name = |name: &str| if lower { name.to_lowercase() } else { name.to_owned() };
    let [start, end, time] = ["WINDOW_START", "WINDOW_END", "WINDOW_TIME"].map(name);
    let lengths = &arguments.lengths_ms;
    let list = lengths.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let length = |at: usize| lengths.get(at).copied().unwrap_or_default();
    let shown = |size: i64| (format!(", {WINDOW_START}({INNER}, {size}) AS \"{start}\""), size);
    let (inner, (start, size)) = match kind {
        Kind::Tumble => (format!("{TUMBLE}(\"__time\", {list}) AS {INNER}"), shown(length(0))),
        Kind::Hop => (format!("unnest({HOP}(\"__time\", {list})) AS {INNER}"), shown(length(1))),
        Kind::Cumulate => {
            let (size, offset) = (length(1), length(2));
            let last = format!("{WINDOW_TIME}({INNER}, 0)");
            let start = format!(", {TUMBLE}({last}, {size}, {offset}) AS \"{start}\"");
            (format!("unnest({CUMULATE}(\"__time\", {list})) AS {INNER}"), (start, 0))
        }
        Kind::Session => {
            let keys = (0..arguments.keys.len()).map(|key| format!("\"__key{key}\""));
            let keys = keys.collect::<Vec<_>>().join(", ");
            let by = if keys.is_empty() { String::new() } else { format!("PARTITION BY {keys} ") };
            let over = format!("(\"__time\", {list}) OVER ({by}ORDER BY \"__time\")");
            let start = format!("{SESSION_START}{over} AS \"{start}\"");
            (format!("{start}, {SESSION_END}{over} AS {INNER}"), (String::new(), 0))
        }
    };
    let text = format!(
        "SELECT * EXCEPT ({INNER}){start}, {WINDOW_END}({INNER}, {size}) AS \"{end}\", \
         {WINDOW_TIME}({INNER}, {size}) AS \"{time}\" \
         FROM (SELECT *, {inner} FROM \"__input\" WHERE \"__time\" IS NOT NULL)"
    );
    filled_in(&text, arguments)
}

/// The query of `text`, which is ours, with the arguments in their places.
fn filled_in(text: &str, arguments: Arguments) -> ast::Query {
    let parsed = Parser::new(&Streaming).try_with_sql(text).and_then(|mut p| p.parse_query());
    let Ok(query) = parsed else {
        // A text of ours parses; should it not, what is planned is an empty FROM, which is refused.
        return syntax::query(syntax::no_rows());
    };
    let mut query = *query;
    let Arguments { data, time, keys, .. } = arguments;
    let mut places = Places { data: Some(data), time, keys };
    let ControlFlow::Continue(()) = query.visit(&mut places);
    query
}

/// Puts arguments where their names stand.
struct Places {
    data: Option<Data>,
    time: Expr,
    keys: Vec<Expr>,
}

impl VisitorMut for Places {
    type Break = std::convert::Infallible;

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let is_input = matches!(factor, TableFactor::Table { name, .. }
            if syntax::ident_of(name).is_some_and(|ident| ident.value == "__input"));
        if is_input && let Some(data) = self.data.take() {
            *factor = data.into_factor(factor);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Identifier(Ident { value, .. }) = expr {
            let key = value.strip_prefix("__key").and_then(|at| at.parse::<usize>().ok());
            let given = match key {
                Some(at) => self.keys.get(at).cloned(),
                None => (value == "__time").then(|| self.time.clone()),
            };
            if let Some(given) = given {
                *expr = given;
            }
        }
        ControlFlow::Continue(())
    }
}
