//! The arguments of a window table function, by place or by name.

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Spanned, TableFactor,
};

use super::Kind;
use crate::dialect::PARTITIONED;
use crate::error::SqlError;
use crate::interval::Amount;
use crate::source::span_of;
use crate::syntax;

/// What a window table function was given.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) data: Data,
    /// The column whose windows they are.
    pub(super) time: Expr,
    /// What a session is of, beside the time.
    pub(super) keys: Vec<Expr>,
    /// The intervals in milliseconds, in the order of [`Kind::intervals`], the offset included.
    pub(super) lengths_ms: Vec<i64>,
}

/// The rows that are given windows.
#[derive(Debug)]
pub(super) enum Data {
    Relation(ObjectName),
    Query(Box<ast::Query>),
}

impl Data {
    /// The rows in place of the table `placeholder`.
    pub(super) fn into_factor(self, placeholder: &TableFactor) -> TableFactor {
        match self {
            Self::Query(subquery) => {
                TableFactor::Derived { lateral: false, subquery, alias: None, sample: None }
            }
            Self::Relation(relation) => {
                let mut factor = placeholder.clone();
                if let TableFactor::Table { name, .. } = &mut factor {
                    *name = relation;
                }
                factor
            }
        }
    }
}

impl Arguments {
    pub(super) fn read(kind: Kind, function: &Function) -> Result<Self, SqlError> {
        let given = Given::of(kind, function)?;
        let (data, keys) = data(kind, given.get("DATA", 0)?)?;
        if !keys.is_empty() && kind != Kind::Session {
            return Err(given
                .refused(format!("{} has no PARTITION BY", kind.name()))
                .with_hint("a window is for all rows; GROUP BY the columns beside window_start"));
        }
        let time = descriptor(kind, given.get("TIMECOL", 1)?)?;
        let mut lengths_ms = Vec::new();
        for (at, name) in kind.intervals().iter().enumerate() {
            lengths_ms.push(match given.find(name, at + 2) {
                None if *name == "OFFSET" => 0,
                None => return Err(given.missing(name)),
                Some(interval) => length(kind, name, interval)?,
            });
        }
        if let (Kind::Cumulate, [step, size, _]) = (kind, lengths_ms.as_slice())
            && size % step != 0
        {
            return Err(given
                .refused("the size of CUMULATE is no multiple of its step".to_owned())
                .with_hint(
                    "the windows of one start end a step after one another: STEP, then SIZE",
                ));
        }
        Ok(Self { data, time, keys, lengths_ms })
    }
}

/// The arguments as written.
struct Given<'a> {
    kind: Kind,
    function: &'a Function,
    /// Each with its name in upper case, if it has one.
    args: Vec<(Option<String>, &'a Expr)>,
}

impl<'a> Given<'a> {
    fn of(kind: Kind, function: &'a Function) -> Result<Self, SqlError> {
        let mut given = Self { kind, function, args: Vec::new() };
        let FunctionArguments::List(list) = &function.args else {
            return Err(given.missing("DATA"));
        };
        let allowed = kind.intervals().len() + 2;
        for arg in &list.args {
            let (name, value) = match arg {
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    let upper = name.value.to_uppercase();
                    let known = ["DATA", "TIMECOL"];
                    if !known.iter().chain(kind.intervals()).any(|known| *known == upper) {
                        let message = format!("{} has no argument {}", kind.name(), name.value);
                        return Err(given.refused(message));
                    }
                    (Some(upper), value)
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (None, value),
                _ => return Err(given.refused(format!("{} cannot take {arg}", kind.name()))),
            };
            given.args.push((name, value));
        }
        if given.args.len() > allowed {
            let count = given.args.len();
            let message = format!("{} has {allowed} arguments at most, here {count}", kind.name());
            return Err(given.refused(message));
        }
        Ok(given)
    }

    /// The argument `name`, or the one at place `at` if arguments go by place.
    fn find(&self, name: &str, at: usize) -> Option<&'a Expr> {
        let named = self.args.iter().find(|(given, _)| given.as_deref() == Some(name));
        let placed = || self.args.get(at).filter(|(given, _)| given.is_none());
        named.or_else(placed).map(|(_, value)| *value)
    }

    fn get(&self, name: &str, at: usize) -> Result<&'a Expr, SqlError> {
        self.find(name, at).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> SqlError {
        self.refused(format!("{} needs {}", self.kind.name(), described(name)))
    }

    fn refused(&self, message: String) -> SqlError {
        let span = span_of(self.function.name.span());
        let error = SqlError::new(message).with_hint(format!("write TABLE({})", self.kind.form()));
        span.into_iter().fold(error, SqlError::or_at)
    }
}

fn described(name: &str) -> &'static str {
    match name {
        "DATA" => "a table: TABLE name, or a query in parentheses",
        "TIMECOL" => "the column of the time: DESCRIPTOR(column)",
        "SLIDE" => "its SLIDE and its SIZE",
        "STEP" => "its STEP and its SIZE",
        "GAP" => "its GAP, an interval",
        _ => "its SIZE, an interval",
    }
}

fn at(expr: &Expr, error: SqlError) -> SqlError {
    span_of(expr.span()).into_iter().fold(error, SqlError::or_at)
}

fn data(kind: Kind, expr: &Expr) -> Result<(Data, Vec<Expr>), SqlError> {
    if let Some(parts) = syntax::arguments_of(expr, PARTITIONED)
        && let [rows, keys @ ..] = parts.as_slice()
    {
        let (data, _) = data(kind, rows)?;
        return Ok((data, keys.iter().map(|key| (*key).clone()).collect()));
    }
    let data = match expr {
        Expr::Identifier(name) => Data::Relation(ObjectName::from(vec![name.clone()])),
        Expr::CompoundIdentifier(names) => Data::Relation(ObjectName::from(names.clone())),
        Expr::Subquery(query) => Data::Query(query.clone()),
        Expr::Nested(inner) => return data(kind, inner),
        other => {
            let error = SqlError::new(format!("{} needs a table, not {other}", kind.name()));
            return Err(at(other, error.with_hint(format!("write TABLE({})", kind.form()))));
        }
    };
    Ok((data, Vec::new()))
}

fn descriptor(kind: Kind, expr: &Expr) -> Result<Expr, SqlError> {
    let columns = syntax::arguments_of(expr, "DESCRIPTOR").unwrap_or_default();
    if let [column @ (Expr::Identifier(Ident { .. }) | Expr::CompoundIdentifier(_))] =
        columns.as_slice()
    {
        return Ok((*column).clone());
    }
    let error = SqlError::new(format!("{expr} is no DESCRIPTOR of a time column"))
        .with_hint(format!("write TABLE({})", kind.form()));
    Err(at(expr, error))
}

fn length(kind: Kind, name: &str, expr: &Expr) -> Result<i64, SqlError> {
    let refused = |why: &str| {
        let message = format!("the {} of {} {why}", name.to_lowercase(), kind.name());
        at(expr, SqlError::new(message).with_hint("write INTERVAL '10' SECOND, or another unit"))
    };
    let Expr::Interval(interval) = expr else { return Err(refused("is not an interval")) };
    let ms = Amount::read(interval)?.fixed_ms();
    let ms = ms.ok_or_else(|| refused("must have a fixed length, and months have not"))?;
    if name != "OFFSET" && ms <= 0 {
        return Err(refused("is not longer than nothing"));
    }
    Ok(ms)
}
