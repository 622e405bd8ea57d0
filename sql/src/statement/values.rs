//! `VALUES 1 + 2, 5`: rows of one value without parentheses, as `VALUES (1 + 2), (5)`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::tokens::is_word;

/// What follows the rows of `VALUES`.
const BEHIND: [&str; 8] =
    ["ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT", "WHERE"];

/// The tokens of a query with parentheses around such rows.
pub(super) fn in_parentheses(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut depth = 0_usize;
    // How deep the rows stand that are being put in parentheses.
    let mut open: Vec<usize> = Vec::new();
    let at = |token: &TokenWithSpan, new: Token| TokenWithSpan { token: new, span: token.span };
    for (place, token) in tokens.iter().enumerate() {
        let ends = match &token.token {
            Token::RParen | Token::SemiColon => true,
            Token::Word(word) => BEHIND.iter().any(|behind| is_word(word, behind)),
            _ => false,
        };
        let is_in_rows = open.last() == Some(&depth);
        if is_in_rows && (ends || token.token == Token::Comma) {
            out.push(at(token, Token::RParen));
        }
        if is_in_rows && ends {
            open.pop();
        }
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        out.push(token.clone());
        let begins = matches!(&token.token, Token::Word(word) if is_word(word, "VALUES"))
            && matches!(tokens.get(place + 1), Some(next) if is_value(&next.token));
        if begins {
            open.push(depth);
        }
        if begins || (is_in_rows && token.token == Token::Comma) {
            out.push(at(token, Token::LParen));
        }
    }
    if let Some(last) = tokens.last().filter(|_| !open.is_empty()) {
        out.push(at(last, Token::RParen));
    }
    out
}

/// Whether an expression without parentheses begins so.
fn is_value(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::UnicodeStringLiteral(_)
            | Token::Minus
            | Token::Plus
    ) || matches!(token, Token::Word(word) if word.quote_style.is_none()
            && !["AS", "FROM"].iter().any(|other| is_word(word, other)))
}
