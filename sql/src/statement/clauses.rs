//! KDA's clauses that sqlparser does not read, as ones that it does.
//!
//! ```text
//! WINDOWED BY STAGGER (PARTITION BY k RANGE INTERVAL …)   GROUP BY k, __stagger(INTERVAL …)
//! ORDER BY t WITHIN INTERVAL …, k                         ORDER BY __within(t, INTERVAL …), k
//! s OVER (RANGE INTERVAL … PRECEDING) AS a                s AS a WITH (INTERVAL …)
//! s OVER w                                                s AS w WITH (w)
//! NTH_VALUE(x, n) FROM LAST                               NTH_VALUE(x, n, 'FROM LAST')
//! U&'d!0061t' UESCAPE '!'                                 'dat'
//! BINARY VARYING(n)                                       VARBINARY(n)
//! ```
//!
//! It is done on tokens, each of which keeps its place in the text. What the functions and hints mean
//! is said by the passes behind: [`crate::rowtime`] and [`crate::plan`].

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan, Word};

use crate::error::{Span, SqlError};
use crate::statement::reserved::is_reserved;
use crate::tokens::{is_word, place};

/// The grouping expression of a stagger window: its argument is the window's length; the row's time is
/// put in front of it where that is known.
pub(crate) const STAGGER: &str = "__stagger";

/// The grouping expression that says when another one changes: its arguments are that one and the row's
/// time.
pub(crate) const ENDS_AT: &str = "__ends_at";

/// The sort key of a time-sort: the time and how far out of order rows may come.
pub(crate) const WITHIN: &str = "__within";

/// The hint of a window of rows on a relation in `FROM`.
pub(crate) const ROWS: &str = "__rows";

/// The hint of a window on a relation in `FROM` that lies ahead of the row.
pub(crate) const FOLLOWING: &str = "__following";

/// The argument that stands for `FROM LAST` behind the arguments of `NTH_VALUE`.
pub(crate) const FROM_LAST_MARK: &str = "FROM LAST";

/// The tokens of a query with those clauses replaced.
pub(crate) fn rewritten(tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut rewriter = Rewriter { tokens, at: 0, out: Vec::with_capacity(tokens.len()) };
    let mut levels = vec![Level::default()];
    while let Some(token) = rewriter.peek(0) {
        match &token.token {
            Token::LParen => {
                let is_query = rewriter.is_at(1, "SELECT") && !rewriter.is_behind_callee();
                levels.push(Level { is_query, ..Level::default() });
            }
            Token::RParen => {
                let closed = if levels.len() > 1 { levels.pop() } else { None };
                if closed.is_some_and(|level| level.is_query) && rewriter.is_at(1, "OVER") {
                    return Err(derived(token));
                }
            }
            Token::Word(word) if word.quote_style.is_none() => {
                if let Some(level) = levels.last_mut() {
                    level.see(&rewriter, word.keyword)?;
                }
            }
            _ => {}
        }
        let replaced = rewriter.stagger()?
            || rewriter.time_sort()?
            || rewriter.last()
            || rewriter.escaped()?
            || rewriter.varying()
            || rewriter.window()?;
        if !replaced {
            rewriter.copy();
        }
    }
    Ok(rewriter.out)
}

/// What has been seen of the innermost query.
#[derive(Default)]
struct Level {
    is_query: bool,
    /// Whether it has its keys: from `GROUP BY`, or from `WINDOWED BY`.
    windowed: Option<bool>,
}

impl Level {
    fn see(&mut self, rewriter: &Rewriter<'_>, keyword: Keyword) -> Result<(), SqlError> {
        let windowed = match keyword {
            Keyword::SELECT => {
                self.windowed = None;
                return Ok(());
            }
            Keyword::GROUP if rewriter.is_at(1, "BY") => false,
            _ if rewriter.is_at(0, "WINDOWED") && rewriter.is_at(1, "BY") => true,
            _ => return Ok(()),
        };
        if self.windowed.replace(windowed).is_some_and(|before| before != windowed) {
            return Err(SqlError::at(
                rewriter.span(),
                "a SELECT has GROUP BY or WINDOWED BY, not both",
            )
            .with_hint("the keys of a stagger window stand in its PARTITION BY"));
        }
        Ok(())
    }
}

fn derived(token: &TokenWithSpan) -> SqlError {
    SqlError::at(place(token), "a window in FROM is for a relation that has a name")
        .with_hint("give the query a name with CREATE VIEW or WITH, and write name OVER (…)")
}

struct Rewriter<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    out: Vec<TokenWithSpan>,
}

