//! Records to rows: bytes in, Arrow columns out, one bad record never harms another.
//!
//! ```text
//!   record ──► json | csv ──► rows: columns of slots, coerced to SQL types ──► batch
//!                                └──► bad rows: reason, message, address, raw bytes
//! ```
//!
//! Arrow's own decoders lose a whole batch to one bad record, so these are ours: they pull values
//! from the record straight into typed columns, and take a row back if any of its values fails.
//!
//! Only the columns that are read are parsed. A value that does not fit, or NULL in a `NOT NULL`
//! column, makes a row bad only if its column is read.

mod column;
mod csv;
mod delimiters;
mod json;
mod number;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod time;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream_engine::Result;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::{BadRow, Reason};

use self::csv::CsvReader;
pub(crate) use self::csv::record_end as csv_record_end;
pub use self::delimiters::Delimiters;
pub(crate) use self::delimiters::parse as parse_delimiter;
use self::json::JsonReader;
use self::rows::Rows;

/// Where a record comes from and when it arrived.
#[derive(Clone, Copy)]
pub struct RecordAddress<'a> {
    /// When the source received it, in milliseconds since the Unix epoch.
    pub arrival_ms: i64,
    /// The source partition: a shard id or a file path.
    pub partition: &'a Arc<str>,
    /// The place in the partition for error messages: a sequence number, or `line n`.
    pub position: &'a dyn fmt::Display,
    /// The Kinesis partition key, for `PARTITION_KEY`.
    pub partition_key: Option<&'a str>,
    /// The Kinesis sequence number, for `SEQUENCE_NUMBER`.
    pub sequence_number: Option<&'a str>,
    /// The Kinesis shard, for `SHARD_ID`.
    pub shard_id: Option<&'a str>,
}

impl fmt::Debug for RecordAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.partition, self.position, self.arrival_ms)
    }
}

/// The format of a record's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// JSON: one or several objects back to back (or one per line) in a record.
    Json,
    /// CSV: one or several rows in a record. Fields go to the declared columns by position, unless
    /// [`RowDecoder::set_csv_header`] names them.
    Csv(Delimiters),
}

#[derive(Debug, Clone)]
enum Reader {
    Json(JsonReader),
    Csv(CsvReader),
}

/// Decodes records of one stream into batches of the columns asked for.
#[derive(Debug, Clone)]
pub struct RowDecoder {
    reader: Reader,
    rows: Rows,
    /// The names of the declared columns, read or not.
    declared: Vec<String>,
}

impl RowDecoder {
    /// A decoder for the columns `projection` (indices into [`RelationDef::stream_schema`]).
    ///
    /// # Errors
    ///
    /// When a mapping is not a JSON path or a column's type cannot be decoded.
    pub fn new(def: &RelationDef, projection: &[usize], format: &Format) -> Result<Self> {
        let rows = Rows::new(def, projection)?;
        let reader = match format {
            Format::Json => Reader::Json(JsonReader::new(rows.fields())?),
            Format::Csv(delimiters) => {
                Reader::Csv(CsvReader::new(delimiters.clone(), rows.fields()))
            }
        };
        let declared = def.columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self { reader, rows, declared })
    }

    /// Says which field of a CSV line goes where: the next records have the columns of `line`, and
    /// those that are declared but not in it are NULL. Of no meaning for JSON.
    ///
    /// # Errors
    ///
    /// When `line` names none of the declared columns: it is no header.
    pub fn set_csv_header(&mut self, line: &[u8]) -> Result<()> {
        match &mut self.reader {
            Reader::Csv(reader) => reader.set_header(line, self.rows.fields()),
            Reader::Json(_) => Ok(()),
        }
    }

    /// Says what stands in columns about which the next records say nothing: the values of a file's
    /// `name=value` folders. Names that are no columns are ignored. In CSV without a header such a
    /// column takes no position, so this starts again from positions.
    pub fn set_absent(&mut self, values: &[(String, Option<String>)]) {
        self.rows.set_absent(values);
        if let Reader::Csv(reader) = &mut self.reader {
            let named = |name: &str| values.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
            let declared = self.declared.iter().enumerate();
            let elsewhere: Vec<usize> =
                declared.filter(|(_, name)| named(name)).map(|(index, _)| index).collect();
            reader.set_positions(self.rows.fields(), &elsewhere);
        }
    }

    /// Sets rows aside whose `ROWTIME`, if it is a field of the record, is more than `ms` milliseconds
    /// later than the record's arrival.
    pub fn set_ahead_max(&mut self, ms: i64) {
        self.rows.set_ahead_max(ms);
    }

    /// Decodes a record: appends its rows, or sets it aside as a bad row and leaves no trace of it in
    /// the columns. Of a record with several rows only those that are bad are set aside, as far as
    /// their bounds can be known.
    pub fn push(&mut self, record: &[u8], address: &RecordAddress<'_>) {
        let before = self.rows.decided();
        match &mut self.reader {
            Reader::Json(reader) => reader.read(record, &mut self.rows, address),
            Reader::Csv(reader) => reader.read(record, &mut self.rows, address),
        }
        if self.rows.decided() == before {
            self.rows.reject(Reason::Undecodable, "the record is empty".into(), record, address);
        }
    }

    /// Sets a record aside that its source already knows to be bad.
    pub fn reject(
        &mut self,
        reason: Reason,
        message: String,
        record: &[u8],
        address: &RecordAddress<'_>,
    ) {
        self.rows.reject(reason, message, record, address);
    }

    /// Rows decoded since the last [`Self::finish`].
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows and bad rows since the last call.
    ///
    /// # Errors
    ///
    /// Never, but for Arrow's own checks.
    pub fn finish(&mut self) -> Result<(RecordBatch, Vec<BadRow>)> {
        self.rows.finish()
    }
}
