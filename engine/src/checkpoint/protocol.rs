//! The order of durable writes, and why each step is safe.
//!
//! ```text
//!   claim:    read the newest commit n ─► create n+1 with generation+1          the one before is out
//!   commit:   create n+1 with all changes ─► is anything newer? ─► publish the files it closed
//!   then:     create the marker ─► fold old commits into a base ─► remove what no manifest needs
//! ```
//!
//! - **One object decides.** A commit is one conditional creation: of several processes that try a
//!   number, at most one has it. Everything a commit speaks of is in it or was written before.
//! - **An answer that is lost is no answer.** A creation that timed out, or met an object, may have
//!   been ours: the object is read back and its nonce compared. A body is made once per number and sent
//!   again byte by byte, so it does not matter which attempt arrived. A later number is never tried
//!   before this one is settled.
//! - **Only the highest number counts.** A process that slept while others went on, and removed old
//!   commits, can create a number that was there before. It finds out: after each creation, and before
//!   anything is published, the owner looks whether there is a higher number.
//! - **What was published stays published.** Commits that are older than the newest marker say that the
//!   state was put back: going on from it would publish again what is there. A newcomer refuses.
//! - **A newcomer fences** by creating the next number with a higher generation. The old owner's next
//!   creation meets it and fails; what it published until then, the newcomer publishes again, which
//!   changes nothing.
//! - **Every step has a fail point** ([`FailPoint`]): a test dies at each of them.
//! - **Publishing follows the commit**, never the other way round: a visible file is one that a commit
//!   lists, and after a crash the commit that lists it is found, and the file put again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fail_point::FailPoint;
use super::format::{Part, StateFile, encode};
use super::manifest::Manifest;
use super::store::{Created, StateStore};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// The folder of commits.
pub const COMMITS: &str = "commits";

/// The folder of the files that stand for many commits.
pub const BASES: &str = "bases";

/// The folder of the markers that say what is published.
pub const MARKERS: &str = "committed";

/// How the name of a marker ends.
const MARKER_ENDING: &str = ".json";

/// The folder of the objects with which a store is tried.
pub const PROBES: &str = "probes";

/// How often a store is asked to overwrite: once it may say by chance that it does not (a conflict).
const PROBES_MADE: u32 = 4;

/// How long an unsettled commit is tried again: longer than a store's usual trouble. Processing goes
/// on meanwhile.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The first wait before something is tried again; doubled up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait before something is tried again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often a newcomer tries to get ahead of an owner that keeps committing.
const CLAIMS_MAX: u32 = 20;

/// The name of commit `number`.
pub fn commit_name(number: u64) -> String {
    format!("{COMMITS}/{number:020}")
}

/// The number of the commit `name`.
pub fn commit_number(name: &str) -> Option<u64> {
    name.strip_prefix(COMMITS)?.strip_prefix('/')?.parse().ok()
}

/// The right to commit: whoever claimed an application last has it.
#[derive(Debug)]
pub struct Owner {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    seed: u64,
    /// The newest commit, which is this owner's.
    head: Manifest,
    /// How many nonces were made.
    nonces: u64,
    /// A mistake that the simulation must find.
    #[cfg(test)]
    pub(super) planted: Option<super::simulation::Bug>,
}

