//! Records to rows: bytes in, Arrow columns out, one bad record never harms another.

use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::BadRow;
use millstream_engine::{Error, Result};

/// Where a record comes from and when it arrived.
#[derive(Clone, Copy)]
pub struct RecordAddress<'a> {
    /// When the source received it, in milliseconds since the Unix epoch.
    pub arrival_ms: i64,
    /// The source partition: a shard id or a file path.
    pub partition: &'a Arc<str>,
    /// The place in the partition for error messages: a sequence number, or `line n`.
    pub position: &'a dyn std::fmt::Display,
    /// The Kinesis partition key, for `PARTITION_KEY`.
    pub partition_key: Option<&'a str>,
    /// The Kinesis sequence number, for `SEQUENCE_NUMBER`.
    pub sequence_number: Option<&'a str>,
    /// The Kinesis shard, for `SHARD_ID`.
    pub shard_id: Option<&'a str>,
}

/// The format of a record's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// JSON: one or several objects back to back (or one per line) in a record.
    Json,
    /// CSV: one or several lines in a record.
    Csv {
        /// The byte between fields.
        delimiter: u8,
    },
}

/// Decodes records of one stream into batches of the columns asked for.
#[derive(Debug)]
pub struct RowDecoder {}

impl RowDecoder {
    /// A decoder for the columns `projection` (indices into [`RelationDef::stream_schema`]).
    ///
    /// # Errors
    ///
    /// When a mapping is not a JSON path or a column's type cannot be decoded.
    pub fn new(def: &RelationDef, projection: &[usize], format: &Format) -> Result<Self> {
        drop((def, projection, format));
        Err(Error::bug("unfinished"))
    }

    /// Decodes a record: appends its rows, or sets it aside as a bad row and leaves no trace of it in
    /// the columns.
    pub fn push(&mut self, record: &[u8], address: &RecordAddress<'_>) {
        drop((record, address));
    }

    /// Rows decoded since the last [`Self::finish`].
    pub fn rows(&self) -> usize {
        0
    }

    /// The rows and bad rows since the last call.
    ///
    /// # Errors
    ///
    /// Never, but for Arrow's own checks.
    pub fn finish(&mut self) -> Result<(RecordBatch, Vec<BadRow>)> {
        Err(Error::bug("unfinished"))
    }
}
