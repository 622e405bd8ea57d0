//! Enhanced fan-out: a consumer of its own, to which each shard pushes its records.
//!
//! A subscription is, to the reader of a shard, an iterator that waits: the rules of positions, ends and
//! failures are the same ones. It lasts five minutes; then the shard is subscribed again after the last
//! continuation number, which moves although no record comes.
//!
//! ```text
//!   SubscribeToShard ─► event, event, … ─► end after five minutes ─► again, from the continuation number
//!                         └─ none for half a minute: the connection is dead ─► again
//! ```
//!
//! A consumer has one subscription per shard: of two processes the later one takes it over, and within
//! five seconds it is refused (`ResourceInUseException`), which passes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use millstream_engine::Clock;

use super::api::{AwsApi, KinesisApi, Page, Resume, ShardInfo, child, record};
use super::failure::{Class, Failure};
use super::sequence::SequenceNumber;

/// How long a subscription may be silent: an idle shard sends an empty event every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long a consumer may take to become ready.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(60);

/// Between two looks at whether it has.
const REGISTER_INTERVAL: Duration = Duration::from_millis(500);

/// Reads the shards of a stream through a consumer of its own.
pub(crate) struct FanOutApi {
    client: Client,
    /// For what is not pushed.
    polling: AwsApi,
    consumer_arn: String,
    clock: Arc<dyn Clock>,
    subscriptions: Mutex<HashMap<String, Box<SubscribeToShardOutput>>>,
    begun: AtomicU64,
}

impl fmt::Debug for FanOutApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOutApi").field("consumer", &self.consumer_arn).finish_non_exhaustive()
    }
}

impl FanOutApi {
    /// Registers the consumer `name` of the stream, unless it is, and waits until it can be used.
    pub(crate) async fn register(
        client: Client,
        polling: AwsApi,
        name: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let stream_arn = polling.arn().await?;
        let began = clock.monotonic();
        let consumer_arn = loop {
            let described = client.describe_stream_consumer();
            let described = described.stream_arn(&stream_arn).consumer_name(name).send().await;
            match described.map_err(Failure::from) {
                Ok(answer) => {
                    let consumer = answer.consumer_description();
                    let ready = consumer.filter(|c| *c.consumer_status() == ConsumerStatus::Active);
                    if let Some(consumer) = ready {
                        break consumer.consumer_arn().to_owned();
                    }
                }
                Err(failure) if failure.class == Class::Missing => {
                    let request = client.register_stream_consumer();
                    request.stream_arn(&stream_arn).consumer_name(name).send().await?;
                }
                Err(failure) => return Err(failure),
            }
            if clock.monotonic().saturating_sub(began) > REGISTER_TIMEOUT {
                let words = format!("consumer {name} is not ready yet");
                return Err(Failure::new(Class::BackOff, "ConsumerNotActive", words));
            }
            clock.sleep(REGISTER_INTERVAL).await;
        };
        let (subscriptions, begun) = (Mutex::default(), AtomicU64::default());
        Ok(Self { client, polling, consumer_arn, clock, subscriptions, begun })
    }

    fn take(&self, key: &str) -> Option<Box<SubscribeToShardOutput>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }

    fn keep(&self, key: &str, subscription: Box<SubscribeToShardOutput>) {
        let mut all = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.to_owned(), subscription);
    }
}

#[async_trait]
impl KinesisApi for FanOutApi {
    async fn list_shards(
        &self,
        token: Option<String>,
    ) -> Result<(Vec<ShardInfo>, Option<String>), Failure> {
        self.polling.list_shards(token).await
    }

