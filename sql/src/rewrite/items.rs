//! The table functions that count the items of a query by tumbling windows:
//! `TABLE(TOP_K_ITEMS_TUMBLING(CURSOR(SELECT STREAM …), 'column', k, seconds))` and
//! `TABLE(COUNT_DISTINCT_ITEMS_TUMBLING(CURSOR(SELECT STREAM …), 'column', seconds))`.
//!
//! Both are queries that can be written out, and become them. KDA counts approximately where there are
//! many items; here the counts are exact.
//!
//! `TABLE(GROUP_RANK(CURSOR(SELECT STREAM …), 'by', 'rank', 'desc', 'asc', idle, most))`, the ranks of rows
//! of equal times, is another. The clock closes the last group; how long it may idle is left alone.
//!
//! Source: "Top-K items", "Count distinct items" and "Group rank" of the Kinesis Data Analytics SQL
//! reference.

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SetExpr, Spanned,
    TableAlias, TableFactor, Value,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, Tokenizer};

use crate::dialect::{Lexical, Streaming};
use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::is_named;

const TOP_K: &str = "TOP_K_ITEMS_TUMBLING";
const COUNT_DISTINCT: &str = "COUNT_DISTINCT_ITEMS_TUMBLING";

const GROUP_RANK: &str = "GROUP_RANK";

/// The text that stands for a call over `(SELECT 1)`, and the query that belongs there.
type WriteOut = fn(&mut Function) -> Result<(String, ast::Query), SqlError>;

/// The longest window, in seconds, as in Kinesis Data Analytics.
const SECONDS_MAX: u64 = 3600;

/// The most items of a window, as in Kinesis Data Analytics.
const ITEMS_MAX: u64 = 100_000;

/// Writes such a table function out.
pub(super) fn table_factor(factor: &mut TableFactor) -> Result<(), SqlError> {
    let TableFactor::TableFunction { expr: Expr::Function(function), alias } = factor else {
        return Ok(());
    };
    let known: [(&str, WriteOut); 3] =
        [(TOP_K, top_k), (COUNT_DISTINCT, count_distinct), (GROUP_RANK, group_rank)];
    let Some((_, write)) = known.into_iter().find(|(name, _)| is_named(&function.name, name))
    else {
        return Ok(());
    };
    let span = function.name.span();
    let call = write(function);
    let (text, cursor) =
        call.map_err(|error| span_of(span).into_iter().fold(error, SqlError::or_at))?;
    let query = written_out(&text, span, cursor)?;
    *factor = derived(query, alias.take());
    Ok(())
}

pub(super) fn derived(query: ast::Query, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }
}

fn count_distinct(function: &mut Function) -> Result<(String, ast::Query), SqlError> {
    let usage = "COUNT_DISTINCT_ITEMS_TUMBLING(CURSOR(SELECT STREAM …), 'column', seconds)";
    let [cursor, column, seconds] = arguments(function, usage)?;
    let cursor = query_of(cursor, usage)?;
    let column = column_of(&column, usage)?;
    let seconds = number_of(&seconds, SECONDS_MAX, "seconds of the window")?;
    let text = format!(
        "SELECT COUNT(DISTINCT c.{column}) AS \"NUMBER_OF_DISTINCT_ITEMS\" FROM (SELECT 1) AS c \
         GROUP BY STEP(c.ROWTIME BY INTERVAL '{seconds}' SECOND)"
    );
    Ok((text, cursor))
}

fn top_k(function: &mut Function) -> Result<(String, ast::Query), SqlError> {
    let usage = "TOP_K_ITEMS_TUMBLING(CURSOR(SELECT STREAM …), 'column', k, seconds)";
    let [cursor, column, items, seconds] = arguments(function, usage)?;
    let cursor = query_of(cursor, usage)?;
    let column = column_of(&column, usage)?;
    let items = number_of(&items, ITEMS_MAX, "items of a window")?;
    let seconds = number_of(&seconds, SECONDS_MAX, "seconds of the window")?;
    let step = format!("STEP(c.ROWTIME BY INTERVAL '{seconds}' SECOND)");
    let item = format!("CAST(c.{column} AS VARCHAR)");
    let text = format!(
        "SELECT w.\"ITEM\", w.\"ITEM_COUNT\" FROM (SELECT {item} AS \"ITEM\", COUNT(*) AS \
         \"ITEM_COUNT\", ROW_NUMBER() OVER (PARTITION BY {step} ORDER BY COUNT(*) DESC, {item}) AS \
         \"PLACE\" FROM (SELECT 1) AS c GROUP BY {item}, {step}) AS w WHERE w.\"PLACE\" <= {items}"
    );
    Ok((text, cursor))
}

