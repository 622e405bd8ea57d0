//! A Kinesis stream as a sink: a record per row, at least once.
//!
//! ```text
//!   rows ─► numbered ─► records: key, JSON or CSV ─► PutRecords ─► repeated until all are taken
//!              └── with checkpoints: held until the commit that has them
//! ```
//!
//! Kinesis takes a record twice if the answer to a call is lost, and a crash between a call and the next
//! checkpoint repeats what was sent. The copies of a record have the same `record_id`, which no other
//! record has: readers can tell them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::ArrayFormatter;
use async_trait::async_trait;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::BadRow;
use millstream_engine::port::{DurableSink, Flush, OutputFile, Sink, SinkReport, SinkState};
use millstream_engine::{Delta, Error, Result};

use super::api::{AwsApi, KinesisApi};
use super::client::connect;
use super::failure::Class;
use super::options::KinesisSinkOptions;
use super::producer::Producer;
use crate::Context;
use crate::file::encode::{Encoding, csv_format};
use crate::file::sink::{Layout, by_file, numbered, stem};
use crate::names::place;

/// The most bytes of a record and its key that every stream takes. Source: `PutRecords`, Kinesis API
/// reference.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The most characters of a partition key. Source: as above.
const KEY_CHARS_MAX: usize = 256;

/// A record to put: its partition key and its bytes.
type Put = (String, Vec<u8>);

/// Writes rows to a stream.
#[derive(Debug)]
pub struct KinesisSink {
    name: Arc<str>,
    producer: Producer,
    layout: Layout,
    encoding: Encoding,
    /// The columns whose values are the partition key.
    key: Vec<usize>,
    /// The name under which records have their id in them.
    record_id: Option<String>,
    /// What the ids begin with: those of no other run do.
    life: String,
    /// Records numbered so far: the next one's number.
    begun: u64,
    /// For a sink that publishes with checkpoints: what they need.
    pending: Option<Pending>,
    bad: u64,
}

#[derive(Debug, Default)]
struct Pending {
    /// Records that are not sent.
    waiting: Vec<Waiting>,
    /// Those that the last checkpoint lists, by the number of the first.
    listed: BTreeSet<u64>,
}

/// The records of an epoch.
#[derive(Debug)]
struct Waiting {
    file: OutputFile,
    rows: RecordBatch,
    puts: Vec<Put>,
    /// Whether a checkpoint has the rows.
    saved: bool,
}

impl KinesisSink {
    /// Opens the sink `def` for rows of `schema`; `updating` says whether they may be retracted.
    ///
    /// # Errors
    ///
    /// When the stream does not exist or cannot be reached, or an option names no column.
    pub async fn open(
        def: &RelationDef,
        schema: SchemaRef,
        updating: bool,
        context: &Context,
    ) -> Result<Self> {
        let options = KinesisSinkOptions::parse(def)?;
        if updating && !options.changelog {
            let message = format!("sink {} appends, but its query takes rows back", def.name);
            return Err(Error::sql(message)
                .with_hint("add a window to the query, or write mode = 'changelog'"));
        }
        let layout = Layout::of_rows(&schema, options.changelog, options.names)?;
        let key = options.partition_key.iter().map(|name| column(&layout.schema, name));
        let key = key.collect::<Result<Vec<_>>>()?;
        if let Some(id) = options.record_id.as_deref().filter(|id| has_column(&layout.schema, id)) {
            let message = format!("the query has a column {id} itself");
            return Err(Error::settings(message).with_hint("name another one: record_id = '…'"));
        }
        let encoding = Encoding::of_records(&options.format, &layout.schema)?;
        let connection = connect(&options.connect).await?;
        let api = AwsApi::new(connection.client.clone(), options.stream.clone());
        if let Err(failure) = api.list_shards(None).await
            && matches!(failure.class, Class::Missing | Class::Unreachable)
        {
            let missing = failure.class == Class::Missing;
            let what = if missing { "does not exist" } else { "cannot be reached" };
            let (stream, place) = (&options.stream, &connection.place);
            let message = format!("Kinesis stream '{stream}' ({place}) {what}: {failure}");
            return Err(Error::settings(message).with_hint(failure.hint()));
        }
        Ok(Self {
            name: def.name.as_str().into(),
            producer: Producer::new(connection.client, options.stream, context),
            layout,
            encoding,
            key,
            record_id: options.record_id,
            life: format!("{:x}{:04x}", context.clock.now_ms(), context.seed & 0xFFFF),
            begun: 0,
            pending: None,
            bad: 0,
        })
    }

    /// `rows`, which can be stored, as the records from number `first` on.
    fn puts(&self, rows: &RecordBatch, first: u64) -> Result<Vec<Put>> {
        let name = stem(&self.name);
        let ids = (first..).take(rows.num_rows());
        let ids: Vec<String> = ids.map(|id| format!("{name}-{}-{id}", self.life)).collect();
        let with_ids = match &self.record_id {
            None => rows.clone(),
            Some(name) => with_column(name, Arc::new(StringArray::from(ids.clone())), rows)?,
        };
        let format = csv_format();
        let keys =
            self.key.iter().map(|index| ArrayFormatter::try_new(rows.column(*index), &format));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let records = self.encoding.records(&with_ids)?;
        let puts = records.into_iter().zip(ids).enumerate().map(|(row, (data, id))| {
            let parts: Vec<String> = keys.iter().map(|key| key.value(row).to_string()).collect();
            let key: String = parts.join("|").chars().take(KEY_CHARS_MAX).collect();
            (if key.is_empty() { id } else { key }, data)
        });
        Ok(puts.collect())
    }

