//! Files as a sink: rows are encoded as they come, and published file by file.
//!
//! A file is published when it is large enough, when its first row has waited long enough, or when the
//! job ends; until then it exists in memory only, so an aborted job leaves nothing behind. Encoding is
//! work for a processor and runs off the tasks that do I/O.
//!
//! With checkpoints a file is published after the commit that lists it, see `commit`.
//!
//! Column names are written in lower case, as Athena knows no others.

mod commit;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::BadRow;
use millstream_engine::port::{DurableSink, Flush, Sink, SinkReport};
use millstream_engine::{Clock, Delta, Error, Result};

use self::commit::Pending;
pub(crate) use self::commit::{by_file, numbered};
use super::encode::{Encoder, Encoding};
use super::location::Location;
use super::options::{FileSinkOptions, Mode};
use super::publish::{Complete, Place};
use super::split::split;
use crate::Context;
use crate::names::{ColumnNames, place};

/// Files open at the same time; beyond, the oldest is published. Amazon Data Firehose allows 500.
const OPEN_FILES_MAX: usize = 512;

/// Bytes of open files; beyond, the largest is published.
const OPEN_BYTES_MAX: u64 = 256 << 20;

/// A folder or prefix that files are published to.
#[derive(Debug)]
pub struct FileSink {
    place: Place,
    clock: Arc<dyn Clock>,
    roll_interval: Duration,
    /// `None` only while a blocking task has it, or after one failed.
    files: Option<OpenFiles>,
    report: SinkReport,
}

/// The files under construction.
#[derive(Debug)]
struct OpenFiles {
    layout: Layout,
    encoding: Encoding,
    file_size: u64,
    /// The sink's name.
    name: Arc<str>,
    /// The files' names up to their number.
    stem: String,
    /// Files opened so far: the next one's number.
    opened: u64,
    open: HashMap<Vec<String>, OpenFile>,
    complete: Vec<Complete>,
    bad: u64,
    /// For a sink that publishes with checkpoints: what they need.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct OpenFile {
    encoder: Encoder,
    /// When its first row came.
    since: Moment,
    /// The order in which files were opened, which decides between equal times.
    number: u64,
}

/// A moment on both clocks: one to wait by, one that means something after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    monotonic: Duration,
    unix_ms: i64,
}

impl Moment {
    fn now(clock: &dyn Clock) -> Self {
        Self { monotonic: clock.monotonic(), unix_ms: clock.now_ms() }
    }
}

/// How rows are laid out in files.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    mode: Mode,
    /// The columns of the rows as written, before partition columns are left out.
    pub(crate) schema: SchemaRef,
    /// The partition columns: place in `schema`, and name.
    partition_by: Vec<(usize, String)>,
}

impl FileSink {
    /// Opens the sink `def` for rows of `schema`; `updating` says whether they may be retracted.
    ///
    /// # Errors
    ///
    /// When the place cannot be written to, or cannot hold such rows.
    pub async fn open(
        def: &RelationDef,
        schema: SchemaRef,
        updating: bool,
        context: &Context,
    ) -> Result<Self> {
        let options = FileSinkOptions::parse(def)?;
        let location = Location::open(&options.path, &context.base).await?;
        Self::at(&location, def, &options, (schema, updating), context).await
    }

    /// Opens the sink at `location`.
    pub(super) async fn at(
        location: &Location,
        def: &RelationDef,
        options: &FileSinkOptions,
        (schema, updating): (SchemaRef, bool),
        context: &Context,
    ) -> Result<Self> {
        if updating && options.mode == Mode::Append {
            let message = format!("sink {} appends, but its query takes rows back", def.name);
            return Err(Error::sql(message).with_hint(
                "add a window to the query, or write mode = 'changelog' or 'snapshot'",
            ));
        }
        let layout = Layout::new(&schema, options.mode, &options.partition_by, options.names)?;
        let encoding = Encoding::new(options, &layout.file_schema()?)?;
        let run = format!("{:x}{:04x}", context.clock.now_ms(), context.seed & 0xFFFF);
        let files = OpenFiles {
            layout,
            encoding,
            file_size: options.file_size,
            name: def.name.as_str().into(),
            stem: format!("{}-{run}", stem(&def.name)),
            opened: 0,
            open: HashMap::new(),
            complete: Vec::new(),
            bad: 0,
            pending: None,
        };
        Ok(Self {
            place: Place::prepare(location, context).await?,
            clock: Arc::clone(&context.clock),
            roll_interval: options.roll_interval,
            files: Some(files),
            report: SinkReport::default(),
        })
    }

