//! Rows as text: aligned tables for people, CSV and JSON lines for programs.
//!
//! Every printer takes batches as they come and writes each of them before it returns, so that no row
//! waits for another one.

mod csv;
mod json;
mod screen;
mod table;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clap::ValueEnum;
use millstream_engine::Delta;

pub use screen::Screen;
pub use table::{Widths, cell_text, printable};

/// The column that says whether a row is added (`+`) or taken back (`-`).
pub const OP_COLUMN: &str = "_op";

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns with a header, for reading
    #[default]
    Table,
    /// Comma-separated values with a header line
    Csv,
    /// One JSON object per line
    Json,
}

/// Writes the rows of one result.
pub trait Printer: fmt::Debug + Send {
    /// Writes `rows`, all of the schema the printer was made for.
    ///
    /// # Errors
    ///
    /// When the output does not take them.
    fn rows(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()>;

    /// Ends the result.
    ///
    /// # Errors
    ///
    /// When the output does not take it.
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// A printer of `format` for rows of `schema`.
pub fn printer(format: Format, schema: &SchemaRef, widths: Widths) -> Box<dyn Printer> {
    match format {
        Format::Table => Box::new(table::TablePrinter::new(Arc::clone(schema), widths)),
        Format::Csv => Box::new(csv::CsvPrinter::new(schema)),
        Format::Json => Box::new(json::JsonPrinter),
    }
}

/// The schema of printed changes: with [`OP_COLUMN`] in front where rows can be taken back.
pub fn printed_schema(schema: &SchemaRef, updating: bool) -> SchemaRef {
    if !updating {
        return Arc::clone(schema);
    }
    let op = Arc::new(Field::new(OP_COLUMN, DataType::Utf8, false));
    let fields: Vec<_> = std::iter::once(op).chain(schema.fields().iter().cloned()).collect();
    Arc::new(Schema::new(fields))
}

/// The changes in `delta` as rows to print: one per unit of weight, with its sign in [`OP_COLUMN`] if
/// the query is `updating`.
///
/// # Errors
///
/// When the batch is not of the schema it claims: our bug.
pub fn printed_rows(delta: &Delta, updating: bool) -> arrow::error::Result<RecordBatch> {
    let ones;
    let weights = match &delta.weights {
        Some(weights) => weights,
        None if !updating => return Ok(delta.batch.clone()),
        None => {
            ones = Int64Array::from(vec![1; delta.num_rows()]);
            &ones
        }
    };
    let (mut indices, mut signs) = (Vec::new(), Vec::new());
    for (row, weight) in (0_u64..).zip(weights.values()) {
        for _ in 0..weight.unsigned_abs() {
            indices.push(row);
            signs.push(if *weight > 0 { "+" } else { "-" });
        }
    }
    let rows = take_record_batch(&delta.batch, &UInt64Array::from(indices))?;
    if !updating {
        return Ok(rows);
    }
    let mut columns = rows.columns().to_vec();
    columns.insert(0, Arc::new(StringArray::from(signs)));
    RecordBatch::try_new(printed_schema(&rows.schema(), true), columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn weights_become_signs_and_repetitions() {
        let schema = Arc::new(Schema::new(vec![Field::new("N", DataType::Int64, true)]));
        let batch =
            RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![7, 8, 9]))]).unwrap();
        let delta = Delta { batch, weights: Some(Int64Array::from(vec![1, -2, 0])) };
        let rows = printed_rows(&delta, true).unwrap();
        let ops: Vec<_> = rows.column(0).as_string::<i32>().iter().flatten().collect();
        let numbers = rows.column(1).as_primitive::<arrow::datatypes::Int64Type>().values();
        assert_eq!((ops.as_slice(), &numbers[..]), (&["+", "-", "-"][..], &[7, 8, 8][..]));
    }
}
