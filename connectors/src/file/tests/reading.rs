//! What a source and a table make of files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type};
use millstream_engine::ManualClock;
use millstream_engine::definition::ColumnDef;
use millstream_engine::fault::Reason;
use millstream_engine::port::{Resume, Source, SourceEvent, Table};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;

use super::{context, relation, with_columns};
use crate::Until;
use crate::decode::{Delimiters, Format, RowDecoder};
use crate::file::lines::{Compression, LastLine, LineReader};
use crate::file::location::{FileMeta, Location};
use crate::file::options::FileOptions;
use crate::file::reader::ReadPlan;
use crate::file::source::FileSource;
use crate::file::table::{FileTable, infer_schema};
use crate::options::RelationKind;

/// What a source said, in short.
fn say(event: SourceEvent) -> String {
    match event {
        SourceEvent::Discovered { partition, .. } => format!("discovered {partition}"),
        SourceEvent::Rows(batch) => {
            let bad = batch.bad.iter().map(|bad| format!("{} {}", bad.position, bad.message));
            let bad: Vec<String> = bad.collect();
            format!("{} {:?} {bad:?}", batch.partition, numbers(&batch.rows))
        }
        SourceEvent::Bound { .. } | SourceEvent::Moved { .. } => "bound".into(),
        SourceEvent::Idle { partition } => format!("idle {partition}"),
        SourceEvent::Finished { partition } => format!("finished {partition}"),
    }
}

/// The values of the column `N`.
fn numbers(batch: &RecordBatch) -> Vec<i32> {
    batch.column_by_name("N").unwrap().as_primitive::<Int32Type>().values().to_vec()
}

async fn all_events(source: &mut FileSource) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(event) = source.next().await.unwrap() {
        said.push(say(event));
    }
    said
}

async fn open(base: &Path, options: &[(&str, &str)]) -> millstream_engine::Result<FileSource> {
    let context = context(base, &ManualClock::new(0));
    FileSource::open(&relation(options), &[0, 1, 2], &Resume::default(), &context).await
}

#[tokio::test]
async fn every_file_is_known_before_the_first_row() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("in/deep")).unwrap();
    fs::write(folder.path().join("in/b.csv"), "n,a\n3,x\n4,y").unwrap();
    fs::write(folder.path().join("in/deep/a.json"), "{\"n\":5}\n\n{\"n\":\"x\"}\n").unwrap();
    fs::write(folder.path().join("in/.hidden.csv"), "n\n9\n").unwrap();
    fs::write(folder.path().join("in/_SUCCESS"), "").unwrap();
    let mut source = open(folder.path(), &[("path", "in")]).await.unwrap();
    let expected = [
        "discovered in/b.csv",
        "discovered in/deep/a.json",
        "in/b.csv [3, 4] []",
        "finished in/b.csv",
        "in/deep/a.json [5] [\"line 3 column N: 'x' is not an INTEGER\"]",
        "finished in/deep/a.json",
    ];
    assert_eq!(all_events(&mut source).await, expected);
    let mut ordered = open(folder.path(), &[("path", "in/"), ("ordered", "true")]).await.unwrap();
    let expected = [
        "discovered in/",
        "in/ [3, 4] []",
        "in/ [5] [\"line 3 column N: 'x' is not an INTEGER\"]",
        "finished in/",
    ];
    assert_eq!(all_events(&mut ordered).await, expected);
    let mut glob = open(folder.path(), &[("path", "in/*.csv")]).await.unwrap();
    assert_eq!(all_events(&mut glob).await[0], "discovered in/b.csv");
}

#[tokio::test]
async fn the_time_of_a_row_is_the_time_its_file_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "n,a\n1,x\n").unwrap();
    let written = std::time::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    let mut source = open(folder.path(), &[("path", "a.csv")]).await.unwrap();
    let _discovered = source.next().await.unwrap();
    let Some(SourceEvent::Rows(batch)) = source.next().await.unwrap() else { panic!("no rows") };
    let times = batch.rows.column(2).as_primitive::<arrow::datatypes::TimestampMillisecondType>();
    assert_eq!(times.value(0), 1_700_000_000_123);
    assert_eq!(batch.position.0, "byte 8 line 2");
}

