//! The column types of the dialect and what they are in Arrow.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};
use datafusion::sql::sqlparser::tokenizer::Token;
use millstream_engine::definition::TIMESTAMP_TYPE;

use crate::error::{Span, SqlError};
use crate::spelling::did_you_mean;
use crate::statement::cursor::Cursor;

/// The names of the types, without synonyms.
pub(crate) const TYPE_NAMES: [&str; 16] = [
    "VARCHAR",
    "CHAR",
    "INTEGER",
    "BIGINT",
    "SMALLINT",
    "TINYINT",
    "REAL",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "BOOLEAN",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "VARBINARY",
    "BINARY",
];

/// The longest `VARCHAR`, as in Kinesis Data Analytics.
const LENGTH_MAX: usize = 65_535;

/// The precision of a `DECIMAL` that names none, as in Kinesis Data Analytics; its scale is 0.
const DECIMAL_PRECISION: u8 = 18;

/// The digits of a second that a time keeps.
const SECOND_DIGITS_MAX: usize = 3;

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// What its values are.
    pub data_type: DataType,
    /// The greatest length of a text in characters, or of bytes.
    pub length_max: Option<usize>,
    /// Whether what is shorter is filled up to it.
    pub padded: bool,
}

/// Reads a type.
pub(crate) fn data_type(cursor: &mut Cursor<'_>) -> Result<ColumnType, SqlError> {
    let span = cursor.span();
    let Some(Token::Word(word)) = cursor.peek() else { return Err(cursor.expected("a type")) };
    if word.quote_style.is_some() {
        return Err(cursor.expected("a type"));
    }
    let name = word.value.to_ascii_uppercase();
    cursor.advance();
    let plain = match name.as_str() {
        "VARCHAR" | "STRING" | "TEXT" => return text(cursor, span, true),
        "CHAR" | "CHARACTER" => {
            let varies = cursor.accept(&["VARYING"]);
            return text(cursor, span, varies);
        }
        "BINARY" | "VARBINARY" => {
            let varies = cursor.accept(&["VARYING"]) || name == "VARBINARY";
            let length_max = length(cursor)?;
            let padded = !varies && length_max.is_some();
            return Ok(ColumnType { data_type: DataType::Binary, length_max, padded });
        }
        "DECIMAL" | "NUMERIC" | "DEC" => decimal(cursor)?,
        "TIMESTAMP" => {
            time_digits(cursor)?;
            TIMESTAMP_TYPE
        }
        "TIME" => {
            time_digits(cursor)?;
            DataType::Time32(TimeUnit::Millisecond)
        }
        "DOUBLE" => {
            cursor.accept(&["PRECISION"]);
            DataType::Float64
        }
        "FLOAT" => DataType::Float64,
        "REAL" => DataType::Float32,
        "INTEGER" | "INT" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "SMALLINT" => DataType::Int16,
        "TINYINT" => DataType::Int8,
        "BOOLEAN" => DataType::Boolean,
        "DATE" => DataType::Date32,
        "INTERVAL" => {
            return Err(SqlError::at(span, "a column cannot be an INTERVAL")
                .with_hint("keep a number of milliseconds in a BIGINT"));
        }
        _ => {
            return Err(SqlError::at(span, format!("there is no type {name}"))
                .with_hint(did_you_mean(&name, TYPE_NAMES, "types")));
        }
    };
    Ok(ColumnType { data_type: plain, length_max: None, padded: false })
}

fn text(cursor: &mut Cursor<'_>, span: Span, varies: bool) -> Result<ColumnType, SqlError> {
    let length_max = length(cursor)?;
    if length_max.is_none() && !varies {
        return Err(
            SqlError::at(span, "CHAR needs a length").with_hint("write CHAR(10), or VARCHAR")
        );
    }
    Ok(ColumnType { data_type: DataType::Utf8, length_max, padded: !varies })
}

/// `[(n)]`.
fn length(cursor: &mut Cursor<'_>) -> Result<Option<usize>, SqlError> {
    if !cursor.accept_token(&Token::LParen) {
        return Ok(None);
    }
    let span = cursor.span();
    let length = cursor.number("a length")?;
    if !(1..=LENGTH_MAX).contains(&length) {
        return Err(SqlError::at(span, format!("a length is between 1 and {LENGTH_MAX}"))
            .with_hint("leave the length out for text of any length: VARCHAR"));
    }
    cursor.expect_token(&Token::RParen, ")")?;
    Ok(Some(length))
}

/// `[(precision [, scale])]`.
fn decimal(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    if !cursor.accept_token(&Token::LParen) {
        return Ok(DataType::Decimal128(DECIMAL_PRECISION, 0));
    }
    let span = cursor.span();
    let precision = cursor.number("a precision")?;
    let Some(precision) =
        u8::try_from(precision).ok().filter(|p| (1..=DECIMAL128_MAX_PRECISION).contains(p))
    else {
        return Err(SqlError::at(
            span,
            format!("a precision is between 1 and {DECIMAL128_MAX_PRECISION}"),
        )
        .with_hint("the default is DECIMAL(18, 0)"));
    };
    let mut scale = 0;
    if cursor.accept_token(&Token::Comma) {
        let span = cursor.span();
        let digits = cursor.number("a scale")?;
        scale = match i8::try_from(digits) {
            Ok(scale) if digits <= usize::from(precision) => scale,
            _ => {
                return Err(SqlError::at(
                    span,
                    format!("the scale is more than the precision {precision}"),
                )
                .with_hint("DECIMAL(10, 2) has ten digits, two of them behind the point"));
            }
        };
    }
    cursor.expect_token(&Token::RParen, ")")?;
    Ok(DataType::Decimal128(precision, scale))
}

/// `[(digits)] [WITHOUT TIME ZONE]`.
fn time_digits(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    if cursor.accept_token(&Token::LParen) {
        let span = cursor.span();
        if cursor.number("a number of digits")? > SECOND_DIGITS_MAX {
            return Err(SqlError::at(span, "times are kept to the millisecond")
                .with_hint("write at most 3 digits, or none: TIMESTAMP"));
        }
        cursor.expect_token(&Token::RParen, ")")?;
    }
    let span = cursor.span();
    if cursor.accept(&["WITH", "TIME", "ZONE"]) || cursor.accept(&["WITH", "LOCAL", "TIME", "ZONE"])
    {
        return Err(
            SqlError::at(span, "times have no zone").with_hint("times are UTC: leave it out")
        );
    }
    cursor.accept(&["WITHOUT", "TIME", "ZONE"]);
    Ok(())
}
