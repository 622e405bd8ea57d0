//! When files appear, under which names, and with which rows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use millstream_engine::definition::ColumnDef;
use millstream_engine::port::{Flush, Sink};
use millstream_engine::{Delta, ManualClock};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::round_trip::{files_below, write};
use super::{context, with_columns};
use crate::file::location::Location;
use crate::file::options::FileSinkOptions;
use crate::file::read_all;
use crate::file::sink::FileSink;

fn rows(texts: Vec<Option<&str>>) -> RecordBatch {
    let numbers = Int32Array::from_iter_values((0..).take(texts.len()));
    RecordBatch::try_from_iter_with_nullable([
        ("A", Arc::new(StringArray::from(texts)) as ArrayRef, true),
        ("N", Arc::new(numbers) as ArrayRef, true),
    ])
    .unwrap()
}

/// What is in the folder `out`: text by number.
async fn read(folder: &Path, format: &str) -> BTreeMap<i32, Option<String>> {
    let columns = vec![ColumnDef::new("A", DataType::Utf8), ColumnDef::new("N", DataType::Int32)];
    let def = with_columns(columns, &[("path", "out"), ("format", format)]);
    let context = context(folder, &ManualClock::new(0));
    let (batches, bad) = read_all(&def, &[0, 1], &context).await.unwrap();
    assert_eq!(bad, vec![]);
    let mut found = BTreeMap::new();
    for batch in batches {
        let (texts, numbers) = (batch.column(0).as_string::<i32>(), batch.column(1));
        for (text, number) in texts.iter().zip(numbers.as_primitive::<Int32Type>()) {
            let earlier = found.insert(number.unwrap(), text.map(str::to_owned));
            assert_eq!(earlier, None, "row {number:?} came twice");
        }
    }
    found
}

async fn sink(folder: &Path, clock: &ManualClock, options: &[(&str, &str)]) -> FileSink {
    let def = with_columns(vec![], &[&[("path", "out")], options].concat());
    let schema = rows(vec![]).schema();
    FileSink::open(&def, schema, false, &context(folder, clock)).await.unwrap()
}

#[tokio::test]
async fn hostile_partition_values_stay_in_their_folder_and_come_back() {
    let long = "x".repeat(1_024);
    let texts = vec![
        Some("../x"),
        Some("a/b"),
        Some("%2F"),
        Some("_x"),
        Some(".x"),
        Some(""),
        None,
        Some("😀"),
        Some("__HIVE_DEFAULT_PARTITION__"),
        Some("retail"),
        Some("retail"),
        Some(&long),
    ];
    for format in ["parquet", "csv", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let options = [("format", format), ("partition_by", "a")];
        let files = write(folder.path(), &rows(texts.clone()), &options).await;
        let depth = folder.path().join("out").components().count();
        for file in &files {
            assert_eq!(file.components().count(), depth + 2, "{}", file.display());
        }
        assert_eq!(files_below(folder.path()), files);
        // The empty text is Hive's NULL; the longest value fits no folder and is counted as bad.
        let expected =
            texts[..11].iter().map(|text| text.filter(|t| !t.is_empty()).map(str::to_owned));
        assert_eq!(read(folder.path(), format).await, (0..).zip(expected).collect());
    }
}

#[tokio::test]
async fn files_appear_by_size_and_by_age_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(1_700_000_000_000);
    let options = [("format", "json"), ("roll_interval", "10s"), ("file_size", "100")];
    let mut sink = sink(folder.path(), &clock, &options).await;
    let one = || vec![Delta::append(rows(vec![Some("x")]))];
    let count = || files_below(&folder.path().join("out")).len();
    sink.write(1, one()).await.unwrap();
    clock.advance(Duration::from_millis(9_999));
    sink.flush(Flush::Due).await.unwrap();
    assert_eq!(count(), 0);
    clock.advance(Duration::from_millis(1));
    sink.flush(Flush::Due).await.unwrap();
    assert_eq!(count(), 1);
    for epoch in 2..9 {
        sink.write(epoch, one()).await.unwrap();
    }
    assert_eq!(count(), 2);
    sink.write(9, one()).await.unwrap();
    sink.flush(Flush::All).await.unwrap();
    sink.flush(Flush::All).await.unwrap();
    let names = files_below(&folder.path().join("out"));
    let names: Vec<_> = names.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    let stem = "t-18bcfe568000007";
    assert_eq!(names, [1, 2, 3].map(|n| format!("{stem}-{n:05}.json")));
    assert_eq!(sink.report().rows, 9);
}

