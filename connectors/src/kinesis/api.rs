//! The four questions a reader asks Kinesis, and their answers in our words.
//!
//! [`KinesisApi`] is the seam between the reader's rules and the wire: [`AwsApi`] asks through the
//! SDK, a test answers from a script.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ChildShard, ShardIteratorType, StreamDescriptionSummary};

use super::failure::Failure;
use super::sequence::SequenceNumber;

/// A shard as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardInfo {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// The one shard it was split from, or the two it was merged from; empty for a first one.
    pub(crate) parents: Vec<Arc<str>>,
    /// Whether it takes no more records: it was split or merged itself.
    pub(crate) closed: bool,
    /// No record of it has a lower number, where the service tells.
    pub(crate) first_number: Option<SequenceNumber>,
}

/// Where reading a shard goes on. Says *at* or *after*: off by one lives where a position does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resume {
    /// At the oldest record still there.
    TrimHorizon,
    /// At the first record that arrives from now on. Only for the first iterator of a shard.
    Latest,
    /// At the first record that arrived at or after this, in milliseconds since the Unix epoch.
    AtTimestamp(i64),
    /// After this record.
    After(SequenceNumber),
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its place in the shard.
    pub(crate) sequence_number: SequenceNumber,
    /// Its partition key; streams that spread records by themselves have none.
    pub(crate) partition_key: Option<String>,
    /// When Kinesis received it, about, in milliseconds since the Unix epoch.
    pub(crate) arrival_ms: i64,
    /// Its bytes.
    pub(crate) data: Vec<u8>,
}

/// An answer to `GetRecords`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The records, in the shard's order.
    pub(crate) records: Vec<Record>,
    /// The iterator for the next page; none at the end of a closed shard.
    pub(crate) next: Option<String>,
    /// How far behind the shard's tip the page is, in milliseconds.
    pub(crate) millis_behind: i64,
    /// At the end of a closed shard: the shards that continue it, where the service tells.
    pub(crate) children: Vec<ShardInfo>,
    /// What is at or before this has been read, although it may be the number of no record.
    pub(crate) continuation: Option<SequenceNumber>,
}

impl Page {
    /// The bytes of its records.
    pub(crate) fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.data.len() as u64).sum()
    }
}

/// What a reader asks of one stream.
#[async_trait]
pub(crate) trait KinesisApi: fmt::Debug + Send + Sync {
    /// A page of the shards that still have records, and the token for the next page.
    async fn list_shards(
        &self,
        token: Option<String>,
    ) -> Result<(Vec<ShardInfo>, Option<String>), Failure>;

    /// An iterator into `shard`, good for five minutes.
    async fn shard_iterator(&self, shard: &str, resume: &Resume) -> Result<String, Failure>;

    /// The records at `iterator`.
    async fn get_records(&self, iterator: &str) -> Result<Page, Failure>;

    /// How long the stream keeps records.
    async fn retention(&self) -> Result<Duration, Failure>;
}

/// All pages of the list. Never a part of it: a failure in the middle fails the whole.
pub(crate) async fn list_all_shards(api: &dyn KinesisApi) -> Result<Vec<ShardInfo>, Failure> {
    /// An account has at most 20,000 shards by default and a page 1,000; this is far beyond.
    const PAGES_MAX: usize = 1_000;
    let mut shards = Vec::new();
    let mut token = None;
    for _ in 0..PAGES_MAX {
        let (page, next) = api.list_shards(token).await?;
        shards.extend(page);
        if next.is_none() {
            return Ok(shards);
        }
        token = next;
    }
    let class = super::failure::Class::BackOff;
    Err(Failure::new(class, "EndlessList", format!("more than {PAGES_MAX} pages of shards")))
}

/// A stream, by name or by ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRef {
    /// In the account of the credentials.
    Name(String),
    /// Anywhere.
    Arn(String),
}

impl StreamRef {
    /// `text` as written in `stream = '…'`.
    pub fn parse(text: &str) -> Self {
        match text.starts_with("arn:") {
            true => Self::Arn(text.to_owned()),
            false => Self::Name(text.to_owned()),
        }
    }

    /// The region of an ARN (`arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`).
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => arn.split(':').nth(3).filter(|region| !region.is_empty()),
        }
    }

    /// The name alone.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Arn(arn) => arn.rsplit('/').next().unwrap_or(arn),
        }
    }

    /// For requests: the name. It may stand beside the ARN, and endpoints other than AWS's know streams by
    /// their names alone.
    pub(crate) fn request_name(&self) -> Option<String> {
        Some(self.name().to_owned())
    }

    /// For requests: the ARN, if that is how the stream is known.
    pub(crate) fn request_arn(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => Some(arn.clone()),
        }
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Arn(text) => f.write_str(text),
        }
    }
}

