//! Queries: sqlparser reads them, the rewrites make them KDA's, its errors become ours.

use datafusion::sql::sqlparser::ast::{self, Expr, SetExpr};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::dialect::{QUALIFIED_DIFFERENCE, Streaming};
use crate::error::{Position, Span, SqlError};
use crate::rewrite;
use crate::spelling::suggest;
use crate::statement::cursor::{Cursor, shorten};
use crate::statement::{Query, clauses, intervals, values};
use crate::tokens::{NESTING_MAX, is_word, place};

/// How deep sqlparser may recurse: a parenthesis takes it several levels down.
const RECURSION_MAX: usize = NESTING_MAX * 8;

/// Reads the query that the rest of the statement is. `streams` is where the `SELECT`s stand that say
/// `STREAM`.
pub(crate) fn query(cursor: &mut Cursor<'_>, streams: &[Location]) -> Result<Query, SqlError> {
    let tokens = cursor.rest();
    if tokens.is_empty() {
        return Err(cursor
            .expected("a query")
            .with_hint("a query begins with SELECT, WITH or VALUES"));
    }
    refuse_misread(tokens)?;
    let start = cursor.mark();
    let tokens = intervals::in_parentheses(&values::in_parentheses(tokens));
    let tokens = clauses::rewritten(&tokens)?;
    let mut ast = whole(cursor, &tokens, Parser::parse_query)?;
    while cursor.peek().is_some() {
        cursor.advance();
    }
    let span = cursor.span_since(start);
    rewrite::query(&mut ast).map_err(|error| error.or_at(span))?;
    let stream = says_stream(&ast, streams);
    Ok(Query { ast, stream, state_ttl: None, span })
}

/// Reads one expression from the tokens before the next `,` or `)` outside parentheses.
pub(crate) fn expression(cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    let rest = cursor.rest();
    let mut depth = 0_usize;
    let ends = |token: &TokenWithSpan| match token.token {
        Token::LParen => {
            depth += 1;
            false
        }
        Token::RParen if depth > 0 => {
            depth -= 1;
            false
        }
        Token::RParen | Token::Comma => depth == 0,
        _ => false,
    };
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    expression_of(cursor, length)
}

/// Reads the expression that the rest of the statement is.
pub(crate) fn whole_expression(cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    let length = cursor.rest().len();
    expression_of(cursor, length)
}

/// Reads the expression that the next tokens are, all of them.
fn expression_of(cursor: &mut Cursor<'_>, length: usize) -> Result<Expr, SqlError> {
    let tokens = cursor.rest().get(..length).unwrap_or_default();
    if tokens.is_empty() {
        return Err(cursor.expected("an expression"));
    }
    let expr = whole(cursor, tokens, Parser::parse_expr)?;
    for _ in 0..length {
        cursor.advance();
    }
    Ok(expr)
}

/// What `parse` makes of `tokens`, of which nothing may be left.
fn whole<T>(
    cursor: &Cursor<'_>,
    tokens: &[TokenWithSpan],
    parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
) -> Result<T, SqlError> {
    let mut parser = Parser::new(&Streaming)
        .with_recursion_limit(RECURSION_MAX)
        .with_tokens_with_locations(tokens.to_vec());
    let parsed = parse(&mut parser).map_err(|error| from_parser(&error, cursor))?;
    let left = parser.peek_token();
    if left.token != Token::EOF {
        return Err(left_over(cursor, &left));
    }
    Ok(parsed)
}

/// What would be misread rather than refused.
fn refuse_misread(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let is = |token: &TokenWithSpan, wanted: &str| matches!(&token.token, Token::Word(word) if is_word(word, wanted));
    for pair in tokens.windows(2) {
        let [first, second] = pair else { continue };
        if is(first, "SELECT") && is(second, "FROM") {
            return Err(SqlError::at(place(second), "nothing is selected").with_hint(
                "name columns or write *; STREAM behind SELECT is a keyword, a column of that name is \
                 \"STREAM\"",
            ));
        }
    }
    Ok(())
}

