//! The token pass: text to the tokens of its statements, with identifiers folded and `STREAM` taken
//! out.
//!
//! Everything that makes the dialect differ from what sqlparser reads is done on tokens, where strings,
//! comments and quoted identifiers cannot be mistaken for syntax, and where every token keeps its place
//! in the text. What comes from outside is measured here, before any recursive code sees it.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, Whitespace, Word,
};
use millstream_engine::definition::SYSTEM_COLUMNS;

use crate::dialect::Lexical;
use crate::error::{Span, SqlError};
use crate::source::{SourceText, position_of, span_at, span_of};

/// The longest text, in bytes: ten times what Kinesis Data Analytics takes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The most tokens of a text, comments and blanks apart.
pub const TOKENS_MAX: usize = 100_000;

/// The longest identifier, in characters, as in Kinesis Data Analytics.
pub const IDENTIFIER_CHARS_MAX: usize = 128;

/// The deepest nesting of parentheses, brackets and `CASE`.
pub const NESTING_MAX: usize = 128;

/// The most operators of one expression, between two commas or clauses: the syntax tree is as deep as
/// they are many, and 2,000 of them overflow the stack of the planner.
pub const CHAIN_MAX: usize = 500;

/// The most joins and set operations of one query: the plan is as deep as they are many.
pub const RELATIONS_MAX: usize = 128;

/// How unquoted identifiers are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Folding {
    /// To upper case, as in Kinesis Data Analytics and the SQL standard.
    #[default]
    Upper,
    /// To lower case, as in `PostgreSQL`.
    Lower,
}

impl Folding {
    /// The folding a setting `identifier_folding` names.
    pub fn named(value: &str) -> Option<Self> {
        match value.to_ascii_lowercase().as_str() {
            "upper" => Some(Self::Upper),
            "lower" => Some(Self::Lower),
            _ => None,
        }
    }

    /// `word` folded. The names of system objects are the same under every folding.
    pub fn fold(self, word: &str) -> String {
        let upper = word.to_uppercase();
        let system = upper == crate::catalog::ERROR_STREAM
            || SYSTEM_COLUMNS.iter().any(|(name, _)| *name == upper);
        match self {
            Self::Lower if !system => word.to_lowercase(),
            _ => upper,
        }
    }
}

/// The tokens of `text` without blanks and comments.
pub(crate) fn tokenize(source: &SourceText<'_>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let text = source.text();
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        return Err(SqlError::at(
            span_at(source.position(end)),
            format!("the text is longer than {TEXT_BYTES_MAX} bytes"),
        )
        .with_hint("split it into several files; data belongs into a table, not into the text"));
    }
    let mut tokens = Vec::new();
    if let Err(error) = Tokenizer::new(&Lexical, text).tokenize_with_location_into_buf(&mut tokens)
    {
        let start = tokens.last().map_or(Location { line: 1, column: 1 }, |last| last.span.end);
        return Err(unreadable(&error.message, span_at(position_of(start))));
    }
    if let Some(comment) = tokens.iter().find(|token| is_hash_comment(&token.token)) {
        return Err(SqlError::at(first_of(comment), "unexpected character #")
            .with_hint("comments begin with -- or //, or stand in /* */"));
    }
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    if let Some(token) = tokens.get(TOKENS_MAX) {
        return Err(SqlError::at(
            first_of(token),
            format!("the text has more than {TOKENS_MAX} words and signs"),
        )
        .with_hint("split it into several files; data belongs into a table, not into the text"));
    }
    check_names(&tokens)?;
    check_shape(&tokens)?;
    Ok(tokens)
}

/// What the tokenizer could not read, which begins at `span`.
fn unreadable(message: &str, span: Span) -> SqlError {
    match unended(message) {
        Some((what, hint)) => SqlError::at(span, what).with_hint(hint),
        None => {
            SqlError::at(span, message.to_lowercase()).with_hint("look at the character marked")
        }
    }
}

/// What has no end and how to end it, if that is what the tokenizer complains about.
fn unended(message: &str) -> Option<(&'static str, &'static str)> {
    let message = message.to_lowercase();
    if message.contains("comment") {
        Some(("the comment does not end", "close it with */"))
    } else if message.contains("close delimiter") {
        Some(("the quoted identifier does not end", "close it with \""))
    } else if message.contains("unterminated") {
        Some((
            "the string does not end",
            "close it with '; inside a string a quote is written twice: ''",
        ))
    } else {
        None
    }
}

fn is_hash_comment(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::SingleLineComment { prefix, .. }) if prefix == "#")
}

/// The place of the first character of `token`.
fn first_of(token: &TokenWithSpan) -> Span {
    span_at(position_of(token.span.start))
}

/// The place of `token`.
pub(crate) fn place(token: &TokenWithSpan) -> Span {
    span_of(token.span).unwrap_or_else(|| first_of(token))
}

fn check_names(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    for token in tokens {
        let Token::Word(word) = &token.token else { continue };
        let error = if word.value.chars().count() > IDENTIFIER_CHARS_MAX {
            format!("the name is longer than {IDENTIFIER_CHARS_MAX} characters")
        } else if word.value.is_empty() {
            "the name is empty".to_owned()
        } else if word.value.chars().any(|c| c < ' ') {
            "the name has a control character in it".to_owned()
        } else {
            continue;
        };
        return Err(SqlError::at(place(token), error).with_hint("choose another name"));
    }
    Ok(())
}

