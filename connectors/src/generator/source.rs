//! Generated events as an engine source: one partition, at the pace of the feed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::definition::RelationDef;
use millstream_engine::port::{PartitionId, Position, Resume, Source, SourceBatch, SourceEvent};
use millstream_engine::{Clock, Error, Result};

use super::Feed;
use super::options::GeneratorOptions;
use crate::decode::{Format, RecordAddress, RowDecoder};
use crate::{Context, Until};

/// The most rows of a batch.
const BATCH_ROWS_MAX: usize = 8_192;

/// How long due events are gathered into a batch: well under what a person notices.
const SLICE: Duration = Duration::from_millis(20);

/// Generated events of one logical stream.
pub struct GeneratorSource {
    feed: Feed,
    stream: &'static str,
    decoder: RowDecoder,
    clock: Arc<dyn Clock>,
    partition: Arc<str>,
    began: Duration,
    /// How long events had been due when this run began.
    ahead: Duration,
    /// Events taken from the feed, of all its logical streams.
    told: u64,
    events: VecDeque<SourceEvent>,
    ended: bool,
}

impl fmt::Debug for GeneratorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorSource")
            .field("stream", &self.stream)
            .field("options", self.feed.options())
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

impl GeneratorSource {
    /// Opens the stream `def`, reading the columns `projection` of [`RelationDef::stream_schema`], to
    /// go on from `resume`: the same seed makes the same events, so those told before are passed over.
    ///
    /// # Errors
    ///
    /// When an option is wrong, or the run is to end when it has caught up with a feed that has none.
    pub fn open(
        def: &RelationDef,
        projection: &[usize],
        resume: &Resume,
        context: &Context,
    ) -> Result<Self> {
        let mut options = GeneratorOptions::parse(def, context.seed)?;
        if context.until == Until::CaughtUp && options.feed.count.is_none() {
            return Err(Error::settings(format!("the generated stream {} never ends", def.name))
                .with_hint("add count = '1000', or do not ask to end when caught up"));
        }
        let partition: Arc<str> = format!("generator/{}", options.stream).into();
        let id = PartitionId(Arc::clone(&partition));
        let now_ms = context.clock.now_ms();
        let begin = (0, now_ms, options.feed.seed);
        let (told, start_ms, seed) = resume.position(&id).map_or(Ok(begin), parse_position)?;
        (options.feed.start_ms, options.feed.seed) = (start_ms, seed);
        let ended = resume.is_finished(&id);
        let events = match ended {
            true => VecDeque::new(),
            false => [SourceEvent::Discovered { partition: id, parents: Vec::new() }].into(),
        };
        let mut feed = Feed::new(options.kind, options.feed);
        let told_before = usize::try_from(told).unwrap_or(usize::MAX);
        if told_before > 0 {
            feed.nth(told_before - 1);
        }
        Ok(Self {
            feed,
            stream: options.stream,
            decoder: RowDecoder::new(def, projection, &Format::Json)?,
            began: context.clock.monotonic(),
            clock: Arc::clone(&context.clock),
            partition,
            ahead: Duration::from_millis(u64::try_from(now_ms - start_ms).unwrap_or(0)),
            told,
            events,
            ended,
        })
    }

    /// After the events told so far of a feed that is made anew by its beginning and its seed.
    fn position(&self) -> Position {
        let feed = self.feed.options();
        Position(format!("{} since {} seed {}", self.told, feed.start_ms, feed.seed))
    }

    /// Decodes what is due, at most a batch. Returns whether there was a row.
    fn gather(&mut self) -> Result<()> {
        let due = self.feed.options().due_count(self.clock.monotonic() - self.began + self.ahead);
        let arrival_ms = self.clock.now_ms();
        let mut rows = 0;
        while self.told < due && rows < BATCH_ROWS_MAX {
            let Some(event) = self.feed.next() else {
                self.ended = true;
                break;
            };
            self.told += 1;
            if event.stream != self.stream {
                continue;
            }
            let address = RecordAddress {
                arrival_ms,
                partition: &self.partition,
                position: &self.told,
                partition_key: Some(&event.partition_key),
                sequence_number: None,
                shard_id: None,
            };
            self.decoder.push(event.json_line().as_bytes(), &address);
            rows += 1;
        }
        let partition = PartitionId(Arc::clone(&self.partition));
        if rows > 0 {
            let (rows, bad) = self.decoder.finish()?;
            let (partition, position) = (partition.clone(), self.position());
            self.events.push_back(SourceEvent::Rows(SourceBatch {
                partition,
                rows,
                bad,
                position,
            }));
        }
        if self.ended {
            self.events.push_back(SourceEvent::Finished { partition });
        }
        Ok(())
    }
}

