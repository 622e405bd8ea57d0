//! Time is handed in.
//!
//! The engine and the connectors never read the system's clock themselves: they take a [`Clock`], so
//! that a test owns time and a failure has a seed.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

/// Where the time comes from.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since the Unix epoch, UTC. May jump.
    fn now_ms(&self) -> i64;

    /// Time since some fixed moment. Never goes back; for intervals and deadlines.
    fn monotonic(&self) -> Duration;

    /// Returns when `duration` has passed on this clock. Safe to cancel.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time enters")]
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time enters")]
    fn now_ms(&self) -> i64 {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the system's time enters")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Clone)]
pub struct ManualClock {
    inner: Arc<ManualInner>,
}

#[derive(Debug)]
struct ManualInner {
    /// Unix time at which the clock was made, and how far it was moved since.
    time: Mutex<(i64, Duration)>,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at `start_ms` (milliseconds since the Unix epoch).
    pub fn new(start_ms: i64) -> Self {
        let time = Mutex::new((start_ms, Duration::ZERO));
        Self { inner: Arc::new(ManualInner { time, moved: Notify::new() }) }
    }

    /// Moves the clock forward and wakes whoever's sleep is over.
    pub fn advance(&self, by: Duration) {
        self.inner.time.lock().unwrap_or_else(PoisonError::into_inner).1 += by;
        self.inner.moved.notify_waiters();
    }

    fn read(&self) -> (i64, Duration) {
        *self.inner.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        let (start_ms, moved) = self.read();
        start_ms.saturating_add(i64::try_from(moved.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.read().1
    }

    async fn sleep(&self, duration: Duration) {
        let deadline = self.monotonic() + duration;
        loop {
            let moved = self.inner.moved.notified();
            tokio::pin!(moved);
            // Registered before the time is read, so that a move in between is not missed.
            moved.as_mut().enable();
            if self.monotonic() >= deadline {
                return;
            }
            moved.await;
        }
    }
}

/// When the running epoch of a dataflow began: what expressions that tell the time read. The executor
/// sets it; every clone is the same time.
#[derive(Debug, Clone, Default)]
pub struct EpochTime(Arc<AtomicI64>);

impl EpochTime {
    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// An epoch begins.
    pub(crate) fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_sleep_ends_exactly_when_the_clock_reaches_it() {
        let clock = ManualClock::new(1_000);
        let sleeper = {
            let clock = clock.clone();
            crate::task::OwnedTask::spawn(async move { clock.sleep(Duration::from_secs(2)).await })
        };
        tokio::task::yield_now().await;
        clock.advance(Duration::from_millis(1_999));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_millis(1));
        sleeper.join().await.unwrap();
        assert_eq!(clock.now_ms(), 3_000);
    }
}