fn group_rank(function: &mut Function) -> Result<(String, ast::Query), SqlError> {
    let usage = "GROUP_RANK(CURSOR(SELECT STREAM …), 'by', 'rank', 'asc' or 'desc', 'asc' or 'desc', idle, most)";
    let [cursor, by, rank, order, order_out, idle, most] = arguments(function, usage)?;
    let cursor = query_of(cursor, usage)?;
    let (by, rank) = (column_of(&by, usage)?, column_of(&rank, usage)?);
    let (order, order_out) = (direction_of(&order, usage)?, direction_of(&order_out, usage)?);
    count_of(&idle, u64::MAX, "milliseconds of idling")?;
    let most = count_of(&most, u64::MAX, "rows of a group")?;
    let over = format!("OVER (PARTITION BY c.ROWTIME ORDER BY c.{by} {order})");
    let limit = match most {
        0 => String::new(),
        most => format!(" QUALIFY ROW_NUMBER() {over} <= {most}"),
    };
    let text = format!(
        "SELECT w.* FROM (SELECT c.*, CAST(RANK() {over} AS INTEGER) AS {rank} FROM (SELECT 1) AS c{limit}) \
         AS w ORDER BY w.ROWTIME, w.{rank} {order_out}"
    );
    Ok((text, cursor))
}

/// `'asc'` or `'desc'`.
fn direction_of(expr: &Expr, usage: &str) -> Result<&'static str, SqlError> {
    let Expr::Value(value) = expr else { return Err(wrong(usage)) };
    match &value.value {
        Value::SingleQuotedString(word) if word.eq_ignore_ascii_case("asc") => Ok("ASC"),
        Value::SingleQuotedString(word) if word.eq_ignore_ascii_case("desc") => Ok("DESC"),
        _ => Err(wrong(usage)),
    }
}

/// A number from 0 on.
fn count_of(expr: &Expr, most: u64, what: &str) -> Result<u64, SqlError> {
    let is_zero = matches!(expr, Expr::Value(value)
        if matches!(&value.value, Value::Number(digits, _) if digits == "0"));
    if is_zero { Ok(0) } else { number_of(expr, most, what) }
}

pub(super) fn wrong(usage: &str) -> SqlError {
    SqlError::new("the arguments of this table function are others").with_hint(usage.to_owned())
}

/// The arguments of the call, if there are as many.
pub(super) fn arguments<const N: usize>(
    function: &mut Function,
    usage: &str,
) -> Result<[Expr; N], SqlError> {
    let FunctionArguments::List(list) = &mut function.args else { return Err(wrong(usage)) };
    let arguments = list.args.drain(..).filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    arguments.collect::<Vec<_>>().try_into().map_err(|_| wrong(usage))
}

/// The query inside `CURSOR(…)`.
pub(super) fn query_of(expr: Expr, usage: &str) -> Result<ast::Query, SqlError> {
    match expr {
        Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. })
            if is_named(&name, "CURSOR") =>
        {
            Ok(*query)
        }
        _ => Err(wrong(usage)),
    }
}

/// The column that a text names, exactly, as it is written in a query.
fn column_of(expr: &Expr, usage: &str) -> Result<String, SqlError> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(name) => Ok(Ident::with_quote('"', name).to_string()),
            _ => Err(wrong(usage)),
        },
        _ => Err(wrong(usage)),
    }
}

pub(super) fn number_of(expr: &Expr, most: u64, what: &str) -> Result<u64, SqlError> {
    let number = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    number.filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        SqlError::new(format!("the {what} are a number from 1 to {most}"))
            .with_hint("write it out: it cannot be computed")
    })
}

/// The query `text`, which stands at `span`, over `cursor` in the place of its `(SELECT 1)`.
pub(super) fn written_out(
    text: &str,
    span: Span,
    cursor: ast::Query,
) -> Result<ast::Query, SqlError> {
    let unreadable = |error: String| SqlError::new(error);
    let mut tokens = Vec::new();
    Tokenizer::new(&Lexical, text)
        .tokenize_with_location_into_buf(&mut tokens)
        .map_err(|error| unreadable(error.to_string()))?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    tokens.iter_mut().for_each(|token| token.span = span);
    let mut parser = Parser::new(&Streaming).with_tokens_with_locations(tokens);
    let mut query = parser.parse_query().map_err(|error| unreadable(error.to_string()))?;
    if let Some(place) = innermost(&mut query) {
        *place = cursor;
    }
    Ok(*query)
}

/// The innermost derived table of a query of one relation.
fn innermost(query: &mut ast::Query) -> Option<&mut ast::Query> {
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let TableFactor::Derived { subquery, .. } = &mut select.from.first_mut()?.relation else {
        return None;
    };
    let is_last = matches!(subquery.body.as_ref(), SetExpr::Select(inner) if inner.from.is_empty());
    if is_last { Some(subquery) } else { innermost(subquery) }
}
