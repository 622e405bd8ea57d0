//! A text and the places in it.
//!
//! Tokens and syntax trees carry line and column; statements carry their own text. This module is the
//! one place that goes from the one to the other. Columns count characters, never bytes.

use datafusion::sql::sqlparser::tokenizer::{self, Location};

use crate::error::{Position, Span};

/// A text with the byte offsets of its lines.
#[derive(Debug)]
pub(crate) struct SourceText<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> SourceText<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let after =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, line_starts: std::iter::once(0).chain(after).collect() }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The text of `span`; empty if there is no such place.
    pub(crate) fn slice(&self, span: Span) -> &'a str {
        let start = self.byte(span.start);
        let last = self.byte(span.end);
        let width =
            self.text.get(last..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        self.text.get(start..last + width).unwrap_or_default()
    }

    /// The position of the byte `offset`.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        Position { line: line as u64, column: before as u64 + 1 }
    }

    fn byte(&self, position: Position) -> usize {
        let line = usize::try_from(position.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(position.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(start) = self.line_starts.get(line).copied() else { return self.text.len() };
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

/// The span of a token or syntax node; none if it is not from the text.
pub(crate) fn span_of(span: tokenizer::Span) -> Option<Span> {
    (span.start.line > 0).then(|| {
        let start = position_of(span.start);
        let before = Location { line: span.end.line, column: span.end.column.saturating_sub(1) };
        let end = if before.column == 0 { start } else { position_of(before) };
        Span { start, end: end.max(start) }
    })
}

/// The place of one character.
pub(crate) fn span_at(position: Position) -> Span {
    Span { start: position, end: position }
}

pub(crate) fn position_of(location: Location) -> Position {
    Position { line: location.line, column: location.column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_characters_and_take_the_last_one_in() {
        let source = SourceText::new("a\nbä€c d\n");
        let at = |line, column| Position { line, column };
        assert_eq!(source.slice(Span { start: at(2, 2), end: at(2, 3) }), "ä€");
        assert_eq!(source.slice(Span { start: at(1, 1), end: at(2, 1) }), "a\nb");
        assert_eq!(source.slice(Span { start: at(9, 1), end: at(9, 1) }), "");
    }

    #[test]
    fn positions_and_bytes_are_inverse() {
        let text = "x\tä\n\nzü€z";
        let source = SourceText::new(text);
        for (offset, _) in text.char_indices() {
            assert_eq!(source.byte(source.position(offset)), offset, "at byte {offset}");
        }
    }
}
