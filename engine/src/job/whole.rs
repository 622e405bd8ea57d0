//! Results that are handed out as a whole: to sinks that rewrite theirs, and to whoever reads views.
//!
//! Both happen between epochs, so that what is handed out is the result of a prefix of the input, and
//! the same prefix for all views of one read.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::oneshot;

use crate::dataflow::{Dataflow, NodeId};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::port::Sink;

/// A wish to see what views show.
#[derive(Debug)]
pub struct Read {
    /// The view nodes.
    pub views: Vec<NodeId>,
    /// Gets the rows of each of them, as they are after one epoch.
    pub answer: oneshot::Sender<Result<Shown>>,
}

/// What views show after an epoch.
#[derive(Debug)]
pub struct Shown {
    /// The epoch.
    pub epoch: u64,
    /// The rows of each view, in the order the views were asked for.
    pub rows: Vec<Vec<RecordBatch>>,
}

/// The rows of `views`.
pub(super) fn shown(executor: &Executor, views: &[NodeId]) -> Result<Shown> {
    let of = |id: &NodeId| match executor.contents(*id) {
        Some(contents) => contents.all(),
        None => Err(Error::bug("a node was read whose rows are not kept")),
    };
    Ok(Shown { epoch: executor.epoch(), rows: views.iter().map(of).collect::<Result<_>>()? })
}

/// A sink that takes its result as a whole.
#[derive(Debug)]
struct WholeSink {
    node: NodeId,
    interval: Duration,
    /// When it was last given its result.
    written: Option<Duration>,
    changed: bool,
}

/// The sinks of a job that take their result as a whole.
#[derive(Debug)]
pub(super) struct WholeSinks {
    dataflow: Arc<Dataflow>,
    sinks: Vec<WholeSink>,
}

impl WholeSinks {
    /// Those among `sinks`.
    ///
    /// # Errors
    ///
    /// When plan and sink do not agree on what the sink takes: our bug.
    pub(super) fn new(dataflow: &Arc<Dataflow>, sinks: &[(NodeId, Box<dyn Sink>)]) -> Result<Self> {
        let mut whole = Vec::new();
        for (node, sink) in sinks {
            let interval = sink.result_interval();
            if interval.is_some() != dataflow.whole.contains(node) {
                return Err(Error::bug("a sink takes its result in another way than planned"));
            }
            // One that nothing ever reaches has a result too: an empty one.
            whole.extend(interval.map(|interval| WholeSink {
                node: *node,
                interval,
                written: None,
                changed: true,
            }));
        }
        Ok(Self { dataflow: Arc::clone(dataflow), sinks: whole })
    }

    /// Notes which results an epoch has changed.
    pub(super) fn note(&mut self, changed: &[NodeId]) {
        for sink in &mut self.sinks {
            sink.changed |= changed.contains(&sink.node);
        }
    }

    /// The sinks that should get their result at `now`: those whose result has changed and whose
    /// interval is over, or all that have changed.
    pub(super) fn take_due(&mut self, now: Duration, all: bool) -> Vec<NodeId> {
        let mut due = Vec::new();
        for sink in self.sinks.iter_mut().filter(|sink| sink.changed) {
            let waited = sink.written.map(|written| now.saturating_sub(written));
            if all || waited.is_none_or(|waited| waited >= sink.interval) {
                sink.changed = false;
                sink.written = Some(now);
                due.push(sink.node);
            }
        }
        due
    }

    /// What computes the results of `due` from an executor, each in its order.
    pub(super) fn results(
        &self,
        due: Vec<NodeId>,
    ) -> impl FnOnce(&mut Executor) -> Result<Vec<(NodeId, Vec<Delta>)>> + Send + 'static {
        let dataflow = Arc::clone(&self.dataflow);
        move |executor| {
            let result = |node: NodeId| {
                let contents = executor.contents(node);
                let contents = contents.ok_or_else(|| Error::bug("a result is not kept"))?;
                let rows = match dataflow.orders.get(&node) {
                    Some(keys) => vec![contents.first(keys, usize::MAX)?],
                    None => contents.all()?,
                };
                Ok((node, rows.into_iter().map(Delta::append).collect()))
            };
            due.into_iter().map(result).collect()
        }
    }
}
