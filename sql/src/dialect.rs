//! The dialect as sqlparser sees it: what its tokenizer and its expression parser may accept.
//!
//! Every option of sqlparser that is not switched on here stays off: a form that no one asked for is an
//! error with a place rather than a surprise at run time.

mod infix;
mod json;
mod json_aggregate;
mod prefix;

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::dialect::{Dialect, SnowflakeDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::syntax::call;

pub(crate) use infix::QUALIFIED_DIFFERENCE;

/// What the tokenizer may accept.
#[derive(Debug)]
pub(crate) struct Lexical;

impl Dialect for Lexical {
    /// The tokenizer knows `//` comments for this dialect only; the `#` comments that come with it are
    /// refused by the token pass.
    fn dialect(&self) -> TypeId {
        TypeId::of::<SnowflakeDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    /// `$` because the names of unnamed expressions have one: `EXPR$0`.
    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }
}

/// What the expression and query parser may accept.
#[derive(Debug)]
pub(crate) struct Streaming;

impl Dialect for Streaming {
    fn is_identifier_start(&self, ch: char) -> bool {
        Lexical.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        Lexical.is_identifier_part(ch)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_subquery_as_function_arg(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    /// `FOR SYSTEM_TIME AS OF`; the other forms that come with it are refused where `FROM` is resolved.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    /// `{'x': a}`
    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    /// `MAP {'x': a}`
    fn support_map_literal_syntax(&self) -> bool {
        true
    }

    /// `BIGINT[]`
    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Token::Word(word) = &parser.peek_token_ref().token
            && word.quote_style.is_none()
            && word.keyword == Keyword::TABLE
            && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_) | Token::LParen)
        {
            parser.advance_token();
            return Some(table_argument(parser));
        }
        prefix::parse(parser)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        infix::precedence(parser).map(Ok)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        infix::parse(parser, expr)
    }
}

/// What [`table_argument`] makes of `TABLE name PARTITION BY keys`: a call with the name and the keys.
pub(crate) const PARTITIONED: &str = "__partitioned";

/// The `TABLE name`, `TABLE (query)` or `TABLE name PARTITION BY keys` that stands as an argument of a
/// table function.
fn table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.peek_token_ref().span;
    let rows = if parser.peek_token_ref().token == Token::LParen {
        parser.parse_expr()?
    } else {
        table_name(parser)?
    };
    if !parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        return Ok(rows);
    }
    let mut partitioned = vec![rows];
    if parser.consume_token(&Token::LParen) {
        partitioned.extend(parser.parse_comma_separated(Parser::parse_expr)?);
        parser.expect_token(&Token::RParen)?;
    } else {
        partitioned.push(parser.parse_expr()?);
    }
    Ok(call(PARTITIONED, span, partitioned))
}

fn table_name(parser: &mut Parser) -> Result<Expr, ParserError> {
    let first: Ident = parser.parse_identifier()?;
    if !parser.consume_token(&Token::Period) {
        return Ok(Expr::Identifier(first));
    }
    let second = parser.parse_identifier()?;
    Ok(Expr::CompoundIdentifier(vec![first, second]))
}
