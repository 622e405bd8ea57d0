//! Keeping the tail of commits short, and removing what no manifest needs.
//!
//! ```text
//!   base through 40 │ 41 42 43 … 72          fold ─►   base through 72 │ 73 …
//!   └─ reads all, restores the operators, lets them say everything once ─┘
//! ```
//!
//! A base is written under a name of its own and means nothing until a commit names it; what it stands
//! for is removed only after that. A base is folded when the tail is long and, after the first time,
//! not small beside the base: so a row of state is written again a handful of times, however long the
//! application runs.
//!
//! Removing is safe beside a process that slept meanwhile: only commits and bases *older* than those
//! the own newest manifest needs are removed, and a newer owner needs none of these.

use std::sync::Arc;

use super::fail_point::FailPoint;
use super::format::{Part, encode};
use super::manifest::{Base, Manifest, PartKind};
use super::protocol::{BASES, COMMITS, MARKERS, Owner, commit_number};
use super::recovery::{assemble, of_files, read_needed};
use super::store::{Created, StateStore, Stored};
use crate::dataflow::Dataflow;
use crate::error::{Error, Result};
use crate::executor::fold;

/// Commits of a tail from which folding is thought of. A restart reads them all.
const TAIL_COMMITS_MIN: u64 = 32;

/// Commits of a tail from which it is folded, however small.
const TAIL_COMMITS_MAX: u64 = 512;

/// Folds the commits of a job, from time to time.
#[derive(Debug)]
pub(crate) struct Compaction {
    dataflow: Arc<Dataflow>,
    /// A base that no commit names yet.
    ready: Option<Base>,
    /// The length of the tail at which the next look at sizes is due.
    look_at: u64,
}

impl Compaction {
    pub(crate) fn new(dataflow: Arc<Dataflow>) -> Self {
        Self { dataflow, ready: None, look_at: TAIL_COMMITS_MIN }
    }

    /// The base and the beginning of the tail that the commit after `head` names.
    pub(crate) fn next(&self, head: &Manifest) -> (Option<Base>, u64) {
        match &self.ready {
            Some(base) => (Some(base.clone()), base.through + 1),
            None => (head.base.clone(), head.tail_from),
        }
    }

    /// Removes what the newest commit no longer needs, and folds if it is time.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, or the state cannot be read: nothing is lost by it.
    pub(crate) async fn after_commit(&mut self, owner: &Owner) -> Result<()> {
        let (store, head) = (owner.store(), owner.head());
        if self.ready.take_if(|ready| head.base.as_ref() == Some(&*ready)).is_some() {
            self.look_at = TAIL_COMMITS_MIN;
            remove_older(&**store, head).await?;
        }
        let tail = head.number + 1 - head.tail_from;
        if tail < self.look_at || self.ready.is_some() {
            return Ok(());
        }
        self.look_at = tail + TAIL_COMMITS_MIN;
        let commits = store.list(COMMITS).await?;
        let is_tail =
            |s: &&Stored| commit_number(&s.name).is_some_and(|number| number >= head.tail_from);
        let tail_bytes: u64 = commits.iter().filter(is_tail).map(|stored| stored.bytes).sum();
        let bases = store.list(BASES).await?;
        let base = head.base.as_ref().and_then(|base| bases.iter().find(|s| s.name == base.name));
        if tail < TAIL_COMMITS_MAX && base.is_some_and(|base| tail_bytes < base.bytes / 2) {
            return Ok(());
        }
        let base = write_base(store, &self.dataflow, head).await?;
        self.ready = Some(base);
        Ok(())
    }
}

/// Writes the base that stands for all commits up to `head`.
async fn write_base(
    store: &Arc<dyn StateStore>,
    dataflow: &Arc<Dataflow>,
    head: &Manifest,
) -> Result<Base> {
    let files = read_needed(store, head).await?;
    let (dataflow, manifest) = (Arc::clone(dataflow), head.clone());
    let work = tokio::task::spawn_blocking(move || {
        let recovered = assemble(&manifest, &files)?;
        drop(files);
        let snapshot = fold(&dataflow, manifest.lanes, recovered.snapshots)?;
        let mut parts: Vec<Part> = Part::of_operators(snapshot.operators).collect();
        parts.extend(Part::of_tables(snapshot.tables));
        for (node, sink) in recovered.sinks {
            for rows in &sink.rows {
                let rows = of_files(rows, &sink.files)?;
                if rows.num_rows() > 0 {
                    parts.push(Part::of(node, PartKind::Sink, rows));
                }
            }
        }
        let mut base = Manifest { base: None, ..manifest };
        let bytes = encode(&mut base, parts)?;
        Ok::<_, Error>((base, bytes))
    });
    let (base, bytes) =
        work.await.map_err(|error| Error::bug(format!("folding ended early: {error}")))??;
    let name = format!("{BASES}/{:020}-{}", base.number, base.nonce);
    FailPoint::BaseEncoded.reach();
    let created = store.create(&name, bytes).await;
    FailPoint::BaseCreated.reach();
    match created {
        // A name is made of a commit's nonce: what is there under it is the same.
        Created::Yes | Created::Exists => Ok(Base { name, through: base.number }),
        Created::Unknown(error) => Err(error),
    }
}

/// Removes the commits and bases that `head` stands for, and old markers.
async fn remove_older(store: &dyn StateStore, head: &Manifest) -> Result<()> {
    for stored in store.list(COMMITS).await? {
        if commit_number(&stored.name).is_some_and(|number| number < head.tail_from) {
            store.remove(&stored.name).await?;
            FailPoint::CommitRemoved.reach();
        }
    }
    FailPoint::CommitsRemoved.reach();
    let oldest_base = head.base.as_ref().map_or("", |base| base.name.as_str());
    for stored in store.list(BASES).await? {
        if stored.name.as_str() < oldest_base {
            store.remove(&stored.name).await?;
        }
    }
    let markers = store.list(MARKERS).await?;
    for stored in markers.iter().rev().skip(1) {
        store.remove(&stored.name).await?;
    }
    Ok(())
}
