//! What a restart begins with: the newest commit, the files it needs, and what of them still counts.
//!
//! A node of the dataflow goes on with the state of the node that computed the same when the state was
//! written. What has no such node is named, and the state of a node is dropped only if its owner was
//! named for it: nothing is forgotten by accident.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use futures::{StreamExt, TryStreamExt};

use super::format::StateFile;
use super::manifest::{Manifest, NodeRecord, PartKind, SinkRecord, SourceRecord, same_nodes};
use super::protocol::commit_name;
use super::store::StateStore;
use crate::dataflow::NodeId;
use crate::error::{Error, Result};
use crate::executor::Snapshot;
use crate::operators::StateBatch;
use crate::port::{OutputFile, SinkState};

/// Files that are read at the same time.
const READS: usize = 8;

/// What of an earlier run's state a changed application does without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discard {
    /// Pumps, views and sinks whose state may be dropped, in any case of letters.
    pub owners: Vec<String>,
    /// Begin anew, with nothing.
    pub all: bool,
}

impl Discard {
    fn names(&self, node: &NodeRecord) -> bool {
        let named = |owner: &String| {
            owner.eq_ignore_ascii_case(&node.owner) || owner.eq_ignore_ascii_case(&node.name)
        };
        self.owners.iter().any(named)
    }
}

/// The manifest with which commit `number` takes over from `before`, for a dataflow of `nodes`.
///
/// # Errors
///
/// When the application has changed such that state would be lost that was not named, or the state was
/// put back to an earlier commit.
pub fn take_over(
    before: Option<&Manifest>,
    number: u64,
    nodes: Vec<NodeRecord>,
    discard: &Discard,
) -> Result<Manifest> {
    let fresh = |nodes: Vec<NodeRecord>| Manifest {
        tail_from: number,
        nodes: nodes.into_iter().map(|node| NodeRecord { since: number, ..node }).collect(),
        takes_over: true,
        ..Manifest::default()
    };
    check_put_back(before, number, discard)?;
    let Some(before) = before.filter(|_| !discard.all) else { return Ok(fresh(nodes)) };
    let places = same_nodes(&before.nodes, &nodes);
    let mut next = fresh(nodes);
    for (node, place) in before.nodes.iter().zip(&places) {
        if let Some(place) = place {
            next.nodes[*place].since = node.since;
        }
    }
    check_changes(before, &places, &next, discard)?;
    next.sources = sources(before, &places, &next.nodes);
    let sinks = before.sinks.iter().filter_map(|sink| {
        Some(SinkRecord { node: places.get(sink.node).copied().flatten()?, ..sink.clone() })
    });
    next.sinks = sinks.collect();
    Ok(Manifest {
        instance: before.instance.clone(),
        epoch: before.epoch,
        lanes: before.lanes,
        finished: before.finished,
        tail_from: before.tail_from,
        base: before.base.clone(),
        watermark_ms: before.watermark_ms,
        ..next
    })
}

/// Refuses to go on from a commit that is older than what is published: it would come again.
fn check_put_back(before: Option<&Manifest>, number: u64, discard: &Discard) -> Result<()> {
    let last = before.map_or(0, |before| before.number);
    if number == last + 1 || discard.all {
        return Ok(());
    }
    let there =
        if last == 0 { "has no commit".to_owned() } else { format!("ends with commit {last}") };
    let published = number - 1;
    Err(Error::settings(format!(
        "the state {there}, but the output of commit {published} is published"
    ))
    .with_hint(
        "going on from there would write rows twice: put the newer commits back, or begin anew \
             with --fresh and another place for the output",
    ))
}

/// Refuses to drop state, or to begin a query in the middle, unless that was asked for.
fn check_changes(
    before: &Manifest,
    places: &[Option<usize>],
    next: &Manifest,
    discard: &Discard,
) -> Result<()> {
    let holds = |index: usize, node: &NodeRecord| {
        node.stateful
            || before.sinks.iter().any(|sink| sink.node == index && !sink.files.is_empty())
    };
    let gone = before.nodes.iter().zip(places).enumerate();
    let gone = gone.filter(|(index, (node, place))| place.is_none() && holds(*index, node));
    let gone: Vec<&NodeRecord> = gone.map(|(_, (node, _))| node).collect();
    let new = next.nodes.iter().filter(|node| node.stateful && node.since == next.tail_from);
    let refused = gone.iter().copied().filter(|node| !discard.names(node));
    let begins = new.filter(|node| !discard.names(node));
    let mut owners = BTreeSet::new();
    let mut message = "the application is not the one whose state this is".to_owned();
    for (node, what) in refused.map(|n| (n, "is gone")).chain(begins.map(|n| (n, "is new"))) {
        // Writing into a String cannot fail.
        let _infallible = write!(message, "\n  {} of {} {what}", node.name, node.owner);
        owners.insert(node.owner.as_str());
    }
    if owners.is_empty() {
        return Ok(());
    }
    let owners: Vec<&str> = owners.into_iter().collect();
    Err(Error::settings(message).with_hint(format!(
        "--discard-state {} drops the state of these and keeps the rest (what is new sees only rows \
         from now on); --fresh begins anew",
        owners.join(",")
    )))
}