#[tokio::test]
async fn what_is_not_there_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.dat"), "1,2\n").unwrap();
    fs::write(folder.path().join("plain.csv"), "comp_0,travel\ncomp_1,gov\n").unwrap();
    let error = open(folder.path(), &[("path", "none.csv")]).await.unwrap_err();
    assert_eq!(error.message(), "'none.csv' does not exist");
    let error = open(folder.path(), &[("path", "*.csvx")]).await.unwrap_err();
    assert_eq!(error.message(), "there are no files at '*.csvx'");
    let error = open(folder.path(), &[("path", "a.dat")]).await.unwrap_err();
    assert_eq!(error.message(), "the format of 'a.dat' is not known");
    let error = open(folder.path(), &[("path", "ftp://x/y")]).await.unwrap_err();
    assert_eq!(error.message(), "cannot open 'ftp://x/y': unknown scheme 'ftp'");
    let mut headless = open(folder.path(), &[("path", "plain.csv")]).await.unwrap();
    let _discovered = headless.next().await.unwrap();
    let error = headless.next().await.unwrap_err();
    assert_eq!(
        error.message(),
        "plain.csv: the first line, 'comp_0,travel', names none of the columns A, N"
    );
    assert!(error.hint().unwrap().contains("header = 'false'"));
}

#[tokio::test]
async fn a_followed_file_gives_its_lines_when_they_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "n,a\n1,x\n2,").unwrap();
    let clock = ManualClock::new(0);
    let def = relation(&[("path", "."), ("follow", "true")]);
    let mut source =
        FileSource::open(&def, &[0, 1], &Resume::default(), &context(folder.path(), &clock))
            .await
            .unwrap();
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(say(source.next().await.unwrap().unwrap()));
    }
    assert_eq!(said, ["discovered ./a.csv", "./a.csv [1] []", "idle ./a.csv"]);
    {
        let mut waiting = source.next();
        assert!(futures::poll!(waiting.as_mut()).is_pending());
    }
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"y\n").unwrap();
    fs::write(folder.path().join("b.csv"), "n,a\n7,z\n").unwrap();
    said.clear();
    for _ in 0..5 {
        let next = source.next();
        let tick = async {
            loop {
                tokio::task::yield_now().await;
                clock.advance(Duration::from_millis(200));
            }
        };
        tokio::select! {
            biased;
            event = next => said.push(say(event.unwrap().unwrap())),
            () = tick => {}
        }
    }
    let expected =
        ["discovered ./b.csv", "./a.csv [2] []", "idle ./a.csv", "./b.csv [7] []", "idle ./b.csv"];
    assert_eq!(said, expected);
    // A file that is gone is not missed, but one that stays away for long is.
    fs::remove_dir_all(folder.path()).unwrap();
    let gone = async {
        loop {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(200));
        }
    };
    tokio::select! {
        biased;
        event = source.next() => assert_eq!(event.unwrap_err().message(), "'.' does not exist"),
        () = gone => {}
    }
    fs::create_dir(folder.path()).unwrap();
    fs::write(folder.path().join("b.csv"), "n,a\n7,z\n").unwrap();
    let mut caught_up = context(folder.path(), &clock);
    caught_up.until = Until::CaughtUp;
    let mut source = FileSource::open(&def, &[0, 1], &Resume::default(), &caught_up).await.unwrap();
    let last = all_events(&mut source).await.pop().unwrap();
    // It may grow until a later run.
    assert_eq!(last, "idle ./b.csv");
}

#[tokio::test]
async fn packed_files_are_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let text = "n,a\n1,x\n2,y\n";
    let packed =
        datafusion::datasource::file_format::file_compression_type::FileCompressionType::GZIP;
    let stream = futures::stream::once(async move { Ok(bytes::Bytes::from(text)) });
    let packed = packed.convert_to_compress_stream(Box::pin(stream)).unwrap();
    let packed: Vec<bytes::Bytes> = futures::TryStreamExt::try_collect(packed).await.unwrap();
    fs::write(folder.path().join("a.csv.gz"), packed.concat()).unwrap();
    let mut source = open(folder.path(), &[("path", "a.csv.gz")]).await.unwrap();
    assert_eq!(all_events(&mut source).await[1], "a.csv.gz [1, 2] []");
    fs::write(folder.path().join("b.csv.gz"), "not packed").unwrap();
    let mut broken = open(folder.path(), &[("path", "b.csv.gz")]).await.unwrap();
    let _discovered = broken.next().await.unwrap();
    let error = broken.next().await.unwrap_err();
    assert!(error.message().starts_with("cannot unpack b.csv.gz: "), "{error}");
}

