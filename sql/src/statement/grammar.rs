//! The grammar of the statements around a query.
//!
//! ```text
//! CREATE [OR REPLACE] STREAM|TABLE name (columns) [DESCRIPTION '…'] [WITH (options)]
//! CREATE [OR REPLACE] VIEW name [WITH (state_ttl = '…')] AS query
//! CREATE [OR REPLACE] PUMP name [STOPPED|STARTED] [DESCRIPTION '…'] AS INSERT [EXPEDITED] INTO stream [(columns)] query
//! CREATE [OR REPLACE] SINK name FROM relation WITH (options)
//! CREATE [OR REPLACE] SINK name WITH (options) AS query
//! CREATE [OR REPLACE] FUNCTION name (parameters) RETURNS type … RETURN expression
//! DROP STREAM|TABLE|VIEW|PUMP|SINK|FUNCTION [IF EXISTS] name
//! CREATE [OR REPLACE] SCHEMA name · SET SCHEMA 'name'
//! EXPLAIN [ANALYZE] statement · DESCRIBE name · SHOW objects · SET key = value
//! START|STOP PUMP name · ALTER PUMP name, … START|STOP · START JOB · STOP JOB [number] · query
//! ```

use datafusion::sql::sqlparser::tokenizer::{Location, Token};
use millstream_engine::definition::{RelationDef, Rowtime};

use crate::catalog::{ERROR_STREAM, SCHEMA};
use crate::error::{Span, SqlError};
use crate::spelling::{did_you_mean, suggest};
use crate::state_ttl::OPTION;
use crate::statement::columns::{Columns, columns};
use crate::statement::cursor::Cursor;
use crate::statement::options::{Options, options};
use crate::statement::{
    Create, Name, Pump, Query, SinkInput, Statement, StatementKind, function, query,
};

/// The words a statement can begin with.
const BEGINNINGS: [&str; 15] = [
    "CREATE", "SELECT", "WITH", "VALUES", "DROP", "EXPLAIN", "DESCRIBE", "DESC", "SHOW", "SET",
    "START", "STOP", "ALTER", "INSERT", "TABLE",
];

/// What `DROP` and `CREATE` know.
const OBJECTS: [&str; 6] = ["STREAM", "TABLE", "VIEW", "PUMP", "SINK", "FUNCTION"];

/// What `SHOW` shows.
const SHOWN: [&str; 6] = ["STREAMS", "PUMPS", "SINKS", "TABLES", "VIEWS", "JOBS"];

/// Reads one statement to its end. `streams` is where the `SELECT`s stand that say `STREAM`.
pub(crate) fn statement(
    cursor: &mut Cursor<'_>,
    streams: &[Location],
) -> Result<Statement, SqlError> {
    let start = cursor.mark();
    let kind = kind(cursor, streams)?;
    cursor.end()?;
    let span = cursor.span_since(start);
    Ok(Statement { kind, span, text: cursor.source().slice(span).to_owned() })
}

fn kind(cursor: &mut Cursor<'_>, streams: &[Location]) -> Result<StatementKind, SqlError> {
    if begins_query(cursor) {
        return query::query(cursor, streams).map(StatementKind::Query);
    }
    match cursor.accept_one(&BEGINNINGS) {
        Some("CREATE") => create(cursor, streams),
        Some("DROP") => drop(cursor),
        Some("EXPLAIN") => explain(cursor, streams),
        Some("DESCRIBE" | "DESC") => {
            let span = cursor.span();
            let what = "the name of a stream, table, view or sink, or a path";
            match cursor.string(what) {
                Ok(value) => Ok(StatementKind::Describe(Name { value, span })),
                Err(_) => cursor.name(what).map(StatementKind::Describe),
            }
        }
        Some("SHOW") => match cursor.accept_one(&SHOWN) {
            Some(object) => Ok(StatementKind::Show(object.to_owned())),
            None => Err(one_of(cursor, &SHOWN)),
        },
        Some("SET") => set(cursor),
        Some(verb @ ("START" | "STOP")) => switch(cursor, verb == "START"),
        Some("ALTER") => alter(cursor),
        Some("INSERT") => Err(SqlError::at(
            cursor.span_since(cursor.mark().saturating_sub(1)),
            "INSERT is part of a pump and no statement of its own",
        )
        .with_hint("write CREATE PUMP name AS INSERT INTO …")),
        _ => Err(unknown_statement(cursor)),
    }
}

