//! The calls of SQL/JSON that are more than a list of arguments, as calls that are.
//!
//! ```text
//! JSON_VALUE(doc, path [RETURNING type] [{NULL | ERROR | DEFAULT e} ON EMPTY] [… ON ERROR])
//! JSON_QUERY(doc, path [WITHOUT | WITH [CONDITIONAL | UNCONDITIONAL] [ARRAY] WRAPPER]
//!            [{NULL | ERROR | EMPTY ARRAY | EMPTY OBJECT} ON EMPTY] [… ON ERROR])
//! JSON_EXISTS(doc, path [{TRUE | FALSE | UNKNOWN | ERROR} ON ERROR])
//! JSON_OBJECT([KEY] name {VALUE | :} value [FORMAT JSON], … [{NULL | ABSENT} ON NULL])
//! JSON_ARRAY(value [FORMAT JSON], … [{NULL | ABSENT} ON NULL])
//! doc IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]
//! ```

use datafusion::sql::sqlparser::ast::{self, Expr, Spanned, Value};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::functions::{
    IS_JSON, JSON_ARRAY, JSON_ARRAY_OF, JSON_EXISTS, JSON_OBJECT, JSON_OBJECT_OF, JSON_QUERY,
    JSON_VALUE,
};
use crate::rewrite::type_arguments;
use crate::syntax::{arguments_of, call, text};

/// Reads what comes next, if it is one of these.
pub(super) fn parse(parser: &mut Parser<'_>, name: &str) -> Option<Result<Expr, ParserError>> {
    let known = [JSON_VALUE, JSON_QUERY, JSON_EXISTS, JSON_OBJECT, JSON_ARRAY];
    let name = known.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    Some(read(parser, name))
}

fn read(parser: &mut Parser<'_>, name: &'static str) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LParen)?;
    let args = match name {
        JSON_OBJECT | JSON_ARRAY => members(parser, name == JSON_OBJECT)?,
        _ => {
            let mut args = vec![parser.parse_expr()?];
            parser.expect_token(&Token::Comma)?;
            args.push(parser.parse_expr()?);
            args.extend(match name {
                JSON_VALUE => value(parser)?,
                JSON_QUERY => query(parser)?,
                _ => exists(parser)?,
            });
            args
        }
    };
    parser.expect_token(&Token::RParen)?;
    Ok(call(name, span, args))
}

/// Whether the next words are these; then they are read.
pub(super) fn accept(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let stand_here = words.iter().enumerate().all(|(at, wanted)| {
        matches!(&parser.peek_nth_token_ref(at).token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    });
    if stand_here {
        words.iter().for_each(|_| parser.advance_token());
    }
    stand_here
}

/// The clause `… ON when`, one of `known`.
fn on(parser: &mut Parser<'_>, known: &[&'static str], when: &str) -> Option<&'static str> {
    known.iter().copied().find(|behaviour| {
        let words: Vec<&str> = behaviour.split(' ').chain(["ON", when]).collect();
        accept(parser, &words)
    })
}

/// `left IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]`, if it comes next.
pub(super) fn predicate(parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let negated = accept(parser, &["IS", "NOT", "JSON"]);
    if !negated && !accept(parser, &["IS", "JSON"]) {
        return None;
    }
    let kinds = ["VALUE", "OBJECT", "ARRAY", "SCALAR"];
    let kind = kinds.into_iter().find(|kind| accept(parser, &[kind])).unwrap_or("VALUE");
    if accept(parser, &["WITHOUT", "UNIQUE"]) {
        accept(parser, &["KEYS"]);
    } else if accept(parser, &["WITH", "UNIQUE"]) {
        let wanted = "no WITH UNIQUE KEYS: names that stand twice are not looked for";
        return Some(parser.expected(wanted, parser.peek_token()));
    }
    let is_json = call(IS_JSON, left.span(), vec![left.clone(), text(kind)]);
    Some(Ok(match negated {
        true => Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(is_json) },
        false => is_json,
    }))
}

/// What stands behind the path of `JSON_VALUE`.
fn value(parser: &mut Parser<'_>) -> Result<Vec<Expr>, ParserError> {
    if parser.peek_token_ref().token == Token::RParen {
        return Ok(Vec::new());
    }
    let mut returning = ast::DataType::Varchar(None);
    if accept(parser, &["RETURNING"]) {
        returning = parser.parse_data_type()?;
    }
    let mut says = [text("NULL"), text("NULL")];
    let mut defaults = [Expr::Value(Value::Null.into()), Expr::Value(Value::Null.into())];
    for _ in 0..2 {
        let default = if accept(parser, &["DEFAULT"]) { Some(parser.parse_expr()?) } else { None };
        let found = ["EMPTY", "ERROR"].into_iter().enumerate().find_map(|(at, when)| {
            let said = match default {
                Some(_) => accept(parser, &["ON", when]).then_some("DEFAULT"),
                None => on(parser, &["NULL", "ERROR"], when),
            };
            said.map(|said| (at, said))
        });
        match (found, default) {
            (Some((at, said)), default) => {
                says[at] = text(said);
                if let Some(default) = default {
                    defaults[at] = as_type(default, returning.clone());
                }
            }
            (None, Some(_)) => return parser.expected("ON EMPTY or ON ERROR", parser.peek_token()),
            (None, None) => break,
        }
    }
    let Some(of_type) = type_arguments(&returning, || None) else {
        return parser.expected("a type of the dialect behind RETURNING", parser.peek_token());
    };
    Ok(says.into_iter().chain(defaults).chain(of_type).collect())
}

