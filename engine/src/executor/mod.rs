//! Runs a dataflow, one epoch at a time.
//!
//! An epoch visits the nodes in order. Each node's operator exists once per lane; between nodes an
//! exchange puts equal keys on the same lane. Lanes of a node work in parallel when the epoch is large
//! enough to pay for it, else one after another on the caller's thread. Nothing is in flight when the
//! epoch ends, so its end is the barrier.

mod exchange;
mod figures;
mod source;
mod state;

use std::sync::Arc;

use arrow::array::RecordBatch;

use self::exchange::{Lanes, exchange, share_out};
pub use self::figures::NodeFigures;
use self::source::{Arrived, SourceState};
pub use self::state::{Snapshot, fold};
use crate::clock::Clock;
use crate::dataflow::{Dataflow, Distribution, NodeId, NodeKind, OperatorSpec};
use crate::delta::{Delta, total_rows};
use crate::error::{Error, Result};
use crate::fault::{BadRow, error_stream_batch};
use crate::operators::contents::Contents;
use crate::operators::{EpochContext, Input, Operator, Output};
use crate::port::SourceEvent;
use crate::watermark::{Watermark, Watermarks};

/// The rows of a node's inputs from which its lanes run on threads of their own, and rows are spread
/// by several. Starting threads takes some tens of microseconds, about what a thousand rows cost.
const PARALLEL_ROWS_MIN: usize = 16_384;

/// Bad rows of one epoch that `error_stream` takes in at most: a queue with a size. What is beyond is
/// counted, like the others.
const PENDING_ERRORS_MAX: usize = 100_000;

/// What arrived for an epoch.
#[derive(Debug, Default)]
pub struct EpochInput {
    /// Events of source nodes, in order per source.
    pub events: Vec<(NodeId, SourceEvent)>,
    /// Tables that were (re-)read, whole.
    pub tables: Vec<(NodeId, Vec<RecordBatch>)>,
    /// Source nodes that will not yield another event.
    pub ended: Vec<NodeId>,
    /// Rows that sink nodes were given before and cannot write.
    pub bad: Vec<(NodeId, Vec<BadRow>)>,
}

/// What an epoch gave.
#[derive(Debug, Default)]
pub struct EpochOutput {
    /// The epoch's number, from 1.
    pub epoch: u64,
    /// The changes for each sink node that has any; not for those that take their result as a whole.
    pub sinks: Vec<(NodeId, Vec<Delta>)>,
    /// The nodes whose kept result has changed.
    pub changed: Vec<NodeId>,
    /// Every row set aside in this epoch, those the sources reported included.
    pub bad: Vec<BadRow>,
    /// Rows taken in from sources.
    pub rows_in: u64,
    /// The lowest watermark of the sources, in milliseconds since the Unix epoch, if one is known.
    pub watermark_ms: Option<i64>,
    /// The watermark of each source node that knows one, in milliseconds since the Unix epoch.
    pub watermarks: Vec<(NodeId, i64)>,
}

/// A running dataflow: operators and their state, spread over lanes.
#[derive(Debug)]
pub struct Executor {
    dataflow: Arc<Dataflow>,
    lanes: usize,
    epoch: u64,
    nodes: Vec<Running>,
    /// The watermarks each node had after the last epoch.
    watermarks: Vec<Watermarks>,
    /// Nodes fed by `error_stream`: their own bad rows are counted but not fed back.
    below_errors: Vec<bool>,
    pending_errors: Vec<BadRow>,
    /// What each node has done, and where the time it took comes from, if that is wanted.
    figures: Vec<NodeFigures>,
    clock: Option<Arc<dyn Clock>>,
}

/// A node at work.
#[derive(Debug)]
enum Running {
    Source(SourceState),
    ErrorStream,
    /// Its rows, and whether a snapshot has them.
    Table {
        rows: Vec<RecordBatch>,
        saved: bool,
    },
    Operator(Vec<Box<dyn Operator>>),
    /// A sink or view, and its rows if the executor keeps them.
    Result(Option<Box<Contents>>),
}

