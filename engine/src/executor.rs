//! Runs a dataflow, one epoch at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::dataflow::{Dataflow, NodeId};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::fault::BadRow;
use crate::port::SourceEvent;

/// What arrived for an epoch.
#[derive(Debug, Default)]
pub struct EpochInput {
    /// Events of source nodes, in order per source.
    pub events: Vec<(NodeId, SourceEvent)>,
    /// Tables that were (re-)read, whole.
    pub tables: Vec<(NodeId, Vec<RecordBatch>)>,
    /// Source nodes that will not yield another event.
    pub ended: Vec<NodeId>,
}

/// What an epoch gave.
#[derive(Debug, Default)]
pub struct EpochOutput {
    /// The epoch's number, from 1.
    pub epoch: u64,
    /// The changes for each sink node that has any.
    pub sinks: Vec<(NodeId, Vec<Delta>)>,
    /// Every row set aside in this epoch, those the sources reported included.
    pub bad: Vec<BadRow>,
    /// Rows taken in from sources.
    pub rows_in: u64,
    /// The lowest watermark of the sources, in milliseconds since the Unix epoch, if one is known.
    pub watermark_ms: Option<i64>,
}

/// A running dataflow: operators and their state, spread over lanes.
#[derive(Debug)]
pub struct Executor {}

impl Executor {
    /// Builds the operators of `dataflow`, each `lanes` times.
    ///
    /// # Errors
    ///
    /// When an operator cannot be built.
    pub fn new(dataflow: Arc<Dataflow>, lanes: usize) -> Result<Self> {
        drop((dataflow, lanes));
        Err(Error::bug("unfinished"))
    }

    /// Runs one epoch at `now_ms` (milliseconds since the Unix epoch).
    ///
    /// # Errors
    ///
    /// What stops the application; rows that fail alone are in the output.
    pub fn step(&mut self, now_ms: i64, input: EpochInput) -> Result<EpochOutput> {
        drop((now_ms, input));
        Err(Error::bug("unfinished"))
    }
}
