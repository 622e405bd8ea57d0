//! The Kinesis source and producer against the embedded endpoint, over real HTTP with the real SDK.
//!
//! The oracle is what was put: every record read exactly once, in the order of its key.
#![cfg(feature = "embedded-kinesis")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share fail them")]
#![expect(clippy::large_futures, reason = "a test is one future, as large as it is long")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use aws_sdk_kinesis::Client;
use millstream_connectors::embedded::{EmbeddedKinesis, EmbeddedOptions};
use millstream_connectors::generator::drive::drive;
use millstream_connectors::generator::targets::KinesisTarget;
use millstream_connectors::generator::{Feed, FeedKind, FeedOptions};
use millstream_connectors::kinesis::StreamRef;
use millstream_connectors::kinesis::client::{ConnectOptions, connect};
use millstream_connectors::kinesis::producer::{Producer, create_stream_if_missing};
use millstream_connectors::kinesis::source::KinesisSource;
use millstream_connectors::{Context, Until};
use millstream_engine::definition::{ColumnDef, RelationDef, Rowtime};
use millstream_engine::port::{PartitionId, Resume, Source, SourceEvent};
use millstream_engine::task::OwnedTask;
use millstream_engine::{Clock, ErrorKind, SystemClock, Troubles};

/// The test fails if it takes longer: a streaming reader's typical failure is to hang.
async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        done = work => done,
        () = clock.sleep(Duration::from_secs(seconds)) => panic!("not done in {seconds} s"),
    }
}

fn context(until: Until) -> Context {
    let (clock, troubles) = (Arc::new(SystemClock::new()), Troubles::default());
    Context { clock, until, seed: 7, base: ".".into(), decoders: 1, troubles }
}

struct Peer {
    endpoint: EmbeddedKinesis,
    client: Client,
}

impl Peer {
    async fn start(options: EmbeddedOptions) -> Self {
        let endpoint = EmbeddedKinesis::start(options).unwrap();
        let options =
            ConnectOptions { endpoint: Some(endpoint.endpoint_url()), ..ConnectOptions::default() };
        let client = Box::pin(connect(&options)).await.unwrap().client;
        Self { endpoint, client }
    }

    async fn create(&self, name: &str, shards: u16) {
        let context = context(Until::Ended);
        assert!(create_stream_if_missing(&self.client, name, shards, &context).await.unwrap());
        assert!(!create_stream_if_missing(&self.client, name, shards, &context).await.unwrap());
    }

    fn def(&self, stream: &str, options: &[(&str, &str)]) -> RelationDef {
        let url = self.endpoint.endpoint_url();
        let all = [("connector", "kinesis"), ("stream", stream), ("endpoint", &url)];
        let all = all.iter().chain(options).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        RelationDef {
            name: "NUMBERS".into(),
            columns: vec![
                ColumnDef::new("k", DataType::Utf8),
                ColumnDef::new("n", DataType::Int64),
            ],
            options: all.collect(),
            rowtime: Rowtime::Arrival,
        }
    }

    async fn open(&self, stream: &str, options: &[(&str, &str)], until: Until) -> Reader {
        let def = self.def(stream, options);
        let all: Vec<usize> = (0..def.stream_schema().fields().len()).collect();
        let source = Box::pin(KinesisSource::open(&def, &all, &Resume::default(), &context(until)))
            .await
            .unwrap();
        Reader { source, seen: Seen::default() }
    }

    /// Everything in the stream now.
    async fn read_all(&self, stream: &str) -> Seen {
        let mut reader = self.open(stream, &[], Until::CaughtUp).await;
        while reader.step().await {}
        reader.seen
    }

    fn producer(&self, stream: &str) -> Producer {
        Producer::new(self.client.clone(), StreamRef::parse(stream), &context(Until::Ended))
    }

    /// Puts the numbers `from..to` under the key `key`.
    async fn put(&self, stream: &str, key: &str, numbers: std::ops::Range<i64>) {
        let mut producer = self.producer(stream);
        for n in numbers {
            producer.put(key, record(key, n)).await.unwrap();
        }
        producer.flush().await.unwrap();
    }
}

