//! The commits of a job: a task of its own that makes snapshots durable while epochs go on.
//!
//! ```text
//!   epoch ─► epoch ─► snapshot ─► epoch ─► epoch …           never waits for the store
//!                        └─► [commit task]: sinks' rows ─► encode ─► create ─► publish
//! ```
//!
//! One commit is on its way at a time: while the store is slow, checkpoints are further apart and
//! larger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::drain::{Changes, Drain, Publisher, SinkReply};
use super::progress::CheckpointMetrics;
use crate::checkpoint::compaction::Compaction;
use crate::checkpoint::fail_point::FailPoint;
use crate::checkpoint::format::Part;
use crate::checkpoint::manifest::{Manifest, PartKind, SinkRecord};
use crate::checkpoint::protocol::Owner;
use crate::clock::Clock;
use crate::dataflow::{Dataflow, NodeId};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::Snapshot;
use crate::task::OwnedTask;

/// What a checkpoint consists of.
pub(super) struct Commit {
    pub(super) snapshot: Snapshot,
    pub(super) replies: Vec<SinkReply>,
    pub(super) watermark_ms: Option<i64>,
    pub(super) ending: Ending,
}

/// What the commit task is asked for.
pub(super) enum Request {
    Commit(Box<Commit>),
    /// Find out whether another process has taken over.
    Look,
}

/// Whether a checkpoint is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The job goes on, now or in a later run.
    Open,
    /// Every source has ended.
    Finished,
}

/// What it is time for.
pub(super) enum Due {
    Nothing,
    /// Nothing has changed, but another process may have taken over.
    Look,
    Checkpoint,
}

/// The checkpoints of a job: when one is due, and the task that commits them.
pub(super) struct Checkpoints {
    pub(super) interval: Duration,
    /// When the job began, on the monotonic clock.
    started: Duration,
    /// When the last one was taken, or there was nothing to take.
    last_taken: Option<Duration>,
    /// Whether the first one should be taken at once.
    hurry: bool,
    /// Whether anything has happened since.
    changed: bool,
    state: Arc<State>,
    requests: mpsc::Sender<Request>,
    task: OwnedTask<Result<()>>,
}

/// What the commit task tells.
#[derive(Debug, Default)]
struct State {
    /// A request is being worked on.
    busy: AtomicBool,
    /// Sinks hold files that are not published.
    unpublished: AtomicBool,
    counted: Mutex<CheckpointMetrics>,
}