#[tokio::test]
async fn an_aborted_sink_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = sink(folder.path(), &ManualClock::new(0), &[("partition_by", "a")]).await;
    sink.write(1, vec![Delta::append(rows(vec![Some("x"), Some("y")]))]).await.unwrap();
    drop(sink);
    assert!(files_below(folder.path()).is_empty());
}

#[tokio::test]
async fn many_folders_do_not_mean_many_open_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink =
        sink(folder.path(), &ManualClock::new(0), &[("format", "csv"), ("partition_by", "a")])
            .await;
    let texts: Vec<String> = (0..600).map(|n| format!("v{n}")).collect();
    let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    sink.write(1, vec![Delta::append(rows(texts))]).await.unwrap();
    assert_eq!(sink.report().files, 600 - 512);
    sink.flush(Flush::All).await.unwrap();
    assert_eq!(read(folder.path(), "csv").await.len(), 600);
}

#[tokio::test]
async fn a_name_that_is_taken_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(5);
    let mut first = sink(folder.path(), &clock, &[("format", "json")]).await;
    let mut again = sink(folder.path(), &clock, &[("format", "json")]).await;
    let mut other = sink(folder.path(), &clock, &[("format", "json")]).await;
    for (sink, text) in [(&mut first, "x"), (&mut again, "x"), (&mut other, "y")] {
        sink.write(1, vec![Delta::append(rows(vec![Some(text)]))]).await.unwrap();
    }
    first.flush(Flush::All).await.unwrap();
    again.flush(Flush::All).await.unwrap();
    let error = other.flush(Flush::All).await.unwrap_err();
    assert!(error.message().ends_with("exists already, with other content"), "{error}");
    assert_eq!(read(folder.path(), "json").await[&0].as_deref(), Some("x"));
    assert_eq!(files_below(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_changelog_says_what_was_done_when() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path(), &ManualClock::new(0));
    let options = [("path", "out"), ("format", "csv"), ("mode", "changelog")];
    let def = with_columns(vec![], &options);
    let schema = rows(vec![]).schema();
    let mut sink = FileSink::open(&def, Arc::clone(&schema), true, &context).await.unwrap();
    let batch = rows(vec![Some("x"), None, Some("z")]);
    let weights = Some(Int64Array::from(vec![2, -1, 1]));
    sink.write(4, vec![Delta { batch, weights }]).await.unwrap();
    sink.flush(Flush::All).await.unwrap();
    let text = fs::read_to_string(&files_below(folder.path())[0]).unwrap();
    assert_eq!(text, "_op,_epoch,a,n\n+,4,x,0\n+,4,x,0\n-,4,,1\n+,4,z,2\n");
    let append = with_columns(vec![], &options[..2]);
    let error = FileSink::open(&append, schema, true, &context).await.unwrap_err();
    assert_eq!(error.message(), "sink T appends, but its query takes rows back");
}

#[tokio::test]
async fn what_cannot_be_written_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("taken"), "").unwrap();
    let context = context(folder.path(), &ManualClock::new(0));
    let open = async |options: &[(&str, &str)], names: &[&str]| {
        let column = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
        let rows = RecordBatch::try_from_iter(names.iter().map(|name| (*name, column()))).unwrap();
        let def = with_columns(vec![], options);
        let opened = FileSink::open(&def, rows.schema(), false, &context).await;
        opened.unwrap_err().message().to_owned()
    };
    assert_eq!(
        open(&[("path", "taken")], &["A"]).await,
        "cannot write to the folder 'taken': it is a file"
    );
    let out = ("path", "out");
    assert_eq!(
        open(&[out], &["userId", "USERID"]).await,
        "two columns would be written as 'userid'"
    );
    assert_eq!(
        open(&[out, ("partition_by", "b")], &["A"]).await,
        "partition_by names 'b', which is no column"
    );
    assert_eq!(
        open(&[out, ("partition_by", "a")], &["A"]).await,
        "every column is a partition column: the files would be empty"
    );
    assert_eq!(
        open(&[out, ("mode", "snapshot"), ("file_size", "1MB")], &["A"]).await,
        "option 'file_size' has no meaning with mode = 'snapshot'"
    );
    assert!(!folder.path().join("out").exists());
}

