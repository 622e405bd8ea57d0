//! Reading one shard: iterators, pacing, retries, and what its answers mean.
//!
//! [`ShardReader::next`] turns the calls to one shard into a sequence of [`Step`]s. It knows its own
//! position: an iterator is only a short-lived form of it and is made anew from it whenever needed.
//!
//! The invariant: the records of all [`Step::Records`] are the shard's from the start on, each once
//! and in order; [`Step::Drained`] and [`Step::CaughtUp`] are the last step.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::{Clock, Error, Result};

use super::api::{KinesisApi, Page, Record, Resume, ShardInfo};
use super::failure::{BackOff, Class, Failure};

/// The least time between two reads of a shard: Kinesis allows five a second to all its readers
/// together, and this leaves one to another.
const READ_INTERVAL_MIN: Duration = Duration::from_millis(250);

/// How long to wait before asking again for what a person must mend.
const OPERATOR_INTERVAL: Duration = Duration::from_secs(30);

/// How many successful empty answers at the tip mean that nothing is there. One is not enough: a
/// record may be on its way between two servers of the shard.
const QUIET_ANSWERS: u32 = 2;

/// How often an iterator we just got may be refused as invalid before we believe it.
const REFUSALS_MAX: u32 = 3;

/// By how much our clock may be behind that of Kinesis when arrival times are compared with ours.
const CLOCK_SKEW_MS: i64 = 1_000;

/// What reading has led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Records, at least one.
    Records(Vec<Record>),
    /// The shard was read to its tip, and nothing new is there. Again only after new records.
    Idle,
    /// Everything that was there when the run began has been read: the run leaves the shard.
    CaughtUp,
    /// The shard is closed and read to its end; the shards that continue it, if the answer told.
    Drained(Vec<ShardInfo>),
}

/// What does not change while a stream is read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// Asks Kinesis.
    pub(crate) api: Arc<dyn KinesisApi>,
    /// Paces the calls.
    pub(crate) clock: Arc<dyn Clock>,
    /// The stream and where it is, for messages: `Kinesis stream 'x' (region …, endpoint …)`.
    pub(crate) stream: Arc<str>,
    /// How often an idle shard is asked.
    pub(crate) poll_interval: Duration,
    /// When the run began (milliseconds since the Unix epoch), if it ends with what was there then.
    pub(crate) caught_up_at_ms: Option<i64>,
}

/// Reads one shard.
#[derive(Debug)]
pub(crate) struct ShardReader {
    reading: Reading,
    shard: Arc<str>,
    resume: Resume,
    iterator: Option<String>,
    /// Records at the front that arrived before this are not wanted.
    skip_before_ms: Option<i64>,
    back_off: BackOff,
    /// When the next read may be made, on the monotonic clock.
    next_read: Duration,
    /// The wait after an empty answer; grows while nothing comes.
    pause: Duration,
    /// Successful empty answers at the tip, one after the other.
    quiet: u32,
    idle_told: bool,
    /// Whether a read ever succeeded. Before, what a person must mend ends the run.
    succeeded: bool,
    refusals: u32,
    lag_ms: Option<i64>,
    trouble: Option<String>,
    steps: VecDeque<Step>,
}

impl ShardReader {
    /// A reader of `shard` that begins at `resume`, or at `iterator` if there is one already.
    pub(crate) fn new(
        reading: Reading,
        shard: Arc<str>,
        (resume, iterator): (Resume, Option<String>),
        seed: u64,
    ) -> Self {
        Self {
            pause: READ_INTERVAL_MIN.min(reading.poll_interval),
            next_read: reading.clock.monotonic(),
            reading,
            shard,
            resume,
            iterator,
            skip_before_ms: None,
            back_off: BackOff::new(seed),
            quiet: 0,
            idle_told: false,
            succeeded: false,
            refusals: 0,
            lag_ms: None,
            trouble: None,
            steps: VecDeque::new(),
        }
    }

    /// The shard's id.
    pub(crate) fn shard(&self) -> &Arc<str> {
        &self.shard
    }

    /// How far behind the shard's tip the last answer was, in milliseconds.
    pub(crate) fn lag_ms(&self) -> Option<i64> {
        self.lag_ms
    }