    async fn shard_iterator(&self, shard: &str, resume: &Resume) -> Result<String, Failure> {
        let request = self.client.subscribe_to_shard().consumer_arn(&self.consumer_arn);
        let request = request.shard_id(shard).starting_position(starting(resume)?);
        let subscription = request.send().await?;
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let key = format!("{shard} {number}");
        // Of a shard there is one subscription: an earlier one is over.
        let prefix = format!("{shard} ");
        let mut all = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|key, _| !key.starts_with(&prefix));
        all.insert(key.clone(), Box::new(subscription));
        Ok(key)
    }

    async fn get_records(&self, iterator: &str) -> Result<Page, Failure> {
        let over = || Failure::new(Class::Renew, "SubscriptionEnded", "it is begun again");
        let mut subscription = self.take(iterator).ok_or_else(over)?;
        let received = tokio::select! {
            received = subscription.event_stream.recv() => received,
            () = self.clock.sleep(SILENCE_MAX) => {
                let words = "the subscription was silent for 30 s";
                return Err(Failure::new(Class::Renew, "SubscriptionSilent", words));
            }
        };
        let event = match received {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => event,
            // An event of a kind that is not known yet says nothing of records.
            Ok(Some(_)) => {
                self.keep(iterator, subscription);
                return Ok(Page {
                    next: Some(iterator.to_owned()),
                    millis_behind: 1,
                    ..Page::default()
                });
            }
            Ok(None) => return Err(over()),
            Err(SdkError::ServiceError(answer)) => {
                let (code, words) = (answer.err().code(), answer.err().message());
                return Err(Failure::answered(
                    code.unwrap_or("UnknownError"),
                    words.unwrap_or_default(),
                    None,
                ));
            }
            Err(error) => {
                return Err(Failure::new(Class::Renew, "SubscriptionBroken", error.to_string()));
            }
        };
        let page = page_of(event, iterator);
        if page.next.is_some() {
            self.keep(iterator, subscription);
        }
        Ok(page)
    }

    async fn retention(&self) -> Result<Duration, Failure> {
        self.polling.retention().await
    }
}

/// The event as an answer. At the end of a closed shard there are children, or nothing to go on from.
fn page_of(event: SubscribeToShardEvent, iterator: &str) -> Page {
    let children: Vec<ShardInfo> = event.child_shards().iter().map(child).collect();
    let continuation = Some(event.continuation_sequence_number).filter(|n| !n.is_empty());
    let ended = !children.is_empty() || continuation.is_none();
    Page {
        records: event.records.into_iter().map(record).collect(),
        next: (!ended).then(|| iterator.to_owned()),
        millis_behind: event.millis_behind_latest,
        children,
        continuation: continuation.filter(|_| !ended).map(SequenceNumber::new),
    }
}

fn starting(resume: &Resume) -> Result<StartingPosition, Failure> {
    let position = StartingPosition::builder();
    let position = match resume {
        Resume::TrimHorizon => position.r#type(ShardIteratorType::TrimHorizon),
        Resume::Latest => position.r#type(ShardIteratorType::Latest),
        Resume::AtTimestamp(ms) => {
            position.r#type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*ms))
        }
        Resume::After(number) => {
            position.r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(number.as_str())
        }
    };
    let built = position.build();
    built.map_err(|error| Failure::new(Class::Invalid, "IncompletePosition", error.to_string()))
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;
    use aws_sdk_kinesis::types::{ChildShard, HashKeyRange, Record};

    use super::*;

    fn event(numbers: &[&str], continuation: &str, children: bool) -> SubscribeToShardEvent {
        let record = |number: &&str| {
            let record = Record::builder().sequence_number(*number).data(Blob::new("x"));
            record.partition_key("k").build().unwrap()
        };
        let range = HashKeyRange::builder().starting_hash_key("0").ending_hash_key("9").build();
        let child = ChildShard::builder().shard_id("child").parent_shards("parent");
        let child = child.hash_key_range(range.unwrap()).build().unwrap();
        SubscribeToShardEvent::builder()
            .set_records(Some(numbers.iter().map(record).collect()))
            .continuation_sequence_number(continuation)
            .millis_behind_latest(7)
            .set_child_shards(children.then(|| vec![child]))
            .build()
            .unwrap()
    }

    /// The end of a shard is an end, with or without a number to go on from, and keeps its records.
    #[test]
    fn k34_a_subscription_ends_with_its_shard() {
        let goes_on = page_of(event(&["3"], "5", false), "s 1");
        assert_eq!(goes_on.next.as_deref(), Some("s 1"));
        assert_eq!(goes_on.continuation, Some(SequenceNumber::new("5")));
        for ended in [event(&["3"], "", false), event(&["3"], "", true), event(&["3"], "5", true)] {
            let children = ended.child_shards().len();
            let page = page_of(ended, "s 1");
            assert_eq!((page.next, page.continuation), (None, None));
            assert_eq!((page.records.len(), page.children.len()), (1, children));
        }
    }

    #[test]
    fn a_subscription_begins_where_reading_stands() {
        let after = Resume::After(SequenceNumber::new("9"));
        let kinds = [
            (after, ShardIteratorType::AfterSequenceNumber),
            (Resume::TrimHorizon, ShardIteratorType::TrimHorizon),
            (Resume::Latest, ShardIteratorType::Latest),
            (Resume::AtTimestamp(5), ShardIteratorType::AtTimestamp),
        ];
        for (resume, kind) in kinds {
            assert_eq!(starting(&resume).unwrap().r#type(), &kind, "{resume:?}");
        }
    }
}