/// What [`check_shape`] counts between a parenthesis (or `CASE`) and its end.
#[derive(Default)]
struct Level {
    is_case: bool,
    /// Operators since the last comma or clause.
    operators: usize,
    /// How deep the deepest parenthesis among them is.
    inner: usize,
    /// How deep the deepest piece before the last comma or clause is.
    deepest: usize,
    relations: usize,
}

impl Level {
    /// How deep the syntax tree of this level is, at most.
    fn depth(&self) -> usize {
        self.deepest.max(self.operators + self.inner)
    }

    fn next_piece(&mut self) {
        self.deepest = self.depth();
        self.operators = 0;
        self.inner = 0;
    }
}

/// Refuses what would make a tree too deep for the code behind.
fn check_shape(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
            Token::RParen | Token::RBracket | Token::RBrace => while close(&mut levels) {},
            Token::SemiColon => levels = vec![Level::default()],
            Token::Word(word) if word.keyword == Keyword::CASE => {
                levels.push(Level { is_case: true, ..Level::default() });
            }
            Token::Word(word) if word.keyword == Keyword::END => {
                if levels.last().is_some_and(|level| level.is_case) {
                    close(&mut levels);
                }
            }
            other => {
                if let Some(level) = levels.last_mut() {
                    count(level, other);
                }
            }
        }
        check_levels(&levels, first_of(token))?;
    }
    Ok(())
}

/// Ends the innermost level; returns whether it was a `CASE`, within a parenthesis or none.
fn close(levels: &mut Vec<Level>) -> bool {
    if levels.len() < 2 {
        return false;
    }
    let Some(closed) = levels.pop() else { return false };
    if let Some(level) = levels.last_mut() {
        level.inner = level.inner.max(closed.depth() + 1);
    }
    closed.is_case
}

fn check_levels(levels: &[Level], span: Span) -> Result<(), SqlError> {
    if levels.len() > NESTING_MAX {
        return Err(SqlError::at(span, format!("nested more than {NESTING_MAX} deep"))
            .with_hint("give the inner queries names with CREATE VIEW or WITH"));
    }
    let Some(level) = levels.last() else { return Ok(()) };
    if level.depth() > CHAIN_MAX {
        return Err(SqlError::at(
            span,
            format!("more than {CHAIN_MAX} operators in one expression"),
        )
        .with_hint("write IN (…) for a chain of OR, or join a table"));
    }
    if level.relations > RELATIONS_MAX {
        return Err(SqlError::at(
            span,
            format!("more than {RELATIONS_MAX} joins or set operations"),
        )
        .with_hint("split the query with CREATE VIEW, or by pumps into streams"));
    }
    Ok(())
}

fn count(level: &mut Level, token: &Token) {
    match token {
        Token::Comma => level.next_piece(),
        Token::Word(word) => match word.keyword {
            Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::ON => level.next_piece(),
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => {
                level.next_piece();
                level.relations += 1;
            }
            Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::BETWEEN
            | Keyword::SIMILAR
            | Keyword::COLLATE
            | Keyword::INTERVAL
            | Keyword::AT => level.operators += 1,
            _ => {}
        },
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Period
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => {}
        _ => level.operators += 1,
    }
}

/// The tokens of each statement, without the `;` between them; empty statements are left out.
pub(crate) fn statements(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &[TokenWithSpan]> {
    tokens.split(|token| token.token == Token::SemiColon).filter(|tokens| !tokens.is_empty())
}

/// The tokens of a statement, ready for the grammar.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) tokens: Vec<TokenWithSpan>,
    /// Where the `SELECT`s stand that were followed by `STREAM`.
    pub(crate) streams: Vec<Location>,
}

/// Folds the unquoted identifiers and takes out every `STREAM` behind a `SELECT`; anywhere else
/// `STREAM` is a word like any other. Keywords are folded as well, which changes nothing: they are
/// known by their tag.
pub(crate) fn fold(tokens: &[TokenWithSpan], folding: Folding) -> Folded {
    let mut folded = Folded { tokens: Vec::with_capacity(tokens.len()), streams: Vec::new() };
    let mut select: Option<Location> = None;
    let mut behind_period = false;
    for token in tokens {
        let Token::Word(word) = &token.token else {
            behind_period = token.token == Token::Period;
            select = None;
            folded.tokens.push(token.clone());
            continue;
        };
        if let Some(at) = select.take().filter(|_| is_word(word, "STREAM")) {
            folded.streams.push(at);
            continue;
        }
        select = (word.keyword == Keyword::SELECT && !behind_period).then_some(token.span.start);
        behind_period = false;
        let mut word = word.clone();
        if word.quote_style.is_none() {
            word.value = folding.fold(&word.value);
        }
        folded.tokens.push(TokenWithSpan { token: Token::Word(word), span: token.span });
    }
    folded
}

/// Whether `word` is the unquoted `wanted`, in any case.
pub(crate) fn is_word(word: &Word, wanted: &str) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted)
}

/// Whether `text` ends with a `;` that closes a statement: not one inside a string, a comment or a
/// quoted identifier. Blanks and comments may follow. Text that says nothing is complete, and so is
/// text that more lines would not make readable.
pub fn statement_is_complete(text: &str) -> bool {
    let mut tokens = Vec::new();
    match Tokenizer::new(&Lexical, text).tokenize_with_location_into_buf(&mut tokens) {
        Err(error) => unended(&error.message).is_none(),
        Ok(()) => {
            let last =
                tokens.iter().rev().find(|token| !matches!(token.token, Token::Whitespace(_)));
            last.is_none_or(|token| token.token == Token::SemiColon)
        }
    }
}
