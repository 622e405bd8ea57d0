//! A Kinesis stream as an engine source.
//!
//! Each readable shard has a task that reads and decodes it; all tasks end in one bounded channel,
//! so that an engine which does not keep up stops the reading. [`KinesisSource`] itself only keeps
//! the lineage: which shards may be read, and what the engine is told of them.
//!
//! The invariant towards the engine: the children of a shard are discovered before the shard is
//! finished, so that the stream's watermark is held back by one or the other at any time.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use futures::{FutureExt, StreamExt, TryStreamExt};
use millstream_engine::definition::RelationDef;
use millstream_engine::port::{self, PartitionId, Position, Source, SourceBatch, SourceEvent};
use millstream_engine::task::OwnedTask;
use millstream_engine::{Error, Metrics, Result, Troubles};
use tokio::sync::mpsc;

use super::alignment::Alignment;
use super::api::{AwsApi, KinesisApi, Resume, ShardInfo, list_all_shards};
use super::client::{Place, connect};
use super::decoding::{Decoding, RecordDecoder};
use super::failure::{BackOff, Class, Failure};
use super::fan_out::FanOutApi;
use super::lineage::{Lineage, Ready};
use super::loss::{self, Reconciled};
use super::options::{Consumer, KinesisOptions, OnDataLoss, Start};
use super::position::Standing;
use super::room::Room;
use super::shard::{Reading, ShardReader, Step};
use crate::{Context, Until};

/// How many decoded pages may wait for the engine. With the one that each shard's task holds, this
/// bounds what a source keeps in memory.
const PAGES_WAITING_MAX: usize = 8;

/// How long an endpoint may stay silent at the start before that is an error.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a service that answers may refuse for lack of capacity at the start, or while a stream is
/// being created, before that is an error.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the shards are listed although nothing hints at a new one.
const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// How often the children of a drained shard are looked for before a run that ends when it has caught
/// up goes on without them. With the waits between, this takes about half a minute.
const SEARCHES_MAX: u32 = 6;

/// How many iterators are asked for at once at the start.
const ITERATORS_AT_ONCE: usize = 16;

/// By how much a start at the tip is dated back, should it have to be found again by time before a
/// first record came: our clock and that of Kinesis differ, and nothing may be lost.
const LATEST_MARGIN_MS: i64 = 1_000;

/// What a task reports.
#[derive(Debug)]
enum Report {
    Rows(SourceBatch),
    Idle(Arc<str>, Option<Position>),
    Unknown(Arc<str>),
    CaughtUp(Arc<str>, Option<Position>),
    Drained(Arc<str>, Vec<ShardInfo>),
    Listed(Result<Vec<ShardInfo>, Failure>),
    Failed(Error),
}

/// Reads all shards of a Kinesis stream.
pub struct KinesisSource {
    reading: Reading,
    decoding: Decoding,
    start: Start,
    seed: u64,
    lineage: Lineage,
    /// Where an earlier run stood.
    resume: port::Resume,
    /// Iterators at the tip, got when the source was opened.
    pinned: HashMap<Arc<str>, (Resume, String)>,
    tasks: HashMap<Arc<str>, OwnedTask<()>>,
    /// How many tasks were started, to give each its own randomness.
    tasks_started: u64,
    sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    events: VecDeque<SourceEvent>,
    /// Drained shards whose children are not known yet: not finished for the engine.
    childless: Vec<Arc<str>>,
    search: Option<OwnedTask<()>>,
    /// Lists in a row that did not bring what was searched for, or that failed.
    searches: u32,
    troubles: Troubles,
}

