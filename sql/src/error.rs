//! Errors that point into the text.

use std::fmt;

/// A place in a text: line and column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

/// A stretch of text, from its first to its last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first character.
    pub start: Position,
    /// The last character.
    pub end: Position,
}

/// An error in a SQL text: what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where, if it has a place.
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error at `span`.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), hint: None }
    }

    /// An error without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The place `span`, unless the error has one already.
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// The error as a terminal shows it: file, line and column, the line itself, a caret, the hint.
    /// `name` is the file's name, `text` the text the error is in.
    ///
    /// ```text
    /// error: column PRICE does not exist
    ///   --> queries/a.sql:3:8
    ///    |
    ///  3 | SELECT STREAM price
    ///    |               ^^^^^
    ///   hint: the columns of JOBS are COMPANY_ID, USERID, JOB_SUBMITTED
    /// ```
    pub fn render(&self, name: &str, text: &str) -> String {
        let mut out = format!("error: {}", self.message);
        if let Some(span) = self.span {
            out.push_str(&excerpt(span, name, text));
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\n  hint: {hint}"));
        }
        out
    }
}

fn excerpt(span: Span, name: &str, text: &str) -> String {
    let Position { line, column } = span.start;
    let shown = usize::try_from(line).ok().and_then(|line| text.lines().nth(line.wrapping_sub(1)));
    let shown = shown.unwrap_or_default().replace('\t', " ");
    let width = line.to_string().len();
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let last = if span.end.line == line { span.end.column } else { column };
    let carets = usize::try_from(last.saturating_sub(column) + 1).unwrap_or(1);
    let rest = shown.chars().count().saturating_sub(before).max(1);
    format!(
        "\n  {blank:width$}--> {name}:{line}:{column}\n  {blank:width$} |\n  {line} | {shown}\n  \
         {blank:width$} | {blank:before$}{caret}",
        blank = "",
        caret = "^".repeat(carets.min(rest)),
    )
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_word() {
        let at = |line, column| Position { line, column };
        let error = SqlError::at(Span { start: at(2, 8), end: at(2, 12) }, "no column PRICE")
            .with_hint("did you mean PRICES?");
        assert_eq!(
            error.render("a.sql", "-- x\nSELECT price\nFROM s"),
            "error: no column PRICE\n   --> a.sql:2:8\n    |\n  2 | SELECT price\n    |        \
             ^^^^^\n  hint: did you mean PRICES?"
        );
    }
}
