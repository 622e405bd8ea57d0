//! Any bytes as a file of state: an answer or an error, and no panic.
//!
//! Changes of the manifest get the right checksum again, so that what is behind it is reached; other
//! changes do not, and must be seen. (Rows that somebody else wrote under a right checksum are not fed:
//! Arrow's reader believes the lengths in them.) In a run of all tests a little of it; `./test fuzz` goes on for a minute, or
//! as many seconds as `MILLSTREAM_FUZZ` says.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::format::{Part, StateFile, encode};
use super::manifest::{Manifest, NodeRecord, PartKind, PartitionRecord, SourceRecord};
use crate::clock::{Clock, SystemClock};

/// Inputs of a run of all tests.
const CASES: u32 = 500;

/// Behind magic and version.
const LENGTH_AT: usize = 12;

/// Behind the length of the manifest.
const MANIFEST_AT: usize = 20;

const CHECKSUM_BYTES: usize = 4;

fn file() -> Vec<u8> {
    let numbers = Arc::new(Int64Array::from_iter_values(0..50));
    let texts: StringArray = (0..50).map(|n| (n % 3 > 0).then(|| n.to_string())).collect();
    let rows = RecordBatch::try_from_iter([("n", numbers as _), ("t", Arc::new(texts) as _)]);
    let rows = rows.unwrap();
    let part = |lane| Part {
        node: 0,
        kind: PartKind::Operator,
        lane,
        name: "left".into(),
        rows: rows.clone(),
    };
    let partition = PartitionRecord {
        name: "shard".into(),
        position: Some("4965@7".into()),
        watermark: Some(5),
        ..PartitionRecord::default()
    };
    let source = SourceRecord {
        node: 0,
        stream: "S".into(),
        watermark: Some(5),
        partitions: vec![partition],
    };
    let mut manifest = Manifest {
        number: 7,
        generation: 2,
        nonce: "nonce".into(),
        nodes: vec![NodeRecord { name: "n".into(), ..NodeRecord::default() }],
        sources: vec![source],
        ..Manifest::default()
    };
    encode(&mut manifest, vec![part(0), part(1)]).unwrap().to_vec()
}

/// Changes of bytes: where, what, and how (one bit, one byte, a cut, an insertion).
type Changes = Vec<(Index, u8, u8)>;

fn changed(whole: &[u8], changes: &Changes, manifest_only: bool) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let length = u64::from_le_bytes(bytes[LENGTH_AT..MANIFEST_AT].try_into().unwrap());
    let mut manifest_end = MANIFEST_AT + usize::try_from(length).unwrap();
    for (at, value, how) in changes {
        let (begin, body) = match manifest_only {
            true => (MANIFEST_AT, manifest_end),
            false => (0, bytes.len() - CHECKSUM_BYTES),
        };
        if body <= begin {
            break;
        }
        let (at, before) = (begin + at.index(body - begin), bytes.len());
        match how {
            0 => bytes[at] ^= 1 << (value % 8),
            1 => bytes[at] = *value,
            2 => drop(bytes.drain(at..(at + usize::from(*value)).min(body))),
            _ => drop(bytes.splice(at..at, vec![*value; usize::from(*value) % 7])),
        }
        if manifest_only {
            manifest_end = manifest_end + bytes.len() - before;
        }
    }
    if manifest_only {
        let length = (manifest_end - MANIFEST_AT) as u64;
        bytes[LENGTH_AT..MANIFEST_AT].copy_from_slice(&length.to_le_bytes());
        let body = bytes.len() - CHECKSUM_BYTES;
        let checksum = crc32fast::hash(&bytes[..body]);
        bytes[body..].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

#[test]
fn state_files() {
    let seconds = std::env::var("MILLSTREAM_FUZZ").ok().and_then(|text| text.parse().ok());
    let whole = file();
    assert!(StateFile::decode("f", &Bytes::from(whole.clone())).is_ok());
    let changes = prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6);
    let (clock, mut fed, mut read) = (SystemClock::new(), 0_u64, 0_u64);
    loop {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let reached = std::cell::Cell::new(0);
        let done = TestRunner::new(config).run(&changes, |changes| {
            let damaged = changed(&whole, &changes, false);
            if damaged != whole {
                assert!(StateFile::decode("f", &Bytes::from(damaged)).is_err());
            }
            let bytes = changed(&whole, &changes, true);
            if let Ok(file) = StateFile::decode("f", &Bytes::from(bytes)) {
                reached.set(reached.get() + 1);
                for part in &file.manifest.parts {
                    // Rows or an error.
                    drop(file.rows(part));
                }
            }
            Ok(())
        });
        done.unwrap();
        (fed, read) = (fed + u64::from(CASES), read + reached.get());
        if clock.monotonic() >= Duration::from_secs(seconds.unwrap_or(0)) {
            break;
        }
    }
    assert!(read > 0, "some get behind the manifest");
    println!("evidence P9 fuzz of state files: {fed} inputs, {read} with a manifest, no panic");
}