    /// Does `work` on the files off the tasks that do I/O, then publishes what is complete.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut OpenFiles) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(mut files) = self.files.take() else {
            return Err(Error::bug("a sink that failed was written to"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut files)?;
            Ok::<_, Error>((files, done))
        });
        let (mut files, done) =
            done.await.map_err(|error| Error::bug(format!("encoding ended early: {error}")))??;
        let complete = std::mem::take(&mut files.complete);
        self.report.bad = files.bad;
        self.files = Some(files);
        for file in complete {
            let (rows, bytes) = (file.rows, file.bytes.len() as u64);
            self.place.publish(file).await?;
            self.report.rows += rows;
            self.report.files += 1;
            self.report.bytes += bytes;
        }
        Ok(done)
    }

    /// Which files are due to be closed.
    fn due(&self, flush: Flush) -> impl Fn(&OpenFile) -> bool + Copy + Send + use<> {
        let now = self.clock.monotonic();
        let interval = self.roll_interval;
        move |file| match flush {
            Flush::All => true,
            Flush::Due => now.saturating_sub(file.since.monotonic) >= interval,
        }
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn write(&mut self, epoch: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>> {
        if rows.iter().all(|delta| delta.num_rows() == 0) {
            return Ok(Vec::new());
        }
        let now = Moment::now(&*self.clock);
        self.work(move |files| files.write(epoch, &rows, now)).await
    }

    async fn flush(&mut self, flush: Flush) -> Result<()> {
        let due = self.due(flush);
        let any = self.files.as_ref().is_none_or(|files| files.open.values().any(due));
        if any { self.work(move |files| files.close_where(due)).await } else { Ok(()) }
    }

    fn report(&self) -> SinkReport {
        self.report
    }

    fn durable(&mut self) -> Option<&mut dyn DurableSink> {
        Some(self)
    }
}

impl Layout {
    /// The layout of rows that are not split.
    ///
    /// # Errors
    ///
    /// When two columns would have the same name.
    pub(crate) fn of_rows(schema: &Schema, changelog: bool, names: ColumnNames) -> Result<Self> {
        Self::new(schema, if changelog { Mode::Changelog } else { Mode::Append }, &[], names)
    }

    pub(super) fn new(
        schema: &Schema,
        mode: Mode,
        partition_by: &[String],
        names: ColumnNames,
    ) -> Result<Self> {
        let mut fields = Vec::new();
        if mode == Mode::Changelog {
            fields.push(Field::new("_op", DataType::Utf8, false));
            fields.push(Field::new("_epoch", DataType::Int64, false));
        }
        for field in schema.fields() {
            let name = names.written(field.name());
            if let Some(other) = fields.iter().find(|field| *field.name() == name) {
                let message = format!("two columns would be written as '{}'", other.name());
                return Err(Error::sql(message).with_hint(
                    "give one of them another name with AS, or write names = 'declared': without \
                     that, names are written in lower case",
                ));
            }
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
        let partition_by = partition_by.iter().map(|wanted| match place(&fields, wanted) {
            Some(index) => Ok((index, fields[index].name().clone())),
            None => {
                let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
                let message = format!("partition_by names '{wanted}', which is no column");
                Err(Error::settings(message)
                    .with_hint(format!("the columns are {}", names.join(", "))))
            }
        });
        let partition_by = partition_by.collect::<Result<Vec<_>>>()?;
        for (position, (index, name)) in partition_by.iter().enumerate() {
            if partition_by[..position].iter().any(|(earlier, _)| earlier == index) {
                return Err(Error::settings(format!("partition_by names '{name}' twice")));
            }
        }
        Ok(Self { mode, schema: Arc::new(Schema::new(fields)), partition_by })
    }

    /// The columns of a file: those that are no folders.
    fn file_schema(&self) -> Result<Schema> {
        let is_folder = |index: &usize| self.partition_by.iter().any(|(place, _)| place == index);
        let kept: Vec<usize> =
            (0..self.schema.fields().len()).filter(|index| !is_folder(index)).collect();
        Ok(self.schema.project(&kept)?)
    }

    /// The rows of `delta` as they are written: one with weight 2 twice.
    pub(crate) fn rows(&self, epoch: u64, delta: &Delta) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        let batch = match &delta.weights {
            None => delta.batch.clone(),
            Some(weights) => take_record_batch(&delta.batch, &repeated(weights)?)?,
        };
        if self.mode == Mode::Changelog {
            let signs = match &delta.weights {
                None => vec!["+"; batch.num_rows()],
                Some(weights) => weights
                    .values()
                    .iter()
                    .flat_map(|weight| {
                        let sign = if *weight > 0 { "+" } else { "-" };
                        let count = usize::try_from(weight.unsigned_abs()).unwrap_or(usize::MAX);
                        std::iter::repeat_n(sign, count)
                    })
                    .collect(),
            };
            let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
            columns.push(Arc::new(StringArray::from(signs)));
            columns.push(Arc::new(Int64Array::from(vec![epoch; batch.num_rows()])));
        } else if delta.weights.iter().any(|w| w.values().iter().any(|weight| *weight < 0)) {
            return Err(Error::bug("a row was taken back from a sink that appends"));
        }
        columns.extend(batch.columns().iter().map(Arc::clone));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The name of the sink `name` as part of a file's.
pub(crate) fn stem(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.to_lowercase().chars().map(safe).collect()
}

/// The index of each row, as often as its weight says.
fn repeated(weights: &Int64Array) -> Result<UInt32Array> {
    let mut indices = Vec::with_capacity(weights.len());
    for (row, weight) in (0_u32..).zip(weights.values()) {
        let count = usize::try_from(weight.unsigned_abs())
            .map_err(|_| Error::bug("a weight of more than 2^64"))?;
        indices.extend(std::iter::repeat_n(row, count));
    }
    Ok(UInt32Array::from(indices))
}

impl OpenFiles {
    /// Takes rows in, and returns those that cannot be written.
    fn write(&mut self, epoch: u64, deltas: &[Delta], now: Moment) -> Result<Vec<BadRow>> {
        let mut bad = Vec::new();
        for delta in deltas.iter().filter(|delta| delta.num_rows() > 0) {
            let rows = self.layout.rows(epoch, delta)?;
            for share in split(&rows, &self.layout.partition_by)? {
                let mut refuse = |row: usize, why: &str| {
                    bad.push(BadRow::unwritable(&self.name, why, &rows, share.origin(row)));
                };
                let Some(folders) = share.folders.clone() else {
                    let why = "the name of its folder would be too long";
                    (0..share.rows.num_rows()).for_each(|row| refuse(row, why));
                    continue;
                };
                let (storable, unstorable) = self.encoding.storable(&share.rows)?;
                for (row, column) in unstorable {
                    refuse(row, &format!("column {column}: the timestamp is out of range"));
                }
                self.append(folders, &storable, now)?;
            }
            self.keep_bounded()?;
        }
        self.bad += bad.len() as u64;
        Ok(bad)
    }

    fn append(&mut self, folders: Vec<String>, rows: &RecordBatch, now: Moment) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut file = match self.open.remove(&folders) {
            Some(file) => file,
            None => {
                self.opened += 1;
                OpenFile { encoder: self.encoding.begin()?, since: now, number: self.opened }
            }
        };
        file.encoder.write(rows)?;
        if let Some(pending) = &mut self.pending {
            pending.rows.push((file.number, rows.clone()));
        }
        if file.encoder.size() >= self.file_size {
            return self.complete(folders, file);
        }
        self.open.insert(folders, file);
        Ok(())
    }

    /// Completes files until those still open are within their number and size.
    fn keep_bounded(&mut self) -> Result<()> {
        let mut bytes: u64 = self.open.values().map(|file| file.encoder.size()).sum();
        loop {
            let next = if self.open.len() > OPEN_FILES_MAX {
                self.open.iter().min_by_key(|(_, file)| file.number)
            } else if bytes > OPEN_BYTES_MAX {
                self.open.iter().max_by_key(|(_, file)| (file.encoder.size(), file.number))
            } else {
                return Ok(());
            };
            let Some((folders, file)) = next else { return Ok(()) };
            bytes -= file.encoder.size();
            let folders = folders.clone();
            self.close(folders)?;
        }
    }

    /// Completes the files for which `due` holds, in the order they were opened.
    fn close_where(&mut self, due: impl Fn(&OpenFile) -> bool) -> Result<()> {
        let due = self.open.iter().filter(|(_, file)| due(file));
        let mut due: Vec<(u64, Vec<String>)> =
            due.map(|(folders, file)| (file.number, folders.clone())).collect();
        due.sort_unstable();
        due.into_iter().try_for_each(|(_, folders)| self.close(folders))
    }

    fn close(&mut self, folders: Vec<String>) -> Result<()> {
        match self.open.remove(&folders) {
            Some(file) => self.complete(folders, file),
            None => Ok(()),
        }
    }

    fn complete(&mut self, folders: Vec<String>, file: OpenFile) -> Result<()> {
        let described = self.described(&folders, &file, true);
        let complete = Complete {
            folders,
            name: described.name.clone(),
            rows: file.encoder.rows,
            bytes: file.encoder.finish()?,
        };
        match &mut self.pending {
            Some(pending) => pending.closed.push((described, complete)),
            None => self.complete.push(complete),
        }
        Ok(())
    }
}
