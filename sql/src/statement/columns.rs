//! The columns of `CREATE STREAM` and `CREATE TABLE`, with the watermark among them.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};
use datafusion::sql::sqlparser::tokenizer::Token;
use millstream_engine::definition::{ColumnDef, ROWTIME, TIMESTAMP_TYPE};

use crate::error::{Span, SqlError};
use crate::interval::Amount;
use crate::spelling::did_you_mean;
use crate::statement::Name;
use crate::statement::cursor::Cursor;
use crate::statement::data_type::{ColumnType, data_type};
use crate::statement::query::expression;

/// What stands between the parentheses.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) columns: Vec<ColumnDef>,
    /// The index of the watermark's column and its delay in milliseconds.
    pub(crate) watermark: Option<(usize, i64)>,
}

/// `WATERMARK FOR column AS expression`, before the columns are all known.
struct Watermark {
    column: Name,
    expr: Expr,
    span: Span,
    expr_span: Span,
}

/// Reads `(column type …, …)`.
pub(crate) fn columns(cursor: &mut Cursor<'_>, is_stream: bool) -> Result<Columns, SqlError> {
    cursor.expect_token(&Token::LParen, "(")?;
    let mut columns: Vec<ColumnDef> = Vec::new();
    let mut declared: Option<Watermark> = None;
    loop {
        let start = cursor.span();
        if cursor.is_at(0, "WATERMARK") && cursor.is_at(1, "FOR") {
            let watermark = watermark(cursor)?;
            if !is_stream {
                return Err(SqlError::at(watermark.span, "only a stream has a watermark")
                    .with_hint("leave it out, or CREATE STREAM instead"));
            }
            if declared.is_some() {
                return Err(SqlError::at(watermark.span, "the stream has a second watermark")
                    .with_hint("a stream has one time: keep one WATERMARK"));
            }
            declared = Some(watermark);
        } else {
            let column = column(cursor)?;
            check_name(&columns, &column, start, is_stream)?;
            columns.push(column);
        }
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen, ", or )")?;
    let watermark = declared.map(|declared| resolve(&declared, &columns)).transpose()?;
    Ok(Columns { columns, watermark })
}

fn check_name(
    columns: &[ColumnDef],
    column: &ColumnDef,
    span: Span,
    is_stream: bool,
) -> Result<(), SqlError> {
    if columns.iter().any(|known| known.name == column.name) {
        return Err(SqlError::at(span, format!("column {} is declared twice", column.name))
            .with_hint("give one of them another name"));
    }
    if is_stream && column.name == ROWTIME {
        return Err(SqlError::at(span, "every stream has a column ROWTIME already").with_hint(
            "declare WATERMARK FOR the column that holds the time, or name the record's field: WITH \
             (rowtime = 'field')",
        ));
    }
    Ok(())
}

/// `name type [NOT NULL] [MAPPING '$.path']`.
fn column(cursor: &mut Cursor<'_>) -> Result<ColumnDef, SqlError> {
    let name = cursor.name("the name of a column")?;
    let ColumnType { data_type, length_max, padded } = data_type(cursor)?;
    let mut column = ColumnDef { length_max, padded, ..ColumnDef::new(name.value, data_type) };
    loop {
        if cursor.accept(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if cursor.accept(&["NULL"]) {
            column.nullable = true;
        } else if cursor.accept(&["MAPPING"]) {
            let span = cursor.span();
            let path = cursor.string("a path, like '$.quote.price',")?;
            if !path.starts_with('$') {
                return Err(SqlError::at(span, "a mapping begins with $, the record")
                    .with_hint(format!("write '$.{}'", path.trim_start_matches('.'))));
            }
            column.mapping = Some(path);
        } else if matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) {
            return Ok(column);
        } else {
            return Err(cursor
                .expected(", or )")
                .with_hint("behind its type a column has NOT NULL, MAPPING '$.path' or nothing"));
        }
    }
}

fn watermark(cursor: &mut Cursor<'_>) -> Result<Watermark, SqlError> {
    let start = cursor.mark();
    cursor.expect("WATERMARK")?;
    cursor.expect("FOR")?;
    let column = cursor.name("the name of a column")?;
    cursor.expect("AS")?;
    let from = cursor.mark();
    let expr = expression(cursor)?;
    Ok(Watermark {
        column,
        expr,
        span: cursor.span_since(start),
        expr_span: cursor.span_since(from),
    })
}

/// The column and the delay of a watermark: `column` or `column - INTERVAL …`.
fn resolve(watermark: &Watermark, columns: &[ColumnDef]) -> Result<(usize, i64), SqlError> {
    let Name { value: name, span } = &watermark.column;
    let Some(at) = columns.iter().position(|column| column.name == *name) else {
        let known = columns.iter().map(|column| column.name.as_str());
        return Err(SqlError::at(*span, format!("the stream has no column {name}"))
            .with_hint(did_you_mean(name, known, "columns")));
    };
    if columns.get(at).is_some_and(|column| column.data_type != TIMESTAMP_TYPE) {
        return Err(SqlError::at(*span, format!("the watermark's column {name} is no TIMESTAMP"))
            .with_hint(format!("declare it {name} TIMESTAMP")));
    }
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.value == *name);
    let form = || {
        SqlError::at(watermark.expr_span, format!("expected {name} or {name} - INTERVAL '…' unit"))
            .with_hint(format!("write WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND"))
    };
    let delay_ms = match &watermark.expr {
        expr if is_column(expr) => 0,
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => {
            let Expr::Interval(interval) = right.as_ref() else { return Err(form()) };
            let amount =
                Amount::read(interval).map_err(|error| error.or_at(watermark.expr_span))?;
            amount.fixed_ms().filter(|ms| *ms >= 0).ok_or_else(|| {
                SqlError::at(
                    watermark.expr_span,
                    "the delay of a watermark is a fixed time, zero or more",
                )
                .with_hint("count it in days, hours, minutes or seconds")
            })?
        }
        _ => return Err(form()),
    };
    Ok((at, delay_ms))
}
