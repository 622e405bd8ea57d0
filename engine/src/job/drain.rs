//! The output side of a job: one task per sink behind a bounded queue, so that encoding the output of
//! one epoch overlaps with computing the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::dataflow::NodeId;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::BadRow;
use crate::port::{DurableSink, Flush, Sink, SinkReport, SinkState};
use crate::task::OwnedTask;

/// Epochs whose output waits for a sink at most.
const QUEUE_EPOCHS: usize = 2;

/// How often a quiet sink is asked to publish what is due by age.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

enum Order {
    Write(u64, Vec<Delta>),
    /// Say what has changed since the last checkpoint. The orders before it are part of it.
    Checkpoint(Flush, oneshot::Sender<Changes>),
    /// The last checkpoint is committed; say how many files were published for it.
    Publish(oneshot::Sender<u64>),
    /// Say when the orders before are done.
    Settle(oneshot::Sender<()>),
    Finish,
}

/// What has changed in a sink since the checkpoint before.
pub(super) struct Changes {
    pub(super) state: SinkState,
    /// Rows it cannot write, which no epoch has taken in yet.
    pub(super) bad: Vec<BadRow>,
}

/// A sink's answer to a checkpoint, when it is there.
pub(super) type SinkReply = (NodeId, oneshot::Receiver<Changes>);

/// The running sinks of a job.
pub(super) struct Drain {
    sinks: Vec<Running>,
}

struct Running {
    node: NodeId,
    /// Whether it publishes with checkpoints.
    durable: bool,
    orders: mpsc::Sender<Order>,
    report: Arc<Mutex<SinkReport>>,
    /// Rows it cannot write, for the next epoch.
    bad: Arc<Mutex<Vec<BadRow>>>,
    task: OwnedTask<Result<()>>,
}

impl Drain {
    /// Starts a task per sink. With `checkpoints`, sinks that can publish with them do.
    pub(super) fn start(
        sinks: Vec<(NodeId, Box<dyn Sink>)>,
        checkpoints: bool,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let sinks = sinks.into_iter().map(|(node, mut sink)| {
            let durable = checkpoints && sink.durable().is_some();
            let (orders, queue) = mpsc::channel(QUEUE_EPOCHS);
            let report = Arc::new(Mutex::new(SinkReport::default()));
            let bad = Arc::new(Mutex::new(Vec::new()));
            let work = Work {
                sink,
                durable,
                held: Vec::new(),
                report: Arc::clone(&report),
                bad: Arc::clone(&bad),
            };
            let task = OwnedTask::spawn(work.run(queue, Arc::clone(clock)));
            Running { node, durable, orders, report, bad, task }
        });
        Self { sinks: sinks.collect() }
    }

    /// Hands an epoch's output to the sinks.
    ///
    /// # Errors
    ///
    /// When a sink has failed.
    pub(super) async fn write(
        &mut self,
        epoch: u64,
        output: Vec<(NodeId, Vec<Delta>)>,
    ) -> Result<()> {
        for (node, rows) in output {
            let Some(index) = self.sinks.iter().position(|sink| sink.node == node) else {
                continue;
            };
            if self.sinks[index].orders.send(Order::Write(epoch, rows)).await.is_err() {
                return Err(self.failure_of(index).await);
            }
        }
        Ok(())
    }

    /// Asks every sink that publishes with checkpoints what has changed since the last one, without
    /// waiting for the answers.
    ///
    /// # Errors
    ///
    /// When a sink has failed.
    pub(super) async fn checkpoint(&mut self, flush: Flush) -> Result<Vec<SinkReply>> {
        let mut replies = Vec::new();
        for index in 0..self.sinks.len() {
            let sink = &self.sinks[index];
            if !sink.durable {
                continue;
            }
            let (sender, reply) = oneshot::channel();
            replies.push((sink.node, reply));
            if sink.orders.send(Order::Checkpoint(flush, sender)).await.is_err() {
                return Err(self.failure_of(index).await);
            }
        }
        Ok(replies)
    }

    /// The rows that sinks cannot write and no epoch has taken in yet. A sink that publishes with
    /// checkpoints says so at the checkpoint, which has them too: they reach `error_stream` once.
    pub(super) fn take_bad(&self) -> Vec<(NodeId, Vec<BadRow>)> {
        let taken =
            self.sinks.iter().map(|sink| (sink.node, std::mem::take(&mut *lock(&sink.bad))));
        taken.filter(|(_, bad)| !bad.is_empty()).collect()
    }

    /// Waits until the sinks have taken in all that was written to them, and returns what they cannot
    /// write.
    ///
    /// # Errors
    ///
    /// When a sink has failed.
    pub(super) async fn settle(&mut self) -> Result<Vec<(NodeId, Vec<BadRow>)>> {
        for index in 0..self.sinks.len() {
            let (sender, done) = oneshot::channel();
            let asked = self.sinks[index].orders.send(Order::Settle(sender)).await;
            if asked.is_err() || done.await.is_err() {
                return Err(self.failure_of(index).await);
            }
        }
        Ok(self.take_bad())
    }

