//! How a relation reads files: one file, of whatever format, batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::BadRow;
use millstream_engine::{Error, Result};
use object_store::ObjectStore;

use super::lines::{Compression, LastLine, LinePosition, LineReader};
use super::location::FileMeta;
use super::options::{FileFormat, FileOptions};
use super::parquet::ParquetReader;
use crate::decode::{Format, RowDecoder};

/// How the files of a relation are read.
#[derive(Debug, Clone)]
pub(super) struct ReadPlan {
    pub(super) def: Arc<RelationDef>,
    pub(super) projection: Vec<usize>,
    pub(super) options: FileOptions,
    /// Pieces of a file that are decoded at the same time.
    pub(super) decoders: usize,
}

/// A file being read.
#[derive(Debug)]
pub(super) enum FileReader {
    Lines(Box<LineReader>),
    Parquet(Box<ParquetReader>),
}

impl ReadPlan {
    /// Prepares to read `file`, after `position` if there is one; touches nothing yet.
    ///
    /// # Errors
    ///
    /// When the format is not known or a column cannot be decoded.
    pub(super) fn open(
        &self,
        store: &Arc<dyn ObjectStore>,
        file: &FileMeta,
        position: Option<&str>,
    ) -> Result<FileReader> {
        let unknown = |position: &str| {
            Error::settings(format!("'{position}' is no position in {}", file.shown))
                .with_hint("it was read in another format: start anew without the state")
        };
        let compression = Compression::of(&file.shown);
        let format = match self.options.format_of(&file.shown)? {
            FileFormat::Parquet => {
                let mut reader = ParquetReader::new(Arc::clone(store), file.clone(), self)?;
                if let Some(position) = position {
                    let rows = ParquetReader::parse_position(position);
                    reader = reader.resumed(rows.ok_or_else(|| unknown(position))?);
                }
                return Ok(FileReader::Parquet(Box::new(reader)));
            }
            FileFormat::Json => Format::Json,
            FileFormat::Csv => Format::Csv(self.options.delimiters.clone()),
        };
        let mut decoder = RowDecoder::new(&self.def, &self.projection, &format)?;
        decoder.set_absent(&file.folder_values());
        let header = self.options.header && format != Format::Json;
        let (store, decoders) = (Arc::clone(store), self.decoders);
        let reader = LineReader::new(store, file.clone(), compression, decoder, decoders);
        let mut reader = reader.with_framing(&format, header);
        if let Some(position) = position {
            let parsed = LinePosition::parse(position).ok_or_else(|| unknown(position))?;
            reader = reader.resumed(parsed)?;
        }
        Ok(FileReader::Lines(Box::new(reader)))
    }
}

impl FileReader {
    /// The next rows; `None` at the present end. Safe to cancel.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is not of its format.
    pub(super) async fn next(
        &mut self,
        last_line: LastLine,
    ) -> Result<Option<(RecordBatch, Vec<BadRow>)>> {
        match self {
            Self::Lines(reader) => reader.next(last_line).await,
            Self::Parquet(reader) => reader.next().await,
        }
    }

    /// Says that the file is now as large as `file` says, so that reading can go on. Only lines can be
    /// appended to a file.
    pub(super) fn grow(&mut self, file: &FileMeta) {
        if let Self::Lines(reader) = self {
            reader.grow(file);
        }
    }

    /// Where to go on: after what was read.
    pub(super) fn position(&self) -> String {
        match self {
            Self::Lines(reader) => reader.position(),
            Self::Parquet(reader) => reader.position(),
        }
    }
}