/// An epoch in progress: what the nodes so far gave.
struct Epoch {
    now_ms: i64,
    edges: Vec<Lanes>,
    /// For each node so far whether it will give any more rows.
    ended: Vec<bool>,
    arrived: Vec<Vec<SourceEvent>>,
    tables: Vec<Option<Vec<RecordBatch>>>,
    output: EpochOutput,
}

impl Epoch {
    fn has_ended(&self, inputs: &[NodeId]) -> bool {
        inputs.iter().all(|input| self.ended[input.0])
    }

    /// How many rows the nodes `inputs` gave.
    fn given(&self, inputs: &[NodeId]) -> u64 {
        let lanes = inputs.iter().flat_map(|input| &self.edges[input.0]);
        lanes.map(|deltas| total_rows(deltas) as u64).sum()
    }
}

impl Executor {
    /// Builds the operators of `dataflow`, each `lanes` times.
    ///
    /// # Errors
    ///
    /// When an operator cannot be built.
    pub fn new(dataflow: Arc<Dataflow>, lanes: usize) -> Result<Self> {
        let lanes = lanes.max(1);
        let mut nodes = Vec::with_capacity(dataflow.nodes.len());
        let mut below_errors: Vec<bool> = Vec::with_capacity(dataflow.nodes.len());
        for (id, node) in dataflow.iter() {
            nodes.push(match &node.kind {
                NodeKind::Source(source) => Running::Source(SourceState::new(source)),
                NodeKind::ErrorStream => Running::ErrorStream,
                NodeKind::Table(_) => Running::Table { rows: Vec::new(), saved: true },
                NodeKind::Operator(spec) => {
                    Running::Operator((0..lanes).map(|_| spec.build()).collect::<Result<_>>()?)
                }
                NodeKind::Sink(_) | NodeKind::View(_) => {
                    let contents = || Contents::new(Arc::clone(&node.schema), node.updating);
                    Running::Result(dataflow.keeps_result(id).then(contents).map(Box::new))
                }
            });
            let reads_errors = node.inputs.iter().any(|input| below_errors[input.0]);
            below_errors.push(reads_errors || matches!(node.kind, NodeKind::ErrorStream));
        }
        let watermarks = vec![Watermarks::default(); nodes.len()];
        let figures = vec![NodeFigures::default(); nodes.len()];
        Ok(Self {
            dataflow,
            lanes,
            epoch: 0,
            nodes,
            watermarks,
            below_errors,
            pending_errors: Vec::new(),
            figures,
            clock: None,
        })
    }

    /// Measures the time that the nodes take, by `clock`.
    pub fn measure(&mut self, clock: Arc<dyn Clock>) {
        self.clock = Some(clock);
    }

    /// What each node has done so far, in the order of the nodes.
    pub fn figures(&self) -> Vec<NodeFigures> {
        let mut figures = self.figures.clone();
        for (id, bytes) in self.memory_by_node() {
            figures[id.0].state_bytes = bytes;
        }
        for (figures, rows) in figures.iter_mut().zip(self.rows_by_node()) {
            figures.state_rows = rows;
        }
        figures
    }

    /// Runs one epoch at `now_ms` (milliseconds since the Unix epoch).
    ///
    /// # Errors
    ///
    /// What stops the application; rows that fail alone are in the output.
    pub fn step(&mut self, now_ms: i64, mut input: EpochInput) -> Result<EpochOutput> {
        self.epoch += 1;
        self.dataflow.epoch_time.set(now_ms);
        let unwritable = std::mem::take(&mut input.bad);
        let mut epoch = self.begin(now_ms, input);
        unwritable.into_iter().for_each(|(sink, bad)| self.set_aside(sink, bad, &mut epoch));
        let pending = std::mem::take(&mut self.pending_errors);
        let ended_before = self.sources().all(SourceState::has_ended) && epoch_is_empty(&epoch);
        let dataflow = Arc::clone(&self.dataflow);
        for (id, node) in dataflow.iter() {
            let began = self.clock.as_ref().map(|clock| clock.monotonic());
            let (lanes, watermarks) = match &node.kind {
                NodeKind::Source(_) => self.run_source(id, &mut epoch)?,
                NodeKind::ErrorStream => self.run_error_stream(&pending, now_ms, ended_before)?,
                NodeKind::Table(_) => self.run_table(id, &mut epoch)?,
                NodeKind::Operator(spec) => self.run_operator(id, spec.as_ref(), &mut epoch)?,
                NodeKind::Sink(_) | NodeKind::View(_) => self.run_result(id, &mut epoch)?,
            };
            let ended = self.clock.as_ref().map(|clock| clock.monotonic());
            let busy = ended.zip(began).map(|(ended, began)| ended.saturating_sub(began));
            self.figures[id.0].count(epoch.given(&node.inputs), &lanes, busy.unwrap_or_default());
            epoch.ended.push(match &self.nodes[id.0] {
                Running::Source(source) => source.has_ended(),
                Running::ErrorStream => ended_before,
                // What is read anew is there before the streams end.
                Running::Table { .. } => true,
                Running::Operator(_) | Running::Result(_) => epoch.has_ended(&node.inputs),
            });
            epoch.edges.push(lanes);
            self.watermarks[id.0] = watermarks;
        }
        epoch.output.watermark_ms = self.lowest_watermark();
        epoch.output.watermarks = self.source_watermarks().filter_map(known).collect();
        Ok(epoch.output)
    }