    /// What tells the sinks that a checkpoint is committed.
    pub(super) fn publisher(&self) -> Publisher {
        let durable = self.sinks.iter().filter(|sink| sink.durable);
        Publisher(durable.map(|sink| sink.orders.clone()).collect())
    }

    /// A sink that has failed ends the job even if nothing is written to it any more.
    pub(super) async fn check(&mut self) -> Result<()> {
        match self.sinks.iter().position(|sink| sink.task.is_finished()) {
            Some(index) => Err(self.failure_of(index).await),
            None => Ok(()),
        }
    }

    /// Publishes everything.
    ///
    /// # Errors
    ///
    /// The first sink's that failed.
    pub(super) async fn finish(self) -> Result<Vec<(NodeId, SinkReport)>> {
        for sink in &self.sinks {
            // A sink that is gone reports why below.
            let _gone = sink.orders.send(Order::Finish).await;
        }
        let mut reports = Vec::with_capacity(self.sinks.len());
        for sink in self.sinks {
            sink.task.join().await??;
            reports.push((sink.node, read(&sink.report)));
        }
        Ok(reports)
    }

    pub(super) fn reports(&self) -> Vec<(NodeId, SinkReport)> {
        self.sinks.iter().map(|sink| (sink.node, read(&sink.report))).collect()
    }

    async fn failure_of(&mut self, index: usize) -> Error {
        match self.sinks.swap_remove(index).task.join().await {
            Ok(Err(error)) | Err(error) => error,
            Ok(Ok(())) => Error::bug("a sink ended before its job"),
        }
    }
}

/// Tells the sinks that a checkpoint is committed.
pub(super) struct Publisher(Vec<mpsc::Sender<Order>>);

impl Publisher {
    /// Returns, once the sinks have published, whether there was a file.
    pub(super) async fn publish(&self) -> bool {
        let mut published = Vec::with_capacity(self.0.len());
        for orders in &self.0 {
            let (sender, reply) = oneshot::channel();
            // The job finds out by itself that a sink has failed.
            if orders.send(Order::Publish(sender)).await.is_ok() {
                published.push(reply);
            }
        }
        let mut files = 0;
        for reply in published {
            files += reply.await.unwrap_or(0);
        }
        files > 0
    }
}

fn read(report: &Mutex<SinkReport>) -> SinkReport {
    *lock(report)
}

/// Files, or calls that stand for them.
fn published(sink: &dyn Sink) -> u64 {
    let report = sink.report();
    report.files + report.calls
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn committed(sink: &mut dyn Sink) -> Result<&mut dyn DurableSink> {
    sink.durable().ok_or_else(|| Error::bug("a sink that knows no checkpoints was asked for one"))
}

/// A sink's task.
struct Work {
    sink: Box<dyn Sink>,
    durable: bool,
    /// Rows that cannot be written, until a checkpoint has them.
    held: Vec<BadRow>,
    report: Arc<Mutex<SinkReport>>,
    bad: Arc<Mutex<Vec<BadRow>>>,
}

impl Work {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, clock: Arc<dyn Clock>) -> Result<()> {
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                () = clock.sleep(FLUSH_INTERVAL) => {
                    self.flush(Flush::Due).await?;
                    self.tell();
                    continue;
                }
            };
            let finish = match order {
                Some(Order::Finish) => {
                    self.flush(Flush::All).await?;
                    true
                }
                Some(order) => {
                    self.obey(order).await?;
                    false
                }
                // The job failed: what is not published stays unpublished.
                None => true,
            };
            self.tell();
            if finish {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Write(epoch, rows) => {
                let bad = self.sink.write(epoch, rows).await?;
                self.held.extend(bad);
                if !self.durable {
                    self.release();
                }
                self.flush(Flush::Due).await?;
            }
            Order::Checkpoint(flush, reply) => {
                let state = committed(self.sink.as_mut())?.checkpoint(flush).await?;
                let bad = self.held.clone();
                self.release();
                // Whoever asked has failed, and says so itself.
                let _gone = reply.send(Changes { state, bad });
            }
            Order::Publish(reply) => {
                let before = published(self.sink.as_ref());
                committed(self.sink.as_mut())?.publish().await?;
                // Whoever asked has failed, and says so itself.
                let _gone = reply.send(published(self.sink.as_ref()) - before);
            }
            Order::Settle(reply) => {
                self.release();
                // Whoever asked has failed, and says so itself.
                let _gone = reply.send(());
            }
            Order::Finish => {}
        }
        Ok(())
    }

    /// Lets the next epoch have the rows that cannot be written.
    fn release(&mut self) {
        lock(&self.bad).append(&mut self.held);
    }

    async fn flush(&mut self, flush: Flush) -> Result<()> {
        if self.durable { Ok(()) } else { self.sink.flush(flush).await }
    }

    fn tell(&self) {
        *lock(&self.report) = self.sink.report();
    }
}
