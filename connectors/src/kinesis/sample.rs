//! A few records of a stream, to look at.

use millstream_engine::Result;

use super::aggregate::{Contents, contents};
use super::api::{AwsApi, KinesisApi, Resume, StreamRef, list_all_shards};
use super::client::{ConnectOptions, connect};
use super::compression::decompress;
use super::failure::Failure;
use super::options::PAYLOAD_BYTES_MAX;

/// Empty pages of a shard that are asked past: records may lie far from its beginning.
const EMPTY_PAGES_MAX: usize = 20;

/// The data of up to `most` records, the oldest of each shard in turn.
///
/// # Errors
///
/// When the stream cannot be read.
pub async fn sample(
    options: &ConnectOptions,
    stream: &StreamRef,
    most: usize,
) -> Result<Vec<Vec<u8>>> {
    let connection = connect(options).await?;
    let api = AwsApi::new(connection.client, stream.clone());
    let cannot = |failure: Failure| {
        let error = millstream_engine::Error::settings(format!(
            "cannot read the stream {stream} in {}: {failure}",
            connection.place
        ));
        error.with_hint("is the name right, and the region?")
    };
    let mut records = Vec::new();
    for shard in list_all_shards(&api).await.map_err(cannot)? {
        let iterator = api.shard_iterator(&shard.id, &Resume::TrimHorizon).await;
        let mut next = Some(iterator.map_err(cannot)?);
        let mut empty = 0;
        while let Some(iterator) = next.take()
            && records.len() < most
            && empty < EMPTY_PAGES_MAX
        {
            let page = api.get_records(&iterator).await.map_err(cannot)?;
            if !page.records.is_empty() {
                page.records.iter().for_each(|record| unpack(&record.data, &mut records));
                break;
            }
            empty += 1;
            next = page.next.filter(|_| page.millis_behind > 0);
        }
    }
    records.truncate(most);
    Ok(records)
}

/// The payloads of a record, as far as they can be unpacked.
fn unpack(record: &[u8], payloads: &mut Vec<Vec<u8>>) {
    let mut push = |payload| match decompress(payload, PAYLOAD_BYTES_MAX) {
        Ok(bytes) => payloads.push(bytes.into_owned()),
        Err(_) => payloads.push(payload.to_vec()),
    };
    match contents(record) {
        Contents::Plain | Contents::Damaged(_) => push(record),
        Contents::Aggregate(users) => users.iter().for_each(|user| push(user.data)),
    }
}
