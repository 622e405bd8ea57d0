//! `IS JSON`, and what may stand behind a closed parenthesis and binds to it: the qualifier of a difference,
//! `(a - b) DAY TO SECOND`, and the predicates between periods, `(s, e) OVERLAPS (t, f)`; and how strongly
//! `->` and `->>`, and the right side of `IS DISTINCT FROM`, bind.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, FunctionArguments, Spanned};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Word};

use super::{Streaming, json};
use crate::functions::{DIFFERENCE, PERIOD};
use crate::syntax::{arguments_of, call, into_expr, is_named, text};

/// The units of a qualifier.
const UNITS: [Keyword; 6] =
    [Keyword::YEAR, Keyword::MONTH, Keyword::DAY, Keyword::HOUR, Keyword::MINUTE, Keyword::SECOND];

/// The predicates between periods, without what may stand before them.
const PREDICATES: [&str; 7] =
    ["CONTAINS", "OVERLAPS", "EQUALS", "PRECEDES", "SUCCEEDS", "LEADS", "LAGS"];

/// How the message about a qualifier behind something else begins; the hint is chosen by it.
pub(crate) const QUALIFIED_DIFFERENCE: &str = "only a difference of two times has a qualifier";

/// How strongly what comes next binds, if it is one of these.
pub(super) fn precedence(parser: &Parser<'_>) -> Option<u8> {
    // A colon ends the name of a member in JSON_OBJECT; it is no operator.
    if parser.peek_token_ref().token == Token::Colon {
        return Some(0);
    }
    // A step into a document binds as a cast does: `doc -> 'a' = '1'` compares the step.
    let steps = matches!(parser.peek_token_ref().token, Token::Arrow | Token::LongArrow);
    if steps || qualifies_difference(parser) {
        Some(Streaming.prec_value(Precedence::DoubleColon))
    } else if predicate(parser).is_some() {
        Some(Streaming.prec_value(Precedence::Between))
    } else {
        None
    }
}

/// Reads what comes next, if it is one of these, with `left` before it.
pub(super) fn parse(parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr, ParserError>> {
    if qualifies_difference(parser) {
        return Some(difference(parser, left));
    }
    if let Some(compared) = distinct_from(parser, left) {
        return Some(compared);
    }
    if let Some(tested) = json::predicate(parser, left) {
        return Some(tested);
    }
    predicate(parser).map(|(name, words)| periods(parser, left, &name, words))
}

/// `left IS [NOT] DISTINCT FROM right`. sqlparser reads all that follows as its right side, an `AND` too.
fn distinct_from(parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let is_not = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
    let is = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
    let negated = parser.parse_keywords(&is_not);
    if !negated && !parser.parse_keywords(&is) {
        return None;
    }
    let right = parser.parse_subexpr(Streaming.prec_value(Precedence::Is));
    Some(right.map(|right| {
        let (left, right) = (Box::new(left.clone()), Box::new(right));
        match negated {
            true => Expr::IsNotDistinctFrom(left, right),
            false => Expr::IsDistinctFrom(left, right),
        }
    }))
}

/// `(a - b) qualifier`.
fn difference(parser: &mut Parser<'_>, left: &Expr) -> Result<Expr, ParserError> {
    let token = parser.peek_token();
    let operands = match left {
        Expr::Nested(inner) => match inner.as_ref() {
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } => Some((left, right)),
            _ => None,
        },
        _ => None,
    };
    let Some((a, b)) = operands else {
        return Err(ParserError::ParserError(format!(
            "{QUALIFIED_DIFFERENCE}, found: {token}{}",
            token.span.start
        )));
    };
    let mut qualifier = unit(parser)?;
    if parser.parse_keyword(Keyword::TO) {
        qualifier = format!("{qualifier} TO {}", unit(parser)?);
    }
    let args = vec![a.as_ref().clone(), b.as_ref().clone(), text(qualifier)];
    Ok(call(DIFFERENCE, left.span(), args))
}

/// A unit and its digits, which are not needed.
fn unit(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let unit = parser.expect_one_of_keywords(&UNITS)?;
    if parser.consume_token(&Token::LParen) {
        parser.parse_comma_separated(Parser::parse_literal_uint)?;
        parser.expect_token(&Token::RParen)?;
    }
    Ok(format!("{unit:?}"))
}

