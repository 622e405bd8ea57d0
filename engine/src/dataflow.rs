//! The planned application: which operators there are and how they are connected. A value; building
//! one runs nothing.
//!
//! ```text
//!   source JOBS ──► filter ──► project ──┐
//!                                        ├──► join ──► project ──► sink COMPANY_JOBS
//!   source COMPANIES ────────────────────┘
//! ```
//!
//! Nodes are in topological order: a node's inputs come before it. A node may feed several others, so
//! pumps, views and sinks over one stream share its decoding, and equal subplans share their state.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::clock::EpochTime;
use crate::error::Result;
use crate::operators::{Operator, expire};
use crate::watermark::Watermarks;

/// The index of a node in its [`Dataflow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// A planned application.
#[derive(Debug, Clone, Default)]
pub struct Dataflow {
    /// The nodes; each one's inputs come before it.
    pub nodes: Vec<Node>,
    /// The sinks that take their result as a whole, not its changes: the executor keeps it for them.
    pub whole: BTreeSet<NodeId>,
    /// The order in which the result of a sink or view is shown, where its query asks for one.
    pub orders: BTreeMap<NodeId, Vec<SortKey>>,
    /// The clock of its epochs, for the expressions that tell the time.
    pub epoch_time: EpochTime,
}

/// A column that rows are shown in the order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Its index in the schema of the node.
    pub column: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether NULL comes before all values.
    pub nulls_first: bool,
}

/// One step of the dataflow.
#[derive(Debug, Clone)]
pub struct Node {
    /// The pump, view, sink or query it belongs to: where its errors are reported.
    pub owner: Arc<str>,
    /// The columns of its output.
    pub schema: SchemaRef,
    /// Whether its output can retract rows, and so carries weights.
    pub updating: bool,
    /// The nodes it reads.
    pub inputs: Vec<NodeId>,
    /// What it does.
    pub kind: NodeKind,
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Takes in the rows of a stream.
    Source(SourceNode),
    /// Takes in the rows of `error_stream`: what the other nodes set aside in earlier epochs.
    ErrorStream,
    /// Takes in a table, whole, before any stream moves.
    Table(TableNode),
    /// Computes.
    Operator(Arc<dyn OperatorSpec>),
    /// Hands its input to the sink of this name.
    Sink(String),
    /// Keeps its input's rows as they are now, for whoever reads the view of this name between epochs.
    View(String),
}

/// The columns of a stream the dataflow reads, and how its time goes.
#[derive(Debug, Clone)]
pub struct SourceNode {
    /// The stream's name in the catalog.
    pub stream: String,
    /// The columns read, as indices into the stream's schema; the node's schema is in this order.
    pub projection: Vec<usize>,
    /// Where `ROWTIME` is in the node's schema. It is always read.
    pub rowtime: usize,
    /// The other columns of the node's schema that hold the same time as `ROWTIME`.
    pub time_columns: Vec<usize>,
    /// What order rows come in.
    pub order: TimeOrder,
}

/// In what order the times of one source partition come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOrder {
    /// Made non-decreasing: a row with an earlier time gets the time of the row before it. Partitions
    /// that are idle follow the clock.
    Arrival,
    /// Made non-decreasing as well, but the time is the record's own: idle partitions stand still.
    Ascending,
    /// Out of order by at most this many milliseconds; what is older is late.
    Bounded(i64),
}

/// The columns of a table the dataflow reads.
#[derive(Debug, Clone)]
pub struct TableNode {
    /// The table's name in the catalog.
    pub table: String,
    /// The columns read, as indices into its declared columns.
    pub projection: Vec<usize>,
}

/// How an operator wants the rows of an input spread over the lanes that work in parallel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distribution {
    /// As they come.
    Any,
    /// Equal values of these columns on the same lane.
    Hash(Vec<usize>),
    /// Every row on every lane.
    Broadcast,
    /// All rows on the first lane.
    Single,
}

impl Distribution {
    /// Equal keys on the same lane; all rows on one, where there are no keys.
    pub fn by_keys(keys: &[usize]) -> Self {
        if keys.is_empty() { Self::Single } else { Self::Hash(keys.to_vec()) }
    }
}

