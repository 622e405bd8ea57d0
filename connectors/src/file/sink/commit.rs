//! Files that become visible with a checkpoint.
//!
//! ```text
//!   rows ─► open file ──(size, age, end)─► closed ──commit lists it──► published ─► forgotten
//!      └──────── rows since the last checkpoint: state ────────┘           put if absent
//! ```
//!
//! The rows of files that are not published are in the checkpoints, so after a crash the same files are
//! written again, with the same rows and the same names. A file that is there already was published
//! before the crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use async_trait::async_trait;
use millstream_engine::checkpoint::fail_point::FailPoint;
use millstream_engine::port::{DurableSink, Flush, OutputFile, SinkState};
use millstream_engine::{Error, Result};

use super::{FileSink, Moment, OpenFile, OpenFiles};
use crate::file::publish::Complete;

/// What checkpoints need of a sink.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The rows written since the last checkpoint, and the numbers of their files.
    pub(super) rows: Vec<(u64, RecordBatch)>,
    /// Files that are closed and not published.
    pub(super) closed: Vec<(OutputFile, Complete)>,
    /// Those of them that the last checkpoint lists.
    listed: BTreeSet<u64>,
}

#[async_trait]
impl DurableSink for FileSink {
    async fn resume(&mut self, life: &str, state: SinkState) -> Result<()> {
        let now = Moment::now(&*self.clock);
        let life = life.to_owned();
        self.work(move |files| files.resume(&life, &state, now)).await
    }

    async fn checkpoint(&mut self, flush: Flush) -> Result<SinkState> {
        let due = self.due(flush);
        self.work(move |files| {
            files.close_where(due)?;
            files.take_changes()
        })
        .await
    }

    async fn publish(&mut self) -> Result<()> {
        let pending = self.files.as_mut().and_then(|files| files.pending.as_mut());
        let Some(pending) = pending else {
            return Err(Error::bug("a sink without checkpoints was told of one"));
        };
        let listed = std::mem::take(&mut pending.listed);
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut pending.closed)
            .into_iter()
            .partition(|(file, _)| listed.contains(&file.number));
        pending.closed = later;
        for (_, file) in due {
            let (rows, bytes) = (file.rows, file.bytes.len() as u64);
            self.place.publish(file).await?;
            FailPoint::FilePublished.reach();
            self.report.rows += rows;
            self.report.files += 1;
            self.report.bytes += bytes;
        }
        Ok(())
    }
}

impl OpenFiles {
    /// A file as a checkpoint lists it.
    pub(super) fn described(
        &self,
        folders: &[String],
        file: &OpenFile,
        closed: bool,
    ) -> OutputFile {
        OutputFile {
            number: file.number,
            folders: folders.to_vec(),
            name: format!("{}-{:05}.{}", self.stem, file.number, self.encoding.ending()),
            rows: file.encoder.rows,
            closed,
            opened_ms: file.since.unix_ms,
        }
    }

    fn resume(&mut self, life: &str, state: &SinkState, now: Moment) -> Result<()> {
        let name = self.stem.rsplit_once('-').map_or(self.stem.as_str(), |(name, _)| name);
        self.stem = format!("{name}-{life}");
        self.opened = state.begun;
        self.pending = Some(Pending::default());
        let mut rows = by_file(&state.rows)?;
        for file in &state.files {
            let age_ms = u64::try_from(now.unix_ms.saturating_sub(file.opened_ms)).unwrap_or(0);
            let since = Moment {
                monotonic: now.monotonic.saturating_sub(Duration::from_millis(age_ms)),
                unix_ms: file.opened_ms,
            };
            let mut open = OpenFile { encoder: self.encoding.begin()?, since, number: file.number };
            for rows in rows.remove(&file.number).unwrap_or_default() {
                open.encoder.write(&rows)?;
            }
            if open.encoder.rows != file.rows {
                let (name, found, listed) = (&file.name, open.encoder.rows, file.rows);
                return Err(Error::data(format!(
                    "the state has {found} of the {listed} rows of {name}"
                )));
            }
            if file.closed {
                self.complete(file.folders.clone(), open)?;
            } else {
                self.open.insert(file.folders.clone(), open);
            }
        }
        if let Some(pending) = &mut self.pending {
            // The checkpoint that we go on from lists them.
            pending.listed = pending.closed.iter().map(|(file, _)| file.number).collect();
        }
        Ok(())
    }

    fn take_changes(&mut self) -> Result<SinkState> {
        let open = self.open.iter().map(|(folders, file)| self.described(folders, file, false));
        let mut files: Vec<OutputFile> = open.collect();
        let begun = self.opened;
        let Some(pending) = &mut self.pending else {
            return Err(Error::bug("a sink without checkpoints was asked for one"));
        };
        pending.listed = pending.closed.iter().map(|(file, _)| file.number).collect();
        files.extend(pending.closed.iter().map(|(file, _)| file.clone()));
        files.sort_unstable_by_key(|file| file.number);
        let rows = pending.rows.drain(..).map(|(number, rows)| numbered(number, &rows));
        Ok(SinkState { begun, files, rows: rows.collect::<Result<_>>()? })
    }
}

/// `rows` behind the number of their file.
pub(crate) fn numbered(number: u64, rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let file = Arc::new(Field::new("file", DataType::UInt64, false));
    let fields: Vec<_> = std::iter::once(file).chain(schema.fields().iter().cloned()).collect();
    let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![number; rows.num_rows()]));
    let columns = std::iter::once(numbers).chain(rows.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The rows of each file, without its number.
pub(crate) fn by_file(rows: &[RecordBatch]) -> Result<BTreeMap<u64, Vec<RecordBatch>>> {
    let mut files: BTreeMap<u64, Vec<RecordBatch>> = BTreeMap::new();
    for batch in rows {
        let numbers = batch.columns().first().and_then(|c| c.as_primitive_opt::<UInt64Type>());
        let numbers = numbers.ok_or_else(|| Error::data("rows of a sink without file numbers"))?;
        let all: Vec<usize> = (1..batch.num_columns()).collect();
        let columns = batch.project(&all)?;
        let mut from = 0;
        for run in numbers.values().chunk_by(|a, b| a == b) {
            files.entry(run[0]).or_default().push(columns.slice(from, run.len()));
            from += run.len();
        }
    }
    Ok(files)
}