impl fmt::Debug for KinesisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisSource")
            .field("stream", &self.reading.stream)
            .field("start", &self.start)
            .field("shards", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl KinesisSource {
    /// Opens the stream `def`, reading the columns `projection` of [`RelationDef::stream_schema`], to
    /// go on from `resume`. What is put into the stream after this returns will be read, whatever the start.
    ///
    /// # Errors
    ///
    /// What a person must mend: an option, a stream that does not exist, missing credentials or
    /// permissions, an endpoint that cannot be reached.
    pub async fn open(
        def: &RelationDef,
        projection: &[usize],
        resume: &port::Resume,
        context: &Context,
    ) -> Result<Self> {
        let options = KinesisOptions::parse(def)?;
        let connection = connect(&options.connect).await?;
        let stream: Arc<str> = named(&options, &connection.place).into();
        let polling = AwsApi::new(connection.client.clone(), options.stream.clone());
        let beside: Arc<dyn KinesisApi> = Arc::new(polling.clone());
        let pushing = consumer(&options, connection.client, polling, context).await;
        let pushing = pushing.map_err(|failure| start_error(&stream, &failure))?;
        let reading = Reading {
            pushed: pushing.is_some(),
            api: pushing.unwrap_or_else(|| Arc::clone(&beside)),
            beside,
            clock: Arc::clone(&context.clock),
            stream,
            poll_interval: options.poll_interval,
            caught_up_at_ms: (context.until == Until::CaughtUp).then(|| context.clock.now_ms()),
            idle_timeout: options.idle_timeout,
            limited: !connection.local,
            on_data_loss: options.on_data_loss,
            metrics: Metrics::default(),
            alignment: Alignment::default(),
            room: Room::default(),
        };
        let decoding = Decoding {
            def: Arc::new(def.clone()),
            projection: projection.into(),
            format: options.format,
            payload_bytes_max: options.payload_bytes_max,
            ahead_max_ms: i64::try_from(options.future_tolerance.as_millis()).unwrap_or(i64::MAX),
        };
        Self::begin(reading, decoding, (options.start, resume), context.seed).await
    }

    async fn begin(
        reading: Reading,
        decoding: Decoding,
        (start, resume): (Start, &port::Resume),
        seed: u64,
    ) -> Result<Self> {
        // What is not known of an earlier run is newer than its start.
        let start = if resume.is_empty() { start } else { Start::TrimHorizon };
        check_start(start, &reading)?;
        // A mapping or type that cannot be decoded is found now, not in a task.
        decoding.decoder(&"".into())?;
        let latest_ms = reading.clock.now_ms() - LATEST_MARGIN_MS;
        let listed = first_call(&reading, || list_all_shards(&*reading.api)).await?;
        let reconciled = loss::reconcile(&reading.stream, resume, &listed)?;
        let from_tip = start == Start::Latest;
        let pinned = match from_tip {
            true => pin(&reading, &listed, latest_ms).await?,
            false => HashMap::new(),
        };
        let (sender, reports) = mpsc::channel(PAGES_WAITING_MAX);
        let mut lineage = Lineage::new(&listed, from_tip);
        let finished = resume.partitions.iter().filter(|(_, progress)| progress.finished);
        lineage.drained_before(finished.map(|(id, _)| Arc::clone(&id.0)));
        lineage.passed_before(&reconciled.passed);
        lineage.drained_before(reconciled.vanished.iter().map(|(id, _)| Arc::clone(id)));
        let mut source = Self {
            reading,
            decoding,
            start,
            seed,
            lineage,
            resume: resume.clone(),
            pinned,
            tasks: HashMap::new(),
            tasks_started: 0,
            sender,
            reports,
            events: VecDeque::new(),
            childless: Vec::new(),
            search: None,
            searches: 0,
            troubles: Troubles::default(),
        };
        source.tell_vanished(&reconciled)?;
        source.start_ready()?;
        source.search_in(LIST_INTERVAL);
        Ok(source)
    }

    /// Shards that were not read to their ends and are gone end the run, or are said to be lost.
    fn tell_vanished(&mut self, reconciled: &Reconciled) -> Result<()> {
        for (shard, standing) in &reconciled.vanished {
            let after = match standing.as_ref().map(|standing| &standing.resume) {
                Some(Resume::After(number)) => format!(" after {number}"),
                _ => String::new(),
            };
            let words = format!("its records{after} were thrown away before they were read");
            if self.reading.on_data_loss == OnDataLoss::Fail {
                let stream = &self.reading.stream;
                return Err(loss::lost(format_args!("shard {shard} of {stream} is gone: {words}")));
            }
            let position = standing.as_ref().and_then(Standing::position);
            let position = position.unwrap_or_else(|| Position("@0".to_owned()));
            let lost = self.decoding.decoder(shard)?.lost(words, position)?;
            self.events.push_back(SourceEvent::Rows(lost));
            self.finish(shard);
        }
        Ok(())
    }

    /// Discovers and starts the shards whose turn has come.
    fn start_ready(&mut self) -> Result<()> {
        for ready in self.lineage.start_ready() {
            self.events.push_back(SourceEvent::Discovered {
                partition: PartitionId(Arc::clone(&ready.id)),
                parents: ready.parents.iter().map(|id| PartitionId(Arc::clone(id))).collect(),
            });
            self.start_task(&ready)?;
        }
        Ok(())
    }

    fn start_task(&mut self, ready: &Ready) -> Result<()> {
        let partition = PartitionId(Arc::clone(&ready.id));
        let begins = |resume| Standing { resume, read_until_ms: None };
        let (standing, iterator) = match self.pinned.remove(&ready.id) {
            Some((resume, iterator)) => (begins(resume), Some(iterator)),
            None => match self.resume.position(&partition) {
                Some(position) => (Standing::read(position)?, None),
                None => (begins(resume_of(self.start, ready)), None),
            },
        };
        if let (Resume::AtTimestamp(_), Some(position)) = (&standing.resume, standing.position()) {
            // The moment it begins at is settled once, also if no record comes before a restart.
            self.events.push_back(SourceEvent::Moved { partition, position });
        }
        // One that is pushed may have nothing to say for long.
        if !self.reading.pushed {
            self.reading.alignment.join(&ready.id);
        }
        self.tasks_started += 1;
        let seed = self.seed.wrapping_add(self.tasks_started);
        let begin = (standing, iterator);
        let reader = ShardReader::new(self.reading.clone(), Arc::clone(&ready.id), begin, seed);
        let decoder = self.decoding.decoder(&ready.id)?;
        let work = read_shard(reader, decoder, self.sender.clone(), self.troubles.clone());
        let (shard, sender) = (Arc::clone(&ready.id), self.sender.clone());
        let task = OwnedTask::spawn(async move {
            // A panic must not look like a shard that has nothing to say.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                let error = Error::bug(format!("the reader of shard {shard} panicked"));
                // Nobody listens any more: the source itself is gone.
                sender.send(Report::Failed(error)).await.ok();
            }
        });
        self.tasks.insert(Arc::clone(&ready.id), task);
        Ok(())
    }

    /// Lists the shards after `wait`, instead of whenever it was planned.
    fn search_in(&mut self, wait: Duration) {
        let (reading, sender) = (self.reading.clone(), self.sender.clone());
        self.search = Some(OwnedTask::spawn(async move {
            reading.clock.sleep(wait).await;
            let listed = list_all_shards(&*reading.api).await;
            // Nobody listens any more: the source itself is gone.
            sender.send(Report::Listed(listed)).await.ok();
        }));
    }

    fn take(&mut self, report: Report) -> Result<()> {
        match report {
            Report::Rows(batch) => self.events.push_back(SourceEvent::Rows(batch)),
            Report::Idle(shard, position) => self.take_idle(shard, position),
            Report::Unknown(shard) => {
                let (partition, rowtime_ms) = (PartitionId(shard), i64::MIN);
                self.events.push_back(SourceEvent::Bound { partition, rowtime_ms });
            }
            Report::CaughtUp(shard, position) => {
                self.lineage.leave(&shard);
                self.forget(&shard);
                self.take_idle(shard, position);
            }
            Report::Drained(shard, children) => self.take_drained(&shard, &children)?,
            Report::Listed(listed) => self.take_list(listed)?,
            Report::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn take_idle(&mut self, shard: Arc<str>, position: Option<Position>) {
        let partition = PartitionId(shard);
        if let Some(position) = position {
            let partition = partition.clone();
            self.events.push_back(SourceEvent::Moved { partition, position });
        }
        self.events.push_back(SourceEvent::Idle { partition });
    }

    fn take_drained(&mut self, shard: &Arc<str>, children: &[ShardInfo]) -> Result<()> {
        self.tasks.remove(shard);
        self.lineage.drain(shard);
        self.lineage.hear_of(children);
        self.start_ready()?;
        self.reading.alignment.leave(shard);
        if self.lineage.has_child(shard) {
            self.finish(shard);
        } else {
            self.childless.push(Arc::clone(shard));
        }
        if self.searching() {
            self.searches = 0;
            self.search_in(Duration::ZERO);
        }
        Ok(())
    }

    fn take_list(&mut self, listed: Result<Vec<ShardInfo>, Failure>) -> Result<()> {
        match listed {
            Ok(shards) => {
                self.lineage.list(&shards);
                self.start_ready()?;
                let (known, childless): (Vec<_>, Vec<_>) = std::mem::take(&mut self.childless)
                    .into_iter()
                    .partition(|shard| self.lineage.has_child(shard));
                self.childless = childless;
                known.iter().for_each(|shard| self.finish(shard));
            }
            Err(failure) if failure.class == Class::Missing => {
                return Err(start_error(&self.reading.stream, &failure));
            }
            // Anything else may pass; whoever must mend it hears of it from the shards.
            Err(_) => {}
        }
        if !self.searching() {
            self.searches = 0;
            self.search_in(LIST_INTERVAL);
            return Ok(());
        }
        self.searches += 1;
        if self.reading.caught_up_at_ms.is_some() && self.searches >= SEARCHES_MAX {
            // A closed shard without children: the stream is being deleted. Nothing follows.
            for shard in std::mem::take(&mut self.childless) {
                self.finish(&shard);
            }
        }
        self.search_in(LIST_INTERVAL.min(Duration::from_secs(1 << self.searches.min(6))));
        Ok(())
    }

    /// Whether a list is expected to bring something new.
    fn searching(&self) -> bool {
        !self.childless.is_empty() || self.lineage.needs_list()
    }

    /// `shard` is not read any more in this run.
    fn forget(&mut self, shard: &Arc<str>) {
        self.tasks.remove(shard);
        self.reading.metrics.end(shard);
        self.reading.alignment.leave(shard);
        self.troubles.set(shard, None);
    }

    /// Nothing more comes from `shard`.
    fn finish(&mut self, shard: &Arc<str>) {
        self.forget(shard);
        self.events.push_back(SourceEvent::Finished { partition: PartitionId(Arc::clone(shard)) });
    }

    /// Whether a run that ends when it has caught up is over. Shards still waiting then continue one
    /// that was left at its tip, and were made after the run began.
    fn is_over(&self) -> bool {
        let missing = self.searching() && self.searches < SEARCHES_MAX;
        self.reading.caught_up_at_ms.is_some() && self.tasks.is_empty() && !missing
    }
}

#[async_trait]
impl Source for KinesisSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.is_over() {
                return Ok(None);
            }
            // Safe to cancel: a report is taken in as soon as it is received.
            match self.reports.recv().await {
                Some(report) => self.take(report)?,
                None => return Err(Error::bug("the reports of a Kinesis source ended")),
            }
        }
    }

    fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    fn metrics(&self) -> Metrics {
        self.reading.metrics.clone()
    }

    fn lag_ms(&self) -> Option<i64> {
        self.reading.metrics.list().into_iter().filter_map(|(_, metrics)| metrics.lag_ms).max()
    }
}

