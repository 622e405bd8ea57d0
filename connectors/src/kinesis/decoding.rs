//! Records of a shard to rows: what a producer packed is unpacked, then decoded.
//!
//! ```text
//!   record ─► aggregate? ─► user records ─► gzip, zstd? ─► payload ─► rows | bad rows
//! ```
//!
//! The invariant: a batch ends where a record does, so its position is that of a whole record: after a
//! restart an aggregate comes again whole or not at all.

use std::fmt;
use std::sync::Arc;

use millstream_engine::Result;
use millstream_engine::definition::RelationDef;
use millstream_engine::fault::Reason;
use millstream_engine::port::{PartitionId, Position, SourceBatch};

use super::aggregate::{Contents, contents};
use super::api::{Record, Resume};
use super::compression::decompress;
use super::position::Standing;
use crate::decode::{Format, RecordAddress, RowDecoder};

/// Rows after which a batch ends with its record: aggregates and compression make many of few bytes.
const BATCH_ROWS: usize = 1 << 16;

/// Bytes of payloads after which a batch ends with its record.
const BATCH_BYTES: usize = 32 << 20;

/// How the records of a stream become rows.
#[derive(Debug, Clone)]
pub(super) struct Decoding {
    pub(super) def: Arc<RelationDef>,
    pub(super) projection: Arc<[usize]>,
    pub(super) format: Format,
    /// The most bytes that a payload may have once it is decompressed.
    pub(super) payload_bytes_max: u64,
    /// By how many milliseconds a `ROWTIME` may be later than the arrival of its record.
    pub(super) ahead_max_ms: i64,
}

impl Decoding {
    /// A decoder for the records of `shard`.
    ///
    /// # Errors
    ///
    /// When a mapping or a column's type cannot be decoded.
    pub(super) fn decoder(&self, shard: &Arc<str>) -> Result<RecordDecoder> {
        let mut rows = RowDecoder::new(&self.def, &self.projection, &self.format)?;
        rows.set_ahead_max(self.ahead_max_ms);
        Ok(RecordDecoder {
            shard: Arc::clone(shard),
            rows,
            payload_bytes_max: self.payload_bytes_max,
            bytes: 0,
        })
    }
}

/// Decodes the records of one shard.
#[derive(Debug)]
pub(super) struct RecordDecoder {
    shard: Arc<str>,
    rows: RowDecoder,
    payload_bytes_max: u64,
    /// Bytes of payloads since the last batch.
    bytes: usize,
}

/// Where a user record stands: the sequence number and, in an aggregate, its place there.
struct Place<'a>(&'a str, Option<usize>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            None => f.write_str(self.0),
            Some(sub) => write!(f, "{}/{sub}", self.0),
        }
    }
}

impl RecordDecoder {
    /// Decodes `records` into at least one batch, if there are any.
    pub(super) fn decode(&mut self, records: &[Record]) -> Result<Vec<SourceBatch>> {
        let mut batches = Vec::new();
        for (index, record) in records.iter().enumerate() {
            self.push(record);
            let is_full = self.rows.rows() >= BATCH_ROWS || self.bytes >= BATCH_BYTES;
            if is_full || index + 1 == records.len() {
                let resume = Resume::After(record.sequence_number.clone());
                let standing = Standing { resume, read_until_ms: Some(record.arrival_ms) };
                batches.extend(standing.position().map(|at| self.finish(at)).transpose()?);
            }
        }
        Ok(batches)
    }

    /// A batch that says only that records are lost; reading goes on at `position`.
    pub(super) fn lost(&mut self, words: String, position: Position) -> Result<SourceBatch> {
        let shard = Arc::clone(&self.shard);
        let address = RecordAddress {
            arrival_ms: 0,
            partition: &shard,
            position: &position.0,
            partition_key: None,
            sequence_number: None,
            shard_id: Some(&shard),
        };
        self.rows.reject(Reason::Lost, words, b"", &address);
        self.finish(position)
    }

    fn push(&mut self, record: &Record) {
        let number = record.sequence_number.as_str();
        match contents(&record.data) {
            Contents::Plain => {
                let key = record.partition_key.as_deref();
                self.payload(&record.data, record, key, &Place(number, None));
            }
            Contents::Aggregate(users) => {
                for (sub, user) in users.iter().enumerate() {
                    let place = Place(number, Some(sub));
                    self.payload(user.data, record, Some(user.partition_key), &place);
                }
            }
            Contents::Damaged(why) => {
                let place = Place(number, None);
                let address = address(record, &self.shard, None, &place);
                self.rows.reject(Reason::Undecodable, why.to_owned(), &record.data, &address);
            }
        }
    }

    fn payload(&mut self, payload: &[u8], record: &Record, key: Option<&str>, place: &Place<'_>) {
        let address = address(record, &self.shard, key, place);
        match decompress(payload, self.payload_bytes_max) {
            Ok(bytes) => {
                self.bytes += bytes.len();
                self.rows.push(&bytes, &address);
            }
            Err(why) => self.rows.reject(Reason::Undecodable, why, payload, &address),
        }
    }

    fn finish(&mut self, position: Position) -> Result<SourceBatch> {
        self.bytes = 0;
        let (rows, bad) = self.rows.finish()?;
        Ok(SourceBatch { partition: PartitionId(Arc::clone(&self.shard)), rows, bad, position })
    }
}

