//! The state of a running dataflow, taken out of it and put back.
//!
//! State is taken out by lane. It is put back by key: each part of an operator's state says which
//! lanes its rows belong to ([`StateShare`]), so a restart may use another number of lanes.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::{Executor, Running, each_lane};
use crate::checkpoint::manifest::SourceRecord;
use crate::dataflow::{Dataflow, Distribution, NodeId, NodeKind, OperatorSpec, StateShare};
use crate::error::{Error, Result};
use crate::fault::BadRow;
use crate::key_group::{hash_keys, lane_of};
use crate::operators::StateBatch;
use crate::spill::SpillStore;

/// The state of a dataflow: what every operator's lanes handed over since the snapshot before, where
/// its sources stand, and what it knows its tables to be.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) operators: Vec<(NodeId, usize, Vec<StateBatch>)>,
    pub(crate) sources: Vec<(NodeId, SourceRecord)>,
    /// Tables that were read since the snapshot before.
    pub(crate) tables: Vec<(NodeId, Vec<RecordBatch>)>,
    /// Rows on their way to `error_stream`.
    pub(crate) errors: Vec<BadRow>,
    pub(crate) epoch: u64,
    pub(crate) lanes: usize,
}

impl Snapshot {
    pub(crate) fn empty(epoch: u64, lanes: usize) -> Self {
        Self { epoch, lanes, ..Self::default() }
    }

    pub(crate) fn add_operator(&mut self, node: NodeId, lane: usize, state: Vec<StateBatch>) {
        self.operators.push((node, lane, state));
    }

    pub(crate) fn add_table(&mut self, node: NodeId, rows: Vec<RecordBatch>) {
        match self.tables.iter_mut().find(|(known, _)| *known == node) {
            Some((_, known)) => known.extend(rows),
            None => self.tables.push((node, rows)),
        }
    }

    pub(crate) fn add_errors(&mut self, rows: &[RecordBatch]) -> Result<()> {
        for rows in rows {
            self.errors.extend(crate::fault::saved_rows(rows)?);
        }
        Ok(())
    }

    pub(crate) fn set_sources(&mut self, sources: Vec<(NodeId, SourceRecord)>) {
        self.sources = sources;
    }
}