fn record(key: &str, n: i64) -> Vec<u8> {
    format!("{{\"k\":\"{key}\",\"n\":{n}}}").into_bytes()
}

/// What a reader was told, checked as it comes.
#[derive(Debug, Default)]
struct Seen {
    /// The numbers of each key, in the order they came.
    keys: BTreeMap<String, Vec<i64>>,
    rows: usize,
    discovered: HashMap<PartitionId, Vec<PartitionId>>,
    finished: HashSet<PartitionId>,
    idle: HashSet<PartitionId>,
}

impl Seen {
    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Discovered { partition, parents } => {
                assert!(
                    parents
                        .iter()
                        .all(|parent| !self.finished.contains(parent) || parents.len() > 1),
                    "{partition} is discovered after its parents finished"
                );
                assert!(self.discovered.insert(partition, parents).is_none(), "discovered twice");
            }
            SourceEvent::Rows(batch) => {
                let parents = &self.discovered[&batch.partition];
                assert!(parents.iter().all(|parent| self.finished.contains(parent)));
                assert!(!self.finished.contains(&batch.partition), "rows after the end");
                assert!(batch.bad.is_empty(), "{:?}", batch.bad);
                self.idle.remove(&batch.partition);
                let column = |name: &str| batch.rows.column_by_name(name).unwrap();
                let (keys, numbers) = (column("k"), column("n"));
                let (keys, numbers) =
                    (keys.as_string::<i32>(), numbers.as_primitive::<Int64Type>());
                let sequence_numbers = column("SEQUENCE_NUMBER").as_string::<i32>();
                let shards = column("SHARD_ID").as_string::<i32>();
                let partition_keys = column("PARTITION_KEY").as_string::<i32>();
                for row in 0..batch.rows.num_rows() {
                    let key = keys.value(row);
                    assert_eq!(key, partition_keys.value(row));
                    assert_eq!(shards.value(row), &*batch.partition.0);
                    self.keys.entry(key.to_owned()).or_default().push(numbers.value(row));
                }
                let last = sequence_numbers.value(batch.rows.num_rows() - 1);
                let after = batch.position.0.split('@').next().unwrap();
                assert_eq!(after, last, "the position names what was handed on");
                self.rows += batch.rows.num_rows();
            }
            // Once more when the run leaves it.
            SourceEvent::Idle { partition } => drop(self.idle.insert(partition)),
            SourceEvent::Finished { partition } => {
                assert!(self.discovered.contains_key(&partition));
                assert!(self.finished.insert(partition), "finished twice");
            }
            SourceEvent::Bound { .. } => panic!("Kinesis knows no bounds"),
            SourceEvent::Moved { .. } => {}
        }
    }

    /// How many shards are read to their end or to their present end.
    fn left(&self) -> usize {
        self.finished.union(&self.idle).count()
    }

    /// Each of these keys has exactly the numbers `0..count`, in order.
    fn assert_whole(&self, keys: usize, count: i64) {
        assert_eq!(self.keys.len(), keys);
        for (key, numbers) in &self.keys {
            let wrong = numbers.iter().zip(0..).find(|(a, b)| *a != b);
            assert_eq!(wrong, None, "{key} is out of order, twice or missing here");
            assert_eq!(numbers.len(), usize::try_from(count).unwrap(), "{key}");
        }
    }
}

struct Reader {
    source: KinesisSource,
    seen: Seen,
}

impl Reader {
    /// Takes an event; `false` at the end.
    async fn step(&mut self) -> bool {
        match self.source.next().await.unwrap() {
            Some(event) => {
                self.seen.take(event);
                true
            }
            None => false,
        }
    }

    async fn read(&mut self, rows: usize) {
        while self.seen.rows < rows {
            assert!(self.step().await, "the stream ended");
        }
    }
}

