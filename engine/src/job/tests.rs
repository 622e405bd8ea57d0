//! A job that dies at any call of its store and begins again, beside the numbers that it passes on.
//!
//! The store checks what must be true at any moment: the files that the newest commit needs are there.
//! The sink checks that what it publishes is listed by the newest commit. The source finds out whether
//! it goes on where its last commit stands.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt64Array,
};
use arrow::datatypes::{Int64Type, UInt64Type};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::{Durability, Job};
use crate::checkpoint::fingerprint;
use crate::checkpoint::format::StateFile;
use crate::checkpoint::in_memory::Objects;
use crate::checkpoint::manifest::{Manifest, SourceRecord};
use crate::checkpoint::protocol::{BASES, MARKERS, Owner, commit_number};
use crate::checkpoint::recovery::{Discard, needed, recover, take_over};
use crate::checkpoint::store::{Created, StateStore, Stored};
use crate::clock::{Clock, SystemClock};
use crate::dataflow::{Dataflow, Node, NodeId, NodeKind, SourceNode, TimeOrder};
use crate::delta::Delta;
use crate::error::Result;
use crate::fault::BadRow;
use crate::key_group::mix_number;
use crate::port::{
    DurableSink, Flush, OutputFile, PartitionId, Position, Resume, Sink, SinkReport, SinkState,
    Source, SourceBatch, SourceEvent,
};
use crate::trouble::Troubles;

/// The numbers of a source that ends.
const NUMBERS: i64 = 240;

/// Rows of a file.
const FILE_ROWS: usize = 4;

/// Between two events of the source.
const PAUSE: Duration = Duration::from_millis(1);

/// How long anything may take that is waited for.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A store that ends the life of its process after so many calls.
#[derive(Debug, Default)]
struct Store {
    objects: Objects,
    calls_left: AtomicU64,
    over: Notify,
}

impl Store {
    async fn call(&self) {
        let left = self
            .calls_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left.is_err() {
            self.over.notify_one();
            pending::<()>().await;
        }
    }

    fn newest(&self) -> Option<Manifest> {
        let objects = self.objects.all();
        let name = objects.keys().filter(|name| commit_number(name).is_some()).max()?;
        Some(StateFile::decode(name, &objects[name]).unwrap().manifest)
    }

    fn has(&self, folder: &str) -> bool {
        self.objects.all().keys().any(|name| name.starts_with(folder))
    }

    /// What the newest commit needs is there.
    fn check(&self) {
        let Some(newest) = self.newest() else { return };
        for name in needed(&newest) {
            let there = self.objects.all().contains_key(&name);
            assert!(there, "commit {} needs {name}", newest.number);
        }
    }
}

#[async_trait]
impl StateStore for Store {
    async fn create(&self, name: &str, content: Bytes) -> Created {
        self.call().await;
        if let Created::Exists = self.objects.create(name, content).await {
            return Created::Exists;
        }
        self.check();
        // It may have been created, and nobody heard of it.
        self.call().await;
        Created::Yes
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        self.call().await;
        self.objects.read(name).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Stored>> {
        self.call().await;
        self.objects.list(folder).await
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.call().await;
        self.objects.remove(name).await?;
        self.check();
        Ok(())
    }

    fn place(&self) -> &'static str {
        "the test"
    }
}

/// What a source yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Numbers, until they end; sometimes it only says that it has moved.
    Ends,
    /// That it has moved; then it has nothing to say.
    Moves,
}

/// Yields the numbers from `next` on, a few at a time.
#[derive(Debug)]
struct Numbers {
    next: i64,
    manner: Manner,
    discovered: bool,
    clock: Arc<dyn Clock>,
}

impl Numbers {
    fn resumed(resume: &Resume, manner: Manner, clock: &Arc<dyn Clock>) -> Self {
        let next = resume.position(&"all".into()).map_or(0, |p| p.0.parse().unwrap());
        Self { next, manner, discovered: false, clock: Arc::clone(clock) }
    }
}

#[async_trait]
impl Source for Numbers {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        let partition = PartitionId::from("all");
        if !std::mem::replace(&mut self.discovered, true) {
            return Ok(Some(SourceEvent::Discovered { partition, parents: Vec::new() }));
        }
        self.clock.sleep(PAUSE).await;
        if self.next == NUMBERS {
            return if self.manner == Manner::Ends { Ok(None) } else { pending().await };
        }
        let range = self.next..after(self.next);
        self.next = range.end;
        let position = Position(self.next.to_string());
        if self.manner == Manner::Moves || !are_rows(&range) {
            return Ok(Some(SourceEvent::Moved { partition, position }));
        }
        let times = TimestampMillisecondArray::from_iter_values(range.clone());
        let rows = RecordBatch::try_from_iter([
            ("N", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef),
            ("ROWTIME", Arc::new(times)),
        ]);
        let bad = Vec::new();
        Ok(Some(SourceEvent::Rows(SourceBatch { partition, rows: rows?, bad, position })))
    }
}

/// Where the event ends that begins at `next`.
fn after(next: i64) -> i64 {
    (next + 1 + next % 3).min(NUMBERS)
}