fn switch(cursor: &mut Cursor<'_>, start: bool) -> Result<StatementKind, SqlError> {
    match cursor.accept_one(&["PUMP", "JOB"]) {
        Some("PUMP") => {
            let names = pumps(cursor)?;
            Ok(StatementKind::SwitchPump { names, start })
        }
        Some(_) if start => Ok(StatementKind::StartJob),
        Some(_) => {
            let is_number = matches!(cursor.peek(), Some(Token::Number(..)));
            let number = is_number.then(|| cursor.number("the number of a job")).transpose()?;
            Ok(StatementKind::StopJob(number))
        }
        None => Err(one_of(cursor, &["PUMP", "JOB"])),
    }
}

fn unknown_statement(cursor: &Cursor<'_>) -> SqlError {
    let error = cursor.expected("a statement");
    match suggest(&cursor.found(), BEGINNINGS) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => {
            error.with_hint("a statement begins with CREATE, SELECT, EXPLAIN, SHOW, SET or DROP")
        }
    }
}

/// The error that one of `words` should stand here.
fn one_of(cursor: &Cursor<'_>, words: &[&str]) -> SqlError {
    let (last, first) = words.split_last().unwrap_or((&"", &[]));
    let error = cursor.expected(&format!("{} or {last}", first.join(", ")));
    match suggest(&cursor.found(), words.iter().copied()) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error,
    }
}

fn begins_query(cursor: &Cursor<'_>) -> bool {
    cursor.peek() == Some(&Token::LParen)
        || ["SELECT", "WITH", "VALUES"].iter().any(|word| cursor.is_at(0, word))
}

/// A schema as a setting. There is one, under whatever name.
fn schema(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let what = "the name of a schema";
    let value = match cursor.string(what) {
        // In quotes inside the string it is an identifier as it stands.
        Ok(name) => name,
        Err(_) => cursor.qualified_name(what)?.value,
    };
    Ok(StatementKind::Set { key: SCHEMA.to_owned(), value })
}

fn create(cursor: &mut Cursor<'_>, streams: &[Location]) -> Result<StatementKind, SqlError> {
    let or_replace = cursor.accept(&["OR", "REPLACE"]);
    if cursor.accept(&["SCHEMA"]) {
        return schema(cursor);
    }
    match cursor.accept_one(&OBJECTS) {
        Some("STREAM") => {
            let name = new_name(cursor, "the name of a stream")?;
            let create = Create { or_replace, ..relation(cursor, name, true)? };
            if create.def.columns.is_empty() {
                return Err(cursor
                    .expected("( and the columns of the stream")
                    .with_hint("CREATE STREAM name (column VARCHAR(16), other INTEGER)"));
            }
            Ok(StatementKind::CreateStream(create))
        }
        Some("TABLE") => {
            let name = new_name(cursor, "the name of a table")?;
            let create = Create { or_replace, ..relation(cursor, name, false)? };
            Ok(StatementKind::CreateTable(create))
        }
        Some("VIEW") => {
            let name = new_name(cursor, "the name of a view")?.value;
            let state_ttl = view_state_ttl(cursor)?;
            cursor.expect("AS")?;
            let query = Query { state_ttl, ..query::query(cursor, streams)? };
            Ok(StatementKind::CreateView { name, or_replace, query })
        }
        Some("PUMP") => pump(cursor, or_replace, streams).map(StatementKind::CreatePump),
        Some("SINK") => sink(cursor, or_replace, streams),
        Some("FUNCTION") => {
            let name = cursor.qualified_name("the name of a function")?;
            function::function(cursor, name, or_replace).map(StatementKind::CreateFunction)
        }
        _ => Err(one_of(cursor, &OBJECTS)),
    }
}

/// `[WITH (state_ttl = '…')]` of a view.
fn view_state_ttl(cursor: &mut Cursor<'_>) -> Result<Option<i64>, SqlError> {
    if !cursor.is_at(0, "WITH") {
        return Ok(None);
    }
    let mut options = options(cursor)?;
    let state_ttl = options.take_state_ttl()?;
    match (options.pairs.first(), options.spans.first()) {
        (Some((key, _)), Some((span, _))) => {
            Err(SqlError::at(*span, format!("a view has no option {key}"))
                .with_hint("the one option of a view is state_ttl"))
        }
        _ => Ok(state_ttl),
    }
}