    /// The number of the last epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether `error_stream` is read and has rows that no epoch has taken in yet.
    pub fn has_pending_errors(&self) -> bool {
        !self.pending_errors.is_empty()
    }

    /// What the node `id` keeps of its result, as it was when the last epoch ended.
    pub fn contents(&self, id: NodeId) -> Option<&Contents> {
        match self.nodes.get(id.0)? {
            Running::Result(contents) => contents.as_deref(),
            _ => None,
        }
    }

    fn begin(&mut self, now_ms: i64, input: EpochInput) -> Epoch {
        let count = self.nodes.len();
        let mut arrived: Vec<Vec<SourceEvent>> = (0..count).map(|_| Vec::new()).collect();
        input.events.into_iter().for_each(|(node, event)| arrived[node.0].push(event));
        let mut tables: Vec<Option<Vec<RecordBatch>>> = vec![None; count];
        input.tables.into_iter().for_each(|(node, rows)| tables[node.0] = Some(rows));
        for node in input.ended {
            if let Running::Source(source) = &mut self.nodes[node.0] {
                source.end();
            }
        }
        let output = EpochOutput { epoch: self.epoch, ..EpochOutput::default() };
        let edges = Vec::with_capacity(count);
        Epoch { now_ms, edges, ended: Vec::with_capacity(count), arrived, tables, output }
    }

    fn sources(&self) -> impl Iterator<Item = &SourceState> {
        self.nodes.iter().filter_map(|node| match node {
            Running::Source(source) => Some(source),
            _ => None,
        })
    }

    fn lowest_watermark(&self) -> Option<i64> {
        match self.source_watermarks().map(|(_, watermark)| watermark).min() {
            Some(Watermark::At(bound)) => Some(bound),
            _ => None,
        }
    }

    fn source_watermarks(&self) -> impl Iterator<Item = (NodeId, Watermark)> {
        self.dataflow.iter().filter_map(|(id, node)| match &node.kind {
            NodeKind::Source(source) => Some((id, self.watermarks[id.0].get(source.rowtime)?)),
            _ => None,
        })
    }

    fn run_source(&mut self, id: NodeId, epoch: &mut Epoch) -> Result<(Lanes, Watermarks)> {
        let columns = self.dataflow.node(id).schema.fields().len();
        let Running::Source(source) = &mut self.nodes[id.0] else {
            return Err(Error::bug("a source node that is none"));
        };
        let mut arrived = Arrived::default();
        for event in std::mem::take(&mut epoch.arrived[id.0]) {
            source.take(event, &mut arrived)?;
        }
        let mut watermarks = Watermarks::none(columns);
        let watermark = source.advance(epoch.now_ms);
        source.timed_columns().for_each(|column| watermarks.0[column] = Some(watermark));
        let rows: usize = arrived.rows.iter().map(RecordBatch::num_rows).sum();
        epoch.output.rows_in += rows as u64;
        let lanes = share_out(arrived.rows.into_iter().map(Delta::append), rows, self.lanes);
        self.set_aside(id, arrived.bad, epoch);
        Ok((lanes, watermarks))
    }

