//! `WITH (key = value, …)`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::{Span, SqlError};
use crate::state_ttl;
use crate::statement::cursor::Cursor;

/// The options of a statement, as written: which of them exist is for the connector to say.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Keys in lower case, with their values.
    pub(crate) pairs: Vec<(String, String)>,
    /// Where each key and value stands.
    pub(crate) spans: Vec<(Span, Span)>,
}

impl Options {
    /// The value of the option `key`, and where the option stands.
    pub(crate) fn find(&self, key: &str) -> Option<(&str, (Span, Span))> {
        let pairs = self.pairs.iter().zip(&self.spans);
        pairs
            .into_iter()
            .find(|((name, _), _)| name == key)
            .map(|((_, value), at)| (value.as_str(), *at))
    }

    /// Takes out for how many milliseconds rows count, if that is among them.
    ///
    /// # Errors
    ///
    /// When it is no length of time.
    pub(crate) fn take_state_ttl(&mut self) -> Result<Option<i64>, SqlError> {
        let Some(at) = self.pairs.iter().position(|(key, _)| key == state_ttl::OPTION) else {
            return Ok(None);
        };
        let ((_, length), (_, span)) = (self.pairs.remove(at), self.spans.remove(at));
        state_ttl::read(&length).map(Some).map_err(|error| error.or_at(span))
    }
}

/// Reads `WITH (key = value, …)`.
pub(crate) fn options(cursor: &mut Cursor<'_>) -> Result<Options, SqlError> {
    cursor.expect("WITH")?;
    cursor.expect_token(&Token::LParen, "(")?;
    let mut options = Options::default();
    loop {
        let (key, key_span) = key(cursor)?;
        if options.find(&key).is_some() {
            return Err(SqlError::at(key_span, format!("option {key} is there twice"))
                .with_hint("give each option once"));
        }
        cursor.expect_token(&Token::Eq, "=")?;
        let (value, value_span) = value(cursor)?;
        options.pairs.push((key, value));
        options.spans.push((key_span, value_span));
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    if !cursor.accept_token(&Token::RParen) {
        return Err(cursor
            .expected(", or )")
            .with_hint("put single quotes around a value that is more than one word"));
    }
    Ok(options)
}

/// A key: words with dots between them, or a string; in lower case.
fn key(cursor: &mut Cursor<'_>) -> Result<(String, Span), SqlError> {
    let start = cursor.mark();
    if let Some(Token::SingleQuotedString(text)) = cursor.peek() {
        cursor.advance();
        return Ok((text.to_lowercase(), cursor.span_since(start)));
    }
    let mut key = String::new();
    loop {
        let Some(Token::Word(word)) = cursor.peek() else {
            return Err(cursor.expected("an option: key = 'value'"));
        };
        key.push_str(&word.value.to_lowercase());
        cursor.advance();
        if !cursor.accept_token(&Token::Period) {
            return Ok((key, cursor.span_since(start)));
        }
        key.push('.');
    }
}

/// A value: a string, a word as it is written, or a number.
pub(crate) fn value(cursor: &mut Cursor<'_>) -> Result<(String, Span), SqlError> {
    let start = cursor.mark();
    let value = match cursor.peek() {
        Some(Token::SingleQuotedString(text) | Token::UnicodeStringLiteral(text)) => text.clone(),
        Some(Token::Word(word)) if word.quote_style.is_some() => word.value.clone(),
        Some(Token::Word(_)) => cursor.source().slice(cursor.span()).to_owned(),
        Some(Token::Number(digits, _)) => digits.clone(),
        Some(Token::Minus) => match cursor.peek_nth(1) {
            Some(Token::Number(digits, _)) => {
                cursor.advance();
                format!("-{digits}")
            }
            _ => return Err(cursor.expected("a value")),
        },
        _ => {
            return Err(cursor
                .expected("a value")
                .with_hint("a value is a string in single quotes, a word or a number"));
        }
    };
    cursor.advance();
    Ok((value, cursor.span_since(start)))
}