fn left_over(cursor: &Cursor<'_>, token: &TokenWithSpan) -> SqlError {
    let span = place(token);
    let found = shorten(cursor.source().slice(span));
    let error = SqlError::at(span, format!("expected the end of the query, found {found}"));
    if token.token == Token::RParen {
        return error.with_hint("there is no parenthesis open here");
    }
    let before = cursor.rest().iter().rev().find(|before| place(before).end < span.start);
    let near = before.and_then(|before| match &before.token {
        Token::Word(word) if word.quote_style.is_none() => {
            suggest(&word.value, CLAUSES).filter(|near| *near != word.value.to_uppercase())
        }
        _ => None,
    });
    match (near, before) {
        (Some(near), Some(before)) => {
            let written = cursor.source().slice(place(before));
            error.with_hint(format!("did you mean {near} instead of {written}?"))
        }
        _ => error.with_hint("end a statement with ; before the next one"),
    }
}

/// The words that a misspelling turns into an alias, so that the parser stumbles over the next word.
const CLAUSES: [&str; 12] = [
    "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "WINDOW", "JOIN", "LEFT", "INNER", "UNION",
    "LIMIT", "ON",
];

/// Whether the outermost `SELECT`, or that of any branch of an outermost `UNION`, stands in `streams`.
fn says_stream(query: &ast::Query, streams: &[Location]) -> bool {
    set_says_stream(&query.body, streams)
}

fn set_says_stream(body: &SetExpr, streams: &[Location]) -> bool {
    match body {
        SetExpr::Select(select) => streams.contains(&select.select_token.0.span.start),
        SetExpr::Query(query) => says_stream(query, streams),
        SetExpr::SetOperation { left, right, .. } => {
            set_says_stream(left, streams) || set_says_stream(right, streams)
        }
        _ => false,
    }
}

/// What sqlparser says, in our words: its place is taken out of its text, and what it found is shown
/// as written, not as folded.
fn from_parser(error: &ParserError, cursor: &Cursor<'_>) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            message.as_str()
        }
        ParserError::RecursionLimitExceeded => "nested too deeply",
    };
    let (message, position) = split_position(message);
    let token = position
        .and_then(|position| cursor.rest().iter().find(|token| place(token).start == position));
    let end = cursor.rest().last().map_or_else(
        || cursor.span(),
        |last| Span { start: place(last).end, end: place(last).end },
    );
    let span = token.map_or(end, place);
    let found = match token {
        Some(_) => shorten(cursor.source().slice(span)),
        None => "the end of the statement".to_owned(),
    };
    let message = match message.rsplit_once(", found: ") {
        Some((expected, _)) => format!("{}, found {found}", lower_first(expected)),
        None => lower_first(message),
    };
    let hint = hint_for(&message);
    let error = SqlError::at(span, message.replacen("expected: ", "expected ", 1));
    hint.into_iter().fold(error, SqlError::with_hint)
}

fn hint_for(message: &str) -> Option<&'static str> {
    if message.starts_with(QUALIFIED_DIFFERENCE) {
        Some("write (a - b) SECOND; to use the word as an alias, put AS before it")
    } else if message.contains("found the end of the statement") {
        Some("the statement breaks off here")
    } else if message.starts_with("expected: )") {
        Some("a parenthesis is open here and not closed")
    } else {
        None
    }
}

/// Parts `… at Line: 1, Column: 8` into text and place.
fn split_position(message: &str) -> (&str, Option<Position>) {
    let parse = |place: &str| {
        let (line, column) = place.split_once(", Column: ")?;
        Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
    };
    match message.rsplit_once(" at Line: ") {
        Some((text, place)) => match parse(place) {
            Some(position) => (text, Some(position)),
            None => (message, None),
        },
        None => (message, None),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