    fn run_error_stream(
        &self,
        pending: &[BadRow],
        now_ms: i64,
        ended: bool,
    ) -> Result<(Lanes, Watermarks)> {
        let mut lanes = vec![Vec::new(); self.lanes];
        if !pending.is_empty() {
            lanes[0].push(Delta::append(error_stream_batch(pending, now_ms)?));
        }
        let mut watermarks = Watermarks::none(crate::fault::error_stream_schema().fields().len());
        let watermark = if ended { Watermark::End } else { Watermark::At(now_ms) };
        if let Some(rowtime) = watermarks.0.last_mut() {
            *rowtime = Some(watermark);
        }
        Ok((lanes, watermarks))
    }

    fn run_table(&mut self, id: NodeId, epoch: &mut Epoch) -> Result<(Lanes, Watermarks)> {
        let columns = self.dataflow.node(id).schema.fields().len();
        let Running::Table { rows: current, saved } = &mut self.nodes[id.0] else {
            return Err(Error::bug("a table node that is none"));
        };
        let mut lanes = vec![Vec::new(); self.lanes];
        if let Some(rows) = epoch.tables[id.0].take() {
            *saved = false;
            let before = std::mem::replace(current, rows.clone());
            let weighted = |batch: RecordBatch, weight: i64| Delta {
                weights: Some(vec![weight; batch.num_rows()].into()),
                batch,
            };
            lanes[0].extend(before.into_iter().map(|batch| weighted(batch, -1)));
            lanes[0].extend(rows.into_iter().map(|batch| weighted(batch, 1)));
        }
        Ok((lanes, Watermarks::none(columns)))
    }

    fn run_operator(
        &mut self,
        id: NodeId,
        spec: &dyn OperatorSpec,
        epoch: &mut Epoch,
    ) -> Result<(Lanes, Watermarks)> {
        let node = self.dataflow.node(id);
        let inputs: Vec<Watermarks> =
            node.inputs.iter().map(|input| self.watermarks[input.0].clone()).collect();
        let watermarks = spec.watermarks(&inputs);
        let spread = node
            .inputs
            .iter()
            .enumerate()
            .map(|(number, input)| exchange(&epoch.edges[input.0], &spec.distribution(number)));
        let mut spread: Vec<Lanes> = spread.collect::<Result<_>>()?;
        // An operator that wants all rows on the first lane lives there alone.
        let lives_on_one =
            (0..node.inputs.len()).all(|number| spec.distribution(number) == Distribution::Single);
        let lived_on = if lives_on_one { 1 } else { self.lanes };
        let mut work = Vec::with_capacity(lived_on);
        for lane in 0..lived_on {
            let of_lane = spread.iter_mut().zip(&inputs).map(|(lanes, watermarks)| Input {
                deltas: std::mem::take(&mut lanes[lane]),
                watermarks: watermarks.clone(),
            });
            work.push(of_lane.collect::<Vec<_>>());
        }
        let cx = EpochContext {
            epoch: self.epoch,
            now_ms: epoch.now_ms,
            owner: Arc::clone(&node.owner),
            ended: epoch.has_ended(&node.inputs),
        };
        let Running::Operator(operators) = &mut self.nodes[id.0] else {
            return Err(Error::bug("an operator node that is none"));
        };
        let mut lanes = Vec::with_capacity(self.lanes);
        let mut bad = Vec::new();
        for output in run_lanes(&cx, operators, work)? {
            lanes.push(output.deltas);
            bad.extend(output.bad);
        }
        lanes.resize(self.lanes, Vec::new());
        let known = operators.iter().take(lived_on).filter_map(|operator| operator.watermarks());
        let watermarks = known.reduce(|a, b| a.min(&b)).unwrap_or(watermarks);
        self.set_aside(id, bad, epoch);
        Ok((lanes, watermarks))
    }

    fn run_result(&mut self, id: NodeId, epoch: &mut Epoch) -> Result<(Lanes, Watermarks)> {
        let inputs = &self.dataflow.node(id).inputs;
        let deltas: Vec<Delta> =
            inputs.iter().flat_map(|input| epoch.edges[input.0].concat()).collect();
        if total_rows(&deltas) > 0 {
            if let Running::Result(Some(contents)) = &mut self.nodes[id.0] {
                contents.apply(&deltas)?;
                epoch.output.changed.push(id);
            } else {
                epoch.output.sinks.push((id, deltas));
            }
        }
        Ok((Lanes::new(), Watermarks::default()))
    }

