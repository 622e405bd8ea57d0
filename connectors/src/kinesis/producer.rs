//! Writing records to a stream: `PutRecords` in full batches, with retry of exactly what failed.
//!
//! A call to `PutRecords` can succeed for some records and fail for others; only the latter are sent
//! again. Kinesis keeps no order within a call, and a record sent again goes behind its successors:
//! per-key order is not promised under throttling. A call whose answer is lost is repeated whole, so
//! a record may then be in the stream twice.
//!
//! The invariant: when [`Producer::flush`] returns `Ok`, every record handed in is in the stream.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use millstream_engine::{Error, Result};

use super::api::StreamRef;
use super::failure::{BackOff, Class, Failure};
use crate::Context;

/// The most records of a call. Source: `PutRecords` in the Kinesis API reference.
const RECORDS_MAX: usize = 500;

/// The most bytes of a call, data and partition keys together: what every stream takes. Source: as
/// above (streams set up for large records take 10 MiB).
const BYTES_MAX: usize = 5 * 1024 * 1024;

/// How often a record is sent before its failure is an error. With the waits between, a shard that
/// is throttled for half a minute is got over.
const ATTEMPTS_MAX: u32 = 12;

/// How long a stream may take to become ready for use.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);

/// What a producer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutCounts {
    /// Records that Kinesis took.
    pub records: u64,
    /// Their bytes, without partition keys.
    pub bytes: u64,
    /// Calls made.
    pub calls: u64,
    /// How often a record had to be sent again.
    pub repeated: u64,
}

/// Writes records to one stream.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    stream: StreamRef,
    context: Context,
    back_off: BackOff,
    batch: Vec<PutRecordsRequestEntry>,
    batch_bytes: usize,
    counts: PutCounts,
}

/// A failed answer for a record or for a whole call, and the records it holds for.
type Rejected = (Vec<PutRecordsRequestEntry>, Option<Failure>);

impl Producer {
    /// Writes to `stream`, which exists.
    pub fn new(client: Client, stream: StreamRef, context: &Context) -> Self {
        Self {
            client,
            stream,
            back_off: BackOff::new(context.seed),
            context: context.clone(),
            batch: Vec::new(),
            batch_bytes: 0,
            counts: PutCounts::default(),
        }
    }

