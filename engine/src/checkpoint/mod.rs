//! Checkpoints: making an epoch durable, and going on from it.
//!
//! ```text
//!   executor ──snapshot──► Snapshot ─┐
//!   sinks ───rows, files─► SinkState ┼─[format]─► one file ─[protocol]─► created, or not: the commit
//!   sources ──positions──────────────┘                                        │
//!                                                                             ▼ after it
//!   restart ◄─[recovery]─ base + commits ◄─[compaction]─ old commits      files are published
//! ```
//!
//! A checkpoint holds what has changed since the one before. The files of the newest commits, with the
//! base that stands for the older ones, are the state; [`manifest`] describes them, [`mod@format`] is how
//! they are written, and [`protocol`] is the order of the writes.
//!
//! The invariant: after a crash at any instruction, the newest commit says where the sources go on,
//! what the operators know and which output files there are or are still to be published, and these
//! three are of the same epoch.

pub(crate) mod compaction;
pub mod fail_point;
pub mod fingerprint;
pub mod format;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod in_memory;
pub mod manifest;
pub mod protocol;
pub mod recovery;
#[cfg(test)]
mod simulation;
pub mod store;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// The longest name of a part.
const PART_NAME_MAX: usize = 64;

/// How many names of parts there may be: each is kept for good.
const PART_NAMES_MAX: usize = 1_000;

/// `name` as the operators know the names of their parts.
///
/// # Errors
///
/// When it cannot be the name of a part.
fn interned(name: &str) -> Result<&'static str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Ok(known);
    }
    if name.len() > PART_NAME_MAX || names.len() >= PART_NAMES_MAX {
        return Err(Error::data("a part of the state has no name that an operator gives"));
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    Ok(name)
}
