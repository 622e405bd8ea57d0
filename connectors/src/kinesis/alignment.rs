//! Shards that are read side by side in time.
//!
//! ```text
//!   shard a  ────────────────●······►  holds a page until b is near
//!   shard b  ─────────●                everybody waits for the slowest
//!                     └── 1 min ──┘
//! ```
//!
//! When hours of a stream are read anew, one shard is soon hours ahead of another, and everything ahead
//! of the slowest waits in windows and joins. So a page of records waits until every shard has come near
//! the time at which its first record arrived. What waits is that page and nothing else.
//!
//! The invariant: the shard whose next record is the oldest never waits. A shard that is at its tip, that
//! cannot be read or that has ended holds up nobody; the watermark is another matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How far a shard may be ahead of the slowest one, in milliseconds of arrival. Shards that are read as
/// their records come are within seconds of each other.
pub(super) const LEAD_MAX_MS: i64 = 60_000;

/// How far the shards of a stream have come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alignment(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// For each shard that others wait for: nothing that arrived earlier comes from it.
    reached: Mutex<BTreeMap<Arc<str>, i64>>,
    moved: Notify,
}

impl Alignment {
    fn reached(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, i64>> {
        self.0.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `shard` begins: the others wait for its first answer.
    pub(super) fn join(&self, shard: &Arc<str>) {
        self.reached().entry(Arc::clone(shard)).or_insert(i64::MIN);
    }

    /// Nothing of `shard` that arrived before `arrival_ms` is still to come.
    pub(super) fn reach(&self, shard: &Arc<str>, arrival_ms: i64) {
        let mut reached = self.reached();
        let before = reached.entry(Arc::clone(shard)).or_insert(arrival_ms);
        *before = arrival_ms.max(*before);
        drop(reached);
        self.0.moved.notify_waiters();
    }

    /// Nobody waits for `shard` any more, until it says again how far it is.
    pub(super) fn leave(&self, shard: &str) {
        if self.reached().remove(shard).is_some() {
            self.0.moved.notify_waiters();
        }
    }

    /// Whether the others wait for `shard`: of several that are as far, for the first one.
    pub(super) fn is_slowest(&self, shard: &str) -> bool {
        let reached = self.reached();
        reached.iter().min_by_key(|(_, at)| **at).is_some_and(|(slowest, _)| **slowest == *shard)
    }

    /// Returns when a shard has come further, or left.
    pub(super) fn moved(&self) -> Notified<'_> {
        self.0.moved.notified()
    }

    /// Whether no shard is further behind `arrival_ms` than it may be.
    pub(super) fn is_near(&self, arrival_ms: i64) -> bool {
        let slowest = self.reached().values().min().copied();
        slowest.is_none_or(|slowest| arrival_ms.saturating_sub(LEAD_MAX_MS) <= slowest)
    }

    /// Waits until no shard is further behind `arrival_ms` than it may be. Safe to cancel.
    pub(super) async fn wait(&self, arrival_ms: i64) {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            // Registered before it is looked, so that a move in between is not missed.
            moved.as_mut().enable();
            if self.is_near(arrival_ms) {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use millstream_engine::task::OwnedTask;
    use millstream_engine::{Clock, ManualClock};

    use super::*;
    use crate::kinesis::api::{KinesisApi, Page, Record, Resume, ShardInfo};
    use crate::kinesis::failure::Failure;
    use crate::kinesis::position::Standing;
    use crate::kinesis::sequence::SequenceNumber;
    use crate::kinesis::shard::tests::reading;
    use crate::kinesis::shard::{Reading, ShardReader, Step};

    const SHARDS: usize = 16;
    const MINUTE_MS: i64 = 60_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
    /// The time in which every shard is silent: nobody may wait for what does not come.
    const NIGHT: std::ops::Range<i64> = 2 * 60 * MINUTE_MS..7 * 60 * MINUTE_MS;

    /// On which a sleep is a turn for the others.
    #[derive(Debug)]
    struct Turns(ManualClock);

    #[async_trait]
    impl Clock for Turns {
        fn now_ms(&self) -> i64 {
            self.0.now_ms()
        }
        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
        async fn sleep(&self, _: Duration) {
            tokio::task::yield_now().await;
        }
    }

    /// A day of records, one a minute from each shard; some shards answer ten times as slowly, one
    /// nothing at first, one fails for a while, and one ends at noon.
    #[derive(Debug, Default)]
    struct Day {
        failures: AtomicU32,
    }

    #[async_trait]
    impl KinesisApi for Day {
        async fn list_shards(
            &self,
            _: Option<String>,
        ) -> Result<(Vec<ShardInfo>, Option<String>), Failure> {
            Ok(Default::default())
        }
        async fn shard_iterator(&self, shard: &str, _: &Resume) -> Result<String, Failure> {
            Ok(format!("{shard} 0 0"))
        }
        async fn retention(&self) -> Result<Duration, Failure> {
            Ok(Duration::from_secs(48 * 3600))
        }
        async fn get_records(&self, iterator: &str) -> Result<Page, Failure> {
            let mut parts = iterator.split(' ').map(|part| part.parse::<i64>().unwrap());
            let (shard, at, tries) =
                (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            for _ in 0..if shard % 2 == 0 { 1 } else { 10 } {
                tokio::task::yield_now().await;
            }
            if shard == 3 && tries < 50 {
                let next = Some(format!("{shard} {at} {}", tries + 1));
                return Ok(Page { next, millis_behind: DAY_MS - tries, ..Page::default() });
            }
            let fails = || self.failures.fetch_add(1, Ordering::Relaxed) < 500;
            if shard == 5 && at == 9 * 60 * MINUTE_MS && fails() {
                return Err(Failure::answered("InternalFailure", "", Some(500)));
            }
            let end = if shard == 7 { DAY_MS / 2 } else { DAY_MS };
            let arrival_ms = if NIGHT.contains(&at) { NIGHT.end } else { at };
            let record = Record {
                sequence_number: SequenceNumber::new((arrival_ms + 1).to_string()),
                partition_key: None,
                arrival_ms,
                data: Vec::new(),
            };
            let next = arrival_ms + MINUTE_MS;
            let next = (next < end).then(|| format!("{shard} {next} {tries}"));
            Ok(Page { records: vec![record], next, millis_behind: end - at, ..Page::default() })
        }
    }

    /// The time without the night.
    fn awake(at: i64) -> i64 {
        if at < NIGHT.end { at } else { at - (NIGHT.end - NIGHT.start) }
    }

    /// W10: how far the shards' records, as the engine gets them, are apart at most.
    async fn lead(align: bool) -> i64 {
        let (api, alignment) = (Arc::new(Day::default()), Alignment::default());
        let clock = Arc::new(Turns(ManualClock::new(DAY_MS)));
        let reading = Reading { alignment: alignment.clone(), ..reading(api, clock) };
        let at = Arc::new(Mutex::new(BTreeMap::new()));
        let lead = Arc::new(Mutex::new(0));
        let names: Vec<Arc<str>> = (0..SHARDS).map(|n| Arc::from(n.to_string())).collect();
        // Shard 5 fails for a while: nobody waits for it then, so it is not looked at.
        let looked = |name: &str| name != "5";
        for name in &names {
            alignment.join(name);
            at.lock().unwrap().insert(Arc::clone(name), 0_i64);
        }
        let tasks: Vec<OwnedTask<usize>> = names
            .into_iter()
            .map(|name| {
                let reading = match align {
                    true => reading.clone(),
                    false => Reading { alignment: Alignment::default(), ..reading.clone() },
                };
                let standing = Standing { resume: Resume::TrimHorizon, read_until_ms: None };
                let mut reader = ShardReader::new(reading, Arc::clone(&name), (standing, None), 1);
                let (alignment, at, lead) = (alignment.clone(), Arc::clone(&at), Arc::clone(&lead));
                OwnedTask::spawn(async move {
                    let mut read = 0;
                    loop {
                        match reader.next(&mut |_| ()).await.unwrap() {
                            Step::Records(records) => {
                                read += records.len();
                                let mut at = at.lock().unwrap();
                                let now = awake(records[0].arrival_ms);
                                at.insert(Arc::clone(&name), now);
                                let slowest = at.iter().filter(|(name, _)| looked(name));
                                let slowest = slowest.map(|(_, at)| *at).min().unwrap_or(now);
                                let mut lead = lead.lock().unwrap();
                                *lead = (*lead).max(now - slowest);
                            }
                            Step::Drained(_) => break,
                            _ => {}
                        }
                    }
                    at.lock().unwrap().remove(&name);
                    alignment.leave(&name);
                    read
                })
            })
            .collect();
        let mut read = Vec::new();
        for task in tasks {
            read.push(task.join().await.unwrap());
        }
        let day = usize::try_from((DAY_MS - (NIGHT.end - NIGHT.start)) / MINUTE_MS).unwrap();
        assert_eq!(read[0], day);
        assert_eq!(read.iter().sum::<usize>(), SHARDS * day - 720);
        *lead.lock().unwrap()
    }

    /// W10: a day is caught up with, and what is ahead of the slowest shard is a minute and a page.
    #[tokio::test]
    async fn w10_shards_of_different_speed_stay_near_each_other() {
        let aligned = lead(true).await;
        // A page is a minute.
        assert!(aligned <= 2 * MINUTE_MS, "{aligned}");
        let apart = lead(false).await;
        assert!(apart > 10 * 60 * MINUTE_MS, "they would be far apart: {apart}");
        let (aligned, apart) = (aligned / 1_000, apart / 1_000);
        println!(
            "evidence P10 a day from 16 shards: {aligned} s apart at most, unaligned {apart} s"
        );
    }

    #[tokio::test]
    async fn whoever_leaves_holds_up_nobody() {
        let (alignment, a, b) = (Alignment::default(), Arc::from("a"), Arc::from("b"));
        alignment.join(&a);
        alignment.reach(&b, 10 * MINUTE_MS);
        let waiting = {
            let alignment = alignment.clone();
            OwnedTask::spawn(async move { alignment.wait(10 * MINUTE_MS).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        alignment.reach(&a, 8 * MINUTE_MS);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        alignment.leave("a");
        waiting.join().await.unwrap();
        // Back again, where it was left: the others wait once more.
        alignment.reach(&a, 8 * MINUTE_MS);
        assert_eq!(alignment.reached().values().min(), Some(&(8 * MINUTE_MS)));
    }
}
