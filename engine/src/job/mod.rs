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
mod whole;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use self::drain::Drain;
use self::intake::{Collected, Intake};
use self::whole::WholeSinks;
pub use self::whole::{Read, Shown};
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
    /// Who wants to see what its views show; answered between epochs.
    pub reads: mpsc::Receiver<Read>,
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
    /// What the sources wait for; empty when all is well.
    pub troubles: Vec<String>,
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
    Read(Read),
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
        let whole = WholeSinks::new(&self.dataflow, &self.sinks)?;
        let drain = Drain::start(self.sinks, &self.clock);
        let executor = Some(executor);
        let mut loop_ = Loop { executor, drain, whole, clock: self.clock, progress, started };
        loop_.epoch(first, &intake).await?;
        observe(&loop_.progress);
        while !intake.has_ended() {
            let event = tokio::select! {
                biased;
                () = stopped(&mut stop) => Event::Stop,
                Some(read) = self.reads.recv() => Event::Read(read),
                collected = intake.next() => Event::Input(collected?),
                () = loop_.clock.sleep(HEARTBEAT) => Event::Heartbeat,
            };
            let input = match event {
                Event::Input(collected) => {
                    loop_.progress.set_aside(collected.bad);
                    collected.input
                }
                Event::Heartbeat => EpochInput::default(),
                Event::Read(read) => {
                    loop_.answer(read).await?;
                    continue;
                }
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
    whole: WholeSinks,
    clock: Arc<dyn Clock>,
    progress: Progress,
    started: Duration,
}

impl Loop {
    async fn epoch(&mut self, input: EpochInput, intake: &Intake) -> Result<()> {
        self.step(input).await?;
        self.write_whole(false).await?;
        self.progress.lag_ms = intake.lag_ms();
        self.progress.troubles = intake.troubles();
        self.drain.check().await
    }

    /// Hands the sinks that take their result as a whole what they are due, or what has changed.
    async fn write_whole(&mut self, all: bool) -> Result<()> {
        let due = self.whole.take_due(self.clock.monotonic(), all);
        if due.is_empty() {
            return Ok(());
        }
        let results = self.with_executor(self.whole.results(due)).await??;
        let rows = results.iter().map(|(_, rows)| total_rows(rows) as u64);
        self.progress.rows_out += rows.sum::<u64>();
        self.drain.write(self.progress.epochs, results).await
    }

    /// Answers a reader of views with what they are now.
    async fn answer(&mut self, read: Read) -> Result<()> {
        let Read { views, answer } = read;
        let shown = self.with_executor(move |executor| whole::shown(executor, &views)).await?;
        // A reader that has gone needs no answer.
        let _gone = answer.send(shown);
        Ok(())
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
        self.whole.note(&output.changed);
        self.drain.write(output.epoch, output.sinks).await?;
        self.progress.sinks = self.drain.reports();
        Ok(())
    }

    async fn compute(&mut self, now_ms: i64, input: EpochInput) -> Result<EpochOutput> {
        let work = move |executor: &mut Executor| {
            let output = executor.step(now_ms, input);
            (output, executor.memory_bytes())
        };
        let (output, state_bytes) = self.with_executor(work).await?;
        self.progress.state_bytes = state_bytes;
        output
    }

    /// What the executor does is work for a processor, so it runs where it does not hold up the tasks
    /// that do I/O.
    async fn with_executor<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Executor) -> T + Send + 'static,
    ) -> Result<T> {
        let Some(mut executor) = self.executor.take() else {
            return Err(Error::bug("an epoch began before the last one ended"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut executor);
            (executor, done)
        });
        let (executor, done) =
            done.await.map_err(|error| Error::bug(format!("an epoch ended early: {error}")))?;
        self.executor = Some(executor);
        Ok(done)
    }

    /// Lets `error_stream` run dry and publishes everything.
    async fn finish(mut self, dataflow: &Dataflow) -> Result<Progress> {
        if dataflow.nodes.iter().any(|node| matches!(node.kind, NodeKind::ErrorStream)) {
            self.step(EpochInput::default()).await?;
        }
        self.write_whole(true).await?;
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