/// The predicate that comes next behind a period, and how many words it has.
fn predicate(parser: &Parser<'_>) -> Option<(String, usize)> {
    if parser.token_at(parser.get_current_index()).token != Token::RParen {
        return None;
    }
    let first = word(&parser.peek_nth_token_ref(0).token)?;
    let (prefix, words) = match first.as_str() {
        "STRICTLY" | "IMMEDIATELY" => (Some(first), 2),
        _ => (None, 1),
    };
    let name = word(&parser.peek_nth_token_ref(words - 1).token)?;
    if !PREDICATES.contains(&name.as_str()) {
        return None;
    }
    let begins = match &parser.peek_nth_token_ref(words).token {
        Token::LParen => true,
        Token::Word(word) if word.value.eq_ignore_ascii_case("PERIOD") => true,
        // A moment; but `(a) contains FROM s` is a name.
        Token::Word(word) => {
            name == "CONTAINS" && (word.quote_style.is_some() || !ends_expression(word))
        }
        Token::Number(..) => name == "CONTAINS",
        _ => false,
    };
    let name = prefix.map_or_else(|| name.clone(), |prefix| format!("{prefix} {name}"));
    begins.then_some((name, words))
}

fn ends_expression(word: &Word) -> bool {
    [
        Keyword::FROM,
        Keyword::WHERE,
        Keyword::GROUP,
        Keyword::ORDER,
        Keyword::HAVING,
        Keyword::WINDOW,
        Keyword::UNION,
        Keyword::LIMIT,
        Keyword::AS,
    ]
    .contains(&word.keyword)
}

fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// `left predicate right`. A predicate on the left shares its right period: `a PRECEDES b PRECEDES c`.
fn periods(
    parser: &mut Parser<'_>,
    left: &Expr,
    name: &str,
    words: usize,
) -> Result<Expr, ParserError> {
    let at = parser.peek_token();
    for _ in 0..words {
        parser.advance_token();
    }
    let right = parser.parse_subexpr(Streaming.prec_value(Precedence::Between))?;
    let before = match left {
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => right.as_ref(),
        left => left,
    };
    let chained = arguments_of(before, PERIOD);
    let first = match chained.as_deref() {
        Some([_, _, _, rest @ ..]) => rest.iter().map(|expr| (*expr).clone()).collect(),
        _ => ends(left),
    };
    let second = ends(&right);
    if first.len() != 2 || !(1..=2).contains(&second.len()) {
        return Err(ParserError::ParserError(format!(
            "{name} compares periods, each (start, end), found: {at}{}",
            at.span.start
        )));
    }
    let args = std::iter::once(text(name)).chain(first).chain(second).collect();
    let predicate = call(PERIOD, at.span, args);
    Ok(match chained {
        None => predicate,
        Some(_) => Expr::BinaryOp {
            left: Box::new(left.clone()),
            op: BinaryOperator::And,
            right: Box::new(predicate),
        },
    })
}

/// The ends of a period, or the moment that `expr` is.
fn ends(expr: &Expr) -> Vec<Expr> {
    match expr {
        Expr::Tuple(ends) => ends.clone(),
        Expr::Function(function) if is_named(&function.name, "PERIOD") => match &function.args {
            FunctionArguments::List(ast::FunctionArgumentList { args, .. }) => {
                args.iter().cloned().filter_map(into_expr).collect()
            }
            _ => Vec::new(),
        },
        other => vec![other.clone()],
    }
}

/// Whether the next word is the unit of `(a - b) SECOND`, which would otherwise be read as an alias.
/// The parenthesis must not be a function's: `count(*) minute` is one named `minute`.
fn qualifies_difference(parser: &Parser<'_>) -> bool {
    let Token::Word(word) = &parser.peek_token_ref().token else { return false };
    if word.quote_style.is_some() || !UNITS.contains(&word.keyword) {
        return false;
    }
    let mut depth = 0_usize;
    let mut subtracts = false;
    let mut at = parser.get_current_index();
    if parser.token_at(at).token != Token::RParen {
        return false;
    }
    loop {
        match &parser.token_at(at).token {
            Token::RParen => depth += 1,
            Token::LParen => depth = depth.saturating_sub(1),
            Token::Minus => subtracts |= depth == 1,
            _ => {}
        }
        let Some(before) = at.checked_sub(1) else { return depth == 0 };
        if depth == 0 {
            let opens = parser.token_at(at).token == Token::LParen;
            return match &parser.token_at(before).token {
                // Of EXTRACT; behind the FROM of a query stands a query or a join.
                Token::Word(word) if word.keyword == Keyword::FROM => {
                    let begins = &parser.token_at(at + 1).token;
                    let is_query = matches!(begins, Token::Word(word)
                        if [Keyword::SELECT, Keyword::WITH, Keyword::VALUES].contains(&word.keyword));
                    opens && subtracts && !is_query
                }
                token => opens && !is_callee(token),
            };
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
