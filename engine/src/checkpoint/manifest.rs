//! What a checkpoint says of itself: the head of every state file, as JSON.
//!
//! The manifest of the newest commit alone says what the application's state is: where its sources
//! stand, which output is open or about to be published, which earlier files hold the rest of the
//! operators' state. Fields may be added; a reader of an older version ignores them. What changes the
//! meaning of a field raises [`super::format::VERSION`].

use serde::{Deserialize, Serialize};

use crate::port::{OutputFile, PartitionId, PartitionProgress, Position, Resume};

/// The head of a state file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The commit's number: one more than that of the commit before.
    pub number: u64,
    /// How often the application was taken over. The owner of the highest one owns the state.
    pub generation: u64,
    /// Tells this file from any other one of its number.
    pub nonce: String,
    /// The nonce of the commit before; `None` for the first.
    pub previous: Option<String>,
    /// Names the application's life since it began anew: part of the names of output files.
    pub instance: String,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_ms: i64,
    /// The version of the program that wrote it.
    pub writer: String,
    /// The last epoch whose effects it holds.
    pub epoch: u64,
    /// How many lanes the parts below are spread over.
    pub lanes: usize,
    /// Whether it only takes the application over and changes nothing.
    #[serde(default)]
    pub takes_over: bool,
    /// Whether every source has ended and everything is written.
    pub finished: bool,
    /// The first of the commits whose parts are needed.
    pub tail_from: u64,
    /// The file that holds what the commits before that held.
    pub base: Option<Base>,
    /// The nodes of the dataflow.
    pub nodes: Vec<NodeRecord>,
    /// Where the sources stand.
    pub sources: Vec<SourceRecord>,
    /// What the sinks hold.
    pub sinks: Vec<SinkRecord>,
    /// The lowest watermark of the sources, in milliseconds since the Unix epoch.
    pub watermark_ms: Option<i64>,
    /// The rows of this file: what has changed since the commit before.
    pub parts: Vec<PartRecord>,
}

/// A file that stands for the commits up to `through`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its name.
    pub name: String,
    /// The last commit whose parts it holds.
    pub through: u64,
}

/// A node of the dataflow, told from others by what it computes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Equal for nodes that compute the same of the same input.
    pub fingerprint: String,
    /// What it is: `HashJoin`, `source JOBS`.
    pub name: String,
    /// The pump, view, sink or query it belongs to.
    pub owner: String,
    /// Whether it keeps rows between epochs.
    pub stateful: bool,
    /// The commit that its state begins with: what earlier ones hold of it counts no more.
    pub since: u64,
}

/// Where a source stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its node.
    pub node: usize,
    /// The stream it reads.
    pub stream: String,
    /// Its watermark; `None` while nothing is known, the largest number at the end.
    pub watermark: Option<i64>,
    /// Its partitions.
    pub partitions: Vec<PartitionRecord>,
}

/// Where a partition of a source stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Its name.
    pub name: String,
    /// After the last record whose effects the checkpoint holds.
    pub position: Option<String>,
    /// Its watermark; `None` before its first row.
    pub watermark: Option<i64>,
    /// How it is.
    pub status: PartitionStatus,
    /// The partitions it continues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
}

/// How a partition is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionStatus {
    /// It may yield rows at any time.
    #[default]
    Active,
    /// It was read to its present end.
    Idle,
    /// It was read to its end.
    Finished,
}

/// What a sink holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRecord {
    /// Its node.
    pub node: usize,
    /// Its name.
    pub name: String,
    /// How many files it has begun.
    pub begun: u64,
    /// The files that are open, or closed by this commit and to be published after it.
    pub files: Vec<OutputFile>,
}

/// What rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// The state of an operator: what was added since the commit before.
    Operator,
    /// A table as it was read last, whole.
    Table,
    /// Rows on their way to `error_stream`, all of them.
    Errors,
    /// Rows of a sink's files, since the commit before; the first column is the file's number.
    Sink,
}

/// Rows in a state file: an Arrow IPC stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The node they belong to.
    pub node: usize,
    /// What they are.
    pub kind: PartKind,
    /// The lane that had them.
    pub lane: usize,
    /// The operator's name for them.
    pub name: String,
    /// Where the stream begins, behind the manifest.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// How many rows it holds.
    pub rows: u64,
}

/// For each of `old` the place of the same node in `new`, if it is there. Nodes that compute the same
/// are taken in their order.
pub fn same_nodes(old: &[NodeRecord], new: &[NodeRecord]) -> Vec<Option<usize>> {
    let mut taken = vec![false; new.len()];
    let places = old.iter().map(|node| {
        let free = |(index, other): &(usize, &NodeRecord)| {
            !taken[*index] && other.fingerprint == node.fingerprint
        };
        let place = new.iter().enumerate().find(free).map(|(index, _)| index)?;
        taken[place] = true;
        Some(place)
    });
    places.collect()
}

impl SourceRecord {
    /// Where the source goes on.
    pub fn resume(&self) -> Resume {
        let partitions = self.partitions.iter().map(|partition| {
            let progress = PartitionProgress {
                position: partition.position.clone().map(Position),
                finished: partition.status == PartitionStatus::Finished,
                parents: partition.parents.iter().map(|p| PartitionId::from(p.as_str())).collect(),
            };
            (PartitionId::from(partition.name.as_str()), progress)
        });
        Resume { partitions: partitions.collect() }
    }
}