/// The name of something new, which must not be the error stream's.
fn new_name(cursor: &mut Cursor<'_>, what: &str) -> Result<Name, SqlError> {
    let name = cursor.qualified_name(what)?;
    if name.value.eq_ignore_ascii_case(ERROR_STREAM) {
        return Err(SqlError::at(name.span, "the name error_stream is taken")
            .with_hint("late and bad rows are written there; choose another name"));
    }
    Ok(name)
}

/// `(columns) [DESCRIPTION '…'] [WITH (options)]` of a new stream or table.
fn relation(cursor: &mut Cursor<'_>, name: Name, is_stream: bool) -> Result<Create, SqlError> {
    let Columns { columns, watermark } = if cursor.peek() == Some(&Token::LParen) {
        columns(cursor, is_stream)?
    } else {
        Columns::default()
    };
    description(cursor)?;
    let options = if cursor.is_at(0, "WITH") { options(cursor)? } else { Options::default() };
    description(cursor)?;
    let field = options.find("rowtime").filter(|_| is_stream);
    let rowtime = match (watermark, field) {
        (Some(_), Some((_, spans))) => {
            return Err(SqlError::at(spans.0, "the stream has a WATERMARK and an option rowtime")
                .with_hint("keep one of them: the watermark's column is the row's time already"));
        }
        (Some((column, delay_ms)), None) => Rowtime::Column { column, delay_ms },
        (None, Some((value, _))) => Rowtime::Field(value.to_owned()),
        (None, None) => Rowtime::Arrival,
    };
    let def = RelationDef { name: name.value, columns, options: options.pairs, rowtime };
    Ok(Create { def, or_replace: false, name_span: name.span, option_spans: options.spans })
}

/// `[DESCRIPTION '…']`: checked for form; it has no meaning.
fn description(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.accept(&["DESCRIPTION"]) {
        cursor.string("the description")?;
    }
    Ok(())
}

fn pump(cursor: &mut Cursor<'_>, or_replace: bool, streams: &[Location]) -> Result<Pump, SqlError> {
    let name = new_name(cursor, "the name of a pump")?.value;
    description(cursor)?;
    let started = cursor.accept_one(&["STOPPED", "STARTED"]) != Some("STOPPED");
    description(cursor)?;
    cursor.expect("AS")?;
    cursor.expect("INSERT")?;
    let expedited = cursor.is_at(0, "EXPEDITED") && cursor.is_at(1, "INTO");
    if expedited {
        cursor.advance();
    }
    cursor.expect("INTO")?;
    let target = cursor.qualified_name("the name of a stream")?;
    let mut columns: Vec<Name> = Vec::new();
    let queries = ["SELECT", "WITH", "VALUES"];
    let is_query = queries.iter().any(|word| cursor.is_at(1, word))
        || cursor.peek_nth(1) == Some(&Token::LParen);
    if cursor.peek() == Some(&Token::LParen) && !is_query {
        cursor.advance();
        loop {
            let column = cursor.name("the name of a column")?;
            if columns.iter().any(|known| known.value == column.value) {
                return Err(SqlError::at(
                    column.span,
                    format!("column {} is there twice", column.value),
                )
                .with_hint("name each column of the stream once"));
            }
            columns.push(column);
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen, ", or )")?;
    }
    let query = query::query(cursor, streams)?;
    Ok(Pump { name, or_replace, started, target, columns, query })
}

fn sink(
    cursor: &mut Cursor<'_>,
    or_replace: bool,
    streams: &[Location],
) -> Result<StatementKind, SqlError> {
    let name = new_name(cursor, "the name of a sink")?;
    let Columns { columns, .. } = if cursor.peek() == Some(&Token::LParen) {
        columns(cursor, false)?
    } else {
        Columns::default()
    };
    let relation = if cursor.accept(&["FROM"]) {
        Some(cursor.qualified_name("the name of a stream or view")?)
    } else {
        None
    };
    if !cursor.is_at(0, "WITH") {
        let what = if relation.is_some() { "WITH (…)" } else { "FROM or WITH (…)" };
        return Err(cursor.expected(what).with_hint(
            "CREATE SINK name FROM stream WITH (connector = 'file', path = '…', format = 'csv')",
        ));
    }
    let mut options = options(cursor)?;
    let ttl_at = options.find(OPTION).map(|(_, (span, _))| span);
    let state_ttl = options.take_state_ttl()?;
    let input = match relation {
        Some(name) => match ttl_at {
            Some(span) => {
                return Err(SqlError::at(span, "a sink FROM a relation has no state_ttl")
                    .with_hint(
                        "say it of the view, or write CREATE SINK name WITH (…) AS SELECT STREAM …",
                    ));
            }
            None => SinkInput::Relation(name),
        },
        None if cursor.accept(&["AS"]) => {
            SinkInput::Query(Query { state_ttl, ..query::query(cursor, streams)? })
        }
        None => {
            return Err(cursor.expected("AS and a query").with_hint(
                "CREATE SINK name WITH (…) AS SELECT STREAM …, or CREATE SINK name FROM stream WITH (…)",
            ));
        }
    };
    let Options { pairs, spans } = options;
    let def = RelationDef { name: name.value, columns, options: pairs, rowtime: Rowtime::Arrival };
    let create = Create { def, or_replace, name_span: name.span, option_spans: spans };
    Ok(StatementKind::CreateSink { create, input })
}