/// Whether the records of an event are rows, and are not passed over.
fn are_rows(range: &Range<i64>) -> bool {
    range.end % 5 != 0
}

/// The numbers that are rows.
fn all_rows() -> Vec<i64> {
    let (mut rows, mut next) = (Vec::new(), 0);
    while next < NUMBERS {
        let range = next..after(next);
        next = range.end;
        rows.extend(range.clone().filter(|_| are_rows(&range)));
    }
    rows
}

/// Files by name, as readers see them.
type Published = Arc<Mutex<BTreeMap<String, Vec<i64>>>>;

/// A sink of files that become visible with checkpoints.
#[derive(Debug)]
struct Files {
    store: Arc<Store>,
    published: Published,
    life: String,
    begun: u64,
    /// The files that are not published, and whether a checkpoint has closed them.
    files: BTreeMap<u64, (Vec<i64>, bool)>,
    /// Rows since the checkpoint before.
    fresh: Vec<(u64, i64)>,
}

impl Files {
    fn new(store: &Arc<Store>, published: &Published) -> Self {
        let (store, published) = (Arc::clone(store), Arc::clone(published));
        let (files, fresh) = (BTreeMap::new(), Vec::new());
        Self { store, published, life: String::new(), begun: 0, files, fresh }
    }

    fn state(&self, fresh: &[(u64, i64)]) -> Result<SinkState> {
        let file = |(number, (rows, closed)): (&u64, &(Vec<i64>, bool))| OutputFile {
            number: *number,
            name: format!("{}-{number}", self.life),
            rows: rows.len() as u64,
            closed: *closed,
            ..OutputFile::default()
        };
        let (numbers, rows): (Vec<u64>, Vec<i64>) = fresh.iter().copied().unzip();
        let rows = RecordBatch::try_from_iter([
            ("file", Arc::new(UInt64Array::from(numbers)) as ArrayRef),
            ("N", Arc::new(Int64Array::from(rows))),
        ])?;
        let files = self.files.iter().map(file).collect();
        Ok(SinkState { begun: self.begun, files, rows: vec![rows] })
    }
}

#[async_trait]
impl Sink for Files {
    async fn write(&mut self, _: u64, rows: Vec<Delta>) -> Result<Vec<BadRow>> {
        for delta in rows {
            for number in delta.batch.column(0).as_primitive::<Int64Type>().values() {
                let last = self.files.last_entry().map(|file| (*file.key(), file.get().clone()));
                let file = match last {
                    Some((file, (rows, false))) if rows.len() < FILE_ROWS => file,
                    _ => {
                        self.begun += 1;
                        self.begun
                    }
                };
                self.files.entry(file).or_default().0.push(*number);
                self.fresh.push((file, *number));
            }
        }
        Ok(Vec::new())
    }

    async fn flush(&mut self, _: Flush) -> Result<()> {
        unreachable!("it publishes with checkpoints")
    }

    fn report(&self) -> SinkReport {
        SinkReport { files: self.published.lock().unwrap().len() as u64, ..SinkReport::default() }
    }

    fn durable(&mut self) -> Option<&mut dyn DurableSink> {
        Some(self)
    }
}

#[async_trait]
impl DurableSink for Files {
    async fn resume(&mut self, life: &str, state: SinkState) -> Result<()> {
        life.clone_into(&mut self.life);
        self.begun = state.begun;
        self.files = state.files.iter().map(|f| (f.number, (Vec::new(), f.closed))).collect();
        for batch in &state.rows {
            let numbers = batch.column(0).as_primitive::<UInt64Type>().values();
            let rows = batch.column(1).as_primitive::<Int64Type>().values();
            for (file, row) in numbers.iter().zip(rows) {
                self.files.get_mut(file).expect("rows of a file that is known").0.push(*row);
            }
        }
        for file in &state.files {
            assert_eq!(self.files[&file.number].0.len() as u64, file.rows, "{}", file.name);
        }
        Ok(())
    }

