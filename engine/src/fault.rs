//! Rows that could not be processed.
//!
//! Nothing is dropped in silence: a bad or late row leaves the dataflow as a [`BadRow`], is counted,
//! and can be read from `error_stream`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType};

use crate::definition::{ROWTIME, TIMESTAMP_TYPE};
use crate::error::{Error, Result};
use crate::operators::row_text;

/// The name of the stream of bad and late rows.
pub const ERROR_STREAM: &str = "ERROR_STREAM";

/// The length of `MESSAGE` in characters, as documented.
const MESSAGE_LENGTH: usize = 4096;

/// The length of `DATA_ROW` in characters, as documented: two for each byte of the row.
const DATA_ROW_LENGTH: usize = 49_152;

/// Why a row was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The record's bytes are not of the stream's format.
    Undecodable,
    /// A value does not fit its column's type.
    Coercion,
    /// NULL in a `NOT NULL` column.
    NotNull,
    /// Older than the watermark.
    Late,
    /// A time so far in the future that it cannot be right.
    Future,
    /// An expression failed on it (a division by zero, a cast).
    Expression,
    /// A sink's format or place cannot carry it.
    Unwritable,
    /// Records that the source says are gone before they were read.
    Lost,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Undecodable,
        Self::Coercion,
        Self::NotNull,
        Self::Late,
        Self::Future,
        Self::Expression,
        Self::Unwritable,
        Self::Lost,
    ];

    /// The reason of this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The value of `ERROR_NAME` in `error_stream`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "UNDECODABLE",
            Self::Coercion => "COERCION",
            Self::NotNull => "NOT_NULL",
            Self::Late => "LATE",
            Self::Future => "FUTURE",
            Self::Expression => "EXPRESSION",
            Self::Unwritable => "UNWRITABLE",
            Self::Lost => "LOST",
        }
    }
}

/// What an expression fails with on a NULL where a column takes none.
#[derive(Debug)]
pub struct NullInNotNull {
    /// The column.
    pub column: String,
}

impl fmt::Display for NullInNotNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NULL in the NOT NULL column {}", self.column)
    }
}

impl std::error::Error for NullInNotNull {}

/// A row set aside, with its address and what is left of it.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRow {
    /// Why.
    pub reason: Reason,
    /// What exactly, for a person.
    pub message: String,
    /// The stream it came from (or, for a failing expression or a row that cannot be written, the pump
    /// or sink that had it).
    pub stream: Arc<str>,
    /// Its source partition: a shard id or a file path. Empty where unknown.
    pub partition: Arc<str>,
    /// Its place in the partition: a sequence number, or `line n`. Empty where unknown.
    pub position: String,
    /// Its `ROWTIME` in milliseconds since the Unix epoch, if it got that far.
    pub rowtime_ms: Option<i64>,
    /// The record as it was read, or a text form of the decoded row.
    pub raw: Vec<u8>,
}

impl BadRow {
    /// Row `index` of `batch`, which `sink` cannot write.
    pub fn unwritable(sink: &Arc<str>, message: &str, batch: &RecordBatch, index: usize) -> Self {
        Self {
            reason: Reason::Unwritable,
            message: message.to_owned(),
            stream: Arc::clone(sink),
            partition: "".into(),
            position: String::new(),
            rowtime_ms: rowtime_of(batch, index),
            raw: row_text(batch, index).into_bytes(),
        }
    }
}

/// The schema of `error_stream`: KDA's documented columns, then the row's address, then `ROWTIME`.
///
/// Source: "Error handling", Kinesis Data Analytics for SQL developer guide.
pub fn error_stream_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("ERROR_TIME", TIMESTAMP_TYPE, true),
        text("ERROR_LEVEL"),
        text("ERROR_NAME"),
        text("MESSAGE"),
        Field::new("DATA_ROWTIME", TIMESTAMP_TYPE, true),
        text("DATA_ROW"),
        text("PUMP_NAME"),
        text("STREAM_NAME"),
        text("PARTITION_NAME"),
        text("POSITION"),
        text("RAW"),
        Field::new(ROWTIME, TIMESTAMP_TYPE, false),
    ]))
}

/// `rows` as a batch of `error_stream`, set aside at `now_ms` (milliseconds since the Unix epoch).
///
/// # Errors
///
/// Never for rows made by this crate; Arrow's checks are passed on.
pub fn error_stream_batch(rows: &[BadRow], now_ms: i64) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&BadRow) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![now_ms; rows.len()]));
    let level = |r: &BadRow| Some(if r.reason == Reason::Late { "WARN" } else { "ERROR" }.into());
    // A row that a pump set aside has come through a source, which is no longer known.
    let from_pump = |r: &BadRow| {
        matches!(r.reason, Reason::Expression | Reason::Unwritable)
            || (matches!(r.reason, Reason::Late | Reason::NotNull) && r.partition.is_empty())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::clone(&time),
        text(&level),
        text(&|r| Some(r.reason.name().to_owned())),
        text(&|r| Some(cut(&r.message, MESSAGE_LENGTH).to_owned())),
        Arc::new(rows.iter().map(|r| r.rowtime_ms).collect::<TimestampMillisecondArray>()),
        text(&|r| Some(hex(&r.raw[..r.raw.len().min(DATA_ROW_LENGTH / 2)]))),
        text(&|r| from_pump(r).then(|| r.stream.to_string())),
        text(&|r| (!from_pump(r)).then(|| r.stream.to_string())),
        text(&|r| (!r.partition.is_empty()).then(|| r.partition.to_string())),
        text(&|r| (!r.position.is_empty()).then(|| r.position.clone())),
        text(&|r| Some(String::from_utf8_lossy(&r.raw).into_owned())),
        time,
    ];
    Ok(RecordBatch::try_new(error_stream_schema(), columns)?)
}