impl Owner {
    /// Takes an application over: `prepare` is given the newest commit, if there is one, and the number
    /// of the next one, and says what that is. The number does not follow if later ones are known to have
    /// been there. Number, generation and nonces are filled in. `prepare` may be called again, if another
    /// process commits meanwhile.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, or what `prepare` fails with.
    pub async fn claim(
        store: Arc<dyn StateStore>,
        clock: Arc<dyn Clock>,
        seed: u64,
        prepare: impl Fn(Option<&Manifest>, u64) -> Result<Manifest> + Send + Sync,
    ) -> Result<Self> {
        let mut owner = Self {
            store,
            clock,
            seed,
            head: Manifest::default(),
            nonces: 0,
            #[cfg(test)]
            planted: None,
        };
        for _ in 0..CLAIMS_MAX {
            // Before the commits: another process may go on, and says so after each of them.
            let published = newest_published(&*owner.store).await?;
            let newest = newest(&*owner.store).await?;
            FailPoint::ClaimRead.reach();
            let before = newest.as_ref().map(|file| &file.manifest);
            let last = before.map_or(0, |before| before.number).max(published);
            let mut next = prepare(before, last + 1)?;
            owner.head = before.cloned().unwrap_or_default();
            owner.head.number = last;
            owner.head.generation += 1;
            if next.instance.is_empty() {
                next.instance = owner.nonce();
            }
            match owner.commit(next, Vec::new()).await {
                Ok(_) => {
                    FailPoint::Claimed.reach();
                    return Ok(owner);
                }
                Err(error) if error.kind() == ErrorKind::Superseded => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::retry(format!("{} is committed to all the time", owner.store.place()))
            .with_hint("stop the other process, or try again"))
    }

    /// The newest commit.
    pub fn head(&self) -> &Manifest {
        &self.head
    }

    /// Where the commits are.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Where it takes the time from.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Makes `next` and `parts` the next commit. When this returns, what the commit closes may be
    /// published. Returns the commit's bytes.
    ///
    /// # Errors
    ///
    /// Of the kind [`ErrorKind::Superseded`] if another process has taken the application over; else if
    /// the store could not be used for a long time.
    pub(crate) async fn commit(&mut self, next: Manifest, parts: Vec<Part>) -> Result<u64> {
        let nonce = self.nonce();
        let is_small = parts.is_empty();
        let mut next = Manifest {
            number: self.head.number + 1,
            generation: self.head.generation,
            previous: Some(self.head.nonce.clone()).filter(|nonce| !nonce.is_empty()),
            written_ms: self.clock.now_ms(),
            writer: env!("CARGO_PKG_VERSION").to_owned(),
            nonce,
            ..next
        };
        if next.instance.is_empty() {
            next.instance.clone_from(&self.head.instance);
        }
        let encode = move || {
            let bytes = encode(&mut next, parts)?;
            Ok::<_, Error>((next.clone(), bytes))
        };
        // Encoding rows is work for a processor.
        let (next, bytes) = match is_small {
            true => encode()?,
            false => {
                let encoded = tokio::task::spawn_blocking(encode).await;
                encoded.map_err(|error| Error::bug(format!("encoding ended early: {error}")))??
            }
        };
        FailPoint::CommitEncoded.reach();
        let settled = self.settle(&next, &bytes).await;
        #[cfg(test)]
        if self.planted == Some(super::simulation::Bug::TakesLostForFailed) && settled.is_err() {
            self.head.number += 1;
        }
        settled?;
        self.head = next;
        #[cfg(test)]
        if self.planted == Some(super::simulation::Bug::LooksNotAhead) {
            return Ok(bytes.len() as u64);
        }
        FailPoint::CommitSettled.reach();
        self.look_ahead().await?;
        FailPoint::CommitOwned.reach();
        Ok(bytes.len() as u64)
    }

    /// Whether a newer commit than the owner's own exists: another process has taken over.
    ///
    /// # Errors
    ///
    /// As `Owner::commit`.
    pub async fn look_ahead(&self) -> Result<()> {
        let newest = self.persistently(|| newest_number(&*self.store)).await?;
        if newest.is_some_and(|number| number > self.head.number) {
            return Err(self.superseded());
        }
        Ok(())
    }

    /// Says that the files of the newest commit are published, for readers that want to know up to when
    /// the output is complete. The marker is a help, nothing depends on it: that it cannot be written is
    /// no error.
    pub(crate) async fn mark_published(&self) {
        let head = &self.head;
        let marker = serde_json::json!({
            "commit": head.number,
            "epoch": head.epoch,
            "written_ms": head.written_ms,
            "watermark_ms": head.watermark_ms,
            "files": head.sinks,
        });
        let name = format!("{MARKERS}/{:020}{MARKER_ENDING}", head.number);
        drop(self.store.create(&name, Bytes::from(marker.to_string())).await);
        FailPoint::Marked.reach();
    }

    /// Creates the commit, and finds out whether it was created.
    async fn settle(&self, next: &Manifest, bytes: &Bytes) -> Result<()> {
        let name = commit_name(next.number);
        let began = self.clock.monotonic();
        let mut pause = RETRY_PAUSE;
        loop {
            let created = self.store.create(&name, bytes.clone()).await;
            FailPoint::CommitCreated.reach();
            let lost = match created {
                Created::Yes => return Ok(()),
                Created::Exists => None,
                Created::Unknown(error) => Some(error),
            };
            #[cfg(test)]
            match (self.planted, &lost) {
                (Some(super::simulation::Bug::TakesExistsForOwn), None) => return Ok(()),
                (Some(super::simulation::Bug::TakesLostForFailed), Some(_)) => {
                    return Err(Error::retry("lost"));
                }
                _ => {}
            }
            // Whatever was said: what is there now is what counts.
            let failure = match self.store.read(&name).await {
                Ok(Some(found)) => {
                    let found = StateFile::decode(&name, &found)?;
                    let is_ours = found.manifest.nonce == next.nonce;
                    return if is_ours { Ok(()) } else { Err(self.superseded()) };
                }
                Ok(None) => lost,
                Err(error) => Some(error),
            };
            if self.clock.monotonic().saturating_sub(began) > SETTLE_TIMEOUT {
                let unsettled = Error::retry(format!("cannot commit to {}", self.store.place()));
                return Err(match failure {
                    Some(failure) => unsettled.with_source(failure),
                    None => unsettled,
                });
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// The answer of `call`, tried again while it fails.
    async fn persistently<T, F>(&self, call: impl Fn() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let began = self.clock.monotonic();
        let mut pause = RETRY_PAUSE;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let waited = self.clock.monotonic().saturating_sub(began);
            if error.kind() != ErrorKind::Retry || waited > SETTLE_TIMEOUT {
                return Err(error);
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    fn superseded(&self) -> Error {
        let place = self.store.place();
        Error::new(ErrorKind::Superseded, format!("another process has taken over {place}"))
            .with_hint("it goes on from the last checkpoint; this one has stopped")
    }

    /// A name that nobody else has.
    fn nonce(&mut self) -> String {
        self.nonces += 1;
        let mixed = crate::key_group::mix_number(self.seed, self.nonces);
        format!("{mixed:016x}")
    }
}

/// Makes sure that of two creations of an object one fails: without that, two processes could both
/// believe to own the application.
///
/// # Errors
///
/// When the store overwrites, or cannot be used.
pub async fn try_store(store: &dyn StateStore, seed: u64) -> Result<()> {
    let name = format!("{PROBES}/{seed:016x}");
    let place = store.place();
    let first = store.create(&name, Bytes::from_static(b"first")).await;
    if let Created::Unknown(error) = first {
        return Err(error);
    }
    let mut refused = true;
    for _ in 0..PROBES_MADE {
        match store.create(&name, Bytes::from_static(b"second")).await {
            Created::Exists => {}
            Created::Yes => refused = false,
            Created::Unknown(error) => return Err(error),
        }
    }
    let found = store.read(&name).await;
    store.remove(&name).await?;
    let is_kept = found?.is_some_and(|found| found == "first");
    match first {
        Created::Yes if refused && is_kept => Ok(()),
        _ => Err(Error::settings(format!(
            "{place} overwrites objects although it was asked to create them (If-None-Match)"
        ))
        .with_hint(
            "exactly-once needs a store with conditional writes; use another one for --state",
        )),
    }
}

/// The newest commit.
///
/// # Errors
///
/// When it cannot be read.
pub async fn newest(store: &dyn StateStore) -> Result<Option<StateFile>> {
    // Between the list and the read the owner may remove the commit, after writing newer ones.
    for _ in 0..CLAIMS_MAX {
        let Some(number) = newest_number(store).await? else { return Ok(None) };
        let name = commit_name(number);
        if let Some(file) = store.read(&name).await? {
            return StateFile::decode(&name, &file).map(Some);
        }
    }
    Err(Error::retry(format!("{} changes all the time", store.place())))
}

async fn newest_number(store: &dyn StateStore) -> Result<Option<u64>> {
    let listed = store.list(COMMITS).await?;
    Ok(listed.iter().filter_map(|stored| commit_number(&stored.name)).max())
}

/// The number of the newest commit whose output is known to be published; 0 if none is.
async fn newest_published(store: &dyn StateStore) -> Result<u64> {
    let number = |stored: &super::store::Stored| {
        let name = stored.name.strip_prefix(MARKERS)?.strip_prefix('/')?;
        name.strip_suffix(MARKER_ENDING)?.parse().ok()
    };
    Ok(store.list(MARKERS).await?.iter().filter_map(number).max().unwrap_or(0))
}