    /// Takes a record, and sends a batch when one is full.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`]; and when the record alone is too large for any call.
    pub async fn put(&mut self, partition_key: &str, data: Vec<u8>) -> Result<()> {
        let bytes = partition_key.len() + data.len();
        if bytes > BYTES_MAX {
            return Err(Error::data(format!(
                "a record of {bytes} bytes is too large for Kinesis stream '{}'",
                self.stream
            ))
            .with_hint(format!("a record and its key may have {BYTES_MAX} bytes")));
        }
        if self.batch.len() == RECORDS_MAX || self.batch_bytes + bytes > BYTES_MAX {
            self.flush().await?;
        }
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(data));
        let entry = entry
            .partition_key(partition_key)
            .build()
            .map_err(|error| Error::bug("a record for Kinesis is incomplete").with_source(error))?;
        self.batch.push(entry);
        self.batch_bytes += bytes;
        Ok(())
    }

    /// Sends what is held back.
    ///
    /// # Errors
    ///
    /// When Kinesis refuses a record for good, or still fails after a bounded number of attempts. The
    /// records not taken are dropped; [`Self::counts`] says how many were.
    pub async fn flush(&mut self) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        for attempt in 1.. {
            if batch.is_empty() {
                break;
            }
            if attempt > 1 {
                self.counts.repeated += batch.len() as u64;
            }
            let (rest, failure) = self.send(batch).await;
            batch = rest;
            if let Some(failure) = failure {
                let may_pass = matches!(failure.class, Class::BackOff | Class::Unreachable);
                if !may_pass || attempt >= ATTEMPTS_MAX {
                    return Err(self.refused(batch.len(), attempt, &failure));
                }
                let wait = self.back_off.wait();
                self.context.clock.sleep(wait).await;
            }
        }
        self.back_off.reset();
        Ok(())
    }

    /// What was done so far.
    pub fn counts(&self) -> PutCounts {
        self.counts
    }

    /// One call; returns the records it did not take, and why.
    async fn send(&mut self, batch: Vec<PutRecordsRequestEntry>) -> Rejected {
        let request = self
            .client
            .put_records()
            .set_records(Some(batch.clone()))
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn());
        self.counts.calls += 1;
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return (batch, Some(error.into())),
        };
        if answer.records().len() != batch.len() {
            let words = format!("{} answers for {} records", answer.records().len(), batch.len());
            return (batch, Some(Failure::new(Class::BackOff, "UnreadableAnswer", words)));
        }
        let mut rejected: Rejected = (Vec::new(), None);
        for (entry, result) in batch.into_iter().zip(answer.records()) {
            match result.error_code() {
                None => {
                    self.counts.records += 1;
                    self.counts.bytes += entry.data().as_ref().len() as u64;
                }
                Some(code) => {
                    let words = result.error_message().unwrap_or_default();
                    rejected.1 = Some(Failure::answered(code, words, None));
                    rejected.0.push(entry);
                }
            }
        }
        rejected
    }

    fn refused(&self, records: usize, attempts: u32, failure: &Failure) -> Error {
        let times = if attempts == 1 { "attempt" } else { "attempts" };
        let message = format!(
            "Kinesis stream '{}' did not take {records} records in {attempts} {times}: {failure}",
            self.stream
        );
        match failure.class {
            Class::BackOff => Error::retry(message).with_hint("add shards, or write more slowly"),
            Class::Unreachable => Error::retry(message).with_hint(failure.hint()),
            _ => Error::settings(message).with_hint(failure.hint()),
        }
    }
}

/// Makes the stream `name` with this many shards unless it exists, and waits until it can be used.
/// Returns whether it was made.
///
/// # Errors
///
/// When it cannot be made, or is not ready after two minutes.
pub async fn create_stream_if_missing(
    client: &Client,
    name: &str,
    shards: u16,
    context: &Context,
) -> Result<bool> {
    let clock = &context.clock;
    let began = clock.monotonic();
    let mut back_off = BackOff::new(context.seed);
    let mut made = false;
    loop {
        let failure = match client.describe_stream_summary().stream_name(name).send().await {
            Ok(answer) => {
                let summary = answer.stream_description_summary();
                let status = summary.map(|summary| summary.stream_status());
                if matches!(status, Some(StreamStatus::Active | StreamStatus::Updating)) {
                    return Ok(made);
                }
                None
            }
            Err(error) => Some(Failure::from(error)),
        };
        let failure = match failure {
            Some(failure) if failure.class == Class::Missing => {
                let request = client.create_stream().stream_name(name);
                match request.shard_count(i32::from(shards)).send().await {
                    Ok(_) => {
                        made = true;
                        None
                    }
                    Err(error) => Some(Failure::from(error)),
                }
            }
            other => other,
        };
        let waited = clock.monotonic() - began;
        match failure {
            Some(f) if !matches!(f.class, Class::BackOff | Class::Unreachable) => {
                return Err(not_made(name, &f));
            }
            Some(f) if f.class == Class::Unreachable && waited > Duration::from_secs(10) => {
                return Err(not_made(name, &f));
            }
            // Kinesis says so when the account may have no more shards: waiting does not help.
            Some(f) if f.code == "LimitExceededException" && waited > Duration::from_secs(10) => {
                return Err(not_made(name, &f));
            }
            _ if waited > CREATE_TIMEOUT => {
                return Err(Error::retry(format!("Kinesis stream '{name}' is not ready yet"))
                    .with_hint("look at its status, and try again later"));
            }
            _ => clock.sleep(back_off.wait()).await,
        }
    }
}

fn not_made(name: &str, failure: &Failure) -> Error {
    Error::settings(format!("Kinesis stream '{name}' cannot be made or looked at: {failure}"))
        .with_hint(failure.hint())
}
