//! `FLOOR(t - INTERVAL '5' HOUR TO DAY)`: a qualifier goes from a longer unit to a shorter one, so that
//! `TO DAY` is not the interval's. Parentheses around the interval say so to the parser.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::tokens::is_word;

/// The units, longest first.
const UNITS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];

/// The tokens of a query with parentheses around such intervals.
pub(super) fn in_parentheses(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(end) = end_of(tokens, at)
            && let Some(last) = tokens.get(end - 1)
        {
            out.push(TokenWithSpan { token: Token::LParen, span: token.span });
            out.extend_from_slice(tokens.get(at..end).unwrap_or_default());
            out.push(TokenWithSpan { token: Token::RParen, span: last.span });
            at = end;
        } else {
            out.push(token.clone());
            at += 1;
        }
    }
    out
}

/// Where the interval that begins at `at` ends, if what follows it looks like a part of it.
fn end_of(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let token = |at: usize| tokens.get(at).map(|token| &token.token);
    let is = |at: usize, wanted: &str| matches!(token(at), Some(Token::Word(word)) if is_word(word, wanted));
    let unit = |at: usize| UNITS.iter().position(|unit| is(at, unit));
    if !is(at, "INTERVAL") {
        return None;
    }
    let signed = matches!(token(at + 1), Some(Token::Minus | Token::Plus));
    let value = at + 1 + usize::from(signed);
    let (Some(Token::SingleQuotedString(_)), Some(first)) = (token(value), unit(value + 1)) else {
        return None;
    };
    let mut end = value + 2;
    if token(end) == Some(&Token::LParen) {
        while end < tokens.len() && token(end) != Some(&Token::RParen) {
            end += 1;
        }
        end += 1;
    }
    let is_rounded = is(end, "TO") && unit(end + 1).is_some_and(|second| second <= first);
    is_rounded.then_some(end)
}