    /// The records of an epoch's rows, and the rows that none can be made of.
    fn take(&mut self, epoch: u64, delta: &Delta) -> Result<(Waiting, Vec<BadRow>)> {
        let written = self.layout.rows(epoch, delta)?;
        let (mut rows, unstorable) = self.encoding.storable(&written)?;
        let mut bad: Vec<BadRow> = Vec::new();
        for (row, column) in unstorable {
            let why = format!("column {column}: the timestamp is out of range");
            bad.push(BadRow::unwritable(&self.name, &why, &written, row));
        }
        let mut puts = self.puts(&rows, self.begun)?;
        let fits = |(key, data): &Put| key.len() + data.len() <= RECORD_BYTES_MAX;
        if !puts.iter().all(fits) {
            for (row, (_, data)) in puts.iter().enumerate().filter(|(_, put)| !fits(put)) {
                let why = format!("its record of {} bytes is too large for Kinesis", data.len());
                bad.push(BadRow::unwritable(&self.name, &why, &rows, row));
            }
            let kept: BooleanArray = puts.iter().map(|put| Some(fits(put))).collect();
            rows = filter_record_batch(&rows, &kept)?;
            puts = self.puts(&rows, self.begun)?;
        }
        self.bad += bad.len() as u64;
        let count = rows.num_rows() as u64;
        let file = OutputFile {
            number: self.begun,
            name: format!("{}-{}-{}", stem(&self.name), self.life, self.begun),
            rows: count,
            closed: true,
            ..OutputFile::default()
        };
        self.begun += count;
        Ok((Waiting { file, rows, puts, saved: false }, bad))
    }

    async fn put(&mut self, puts: Vec<Put>) -> Result<()> {
        for (key, data) in puts {
            self.producer.put(&key, data).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for KinesisSink {
    async fn write(&mut self, epoch: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>> {
        let mut all_bad = Vec::new();
        for delta in rows.iter().filter(|delta| delta.num_rows() > 0) {
            let (waiting, bad) = self.take(epoch, delta)?;
            all_bad.extend(bad);
            match &mut self.pending {
                Some(pending) if !waiting.puts.is_empty() => pending.waiting.push(waiting),
                Some(_) => {}
                None => self.put(waiting.puts).await?,
            }
        }
        Ok(all_bad)
    }

    async fn flush(&mut self, _: Flush) -> Result<()> {
        self.producer.flush().await
    }

    fn report(&self) -> SinkReport {
        let counts = self.producer.counts();
        SinkReport {
            rows: counts.records,
            calls: counts.calls,
            bytes: counts.bytes,
            bad: self.bad,
            ..SinkReport::default()
        }
    }

    fn durable(&mut self) -> Option<&mut dyn DurableSink> {
        Some(self)
    }
}

#[async_trait]
impl DurableSink for KinesisSink {
    async fn resume(&mut self, life: &str, state: SinkState) -> Result<()> {
        life.clone_into(&mut self.life);
        self.begun = state.begun;
        let mut rows = by_file(&state.rows)?;
        let mut pending = Pending::default();
        for file in state.files {
            let mut first = file.number;
            for rows in rows.remove(&file.number).unwrap_or_default() {
                let puts = self.puts(&rows, first)?;
                first += rows.num_rows() as u64;
                let file = file.clone();
                pending.waiting.push(Waiting { file, rows, puts, saved: true });
            }
            pending.listed.insert(file.number);
        }
        self.pending = Some(pending);
        Ok(())
    }

    async fn checkpoint(&mut self, _: Flush) -> Result<SinkState> {
        let pending = self.pending.as_mut().ok_or_else(without_checkpoints)?;
        let mut state = SinkState { begun: self.begun, ..SinkState::default() };
        for waiting in &mut pending.waiting {
            if !std::mem::replace(&mut waiting.saved, true) {
                state.rows.push(numbered(waiting.file.number, &waiting.rows)?);
            }
            pending.listed.insert(waiting.file.number);
            if state.files.last() != Some(&waiting.file) {
                state.files.push(waiting.file.clone());
            }
        }
        Ok(state)
    }

    async fn publish(&mut self) -> Result<()> {
        let pending = self.pending.as_mut().ok_or_else(without_checkpoints)?;
        let listed = std::mem::take(&mut pending.listed);
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut pending.waiting)
            .into_iter()
            .partition(|waiting| listed.contains(&waiting.file.number));
        pending.waiting = later;
        for waiting in due {
            self.put(waiting.puts).await?;
        }
        self.producer.flush().await
    }
}

fn without_checkpoints() -> Error {
    Error::bug("a sink without checkpoints was told of one")
}

fn has_column(schema: &Schema, name: &str) -> bool {
    schema.fields().iter().any(|field| field.name() == name)
}

/// The place of the column `name` in the rows as written.
fn column(schema: &Schema, name: &str) -> Result<usize> {
    let fields = schema.fields().iter().map(AsRef::as_ref);
    place(fields, name).ok_or_else(|| {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        Error::settings(format!("partition_key names '{name}', which is no column")).with_hint(
            format!("the columns are {}; an expression gets a name with AS", names.join(", ")),
        )
    })
}

/// `rows` behind one more column.
fn with_column(name: &str, column: ArrayRef, rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let first = Arc::new(Field::new(name, DataType::Utf8, false));
    let fields: Vec<_> = std::iter::once(first).chain(schema.fields().iter().cloned()).collect();
    let columns = std::iter::once(column).chain(rows.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