fn address<'a>(
    record: &'a Record,
    shard: &'a Arc<str>,
    partition_key: Option<&'a str>,
    position: &'a Place<'_>,
) -> RecordAddress<'a> {
    RecordAddress {
        arrival_ms: record.arrival_ms,
        partition: shard,
        position,
        partition_key,
        sequence_number: Some(record.sequence_number.as_str()),
        shard_id: Some(shard),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use arrow::array::{Array, AsArray};
    use arrow::datatypes::DataType;
    use millstream_engine::definition::{ColumnDef, Rowtime};

    use super::*;
    use crate::kinesis::aggregate::tests::sealed_records;
    use crate::kinesis::sequence::SequenceNumber;

    fn decoder() -> RecordDecoder {
        let def = RelationDef {
            name: "S".into(),
            columns: vec![ColumnDef::new("N", DataType::Utf8)],
            options: Vec::new(),
            rowtime: Rowtime::Arrival,
        };
        let schema = def.stream_schema();
        let wanted = ["N", "PARTITION_KEY", "SEQUENCE_NUMBER", "SHARD_ID"];
        let projection = wanted.iter().map(|name| schema.index_of(name).unwrap()).collect();
        let (def, format) = (Arc::new(def), Format::Json);
        let decoding =
            Decoding { def, projection, format, payload_bytes_max: 1_000, ahead_max_ms: i64::MAX };
        decoding.decoder(&"shard-0".into()).unwrap()
    }

    fn record(number: u32, data: Vec<u8>) -> Record {
        Record {
            sequence_number: SequenceNumber::new(number.to_string()),
            partition_key: Some("outer".into()),
            arrival_ms: i64::from(number) * 10,
            data,
        }
    }

    fn shown(batch: &SourceBatch) -> Vec<String> {
        let columns: Vec<_> = batch.rows.columns().iter().map(|c| c.as_string::<i32>()).collect();
        let row = |row| columns.iter().map(|c| c.value(row)).collect::<Vec<_>>().join(" ");
        (0..batch.rows.num_rows()).map(row).collect()
    }

    /// K28: what an aggregate holds comes with its own keys, under one position.
    #[test]
    fn an_aggregate_comes_whole_with_its_own_keys() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"{\"n\":\"c\"}").unwrap();
        let gzip = gzip.finish().unwrap();
        let users: [(&str, &[u8]); 3] = [("a", b"{\"n\":\"a\"}"), ("b", b"nonsense"), ("c", &gzip)];
        let records =
            [record(7, sealed_records(&users)), record(8, b"{\"n\":\"d\"}{\"n\":\"e\"}".to_vec())];
        let batches = decoder().decode(&records).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!(
            shown(&batches[0]),
            ["a a 7 shard-0", "c c 7 shard-0", "d outer 8 shard-0", "e outer 8 shard-0"]
        );
        assert_eq!(batches[0].position.0, "8@80");
        let bad = &batches[0].bad;
        assert_eq!((bad.len(), &*bad[0].position, &bad[0].raw[..]), (1, "7/1", &b"nonsense"[..]));
    }

    #[test]
    fn a_bomb_is_a_bad_row_with_its_bytes() {
        let bomb = zstd::stream::encode_all(&[b' '; 1_001][..], 1).unwrap();
        let batches = decoder().decode(&[record(1, bomb.clone())]).unwrap();
        let bad = &batches[0].bad[0];
        assert_eq!((bad.reason, &bad.raw), (Reason::Undecodable, &bomb));
        assert!(bad.message.contains("larger than 1000 bytes"), "{}", bad.message);
    }

    /// K32: a page becomes several batches, each of which ends with a record.
    #[test]
    fn a_large_page_becomes_several_batches() {
        let line = b"{\"n\":\"x\"}\n".repeat(40_000);
        let batches = decoder().decode(&[1, 2, 3].map(|n| record(n, line.clone()))).unwrap();
        let ends: Vec<_> = batches.iter().map(|b| (b.rows.num_rows(), &*b.position.0)).collect();
        assert_eq!(ends, [(80_000, "2@20"), (40_000, "3@30")]);
    }

    /// A stream that spreads records by itself has no keys: NULL, and no other harm.
    #[test]
    fn k31_a_record_without_a_partition_key_has_null_there() {
        let keyless = Record { partition_key: None, ..record(1, b"{\"n\":\"x\"}".to_vec()) };
        let batches = decoder().decode(&[keyless, record(2, b"{\"n\":\"y\"}".to_vec())]).unwrap();
        let keys = batches[0].rows.column(1).as_string::<i32>();
        assert_eq!((keys.is_null(0), keys.value(1)), (true, "outer"));
        assert_eq!((batches[0].rows.num_rows(), batches[0].bad.len()), (2, 0));
    }

    /// After a split the Producer Library may put a member under another shard's aggregate: it is kept.
    #[test]
    fn k29_members_whose_key_belongs_to_another_shard_are_kept() {
        let keys: Vec<String> = (0..64).map(|key| format!("key-{key}")).collect();
        let users: Vec<(&str, &[u8])> =
            keys.iter().map(|key| (key.as_str(), &b"{\"n\":\"x\"}"[..])).collect();
        let batches = decoder().decode(&[record(1, sealed_records(&users))]).unwrap();
        let found: Vec<String> = shown(&batches[0]);
        let expected: Vec<String> = keys.iter().map(|key| format!("x {key} 1 shard-0")).collect();
        assert_eq!(found, expected);
    }
}
