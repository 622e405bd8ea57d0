//! The output side of a job: one task per sink behind a bounded queue, so that encoding the output of
//! one epoch overlaps with computing the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::dataflow::NodeId;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::port::{Flush, Sink, SinkReport};
use crate::task::OwnedTask;

/// Epochs whose output waits for a sink at most.
const QUEUE_EPOCHS: usize = 2;

/// How often a quiet sink is asked to publish what is due by age.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

enum Order {
    Write(u64, Vec<Delta>),
    Finish,
}

/// The running sinks of a job.
pub(super) struct Drain {
    sinks: Vec<Running>,
}

struct Running {
    node: NodeId,
    orders: mpsc::Sender<Order>,
    report: Arc<Mutex<SinkReport>>,
    task: OwnedTask<Result<()>>,
}

impl Drain {
    pub(super) fn start(sinks: Vec<(NodeId, Box<dyn Sink>)>, clock: &Arc<dyn Clock>) -> Self {
        let sinks = sinks.into_iter().map(|(node, sink)| {
            let (orders, queue) = mpsc::channel(QUEUE_EPOCHS);
            let report = Arc::new(Mutex::new(SinkReport::default()));
            let task =
                OwnedTask::spawn(run_sink(sink, queue, Arc::clone(&report), Arc::clone(clock)));
            Running { node, orders, report, task }
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

fn read(report: &Mutex<SinkReport>) -> SinkReport {
    *report.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run_sink(
    mut sink: Box<dyn Sink>,
    mut orders: mpsc::Receiver<Order>,
    report: Arc<Mutex<SinkReport>>,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    loop {
        let order = tokio::select! {
            biased;
            order = orders.recv() => order,
            () = clock.sleep(FLUSH_INTERVAL) => {
                sink.flush(Flush::Due).await?;
                *report.lock().unwrap_or_else(PoisonError::into_inner) = sink.report();
                continue;
            }
        };
        let finish = match order {
            Some(Order::Write(epoch, rows)) => {
                sink.write(epoch, rows).await?;
                sink.flush(Flush::Due).await?;
                false
            }
            Some(Order::Finish) => {
                sink.flush(Flush::All).await?;
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
