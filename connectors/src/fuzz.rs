//! Anything that a producer could put, into everything that reads it.
//!
//! Records of every format are changed at random (bytes flipped, cut, repeated, exchanged) and read. What
//! comes must be rows, bad rows or nothing: no panic, and no more memory than the limits allow. In a run
//! of all tests each target is fed a little; `./test fuzz` feeds it for a minute, or as many seconds as
//! `MILLSTREAM_FUZZ` says.

use std::time::Duration;

use millstream_engine::{Clock, SystemClock};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::decode::tests::{columns, decode as decoded, stream};
use crate::decode::{Delimiters, Format};

/// Inputs of a run of all tests.
const CASES: u32 = 500;

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index, u8),
    Insert(Index, Vec<u8>),
    Exchange(Index, Index),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, 1 << bit)),
            (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Self::Cut(from, to)),
            (any::<Index>(), any::<Index>(), 1..20_u8).prop_map(|(a, b, n)| Self::Repeat(a, b, n)),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
                .prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Self::Exchange(a, b)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = |index: &Index| index.index(bytes.len());
        match self {
            Self::Flip(index, mask) => {
                let at = at(index);
                bytes[at] ^= mask;
            }
            Self::Cut(from, to) => {
                let (from, to) = (at(from), at(to));
                drop(bytes.drain(from.min(to)..from.max(to)));
            }
            Self::Repeat(from, to, times) => {
                let (from, to) = (at(from), at(to));
                let piece = bytes[from.min(to)..from.max(to)].repeat(usize::from(*times));
                drop(bytes.splice(from..from, piece));
            }
            Self::Insert(index, more) => {
                let at = at(index);
                drop(bytes.splice(at..at, more.iter().copied()));
            }
            Self::Exchange(a, b) => {
                let (a, b) = (at(a), at(b));
                bytes.swap(a, b);
            }
        }
    }
}

/// Feeds `target` with changed `records`: some of them, or for as long as it was asked for.
fn feed(name: &str, records: &[Vec<u8>], target: impl Fn(&[u8])) {
    let seconds = std::env::var("MILLSTREAM_FUZZ").ok().and_then(|text| text.parse().ok());
    let changes = prop::collection::vec(Change::any(), 0..6);
    let input = (any::<Index>(), changes).prop_map(|(which, changes)| {
        let mut bytes = records[which.index(records.len())].clone();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    });
    let clock = SystemClock::new();
    let mut fed = 0_u64;
    loop {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let done = TestRunner::new(config).run(&input, |bytes| {
            target(&bytes);
            Ok(())
        });
        done.unwrap();
        fed += u64::from(CASES);
        if clock.monotonic() >= Duration::from_secs(seconds.unwrap_or(0)) {
            println!("evidence P9 fuzz of {name}: {fed} inputs, no panic");
            return;
        }
    }
}

/// Reads `bytes` as a record of a stream of columns of many types.
fn decode(format: &Format, bytes: &[u8]) {
    let mut columns = columns();
    columns[6].nullable = false;
    let (rows, bad) = decoded(&stream(columns), format, &[bytes]);
    assert!(rows.num_rows() + bad.len() > 0, "a record leaves something behind");
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn json() {
    let nested = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let records = texts(&[
        r#"{"name":"a","count":1,"price":1.5,"paid":true,"at":"2026-01-01 00:00:00","amount":12.34,"day":"2026-01-01"}"#,
        "{\"NAME\":\"\\u00e9\\ud83d\\ude00\",\"COUNT\":-2147483648,\"DAY\":\"1970-01-01\"}\r\n{\"DAY\":null}",
        r#"[{"day":"2026-02-29"},{"price":1e999,"amount":"9999999999.99"},{"count":99999999999999999999}]"#,
        r#"{"name":{"a":[1,{"b":null}]},"name":"twice","day":"2026-01-01"}"#,
        &nested,
        "",
    ]);
    feed("JSON records", &records, |bytes| decode(&Format::Json, bytes));
}

#[test]
fn csv() {
    let records = texts(&[
        "a,1,1.5,true,2026-01-01 00:00:00,12.34,2026-01-01",
        "\"a \"\"quoted\"\", one\",-1,1e3,0,1970-01-01T00:00:00Z,,2026-01-01\r\n",
        "\"open, and never closed\n,,,,",
        ",,,,,,",
        "",
    ]);
    feed("CSV records", &records, |bytes| decode(&Format::Csv(Delimiters::default()), bytes));
}

#[test]
fn aggregates() {
    use crate::kinesis::fuzzed::{aggregate, read_aggregate, seal};
    let whole = aggregate(&[("a", b"{\"n\":1}"), ("key", b""), ("a", &[7; 300])]);
    let body = whole[4..whole.len() - 16].to_vec();
    feed("aggregates", &[whole, body], |bytes| {
        read_aggregate(bytes);
        // With the right digest, what is in it is read as well.
        read_aggregate(&seal(bytes));
    });
}

#[test]
fn compressed() {
    use std::io::Write;

    use crate::kinesis::fuzzed::decompress;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&[b'x'; 100_000]).unwrap();
    let zstd = zstd::stream::encode_all(&[b'y'; 100_000][..], 3).unwrap();
    let records = [gzip.finish().unwrap(), zstd, b"{\"n\":1}".to_vec()];
    feed("compressed payloads", &records, |bytes| {
        let read = decompress(bytes, 10_000);
        assert!(read.is_none_or(|length| length <= 10_000.max(bytes.len())));
    });
}

#[test]
fn positions() {
    let records = texts(&["4965@1767225600000", "@1767225600000", "4965", "@", "", "1@-9@9"]);
    feed("positions", &records, |bytes| {
        crate::kinesis::fuzzed::read_position(&String::from_utf8_lossy(bytes));
    });
}