    /// Waits for the next step. Retries what may pass by itself for as long as it takes; `told`
    /// hears what is wrong meanwhile, and `None` when it is over.
    pub(crate) async fn next(
        &mut self,
        told: &mut (dyn FnMut(Option<&str>) + Send),
    ) -> Result<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Ok(step);
            }
            let before = self.trouble.clone();
            if let Some(page) = self.read().await? {
                self.take(page);
            }
            if self.trouble != before {
                told(self.trouble.as_deref());
            }
        }
    }

    /// One read, when it may be made. `None` if it failed but may succeed later.
    async fn read(&mut self) -> Result<Option<Page>> {
        let now = self.reading.clock.monotonic();
        self.reading.clock.sleep(self.next_read.saturating_sub(now)).await;
        self.next_read = self.reading.clock.monotonic() + self.interval_min();
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => match self.reading.api.shard_iterator(&self.shard, &self.resume).await {
                Ok(iterator) => {
                    self.skip_before_ms = match self.resume {
                        Resume::AtTimestamp(ms) => Some(ms),
                        _ => None,
                    };
                    iterator
                }
                Err(failure) => return self.recover(failure, false).await,
            },
        };
        match self.reading.api.get_records(&iterator).await {
            Ok(page) => {
                self.iterator.clone_from(&page.next);
                self.succeeded = true;
                self.refusals = 0;
                self.trouble = None;
                self.back_off.reset();
                Ok(Some(page))
            }
            Err(failure) => {
                self.iterator = Some(iterator);
                self.recover(failure, true).await
            }
        }
    }

    fn interval_min(&self) -> Duration {
        READ_INTERVAL_MIN.min(self.reading.poll_interval)
    }

    /// Reacts to a failed call; `had_iterator` if the iterator was fine and the read was not.
    async fn recover(&mut self, failure: Failure, had_iterator: bool) -> Result<Option<Page>> {
        let wait = match failure.class {
            // The read interval still holds, so this cannot spin.
            Class::Renew => {
                self.iterator = None;
                return Ok(None);
            }
            Class::Exhausted => return Ok(Some(Page::default())),
            Class::BackOff | Class::Unreachable => self.back_off.wait(),
            Class::Operator if self.succeeded => OPERATOR_INTERVAL,
            Class::Operator => return Err(self.refused("cannot be read", &failure)),
            Class::Missing => return Err(self.refused("no longer exists", &failure)),
            // A refused iterator may be an old one's fault; a refused position is not.
            Class::Invalid if had_iterator && self.refusals < REFUSALS_MAX => {
                self.refusals += 1;
                self.iterator = None;
                self.back_off.wait()
            }
            // A time that is still to come on Kinesis' own clock.
            Class::Invalid if matches!(self.resume, Resume::AtTimestamp(_)) && !had_iterator => {
                self.back_off.wait()
            }
            Class::Invalid => return Err(self.refused("cannot be read on", &failure)),
        };
        self.trouble = Some(format!("shard {} of {}: {failure}", self.shard, self.reading.stream));
        self.reading.clock.sleep(wait).await;
        Ok(None)
    }

    fn refused(&self, what: &str, failure: &Failure) -> Error {
        let from = match &self.resume {
            Resume::After(number) => format!(" after sequence number {number}"),
            _ => String::new(),
        };
        let (shard, stream) = (&self.shard, &self.reading.stream);
        Error::settings(format!("shard {shard} of {stream} {what}{from}: {failure}"))
            .with_hint(failure.hint())
    }

    /// Turns an answer into steps.
    fn take(&mut self, page: Page) {
        self.lag_ms = Some(page.millis_behind.max(0));
        let at_tip = page.millis_behind <= 0;
        self.quiet = if page.records.is_empty() && at_tip { self.quiet + 1 } else { 0 };
        self.pace(&page);
        let newest_ms = page.records.iter().map(|record| record.arrival_ms).max();
        let fresh = self.fresh(page.records);
        if let Some(last) = fresh.last() {
            self.resume = Resume::After(last.sequence_number.clone());
            self.idle_told = false;
            self.steps.push_back(Step::Records(fresh));
        }
        let quiet = self.quiet >= QUIET_ANSWERS;
        let past_start = |start_ms: i64| newest_ms.is_some_and(|ms| ms > start_ms + CLOCK_SKEW_MS);
        if page.next.is_none() {
            self.steps.push_back(Step::Drained(page.children));
        } else if self.reading.caught_up_at_ms.is_some_and(|ms| quiet || past_start(ms)) {
            self.steps.push_back(Step::CaughtUp);
        } else if quiet && !self.idle_told {
            self.idle_told = true;
            self.steps.push_back(Step::Idle);
        }
    }

    /// Sets when the next read may be made: soon while data flows, ever later while none does.
    fn pace(&mut self, page: &Page) {
        // The first empty answer at the tip is checked soon, so that an end is seen soon.
        let flowing = !page.records.is_empty() || page.millis_behind > 0 || self.quiet == 1;
        self.pause = match flowing {
            true => self.interval_min(),
            false => (self.pause * 2).min(self.reading.poll_interval),
        };
        self.next_read += self.pause - self.interval_min();
    }

    /// The records not handed on before. Some services repeat the record an `AFTER` iterator names,
    /// and some answer `AT_TIMESTAMP` from the shard's beginning when nothing is that new.
    fn fresh(&mut self, mut records: Vec<Record>) -> Vec<Record> {
        if let Resume::After(last) = &self.resume {
            records.retain(|record| record.sequence_number > *last);
        }
        if let Some(ms) = self.skip_before_ms {
            let wanted = records.iter().position(|record| record.arrival_ms >= ms);
            records.drain(..wanted.unwrap_or(records.len()));
            // Arrival times need not grow: only the front is skipped.
            self.skip_before_ms = if wanted.is_some() { None } else { Some(ms) };
        }
        records
    }
}