#[tokio::test]
async fn a_store_gets_the_same_keys_as_a_folder() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let def =
        with_columns(vec![], &[("path", "s3://b/t"), ("format", "csv"), ("partition_by", "a")]);
    let location =
        Location::in_store(Arc::clone(&store), "t", "s3://b/".into(), "s3://b/t").unwrap();
    let options = FileSinkOptions::parse(&def).unwrap();
    let texts = rows(vec![Some("a/b"), Some("%"), None]);
    let context = context(Path::new("/"), &ManualClock::new(0));
    let opened = FileSink::at(&location, &def, &options, (texts.schema(), false), &context);
    let mut sink = opened.await.unwrap();
    sink.write(1, vec![Delta::append(texts)]).await.unwrap();
    sink.flush(Flush::All).await.unwrap();
    let files = location.list().await.unwrap();
    let keys: Vec<&str> = files.iter().map(|file| &*file.shown).collect();
    assert_eq!(
        keys,
        [
            "s3://b/t/a=%25/t-00007-00002.csv",
            "s3://b/t/a=__HIVE_DEFAULT_PARTITION__/t-00007-00003.csv",
            "s3://b/t/a=a%2Fb/t-00007-00001.csv",
        ]
    );
    let bytes = store.get(&files[0].location).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, "n\n1\n");
}

/// A reader that looks all the time sees whole files only, and no file change or vanish.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_half_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = [("format", "csv"), ("file_size", "200kB"), ("partition_by", "a")];
    let mut sink = sink(folder.path(), &ManualClock::new(0), &options).await;
    let done = Arc::new(AtomicBool::new(false));
    let (root, stop) = (folder.path().join("out"), Arc::clone(&done));
    let reader = std::thread::spawn(move || {
        let mut seen: BTreeMap<std::path::PathBuf, String> = BTreeMap::new();
        let mut looks = 0;
        while !stop.load(Ordering::Relaxed) {
            let visible = files_below(&root);
            let visible = visible
                .into_iter()
                .filter(|file| !file.file_name().unwrap().to_str().unwrap().starts_with('.'));
            for file in visible {
                let text = fs::read_to_string(&file).unwrap();
                assert!(text.ends_with('\n'), "{} is cut off", file.display());
                let lines = text.lines().count() - 1;
                assert_eq!(lines % 1_000, 0, "{} has {lines} rows", file.display());
                if let Some(earlier) = seen.insert(file, text.clone()) {
                    assert_eq!(earlier, text);
                }
            }
            looks += 1;
        }
        (seen.len(), looks)
    });
    for epoch in 0..60 {
        let texts = vec![Some(if epoch % 2 == 0 { "even" } else { "odd" }); 1_000];
        let mut rows = rows(texts);
        let numbers = Int32Array::from_iter_values((0..1_000).map(|n| epoch * 1_000_000 + n));
        rows = RecordBatch::try_new(
            rows.schema(),
            vec![Arc::clone(rows.column(0)), Arc::new(numbers)],
        )
        .unwrap();
        sink.write(1, vec![Delta::append(rows)]).await.unwrap();
    }
    sink.flush(Flush::All).await.unwrap();
    done.store(true, Ordering::Relaxed);
    let (files, looks) = reader.join().unwrap();
    assert!(looks > 1 && files > 0, "{looks} looks saw {files} files");
    assert_eq!(read(folder.path(), "csv").await.len(), 60_000);
}

#[tokio::test]
async fn columns_are_called_as_declared_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let number = || Arc::new(Int32Array::from(vec![7])) as ArrayRef;
    let rows = [("Who", number()), ("WHO", number()), ("K", number())];
    let rows = RecordBatch::try_from_iter(rows).unwrap();
    let options = [("format", "json"), ("names", "declared"), ("partition_by", "k")];
    let files = write(folder.path(), &rows, &options).await;
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert!(file.to_string_lossy().contains("K=7"), "{}", file.display());
    let text = fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!(text, "{\"Who\":7,\"WHO\":7}\n");
}
