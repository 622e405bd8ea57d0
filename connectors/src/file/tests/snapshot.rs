//! A snapshot replaced again and again under the eyes of a reader, and on a store.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use millstream_engine::port::Sink;
use millstream_engine::{Delta, ManualClock};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{context, with_columns};
use crate::file::location::Location;
use crate::file::options::FileSinkOptions;
use crate::file::snapshot::{SnapshotSink, is_snapshot, path};

/// A result in which every row holds `number`, as often as `number` says.
fn result(number: i32) -> Vec<Delta> {
    let count = usize::try_from(number).unwrap();
    let texts: StringArray = (0..count).map(|_| Some("x".repeat(100))).collect();
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("A", Arc::new(texts) as ArrayRef, true),
        ("N", Arc::new(Int32Array::from(vec![number; count])) as ArrayRef, true),
    ]);
    vec![Delta::append(rows.unwrap())]
}

fn sink_def(format: &str) -> millstream_engine::definition::RelationDef {
    let options = [("path", "out"), ("format", format), ("mode", "snapshot")];
    with_columns(vec![], &options)
}

async fn sink(folder: &Path, format: &str) -> SnapshotSink {
    let (def, schema) = (sink_def(format), result(0)[0].batch.schema());
    assert!(is_snapshot(&def).unwrap());
    SnapshotSink::open(&def, &schema, &context(folder, &ManualClock::new(0))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_one_result_or_the_next_and_never_a_mixture() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = sink(folder.path(), "json").await;
    sink.write(1, result(1)).await.unwrap();
    let file = folder.path().join("out/t.json");
    assert_eq!(path(&sink_def("json")).unwrap(), "out/t.json");
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (file, done) = (file.clone(), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&file).expect("the file is always there");
                let lines: Vec<&str> = text.lines().collect();
                let whole = format!("\"n\":{}}}", lines.len());
                assert!(lines.iter().all(|line| line.ends_with(&whole)), "half a result");
                seen += 1;
            }
            seen
        })
    };
    for number in 2..200 {
        sink.write(1, result(number)).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
    let names: Vec<_> = fs::read_dir(folder.path().join("out")).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left behind");
    assert_eq!((sink.report().rows, sink.report().files), (199, 1));
}

#[tokio::test]
async fn an_empty_result_is_a_file_with_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = sink(folder.path(), "csv").await;
    sink.write(1, result(2)).await.unwrap();
    sink.write(2, Vec::new()).await.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("out/t.csv")).unwrap(), "a,n\n");
}

#[tokio::test]
async fn on_a_store_a_put_replaces_the_one_before() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Location::in_store(Arc::clone(&store), "top", "s3://b/".into(), "s3://b/top");
    let (def, schema) = (sink_def("csv"), result(0)[0].batch.schema());
    let options = FileSinkOptions::parse(&def).unwrap();
    let context = context(Path::new("/"), &ManualClock::new(0));
    let opened = SnapshotSink::at(&location.unwrap(), &def, &options, &schema, &context).await;
    let mut sink = opened.unwrap();
    for number in [3, 1] {
        sink.write(1, result(number)).await.unwrap();
    }
    let found = store.get(&"top/t.csv".into()).await.unwrap().bytes().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&found).lines().count(), 2, "a header and one row");
}

#[test]
fn what_takes_several_files_is_refused() {
    for option in [("partition_by", "a"), ("file_size", "1MB")] {
        let options = [("path", "out"), ("mode", "snapshot"), option];
        let error = FileSinkOptions::parse(&with_columns(vec![], &options)).unwrap_err();
        assert!(error.message.contains(option.0), "{error:?}");
    }
}
