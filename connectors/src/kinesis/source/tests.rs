//! Streams whose shards come and go by a script.

use std::sync::Mutex;

use arrow::datatypes::DataType;
use millstream_engine::definition::{ColumnDef, Rowtime};
use millstream_engine::{Clock, ErrorKind, SystemClock};

use super::*;
use crate::decode::Format;
use crate::kinesis::api::{Page, Record};
use crate::kinesis::sequence::SequenceNumber;

type List = Result<(Vec<ShardInfo>, Option<String>), Failure>;

/// A stream whose lists come from a script, the last one for ever; each of its shards has one
/// record. Closed shards end behind it, open ones are quiet.
#[derive(Debug)]
struct Script {
    lists: Mutex<VecDeque<List>>,
    closed: Vec<&'static str>,
    /// What the last answer of a closed shard says of its children.
    mentioned: Vec<ShardInfo>,
}

#[async_trait]
impl KinesisApi for Script {
    async fn list_shards(&self, token: Option<String>) -> List {
        let mut lists = self.lists.lock().unwrap();
        let list = if lists.len() > 1 { lists.pop_front().unwrap() } else { lists[0].clone() };
        assert!(token.is_none_or(|token| token == "more"), "a token of another list");
        list
    }
    async fn shard_iterator(&self, shard: &str, resume: &Resume) -> Result<String, Failure> {
        match resume {
            Resume::TrimHorizon => Ok(format!("{shard} 0")),
            Resume::After(number) if number.as_str() == "1" => Ok(format!("{shard} 1")),
            Resume::Latest if shard == "tip" => Ok(format!("{shard} 1")),
            other => panic!("{shard} {other:?}"),
        }
    }
    async fn retention(&self) -> Result<Duration, Failure> {
        Ok(Duration::from_secs(24 * 3600))
    }
    async fn get_records(&self, iterator: &str) -> Result<Page, Failure> {
        let (shard, page) = iterator.split_once(' ').unwrap();
        let data = format!("{{\"shard\":\"{shard}\"}}").into_bytes();
        let sequence_number = SequenceNumber::new("1");
        let record = Record { sequence_number, partition_key: None, arrival_ms: 0, data };
        if page == "0" {
            let next = Some(format!("{shard} 1"));
            return Ok(Page { records: vec![record], next, ..Page::default() });
        }
        let closed = self.closed.contains(&shard);
        let children = self.mentioned.iter().filter(|c| c.parents.iter().any(|p| **p == *shard));
        let children = if closed { children.cloned().collect() } else { Vec::new() };
        let next = (!closed).then(|| iterator.to_owned());
        Ok(Page { next, children, ..Page::default() })
    }
}

fn shard(id: &str, parents: &[&str], closed: bool) -> ShardInfo {
    let parents = parents.iter().map(|parent| Arc::from(*parent)).collect();
    ShardInfo { id: id.into(), parents, closed, first_number: None }
}

fn busy() -> List {
    Err(Failure::answered("LimitExceededException", "", Some(400)))
}

