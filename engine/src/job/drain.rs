//! The output side of a job: one task per sink behind a bounded queue, so that encoding the output of
//! one epoch overlaps with computing the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::dataflow::NodeId;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::port::{DurableSink, Flush, Sink, SinkReport, SinkState};
use crate::task::OwnedTask;

/// Epochs whose output waits for a sink at most.
const QUEUE_EPOCHS: usize = 2;

/// How often a quiet sink is asked to publish what is due by age.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

enum Order {
    Write(u64, Vec<Delta>),
    /// Say what has changed since the last checkpoint. The orders before it are part of it.
    Checkpoint(Flush, oneshot::Sender<SinkState>),
    /// The last checkpoint is committed; say how many files were published for it.
    Publish(oneshot::Sender<u64>),
    Finish,
}

/// A sink's answer to a checkpoint, when it is there.
pub(super) type SinkReply = (NodeId, oneshot::Receiver<SinkState>);

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
            let task = OwnedTask::spawn(run_sink(
                (sink, durable),
                queue,
                Arc::clone(&report),
                Arc::clone(clock),
            ));
            Running { node, durable, orders, report, task }
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
    *report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn committed(sink: &mut dyn Sink) -> Result<&mut dyn DurableSink> {
    sink.durable().ok_or_else(|| Error::bug("a sink that knows no checkpoints was asked for one"))
}

async fn run_sink(
    (mut sink, durable): (Box<dyn Sink>, bool),
    mut orders: mpsc::Receiver<Order>,
    report: Arc<Mutex<SinkReport>>,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    loop {
        let order = tokio::select! {
            biased;
            order = orders.recv() => order,
            () = clock.sleep(FLUSH_INTERVAL) => {
                if !durable {
                    sink.flush(Flush::Due).await?;
                }
                *report.lock().unwrap_or_else(PoisonError::into_inner) = sink.report();
                continue;
            }
        };
        let finish = match order {
            Some(Order::Write(epoch, rows)) => {
                sink.write(epoch, rows).await?;
                if !durable {
                    sink.flush(Flush::Due).await?;
                }
                false
            }
            Some(Order::Checkpoint(flush, reply)) => {
                let changes = committed(sink.as_mut())?.checkpoint(flush).await?;
                // Whoever asked has failed, and says so itself.
                let _gone = reply.send(changes);
                false
            }
            Some(Order::Publish(reply)) => {
                let before = sink.report().files;
                committed(sink.as_mut())?.publish().await?;
                // Whoever asked has failed, and says so itself.
                let _gone = reply.send(sink.report().files - before);
                false
            }
            Some(Order::Finish) => {
                if !durable {
                    sink.flush(Flush::All).await?;
                }
                true
            }
            // The job failed: what is not published stays unpublished.
            None => true,
        };
        *report.lock().unwrap_or_else(PoisonError::into_inner) = sink.report();
        if finish {
            return Ok(());
        }
    }
}