impl State {
    fn count(&self, change: impl FnOnce(&mut CheckpointMetrics)) {
        change(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn counted(&self) -> CheckpointMetrics {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkpoints {
    pub(super) fn start(
        (owner, interval): (Owner, Duration),
        dataflow: &Arc<Dataflow>,
        drain: &Drain,
        clock: &dyn Clock,
    ) -> Self {
        let (requests, queue) = mpsc::channel(1);
        let state = Arc::new(State::default());
        let task = {
            let compaction = Compaction::new(Arc::clone(dataflow));
            let work = run((owner, compaction), drain.publisher(), queue, Arc::clone(&state));
            OwnedTask::spawn(work)
        };
        Self {
            interval,
            started: clock.monotonic(),
            last_taken: None,
            hurry: false,
            changed: false,
            state,
            requests,
            task,
        }
    }

    /// An epoch has ended.
    pub(super) fn note(&mut self, changed: bool) {
        self.changed |= changed;
    }

    /// A source said where it begins. It begins there once: the first checkpoint does not wait.
    pub(super) fn hurry(&mut self) {
        self.hurry = self.last_taken.is_none();
    }

    /// What it is time for. Says so once.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        let is_busy = self.state.busy.load(Ordering::Acquire);
        let since = self.last_taken.unwrap_or(self.started);
        if is_busy || (now.saturating_sub(since) < self.interval && !self.hurry) {
            return Due::Nothing;
        }
        (self.last_taken, self.hurry) = (Some(now), false);
        let unpublished = self.state.unpublished.load(Ordering::Acquire);
        if std::mem::take(&mut self.changed) || unpublished { Due::Checkpoint } else { Due::Look }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks for something; waits while something else is worked on.
    pub(super) async fn ask(&self, request: Request) {
        self.state.busy.store(true, Ordering::Release);
        // A task that is gone says why when it is joined.
        let _gone = self.requests.send(request).await;
    }

    /// What was counted so far.
    pub(super) fn metrics(&self) -> CheckpointMetrics {
        self.state.counted()
    }

    /// Epochs had to wait for a snapshot.
    pub(super) fn note_pause(&self, pause: Duration) {
        self.state.count(|counted| counted.pause_max = counted.pause_max.max(pause));
    }

    /// Waits until everything asked for is done; returns what was counted.
    ///
    /// # Errors
    ///
    /// What the commits failed with.
    pub(super) async fn finish(self) -> Result<CheckpointMetrics> {
        drop(self.requests);
        self.task.join().await??;
        Ok(self.state.counted())
    }
}

async fn run(
    (mut owner, mut compaction): (Owner, Compaction),
    publisher: Publisher,
    mut requests: mpsc::Receiver<Request>,
    state: Arc<State>,
) -> Result<()> {
    while let Some(request) = requests.recv().await {
        match request {
            Request::Look => owner.look_ahead().await?,
            Request::Commit(commit) => {
                let began = owner.clock().monotonic();
                let (mut next, parts) = contents(*commit, &owner).await?;
                (next.base, next.tail_from) = compaction.next(owner.head());
                let unpublished = next.sinks.iter().any(|sink| !sink.files.is_empty());
                let bytes = owner.commit(next, parts).await?;
                state.unpublished.store(unpublished, Ordering::Release);
                let published = publisher.publish().await;
                FailPoint::Published.reach();
                if published {
                    owner.mark_published().await;
                }
                let took = owner.clock().monotonic().saturating_sub(began);
                let number = owner.head().number;
                state.count(|counted| {
                    counted.commits += 1;
                    counted.number = number;
                    counted.bytes += bytes;
                    counted.bytes_last = bytes;
                    counted.duration += took;
                    counted.duration_last = took;
                });
                match compaction.after_commit(&owner).await {
                    // It is tried again after a later commit; until then the tail is longer.
                    Err(error) if error.kind() == ErrorKind::Retry => {}
                    done => done?,
                }
            }
        }
        state.busy.store(false, Ordering::Release);
    }
    Ok(())
}

/// The manifest and the rows of a commit.
async fn contents(commit: Commit, owner: &Owner) -> Result<(Manifest, Vec<Part>)> {
    let head = owner.head();
    let Commit { snapshot, replies, watermark_ms, ending } = commit;
    let mut parts: Vec<Part> = Part::of_operators(snapshot.operators).collect();
    parts.extend(Part::of_tables(snapshot.tables));
    let mut errors = snapshot.errors;
    let mut sinks = Vec::with_capacity(replies.len());
    for (node, reply) in replies {
        // A sink that is gone has failed, and the job ends with its error.
        let changes = reply.await;
        let Changes { state, bad } =
            changes.map_err(|_| Error::bug("a sink ended in the middle of a checkpoint"))?;
        errors.extend(bad);
        let rows = state.rows.into_iter();
        parts.extend(rows.map(|rows| Part::of(node, PartKind::Sink, rows)));
        let name = head.nodes.get(node.0).map_or("", |node| node.name.as_str());
        let name = name.strip_prefix("sink ").unwrap_or(name).to_owned();
        sinks.push(SinkRecord { node: node.0, name, begun: state.begun, files: state.files });
    }
    let error_stream = head.nodes.iter().position(|node| node.name == crate::fault::ERROR_STREAM);
    if let Some(node) = error_stream.filter(|_| !errors.is_empty()) {
        let rows = crate::fault::save_rows(&errors)?;
        parts.push(Part::of(NodeId(node), PartKind::Errors, rows));
    }
    let manifest = Manifest {
        epoch: snapshot.epoch,
        lanes: snapshot.lanes,
        finished: ending == Ending::Finished,
        nodes: head.nodes.clone(),
        sources: snapshot.sources.into_iter().map(|(_, source)| source).collect(),
        sinks,
        watermark_ms: watermark_ms.or(head.watermark_ms),
        ..Manifest::default()
    };
    Ok((manifest, parts))
}