fn parse_position(position: &Position) -> Result<(u64, i64, u64)> {
    let parse = || {
        let (told, feed) = position.0.split_once(" since ")?;
        let (start_ms, seed) = feed.split_once(" seed ")?;
        Some((told.parse().ok()?, start_ms.parse().ok()?, seed.parse().ok()?))
    };
    parse().ok_or_else(|| Error::bug(format!("'{position:?}' is no position of a feed")))
}

#[async_trait]
impl Source for GeneratorSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            self.gather()?;
            if self.events.is_empty() {
                // Nothing is taken from the feed while this waits: safe to cancel.
                self.clock.sleep(SLICE).await;
            }
        }
    }

    fn lag_ms(&self) -> Option<i64> {
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, TimestampMillisecondType};
    use millstream_engine::ManualClock;
    use millstream_engine::definition::{ColumnDef, Rowtime, TIMESTAMP_TYPE};

    use super::*;

    fn open(
        options: &[(&str, &str)],
        clock: &ManualClock,
        until: Until,
    ) -> Result<GeneratorSource> {
        let all = [("connector", "generator"), ("kind", "ticker")];
        let all = all.iter().chain(options).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let def = RelationDef {
            name: "TICKS".into(),
            columns: vec![
                ColumnDef::new("EVENT_TIME", TIMESTAMP_TYPE),
                ColumnDef::new("TICKER", DataType::Utf8),
                ColumnDef::new("PRICE", DataType::Float64),
            ],
            options: all.collect(),
            rowtime: Rowtime::Column { column: 0, delay_ms: 0 },
        };
        let clock = Arc::new(clock.clone());
        let (base, troubles) = (".".into(), millstream_engine::Troubles::default());
        let context = Context { clock, until, seed: 1, base, decoders: 1, troubles };
        GeneratorSource::open(&def, &[0, 1, 2, 3], &Resume::default(), &context)
    }

    #[tokio::test]
    async fn rows_come_when_they_are_due_and_all_of_them() {
        let start_ms = 1_793_491_200_000;
        let clock = ManualClock::new(start_ms);
        let mut source = open(&[("count", "250")], &clock, Until::CaughtUp).unwrap();
        let mut times = Vec::new();
        let mut finished = false;
        loop {
            // A dropped call loses nothing.
            let event = tokio::select! {
                biased;
                event = source.next() => event.unwrap(),
                () = tokio::task::yield_now() => {
                    clock.advance(Duration::from_millis(30));
                    continue;
                }
            };
            match event {
                Some(SourceEvent::Rows(batch)) => {
                    assert!(batch.bad.is_empty(), "{:?}", batch.bad);
                    let column = batch.rows.column(0).as_primitive::<TimestampMillisecondType>();
                    times.extend(column.values().iter().copied());
                    assert!(times.iter().all(|time| *time <= clock.now_ms()), "not due yet");
                }
                Some(SourceEvent::Finished { .. }) => finished = true,
                Some(_) => {}
                None => break,
            }
        }
        assert!(finished);
        assert!(times.iter().copied().eq((0..250).map(|n| start_ms + 10 * n)));
    }

    #[test]
    fn a_feed_without_end_never_catches_up() {
        let error = open(&[], &ManualClock::new(0), Until::CaughtUp).unwrap_err();
        assert!(error.hint().unwrap().contains("count"));
        let error = open(&[("disorder", "90d")], &ManualClock::new(0), Until::Ended).unwrap_err();
        assert!(error.message().contains("disorder"));
    }
}