fn drop(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let Some(object) = cursor.accept_one(&OBJECTS) else { return Err(one_of(cursor, &OBJECTS)) };
    let if_exists = cursor.accept(&["IF", "EXISTS"]);
    let name = cursor.qualified_name(&format!("the name of a {}", object.to_lowercase()))?;
    Ok(StatementKind::Drop { object: object.to_owned(), if_exists, name })
}

fn explain(cursor: &mut Cursor<'_>, streams: &[Location]) -> Result<StatementKind, SqlError> {
    let analyze = cursor.accept(&["ANALYZE"]);
    if cursor.is_at(0, "EXPLAIN") {
        return Err(cursor.expected("a query or a CREATE statement"));
    }
    let statement = Box::new(statement(cursor, streams)?);
    Ok(StatementKind::Explain { analyze, statement })
}

fn alter(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    if !cursor.accept(&["PUMP"]) {
        return Err(cursor
            .expected("PUMP")
            .with_hint("only pumps can be altered: ALTER PUMP name STOP"));
    }
    let names = pumps(cursor)?;
    match cursor.accept_one(&["START", "STOP"]) {
        Some(verb) => Ok(StatementKind::SwitchPump { names, start: verb == "START" }),
        None => Err(one_of(cursor, &["START", "STOP"])),
    }
}

/// `name, …`, each with the schema it may be written with; `*` stands for all.
fn pumps(cursor: &mut Cursor<'_>) -> Result<Vec<Name>, SqlError> {
    let mut names = Vec::new();
    loop {
        let schema = matches!(cursor.peek(), Some(Token::Word(_)))
            && cursor.peek_nth(1) == Some(&Token::Period)
            && cursor.peek_nth(2) == Some(&Token::Mul);
        if schema {
            cursor.advance();
            cursor.advance();
        }
        let span = cursor.span();
        if cursor.accept_token(&Token::Mul) {
            names.push(Name { value: "*".to_owned(), span });
        } else {
            names.push(cursor.qualified_name("the name of a pump")?);
        }
        if !cursor.accept_token(&Token::Comma) {
            return Ok(names);
        }
    }
}

fn set(cursor: &mut Cursor<'_>) -> Result<StatementKind, SqlError> {
    let is_name = matches!(cursor.peek_nth(1), Some(Token::SingleQuotedString(_) | Token::Word(_)));
    if cursor.is_at(0, "SCHEMA") && is_name && !cursor.is_at(1, "TO") {
        cursor.advance();
        return schema(cursor);
    }
    let key = setting_name(cursor)?.value.to_lowercase();
    if !cursor.accept_token(&Token::Eq) && !cursor.accept(&["TO"]) {
        return Err(cursor.expected("=").with_hint("SET unbounded_state = 'allow'"));
    }
    let (value, span) = crate::statement::options::value(cursor)?;
    check_setting(&key, &value, span)?;
    Ok(StatementKind::Set { key, value })
}

fn setting_name(cursor: &mut Cursor<'_>) -> Result<Name, SqlError> {
    let Some(Token::Word(word)) = cursor.peek() else { return Err(cursor.expected("a setting")) };
    let name = Name { value: word.value.clone(), span: cursor.span() };
    cursor.advance();
    let known = crate::catalog::SETTINGS;
    if known.iter().any(|setting| setting.name.eq_ignore_ascii_case(&name.value)) {
        return Ok(name);
    }
    let names = known.iter().map(|setting| setting.name);
    Err(SqlError::at(name.span, format!("there is no setting {}", name.value.to_lowercase()))
        .with_hint(did_you_mean(&name.value, names, "settings")))
}

fn check_setting(key: &str, value: &str, span: Span) -> Result<(), SqlError> {
    crate::catalog::check_setting(key, value).map_err(|error| error.or_at(span))
}
