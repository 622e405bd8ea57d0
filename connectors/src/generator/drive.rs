//! Hands the events of a feed to where they go, at the pace of the feed.
//!
//! The invariant: an event is handed on when it is due and not earlier, and after a slice of due
//! events everything handed on is flushed: nobody waits for a batch to fill.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::{Clock, Result};
use tokio::sync::watch;

use super::{Event, Feed};

/// How long due events are gathered before they are handed on together.
const SLICE: Duration = Duration::from_millis(50);

/// The most events of a slice, so that a stop is seen soon.
const SLICE_EVENTS_MAX: u64 = 10_000;

/// Where events go.
#[async_trait]
pub trait Target: Send {
    /// Takes an event; may hold it until the next flush.
    async fn put(&mut self, event: &Event) -> Result<()>;

    /// Hands on what is held.
    async fn flush(&mut self) -> Result<()>;
}

/// What was handed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriveReport {
    /// Events, all streams together.
    pub events: u64,
    /// Events by stream.
    pub by_stream: BTreeMap<&'static str, u64>,
}

/// Hands the events of `feed` to `target` until the feed ends or `stop` becomes true (or its sender
/// is gone).
///
/// # Errors
///
/// As the target's.
pub async fn drive(
    mut feed: Feed,
    target: &mut dyn Target,
    clock: &dyn Clock,
    mut stop: watch::Receiver<bool>,
) -> Result<DriveReport> {
    let mut report = DriveReport::default();
    let began = clock.monotonic();
    loop {
        let due = feed.options().due_count(clock.monotonic() - began);
        for _ in report.events..due.min(report.events.saturating_add(SLICE_EVENTS_MAX)) {
            let Some(event) = feed.next() else {
                target.flush().await?;
                return Ok(report);
            };
            target.put(&event).await?;
            report.events += 1;
            *report.by_stream.entry(event.stream).or_default() += 1;
        }
        target.flush().await?;
        if *stop.borrow() {
            return Ok(report);
        }
        if report.events < due {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = clock.sleep(SLICE) => {}
            // Either it becomes true, or nobody is left who could stop this.
            _ = stop.wait_for(|stop| *stop) => return Ok(report),
        }
    }
}
