//! The ports: how rows enter and leave the engine.
//!
//! A connector implements [`Source`], [`Table`] or [`Sink`]; the engine's [`crate::job`] drives them.
//! All three are asynchronous because they do I/O; what happens between them is not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::delta::Delta;
use crate::error::Result;
use crate::fault::BadRow;
use crate::metrics::Metrics;
use crate::trouble::Troubles;

/// A part of a source that is ordered in itself: a Kinesis shard, a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub Arc<str>);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for PartitionId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

/// Where to go on reading a partition: *after* the last record that was processed. The text is the
/// connector's own; the engine only keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub String);

/// How far a partition was processed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionProgress {
    /// After its last processed record; `None` if none was processed yet.
    pub position: Option<Position>,
    /// Whether it was read to its end ([`SourceEvent::Finished`]): nothing of it is left.
    pub finished: bool,
    /// The partitions it continues, as it was discovered with.
    pub parents: Vec<PartitionId>,
}

/// Where a source goes on: every partition it had discovered when the last checkpoint was taken, and
/// how far each was processed. Empty for a source that begins.
///
/// A source that resumes discovers its unfinished partitions again, yields what comes *after* their
/// positions and nothing of finished ones, and reads partitions that are not named here from their
/// beginning, whatever its options say of the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// The partitions, by their names.
    pub partitions: BTreeMap<PartitionId, PartitionProgress>,
}

impl Resume {
    /// Whether there is nothing to go on from: the source begins as its options say.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The position of `partition`, if any of its records was processed.
    pub fn position(&self, partition: &PartitionId) -> Option<&Position> {
        self.partitions.get(partition)?.position.as_ref()
    }

    /// Whether nothing of `partition` is left.
    pub fn is_finished(&self, partition: &PartitionId) -> bool {
        self.partitions.get(partition).is_some_and(|progress| progress.finished)
    }
}

/// What a source reports.
#[derive(Debug)]
pub enum SourceEvent {
    /// A partition exists. From now on it holds the stream's watermark back, until rows advance it;
    /// it starts from the lowest watermark of its `parents`, whose records come before its own.
    Discovered {
        /// The new partition.
        partition: PartitionId,
        /// The partitions it continues; empty for a first one.
        parents: Vec<PartitionId>,
    },
    /// Records were read.
    Rows(SourceBatch),
    /// The position moved without a record: what is before it need not be read again. A source that
    /// begins at a moment (the tip, a time) says so before the first record, so that it begins there
    /// once only.
    Moved {
        /// The partition.
        partition: PartitionId,
        /// Where to go on.
        position: Position,
    },
    /// A rowtime bound: no row of the partition earlier than this will follow. An idle partition holds
    /// the watermark again; with the least bound that is all it says: it can no longer be read.
    Bound {
        /// The partition.
        partition: PartitionId,
        /// The bound, in milliseconds since the Unix epoch.
        rowtime_ms: i64,
    },
    /// The partition was read successfully to its present end, and nothing new is there: it no longer
    /// holds the watermark back, until it yields rows again.
    Idle {
        /// The partition.
        partition: PartitionId,
    },
    /// The partition is read to its end and will never yield another row, in no later run either. A
    /// partition that is left at its present end because the run ends there is [`SourceEvent::Idle`].
    Finished {
        /// The partition.
        partition: PartitionId,
    },
}

/// Records of one partition, in its order.
#[derive(Debug)]
pub struct SourceBatch {
    /// The partition they come from.
    pub partition: PartitionId,
    /// The decoded rows: the columns the reader asked for, of the stream's schema
    /// ([`crate::definition::RelationDef::stream_schema`]).
    pub rows: RecordBatch,
    /// The records that could not be decoded.
    pub bad: Vec<BadRow>,
    /// Where to go on: after the last record of `rows` and `bad`.
    pub position: Position,
}