impl Executor {
    /// The state changes since the last snapshot, and where the sources stand.
    ///
    /// # Errors
    ///
    /// When an operator cannot hand over its state: our bug.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::empty(self.epoch, self.lanes);
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let id = NodeId(index);
            match node {
                Running::Operator(lanes) => {
                    for (lane, operator) in lanes.iter_mut().enumerate() {
                        snapshot.add_operator(id, lane, operator.snapshot()?);
                    }
                }
                Running::Source(source) => snapshot.sources.push((id, source.record(index))),
                Running::Table { rows, saved } => {
                    if !std::mem::replace(saved, true) {
                        snapshot.tables.push((id, rows.clone()));
                    }
                }
                Running::Result(Some(contents)) => {
                    snapshot.add_operator(id, 0, contents.snapshot()?);
                }
                Running::ErrorStream | Running::Result(None) => {}
            }
        }
        snapshot.errors.clone_from(&self.pending_errors);
        Ok(snapshot)
    }

    /// Brings a new executor of the same dataflow to where `snapshots` (all of them, in the order they
    /// were taken) end. Tables are read again: what they were is known, so that only what has changed
    /// since reaches the operators.
    ///
    /// # Errors
    ///
    /// When the snapshots are of another dataflow, or of another number of lanes and an operator's
    /// state cannot be spread anew.
    pub fn restore(&mut self, snapshots: Vec<Snapshot>) -> Result<()> {
        let mut states: Vec<Vec<Vec<StateBatch>>> =
            vec![vec![Vec::new(); self.lanes]; self.nodes.len()];
        for snapshot in snapshots {
            self.epoch = snapshot.epoch;
            self.pending_errors = snapshot.errors;
            for (node, lane, state) in snapshot.operators {
                let of_node = states.get_mut(node.0).ok_or_else(other_dataflow)?;
                self.spread(node, (lane, snapshot.lanes), state, of_node)?;
            }
            for (node, record) in snapshot.sources {
                match self.nodes.get_mut(node.0) {
                    Some(Running::Source(source)) => source.restore(&record),
                    _ => return Err(other_dataflow()),
                }
            }
            for (node, rows) in snapshot.tables {
                match self.nodes.get_mut(node.0) {
                    Some(table @ Running::Table { .. }) => {
                        *table = Running::Table { rows, saved: true };
                    }
                    _ => return Err(other_dataflow()),
                }
            }
        }
        for (node, states) in self.nodes.iter_mut().zip(states) {
            match node {
                Running::Operator(lanes) => {
                    let pays = |state: &Vec<StateBatch>| !state.is_empty();
                    each_lane(lanes, states, pays, |operator, state| operator.restore(state))?;
                }
                Running::Result(Some(contents)) => {
                    states.iter().try_for_each(|state| contents.restore(state))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of memory the state of each operator and each kept result holds, largest first.
    pub fn memory_by_node(&self) -> Vec<(NodeId, usize)> {
        let held = self.nodes.iter().enumerate().filter_map(|(index, node)| match node {
            Running::Operator(lanes) => {
                Some((NodeId(index), lanes.iter().map(|lane| lane.memory_bytes()).sum()))
            }
            Running::Result(Some(contents)) => Some((NodeId(index), contents.memory_bytes())),
            _ => None,
        });
        let mut held: Vec<(NodeId, usize)> = held.collect();
        held.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        held
    }

    /// How many rows the state of each node has, in the order of the nodes.
    pub(super) fn rows_by_node(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().map(|node| match node {
            Running::Operator(lanes) => lanes.iter().map(|lane| lane.state_rows()).sum(),
            Running::Result(Some(contents)) => contents.num_rows(),
            _ => 0,
        })
    }

    /// Moves state to the disk until `bytes` of memory are free, or no more can go: first that of the
    /// operators that hold most.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn spill(&mut self, store: &SpillStore, bytes: usize) -> Result<()> {
        let mut wanted = bytes;
        for (id, _) in self.memory_by_node() {
            let Running::Operator(lanes) = &mut self.nodes[id.0] else { continue };
            let count = lanes.len();
            for (lane, operator) in lanes.iter_mut().enumerate() {
                // The lanes have about as much each.
                let share = wanted.div_ceil(count - lane);
                wanted = wanted.saturating_sub(operator.spill(store, share)?);
            }
            if wanted == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Gives the state that lane `lane` of `lanes` handed over to the lanes it now belongs to.
    fn spread(
        &self,
        node: NodeId,
        (lane, lanes): (usize, usize),
        state: Vec<StateBatch>,
        to: &mut [Vec<StateBatch>],
    ) -> Result<()> {
        let NodeKind::Operator(spec) = &self.dataflow.node(node).kind else {
            // The contents of a view or sink are kept by one lane.
            to[0].extend(state);
            return Ok(());
        };
        if lanes == self.lanes {
            to.get_mut(lane).ok_or_else(other_dataflow)?.extend(state);
            return Ok(());
        }
        for batch in state {
            match share(spec.as_ref(), self.dataflow.node(node).inputs.len(), batch.part) {
                Some(StateShare::First) => to[0].push(batch),
                Some(StateShare::Copied) if lane > 0 => {}
                Some(StateShare::Copied | StateShare::Shared) => {
                    to.iter_mut().for_each(|state| state.push(batch.clone()));
                }
                Some(StateShare::Keys(columns)) => spread_by_key(&batch, &columns, to)?,
                None => {
                    let owner = &self.dataflow.node(node).owner;
                    let message = format!(
                        "the {} of {owner} cannot go from {lanes} lanes to {}",
                        spec.name(),
                        self.lanes
                    );
                    return Err(Error::settings(message)
                        .with_hint(format!("go on with --parallelism {lanes}")));
                }
            }
        }
        Ok(())
    }
}

/// Which lanes a part belongs to: an operator that has all rows on the first lane lives there.
fn share(spec: &dyn OperatorSpec, inputs: usize, part: &str) -> Option<StateShare> {
    let single = (0..inputs).all(|input| spec.distribution(input) == Distribution::Single);
    if single { Some(StateShare::First) } else { spec.state_share(part) }
}

fn spread_by_key(batch: &StateBatch, columns: &[usize], to: &mut [Vec<StateBatch>]) -> Result<()> {
    let rows = batch.rows.num_rows();
    let keys = columns.iter().map(|column| batch.rows.columns().get(*column).map(Arc::clone));
    let keys = keys.collect::<Option<Vec<_>>>().ok_or_else(other_dataflow)?;
    let mut of_lane: Vec<Vec<u32>> = vec![Vec::new(); to.len()];
    for (row, hash) in (0_u32..).zip(hash_keys(&keys, rows)?) {
        of_lane[lane_of(hash, to.len())].push(row);
    }
    for (state, rows) in to.iter_mut().zip(of_lane) {
        if !rows.is_empty() {
            let rows = take_record_batch(&batch.rows, &UInt32Array::from(rows))?;
            state.push(StateBatch { part: batch.part, rows });
        }
    }
    Ok(())
}

fn other_dataflow() -> Error {
    Error::bug("a snapshot of another dataflow")
}

/// What `snapshots` amount to, as one snapshot: each operator says everything once.
///
/// # Errors
///
/// When the snapshots are of another dataflow.
pub fn fold(dataflow: &Arc<Dataflow>, lanes: usize, snapshots: Vec<Snapshot>) -> Result<Snapshot> {
    let mut executor = Executor::new(Arc::clone(dataflow), lanes)?;
    executor.restore(snapshots)?;
    let mut folded = Snapshot::empty(executor.epoch, executor.lanes);
    for (index, node) in executor.nodes.iter_mut().enumerate() {
        match node {
            Running::Operator(operators) => {
                for (lane, operator) in operators.iter_mut().enumerate() {
                    operator.forget_snapshots();
                    folded.add_operator(NodeId(index), lane, operator.snapshot()?);
                }
            }
            Running::Table { rows, .. } => folded.add_table(NodeId(index), rows.clone()),
            Running::Source(source) => {
                folded.sources.push((NodeId(index), source.record(index)));
            }
            Running::Result(Some(contents)) => {
                contents.forget_snapshots();
                folded.add_operator(NodeId(index), 0, contents.snapshot()?);
            }
            Running::ErrorStream | Running::Result(None) => {}
        }
    }
    folded.errors = executor.pending_errors;
    Ok(folded)
}