#[tokio::test]
async fn folders_are_columns() {
    let folder = tempfile::tempdir().unwrap();
    for (value, line) in [("1", "x"), ("__HIVE_DEFAULT_PARTITION__", "y"), ("1%2F2", "z")] {
        let below = folder.path().join(format!("t/n={value}"));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("p.csv"), format!("{line}\n")).unwrap();
    }
    let def = relation(&[("path", "t"), ("header", "false")]);
    let context = context(folder.path(), &ManualClock::new(0));
    let mut table = FileTable::open(&def, &[1, 0], &context).await.unwrap();
    let (batches, bad) = table.load().await.unwrap();
    let found = batches.iter().map(|batch| {
        let number = batch.column(0).as_primitive::<Int32Type>().iter().next().unwrap();
        (number, batch.column(1).as_string::<i32>().value(0).to_owned())
    });
    assert_eq!(found.collect::<Vec<_>>(), [(Some(1), "x".into()), (None, "y".into())]);
    assert_eq!((bad.len(), bad[0].reason), (1, Reason::Coercion));
    assert_eq!(bad[0].message, "column N: '1/2' is not an INTEGER");
    for expected in [DataType::Utf8, DataType::Int64] {
        let found = infer_schema(&def, &context).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|c| (c.name, c.data_type)).collect();
        assert_eq!(found, [("C1".into(), DataType::Utf8), ("n".into(), expected)]);
        // Without the one value that is no number, all are.
        drop(fs::remove_dir_all(folder.path().join("t/n=1%2F2")));
    }
}

#[tokio::test]
async fn a_table_is_read_again_when_its_files_have_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    fs::write(&path, "a,n\nx,1\n").unwrap();
    let clock = ManualClock::new(0);
    let def = relation(&[("path", "t.csv"), ("refresh", "60s")]);
    let mut table = FileTable::open(&def, &[1], &context(folder.path(), &clock)).await.unwrap();
    assert_eq!(numbers(&table.load().await.unwrap().0[0]), [1]);
    let mut rounds = 0;
    {
        let mut changed = table.changed();
        loop {
            tokio::select! {
                biased;
                () = &mut changed => break,
                () = tokio::task::yield_now() => {}
            }
            rounds += 1;
            clock.advance(Duration::from_secs(20));
            if rounds == 50 {
                fs::write(&path, "a,n\nx,1\ny,2\n").unwrap();
            }
        }
    }
    assert!(rounds >= 50, "changed after {rounds} rounds, before anything was");
    assert_eq!(numbers(&table.load().await.unwrap().0[0]), [1, 2]);
}

#[tokio::test]
async fn columns_are_found_in_samples() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "id,Price,at\n1,2.5,2026-01-02T03:04:05\n").unwrap();
    fs::write(folder.path().join("b.json"), "{\"id\":1,\"list\":[1],\"t\":true}\n").unwrap();
    let context = context(folder.path(), &ManualClock::new(0));
    let found = async |path| {
        let found = infer_schema(&with_columns(vec![], &[("path", path)]), &context).await;
        found
            .unwrap()
            .into_iter()
            .map(|c| format!("{} {}", c.name, c.data_type))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("a.csv").await, ["id Int64", "Price Float64", "at Timestamp(ms)"]);
    assert_eq!(found("b.json").await, ["id Int64", "list Utf8", "t Boolean"]);
}

