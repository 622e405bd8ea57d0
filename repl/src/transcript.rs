//! Every text the session was given, one after another, so that an error points into the right one.
//!
//! A pump declared in one file may turn out to be wrong when a sink in another one uses it. The spans
//! of all statements must then live in one space: each text is parsed behind as many blank lines as
//! there are lines before it, and [`Transcript::render`] finds its way back to file and line.

use millstream_sql::{Position, Span, SqlError};

use crate::failure::Failure;

/// The texts of a session, in order.
#[derive(Debug, Default)]
pub struct Transcript {
    parts: Vec<Part>,
    /// Lines taken by the parts so far.
    lines: u64,
}

#[derive(Debug)]
struct Part {
    name: String,
    text: String,
    /// Lines of the transcript before the part's first one.
    before: u64,
}

impl Transcript {
    /// Adds the text called `name` (a file, `input`) and returns what to parse instead of it: the same
    /// statements, at their lines of the transcript.
    pub fn add(&mut self, name: &str, text: &str) -> String {
        let before = self.lines;
        self.lines += u64::try_from(text.lines().count()).unwrap_or(0) + 1;
        self.parts.push(Part { name: name.to_owned(), text: text.to_owned(), before });
        let blank = "\n".repeat(usize::try_from(before).unwrap_or(0));
        blank + text
    }

    /// `error` as a terminal shows it, with the name and the line the user knows.
    pub fn render(&self, error: &SqlError) -> String {
        let line = error.span.map_or(0, |span| span.start.line);
        let Some(part) = self.parts.iter().rev().find(|part| part.before < line) else {
            return error.render("", "");
        };
        let back = |at: Position| Position { line: at.line - part.before.min(at.line), ..at };
        let span = error.span.map(|span| Span { start: back(span.start), end: back(span.end) });
        SqlError { span, ..error.clone() }.render(&part.name, &part.text)
    }

    /// The failure that `error` is.
    pub fn failure(&self, error: &SqlError) -> Failure {
        Failure::Said(self.render(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_the_second_text_names_it_and_its_own_line() {
        let mut transcript = Transcript::default();
        transcript.add("a.sql", "SELECT 1;\nSELECT 2;\n");
        let parsed = transcript.add("b.sql", "-- b\nSELECT x;\n");
        let line = parsed.lines().position(|line| line == "SELECT x;").unwrap() as u64 + 1;
        let at = Position { line, column: 8 };
        let error = SqlError::at(Span { start: at, end: at }, "no column X");
        let shown = transcript.render(&error);
        assert!(shown.contains("--> b.sql:2:8"), "{shown}");
        assert!(shown.contains("2 | SELECT x;"), "{shown}");
    }

    #[test]
    fn an_error_without_a_place_is_still_shown() {
        let transcript = Transcript::default();
        assert_eq!(transcript.render(&SqlError::new("no sinks")), "error: no sinks");
    }
}