/// Asks through the AWS SDK.
#[derive(Debug, Clone)]
pub(crate) struct AwsApi {
    client: Client,
    stream: StreamRef,
}

impl AwsApi {
    /// Asks about `stream`.
    pub(crate) fn new(client: Client, stream: StreamRef) -> Self {
        Self { client, stream }
    }

    /// The stream's ARN.
    pub(crate) async fn arn(&self) -> Result<String, Failure> {
        match &self.stream {
            StreamRef::Arn(arn) => Ok(arn.clone()),
            StreamRef::Name(_) => {
                let summary = self.summary().await?;
                Ok(summary.map(|summary| summary.stream_arn).unwrap_or_default())
            }
        }
    }

    async fn summary(&self) -> Result<Option<StreamDescriptionSummary>, Failure> {
        let request = self.client.describe_stream_summary();
        let request = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn());
        Ok(request.send().await?.stream_description_summary)
    }
}

/// A shard that continues others, in our words.
pub(crate) fn child(child: &ChildShard) -> ShardInfo {
    ShardInfo {
        id: child.shard_id().into(),
        parents: child.parent_shards().iter().map(|id| id.as_str().into()).collect(),
        closed: false,
        first_number: None,
    }
}

/// A record in our words.
pub(crate) fn record(record: aws_sdk_kinesis::types::Record) -> Record {
    let arrival = record.approximate_arrival_timestamp;
    Record {
        sequence_number: SequenceNumber::new(record.sequence_number),
        partition_key: record.partition_key,
        arrival_ms: arrival.and_then(|time| time.to_millis().ok()).unwrap_or_default(),
        data: record.data.into_inner(),
    }
}

#[async_trait]
impl KinesisApi for AwsApi {
    async fn list_shards(
        &self,
        token: Option<String>,
    ) -> Result<(Vec<ShardInfo>, Option<String>), Failure> {
        let request = self.client.list_shards();
        // A token stands for the stream: both together are refused.
        let request = match token {
            Some(token) => request.next_token(token),
            None => request
                .set_stream_name(self.stream.request_name())
                .set_stream_arn(self.stream.request_arn()),
        };
        let answer = request.send().await?;
        let shards = answer.shards().iter().map(|shard| ShardInfo {
            id: shard.shard_id().into(),
            parents: [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
                .into_iter()
                .flatten()
                .map(Into::into)
                .collect(),
            closed: shard
                .sequence_number_range()
                .is_some_and(|range| range.ending_sequence_number().is_some()),
            first_number: shard
                .sequence_number_range()
                .map(|range| SequenceNumber::new(range.starting_sequence_number())),
        });
        let next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        Ok((shards.collect(), next))
    }

    async fn shard_iterator(&self, shard: &str, resume: &Resume) -> Result<String, Failure> {
        let request = self.client.get_shard_iterator().shard_id(shard);
        let request = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn());
        let request = match resume {
            Resume::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Resume::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            Resume::AtTimestamp(ms) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            Resume::After(number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.as_str()),
        };
        let answer = request.send().await?;
        Ok(answer.shard_iterator().unwrap_or_default().to_owned())
    }

    async fn get_records(&self, iterator: &str) -> Result<Page, Failure> {
        let request = self.client.get_records().shard_iterator(iterator);
        let answer = request.set_stream_arn(self.stream.request_arn()).send().await?;
        let children = answer.child_shards().iter().map(child).collect();
        Ok(Page {
            records: answer.records.into_iter().map(record).collect(),
            next: answer.next_shard_iterator,
            millis_behind: answer.millis_behind_latest.unwrap_or_default(),
            children,
            continuation: None,
        })
    }

    async fn retention(&self) -> Result<Duration, Failure> {
        let hours = self.summary().await?.map_or(24, |summary| summary.retention_period_hours());
        Ok(Duration::from_secs(u64::try_from(hours).unwrap_or(24) * 3600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_knows_its_region_and_name() {
        let stream = StreamRef::parse("arn:aws:kinesis:eu-west-1:123456789012:stream/jobs");
        assert_eq!((stream.region(), stream.name()), (Some("eu-west-1"), "jobs"));
        assert_eq!(stream.request_name().as_deref(), Some("jobs"));
        let stream = StreamRef::parse("jobs");
        assert_eq!((stream.region(), stream.name()), (None, "jobs"));
    }
}
