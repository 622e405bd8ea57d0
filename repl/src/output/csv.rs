//! Rows as comma-separated values, as arrow-csv writes them: NULL is an empty field.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;

use super::Printer;
use super::table::TIMESTAMP_FORMAT;

/// Writes a header line once, then the rows.
#[derive(Debug)]
pub(super) struct CsvPrinter {
    schema: SchemaRef,
    headed: bool,
}

impl CsvPrinter {
    /// A printer that has written nothing yet.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema), headed: false }
    }

    fn write(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let header = !std::mem::replace(&mut self.headed, true);
        let mut text = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_header(header)
            .with_timestamp_format(TIMESTAMP_FORMAT.to_owned())
            .build(&mut text);
        writer.write(rows).map_err(io::Error::other)?;
        drop(writer);
        out.write_all(&text)?;
        out.flush()
    }
}

impl Printer for CsvPrinter {
    fn rows(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        self.write(rows, out)
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.headed {
            return Ok(());
        }
        // A result without rows still has columns; a reader of CSV expects their names.
        self.write(&RecordBatch::new_empty(SchemaRef::clone(&self.schema)), out)
    }
}
