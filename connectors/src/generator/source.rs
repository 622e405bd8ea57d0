//! Generated events as an engine source: one partition, at the pace of the feed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::definition::RelationDef;
use millstream_engine::port::{PartitionId, Position, Source, SourceBatch, SourceEvent};
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
    /// Opens the stream `def`, reading the columns `projection` of [`RelationDef::stream_schema`].
    ///
    /// # Errors
    ///
    /// When an option is wrong, or the run is to end when it has caught up with a feed that has none.
    pub fn open(def: &RelationDef, projection: &[usize], context: &Context) -> Result<Self> {
        let mut options = GeneratorOptions::parse(def, context.seed)?;
        if context.until == Until::CaughtUp && options.feed.count.is_none() {
            return Err(Error::settings(format!("the generated stream {} never ends", def.name))
                .with_hint("add count = '1000', or do not ask to end when caught up"));
        }
        options.feed.start_ms = context.clock.now_ms();
        let partition: Arc<str> = format!("generator/{}", options.stream).into();
        let id = PartitionId(Arc::clone(&partition));
        Ok(Self {
            feed: Feed::new(options.kind, options.feed),
            stream: options.stream,
            decoder: RowDecoder::new(def, projection, &Format::Json)?,
            began: context.clock.monotonic(),
            clock: Arc::clone(&context.clock),
            partition,
            told: 0,
            events: [SourceEvent::Discovered { partition: id, parents: Vec::new() }].into(),
            ended: false,
        })
    }

    /// Decodes what is due, at most a batch. Returns whether there was a row.
    fn gather(&mut self) -> Result<()> {
        let due = self.feed.options().due_count(self.clock.monotonic() - self.began);
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
            let (partition, position) = (partition.clone(), Position(self.told.to_string()));
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
        let context = Context { clock, until, seed: 1, base: ".".into() };
        GeneratorSource::open(&def, &[0, 1, 2, 3], &context)
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
