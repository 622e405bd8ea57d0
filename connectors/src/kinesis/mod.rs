//! Amazon Kinesis: reading all shards of a stream, and writing records to one.
//!
//! ```text
//!   shard task ──┐  decoded pages
//!   shard task ──┼──► bounded channel ──► KinesisSource ──► engine
//!   shard task ──┘                            │ lineage: which shard may be read when
//!        ▲  one per readable shard            │
//!        └────────────────────────────────────┘
//! ```
//!
//! - [`options`]: what may stand in `WITH (…)`
//! - [`client`]: endpoint, region, credentials, timeouts
//! - [`sample`]: a few records, to look at
//! - [`source`]: the stream as an engine source
//! - [`sink`]: a stream as an engine sink
//! - [`producer`]: `PutRecords` with retry of what failed
//! - `failure`: the one table of error codes; `lineage`: parents before children; `shard`: one
//!   shard's reader; `api`: the calls, as a seam for tests
//! - `alignment`: shards of different speed stay near each other in time; `room`: and within memory
//! - `fan_out`: the same calls, answered by subscriptions
//! - `sequence`, `position`: where a record is, where a reader is; `loss`: what the stream threw away
//!   before it was read
//! - `decoding`: records to rows, through `aggregate` (the Producer Library's) and `compression`
//!
//! The invariant: every record of a shard is handed on exactly once and in order, and no record of a
//! shard is handed on before the last one of each of its parents.

pub mod client;
pub mod options;
pub mod producer;
pub mod sample;
pub mod sink;
pub mod source;

mod aggregate;
mod alignment;
mod api;
mod compression;
mod decoding;
mod failure;
mod fan_out;
mod lineage;
mod loss;
mod position;
mod room;
mod sequence;
mod shard;

pub use api::StreamRef;

/// What the fuzz targets ([`crate::fuzz`]) read with.
#[cfg(test)]
pub(crate) mod fuzzed {
    use millstream_engine::port::Position;

    pub(crate) use super::aggregate::tests::{sealed as seal, sealed_records as aggregate};

    pub(crate) fn read_aggregate(bytes: &[u8]) {
        super::aggregate::contents(bytes);
    }

    /// How many bytes come out, if it can be read.
    pub(crate) fn decompress(bytes: &[u8], bytes_max: u64) -> Option<usize> {
        super::compression::decompress(bytes, bytes_max).ok().map(|read| read.len())
    }

    pub(crate) fn read_position(text: &str) {
        if let Ok(standing) = super::position::Standing::read(&Position(text.to_owned())) {
            assert!(standing.position().is_some());
        }
    }
}
