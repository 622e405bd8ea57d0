//! Runs an application: sources in, epochs, sinks out.
//!
//! ```text
//!   source task ─┐                            ┌─► sink task
//!   source task ─┼─► bounded queue ─► epoch ──┼─► sink task
//!   table task ──┘   (all there is)           └─► …
//! ```
//!
//! An epoch takes all that has arrived when the one before is done: a lone row runs at once, a flood
//! runs in large epochs. Sources decode the next input and sinks encode the last output meanwhile.

mod drain;
mod intake;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::drain::Drain;
use self::intake::{Collected, Intake};
use crate::clock::Clock;
use crate::dataflow::{Dataflow, NodeId, NodeKind};
use crate::delta::total_rows;
use crate::error::{Error, Result};
use crate::executor::{EpochInput, EpochOutput, Executor};
use crate::fault::{BadRow, Reason};
use crate::port::{Sink, SinkReport, Source, Table};

/// How often an epoch runs without input, so that idle streams follow the clock.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Bad rows kept as examples for the summary.
const BAD_EXAMPLES_MAX: usize = 5;

/// An application with its connections to the world.
#[derive(Debug)]
pub struct Job {
    /// What to compute.
    pub dataflow: Arc<Dataflow>,
    /// The input of each source node.
    pub sources: Vec<(NodeId, Box<dyn Source>)>,
    /// The input of each table node.
    pub tables: Vec<(NodeId, Box<dyn Table>)>,
    /// The output of each sink node.
    pub sinks: Vec<(NodeId, Box<dyn Sink>)>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// How many lanes work in parallel.
    pub lanes: usize,
}

/// How far a job is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Epochs run.
    pub epochs: u64,
    /// Rows read from the sources.
    pub rows_in: u64,
    /// Rows handed to the sinks.
    pub rows_out: u64,
    /// Rows set aside as bad.
    pub rows_bad: u64,
    /// Rows set aside as late.
    pub rows_late: u64,
    /// The lowest watermark of the sources, in milliseconds since the Unix epoch.
    pub watermark_ms: Option<i64>,
    /// The largest lag of the sources, in milliseconds.
    pub lag_ms: Option<i64>,
    /// Time since the start.
    pub elapsed: Duration,
    /// What each sink has published, by sink node.
    pub sinks: Vec<(NodeId, SinkReport)>,
    /// The first few rows set aside, for the summary.
    pub bad_examples: Vec<BadRow>,
    /// Bytes of memory the operators' state holds.
    pub state_bytes: usize,
}

impl Progress {
    fn set_aside(&mut self, bad: Vec<BadRow>) {
        for row in bad {
            if row.reason == Reason::Late {
                self.rows_late += 1;
            } else {
                self.rows_bad += 1;
            }
            if self.bad_examples.len() < BAD_EXAMPLES_MAX {
                self.bad_examples.push(row);
            }
        }
    }
}

/// Why the loop goes on.
enum Event {
    Input(Collected),
    Heartbeat,
    Stop,
}

impl Job {
    /// Runs until every source has ended, or until `stop` becomes true (or its sender is dropped); then
    /// publishes everything. `observe` is called after every epoch.
    ///
    /// Ended sources close every window. A stopped job's open windows stay open: what they hold is not
    /// final.
    ///
    /// # Errors
    ///
    /// What stops the application. Nothing half-written stays behind.
    pub async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        mut observe: impl FnMut(&Progress) + Send,
    ) -> Result<Progress> {
        let started = self.clock.monotonic();
        let mut progress = Progress::default();
        let executor = Executor::new(Arc::clone(&self.dataflow), self.lanes)?;
        // Tables are whole before any stream moves.
        let first = load_tables(&mut self.tables, &mut progress).await?;
        let mut intake = Intake::start(self.sources, self.tables);
        let drain = Drain::start(self.sinks, &self.clock);
        let mut loop_ =
            Loop { executor: Some(executor), drain, clock: self.clock, progress, started };
        loop_.epoch(first, &intake).await?;
        observe(&loop_.progress);
        while !intake.has_ended() {
            let event = tokio::select! {
                biased;
                () = stopped(&mut stop) => Event::Stop,
                collected = intake.next() => Event::Input(collected?),
                () = loop_.clock.sleep(HEARTBEAT) => Event::Heartbeat,
            };
            let input = match event {
                Event::Input(collected) => {
                    loop_.progress.set_aside(collected.bad);
                    collected.input
                }
                Event::Heartbeat => EpochInput::default(),
                Event::Stop => break,
            };
            loop_.epoch(input, &intake).await?;
            observe(&loop_.progress);
        }
        drop(intake);
        let progress = loop_.finish(&self.dataflow).await?;
        observe(&progress);
        Ok(progress)
    }
}

/// What the loop of [`Job::run`] works with.
struct Loop {
    /// Away while an epoch runs.
    executor: Option<Executor>,
    drain: Drain,
    clock: Arc<dyn Clock>,
    progress: Progress,
    started: Duration,
}

impl Loop {
    async fn epoch(&mut self, input: EpochInput, intake: &Intake) -> Result<()> {
        self.step(input).await?;
        self.progress.lag_ms = intake.lag_ms();
        self.drain.check().await
    }

    async fn step(&mut self, input: EpochInput) -> Result<()> {
        let now_ms = self.clock.now_ms();
        let output = self.compute(now_ms, input).await?;
        let progress = &mut self.progress;
        progress.epochs = output.epoch;
        progress.rows_in += output.rows_in;
        progress.rows_out +=
            output.sinks.iter().map(|(_, rows)| total_rows(rows) as u64).sum::<u64>();
        progress.watermark_ms = output.watermark_ms.or(progress.watermark_ms);
        progress.elapsed = self.clock.monotonic().saturating_sub(self.started);
        progress.set_aside(output.bad);
        self.drain.write(output.epoch, output.sinks).await?;
        self.progress.sinks = self.drain.reports();
        Ok(())
    }

    /// An epoch is work for a processor, so it runs where it does not hold up the tasks that do I/O.
    async fn compute(&mut self, now_ms: i64, input: EpochInput) -> Result<EpochOutput> {
        let Some(mut executor) = self.executor.take() else {
            return Err(Error::bug("an epoch began before the last one ended"));
        };
        let work = move || {
            let output = executor.step(now_ms, input);
            let state_bytes = executor.memory_bytes();
            (executor, output, state_bytes)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let (executor, output, state_bytes) =
            done.map_err(|error| Error::bug(format!("an epoch ended early: {error}")))?;
        self.executor = Some(executor);
        self.progress.state_bytes = state_bytes;
        output
    }

    /// Lets `error_stream` run dry and publishes everything.
    async fn finish(mut self, dataflow: &Dataflow) -> Result<Progress> {
        if dataflow.nodes.iter().any(|node| matches!(node.kind, NodeKind::ErrorStream)) {
            self.step(EpochInput::default()).await?;
        }
        self.progress.sinks = self.drain.finish().await?;
        self.progress.elapsed = self.clock.monotonic().saturating_sub(self.started);
        Ok(self.progress)
    }
}

async fn load_tables(
    tables: &mut [(NodeId, Box<dyn Table>)],
    progress: &mut Progress,
) -> Result<EpochInput> {
    let mut input = EpochInput::default();
    for (node, table) in tables {
        let (rows, bad) = table.load().await?;
        progress.set_aside(bad);
        input.tables.push((*node, rows));
    }
    Ok(input)
}

/// Returns when the job should stop; a dropped sender stops it too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means the sender is gone.
    let _gone = stop.wait_for(|stop| *stop).await;
}
