//! The memory that pages of records share before they are rows.
//!
//! An answer may have 10 MiB, and a stream many shards: read all at once they would be more than the
//! machine has. So a read waits until there is room for what its shard is expected to answer, which is
//! somewhat more than the last time, or, the first time, as much as there can be.
//!
//! The invariant: the shard that the others wait for ([`super::alignment`]) never waits for room that
//! they have. It may make the room short; then whoever has to wait for the others gives its page back and
//! reads it again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::alignment::Alignment;

/// Bytes of pages that are in memory at the same time, about.
pub(super) const ROOM_BYTES: u64 = 64 << 20;

/// The most that an answer can have. Source: `GetRecords`, Kinesis API reference.
pub(super) const PAGE_BYTES_MAX: u64 = 10 << 20;

/// What is expected at least.
const PAGE_BYTES_MIN: u64 = 256 << 10;

/// How much of it is taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    taken: Mutex<u64>,
    freed: Notify,
}

/// Room that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    bytes: u64,
}

impl Room {
    fn taken(&self) -> MutexGuard<'_, u64> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` if there are so many, or in any case.
    fn try_take(&self, bytes: u64, in_any_case: bool) -> bool {
        let mut taken = self.taken();
        let fits = in_any_case || *taken + bytes <= ROOM_BYTES;
        if fits {
            *taken += bytes;
        }
        fits
    }

    /// Whether more is taken than there is.
    pub(super) fn is_short(&self) -> bool {
        *self.taken() > ROOM_BYTES
    }

    /// Waits until there is room for an answer of `shard`, the last one having had `last` bytes. Safe to
    /// cancel.
    pub(super) async fn take(
        &self,
        alignment: &Alignment,
        shard: &str,
        last: Option<u64>,
    ) -> Taken {
        let expected = last.map_or(PAGE_BYTES_MAX, |last| last.saturating_mul(2));
        let bytes = expected.clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
        loop {
            let (freed, moved) = (self.0.freed.notified(), alignment.moved());
            tokio::pin!(freed, moved);
            // Registered before it is looked, so that a change in between is not missed.
            freed.as_mut().enable();
            moved.as_mut().enable();
            if self.try_take(bytes, alignment.is_slowest(shard)) {
                return Taken { room: self.clone(), bytes };
            }
            tokio::select! {
                () = freed => {}
                () = moved => {}
            }
        }
    }
}

impl Taken {
    /// The answer is there and has `bytes`.
    pub(super) fn resize(&mut self, bytes: u64) {
        let mut taken = self.room.taken();
        *taken = (*taken - self.bytes).saturating_add(bytes);
        drop(taken);
        self.bytes = bytes;
        self.room.0.freed.notify_waiters();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.room.taken() -= self.bytes;
        self.room.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use millstream_engine::SystemClock;
    use millstream_engine::task::OwnedTask;

    use super::*;
    use crate::kinesis::api::{KinesisApi, Page, Record, Resume, ShardInfo};
    use crate::kinesis::failure::Failure;
    use crate::kinesis::position::Standing;
    use crate::kinesis::sequence::SequenceNumber;
    use crate::kinesis::shard::tests::reading;
    use crate::kinesis::shard::{Reading, ShardReader, Step};

    const SHARDS: u64 = 32;
    const PAGES: u64 = 3;

    /// Shards whose every answer has 10 MiB, a quarter of an hour after the one before. Looks how much
    /// room is taken while it answers.
    #[derive(Debug)]
    struct Large {
        room: Room,
        most: AtomicU64,
        answers: AtomicU64,
    }

    #[async_trait]
    impl KinesisApi for Large {
        async fn list_shards(
            &self,
            _: Option<String>,
        ) -> Result<(Vec<ShardInfo>, Option<String>), Failure> {
            Ok(Default::default())
        }
        async fn shard_iterator(&self, _: &str, _: &Resume) -> Result<String, Failure> {
            Ok("1".to_owned())
        }
        async fn retention(&self) -> Result<Duration, Failure> {
            Ok(Duration::from_secs(48 * 3600))
        }
        async fn get_records(&self, iterator: &str) -> Result<Page, Failure> {
            tokio::task::yield_now().await;
            self.most.fetch_max(*self.room.taken(), Ordering::Relaxed);
            self.answers.fetch_add(1, Ordering::Relaxed);
            let page: u64 = iterator.parse().unwrap();
            let record = Record {
                sequence_number: SequenceNumber::new(page.to_string()),
                partition_key: None,
                arrival_ms: i64::try_from(page * 900_000).unwrap(),
                data: vec![0; usize::try_from(PAGE_BYTES_MAX).unwrap()],
            };
            let next = (page < PAGES).then(|| (page + 1).to_string());
            Ok(Page { records: vec![record], next, millis_behind: 9, ..Page::default() })
        }
    }

    #[tokio::test]
    async fn k32_large_answers_from_many_shards_share_the_room() {
        let (room, alignment) = (Room::default(), Alignment::default());
        let (most, answers) = (AtomicU64::new(0), AtomicU64::new(0));
        let api = Arc::new(Large { room: room.clone(), most, answers });
        let reading = Reading {
            poll_interval: Duration::from_millis(1),
            alignment: alignment.clone(),
            room: room.clone(),
            ..reading(Arc::clone(&api) as _, Arc::new(SystemClock::new()))
        };
        let names: Vec<Arc<str>> = (0..SHARDS).map(|n| Arc::from(n.to_string())).collect();
        names.iter().for_each(|name| alignment.join(name));
        let read = |name: &Arc<str>| {
            let standing = Standing { resume: Resume::TrimHorizon, read_until_ms: None };
            let begin = (standing, None);
            let mut reader = ShardReader::new(reading.clone(), Arc::clone(name), begin, 1);
            let (alignment, name) = (alignment.clone(), Arc::clone(name));
            OwnedTask::spawn(async move {
                let mut numbers = String::new();
                while let Step::Records(records) = reader.next(&mut |_| ()).await.unwrap() {
                    let all = records.iter().map(|record| record.sequence_number.as_str());
                    numbers.extend(all);
                }
                alignment.leave(&name);
                numbers
            })
        };
        let tasks: Vec<OwnedTask<String>> = names.iter().map(read).collect();
        for task in tasks {
            assert_eq!(task.join().await.unwrap(), "123");
        }
        // Beside what there is room for, the page of the shard that the others wait for.
        let most = api.most.load(Ordering::Relaxed);
        assert!(most <= ROOM_BYTES + PAGE_BYTES_MAX, "{most}");
        assert!(most > ROOM_BYTES - PAGE_BYTES_MAX, "{most}: it is used");
        assert_eq!(*room.taken(), 0);
        let answers = api.answers.load(Ordering::Relaxed);
        assert!(answers > SHARDS * PAGES, "{answers}: none was given back");
    }

    #[tokio::test]
    async fn small_answers_need_little_room() {
        let (room, alignment) = (Room::default(), Alignment::default());
        let mut all = Vec::new();
        for _ in 0..ROOM_BYTES / PAGE_BYTES_MIN {
            all.push(room.take(&alignment, "s", Some(0)).await);
        }
        let (one_more, freeing) = (room.clone(), all.pop());
        let waiting = OwnedTask::spawn(async move {
            drop(one_more.take(&Alignment::default(), "s", Some(0)).await);
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(freeing);
        waiting.join().await.unwrap();
    }
}
