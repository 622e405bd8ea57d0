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

use millstream_engine::{Clock, Error, Metrics, Result};

use super::alignment::Alignment;
use super::api::{KinesisApi, Page, Record, Resume, ShardInfo};
use super::failure::{BackOff, Class, Failure};
use super::loss::{self, Loss};
use super::options::OnDataLoss;
use super::position::Standing;
use super::room::{Room, Taken};

/// The least time between two reads of a shard: Kinesis allows five a second to all its readers
/// together, and this leaves one to another.
const READ_INTERVAL_MIN: Duration = Duration::from_millis(250);

/// How long to wait before asking again for what a person must mend.
const OPERATOR_INTERVAL: Duration = Duration::from_secs(30);

/// How many successful empty answers at the tip mean that nothing is there. One is not enough: a
/// record may be on its way between two servers of the shard.
const QUIET_ANSWERS: u32 = 2;

/// How many empty answers in a row mean that nothing is there although the shard reports a lag, if its
/// newest record is this young: some shards report one for ever.
const EMPTY_ANSWERS: u32 = 8;
const YOUNG_MS: i64 = 60_000;

/// For how long answers must be empty, and the lag must not shrink, to mean the same for any shard.
const STUCK: Duration = Duration::from_secs(300);

/// How often an idle shard says that it still is, so that its position stays up to date.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

/// What a shard gives in a second, to all its readers together. A larger answer is paid for with
/// refusals until its time is over. Source: `GetRecords`, Kinesis API reference.
const BYTES_PER_SECOND: u64 = 2 << 20;

/// How often an iterator we just got may be refused as invalid before we believe it.
const REFUSALS_MAX: u32 = 3;

/// By how much our clock may be behind that of Kinesis when arrival times are compared with ours.
const CLOCK_SKEW_MS: i64 = 1_000;

/// What reading has led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Records, at least one.
    Records(Vec<Record>),
    /// The shard was read to its tip, and nothing new is there. Again after new records, and now and
    /// then.
    Idle,
    /// The shard had said that it is idle, and can no longer be read: nobody knows what is there.
    Unknown,
    /// Records were thrown away before they were read; reading goes on with the oldest one left.
    Lost(Loss),
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
    /// Asks it for records beside those that are read.
    pub(crate) beside: Arc<dyn KinesisApi>,
    /// Whether an answer waits for records, so that the shard need not be asked for them now and then.
    pub(crate) pushed: bool,
    /// Paces the calls.
    pub(crate) clock: Arc<dyn Clock>,
    /// The stream and where it is, for messages: `Kinesis stream 'x' (region …, endpoint …)`.
    pub(crate) stream: Arc<str>,
    /// How often an idle shard is asked.
    pub(crate) poll_interval: Duration,
    /// How long no record must have come until a shard counts as idle.
    pub(crate) idle_timeout: Duration,
    /// When the run began (milliseconds since the Unix epoch), if it ends with what was there then.
    pub(crate) caught_up_at_ms: Option<i64>,
    /// Whether the shards give only so many bytes a second.
    pub(crate) limited: bool,
    /// What to do when records were thrown away before they were read.
    pub(crate) on_data_loss: OnDataLoss,
    /// Counts what is read.
    pub(crate) metrics: Metrics,
    /// How far the shards have come.
    pub(crate) alignment: Alignment,
    /// The memory that their pages share.
    pub(crate) room: Room,
}

/// Reads one shard.
#[derive(Debug)]
pub(crate) struct ShardReader {
    reading: Reading,
    shard: Arc<str>,
    resume: Resume,
    /// What arrived before this has been read, if that is known.
    read_until_ms: Option<i64>,
    iterator: Option<String>,
    /// The iterator that gave the last page.
    read_at: Option<String>,
    /// Records at the front that arrived before this are not wanted.
    skip_before_ms: Option<i64>,
    back_off: BackOff,
    /// When the next read may be made, on the monotonic clock.
    next_read: Duration,
    /// The wait after an empty answer; grows while nothing comes.
    pause: Duration,
    /// Successful empty answers at the tip, one after the other.
    quiet: u32,
    /// Empty answers behind the tip, one after the other: when they began, how many, the first's lag.
    empty: Option<(Duration, u32, i64)>,
    /// When records last came, or reading began, on the monotonic clock.
    active: Duration,
    /// When the newest record arrived.
    newest_ms: Option<i64>,
    idle_told: Option<Duration>,
    /// Whether a read ever succeeded. Before, what a person must mend ends the run.
    succeeded: bool,
    refusals: u32,
    trouble: Option<String>,
    steps: VecDeque<Step>,
    /// The room of the last page, until its rows are handed on.
    taken: Option<Taken>,
    /// The bytes of the last page.
    last_bytes: Option<u64>,
}

