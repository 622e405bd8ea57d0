//! Whole lines of a file, decoded apart from those before and behind them.

use std::fmt;

use arrow::array::RecordBatch;
use memchr::memchr_iter;
use millstream_engine::Result;
use millstream_engine::fault::{BadRow, Reason};

use crate::decode::{Delimiters, RecordAddress, RowDecoder};
use crate::file::location::FileMeta;

/// Whole lines.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// Where its records end, and by what; `None` if each line is one.
    pub(super) ends: Option<(Vec<usize>, Delimiters)>,
    /// The number of its first line, from 1.
    pub(super) first_line: u64,
    /// A line behind it that is set aside.
    pub(super) too_long: Option<TooLong>,
}

/// A line that is not read whole.
#[derive(Debug)]
pub(super) struct TooLong {
    /// Its beginning.
    pub(super) kept: Vec<u8>,
    pub(super) message: String,
    pub(super) line: u64,
}

/// `line n`.
struct LineNumber(u64);

impl fmt::Display for LineNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.0)
    }
}

impl Chunk {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.too_long.is_none()
    }

    /// Decodes its records, which are of `file`.
    ///
    /// # Errors
    ///
    /// Never, but for Arrow's own checks.
    pub(super) fn decode(
        &self,
        decoder: &mut RowDecoder,
        file: &FileMeta,
    ) -> Result<(RecordBatch, Vec<BadRow>)> {
        let mut number = LineNumber(self.first_line);
        let mut start = 0;
        let mut push = |end: usize, delimiters: Option<&Delimiters>| {
            let record = &self.bytes[start..end];
            if !record.trim_ascii().is_empty() {
                decoder.push(record, &address(file, &number));
            }
            number.0 += delimiters.map_or(1, |delimiters| delimiters.rows_in(record));
            start = end;
        };
        match &self.ends {
            Some((ends, delimiters)) => ends.iter().for_each(|&end| push(end, Some(delimiters))),
            None => memchr_iter(b'\n', &self.bytes).for_each(|newline| push(newline + 1, None)),
        }
        if let Some(TooLong { kept, message, line }) = &self.too_long {
            let number = LineNumber(*line);
            let address = address(file, &number);
            decoder.reject(Reason::Undecodable, message.clone(), kept, &address);
        }
        decoder.finish()
    }
}

fn address<'a>(file: &'a FileMeta, number: &'a LineNumber) -> RecordAddress<'a> {
    RecordAddress {
        arrival_ms: file.modified_ms,
        partition: &file.shown,
        position: number,
        partition_key: None,
        sequence_number: None,
        shard_id: None,
    }
}
