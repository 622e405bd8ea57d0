//! Runs an application: sources in, epochs, sinks out.
//!
//! ```text
//!   source task ─┐                            ┌─► sink task
//!   source task ─┼─► bounded queue ─► epoch ──┼─► sink task
//!   table task ──┘   (all there is)           └─► …
//! ```
//!
//! With a [`Durability`], a checkpoint is taken between two epochs every so often; the commit task makes
//! it durable meanwhile, and the sinks then publish what it closed.
//!
//! An epoch takes all that has arrived when the one before is done: a lone row runs at once, a flood
//! runs in large epochs. Sources decode the next input and sinks encode the last output meanwhile.

mod commit;
mod drain;
mod intake;
mod memory;
mod progress;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use self::commit::{Checkpoints, Commit, Due, Ending, Request};
use self::drain::Drain;
use self::intake::{Collected, Intake};
use self::memory::Memory;
pub use self::memory::MemoryBudget;
pub use self::progress::{CheckpointMetrics, Progress};
use self::whole::WholeSinks;
pub use self::whole::{Read, Shown};
use crate::checkpoint::fail_point::FailPoint;
use crate::checkpoint::protocol::Owner;
use crate::checkpoint::recovery::Recovered;
use crate::clock::Clock;
use crate::dataflow::{Dataflow, Node, NodeId, NodeKind};
use crate::delta::total_rows;
use crate::error::{Error, Result};
use crate::executor::{EpochInput, EpochOutput, Executor};
use crate::port::{Flush, Sink, Source, SourceEvent, Table};
use crate::trouble::Troubles;

/// How often an epoch runs without input, so that idle streams follow the clock.
const HEARTBEAT: Duration = Duration::from_secs(1);

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
    /// How much memory the operators' state may hold.
    pub memory: Option<MemoryBudget>,
    /// How its state survives; `None` for a job whose state ends with it.
    pub durability: Option<Durability>,
    /// What its sinks wait for; sources have their own.
    pub troubles: Troubles,
}