impl Rewriter<'_> {
    fn peek(&self, n: usize) -> Option<&TokenWithSpan> {
        self.tokens.get(self.at + n)
    }

    fn is_at(&self, n: usize, wanted: &str) -> bool {
        self.word_at(n).is_some_and(|word| is_word(word, wanted))
    }

    fn word_at(&self, n: usize) -> Option<&Word> {
        match self.peek(n).map(|token| &token.token) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is_token(&self, n: usize, wanted: &Token) -> bool {
        self.peek(n).is_some_and(|token| token.token == *wanted)
    }

    /// Whether the token before is the name of a function or type.
    fn is_behind_callee(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        matches!(before.map(|token| &token.token), Some(Token::Word(word))
            if word.quote_style.is_some() || word.keyword == Keyword::NoKeyword)
    }

    fn copy(&mut self) {
        if let Some(token) = self.tokens.get(self.at) {
            self.out.push(token.clone());
        }
        self.at += 1;
    }

    fn copy_until(&mut self, end: usize) {
        while self.at < end {
            self.copy();
        }
    }

    /// Puts `token` in, in the place of the next one.
    fn put(&mut self, token: Token) {
        let at = self.at.min(self.tokens.len().saturating_sub(1));
        if let Some(place) = self.tokens.get(at) {
            self.out.push(TokenWithSpan { token, span: place.span });
        }
    }

    fn put_word(&mut self, word: &str) {
        self.put(Token::make_word(word, None));
    }

    fn span(&self) -> Span {
        let at = self.at.min(self.tokens.len().saturating_sub(1));
        self.tokens.get(at).map_or_else(
            || crate::source::span_at(crate::error::Position { line: 1, column: 1 }),
            place,
        )
    }

    fn expected(&self, what: &str) -> SqlError {
        SqlError::at(self.span(), format!("expected {what}"))
    }

    /// The index of the first token from `from` on, outside parentheses, that `wanted` likes; or of
    /// the parenthesis that closes before it, or the end.
    fn find(&self, from: usize, wanted: impl Fn(&Token) -> bool) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(from) {
            match &token.token {
                token if depth == 0 && wanted(token) => return at,
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return at,
                Token::RParen => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len()
    }

    fn stagger(&mut self) -> Result<bool, SqlError> {
        if !(self.is_at(0, "WINDOWED") && self.is_at(1, "BY")) {
            return Ok(false);
        }
        if !self.is_at(2, "STAGGER") || !self.is_token(3, &Token::LParen) {
            self.at += 2;
            let error = self.expected("STAGGER ( behind WINDOWED BY");
            return Err(
                error.with_hint("WINDOWED BY STAGGER (PARTITION BY key RANGE INTERVAL '1' MINUTE)")
            );
        }
        self.put(Token::make_keyword("GROUP"));
        self.put(Token::make_keyword("BY"));
        self.at += 4;
        let is_range = |token: &Token| matches!(token, Token::Word(word) if is_word(word, "RANGE"));
        if self.is_at(0, "PARTITION") && self.is_at(1, "BY") {
            self.at += 2;
            let range = self.find(self.at, is_range);
            if range == self.at {
                return Err(self.expected("an expression behind PARTITION BY"));
            }
            self.copy_until(range);
            self.put(Token::Comma);
        }
        if !(self.is_at(0, "RANGE") && self.is_at(1, "INTERVAL")) {
            return Err(self
                .expected("RANGE INTERVAL and the length of the window")
                .with_hint("WINDOWED BY STAGGER (PARTITION BY key RANGE INTERVAL '1' MINUTE)"));
        }
        self.put_word(STAGGER);
        self.put(Token::LParen);
        self.at += 1;
        let end = self.find(self.at, |_| false);
        self.copy_until(end);
        if self.peek(0).is_none() {
            return Err(self.expected(") behind the length of the window"));
        }
        // It closes the call instead of the clause.
        self.copy();
        Ok(true)
    }

    fn varying(&mut self) -> bool {
        let is_one = self.is_at(0, "BINARY") && self.is_at(1, "VARYING");
        if is_one {
            self.put(Token::make_keyword("VARBINARY"));
            self.at += 2;
        }
        is_one
    }

    fn time_sort(&mut self) -> Result<bool, SqlError> {
        if !(self.is_at(0, "ORDER") && self.is_at(1, "BY")) {
            return Ok(false);
        }
        let ends = |token: &Token| match token {
            Token::Comma => true,
            Token::Word(word) => is_word(word, "WITHIN"),
            _ => false,
        };
        let within = self.find(self.at + 2, ends);
        let is_within = |at: usize, wanted: &str| matches!(self.tokens.get(at).map(|token| &token.token), Some(Token::Word(word)) if is_word(word, wanted));
        if !is_within(within, "WITHIN") || !is_within(within + 1, "INTERVAL") {
            return Ok(false);
        }
        self.copy();
        self.copy();
        self.put_word(WITHIN);
        self.put(Token::LParen);
        let direction = within.saturating_sub(1);
        if is_within_desc(self.tokens, direction) {
            self.at = direction;
            return Err(time_sort_descends(self.span()));
        }
        self.copy_until(within);
        self.put(Token::Comma);
        self.at += 1;
        let end = self.find(self.at, |token| match token {
            Token::Comma => true,
            Token::Word(word) => ["ASC", "DESC", "LIMIT"].iter().any(|w| is_word(word, w)),
            _ => false,
        });
        self.copy_until(end);
        self.put(Token::RParen);
        if self.is_at(0, "DESC") {
            return Err(time_sort_descends(self.span()));
        }
        Ok(true)
    }

    /// `U&'…' UESCAPE '!'`: the text with the character that stands for the backslash.
    fn escaped(&mut self) -> Result<bool, SqlError> {
        let Some(Token::UnicodeStringLiteral(text)) = self.peek(0).map(|token| &token.token) else {
            return Ok(false);
        };
        if !self.is_at(1, "UESCAPE") {
            // The planner knows one kind of text.
            self.put(Token::SingleQuotedString(text.clone()));
            self.at += 1;
            return Ok(true);
        }
        let escape = match self.peek(2).map(|token| &token.token) {
            Some(Token::SingleQuotedString(escape)) => escape.chars().next().filter(|first| {
                escape.len() == first.len_utf8() && !first.is_ascii_hexdigit() && *first != '+'
            }),
            _ => None,
        };
        let Some(escape) = escape else {
            self.at += 2;
            let error = self.expected("one character in quotes behind UESCAPE, which is no digit");
            return Err(error.with_hint("U&'d!0061t!0061' UESCAPE '!'"));
        };
        let Some(text) = unescaped(text, escape) else {
            return Err(SqlError::at(
                self.span(),
                format!("{escape} stands before no character here"),
            )
            .with_hint("four hexadecimal digits follow it, or + and six, or itself"));
        };
        self.put(Token::SingleQuotedString(text));
        self.at += 3;
        Ok(true)
    }

    /// `FROM FIRST` or `FROM LAST` behind the arguments of a function with a window.
    fn last(&mut self) -> bool {
        let from_last = self.is_at(1, "LAST");
        let is_call = matches!(self.out.last().map(|token| &token.token), Some(Token::RParen));
        if !(self.is_at(0, "FROM") && is_call && (from_last || self.is_at(1, "FIRST"))) {
            return false;
        }
        if !["OVER", "IGNORE", "RESPECT"].iter().any(|word| self.is_at(2, word)) {
            return false;
        }
        if from_last && let Some(closing) = self.out.pop() {
            self.put(Token::Comma);
            self.put(Token::SingleQuotedString(FROM_LAST_MARK.to_owned()));
            self.out.push(closing);
        }
        self.at += 2;
        // Behind it stands OVER, which is not that of a relation.
        if self.is_at(0, "OVER") {
            self.copy();
        }
        true
    }

    /// `relation OVER …` in `FROM`.
    fn window(&mut self) -> Result<bool, SqlError> {
        let Some(name) = self.word_at(0) else { return Ok(false) };
        if !self.is_at(1, "OVER") || is_word(name, "NULLS") {
            return Ok(false);
        }
        if name.quote_style.is_none() && is_reserved(&name.value) {
            return Ok(false);
        }
        self.copy();
        self.at += 1;
        let spec = if self.is_token(0, &Token::LParen) {
            self.at += 1;
            self.frame()?
        } else {
            let Some(word) = self.word_at(0).cloned() else {
                return Err(self.expected("( or the name of a window behind OVER"));
            };
            let place = self.tokens.get(self.at).map_or_else(TokenSpan::empty, |token| token.span);
            self.at += 1;
            vec![TokenWithSpan { token: Token::Word(word), span: place }]
        };
        let has_alias = self.alias();
        if !has_alias
            && let [name] = spec.as_slice()
            && matches!(name.token, Token::Word(_))
        {
            // The window's name is the relation's alias as well.
            self.put(Token::make_keyword("AS"));
            self.out.push(name.clone());
        }
        self.put(Token::make_keyword("WITH"));
        self.put(Token::LParen);
        self.out.extend(spec);
        self.put(Token::RParen);
        Ok(true)
    }

    /// Copies `[AS] alias [(columns)]`, if it stands here.
    fn alias(&mut self) -> bool {
        let explicit = self.is_at(0, "AS");
        let is_alias = self.word_at(usize::from(explicit)).is_some_and(|word| {
            explicit
                || word.quote_style.is_some()
                || !(is_reserved(&word.value) || is_word(word, "WINDOWED"))
        });
        if !is_alias {
            return false;
        }
        self.copy();
        if explicit {
            self.copy();
        }
        if self.is_token(0, &Token::LParen) {
            self.copy();
            let end = self.find(self.at, |_| false);
            self.copy_until(end + 1);
        }
        true
    }

    /// The frame of a window on a relation, up to its `)`, as a hint.
    fn frame(&mut self) -> Result<Vec<TokenWithSpan>, SqlError> {
        if self.is_at(0, "PARTITION") {
            return Err(SqlError::at(
                self.span(),
                "a window on a relation in FROM has no PARTITION BY",
            )
            .with_hint("the condition behind ON says which rows belong together"));
        }
        let frame = self.at;
        let closing = self.find(frame, |_| false);
        let parsed = window_frame(self, closing);
        let hint = parsed.ok_or_else(|| {
            SqlError::at(self.span(), "this window cannot stand on a relation in FROM").with_hint(
                "write RANGE INTERVAL '1' MINUTE PRECEDING, RANGE INTERVAL '1' MINUTE FOLLOWING, \
                 or RANGE CURRENT ROW",
            )
        })?;
        if closing >= self.tokens.len() {
            self.at = closing;
            return Err(self.expected(") behind the window"));
        }
        self.at = closing + 1;
        Ok(hint)
    }
}

/// What a frame between `rewriter.at` and `closing` says, as the tokens of a hint.
fn window_frame(rewriter: &Rewriter<'_>, closing: usize) -> Option<Vec<TokenWithSpan>> {
    let tokens = rewriter.tokens.get(rewriter.at..closing)?;
    let is = |at: usize, wanted: &str| matches!(tokens.get(at).map(|token| &token.token), Some(Token::Word(word)) if is_word(word, wanted));
    let start = (0..tokens.len()).find(|at| is(*at, "RANGE") || is(*at, "ROWS"))?;
    // The order is that of time: ORDER BY the ROWTIME of the relation may say so.
    let order_end = start.saturating_sub(1 + usize::from(start > 0 && is(start - 1, "ASC")));
    if start > 0 && !(is(0, "ORDER") && is(1, "BY") && is(order_end, "ROWTIME")) {
        return None;
    }
    let between = is(start + 1, "BETWEEN");
    let first = start + 1 + usize::from(between);
    let end = if between { (first..tokens.len()).find(|at| is(*at, "AND"))? } else { tokens.len() };
    if between && !(is(end + 1, "CURRENT") && is(end + 2, "ROW") && end + 3 == tokens.len()) {
        return None;
    }
    let at = |token: Token| TokenWithSpan { token, span: tokens[start].span };
    let call = |name: &str, argument: &[TokenWithSpan]| {
        let mut call = vec![at(Token::make_word(name, None)), at(Token::LParen)];
        call.extend_from_slice(argument);
        call.push(at(Token::RParen));
        call
    };
    if is(first, "CURRENT") && is(first + 1, "ROW") && first + 2 == end {
        if is(start, "ROWS") {
            return Some(call(ROWS, &[at(Token::Number("0".to_owned(), false))]));
        }
        let zero = Token::SingleQuotedString("0".to_owned());
        let interval = [Token::make_keyword("INTERVAL"), zero, Token::make_keyword("SECOND")];
        return Some(interval.map(at).to_vec());
    }
    let last = end.checked_sub(1)?;
    let amount = tokens.get(first..last)?;
    match (is(start, "ROWS"), is(last, "PRECEDING"), is(last, "FOLLOWING")) {
        (true, true, _) => Some(call(ROWS, amount)),
        (false, true, _) if is(first, "INTERVAL") => Some(amount.to_vec()),
        (false, _, true) if is(first, "INTERVAL") && !between => Some(call(FOLLOWING, amount)),
        _ => None,
    }
}

/// The text with its escaped characters; none if one is not.
fn unescaped(text: &str, escape: char) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter != escape {
            plain.push(letter);
        } else if rest.next_if_eq(&escape).is_some() {
            plain.push(escape);
        } else {
            let length = if rest.next_if_eq(&'+').is_some() { 6 } else { 4 };
            let digits: String = rest.by_ref().take(length).collect();
            let is_whole = digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = is_whole.then(|| u32::from_str_radix(&digits, 16).ok()).flatten();
            plain.push(code.and_then(char::from_u32)?);
        }
    }
    Some(plain)
}

fn is_within_desc(tokens: &[TokenWithSpan], at: usize) -> bool {
    matches!(tokens.get(at).map(|token| &token.token), Some(Token::Word(word)) if is_word(word, "DESC"))
}

fn time_sort_descends(span: Span) -> SqlError {
    SqlError::at(span, "ORDER BY … WITHIN sorts by a time that ascends").with_hint("leave DESC out")
}
