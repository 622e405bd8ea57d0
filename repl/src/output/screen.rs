//! The current result of a query whose rows change, drawn anew in its place on the terminal.
//!
//! ```text
//!    INDUSTRY | N        ◄── the cursor goes back to here
//!   ----------+---
//!    retail   | 7
//!    finance  | 4
//!   (2 rows)
//!   ▮                    ◄── and ends here
//! ```
//!
//! No more is drawn than the screen has lines, or the cursor could not go back; and no more often than
//! an eye can follow.

use std::io::{self, Write};
use std::time::Duration;

use arrow::array::RecordBatch;
use millstream_engine::dataflow::SortKey;
use millstream_engine::{Contents, Delta};

use super::table::{Widths, table_text};

/// The shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);

/// Of the time, drawing takes at most one part in this many.
const REDRAW_SHARE: u32 = 5;

/// Lines of the screen that are no rows: the header, the rule, the count, the cursor's.
const OTHER_LINES: usize = 4;

/// Draws a result in place.
#[derive(Debug)]
pub struct Screen {
    contents: Contents,
    order: Vec<SortKey>,
    /// Lines of the last drawing.
    drawn: usize,
    changed: bool,
    /// When the next drawing may be.
    next: Duration,
}

impl Screen {
    /// A screen with nothing on it, for a result shown in this order.
    pub fn new(contents: Contents, order: Vec<SortKey>) -> Self {
        Self { contents, order, drawn: 0, changed: false, next: Duration::ZERO }
    }

    /// Takes changes of the result.
    ///
    /// # Errors
    ///
    /// When they are not of this result: our bug.
    pub fn take(&mut self, changes: &[Delta]) -> millstream_engine::Result<()> {
        self.changed = true;
        self.contents.apply(changes)
    }

    /// How long to wait at `now` until the next drawing; `None` if there is nothing new to draw.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.changed.then(|| self.next.saturating_sub(now))
    }

    /// Notes that a drawing took from `began` until `ended`.
    pub fn drawn(&mut self, began: Duration, ended: Duration) {
        let pause = ended.saturating_sub(began) * REDRAW_SHARE;
        self.next = ended + pause.max(REDRAW);
    }

    /// Draws the result over the one drawn before, on a terminal of `lines` lines.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn draw(&mut self, lines: usize, out: &mut dyn Write) -> io::Result<()> {
        self.changed = false;
        let rows_max = lines.saturating_sub(OTHER_LINES).max(1);
        let rows = self.rows(rows_max)?;
        let all = self.contents.num_rows();
        let count = if rows.num_rows() < all {
            format!("(the first {} of {all} rows)", rows.num_rows())
        } else {
            counted(all)
        };
        let text = table_text(&rows, Widths::FitAll, &count)?;
        // Without line wrap a long row is cut, and takes one line as well.
        let mut picture = String::from("\x1b[?7l");
        picture.push_str(&self.up());
        for line in text.lines() {
            picture.push_str("\x1b[2K");
            picture.push_str(line);
            picture.push('\n');
        }
        picture.push_str("\x1b[J\x1b[?7h");
        self.drawn = text.lines().count();
        out.write_all(picture.as_bytes())?;
        out.flush()
    }

    /// Replaces the drawing by the whole result, which stays.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let rows = self.rows(usize::MAX)?;
        let text = table_text(&rows, Widths::FitAll, &counted(rows.num_rows()))?;
        write!(out, "{}\x1b[J{text}", self.up())?;
        self.drawn = 0;
        out.flush()
    }

    /// Moves the cursor to where the last drawing began.
    fn up(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\r\x1b[{}A", self.drawn) }
    }

    fn rows(&self, rows_max: usize) -> io::Result<RecordBatch> {
        self.contents.first(&self.order, rows_max).map_err(io::Error::other)
    }
}

fn counted(rows: usize) -> String {
    format!("({rows} {})", if rows == 1 { "row" } else { "rows" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn delta(rows: &[(i64, i64)]) -> Delta {
        let schema = Arc::new(Schema::new(vec![Field::new("N", DataType::Int64, true)]));
        let numbers = Int64Array::from_iter_values(rows.iter().map(|(n, _)| *n));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(numbers)]).unwrap();
        Delta { batch, weights: Some(rows.iter().map(|(_, w)| *w).collect::<Vec<_>>().into()) }
    }

    fn screen() -> Screen {
        let order = vec![SortKey { column: 0, descending: true, nulls_first: false }];
        Screen::new(Contents::new(delta(&[]).batch.schema(), true), order)
    }

    /// What a terminal shows after `text`: it knows going up, clearing a line and clearing below.
    fn shown(text: &str) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut at = 0;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (length, _) = rest.char_indices().nth(1).map_or((rest.len(), c), |(at, c)| (at, c));
            let mut skip = length;
            if let Some(escape) = rest.strip_prefix("\x1b[") {
                let end = escape.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let (argument, letter) = escape.split_at(end);
                match letter.chars().next() {
                    Some('A') => at -= argument.parse::<usize>().unwrap(),
                    Some('K') => lines[at].clear(),
                    Some('J') => lines.truncate(at + 1),
                    _ => {}
                }
                if letter.starts_with('J') {
                    lines[at].clear();
                }
                skip = 2 + end + 1;
            } else if c == '\n' {
                at += 1;
                if at == lines.len() {
                    lines.push(String::new());
                }
            } else if c != '\r' {
                lines[at].push(c);
            }
            rest = rest.get(skip..).unwrap_or_default();
        }
        lines
    }

    #[test]
    fn a_result_is_drawn_over_the_one_before() {
        let mut screen = screen();
        let mut out = Vec::new();
        screen.take(&[delta(&[(1, 1), (2, 1), (3, 1)])]).unwrap();
        screen.draw(24, &mut out).unwrap();
        screen.take(&[delta(&[(1, -1), (2, -1), (9, 1)])]).unwrap();
        screen.draw(24, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(shown(&text), [" N", "---", " 9", " 3", "(2 rows)", ""]);
    }

    #[test]
    fn no_more_is_drawn_than_the_screen_has_lines_and_the_end_shows_all() {
        let mut screen = screen();
        let rows: Vec<(i64, i64)> = (0..100).map(|n| (n, 1)).collect();
        screen.take(&[delta(&rows)]).unwrap();
        let mut out = Vec::new();
        screen.draw(7, &mut out).unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        assert_eq!(
            shown(&text),
            [" N", "----", " 99", " 98", " 97", "(the first 3 of 100 rows)", ""]
        );
        screen.end(&mut out).unwrap();
        let lines = shown(&String::from_utf8(out).unwrap());
        assert_eq!(lines.len(), 104);
        assert_eq!(lines[102], "(100 rows)");
    }

    #[test]
    fn drawing_waits_its_turn_and_only_for_something_new() {
        let mut screen = screen();
        let at = Duration::from_millis;
        assert_eq!(screen.wait(at(0)), None);
        screen.take(&[delta(&[(1, 1)])]).unwrap();
        assert_eq!(screen.wait(at(5)), Some(at(0)), "the first is drawn at once");
        screen.draw(24, &mut Vec::new()).unwrap();
        screen.drawn(at(5), at(10));
        assert_eq!(screen.wait(at(11)), None);
        screen.take(&[delta(&[(2, 1)])]).unwrap();
        assert_eq!(screen.wait(at(50)), Some(at(60)));
        // A result that takes long to draw is drawn less often.
        screen.drawn(at(100), at(200));
        assert_eq!(screen.wait(at(200)), Some(at(500)));
    }
}