/// Why there is no iterator.
enum Refused {
    Call(Failure),
    Loss(Error),
}

impl ShardReader {
    /// A reader of `shard` that begins at `resume`, or at `iterator` if there is one already.
    pub(crate) fn new(
        reading: Reading,
        shard: Arc<str>,
        (standing, iterator): (Standing, Option<String>),
        seed: u64,
    ) -> Self {
        Self {
            pause: READ_INTERVAL_MIN.min(reading.poll_interval),
            next_read: reading.clock.monotonic(),
            active: reading.clock.monotonic(),
            reading,
            shard,
            resume: standing.resume,
            read_until_ms: standing.read_until_ms,
            iterator,
            read_at: None,
            skip_before_ms: None,
            back_off: BackOff::new(seed),
            quiet: 0,
            empty: None,
            newest_ms: None,
            idle_told: None,
            succeeded: false,
            refusals: 0,
            trouble: None,
            steps: VecDeque::new(),
            taken: None,
            last_bytes: None,
        }
    }

    /// The shard's id.
    pub(crate) fn shard(&self) -> &Arc<str> {
        &self.shard
    }

    /// Where reading stands: after all records of the steps so far.
    pub(crate) fn standing(&self) -> Standing {
        Standing { resume: self.resume.clone(), read_until_ms: self.read_until_ms }
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
            if let Some(page) = self.read().await?
                && let Some(page) = self.align(page).await
            {
                self.take(page);
            }
            if self.trouble != before {
                told(self.trouble.as_deref());
            }
        }
    }

    /// Holds `page` back until the other shards are near; none if it is to be read again, since there was
    /// no room to hold it. A clock of Kinesis that is ahead of ours does not make a shard wait for the
    /// future.
    async fn align(&mut self, page: Page) -> Option<Page> {
        let now_ms = self.reading.clock.now_ms();
        let times = || page.records.iter().map(|record| record.arrival_ms.min(now_ms));
        let (Some(first), Some(last)) = (times().next(), times().next_back()) else {
            return Some(page);
        };
        let Reading { alignment, room, .. } = &self.reading;
        alignment.reach(&self.shard, first);
        if alignment.is_near(first) || self.taken.is_none() || !room.is_short() {
            alignment.wait(first).await;
            alignment.reach(&self.shard, last);
            return Some(page);
        }
        drop(page);
        self.taken = None;
        self.iterator.clone_from(&self.read_at);
        alignment.wait(first).await;
        None
    }

    /// One read, when it may be made. `None` if it failed but may succeed later.
    async fn read(&mut self) -> Result<Option<Page>> {
        self.taken = None;
        let now = self.reading.clock.monotonic();
        self.reading.clock.sleep(self.next_read.saturating_sub(now)).await;
        self.next_read = self.reading.clock.monotonic() + self.interval_min();
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => match self.begin().await {
                Ok(Some(iterator)) => iterator,
                Ok(None) => return Ok(None),
                Err(Refused::Call(failure)) => return self.recover(failure, false).await,
                Err(Refused::Loss(error)) => return Err(error),
            },
        };
        // What is pushed comes when it comes.
        if !self.reading.pushed {
            let Reading { room, alignment, .. } = &self.reading;
            self.taken = Some(room.take(alignment, &self.shard, self.last_bytes).await);
        }
        match self.reading.api.get_records(&iterator).await {
            Ok(page) => {
                self.last_bytes = Some(page.bytes());
                if let Some(taken) = &mut self.taken {
                    taken.resize(page.bytes());
                }
                self.iterator.clone_from(&page.next);
                self.read_at = Some(iterator);
                self.succeeded = true;
                self.refusals = 0;
                self.trouble = None;
                self.back_off.reset();
                Ok(Some(page))
            }
            Err(failure) => {
                self.taken = None;
                self.iterator = Some(iterator);
                self.recover(failure, true).await
            }
        }
    }

    /// An iterator where reading stands; `None` when records are lost and that is told first.
    async fn begin(&mut self) -> Result<Option<String>, Refused> {
        if let (Resume::After(number), Some(until_ms)) = (&self.resume, self.read_until_ms) {
            let found = loss::look(&self.reading, &self.shard, number, until_ms).await;
            if let Some(loss) = found.map_err(Refused::Call)? {
                self.lose(loss).map_err(Refused::Loss)?;
                return Ok(None);
            }
        }
        let iterator = self.reading.api.shard_iterator(&self.shard, &self.resume).await;
        self.skip_before_ms = match self.resume {
            Resume::AtTimestamp(ms) => Some(ms),
            _ => None,
        };
        iterator.map(Some).map_err(Refused::Call)
    }

    /// Records are lost: ends the run, or goes on with the oldest one left.
    fn lose(&mut self, loss: Loss) -> Result<()> {
        if self.reading.on_data_loss == OnDataLoss::Fail {
            let (shard, stream) = (&self.shard, &self.reading.stream);
            return Err(loss::lost(format_args!("shard {shard} of {stream}: {loss}")));
        }
        // After a record that is gone is the oldest one left. What is lost until now is told; what will be
        // lost before that one is read is another loss.
        self.read_until_ms = Some(self.reading.clock.now_ms());
        self.iterator = None;
        self.steps.push_back(Step::Lost(loss));
        Ok(())
    }

    fn interval_min(&self) -> Duration {
        READ_INTERVAL_MIN.min(self.reading.poll_interval)
    }

    /// Reacts to a failed call; `had_iterator` if the iterator was fine and the read was not.
    async fn recover(&mut self, failure: Failure, had_iterator: bool) -> Result<Option<Page>> {
        self.reading.metrics.count(&self.shard, |metrics| match failure.class {
            Class::Renew => metrics.expired += 1,
            Class::BackOff if failure.is_throttling() => metrics.throttled += 1,
            Class::Exhausted => {}
            _ => metrics.failed += 1,
        });
        self.reading.alignment.leave(&self.shard);
        if failure.class != Class::Renew && self.idle_told.take().is_some() {
            self.steps.push_back(Step::Unknown);
        }
        let wait = match failure.class {
            Class::Renew => {
                self.iterator = None;
                // The read interval still holds, so this cannot spin.
                Duration::ZERO
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
            Class::Invalid => return self.position_refused(&failure),
        };
        self.trouble = Some(format!("shard {} of {}: {failure}", self.shard, self.reading.stream));
        self.reading.clock.sleep(wait).await;
        Ok(None)
    }

    /// A position that Kinesis does not know is one whose record is gone.
    fn position_refused(&mut self, failure: &Failure) -> Result<Option<Page>> {
        match &self.resume {
            Resume::After(after) if self.reading.on_data_loss == OnDataLoss::Continue => {
                let loss = Loss { after: after.clone(), oldest: None };
                self.lose(loss)?;
                // That record is not to be named again: the beginning of time is the oldest one left.
                (self.resume, self.read_until_ms) = (Resume::AtTimestamp(0), None);
                Ok(None)
            }
            _ => Err(self.refused("cannot be read on", failure)),
        }
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
        let at_tip = page.millis_behind <= 0;
        self.quiet = if page.records.is_empty() && at_tip { self.quiet + 1 } else { 0 };
        let newest_ms = page.records.iter().map(|record| record.arrival_ms).max();
        self.newest_ms = self.newest_ms.max(newest_ms);
        // Nothing is there, or nobody knows: the others need not wait.
        let stays = |(_, answers, lag_ms)| answers >= EMPTY_ANSWERS && page.millis_behind >= lag_ms;
        if self.quiet > 0 || (page.records.is_empty() && self.empty.is_some_and(stays)) {
            self.reading.alignment.leave(&self.shard);
        }
        let stuck = self.is_stuck(&page);
        self.pace(&page);
        let bytes = page.bytes();
        let fresh = self.fresh(page.records);
        self.reading.metrics.count(&self.shard, |metrics| {
            metrics.lag_ms = Some(page.millis_behind.max(0));
            metrics.records += fresh.len() as u64;
            metrics.bytes += bytes;
        });
        let continuation = page.continuation.filter(|number| match &self.resume {
            Resume::After(before) => number > before,
            _ => fresh.last().is_none_or(|last| *number > last.sequence_number),
        });
        if let Some(last) = fresh.last() {
            self.resume = Resume::After(last.sequence_number.clone());
            self.read_until_ms = Some(last.arrival_ms);
            self.idle_told = None;
            self.active = self.reading.clock.monotonic();
            self.steps.push_back(Step::Records(fresh));
        }
        if let Some(number) = continuation {
            // It moves although no record comes, so that the position of an idle shard stays valid.
            self.resume = Resume::After(number);
        }
        let quiet = self.quiet >= QUIET_ANSWERS || stuck;
        let past_start = |start_ms: i64| newest_ms.is_some_and(|ms| ms > start_ms + CLOCK_SKEW_MS);
        if page.next.is_none() {
            self.steps.push_back(Step::Drained(page.children));
        } else if self.reading.caught_up_at_ms.is_some_and(|ms| quiet || past_start(ms)) {
            if quiet {
                self.read_until_ms = Some(self.reading.clock.now_ms() - CLOCK_SKEW_MS);
            }
            self.steps.push_back(Step::CaughtUp);
        } else if quiet && self.may_tell_idle() {
            self.steps.push_back(Step::Idle);
        }
    }

    /// Whether nothing is there although the shard reports a lag: it has been answering without records
    /// for long enough. One that is scanned, however empty, reports ever less.
    fn is_stuck(&mut self, page: &Page) -> bool {
        if !page.records.is_empty() || page.millis_behind <= 0 {
            self.empty = None;
            return false;
        }
        let clock = &self.reading.clock;
        let now = clock.monotonic();
        let (since, answers, lag_ms) = self.empty.unwrap_or((now, 0, page.millis_behind));
        let answers = answers.saturating_add(1);
        let shrinks = page.millis_behind < lag_ms;
        self.empty = Some(match shrinks {
            true => (now, answers, page.millis_behind),
            false => (since, answers, lag_ms),
        });
        let is_young = self.newest_ms.is_some_and(|ms| ms >= clock.now_ms() - YOUNG_MS);
        (answers >= EMPTY_ANSWERS && is_young) || (!shrinks && now.saturating_sub(since) >= STUCK)
    }

    /// Whether the shard, which is idle, should say so. What has arrived by now has been read then.
    fn may_tell_idle(&mut self) -> bool {
        let now = self.reading.clock.monotonic();
        if now.saturating_sub(self.active) < self.reading.idle_timeout {
            return false;
        }
        if self.idle_told.is_some_and(|told| now.saturating_sub(told) < IDLE_INTERVAL) {
            return false;
        }
        self.idle_told = Some(now);
        self.read_until_ms = Some(self.reading.clock.now_ms() - CLOCK_SKEW_MS);
        true
    }

    /// Sets when the next read may be made: soon while data flows, ever later while none does.
    fn pace(&mut self, page: &Page) {
        if self.reading.pushed {
            self.next_read = self.reading.clock.monotonic();
            return;
        }
        // The first empty answer at the tip is checked soon, so that an end is seen soon.
        let flowing = !page.records.is_empty() || page.millis_behind > 0 || self.quiet == 1;
        self.pause = match flowing {
            true => self.interval_min(),
            false => (self.pause * 2).min(self.reading.poll_interval),
        };
        self.next_read += self.pause - self.interval_min();
        if self.reading.limited {
            let paid = Duration::from_millis(page.bytes() * 1_000 / BYTES_PER_SECOND);
            self.next_read = self.next_read.max(self.reading.clock.monotonic() + paid);
        }
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

#[cfg(test)]
pub(super) mod tests;