async fn pause(ms: u64) {
    SystemClock::new().sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_shards_with_four_producers_are_read_exactly_once() {
    within(90, async {
        let peer = Arc::new(Peer::start(EmbeddedOptions::default()).await);
        peer.create("numbers", 4).await;
        let mut live = peer.open("numbers", &[], Until::Ended).await;
        let producers: Vec<_> = (0..4)
            .map(|p| {
                let peer = Arc::clone(&peer);
                OwnedTask::spawn(async move {
                    let mut producer = peer.producer("numbers");
                    for n in 0..1_000 {
                        for key in 0..5 {
                            let key = format!("p{p}-{key}");
                            producer.put(&key, record(&key, n)).await.unwrap();
                        }
                    }
                    producer.flush().await.unwrap();
                    producer.counts().records
                })
            })
            .collect();
        live.read(20_000).await;
        for producer in producers {
            assert_eq!(producer.join().await.unwrap(), 5_000);
        }
        live.seen.assert_whole(20, 1_000);
        assert_eq!(live.seen.discovered.len(), 4);
        assert_eq!(live.source.lag_ms(), Some(0));
        while live.seen.idle.len() < 4 {
            live.step().await;
        }
        let all = peer.read_all("numbers").await;
        all.assert_whole(20, 1_000);
        assert_eq!(all.left(), 4, "a run that has caught up is done with its shards");
    })
    .await;
}

/// The hash key in the middle of a shard's range, and the ids of two neighbours.
async fn open_shards(peer: &Peer, stream: &str) -> Vec<(String, u128, u128)> {
    let shards = peer.client.list_shards().stream_name(stream).send().await.unwrap();
    let open = shards
        .shards()
        .iter()
        .filter(|shard| shard.sequence_number_range().unwrap().ending_sequence_number().is_none());
    let mut open: Vec<_> = open
        .map(|shard| {
            let range = shard.hash_key_range().unwrap();
            let number = |text: &str| text.parse::<u128>().unwrap();
            let ends = (number(range.starting_hash_key()), number(range.ending_hash_key()));
            (shard.shard_id().to_owned(), ends.0, ends.1)
        })
        .collect();
    open.sort_by_key(|(_, start, _)| *start);
    open
}

async fn settle(peer: &Peer, stream: &str, shards: usize) {
    for _ in 0..100 {
        if open_shards(peer, stream).await.len() == shards {
            return;
        }
        pause(20).await;
    }
    panic!("{stream} does not get {shards} open shards");
}

async fn split_first(peer: &Peer, stream: &str) {
    let open = open_shards(peer, stream).await;
    let (shard, start, end) = &open[0];
    let middle = (start + (end - start) / 2).to_string();
    let request = peer.client.split_shard().stream_name(stream).shard_to_split(shard);
    request.new_starting_hash_key(middle).send().await.unwrap();
    settle(peer, stream, open.len() + 1).await;
}

async fn merge_first_two(peer: &Peer, stream: &str) {
    let open = open_shards(peer, stream).await;
    let request = peer.client.merge_shards().stream_name(stream).shard_to_merge(&open[0].0);
    request.adjacent_shard_to_merge(&open[1].0).send().await.unwrap();
    settle(peer, stream, open.len() - 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_and_merges_keep_the_order_of_every_key() {
    within(120, async {
        let peer = Arc::new(Peer::start(EmbeddedOptions::default()).await);
        peer.create("moving", 2).await;
        let mut live = peer.open("moving", &[], Until::Ended).await;
        let writer = {
            let peer = Arc::clone(&peer);
            OwnedTask::spawn(async move {
                let mut producer = peer.producer("moving");
                for n in 0..400 {
                    for key in 0..16 {
                        let key = format!("k{key}");
                        producer.put(&key, record(&key, n)).await.unwrap();
                    }
                    producer.flush().await.unwrap();
                    pause(5).await;
                }
            })
        };
        let mover = {
            let peer = Arc::clone(&peer);
            OwnedTask::spawn(async move {
                split_first(&peer, "moving").await;
                split_first(&peer, "moving").await;
                merge_first_two(&peer, "moving").await;
                pause(300).await;
                merge_first_two(&peer, "moving").await;
                split_first(&peer, "moving").await;
            })
        };
        live.read(16 * 400).await;
        writer.join().await.unwrap();
        mover.join().await.unwrap();
        live.seen.assert_whole(16, 400);
        // Two at first, two for each split, one for each merge.
        let all = peer.read_all("moving").await;
        all.assert_whole(16, 400);
        assert_eq!(all.discovered.len(), 2 + 3 * 2 + 2);
        assert_eq!(all.left(), all.discovered.len());
        let merged = all.discovered.values().filter(|parents| parents.len() == 2).count();
        assert_eq!(merged, 2, "both parents of a merged shard are named");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_closed_shard_holds_nobody_up() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        peer.create("empty", 1).await;
        split_first(&peer, "empty").await;
        merge_first_two(&peer, "empty").await;
        peer.put("empty", "a", 0..10).await;
        let all = peer.read_all("empty").await;
        all.assert_whole(1, 10);
        assert_eq!(all.left(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_is_what_comes_after_the_source_is_open() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        peer.create("latest", 2).await;
        split_first(&peer, "latest").await;
        peer.put("latest", "old", 0..100).await;
        let mut reader = peer.open("latest", &[("start", "latest")], Until::Ended).await;
        // Before the reader has asked for anything, and over a shard made later.
        peer.put("latest", "a", 0..50).await;
        split_first(&peer, "latest").await;
        peer.put("latest", "a", 50..100).await;
        peer.put("latest", "b", 0..100).await;
        reader.read(200).await;
        reader.seen.assert_whole(2, 100);
        assert_eq!(reader.seen.discovered.len(), 5, "the shard closed before is not read");

        let mut nothing = peer.open("latest", &[("start", "latest")], Until::CaughtUp).await;
        while nothing.step().await {}
        assert_eq!(nothing.seen.rows, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_skips_what_arrived_before() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        peer.create("timed", 2).await;
        peer.put("timed", "old", 0..100).await;
        // The endpoint keeps arrival times in whole seconds.
        pause(2_100).await;
        let second = SystemClock::new().now_ms() / 1_000;
        let time = arrow::temporal_conversions::timestamp_s_to_datetime(second).unwrap();
        let time = time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        peer.put("timed", "new", 0..100).await;
        for options in [
            vec![("start", time.as_str())],
            vec![("start", "at_timestamp"), ("start_timestamp", time.as_str())],
        ] {
            let mut reader = peer.open("timed", &options, Until::CaughtUp).await;
            while reader.step().await {}
            reader.seen.assert_whole(1, 100);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn iterators_that_expire_lose_and_repeat_nothing() {
    within(90, async {
        let iterator_ttl = Duration::from_secs(1);
        let peer =
            Peer::start(EmbeddedOptions { iterator_ttl, ..EmbeddedOptions::default() }).await;
        peer.create("expiring", 1).await;
        peer.put("expiring", "old", 0..10).await;
        // Arrival times are whole seconds here; the start at the tip is dated back by one.
        pause(3_100).await;
        let options = [("start", "latest"), ("poll_interval", "3s")];
        let mut reader = peer.open("expiring", &options, Until::Ended).await;
        // The engine is slow: the iterator of the open is too old before the first record comes.
        while reader.seen.idle.is_empty() {
            reader.step().await;
        }
        pause(2_500).await;
        peer.put("expiring", "a", 0..10).await;
        reader.read(10).await;
        pause(2_500).await;
        peer.put("expiring", "a", 10..30).await;
        reader.read(30).await;
        reader.seen.assert_whole(1, 30);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_failed_part_of_a_call_is_sent_again() {
    within(90, async {
        let options = EmbeddedOptions { enforce_limits: true, ..EmbeddedOptions::default() };
        let peer = Peer::start(options).await;
        peer.create("throttled", 1).await;
        let mut producer = peer.producer("throttled");
        for n in 0..3_000 {
            producer.put("a", record("a", n)).await.unwrap();
        }
        producer.flush().await.unwrap();
        let counts = producer.counts();
        assert_eq!(counts.records, 3_000);
        assert!(counts.repeated > 0, "nothing was throttled: {counts:?}");
        let all = peer.read_all("throttled").await;
        let mut numbers = all.keys["a"].clone();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..3_000), "each once, if not in order");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_full_by_bytes_or_by_records() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        peer.create("large", 1).await;
        let mut producer = peer.producer("large");
        for n in 0..12 {
            let mut large = record("a", n);
            large.splice(1..1, format!("\"pad\":\"{}\",", "x".repeat(1_000_000)).into_bytes());
            producer.put("a", large).await.unwrap();
        }
        producer.flush().await.unwrap();
        assert_eq!((producer.counts().calls, producer.counts().records), (3, 12));
        peer.read_all("large").await.assert_whole(1, 12);
        let error = producer.put("a", vec![b'x'; 6 * 1024 * 1024]).await.unwrap_err();
        assert!(error.message().contains("'large'"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_mend_is_one_clear_error() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        let def = peer.def("missing", &[("region", "eu-west-3")]);
        let opened =
            Box::pin(KinesisSource::open(&def, &[0], &Resume::default(), &context(Until::Ended)))
                .await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        for part in ["'missing'", "eu-west-3", &peer.endpoint.endpoint_url(), "does not exist"] {
            assert!(error.message().contains(part), "{error}");
        }
        let mut producer = peer.producer("missing");
        producer.put("a", record("a", 0)).await.unwrap();
        let error = producer.flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings, "{error}");
        assert!(error.message().contains("'missing'") && error.message().contains("1 attempt:"));

        let future = [("start", "2200-01-01T00:00:00Z")];
        let def = peer.def("missing", &future);
        let opened =
            Box::pin(KinesisSource::open(&def, &[0], &Resume::default(), &context(Until::Ended)))
                .await;
        assert!(opened.unwrap_err().message().contains("future"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_there_is_given_up_on() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        let def = peer.def("any", &[]);
        drop(peer);
        let opened =
            Box::pin(KinesisSource::open(&def, &[0], &Resume::default(), &context(Until::Ended)))
                .await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(error.message().contains("cannot be reached"), "{error}");
        assert!(error.hint().unwrap().contains("endpoint"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_a_state_directory_remembers() {
    within(60, async {
        let dir = tempfile::tempdir().unwrap();
        let options = || EmbeddedOptions {
            state_dir: Some(dir.path().to_owned()),
            ..EmbeddedOptions::default()
        };
        let peer = Peer::start(options()).await;
        peer.create("kept", 1).await;
        peer.put("kept", "a", 0..100).await;
        drop(peer);
        let peer = Peer::start(options()).await;
        peer.read_all("kept").await.assert_whole(1, 100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_events_arrive_as_generated() {
    within(60, async {
        let peer = Peer::start(EmbeddedOptions::default()).await;
        let options =
            FeedOptions { seed: 3, rate_per_s: 0, count: Some(3_000), ..FeedOptions::default() };
        let feed = Feed::new(FeedKind::Tenants, options.clone());
        let context = context(Until::Ended);
        let mut target = KinesisTarget::new(peer.client.clone(), "demo-", 2, &context);
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let report = drive(feed, &mut target, &*context.clock, stopped).await.unwrap();
        assert_eq!(report.events, 3_000);
        let mut def = peer.def("demo-jobs", &[]);
        def.columns = vec![
            ColumnDef::new("company_id", DataType::Utf8),
            ColumnDef::new("job_submitted", DataType::Int64),
        ];
        let mut source = Box::pin(KinesisSource::open(
            &def,
            &[0, 1],
            &Resume::default(),
            &Context { until: Until::CaughtUp, ..context },
        ))
        .await
        .unwrap();
        let mut jobs = 0;
        while let Some(event) = source.next().await.unwrap() {
            if let SourceEvent::Rows(batch) = event {
                assert!(batch.bad.is_empty());
                assert_eq!(batch.rows.column(1).null_count(), 0);
                jobs += batch.rows.num_rows() as u64;
            }
        }
        assert_eq!(jobs, report.by_stream["jobs"]);
    })
    .await;
}
