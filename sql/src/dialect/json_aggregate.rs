//! `JSON_ARRAYAGG` and `JSON_OBJECTAGG`: a JSON text from the rows of a group, as calls of functions that
//! there are.
//!
//! ```text
//! JSON_ARRAYAGG(value [FORMAT JSON] [ORDER BY …] [{NULL | ABSENT} ON NULL]) [FILTER (WHERE …)]
//! JSON_OBJECTAGG([KEY] name {VALUE | :} value [FORMAT JSON] [{NULL | ABSENT} ON NULL]) [FILTER (WHERE …)]
//! ```
//!
//! Each row becomes an element or a member, `ARRAY_AGG` collects them, and a function makes one text of the
//! list.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArgumentClause, FunctionArguments, OrderByExpr,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token};

use super::json::{member, on_null};
use crate::functions::{JSON_ARRAY_OF, JSON_ELEMENT, JSON_MEMBER, JSON_OBJECT_OF};
use crate::syntax::{call, text};

/// Reads what comes next, if it is one of these.
pub(super) fn parse(parser: &mut Parser<'_>, name: &str) -> Option<Result<Expr, ParserError>> {
    let named = name.eq_ignore_ascii_case("JSON_OBJECTAGG");
    let known = named || name.eq_ignore_ascii_case("JSON_ARRAYAGG");
    known.then(|| read(parser, named))
}

fn read(parser: &mut Parser<'_>, named: bool) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LParen)?;
    let mut args = Vec::new();
    let kind = member(parser, named, &mut args)?;
    let mut order = Vec::new();
    if !named && parser.parse_keywords(&[Keyword::ORDER, Keyword::BY]) {
        order = parser.parse_comma_separated(Parser::parse_order_by_expr)?;
    }
    let null = on_null(parser, named);
    parser.expect_token(&Token::RParen)?;
    let filter = filter(parser)?;
    args.insert(0, text(format!("{null}{kind}")));
    let part = call(if named { JSON_MEMBER } else { JSON_ELEMENT }, span, args);
    let parts = collected((part, span), order, filter);
    Ok(call(if named { JSON_OBJECT_OF } else { JSON_ARRAY_OF }, span, vec![parts]))
}

/// The `FILTER (WHERE …)` that may follow.
fn filter(parser: &mut Parser<'_>) -> Result<Option<Box<Expr>>, ParserError> {
    if parser.parse_keyword(Keyword::OVER) {
        return parser.expected("no OVER behind an aggregate of JSON", parser.peek_token());
    }
    if !parser.parse_keyword(Keyword::FILTER) {
        return Ok(None);
    }
    parser.expect_token(&Token::LParen)?;
    parser.expect_keyword_is(Keyword::WHERE)?;
    let condition = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Some(Box::new(condition)))
}

/// `ARRAY_AGG(part ORDER BY …) FILTER (WHERE …)`
fn collected(
    (part, span): (Expr, Span),
    order: Vec<OrderByExpr>,
    filter: Option<Box<Expr>>,
) -> Expr {
    let mut collected = call("array_agg", span, vec![part]);
    if let Expr::Function(function) = &mut collected {
        function.filter = filter;
        if let FunctionArguments::List(list) = &mut function.args
            && !order.is_empty()
        {
            list.clauses.push(FunctionArgumentClause::OrderBy(order));
        }
    }
    collected
}