/// A stream's input: yields events until it is exhausted (bounded) or for ever.
///
/// Implemented by connectors; driven by [`crate::job`] on a task of its own behind a bounded queue,
/// so an implementation need not buffer ahead. An implementation retries what may pass by itself and
/// returns an error only for what a person must mend.
#[async_trait]
pub trait Source: fmt::Debug + Send {
    /// Waits for the next event; `None` when the input has ended for good. Must be safe to cancel: a
    /// dropped call loses nothing that the next call would not return.
    ///
    /// The partitions that exist at the start are [`SourceEvent::Discovered`] before the first rows of
    /// any of them, so that one not opened yet holds the watermark.
    async fn next(&mut self) -> Result<Option<SourceEvent>>;

    /// How far behind its newest record the source is, in milliseconds, if it knows.
    fn lag_ms(&self) -> Option<i64> {
        None
    }

    /// Where the source says what it waits for: a part that cannot be read at present, and why.
    fn troubles(&self) -> Troubles {
        Troubles::default()
    }

    /// Where the source counts what it reads.
    fn metrics(&self) -> Metrics {
        Metrics::default()
    }
}

/// Bounded reference data.
#[async_trait]
pub trait Table: fmt::Debug + Send {
    /// Reads the whole table: the columns the reader asked for, and the records that are no rows.
    async fn load(&mut self) -> Result<(Vec<RecordBatch>, Vec<BadRow>)>;

    /// Waits until the table should be read again; never returns for a table that is read once.
    async fn changed(&mut self);
}

/// When a sink should publish what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// What is due by size or age.
    Due,
    /// Everything: the job ends.
    All,
}

/// What a sink has published so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Rows in published output.
    pub rows: u64,
    /// Files published.
    pub files: u64,
    /// Calls made, by a sink that writes no files.
    pub calls: u64,
    /// Bytes published.
    pub bytes: u64,
    /// Rows set aside because the output format cannot carry them.
    pub bad: u64,
}

/// A place rows are written to. Rows become visible to readers only when they are published, whole.
#[async_trait]
pub trait Sink: fmt::Debug + Send {
    /// Takes the rows of one epoch. They may be held until the next [`Sink::flush`]. Returns those that
    /// cannot be written, ever: they go to `error_stream`.
    async fn write(&mut self, epoch: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>>;

    /// Publishes what is due, or all.
    async fn flush(&mut self, flush: Flush) -> Result<()>;

    /// What was published so far.
    fn report(&self) -> SinkReport;

    /// For a sink that takes its result as a whole ([`crate::dataflow::Dataflow::whole`]): how long
    /// after one result the next one may come, if it has changed. Each [`Sink::write`] then holds all
    /// rows there are, also when there are none.
    fn result_interval(&self) -> Option<Duration> {
        None
    }

    /// The sink as one whose output is published with checkpoints, if it can be.
    fn durable(&mut self) -> Option<&mut dyn DurableSink> {
        None
    }
}

/// A file of a sink that is open, or closed and to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Which of the sink's files it is.
    pub number: u64,
    /// The folders below the sink's place.
    pub folders: Vec<String>,
    /// Its final name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// Whether no row will be added any more: it is published after the commit that says so.
    pub closed: bool,
    /// When its first row came, in milliseconds since the Unix epoch.
    pub opened_ms: i64,
}

/// What a sink keeps between checkpoints.
#[derive(Debug, Clone, Default)]
pub struct SinkState {
    /// How many files it has begun.
    pub begun: u64,
    /// The files that are not published.
    pub files: Vec<OutputFile>,
    /// Their rows, as the sink writes them: the first column is the number of the file. From
    /// [`DurableSink::checkpoint`] those since the checkpoint before; for [`DurableSink::resume`] all.
    pub rows: Vec<RecordBatch>,
}

/// A sink whose files become visible only after the commit that lists them, and then exactly once
/// whatever happens: their rows are state, and their names are fixed.
#[async_trait]
pub trait DurableSink: Send {
    /// Publishes with checkpoints from now on, going on from `state`. The names of new files begin
    /// with the sink's name and `life`, which no other run's files have.
    async fn resume(&mut self, life: &str, state: SinkState) -> Result<()>;

    /// Closes what is due, or all, and says what has changed since the checkpoint before.
    async fn checkpoint(&mut self, flush: Flush) -> Result<SinkState>;

    /// The checkpoint is committed: publishes the files it closed. Publishing twice is publishing once.
    async fn publish(&mut self) -> Result<()>;
}