async fn open(
    lists: Vec<List>,
    closed: &[&'static str],
    mentioned: &[ShardInfo],
) -> Result<KinesisSource> {
    let begin = (Start::TrimHorizon, &port::Resume::default());
    resume(lists, closed, mentioned, begin, OnDataLoss::Fail).await
}

async fn resume(
    lists: Vec<List>,
    closed: &[&'static str],
    mentioned: &[ShardInfo],
    begin: (Start, &port::Resume),
    on_data_loss: OnDataLoss,
) -> Result<KinesisSource> {
    let (lists, closed) = (Mutex::new(lists.into()), closed.to_vec());
    let api = Arc::new(Script { lists, closed, mentioned: mentioned.to_vec() });
    let clock = Arc::new(SystemClock::new());
    let stream = "stream 's'".into();
    let poll_interval = Duration::from_millis(200);
    let caught_up_at_ms = Some(clock.now_ms());
    let beside: Arc<dyn KinesisApi> = Arc::<Script>::clone(&api);
    let reading = Reading {
        api,
        beside,
        pushed: false,
        clock,
        stream,
        poll_interval,
        caught_up_at_ms,
        idle_timeout: Duration::ZERO,
        limited: false,
        on_data_loss,
        metrics: Metrics::default(),
        alignment: Alignment::default(),
        room: Room::default(),
    };
    let def = RelationDef {
        name: "S".into(),
        columns: vec![ColumnDef::new("shard", DataType::Utf8)],
        options: Vec::new(),
        rowtime: Rowtime::Arrival,
    };
    let (def, projection) = (Arc::new(def), [0].into());
    let format = Format::Json;
    let decoding =
        Decoding { def, projection, format, payload_bytes_max: 1_000, ahead_max_ms: i64::MAX };
    KinesisSource::begin(reading, decoding, begin, 1).await
}

/// What the engine is told: `+` discovered, the id alone for its rows, `-` finished.
async fn told(mut source: KinesisSource) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = source.next().await.unwrap() {
        match event {
            SourceEvent::Discovered { partition, .. } => told.push(format!("+{partition}")),
            SourceEvent::Rows(batch) => told.push(batch.partition.to_string()),
            SourceEvent::Finished { partition } => told.push(format!("-{partition}")),
            SourceEvent::Idle { partition } => told.push(format!("~{partition}")),
            SourceEvent::Moved { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    told
}

#[tokio::test]
async fn a_list_of_several_pages_that_fails_in_the_middle_starts_again() {
    let more = || Some("more".to_owned());
    // Of the first page alone, b would be a shard whose parents are gone.
    let child = || Ok((vec![shard("b", &["a"], false)], more()));
    let lists = vec![child(), busy(), child(), Ok((vec![shard("a", &[], true)], None))];
    let source = open(lists, &["a"], &[]).await.unwrap();
    assert_eq!(told(source).await, ["+a", "a", "+b", "-a", "b", "~b"]);
}

#[tokio::test]
async fn a_child_is_searched_for_until_the_list_has_it() {
    let before = || Ok((vec![shard("a", &[], false)], None));
    let after = vec![shard("a", &[], true), shard("b", &["a"], false)];
    let lists = vec![before(), before(), busy(), Ok((after, None))];
    let source = open(lists, &["a"], &[]).await.unwrap();
    assert_eq!(told(source).await, ["+a", "a", "+b", "-a", "b", "~b"]);
}

#[tokio::test]
async fn a_child_mentioned_by_its_parent_needs_no_list() {
    let lists = vec![Ok((vec![shard("a", &[], false)], None)), busy()];
    let source = open(lists, &["a"], &[shard("b", &["a"], false)]).await.unwrap();
    assert_eq!(told(source).await, ["+a", "a", "+b", "-a", "b", "~b"]);
}

#[tokio::test]
async fn a_stream_deleted_while_it_is_read_is_an_error() {
    let gone = Err(Failure::answered("ResourceNotFoundException", "", Some(400)));
    let lists = vec![Ok((vec![shard("a", &[], false)], None)), gone];
    let mut source = open(lists, &["a"], &[]).await.unwrap();
    let error = loop {
        match source.next().await {
            Ok(event) => assert!(event.is_some(), "it ended as if all were well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.message().contains("stream 's' does not exist"), "{error}");
}

/// Where an earlier run stood: a shard, its position, whether it was read to its end.
fn stood(shards: &[(&str, Option<&str>, bool)]) -> port::Resume {
    let progress = |(id, position, finished): &(&str, Option<&str>, bool)| {
        let position = position.map(|text| Position(text.to_owned()));
        let (finished, parents) = (*finished, Vec::new());
        (PartitionId::from(*id), port::PartitionProgress { position, finished, parents })
    };
    port::Resume { partitions: shards.iter().map(progress).collect() }
}

/// A stream whose shard `a` was split into `b`, and that one into `c`.
fn generations() -> Vec<List> {
    let shards = vec![shard("a", &[], true), shard("b", &["a"], true), shard("c", &["b"], false)];
    vec![Ok((shards, None))]
}

#[tokio::test]
async fn k4_a_shard_that_vanished_unread_ends_the_run_or_is_said() {
    let stood = stood(&[("z", Some("7@1"), false)]);
    let lists = || vec![Ok((vec![shard("y", &["z"], false)], None))];
    let begin = (Start::TrimHorizon, &stood);
    let error = resume(lists(), &[], &[], begin, OnDataLoss::Fail).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("shard z of stream 's' is gone"), "{error}");
    assert!(error.message().contains("after 7"), "{error}");
    let mut source = resume(lists(), &[], &[], begin, OnDataLoss::Continue).await.unwrap();
    let Some(SourceEvent::Rows(batch)) = source.next().await.unwrap() else { panic!("rows") };
    assert_eq!((batch.bad.len(), batch.bad[0].reason.name()), (1, "LOST"));
    assert_eq!(told(source).await, ["-z", "+y", "y", "~y"]);
}

#[tokio::test]
async fn k5_a_run_that_died_behind_a_shards_end_goes_on_with_its_children() {
    let stood = stood(&[("a", Some("1@1"), true)]);
    let begin = (Start::TrimHorizon, &stood);
    let source = resume(generations(), &["a", "b"], &[], begin, OnDataLoss::Fail).await.unwrap();
    assert_eq!(told(source).await, ["+b", "b", "+c", "-b", "c", "~c"]);
}

#[tokio::test]
async fn k6_children_made_meanwhile_are_read_from_their_beginning() {
    let stood = stood(&[("a", Some("1@1"), false)]);
    let begin = (Start::Latest, &stood);
    let source = resume(generations(), &["a", "b"], &[], begin, OnDataLoss::Fail).await.unwrap();
    // The record of `a` was read before; those of its descendants were not.
    assert_eq!(told(source).await, ["+a", "+b", "-a", "b", "+c", "-b", "c", "~c"]);
}

/// What "the tip" means is said before the first record, so that a restart finds it again.
#[tokio::test]
async fn k7_a_start_at_the_tip_is_settled_before_the_first_record() {
    let lists = vec![Ok((vec![shard("tip", &[], false)], None))];
    let begin = (Start::Latest, &port::Resume::default());
    let began_ms = SystemClock::new().now_ms();
    let mut source = resume(lists, &[], &[], begin, OnDataLoss::Fail).await.unwrap();
    assert!(matches!(source.next().await.unwrap(), Some(SourceEvent::Discovered { .. })));
    let Some(SourceEvent::Moved { position, .. }) = source.next().await.unwrap() else {
        panic!("it does not say where it begins")
    };
    let Resume::AtTimestamp(ms) = Standing::read(&position).unwrap().resume else { panic!("when") };
    assert!((began_ms - 60_000..=began_ms).contains(&ms), "{ms}");
}

#[tokio::test]
async fn k42_a_start_in_the_future_is_refused_and_says_what_to_do() {
    let future = Start::AtTimestamp(SystemClock::new().now_ms() + 3_600_000);
    let begin = (future, &port::Resume::default());
    let error = resume(generations(), &[], &[], begin, OnDataLoss::Fail).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert!(error.message().contains("lies in the future"), "{error}");
    assert!(error.hint().unwrap().contains("latest"));
}
