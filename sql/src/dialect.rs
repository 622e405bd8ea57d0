//! The dialect as sqlparser sees it: what its tokenizer and its expression parser may accept.
//!
//! Every option of sqlparser that is not switched on here stays off: a form that no one asked for is an
//! error with a place rather than a surprise at run time.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{self, Expr, Ident};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence, SnowflakeDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::syntax::call;

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

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Token::Word(word) = &parser.peek_token_ref().token else { return None };
        if word.quote_style.is_some() {
            return None;
        }
        let next = &parser.peek_nth_token_ref(1).token;
        if word.value.eq_ignore_ascii_case("STEP") && *next == Token::LParen {
            return Some(step(parser));
        }
        if word.keyword == Keyword::TABLE && matches!(next, Token::Word(_) | Token::LParen) {
            parser.advance_token();
            return Some(table_argument(parser));
        }
        None
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        qualifies_difference(parser).then(|| Ok(self.prec_value(Precedence::DoubleColon)))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        _expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        qualifies_difference(parser).then(|| {
            let token = parser.peek_token();
            Err(ParserError::ParserError(format!(
                "{QUALIFIED_DIFFERENCE}, found: {token}{}",
                token.span.start
            )))
        })
    }
}

/// How the message about `(a - b) SECOND` begins; the hint is chosen by it.
pub(crate) const QUALIFIED_DIFFERENCE: &str =
    "an interval qualifier behind parentheses is not supported";

/// `STEP(x BY INTERVAL 'n' unit)` is `date_bin(INTERVAL 'n' unit, x)`; `STEP(i BY n)` is `i / n * n`.
fn step(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LParen)?;
    let value = parser.parse_expr()?;
    parser.expect_keyword_is(Keyword::BY)?;
    let width = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    if matches!(&width, Expr::Value(value) if matches!(value.value, ast::Value::Number(..))) {
        return Ok(multiple_below(value, width));
    }
    Ok(call("date_bin", span, vec![width, value]))
}

fn multiple_below(value: Expr, width: Expr) -> Expr {
    let binary =
        |left, op, right| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    let value = Expr::Nested(Box::new(value));
    let steps = binary(value, ast::BinaryOperator::Divide, width.clone());
    let steps = Expr::Nested(Box::new(steps));
    Expr::Nested(Box::new(binary(steps, ast::BinaryOperator::Multiply, width)))
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

/// Whether the next word is the unit of `(a - b) SECOND`, which would otherwise be read as an alias.
/// The parenthesis must not be a function's: `count(*) minute` is one named `minute`.
fn qualifies_difference(parser: &Parser) -> bool {
    let Token::Word(word) = &parser.peek_token_ref().token else { return false };
    let units = [
        Keyword::YEAR,
        Keyword::MONTH,
        Keyword::DAY,
        Keyword::HOUR,
        Keyword::MINUTE,
        Keyword::SECOND,
    ];
    if word.quote_style.is_some() || !units.contains(&word.keyword) {
        return false;
    }
    let mut depth = 0_usize;
    let mut at = parser.get_current_index();
    if parser.token_at(at).token != Token::RParen {
        return false;
    }
    loop {
        match &parser.token_at(at).token {
            Token::RParen => depth += 1,
            Token::LParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let Some(before) = at.checked_sub(1) else { return depth == 0 };
        if depth == 0 {
            let opens = parser.token_at(at).token == Token::LParen;
            return opens && !is_callee(&parser.token_at(before).token);
        }
        at = before;
    }
}

/// Whether a parenthesis behind `token` holds the arguments of a call.
fn is_callee(token: &Token) -> bool {
    let clauses = [
        Keyword::SELECT,
        Keyword::DISTINCT,
        Keyword::WHERE,
        Keyword::BY,
        Keyword::AND,
        Keyword::OR,
        Keyword::NOT,
        Keyword::HAVING,
        Keyword::ON,
        Keyword::WHEN,
        Keyword::THEN,
        Keyword::ELSE,
        Keyword::BETWEEN,
        Keyword::CASE,
    ];
    matches!(token, Token::Word(word) if word.quote_style.is_some() || !clauses.contains(&word.keyword))
}