/// How the state of a job survives.
#[derive(Debug)]
pub struct Durability {
    /// The right to commit.
    pub owner: Owner,
    /// What to go on from.
    pub recovered: Recovered,
    /// How long rows wait for a checkpoint.
    pub interval: Duration,
    /// Sources that only pause when they come to an end: a later run goes on with them.
    pub pausing: BTreeSet<NodeId>,
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
    /// publishes everything, with a last checkpoint if the job has any. `observe` is called after every epoch.
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
        let mut executor = Executor::new(Arc::clone(&self.dataflow), self.lanes)?;
        executor.measure(Arc::clone(&self.clock));
        let (checkpoints, pausing) = match self.durability.take() {
            Some(mut durability) => {
                executor.restore(std::mem::take(&mut durability.recovered.snapshots))?;
                FailPoint::Recovered.reach();
                resume_sinks(&mut self.sinks, &mut durability).await?;
                (Some((durability.owner, durability.interval)), durability.pausing)
            }
            None => (None, BTreeSet::new()),
        };
        let pauses = !pausing.is_empty();
        // Tables are whole before any stream moves.
        let first = load_tables(&mut self.tables, &mut progress).await?;
        let mut intake = Intake::start(self.sources, self.tables, pausing);
        let whole = WholeSinks::new(&self.dataflow, &self.sinks)?;
        let drain = Drain::start(self.sinks, checkpoints.is_some(), &self.clock);
        let checkpoints = checkpoints
            .map(|owner| Checkpoints::start(owner, &self.dataflow, &drain, &*self.clock));
        let heartbeat = checkpoints.as_ref().map_or(HEARTBEAT, |c| c.interval.min(HEARTBEAT));
        let executor = Some(executor);
        let memory = Arc::new(Memory::new(&self.dataflow, self.memory));
        let (clock, troubles) = (self.clock, self.troubles);
        let mut loop_ = Loop {
            executor,
            drain,
            whole,
            checkpoints,
            memory,
            clock,
            troubles,
            progress,
            started,
        };
        loop_.epoch(first, &intake).await?;
        observe(&loop_.progress);
        while !intake.has_ended() {
            let event = tokio::select! {
                biased;
                () = stopped(&mut stop) => Event::Stop,
                Some(read) = self.reads.recv() => Event::Read(read),
                collected = intake.next() => Event::Input(collected?),
                () = loop_.clock.sleep(heartbeat) => Event::Heartbeat,
            };
            let input = match event {
                Event::Input(collected) => {
                    loop_.progress.note_bad(collected.bad);
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
            loop_.checkpoint_if_due().await?;
            observe(&loop_.progress);
        }
        let finished = intake.has_ended() && !pauses;
        drop(intake);
        let ending = if finished { Ending::Finished } else { Ending::Open };
        let progress = loop_.finish(&self.dataflow, ending).await?;
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
    checkpoints: Option<Checkpoints>,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    troubles: Troubles,
    progress: Progress,
    started: Duration,
}

impl Loop {
    async fn epoch(&mut self, input: EpochInput, intake: &Intake) -> Result<()> {
        self.step(input).await?;
        self.write_whole(false).await?;
        self.progress.lag_ms = intake.lag_ms();
        self.progress.troubles = intake.troubles();
        self.progress.troubles.extend(self.troubles.list());
        self.progress.partitions = intake.metrics();
        if let Some(checkpoints) = &self.checkpoints {
            self.progress.checkpoints = checkpoints.metrics();
        }
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

    async fn step(&mut self, mut input: EpochInput) -> Result<()> {
        let now_ms = self.clock.now_ms();
        input.bad.extend(self.drain.take_bad());
        let changes = !(input.events.is_empty() && input.tables.is_empty() && input.bad.is_empty());
        let begins = input.events.iter().any(|(_, e)| matches!(e, SourceEvent::Moved { .. }));
        let output = self.compute(now_ms, input).await?;
        let progress = &mut self.progress;
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.note(changes || !output.sinks.is_empty());
            if begins {
                checkpoints.hurry();
            }
        }
        progress.epochs = output.epoch;
        progress.rows_in += output.rows_in;
        progress.rows_out +=
            output.sinks.iter().map(|(_, rows)| total_rows(rows) as u64).sum::<u64>();
        progress.watermark_ms = output.watermark_ms.or(progress.watermark_ms);
        progress.watermarks = output.watermarks;
        progress.elapsed = self.clock.monotonic().saturating_sub(self.started);
        progress.note_bad(output.bad);
        self.whole.note(&output.changed);
        self.drain.write(output.epoch, output.sinks).await?;
        self.progress.sinks = self.drain.reports();
        Ok(())
    }

    async fn compute(&mut self, now_ms: i64, input: EpochInput) -> Result<EpochOutput> {
        let memory = Arc::clone(&self.memory);
        let work = move |executor: &mut Executor| {
            let output = executor.step(now_ms, input)?;
            Ok::<_, Error>((output, memory.check(executor)?))
        };
        let (output, held) = self.with_executor(work).await??;
        self.progress.state_bytes = held.iter().map(|(_, bytes)| bytes).sum();
        self.progress.held = held;
        self.progress.spilled_bytes = self.memory.spilled_bytes();
        Ok(output)
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

    async fn checkpoint_if_due(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        if checkpoints.has_failed() {
            return Err(self.failure().await);
        }
        match checkpoints.due(now) {
            Due::Nothing => Ok(()),
            Due::Look => {
                checkpoints.ask(Request::Look).await;
                Ok(())
            }
            Due::Checkpoint => self.checkpoint(Flush::Due, Ending::Open).await,
        }
    }

    /// Takes a checkpoint and hands it to the commit task.
    async fn checkpoint(&mut self, flush: Flush, ending: Ending) -> Result<()> {
        let began = self.clock.monotonic();
        let snapshot = self.with_executor(Executor::snapshot).await??;
        FailPoint::SnapshotTaken.reach();
        let replies = self.drain.checkpoint(flush).await?;
        let watermark_ms = self.progress.watermark_ms;
        if let Some(checkpoints) = &self.checkpoints {
            let commit = Commit { snapshot, replies, watermark_ms, ending };
            checkpoints.ask(Request::Commit(Box::new(commit))).await;
            checkpoints.note_pause(self.clock.monotonic().saturating_sub(began));
        }
        Ok(())
    }

    /// Why no more checkpoints can be taken.
    async fn failure(&mut self) -> Error {
        // A sink that failed is the cause, not that it did not answer.
        if let Err(error) = self.drain.check().await {
            return error;
        }
        match self.checkpoints.take() {
            Some(checkpoints) => match checkpoints.finish().await {
                Err(error) => error,
                Ok(_) => Error::bug("the commits ended before their job"),
            },
            None => Error::bug("a job without checkpoints failed to take one"),
        }
    }

    /// Lets `error_stream` run dry, takes the last checkpoint and publishes everything.
    async fn finish(mut self, dataflow: &Dataflow, ending: Ending) -> Result<Progress> {
        let bad = self.drain.settle().await?;
        let has_errors = |node: &Node| matches!(node.kind, NodeKind::ErrorStream);
        if !bad.is_empty() || dataflow.nodes.iter().any(has_errors) {
            self.step(EpochInput { bad, ..EpochInput::default() }).await?;
        }
        self.write_whole(true).await?;
        if self.checkpoints.is_some() {
            self.checkpoint(Flush::All, ending).await?;
        }
        if let Some(checkpoints) = self.checkpoints.take() {
            match checkpoints.finish().await {
                Ok(metrics) => self.progress.checkpoints = metrics,
                Err(error) => {
                    self.drain.check().await?;
                    return Err(error);
                }
            }
        }
        self.progress.nodes = self.with_executor(|executor| executor.figures()).await?;
        self.progress.sinks = self.drain.finish().await?;
        self.progress.elapsed = self.clock.monotonic().saturating_sub(self.started);
        Ok(self.progress)
    }
}

/// Lets the sinks go on from the checkpoint, and publish what it closed and no later one knows to be
/// published.
async fn resume_sinks(
    sinks: &mut [(NodeId, Box<dyn Sink>)],
    durability: &mut Durability,
) -> Result<()> {
    let head = durability.owner.head();
    for (node, sink) in sinks {
        let Some(sink) = sink.durable() else { continue };
        let states = &mut durability.recovered.sinks;
        let known = states.iter().position(|(known, _)| known == node);
        let state = known.map(|index| states.swap_remove(index).1).unwrap_or_default();
        let since = head.nodes.get(node.0).map_or(head.number, |node| node.since);
        sink.resume(&format!("{}-{since}", head.instance), state).await?;
        sink.publish().await?;
    }
    Ok(())
}

async fn load_tables(
    tables: &mut [(NodeId, Box<dyn Table>)],
    progress: &mut Progress,
) -> Result<EpochInput> {
    let mut input = EpochInput::default();
    for (node, table) in tables {
        let (rows, bad) = table.load().await?;
        progress.note_bad(bad);
        input.tables.push((*node, rows));
    }
    Ok(input)
}

/// Returns when the job should stop; a dropped sender stops it too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means the sender is gone.
    let _gone = stop.wait_for(|stop| *stop).await;
}
