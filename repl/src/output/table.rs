//! Rows as an aligned table.
//!
//! ```text
//!  COMPANY_ID | INDUSTRY | JOB30
//! ------------+----------+-------
//!  comp_4     | retail   |     5
//! (1 row)
//! ```
//!
//! The widths of a bounded result fit all its rows, up to [`FIT_ROWS_MAX`]; those of a continuous one
//! fit its first rows and stay, because rows already shown cannot move. A wider value then pushes its
//! own line to the right, and nothing else.

use std::io::{self, Write};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Printer;

/// How a timestamp is shown, in every format: as KDA does, without a zone.
pub(super) const TIMESTAMP_FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";

/// Rows of a bounded result that are held back to find the widths: about what a person scrolls
/// through. The rest of a larger result is printed with the widths of the first ones.
const FIT_ROWS_MAX: usize = 1_000;

/// The widest a column gets before its values stick out, in characters.
const WIDTH_MAX: usize = 60;

/// When the widths of the columns are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widths {
    /// When the result is there, or its first `FIT_ROWS_MAX` rows.
    FitAll,
    /// With the first rows: those that follow come later.
    FitFirst,
}

/// Prints one result as a table.
#[derive(Debug)]
pub(super) struct TablePrinter {
    schema: SchemaRef,
    widths: Widths,
    /// Cells not printed yet, row by row; empty once the columns are fixed.
    held: Vec<Vec<String>>,
    /// The width of each column, once fixed.
    columns: Option<Vec<usize>>,
    rows: u64,
}

impl TablePrinter {
    /// A printer that has printed nothing.
    pub(super) fn new(schema: SchemaRef, widths: Widths) -> Self {
        Self { schema, widths, held: Vec::new(), columns: None, rows: 0 }
    }

    /// Fixes the widths by the rows held, prints the header and them.
    fn fix(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let widths: Vec<usize> = (0..self.schema.fields().len())
            .map(|column| {
                let cells = held.iter().map(|row| width(&row[column])).max().unwrap_or(0);
                let field = self.schema.field(column);
                let least = match self.widths {
                    Widths::FitAll => 0,
                    Widths::FitFirst => usual_width(field.data_type()),
                };
                width(field.name()).max(cells.clamp(least.min(WIDTH_MAX), WIDTH_MAX))
            })
            .collect();
        let names = self.schema.fields().iter().map(|field| field.name());
        let cells: Vec<String> =
            names.zip(&widths).map(|(name, &width)| format!(" {name:<width$} ")).collect();
        writeln!(out, "{}", cells.join("|").trim_end())?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(out, "{}", rules.join("+"))?;
        self.columns = Some(widths);
        held.iter().try_for_each(|row| self.line(row, out))
    }

    fn line(&self, row: &[String], out: &mut dyn Write) -> io::Result<()> {
        let widths = self.columns.iter().flatten();
        let cells = row.iter().zip(widths).zip(self.schema.fields());
        let cells: Vec<String> = cells
            .map(|((cell, &width), field)| {
                if is_right_aligned(field.data_type()) {
                    format!(" {cell:>width$} ")
                } else {
                    format!(" {cell:<width$} ")
                }
            })
            .collect();
        writeln!(out, "{}", cells.join("|").trim_end())
    }
}

/// `rows` as a table with `last` as its last line.
///
/// # Errors
///
/// When Arrow cannot show a type.
pub(super) fn table_text(rows: &RecordBatch, widths: Widths, last: &str) -> io::Result<String> {
    let mut text = Vec::new();
    let mut table = TablePrinter::new(rows.schema(), widths);
    table.held = row_cells(rows)?;
    table.fix(&mut text)?;
    writeln!(text, "{last}")?;
    String::from_utf8(text).map_err(io::Error::other)
}

impl Printer for TablePrinter {
    fn rows(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.rows += u64::try_from(rows.num_rows()).unwrap_or(0);
        let cells = row_cells(rows)?;
        if self.columns.is_some() {
            cells.iter().try_for_each(|row| self.line(row, out))?;
            return out.flush();
        }
        self.held.extend(cells);
        if self.widths == Widths::FitFirst || self.held.len() >= FIT_ROWS_MAX {
            self.fix(out)?;
        }
        out.flush()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.columns.is_none() {
            self.fix(out)?;
        }
        writeln!(out, "({} {})", self.rows, if self.rows == 1 { "row" } else { "rows" })?;
        out.flush()
    }
}

