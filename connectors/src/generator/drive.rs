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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use millstream_engine::ManualClock;
    use millstream_engine::task::OwnedTask;

    use super::*;
    use crate::generator::targets::{FolderTarget, LineFormat, WriterTarget};
    use crate::generator::{FeedKind, FeedOptions};

    /// Counts what was put and flushed.
    #[derive(Debug, Default, Clone)]
    struct Counter(Arc<Mutex<(u64, u64)>>);

    #[async_trait]
    impl Target for Counter {
        async fn put(&mut self, _: &Event) -> Result<()> {
            self.0.lock().unwrap().0 += 1;
            Ok(())
        }
        async fn flush(&mut self) -> Result<()> {
            let mut counts = self.0.lock().unwrap();
            counts.1 = counts.0;
            Ok(())
        }
    }

    fn feed(kind: FeedKind, rate_per_s: u32, count: Option<u64>) -> Feed {
        Feed::new(kind, FeedOptions { rate_per_s, count, ..FeedOptions::default() })
    }

    #[tokio::test]
    async fn the_clock_sets_the_pace_and_a_stop_is_heeded() {
        let (clock, counter) = (ManualClock::new(0), Counter::default());
        let (stop, stopped) = watch::channel(false);
        let task = {
            let (clock, mut target) = (clock.clone(), counter.clone());
            OwnedTask::spawn(async move {
                drive(feed(FeedKind::Ticker, 100, None), &mut target, &clock, stopped).await
            })
        };
        let flushed = || async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            counter.0.lock().unwrap().1
        };
        assert_eq!(flushed().await, 1, "the first is due at once");
        for tenths in 1..=30 {
            clock.advance(Duration::from_millis(100));
            assert_eq!(flushed().await, 10 * tenths + 1);
        }
        stop.send(true).unwrap();
        let report = task.join().await.unwrap().unwrap();
        assert_eq!(report.events, 301);
        assert_eq!(report.by_stream["ticker"], 301);
    }

    #[tokio::test]
    async fn files_hold_each_stream_with_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let mut target = FolderTarget::open(folder.path(), LineFormat::Csv).await.unwrap();
        let (_stop, stopped) = watch::channel(false);
        let clock = ManualClock::new(0);
        let tenants = feed(FeedKind::Tenants, 0, Some(2_000));
        let report = drive(tenants, &mut target, &clock, stopped).await.unwrap();
        assert_eq!(report.by_stream.values().sum::<u64>(), 2_000);
        for (stream, events) in report.by_stream {
            let path = folder.path().join(format!("{stream}.csv"));
            let text = std::fs::read_to_string(path).unwrap();
            let header = text.lines().next().unwrap();
            assert!(header.starts_with("company_id,"), "{header}");
            assert_eq!(text.lines().count() as u64, events + 1);
            let commas = header.matches(',').count();
            assert!(text.lines().all(|line| line.matches(',').count() == commas));
        }
    }

    #[tokio::test]
    async fn a_writer_gets_the_stream_it_asked_for() {
        let mut bytes = Vec::new();
        let mut target = WriterTarget::new(&mut bytes, LineFormat::Json, Some("users"));
        let (_stop, stopped) = watch::channel(false);
        let clock = ManualClock::new(0);
        let tenants = feed(FeedKind::Tenants, 0, Some(500));
        let report = drive(tenants, &mut target, &clock, stopped).await.unwrap();
        drop(target);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count() as u64, report.by_stream["users"]);
        for line in text.lines() {
            let user: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(user["action"].is_string());
        }
    }
}