/// Which lanes the rows of a part of an operator's state belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateShare {
    /// To the lane that owns the key in these columns of the state. They hold the same values in the
    /// same order as the columns of [`Distribution::Hash`] do.
    Keys(Vec<usize>),
    /// To the first lane.
    First,
    /// Every lane has the same rows.
    Copied,
    /// Every lane needs the rows of all lanes.
    Shared,
}

/// What `EXPLAIN` says of an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What it does: keys, predicates, expressions.
    pub detail: String,
    /// What it keeps between epochs; empty for a stateless operator.
    pub keeps: String,
    /// What frees it; empty where nothing does and the state grows for ever.
    pub freed_by: String,
}

/// An operator as planned: builds the running ones.
pub trait OperatorSpec: Any + fmt::Debug + Send + Sync {
    /// The operator's name, as in `EXPLAIN`.
    fn name(&self) -> &'static str;

    /// What it does and what it keeps.
    fn explain(&self) -> Explanation;

    /// How it wants input number `input` spread.
    fn distribution(&self, input: usize) -> Distribution;

    /// The watermarks of its output, given those of its inputs. Pure: the planner asks it as well, to
    /// learn which columns keep a watermark.
    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks;

    /// Which lanes the rows of `part` ([`crate::operators::StateBatch::part`]) belong to, so that a
    /// restart may use another number of lanes; `None` where that is not known, and it may not.
    fn state_share(&self, part: &str) -> Option<StateShare> {
        let _ = part;
        None
    }

    /// Whether what it keeps for ever is so much of every key, as the text says: it grows with the keys
    /// and not with the rows.
    fn grows_with_keys(&self) -> bool {
        false
    }

    /// A fresh operator for one lane, with no state.
    ///
    /// # Errors
    ///
    /// When DataFusion refuses an expression it planned itself: our bug.
    fn build(&self) -> Result<Box<dyn Operator>>;
}

impl Dataflow {
    /// Appends a node and returns its id.
    pub fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// The node `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// All ids with their nodes, inputs first.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    /// Whether the executor keeps the rows that node `id` is given.
    pub fn keeps_result(&self, id: NodeId) -> bool {
        matches!(self.node(id).kind, NodeKind::View(_)) || self.whole.contains(&id)
    }

    /// What the node `id` does and keeps.
    pub fn explain(&self, id: NodeId) -> Explanation {
        let node = self.node(id);
        if let NodeKind::Operator(spec) = &node.kind {
            let mut explanation = spec.explain();
            let is_free = explanation.keeps.is_empty() || !explanation.freed_by.is_empty();
            if !is_free && self.expires(id) == Some(true) {
                "the expiry of its input".clone_into(&mut explanation.freed_by);
            }
            return explanation;
        }
        if !self.keeps_result(id) {
            return Explanation::default();
        }
        let freed_by = if node.updating { "the changes that take them back" } else { "" };
        Explanation {
            detail: String::new(),
            keeps: "every row of the result".to_owned(),
            freed_by: freed_by.to_owned(),
        }
    }

    /// Whether the rows that node `id` is given are taken back after a while; none where some are not
    /// and are of no table either.
    fn expires(&self, id: NodeId) -> Option<bool> {
        let mut some = false;
        for input in &self.node(id).inputs {
            some |= match &self.node(*input).kind {
                NodeKind::Table(_) => false,
                NodeKind::Operator(_) if self.expires_rows(*input) => true,
                NodeKind::Operator(_) => self.expires(*input)?,
                _ => return None,
            };
        }
        Some(some)
    }

    /// Whether node `id` takes rows back because they have counted for long enough.
    pub fn expires_rows(&self, id: NodeId) -> bool {
        matches!(&self.node(id).kind, NodeKind::Operator(spec) if expire::expires(spec))
    }

    /// Whether the state of node `id` that nothing frees grows with its keys alone.
    pub fn grows_with_keys(&self, id: NodeId) -> bool {
        matches!(&self.node(id).kind, NodeKind::Operator(spec) if spec.grows_with_keys())
    }

    /// The nodes that keep state which nothing frees.
    pub fn unbounded_state(&self) -> Vec<(NodeId, Explanation)> {
        let explained = self.iter().map(|(id, _)| (id, self.explain(id)));
        explained.filter(|(_, e)| !e.keeps.is_empty() && e.freed_by.is_empty()).collect()
    }
}
