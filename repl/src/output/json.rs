//! Rows as JSON, one object per line. NULLs are written, so that every line has every key.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

use super::Printer;
use super::table::TIMESTAMP_FORMAT;

/// Writes each row as a line.
#[derive(Debug)]
pub(super) struct JsonPrinter;

impl Printer for JsonPrinter {
    fn rows(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let mut text = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .with_timestamp_format(TIMESTAMP_FORMAT.to_owned())
            .build::<_, LineDelimited>(&mut text);
        writer.write(rows).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)?;
        drop(writer);
        out.write_all(&text)?;
        out.flush()
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
