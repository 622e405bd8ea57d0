//! Files that become visible with checkpoints, in a sink that dies at any moment: beside a list of rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::UInt64Type;
use millstream_engine::port::{DurableSink, Flush, Sink, SinkState};
use millstream_engine::{Delta, ManualClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::round_trip::files_below;
use super::{context, with_columns};
use crate::file::sink::FileSink;

/// What happens to a sink, one thing after the other.
const STEPS: usize = 60;

fn numbers(range: Range<i32>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(range));
    RecordBatch::try_from_iter_with_nullable([("N", column, true)]).unwrap()
}

/// A sink that dies and goes on, and what a store of checkpoints knows of it.
struct Mortal {
    folder: tempfile::TempDir,
    clock: ManualClock,
    sink: FileSink,
    /// Rows written, and those of them that the last checkpoint has.
    written: i32,
    committed: i32,
    /// The checkpoints.
    saved: SinkState,
    /// Names of files that a checkpoint has closed.
    listed: BTreeSet<String>,
    seen: BTreeMap<PathBuf, Vec<u8>>,
}

async fn open(folder: &Path, clock: &ManualClock) -> FileSink {
    let options =
        [("path", "out"), ("format", "csv"), ("file_size", "60"), ("roll_interval", "10s")];
    let def = with_columns(vec![], &options);
    FileSink::open(&def, numbers(0..0).schema(), false, &context(folder, clock)).await.unwrap()
}

fn durable(sink: &mut FileSink) -> &mut dyn DurableSink {
    sink.durable().unwrap()
}

impl Mortal {
    async fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(1_700_000_000_000));
        let mut sink = open(folder.path(), &clock).await;
        durable(&mut sink).resume("1-1", SinkState::default()).await.unwrap();
        let (saved, listed, seen) = (SinkState::default(), BTreeSet::new(), BTreeMap::new());
        Self { folder, clock, sink, written: 0, committed: 0, saved, listed, seen }
    }

    async fn write(&mut self, count: i32) {
        let rows = numbers(self.written..self.written + count);
        self.sink.write(1, vec![Delta::append(rows)]).await.unwrap();
        self.written += count;
    }

    async fn checkpoint(&mut self, flush: Flush) {
        let SinkState { begun, files, rows } =
            durable(&mut self.sink).checkpoint(flush).await.unwrap();
        let closed = files.iter().filter(|file| file.closed).map(|file| file.name.clone());
        self.listed.extend(closed);
        let mut all = std::mem::take(&mut self.saved.rows);
        all.extend(rows);
        // What belongs to files that are published is of no use.
        let known = |batch: &RecordBatch| {
            let number = batch.column(0).as_primitive::<UInt64Type>().value(0);
            files.iter().any(|file| file.number == number)
        };
        all.retain(known);
        self.saved = SinkState { begun, files, rows: all };
        self.committed = self.written;
    }

    async fn publish(&mut self) {
        durable(&mut self.sink).publish().await.unwrap();
    }

    /// Dies, and goes on from the last checkpoint.
    async fn die(&mut self) {
        self.clock.advance(Duration::from_millis(1));
        self.sink = open(self.folder.path(), &self.clock).await;
        durable(&mut self.sink).resume("1-1", self.saved.clone()).await.unwrap();
        self.publish().await;
        self.written = self.committed;
    }

    /// What is visible was closed by a checkpoint, and stays as it is.
    fn look(&mut self) {
        for file in files_below(&self.folder.path().join("out")) {
            let (bytes, name) = (fs::read(&file).unwrap(), file.file_name().unwrap());
            let name = name.to_string_lossy().into_owned();
            assert!(self.listed.contains(&name), "{name} is visible before a checkpoint lists it");
            let before = self.seen.insert(file, bytes.clone());
            assert!(before.is_none_or(|before| before == bytes), "{name} has changed");
        }
    }

    /// The rows of all files.
    fn rows(&self) -> Vec<i32> {
        let texts = self.seen.values().map(|bytes| String::from_utf8(bytes.clone()).unwrap());
        let lines = texts.flat_map(|text| {
            text.lines().skip(1).map(|line| line.parse().unwrap()).collect::<Vec<i32>>()
        });
        let mut rows: Vec<i32> = lines.collect();
        rows.sort_unstable();
        rows
    }
}

#[tokio::test]
async fn whenever_it_dies_each_row_is_in_one_file() {
    for seed in 0..60 {
        let (mut dice, mut sink) = (StdRng::seed_from_u64(seed), Mortal::new().await);
        for _ in 0..STEPS {
            match dice.random_range(0..8) {
                0..3 => sink.write(dice.random_range(1..9)).await,
                3 => sink.clock.advance(Duration::from_secs(dice.random_range(1..12))),
                4..6 => sink.checkpoint(Flush::Due).await,
                6 => {
                    // Rows, and files that are full, may come between a checkpoint and its commit.
                    sink.checkpoint(Flush::Due).await;
                    sink.write(dice.random_range(1..30)).await;
                    sink.publish().await;
                }
                _ => sink.die().await,
            }
            sink.look();
        }
        sink.checkpoint(Flush::All).await;
        sink.publish().await;
        sink.look();
        assert_eq!(sink.rows(), (0..sink.written).collect::<Vec<_>>(), "seed {seed}");
        assert!(sink.seen.len() > 1, "seed {seed}: {} files", sink.seen.len());
    }
}