/// The columns of rows that a checkpoint keeps.
fn saved_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("reason"),
        text("message"),
        text("stream"),
        text("partition"),
        text("position"),
        Field::new("rowtime", DataType::Int64, true),
        Field::new("raw", DataType::Binary, false),
    ]))
}

/// `rows` as a checkpoint keeps them.
pub(crate) fn save_rows(rows: &[BadRow]) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&BadRow) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|r| r.reason.name().to_owned()),
        text(&|r| r.message.clone()),
        text(&|r| r.stream.to_string()),
        text(&|r| r.partition.to_string()),
        text(&|r| r.position.clone()),
        Arc::new(rows.iter().map(|r| r.rowtime_ms).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.raw.as_slice())).collect::<BinaryArray>()),
    ];
    Ok(RecordBatch::try_new(saved_schema(), columns)?)
}

/// The rows of which a checkpoint kept `batch`.
pub(crate) fn saved_rows(batch: &RecordBatch) -> Result<Vec<BadRow>> {
    let not_ours = || Error::data("not the bad rows of a checkpoint");
    if batch.schema() != saved_schema() {
        return Err(not_ours());
    }
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row);
    let times = batch.column(5).as_primitive::<Int64Type>();
    let rows = (0..batch.num_rows()).map(|row| {
        Ok(BadRow {
            reason: Reason::named(text(0, row)).ok_or_else(not_ours)?,
            message: text(1, row).to_owned(),
            stream: text(2, row).into(),
            partition: text(3, row).into(),
            position: text(4, row).to_owned(),
            rowtime_ms: times.is_valid(row).then(|| times.value(row)),
            raw: batch.column(6).as_binary::<i32>().value(row).to_vec(),
        })
    });
    rows.collect()
}

/// The `ROWTIME` of row `index`, in milliseconds since the Unix epoch, if the batch has that column.
pub(crate) fn rowtime_of(batch: &RecordBatch, index: usize) -> Option<i64> {
    let column = batch.column_by_name(ROWTIME)?;
    let times = column.as_primitive_opt::<TimestampMillisecondType>()?;
    (index < times.len() && times.is_valid(index)).then(|| times.value(index))
}

/// The first so many characters of a text.
fn cut(text: &str, characters: usize) -> &str {
    let end = text.char_indices().nth(characters).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_keeps_its_address_and_bytes() {
        let row = BadRow {
            reason: Reason::Coercion,
            message: "'x' is not an INTEGER".into(),
            stream: "JOBS".into(),
            partition: "shardId-000000000000".into(),
            position: "495".into(),
            rowtime_ms: None,
            raw: b"{\"a\":\"x\"}".to_vec(),
        };
        let batch = error_stream_batch(&[row], 7).unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
        assert!(shown.contains("7b2261223a2278227d") && shown.contains("shardId-000000000000"));
    }

    #[test]
    fn texts_have_their_documented_lengths_and_raw_is_whole() {
        for (letters, kept) in [(4095, 4095), (4096, 4096), (4097, 4096)] {
            let row = BadRow {
                reason: Reason::Undecodable,
                message: "ä€𝄞x".chars().cycle().take(letters).collect(),
                stream: "S".into(),
                partition: "p".into(),
                position: String::new(),
                rowtime_ms: None,
                raw: vec![0xe4; letters * 6],
            };
            let batch = error_stream_batch(std::slice::from_ref(&row), 7).unwrap();
            let text = |name: &str| {
                let column = batch.column_by_name(name).unwrap();
                column.as_string::<i32>().value(0).to_owned()
            };
            let expected: String = row.message.chars().take(kept).collect();
            assert_eq!(text("MESSAGE"), expected);
            assert_eq!(text("DATA_ROW"), "e4".repeat(kept * 6));
            assert_eq!(text("RAW").chars().count(), letters * 6);
        }
    }

    #[test]
    fn bad_rows_survive_a_checkpoint() {
        let row = |reason, rowtime_ms| BadRow {
            reason,
            message: "m".into(),
            stream: "S".into(),
            partition: "p".into(),
            position: "5".into(),
            rowtime_ms,
            raw: vec![0, 255],
        };
        let rows = Reason::ALL.map(|reason| row(reason, (reason == Reason::Late).then_some(7)));
        assert_eq!(saved_rows(&save_rows(&rows).unwrap()).unwrap(), rows);
    }
}
