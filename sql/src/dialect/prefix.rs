//! What begins an expression: `STEP(x BY y)`, `CEILING(x)`, `SUBSTRING(s SIMILAR p ESCAPE c)`, `TRIM(LEADING FROM s)`,
//! `ANY(condition)`, times in braces and the functions over JSON.

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, ObjectName, TimezoneInfo, TrimWhereField, TypedString, Value,
};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Streaming, json, json_aggregate};
use crate::functions::{STEP, SUBSTRING_SIMILAR};
use crate::rewrite::similar_part;
use crate::syntax::{call, text};

/// Reads what comes next, if it is one of these.
pub(super) fn parse(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    if parser.peek_token_ref().token == Token::LBrace {
        return time_in_braces(parser).map(Ok);
    }
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    let next = &parser.peek_nth_token_ref(1).token;
    let opens = *next == Token::LParen;
    if opens && word.value.eq_ignore_ascii_case("STEP") {
        return Some(step(parser));
    }
    if opens && word.keyword == Keyword::SUBSTRING {
        // Whatever is not of this form is read as any other SUBSTRING.
        return parser.maybe_parse(similar_substring).transpose();
    }
    if opens && word.keyword == Keyword::TRIM {
        return parser.maybe_parse(trim_of_blanks).transpose();
    }
    if opens && word.value.eq_ignore_ascii_case("CEILING") {
        parser.advance_token();
        return Some(parser.parse_ceil_floor_expr(true));
    }
    if opens && word.keyword == Keyword::ANY {
        let span = parser.next_token().span;
        let name = Ident { value: "bool_or".to_owned(), quote_style: None, span };
        return Some(parser.parse_function(ObjectName::from(vec![name])));
    }
    if !opens {
        return None;
    }
    let name = word.value.clone();
    json::parse(parser, &name).or_else(|| json_aggregate::parse(parser, &name))
}

/// `{d '2018-11-01'}`, `{t '12:03:34'}` or `{ts '2018-11-01 12:03:34'}`, if it comes next.
fn time_in_braces(parser: &mut Parser<'_>) -> Option<Expr> {
    let tokens = parser.peek_tokens_ref::<4>().map(|token| &token.token);
    let [_, Token::Word(kind), Token::SingleQuotedString(_), Token::RBrace] = tokens else {
        return None;
    };
    let data_type = match kind.value.to_ascii_lowercase().as_str() {
        "d" => DataType::Date,
        "t" => DataType::Time(None, TimezoneInfo::None),
        "ts" => DataType::Timestamp(None, TimezoneInfo::None),
        _ => return None,
    };
    parser.advance_token();
    parser.advance_token();
    let value = parser.parse_value().ok()?;
    parser.advance_token();
    Some(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
}

/// `SUBSTRING(text SIMILAR 'a#"b#"c' ESCAPE '#')` is what `b` matches.
fn similar_substring(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LParen)?;
    let value = parser.parse_subexpr(Streaming.prec_value(Precedence::Like))?;
    parser.expect_keyword_is(Keyword::SIMILAR)?;
    let pattern = parser.parse_literal_string()?;
    parser.expect_keyword_is(Keyword::ESCAPE)?;
    let escape = parser.parse_literal_string()?;
    parser.expect_token(&Token::RParen)?;
    let regex =
        similar_part(&pattern, &escape).map_err(|error| ParserError::ParserError(error.message))?;
    Ok(call(SUBSTRING_SIMILAR, span, vec![value, text(regex)]))
}

/// `TRIM(LEADING FROM text)`: without a character it is blanks that go.
fn trim_of_blanks(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    parser.expect_keyword_is(Keyword::TRIM)?;
    parser.expect_token(&Token::LParen)?;
    let side =
        parser.expect_one_of_keywords(&[Keyword::BOTH, Keyword::LEADING, Keyword::TRAILING])?;
    parser.expect_keyword_is(Keyword::FROM)?;
    let value = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    let trim_where = Some(match side {
        Keyword::LEADING => TrimWhereField::Leading,
        Keyword::TRAILING => TrimWhereField::Trailing,
        _ => TrimWhereField::Both,
    });
    let (trim_what, trim_characters) = (None, None);
    Ok(Expr::Trim { expr: Box::new(value), trim_where, trim_what, trim_characters })
}

/// `STEP(x BY INTERVAL 'n' unit)` is `date_bin(INTERVAL 'n' unit, x)`; `STEP(i BY n)` is a call of ours.
fn step(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LParen)?;
    let value = parser.parse_expr()?;
    parser.expect_keyword_is(Keyword::BY)?;
    let width = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    if matches!(&width, Expr::Value(value) if matches!(value.value, Value::Number(..))) {
        return Ok(call(STEP, span, vec![value, width]));
    }
    Ok(call("date_bin", span, vec![width, value]))
}
