//! Jobs whose state outlives them: taking an application over and going on with it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::Until;
use millstream_connectors::state::ObjectState;
use millstream_engine::checkpoint::manifest::Manifest;
use millstream_engine::checkpoint::protocol::{Owner, try_store};
use millstream_engine::checkpoint::recovery::{Discard, recover, take_over};
use millstream_engine::checkpoint::store::StateStore;
use millstream_engine::checkpoint::{fingerprint, manifest};
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::definition::RelationDef;
use millstream_engine::job::Durability;
use millstream_engine::port::Resume;

use super::Session;
use super::application::ends;
use crate::failure::Failure;

/// Options that say how a stream is read or a sink written, not what it is: they may change between
/// runs.
const TUNING: [&str; 13] = [
    "start",
    "start_timestamp",
    "poll_interval",
    "consumer",
    "consumer_name",
    "idle_timeout",
    "on_data_loss",
    "payload_max",
    "refresh",
    "rate",
    "count",
    "file_size",
    "roll_interval",
];

/// How the state of an application is kept.
#[derive(Debug, Clone)]
pub struct StateSettings {
    /// Where.
    pub place: StatePlace,
    /// How long rows wait for a checkpoint.
    pub interval: Duration,
    /// What of the state of an earlier run is dropped.
    pub discard: Discard,
}

/// Where the state of an application is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatePlace {
    /// Where a person said.
    Given(String),
    /// In this folder, if the application has sinks and its input never ends: one that ends is simply
    /// run again.
    IfEndless(PathBuf),
}

impl Session {
    /// Takes over the application that `dataflow` runs, if its state is to be kept.
    pub(super) async fn take_over(
        &mut self,
        dataflow: &Dataflow,
    ) -> Result<Option<Durability>, Failure> {
        let Some(settings) = self.settings.state.clone() else { return Ok(None) };
        let context = self.settings.context.clone();
        let place = match &settings.place {
            StatePlace::Given(place) => place.clone(),
            StatePlace::IfEndless(_) if context.until == Until::CaughtUp => return Ok(None),
            StatePlace::IfEndless(_) if self.is_bounded(dataflow) => return Ok(None),
            StatePlace::IfEndless(_) if !self.writes(dataflow) => return Ok(None),
            StatePlace::IfEndless(folder) => folder.display().to_string(),
        };
        let store = ObjectState::open(&place, &context.base, true).await?;
        let store: Arc<dyn StateStore> = Arc::new(store);
        try_store(&*store, context.seed).await?;
        let nodes = fingerprint::nodes(dataflow, &|kind| self.details(kind));
        let prepare = |before: Option<&Manifest>, number| {
            take_over(before, number, nodes.clone(), &settings.discard)
        };
        let clock = Arc::clone(&context.clock);
        let owner = Owner::claim(Arc::clone(&store), clock, context.seed, prepare).await?;
        let recovered = recover(&store, owner.head()).await?;
        if owner.head().finished {
            self.console.note(&format!(
                "the application has ended already, all its output is written; its state is in \
                 {place} (--fresh runs it anew)"
            ));
        }
        let sources = dataflow.iter().filter_map(|(id, node)| match &node.kind {
            NodeKind::Source(source) => Some((id, self.catalog.streams.get(&source.stream)?)),
            _ => None,
        });
        // A run that ends when it has caught up is one of several: windows stay open for the next.
        let pausing = sources.filter(|(_, def)| !ends(def)).map(|(id, _)| id);
        let pausing: BTreeSet<NodeId> = match context.until {
            Until::CaughtUp => pausing.collect(),
            Until::Ended => BTreeSet::new(),
        };
        Ok(Some(Durability { owner, recovered, interval: settings.interval, pausing }))
    }

    fn writes(&self, dataflow: &Dataflow) -> bool {
        dataflow.nodes.iter().any(|node| match &node.kind {
            NodeKind::Sink(name) => self.catalog.sinks.contains_key(name),
            _ => false,
        })
    }

    /// What makes a source, table or sink what it is, beside its columns.
    fn details(&self, kind: &NodeKind) -> String {
        let def = match kind {
            NodeKind::Source(source) => self.catalog.streams.get(&source.stream),
            NodeKind::Table(table) => self.catalog.tables.get(&table.table),
            NodeKind::Sink(name) => self.catalog.sinks.get(name).map(|(def, _)| def),
            NodeKind::ErrorStream | NodeKind::Operator(_) | NodeKind::View(_) => None,
        };
        def.map(identity).unwrap_or_default()
    }
}

fn identity(def: &RelationDef) -> String {
    let mut options: Vec<String> = def
        .options
        .iter()
        .filter(|(name, _)| !TUNING.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    options.sort_unstable();
    options.join(" ")
}

/// Where the source `node` goes on.
pub(super) fn resume(durability: &Durability, node: NodeId) -> Resume {
    let sources = &durability.owner.head().sources;
    let known = sources.iter().find(|source| source.node == node.0);
    known.map(manifest::SourceRecord::resume).unwrap_or_default()
}