/// The sources of the new dataflow with what is known of their streams: of the same node, else of
/// another one that read the same stream.
fn sources(before: &Manifest, places: &[Option<usize>], nodes: &[NodeRecord]) -> Vec<SourceRecord> {
    let mut sources: Vec<SourceRecord> = Vec::new();
    for source in &before.sources {
        if let Some(node) = places.get(source.node).copied().flatten() {
            sources.push(SourceRecord { node, ..source.clone() });
        }
    }
    for (node, record) in nodes.iter().enumerate() {
        let known = sources.iter().any(|source| source.node == node);
        let of_stream = |source: &&SourceRecord| record.name == source_name(&source.stream);
        if !known && let Some(source) = before.sources.iter().find(of_stream) {
            sources.push(SourceRecord { node, ..source.clone() });
        }
    }
    sources
}

/// The name of the node that reads `stream`.
pub(crate) fn source_name(stream: &str) -> String {
    format!("source {stream}")
}

/// The state to begin with.
#[derive(Debug, Default)]
pub struct Recovered {
    /// What the executor is restored from, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// What each sink goes on with.
    pub sinks: Vec<(NodeId, SinkState)>,
    /// Bytes read.
    pub bytes: u64,
}

/// Reads what the commit `head` needs.
///
/// # Errors
///
/// When a file is missing or damaged.
pub async fn recover(store: &Arc<dyn StateStore>, head: &Manifest) -> Result<Recovered> {
    let files = read_needed(store, head).await?;
    let mut before: Option<&Manifest> = None;
    for (file, _) in files.iter().skip(usize::from(head.base.is_some())) {
        let manifest = &file.manifest;
        if before.is_some_and(|before| manifest.previous.as_ref() != Some(&before.nonce)) {
            let number = manifest.number;
            return Err(Error::data(format!("commit {number} does not follow the one before it")));
        }
        before = Some(manifest);
    }
    let head = head.clone();
    let work = tokio::task::spawn_blocking(move || assemble(&head, &files));
    work.await.map_err(|error| Error::bug(format!("recovery ended early: {error}")))?
}

/// The files that `head` needs, oldest first.
pub fn needed(head: &Manifest) -> Vec<String> {
    let base = head.base.iter().map(|base| base.name.clone());
    base.chain((head.tail_from..=head.number).map(commit_name)).collect()
}

/// Reads the files that `head` needs, with their sizes.
pub(crate) async fn read_needed(
    store: &Arc<dyn StateStore>,
    head: &Manifest,
) -> Result<Vec<(StateFile, u64)>> {
    let reads = needed(head).into_iter().map(|name| {
        let store = Arc::clone(store);
        async move { read(&*store, &name).await }
    });
    futures::stream::iter(reads).buffered(READS).try_collect().await
}

async fn read(store: &dyn StateStore, name: &str) -> Result<(StateFile, u64)> {
    let file = store.read(name).await?;
    let file = file.ok_or_else(|| {
        Error::data(format!("the state in {} lacks {name}", store.place()))
            .with_hint("put it back, or begin anew with --fresh")
    })?;
    Ok((StateFile::decode(name, &file)?, file.len() as u64))
}

/// Turns files into what executor and sinks are restored from.
pub(crate) fn assemble(head: &Manifest, files: &[(StateFile, u64)]) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    let mut sink_rows: Vec<Vec<RecordBatch>> = vec![Vec::new(); head.sinks.len()];
    for (file, bytes) in files {
        recovered.bytes += bytes;
        let manifest = &file.manifest;
        let places = same_nodes(&manifest.nodes, &head.nodes);
        let mut snapshot = Snapshot::empty(manifest.epoch, manifest.lanes);
        if let Some(before) = recovered.snapshots.last().filter(|_| manifest.takes_over) {
            snapshot.errors.clone_from(&before.errors);
        }
        for part in &manifest.parts {
            let old = &manifest.nodes[part.node];
            let place = places[part.node].filter(|place| head.nodes[*place].since == old.since);
            let Some(node) = place else { continue };
            let rows = file.rows(part)?;
            match part.kind {
                PartKind::Operator => {
                    let name = super::interned(&part.name)?;
                    let state = rows.into_iter().map(|rows| StateBatch { part: name, rows });
                    snapshot.add_operator(NodeId(node), part.lane, state.collect());
                }
                PartKind::Table => snapshot.add_table(NodeId(node), rows),
                PartKind::Errors => snapshot.add_errors(&rows)?,
                PartKind::Sink => {
                    let sink = head.sinks.iter().position(|sink| sink.node == node);
                    if let Some(sink) = sink {
                        sink_rows[sink].extend(rows);
                    }
                }
            }
        }
        recovered.snapshots.push(snapshot);
    }
    let sources = head.sources.iter().map(|source| (NodeId(source.node), source.clone()));
    match recovered.snapshots.last_mut() {
        Some(last) => last.set_sources(sources.collect()),
        None => return Err(Error::bug("a commit without itself")),
    }
    for (sink, rows) in head.sinks.iter().zip(sink_rows) {
        let rows = rows.iter().map(|rows| of_files(rows, &sink.files)).collect::<Result<_>>()?;
        let state = SinkState { begun: sink.begun, files: sink.files.clone(), rows };
        recovered.sinks.push((NodeId(sink.node), state));
    }
    Ok(recovered)
}

/// The rows that belong to `files`.
pub(crate) fn of_files(rows: &RecordBatch, files: &[OutputFile]) -> Result<RecordBatch> {
    let numbers = rows.columns().first().and_then(|c| c.as_primitive_opt::<UInt64Type>());
    let numbers = numbers.ok_or_else(|| Error::data("rows of a sink without file numbers"))?;
    let known: BTreeSet<u64> = files.iter().map(|file| file.number).collect();
    let kept: BooleanArray =
        numbers.values().iter().map(|number| Some(known.contains(number))).collect();
    Ok(filter_record_batch(rows, &kept)?)
}

#[cfg(test)]
mod tests;