    async fn checkpoint(&mut self, flush: Flush) -> Result<SinkState> {
        for (rows, closed) in self.files.values_mut() {
            *closed |= rows.len() >= FILE_ROWS || flush == Flush::All;
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.state(&fresh)
    }

    async fn publish(&mut self) -> Result<()> {
        let newest = self.store.newest().expect("it is told of a commit");
        let marker = format!("{MARKERS}/{:020}", newest.number);
        assert!(!self.store.has(&marker), "it is said before it is done");
        let listed: BTreeSet<&str> =
            newest.sinks.iter().flat_map(|s| &s.files).map(|file| file.name.as_str()).collect();
        let closed: Vec<u64> =
            self.files.iter().filter(|(_, (_, closed))| *closed).map(|(file, _)| *file).collect();
        for number in closed {
            let name = format!("{}-{number}", self.life);
            assert!(listed.contains(name.as_str()), "{name} is published before its commit");
            let (rows, _) = self.files.remove(&number).expect("it is there");
            let before = self.published.lock().unwrap().insert(name, rows.clone());
            assert!(before.is_none_or(|before| before == rows), "another file has this name");
        }
        Ok(())
    }
}

/// The numbers, passed on.
fn dataflow() -> Arc<Dataflow> {
    let rows = RecordBatch::try_from_iter([
        ("N", Arc::new(Int64Array::from_iter_values([0; 0])) as ArrayRef),
        ("ROWTIME", Arc::new(TimestampMillisecondArray::from_iter_values([0; 0]))),
    ]);
    let schema = rows.unwrap().schema();
    let source = SourceNode {
        stream: "S".into(),
        projection: vec![0, 1],
        rowtime: 1,
        time_columns: Vec::new(),
        order: TimeOrder::Ascending,
    };
    let mut dataflow = Dataflow::default();
    let node = |inputs, kind| Node {
        owner: "O".into(),
        schema: Arc::clone(&schema),
        updating: false,
        inputs,
        kind,
    };
    let source = dataflow.push(node(Vec::new(), NodeKind::Source(source)));
    dataflow.push(node(vec![source], NodeKind::Sink("O".into())));
    Arc::new(dataflow)
}

/// The world of an application that lives several times.
struct World {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    published: Published,
    dataflow: Arc<Dataflow>,
    manner: Manner,
}

impl World {
    fn new(manner: Manner) -> Self {
        let (store, published, clock) = (Arc::default(), Arc::default(), SystemClock::new());
        Self { store, clock: Arc::new(clock), published, dataflow: dataflow(), manner }
    }

    /// One life: until the source ends, or the store ends it.
    async fn live(&self, seed: u64) -> Result<()> {
        let store: Arc<dyn StateStore> = Arc::<Store>::clone(&self.store);
        let nodes = fingerprint::nodes(&self.dataflow, &|_| String::new());
        let prepare = |before: Option<&Manifest>, number| {
            take_over(before, number, nodes.clone(), &Discard::default())
        };
        let clock = Arc::clone(&self.clock);
        let owner = Owner::claim(Arc::clone(&store), clock, seed, prepare).await?;
        let recovered = recover(&store, owner.head()).await?;
        let resume = owner.head().sources.first().map(SourceRecord::resume).unwrap_or_default();
        let source = Numbers::resumed(&resume, self.manner, &self.clock);
        let sink = Files::new(&self.store, &self.published);
        let (_reads, reads) = mpsc::channel(1);
        let (_stop, stop) = watch::channel(false);
        let pausing = BTreeSet::new();
        let job = Job {
            dataflow: Arc::clone(&self.dataflow),
            sources: vec![(NodeId(0), Box::new(source))],
            tables: Vec::new(),
            sinks: vec![(NodeId(1), Box::new(sink))],
            clock: Arc::clone(&self.clock),
            lanes: 1,
            reads,
            memory: None,
            durability: Some(Durability { owner, recovered, interval: Duration::ZERO, pausing }),
            troubles: Troubles::default(),
        };
        Box::pin(job.run(stop, |_| {})).await.map(drop)
    }

    /// Lives until `calls` calls of the store are made; whether it came to its end before.
    async fn live_for(&self, calls: u64, seed: u64) -> bool {
        self.store.calls_left.store(calls, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = self.store.over.notified() => false,
            ended = self.live(seed) => {
                ended.unwrap_or_else(|error| unreachable!("life {seed}: {error}"));
                true
            }
        }
    }

    fn rows(&self) -> Vec<i64> {
        let published = self.published.lock().unwrap();
        let mut rows: Vec<i64> = published.values().flatten().copied().collect();
        rows.sort_unstable();
        rows
    }
}

#[tokio::test]
async fn whenever_it_dies_each_row_is_published_once() {
    let (mut lives, mut folded) = (0, 0);
    for seed in 0..6 {
        let world = World::new(Manner::Ends);
        for life in 0.. {
            lives += 1;
            // Long enough, now and then, for old commits to be folded and removed.
            let calls_max = if life % 3 == 2 { 400 } else { 40 };
            let number = mix_number(seed, life);
            if world.live_for(number % calls_max, number).await {
                break;
            }
        }
        assert_eq!(world.rows(), all_rows(), "seed {seed}");
        assert!(world.store.newest().unwrap().finished);
        folded += u32::from(world.store.has(BASES));
    }
    assert!(lives > 20 && folded > 0, "{lives} lives, {folded} of 6 with a base");
}

/// Else what went by without rows is read again after a restart, or is gone by then.
#[tokio::test]
async fn a_position_that_moves_without_rows_is_committed() {
    let world = World::new(Manner::Moves);
    world.store.calls_left.store(u64::MAX, Ordering::Relaxed);
    let begun = world.clock.monotonic();
    let position = || {
        let newest = world.store.newest()?;
        newest.sources.first()?.partitions.first()?.position.clone()
    };
    let looks = async {
        while position() != Some(NUMBERS.to_string()) {
            let waited = world.clock.monotonic().saturating_sub(begun);
            assert!(waited < WAIT_MAX, "the newest commit stands at {:?}", position());
            world.clock.sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = looks => {}
        ended = world.live(7) => unreachable!("nothing ends it: {ended:?}"),
    }
}
