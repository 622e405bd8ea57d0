//! Where a session speaks: rows to one place, remarks to another.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::failure::Failure;
use crate::output::{Format, Widths, printer};

/// How a result whose rows change is shown on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// The result is drawn anew in its place.
    Drawn,
    /// Each change is printed.
    Printed,
}

impl Changes {
    /// Printed if a changelog is wanted.
    pub fn changelog(wanted: bool) -> Self {
        if wanted { Self::Printed } else { Self::Drawn }
    }
}

/// The two ends of a session's voice and how it speaks.
pub struct Console {
    /// Rows and other answers.
    pub out: Box<dyn Write + Send>,
    /// Remarks: warnings, progress, summaries.
    pub notes: Box<dyn Write + Send>,
    /// How rows are written.
    pub format: Format,
    /// Whether a running job may draw its status line on `notes`.
    pub status: bool,
    /// Whether `out` is a terminal, which shows `^C` where the cursor is.
    pub terminal: bool,
    /// How a result whose rows change is shown on a terminal.
    pub changes: Changes,
    /// How many lines the terminal has.
    pub lines: fn() -> usize,
}

/// The lines of a terminal that does not say how many it has.
const LINES_USUAL: usize = 24;

/// How many lines the terminal at standard output has.
fn terminal_lines() -> usize {
    let size = terminal_size::terminal_size();
    size.map(|(_, height)| usize::from(height.0)).filter(|lines| *lines > 0).unwrap_or(LINES_USUAL)
}

impl Console {
    /// Standard output and standard error of the process.
    pub fn standard(format: Format) -> Self {
        let (status, terminal) = (io::stderr().is_terminal(), io::stdout().is_terminal());
        Self {
            out: Box::new(io::stdout()),
            notes: Box::new(io::stderr()),
            format,
            status,
            terminal,
            changes: Changes::Drawn,
            lines: terminal_lines,
        }
    }

    /// Whether a result whose rows change is redrawn in its place.
    pub(super) fn redraws(&self) -> bool {
        self.terminal && self.format == Format::Table && self.changes == Changes::Drawn
    }

    /// Writes a remark.
    pub fn note(&mut self, text: &str) {
        // Standard error may be closed; that is no reason to stop working.
        let _closed = writeln!(self.notes, "{}", text.trim_end());
    }

    /// Writes text as an answer.
    ///
    /// # Errors
    ///
    /// When nobody reads.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        write!(self.out, "{text}{end}")?;
        Ok(self.out.flush()?)
    }

    /// Writes a small table as an answer, in the console's format.
    pub(super) fn list(&mut self, names: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let fields = names.iter().map(|name| Field::new(*name, DataType::Utf8, false));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = (0..names.len()).map(|column| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row.get(column)).collect::<StringArray>())
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect())?;
        let mut printer = printer(self.format, &schema, Widths::FitAll);
        printer.rows(&batch, self.out.as_mut())?;
        Ok(printer.end(self.out.as_mut())?)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("format", &self.format).finish_non_exhaustive()
    }
}