fn as_type(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// What stands behind the path of `JSON_QUERY`.
fn query(parser: &mut Parser<'_>) -> Result<Vec<Expr>, ParserError> {
    if accept(parser, &["RETURNING"]) {
        let returned = parser.parse_data_type()?;
        if !matches!(returned, ast::DataType::Varchar(None)) {
            return parser.expected("VARCHAR behind RETURNING", parser.peek_token());
        }
    }
    let wrapper = if accept(parser, &["WITHOUT"]) {
        Some("WITHOUT")
    } else if accept(parser, &["WITH"]) {
        let is_conditional = accept(parser, &["CONDITIONAL"]);
        if !is_conditional {
            accept(parser, &["UNCONDITIONAL"]);
        }
        Some(if is_conditional { "CONDITIONAL" } else { "UNCONDITIONAL" })
    } else {
        None
    };
    if wrapper.is_some() {
        accept(parser, &["ARRAY"]);
        if !accept(parser, &["WRAPPER"]) {
            return parser.expected("WRAPPER", parser.peek_token());
        }
    }
    let known = ["NULL", "ERROR", "EMPTY ARRAY", "EMPTY OBJECT"];
    let mut says = ["NULL", "NULL"];
    for _ in 0..2 {
        for (at, when) in ["EMPTY", "ERROR"].into_iter().enumerate() {
            if let Some(said) = on(parser, &known, when) {
                says[at] = said;
            }
        }
    }
    let said = [wrapper.unwrap_or("WITHOUT"), says[0], says[1]];
    Ok(said.map(text).into())
}

/// What stands behind the path of `JSON_EXISTS`.
fn exists(parser: &mut Parser<'_>) -> Result<Vec<Expr>, ParserError> {
    let said = on(parser, &["TRUE", "FALSE", "UNKNOWN", "ERROR"], "ERROR");
    match said {
        None if parser.peek_token_ref().token != Token::RParen => {
            parser.expected("TRUE, FALSE, UNKNOWN or ERROR ON ERROR, or )", parser.peek_token())
        }
        said => Ok(said.into_iter().map(text).collect()),
    }
}

/// The names and values of an object, or the values of an array, behind what is said of them.
fn members(parser: &mut Parser<'_>, named: bool) -> Result<Vec<Expr>, ParserError> {
    let mut forms = String::new();
    let mut args = Vec::new();
    let ends = |parser: &mut Parser<'_>| {
        let is_said = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word)
            if word.value.eq_ignore_ascii_case("ON"));
        is_said || parser.peek_token_ref().token == Token::RParen
    };
    while !ends(parser) {
        forms.push(member(parser, named, &mut args)?);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    forms.insert(0, on_null(parser, named));
    args.insert(0, text(forms));
    Ok(args)
}

/// `[[KEY] name {VALUE | :}] value [FORMAT JSON]`, put behind `args`: `J` if the value is JSON, else `V`.
pub(super) fn member(
    parser: &mut Parser<'_>,
    named: bool,
    args: &mut Vec<Expr>,
) -> Result<char, ParserError> {
    if named {
        accept(parser, &["KEY"]);
        args.push(parser.parse_expr()?);
        if !parser.consume_token(&Token::Colon) && !accept(parser, &["VALUE"]) {
            return parser.expected("VALUE or : behind the name", parser.peek_token());
        }
    }
    let value = parser.parse_expr()?;
    let is_json = accept(parser, &["FORMAT", "JSON"]) || makes_json(&value);
    args.push(value);
    Ok(if is_json { 'J' } else { 'V' })
}

/// `[{NULL | ABSENT} ON NULL]`: `A` if values that are NULL are left out, else `N`. An object has its
/// NULLs, an array has not, unless something else is said.
pub(super) fn on_null(parser: &mut Parser<'_>, named: bool) -> char {
    let default = if named { "NULL" } else { "ABSENT" };
    match on(parser, &["NULL", "ABSENT"], "NULL").unwrap_or(default) {
        "ABSENT" => 'A',
        _ => 'N',
    }
}

/// Whether the value is JSON by what it is.
fn makes_json(value: &Expr) -> bool {
    match value {
        Expr::Nested(inner) => makes_json(inner),
        Expr::BinaryOp { op: ast::BinaryOperator::Arrow, .. } => true,
        other => [JSON_OBJECT, JSON_ARRAY, JSON_QUERY, JSON_OBJECT_OF, JSON_ARRAY_OF]
            .into_iter()
            .any(|name| arguments_of(other, name).is_some()),
    }
}