#[tokio::test]
async fn a_store_is_read_by_prefix_key_and_pattern() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (key, text) in [
        ("in/a.csv", "n,a\n1,x\n"),
        ("in/_tmp/b.csv", "n,a\n2,x\n"),
        ("in/d/c.csv", "n,a\n3,x\n"),
        ("in", ""),
    ] {
        store.put(&key.into(), text.into()).await.unwrap();
    }
    let cases = [
        ("in/", vec!["s3://b/in/a.csv", "s3://b/in/d/c.csv"]),
        ("", vec!["s3://b/in/a.csv", "s3://b/in/d/c.csv"]),
        ("in/a.csv", vec!["s3://b/in/a.csv"]),
        ("in/*.csv", vec!["s3://b/in/a.csv"]),
        ("none/", vec![]),
    ];
    for (key, expected) in cases {
        let location = Location::in_store(Arc::clone(&store), key, "s3://b/".into(), key).unwrap();
        let files = location.list().await.unwrap();
        assert_eq!(files.iter().map(|file| &*file.shown).collect::<Vec<_>>(), expected, "{key}");
    }
    let def = relation(&[("path", "s3://b/in/a.csv")]);
    let options = FileOptions::parse(RelationKind::Stream, &def).unwrap();
    let plan = ReadPlan { def: Arc::new(def), projection: vec![1], options, decoders: 2 };
    let location =
        Location::in_store(store, "in/a.csv", "s3://b/".into(), "s3://b/in/a.csv").unwrap();
    let context = context(Path::new("/"), &ManualClock::new(0));
    let mut source = FileSource::at(location, plan, &Resume::default(), &context).await.unwrap();
    assert_eq!(all_events(&mut source).await[1], "s3://b/in/a.csv [1] []");
}

/// Reads `text` as a file that grows by `steps`, and returns its numbers and bad rows.
async fn read_growing(text: &str, format: &Format, steps: &[usize]) -> (Vec<i32>, usize) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = object_store::path::Path::from("f");
    store.put(&location, text.to_owned().into()).await.unwrap();
    let def = with_columns(
        vec![ColumnDef::new("N", DataType::Int32), ColumnDef::new("A", DataType::Utf8)],
        &[],
    );
    let decoder = RowDecoder::new(&def, &[0, 1], format).unwrap();
    let mut file = FileMeta { location, shown: "f".into(), size: 0, modified_ms: 0, e_tag: None };
    let mut reader = LineReader::new(store, file.clone(), Compression::None, decoder, 2)
        .with_framing(format, false);
    let (mut found, mut bad) = (Vec::new(), 0);
    let size = text.len() as u64;
    for step in steps.iter().chain([&usize::MAX]) {
        file.size = file.size.saturating_add(*step as u64).min(size);
        reader.grow(&file);
        let last = if *step == usize::MAX { LastLine::Whole } else { LastLine::Growing };
        while let Some((rows, faults)) = reader.next(last).await.unwrap() {
            found.extend(numbers(&rows));
            bad += faults.len();
        }
    }
    (found, bad)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a file is cut into pieces, its rows are the same.
    #[test]
    fn pieces_do_not_change_the_rows(
        count in 1..40_i32,
        texts in prop::collection::vec("[a-z,\"\n]{0,6}", 40),
        steps in prop::collection::vec(1..60_usize, 0..20),
        json: bool,
        ended: bool,
    ) {
        let line = |n: i32| {
            let text = &texts[usize::try_from(n).unwrap()];
            if json {
                format!("{{\"n\":{n},\"a\":{}}}", serde_json::to_string(text).unwrap())
            } else {
                format!("{n},\"{}\"", text.replace('"', "\"\""))
            }
        };
        let mut text = (0..count).map(line).collect::<Vec<_>>().join("\n");
        if ended { text.push('\n'); }
        let format = if json { Format::Json } else { Format::Csv(Delimiters::default()) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(read_growing(&text, &format, &steps));
        prop_assert_eq!(found, ((0..count).collect(), 0));
    }
}

#[tokio::test]
async fn a_line_without_end_is_one_bad_row() {
    let long = "x".repeat(40 << 20);
    let text = format!("{{\"n\":1}}\n{long}\n{{\"n\":2}}\n");
    assert_eq!(read_growing(&text, &Format::Json, &[]).await, (vec![1, 2], 1));
}
