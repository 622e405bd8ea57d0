//! The input side of a job: one task per source and per table, all in front of one bounded queue.
//!
//! The queue's size is the back-pressure: a source that is ahead waits, decoded, for the engine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use crate::dataflow::NodeId;
use crate::error::Result;
use crate::executor::EpochInput;
use crate::fault::BadRow;
use crate::metrics::{Metrics, PartitionMetrics};
use crate::port::{Source, SourceEvent, Table};
use crate::task::OwnedTask;
use crate::trouble::Troubles;

/// Events that wait for the engine at most. A source's event holds at most a few megabytes of rows.
const QUEUE_EVENTS: usize = 32;

/// Rows that one epoch takes in before it starts; the queue may hold more for the next one.
const EPOCH_ROWS: usize = 1 << 20;

/// What a source or table sent.
enum Message {
    Event(NodeId, SourceEvent),
    Ended(NodeId),
    Table(NodeId, Vec<RecordBatch>, Vec<BadRow>),
    Failed(crate::error::Error),
}

/// The running sources and tables of a job.
pub(super) struct Intake {
    queue: mpsc::Receiver<Message>,
    lags: Vec<Arc<AtomicI64>>,
    troubles: Vec<Troubles>,
    metrics: Vec<(NodeId, Metrics)>,
    open: usize,
    /// Sources that only pause when they say that they have ended.
    pausing: BTreeSet<NodeId>,
    /// Dropping them stops the sources.
    _tasks: Vec<OwnedTask<()>>,
}

/// What [`Intake::next`] collected.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) input: EpochInput,
    /// Records of tables that are no rows.
    pub(super) bad: Vec<BadRow>,
}

impl Intake {
    /// Starts a task per source, and one per table that waits for the table to change.
    pub(super) fn start(
        sources: Vec<(NodeId, Box<dyn Source>)>,
        tables: Vec<(NodeId, Box<dyn Table>)>,
        pausing: BTreeSet<NodeId>,
    ) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_EVENTS);
        let open = sources.len();
        let mut tasks = Vec::with_capacity(open + tables.len());
        let mut lags = Vec::with_capacity(open);
        let troubles = sources.iter().map(|(_, source)| source.troubles()).collect();
        let metrics = sources.iter().map(|(node, source)| (*node, source.metrics())).collect();
        for (node, source) in sources {
            let lag = Arc::new(AtomicI64::new(i64::MIN));
            lags.push(Arc::clone(&lag));
            tasks.push(OwnedTask::spawn(read_source(node, source, lag, sender.clone())));
        }
        for (node, table) in tables {
            tasks.push(OwnedTask::spawn(watch_table(node, table, sender.clone())));
        }
        Self { queue, lags, troubles, metrics, open, pausing, _tasks: tasks }
    }

    /// Waits for input and returns all that is there, up to an epoch's size. Safe to cancel.
    ///
    /// # Errors
    ///
    /// When a source failed.
    pub(super) async fn next(&mut self) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut rows = 0;
        let Some(first) = self.queue.recv().await else { return Ok(collected) };
        rows += self.collect(first, &mut collected)?;
        while rows < EPOCH_ROWS {
            let Ok(message) = self.queue.try_recv() else { break };
            rows += self.collect(message, &mut collected)?;
        }
        Ok(collected)
    }

    /// Whether every source has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.open == 0
    }

    /// What the sources wait for.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.troubles.iter().flat_map(Troubles::list).collect()
    }

    /// What the sources count, by partition.
    pub(super) fn metrics(&self) -> Vec<(NodeId, Arc<str>, PartitionMetrics)> {
        let all = self.metrics.iter();
        all.flat_map(|(node, metrics)| metrics.list().into_iter().map(|(p, m)| (*node, p, m)))
            .collect()
    }

    /// The largest lag of the sources that know theirs, in milliseconds.
    pub(super) fn lag_ms(&self) -> Option<i64> {
        let known = self.lags.iter().map(|lag| lag.load(Ordering::Relaxed));
        known.filter(|&lag| lag != i64::MIN).max()
    }

    fn collect(&mut self, message: Message, collected: &mut Collected) -> Result<usize> {
        match message {
            Message::Event(node, event) => {
                let rows =
                    if let SourceEvent::Rows(batch) = &event { batch.rows.num_rows() } else { 0 };
                collected.input.events.push((node, event));
                return Ok(rows);
            }
            Message::Ended(node) => {
                self.open = self.open.saturating_sub(1);
                // What only pauses goes on in a later run, so that its windows stay open.
                if !self.pausing.contains(&node) {
                    collected.input.ended.push(node);
                }
            }
            Message::Table(node, rows, bad) => {
                collected.input.tables.push((node, rows));
                collected.bad.extend(bad);
            }
            Message::Failed(error) => return Err(error),
        }
        Ok(0)
    }
}

async fn read_source(
    node: NodeId,
    mut source: Box<dyn Source>,
    lag: Arc<AtomicI64>,
    queue: mpsc::Sender<Message>,
) {
    loop {
        let message = match source.next().await {
            Ok(Some(event)) => Message::Event(node, event),
            Ok(None) => Message::Ended(node),
            Err(error) => Message::Failed(error),
        };
        lag.store(source.lag_ms().unwrap_or(i64::MIN), Ordering::Relaxed);
        let is_last = !matches!(message, Message::Event(..));
        // A closed queue means the job is over.
        if queue.send(message).await.is_err() || is_last {
            return;
        }
    }
}

async fn watch_table(node: NodeId, mut table: Box<dyn Table>, queue: mpsc::Sender<Message>) {
    loop {
        table.changed().await;
        let message = match table.load().await {
            Ok((rows, bad)) => Message::Table(node, rows, bad),
            Err(error) => Message::Failed(error),
        };
        let is_last = matches!(message, Message::Failed(_));
        if queue.send(message).await.is_err() || is_last {
            return;
        }
    }
}
