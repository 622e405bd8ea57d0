//! A file that holds the current result: `mode = 'snapshot'`.
//!
//! It is rewritten whole and replaced in one step, a rename or a PUT, so a reader finds one result or
//! the next one, never a mixture. That takes a single file, which suits what snapshots are for: small
//! results that someone looks at.
//!
//! The sink itself keeps nothing. The engine keeps the result, with the rest of its state.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::BadRow;
use millstream_engine::port::{Flush, Sink, SinkReport};
use millstream_engine::{Delta, Error, Result};

use super::encode::Encoding;
use super::location::Location;
use super::options::{FileFormat, FileSinkOptions, Mode};
use super::publish::Place;
use super::sink::{Layout, stem};
use crate::Context;

/// Whether the sink `def` holds a snapshot.
///
/// # Errors
///
/// When its options make no sense.
pub fn is_snapshot(def: &RelationDef) -> Result<bool> {
    Ok(FileSinkOptions::parse(def)?.mode == Mode::Snapshot)
}

/// The path of the file of the snapshot sink `def`; `None` if it is no snapshot sink.
pub fn path(def: &RelationDef) -> Option<String> {
    let options = FileSinkOptions::parse(def).ok().filter(|o| o.mode == Mode::Snapshot)?;
    let ending = match options.format {
        FileFormat::Csv => "csv",
        FileFormat::Json => "json",
        FileFormat::Parquet => "parquet",
    };
    Some(format!("{}/{}.{ending}", options.path.trim_end_matches('/'), stem(&def.name)))
}

/// A file that is replaced by each result. Rows that the format cannot hold are counted only: every
/// result has them again.
#[derive(Debug)]
pub struct SnapshotSink {
    place: Place,
    name: String,
    layout: Layout,
    encoding: Encoding,
    interval: Duration,
    report: SinkReport,
}

impl SnapshotSink {
    /// Opens the sink `def` for a result of `schema`.
    ///
    /// # Errors
    ///
    /// When the place cannot be written to, or cannot hold such rows.
    pub async fn open(def: &RelationDef, schema: &Schema, context: &Context) -> Result<Self> {
        let options = FileSinkOptions::parse(def)?;
        let location = Location::open(&options.path, &context.base).await?;
        Self::at(&location, def, &options, schema, context).await
    }

    /// Opens the sink at `location`.
    pub(super) async fn at(
        location: &Location,
        def: &RelationDef,
        options: &FileSinkOptions,
        schema: &Schema,
        context: &Context,
    ) -> Result<Self> {
        let layout = Layout::new(schema, options.mode, &options.partition_by, options.names)?;
        let encoding = Encoding::new(options, &layout.schema)?;
        Ok(Self {
            place: Place::prepare(location, context).await?,
            name: format!("{}.{}", stem(&def.name), encoding.ending()),
            layout,
            encoding,
            interval: options.roll_interval,
            report: SinkReport::default(),
        })
    }
}

#[async_trait]
impl Sink for SnapshotSink {
    async fn write(&mut self, _epoch: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>> {
        let (schema, encoding) = (Arc::clone(&self.layout.schema), self.encoding.clone());
        let work = move || -> Result<_> {
            let (mut encoder, mut bad) = (encoding.begin()?, 0);
            for delta in rows {
                let columns = delta.batch.columns().to_vec();
                let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
                let (stored, unstorable) = encoding.storable(&batch)?;
                bad += unstorable.len() as u64;
                encoder.write(&stored)?;
            }
            Ok((encoder.rows, encoder.finish()?, bad))
        };
        // Encoding is work for a processor.
        let done = tokio::task::spawn_blocking(work).await;
        let (rows, bytes, bad) =
            done.map_err(|error| Error::bug(format!("encoding ended early: {error}")))??;
        let size = bytes.len() as u64;
        self.place.replace(self.name.clone(), bytes).await?;
        self.report = SinkReport { rows, files: 1, bytes: size, bad, ..SinkReport::default() };
        Ok(Vec::new())
    }

    async fn flush(&mut self, _flush: Flush) -> Result<()> {
        Ok(())
    }

    fn report(&self) -> SinkReport {
        self.report
    }

    fn result_interval(&self) -> Option<Duration> {
        Some(self.interval)
    }
}
