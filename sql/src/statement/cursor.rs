//! The tokens of a statement, read from left to right.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::error::{Span, SqlError};
use crate::source::{SourceText, span_at};
use crate::statement::Name;
use crate::statement::reserved::is_reserved;
use crate::tokens::{is_word, place};

/// Reads the tokens of one statement; there is at least one.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    source: &'a SourceText<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a SourceText<'a>, tokens: &'a [TokenWithSpan]) -> Self {
        Self { source, tokens, at: 0 }
    }

    pub(crate) fn source(&self) -> &'a SourceText<'a> {
        self.source
    }

    /// The tokens not yet read.
    pub(crate) fn rest(&self) -> &'a [TokenWithSpan] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.peek_nth(0)
    }

    pub(crate) fn peek_nth(&self, n: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + n).map(|token| &token.token)
    }

    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    /// Whether the `n`-th token from here is the unquoted `word`.
    pub(crate) fn is_at(&self, n: usize, word: &str) -> bool {
        matches!(self.peek_nth(n), Some(Token::Word(found)) if is_word(found, word))
    }

    /// Reads `words` if they stand here.
    pub(crate) fn accept(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| self.is_at(n, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Reads one of `words` if it stands here.
    pub(crate) fn accept_one(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.accept(&[word]))
    }

    pub(crate) fn expect(&mut self, word: &str) -> Result<(), SqlError> {
        if self.accept(&[word]) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(crate) fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect_token(&mut self, token: &Token, what: &str) -> Result<(), SqlError> {
        if self.accept_token(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    /// Reads a name, which `what` says the kind of: `the name of the stream`.
    pub(crate) fn name(&mut self, what: &str) -> Result<Name, SqlError> {
        let Some(Token::Word(word)) = self.peek() else { return Err(self.expected(what)) };
        let span = self.span();
        if word.quote_style.is_none() && is_reserved(&word.value) {
            return Err(reserved(word, span, what));
        }
        self.advance();
        Ok(Name { value: word.value.clone(), span })
    }

    /// Reads a name that may have a database and a schema in front of it. There is one of each, so they
    /// are read and left out.
    pub(crate) fn qualified_name(&mut self, what: &str) -> Result<Name, SqlError> {
        let mut name = self.name(what)?;
        let mut parts = 1;
        while parts < 3 && self.accept_token(&Token::Period) {
            name = self.name(what)?;
            parts += 1;
        }
        Ok(name)
    }

    /// Reads a quoted string.
    pub(crate) fn string(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::UnicodeStringLiteral(text)) => {
                self.advance();
                Ok(text.clone())
            }
            _ => Err(self.expected(&format!("{what} in single quotes"))),
        }
    }

    /// Reads a whole number.
    pub(crate) fn number(&mut self, what: &str) -> Result<usize, SqlError> {
        if let Some(Token::Number(digits, _)) = self.peek()
            && let Ok(number) = digits.parse()
        {
            self.advance();
            return Ok(number);
        }
        Err(self.expected(what))
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<(), SqlError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// Where the next token stands; at the end, the last character of the statement.
    pub(crate) fn span(&self) -> Span {
        match self.tokens.get(self.at) {
            Some(token) => place(token),
            None => self.last_character(),
        }
    }

    /// From the token number `from` (see [`Self::mark`]) to the one read last.
    pub(crate) fn span_since(&self, from: usize) -> Span {
        let last = self.at.saturating_sub(1).max(from);
        match (self.tokens.get(from), self.tokens.get(last)) {
            (Some(first), Some(last)) => Span { start: place(first).start, end: place(last).end },
            _ => self.last_character(),
        }
    }

    /// The number of the next token.
    pub(crate) fn mark(&self) -> usize {
        self.at
    }

    fn last_character(&self) -> Span {
        self.tokens
            .last()
            .map_or_else(|| span_at(self.source.position(0)), |last| span_at(place(last).end))
    }

    /// The next token as it is written.
    pub(crate) fn found(&self) -> String {
        match self.tokens.get(self.at) {
            Some(token) => shorten(self.source.slice(place(token))),
            None => "the end of the statement".to_owned(),
        }
    }

    /// The error that `what` should stand here.
    pub(crate) fn expected(&self, what: &str) -> SqlError {
        SqlError::at(self.span(), format!("expected {what}, found {}", self.found()))
    }
}

/// The first characters of what is written, so that a message stays one line.
pub(crate) fn shorten(written: &str) -> String {
    let mut chars = written.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(40).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

fn reserved(word: &Word, span: Span, what: &str) -> SqlError {
    SqlError::at(span, format!("{} is a reserved word and cannot be {what}", word.value))
        .with_hint(format!("quote it, here and wherever it is used: \"{}\"", word.value))
}
