//! How far a job is, for those who watch it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::dataflow::NodeId;
use crate::executor::NodeFigures;
use crate::fault::{BadRow, Reason};
use crate::metrics::PartitionMetrics;
use crate::port::SinkReport;

/// Bad rows kept as examples for the summary.
const BAD_EXAMPLES_MAX: usize = 5;

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
    /// The watermark of each source that knows one, by source node, in milliseconds since the Unix epoch.
    pub watermarks: Vec<(NodeId, i64)>,
    /// The largest lag of the sources, in milliseconds.
    pub lag_ms: Option<i64>,
    /// What the sources wait for; empty when all is well.
    pub troubles: Vec<String>,
    /// What the sources count: source node, partition, counts.
    pub partitions: Vec<(NodeId, Arc<str>, PartitionMetrics)>,
    /// Time since the start.
    pub elapsed: Duration,
    /// What each sink has published, by sink node.
    pub sinks: Vec<(NodeId, SinkReport)>,
    /// The first few rows set aside, for the summary.
    pub bad_examples: Vec<BadRow>,
    /// Bad and late rows, by the stream, pump or sink that had them.
    pub set_aside: BTreeMap<Arc<str>, (u64, u64)>,
    /// Bytes of memory the operators' state and the kept results hold.
    pub state_bytes: usize,
    /// The same by node, largest first.
    pub held: Vec<(NodeId, usize)>,
    /// What each node has done, in the order of the nodes; known at the end.
    pub nodes: Vec<NodeFigures>,
    /// Bytes of state on the local disk, beyond what memory had room for.
    pub spilled_bytes: u64,
    /// The checkpoints taken.
    pub checkpoints: CheckpointMetrics,
}

/// What was counted of the checkpoints of a job in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckpointMetrics {
    /// Checkpoints committed.
    pub commits: u64,
    /// The number of the newest commit.
    pub number: u64,
    /// Bytes of all commits.
    pub bytes: u64,
    /// Bytes of the newest one.
    pub bytes_last: u64,
    /// From a snapshot to its commit being published, for all.
    pub duration: Duration,
    /// The same for the newest one.
    pub duration_last: Duration,
    /// The longest that an epoch had to wait for a snapshot.
    pub pause_max: Duration,
}

impl Progress {
    pub(super) fn note_bad(&mut self, bad: Vec<BadRow>) {
        for row in bad {
            let (bad, late) = self.set_aside.entry(Arc::clone(&row.stream)).or_default();
            if row.reason == Reason::Late {
                self.rows_late += 1;
                *late += 1;
            } else {
                self.rows_bad += 1;
                *bad += 1;
            }
            if self.bad_examples.len() < BAD_EXAMPLES_MAX {
                self.bad_examples.push(row);
            }
        }
    }
}