/// The consumer that the records are pushed to, if there is to be one.
async fn consumer(
    options: &KinesisOptions,
    client: Client,
    polling: AwsApi,
    context: &Context,
) -> Result<Option<Arc<dyn KinesisApi>>, Failure> {
    if options.consumer == Consumer::Polling {
        return Ok(None);
    }
    let clock = Arc::clone(&context.clock);
    let registered = FanOutApi::register(client, polling, &options.consumer_name, clock).await;
    match registered {
        Ok(api) => Ok(Some(Arc::new(api))),
        // Not allowed to, or there are as many consumers as there may be.
        Err(failure)
            if options.consumer == Consumer::Auto
                && (failure.class == Class::Operator || failure.is_throttling()) =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// The stream and where it is, for messages.
fn named(options: &KinesisOptions, place: &Place) -> String {
    format!("Kinesis stream '{}' ({place})", options.stream)
}

fn check_start(start: Start, reading: &Reading) -> Result<()> {
    match start {
        Start::AtTimestamp(ms) if ms > reading.clock.now_ms() => {
            Err(Error::settings(format!("the start of {} lies in the future", reading.stream))
                .with_hint("use start = 'latest' to read what arrives from now on"))
        }
        _ => Ok(()),
    }
}

/// A call at the start: repeated while it may succeed by itself, but not for long, since a person is
/// watching.
async fn first_call<T, F>(reading: &Reading, call: impl Fn() -> F + Send) -> Result<T>
where
    F: Future<Output = Result<T, Failure>> + Send,
{
    let began = reading.clock.monotonic();
    let mut back_off = BackOff::new(0);
    loop {
        let failure = match call().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let waited = reading.clock.monotonic() - began;
        let patience = match failure.class {
            Class::Unreachable => REACH_TIMEOUT,
            Class::BackOff | Class::Renew => START_TIMEOUT,
            _ => Duration::ZERO,
        };
        if waited >= patience {
            return Err(start_error(&reading.stream, &failure));
        }
        reading.clock.sleep(back_off.wait()).await;
    }
}

fn start_error(stream: &str, failure: &Failure) -> Error {
    let message = match failure.class {
        Class::Missing => format!("{stream} does not exist: {failure}"),
        Class::Unreachable => format!("{stream} cannot be reached: {failure}"),
        Class::BackOff | Class::Renew => {
            return Error::retry(format!("{stream} is not available: {failure}"))
                .with_hint(failure.hint());
        }
        _ => format!("{stream} cannot be read: {failure}"),
    };
    Error::settings(message).with_hint(failure.hint())
}

/// An iterator at the tip of every open shard: what "latest" means is settled here, once.
async fn pin(
    reading: &Reading,
    listed: &[ShardInfo],
    latest_ms: i64,
) -> Result<HashMap<Arc<str>, (Resume, String)>> {
    let known = |id: &Arc<str>| listed.iter().any(|shard| shard.id == *id && !shard.closed);
    // A shard whose parent was still open when listed was made since: it is read from its beginning.
    let at_tip = listed.iter().filter(|shard| !shard.closed && !shard.parents.iter().any(known));
    let ids: Vec<Arc<str>> = at_tip.map(|shard| Arc::clone(&shard.id)).collect();
    futures::stream::iter(ids)
        .map(|id| async move {
            let call = || reading.api.shard_iterator(&id, &Resume::Latest);
            let iterator = first_call(reading, call).await?;
            Ok((Arc::clone(&id), (Resume::AtTimestamp(latest_ms), iterator)))
        })
        .buffer_unordered(ITERATORS_AT_ONCE)
        .try_collect()
        .await
}

/// Where a shard begins whose iterator was not pinned.
fn resume_of(start: Start, ready: &Ready) -> Resume {
    match start {
        // Made after the start: all its records came later.
        _ if !ready.first => Resume::TrimHorizon,
        Start::TrimHorizon => Resume::TrimHorizon,
        Start::AtTimestamp(ms) => Resume::AtTimestamp(ms),
        // Its parent was still open when the run began.
        Start::Latest => Resume::TrimHorizon,
    }
}

/// The task of one shard: reads, decodes and reports it until its end.
async fn read_shard(
    mut reader: ShardReader,
    mut decoder: RecordDecoder,
    sender: mpsc::Sender<Report>,
    troubles: Troubles,
) {
    let shard = Arc::clone(reader.shard());
    let mut told = |trouble: Option<&str>| troubles.set(&shard, trouble);
    loop {
        let step = reader.next(&mut told).await;
        let standing = reader.standing();
        let reports = step.and_then(|step| reports(step, &mut decoder, &shard, &standing));
        for report in reports.unwrap_or_else(|error| vec![Report::Failed(error)]) {
            let last = !matches!(report, Report::Rows(_) | Report::Idle(..) | Report::Unknown(_));
            if sender.send(report).await.is_err() || last {
                return;
            }
        }
    }
}

/// What a step is to the source.
fn reports(
    step: Step,
    decoder: &mut RecordDecoder,
    shard: &Arc<str>,
    standing: &Standing,
) -> Result<Vec<Report>> {
    let position = standing.position();
    Ok(match step {
        Step::Records(records) => decoder.decode(&records)?.into_iter().map(Report::Rows).collect(),
        Step::Lost(loss) => {
            let position = position.unwrap_or_else(|| Position("@0".to_owned()));
            vec![Report::Rows(decoder.lost(loss.to_string(), position)?)]
        }
        Step::Unknown => vec![Report::Unknown(Arc::clone(shard))],
        Step::Idle => vec![Report::Idle(Arc::clone(shard), position)],
        Step::CaughtUp => vec![Report::CaughtUp(Arc::clone(shard), position)],
        Step::Drained(children) => vec![Report::Drained(Arc::clone(shard), children)],
    })
}

#[cfg(test)]
mod tests;