    fn set_aside(&mut self, id: NodeId, bad: Vec<BadRow>, epoch: &mut Epoch) {
        let is_read = self.nodes.iter().any(|node| matches!(node, Running::ErrorStream));
        if is_read && !self.below_errors[id.0] {
            let room = PENDING_ERRORS_MAX.saturating_sub(self.pending_errors.len());
            self.pending_errors.extend(bad.iter().take(room).cloned());
        }
        epoch.output.bad.extend(bad);
    }
}

fn epoch_is_empty(epoch: &Epoch) -> bool {
    epoch.arrived.iter().all(Vec::is_empty)
}

/// Steps one node's operators, each with its lane's input; the outputs are in the lanes' order.
fn run_lanes(
    cx: &EpochContext,
    operators: &mut [Box<dyn Operator>],
    work: Vec<Vec<Input>>,
) -> Result<Vec<Output>> {
    let busy = |inputs: &Vec<Input>| inputs.iter().any(|input| !input.deltas.is_empty());
    let rows: usize = work.iter().flatten().map(|input| total_rows(&input.deltas)).sum();
    let pays = |inputs: &Vec<Input>| rows >= PARALLEL_ROWS_MIN && busy(inputs);
    each_lane(operators, work, pays, |operator, inputs| operator.step(cx, inputs))
}

/// Does `work` with the operator of each lane, on a thread of its own where that `pays`; what they give
/// is in the lanes' order.
fn each_lane<W: Send, T: Send>(
    operators: &mut [Box<dyn Operator>],
    work: Vec<W>,
    pays: impl Fn(&W) -> bool,
    run: impl Fn(&mut dyn Operator, W) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let run = &run;
    std::thread::scope(|scope| {
        let lanes = operators.iter_mut().zip(work).map(|(operator, work)| {
            if pays(&work) {
                Lane::Thread(scope.spawn(move || run(operator.as_mut(), work)))
            } else {
                Lane::Done(run(operator.as_mut(), work))
            }
        });
        // All are started before the first is waited for.
        let lanes: Vec<Lane<'_, T>> = lanes.collect();
        lanes.into_iter().map(Lane::join).collect()
    })
}

fn known((source, watermark): (NodeId, Watermark)) -> Option<(NodeId, i64)> {
    match watermark {
        Watermark::At(bound) => Some((source, bound)),
        Watermark::Unknown | Watermark::End => None,
    }
}

enum Lane<'scope, T> {
    Thread(std::thread::ScopedJoinHandle<'scope, Result<T>>),
    Done(Result<T>),
}

impl<T> Lane<'_, T> {
    fn join(self) -> Result<T> {
        match self {
            Self::Thread(handle) => {
                handle.join().unwrap_or_else(|_| Err(Error::bug("an operator panicked")))
            }
            Self::Done(output) => output,
        }
    }
}

/// The watermarks every node would have if its sources had some: which columns keep one. The planner
/// asks this to find out what can close a window.
pub fn timed_columns(dataflow: &Dataflow) -> Vec<Watermarks> {
    let mut all: Vec<Watermarks> = Vec::with_capacity(dataflow.nodes.len());
    for (_, node) in dataflow.iter() {
        let mut watermarks = Watermarks::none(node.schema.fields().len());
        match &node.kind {
            NodeKind::Source(source) => {
                for &column in source.time_columns.iter().chain([&source.rowtime]) {
                    watermarks.0[column] = Some(Watermark::Unknown);
                }
            }
            NodeKind::ErrorStream => {
                if let Some(rowtime) = watermarks.0.last_mut() {
                    *rowtime = Some(Watermark::Unknown);
                }
            }
            NodeKind::Operator(spec) => {
                let inputs: Vec<_> = node.inputs.iter().map(|id| all[id.0].clone()).collect();
                watermarks = spec.watermarks(&inputs);
            }
            NodeKind::Table(_) | NodeKind::Sink(_) | NodeKind::View(_) => {}
        }
        all.push(watermarks);
    }
    all
}