fn row_cells(rows: &RecordBatch) -> io::Result<Vec<Vec<String>>> {
    let mut cells = vec![Vec::with_capacity(rows.num_columns()); rows.num_rows()];
    for column in rows.columns() {
        let texts = column_texts(column).map_err(io::Error::other)?;
        for (row, text) in cells.iter_mut().zip(texts) {
            row.push(text);
        }
    }
    Ok(cells)
}

fn column_texts(column: &dyn Array) -> arrow::error::Result<Vec<String>> {
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_timestamp_format(Some(TIMESTAMP_FORMAT))
        .with_datetime_format(Some(TIMESTAMP_FORMAT));
    let formatter = ArrayFormatter::try_new(column, &options)?;
    (0..column.len()).map(|row| Ok(printable(&formatter.value(row).try_to_string()?))).collect()
}

/// The value of `column` in `row` as a table shows it.
///
/// # Errors
///
/// When Arrow cannot show the type.
pub fn cell_text(column: &dyn Array, row: usize) -> arrow::error::Result<String> {
    Ok(column_texts(column.slice(row, 1).as_ref())?.pop().unwrap_or_default())
}

/// `text` on one line: a line break or an escape sequence in the data must not break the table or
/// drive the terminal.
pub fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escape).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn is_right_aligned(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// The width values of a type usually need, for a table whose rows are still to come.
fn usual_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Timestamp(..) => "2024-01-01 00:00:00.000".len(),
        DataType::Date32 | DataType::Date64 => "2024-01-01".len(),
        DataType::Boolean => "false".len(),
        number if number.is_integer() => 8,
        number if number.is_numeric() => 12,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(names: Vec<Option<&str>>, numbers: Vec<Option<i64>>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("NAME", DataType::Utf8, true),
            Field::new("N", DataType::Int64, true),
        ]);
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(StringArray::from(names)), Arc::new(Int64Array::from(numbers))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn shown(widths: Widths, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut printer = TablePrinter::new(batches[0].schema(), widths);
        for rows in batches {
            printer.rows(rows, &mut out).unwrap();
        }
        printer.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_fit_their_widest_value_and_numbers_stand_right() {
        let batches = [
            batch(vec![Some("a")], vec![Some(1)]),
            batch(vec![Some("longer"), None], vec![Some(1234), None]),
        ];
        assert_eq!(
            shown(Widths::FitAll, &batches),
            " NAME   | N\n--------+------\n a      |    1\n longer | 1234\n NULL   | NULL\n(3 rows)\n"
        );
    }

    #[test]
    fn a_continuous_table_prints_each_batch_at_once() {
        let rows = batch(vec![Some("a")], vec![Some(1)]);
        let mut out = Vec::new();
        let mut printer = TablePrinter::new(rows.schema(), Widths::FitFirst);
        printer.rows(&rows, &mut out).unwrap();
        let first = out.len();
        assert!(String::from_utf8_lossy(&out).ends_with(" a          |        1\n"));
        printer.rows(&rows, &mut out).unwrap();
        assert!(out.len() > first, "the second batch is not held back");
    }

    #[test]
    fn an_empty_result_shows_its_columns() {
        let empty = batch(vec![], vec![]);
        assert_eq!(shown(Widths::FitAll, &[empty]), " NAME | N\n------+---\n(0 rows)\n");
    }

    #[test]
    fn control_characters_cannot_break_the_table() {
        let rows = batch(vec![Some("a\nb\u{1b}[2J")], vec![Some(1)]);
        assert!(shown(Widths::FitAll, &[rows]).contains("a\\nb\\u{1b}[2J"));
    }

    #[test]
    fn a_large_result_is_not_held_back_whole() {
        let rows = batch(vec![Some("x"); FIT_ROWS_MAX], vec![Some(1); FIT_ROWS_MAX]);
        let mut out = Vec::new();
        TablePrinter::new(rows.schema(), Widths::FitAll).rows(&rows, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), FIT_ROWS_MAX + 2);
    }
}
