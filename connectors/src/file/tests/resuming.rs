//! What a source yields that goes on where another one stopped.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{AsArray, Int32Array, RecordBatch};
use arrow::datatypes::Int32Type;
use millstream_engine::ManualClock;
use millstream_engine::port::{PartitionId, PartitionProgress, Resume, Source, SourceEvent};

use super::{context, relation};
use crate::Until;
use crate::file::source::FileSource;

/// Rows per file: several batches.
const ROWS: i32 = 12_000;

async fn open(base: &Path, options: &[(&str, &str)], resume: &Resume) -> FileSource {
    let clock = ManualClock::new(0);
    FileSource::open(&relation(options), &[0, 1, 2], resume, &context(base, &clock)).await.unwrap()
}

/// The numbers of the next `batches` batches, and where the source then stands.
async fn read(source: &mut FileSource, batches: usize, resume: &mut Resume) -> Vec<i32> {
    let mut read = Vec::new();
    let mut left = batches;
    while left > 0
        && let Some(event) = source.next().await.unwrap()
    {
        let known = &mut resume.partitions;
        match event {
            SourceEvent::Discovered { partition, parents } => {
                known.entry(partition).or_default().parents = parents;
            }
            SourceEvent::Finished { partition } => {
                known.entry(partition).or_default().finished = true;
            }
            SourceEvent::Rows(batch) => {
                assert!(batch.bad.is_empty(), "{:?}", batch.bad);
                let numbers = batch.rows.column_by_name("N").unwrap();
                read.extend_from_slice(numbers.as_primitive::<Int32Type>().values());
                known.entry(batch.partition).or_default().position = Some(batch.position);
                left -= 1;
            }
            _ => {}
        }
    }
    read
}

fn write_files(folder: &Path) {
    let numbers = |from: i32| from..from + ROWS;
    fs::create_dir_all(folder.join("in")).unwrap();
    let csv: String = numbers(0).map(|n| format!("{n},\"a\nb\"\n")).collect();
    fs::write(folder.join("in/a byte 7.csv"), format!("n,a\n{csv}")).unwrap();
    let json: String = numbers(ROWS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    fs::write(folder.join("in/b.json"), json.trim_end()).unwrap();
    let column = Arc::new(Int32Array::from_iter_values(numbers(2 * ROWS)));
    let batch = RecordBatch::try_from_iter([("n", column as _)]).unwrap();
    let file = fs::File::create(folder.join("in/c.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn a_source_goes_on_after_the_last_record_wherever_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    for ordered in ["false", "true"] {
        let options = [("path", "in"), ("ordered", ordered)];
        for stop_after in 0..9 {
            let mut resume = Resume::default();
            let mut first = open(folder.path(), &options, &resume).await;
            let mut numbers = read(&mut first, stop_after, &mut resume).await;
            let mut second = open(folder.path(), &options, &resume).await;
            numbers.extend(read(&mut second, usize::MAX, &mut resume).await);
            assert!(numbers.iter().copied().eq(0..3 * ROWS), "{ordered} {stop_after}");
            assert!(resume.partitions.values().all(|progress| progress.finished));
        }
    }
}

#[tokio::test]
async fn a_finished_source_yields_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "n,a\n1,x").unwrap();
    for options in [vec![("path", "a.csv")], vec![("path", "a.csv"), ("ordered", "true")]] {
        let mut resume = Resume::default();
        let mut source = open(folder.path(), &options, &resume).await;
        assert_eq!(read(&mut source, usize::MAX, &mut resume).await, [1]);
        let mut again = open(folder.path(), &options, &resume).await;
        assert!(again.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_file_that_grew_is_read_on_and_one_that_shrank_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "n,a\n1,x\n2,").unwrap();
    let options = [("path", "a.csv"), ("follow", "true")];
    let mut resume = Resume::default();
    let mut source = open(folder.path(), &options, &resume).await;
    assert_eq!(read(&mut source, 1, &mut resume).await, [1]);
    fs::write(&path, "n,a\n1,x\n2,y\n3,z\n").unwrap();
    let mut source = open(folder.path(), &options, &resume).await;
    assert_eq!(read(&mut source, 1, &mut resume).await, [2, 3]);
    fs::write(&path, "n,a\n7,x\n").unwrap();
    let clock = ManualClock::new(0);
    let context = context(folder.path(), &clock);
    let refused = FileSource::open(&relation(&options), &[0, 1, 2], &resume, &context).await;
    assert!(refused.unwrap_err().message().contains("it is another file now"));
    let unfinished = PartitionProgress { position: None, finished: false, parents: vec![] };
    let begun = Resume { partitions: [(PartitionId::from("a.csv"), unfinished)].into() };
    let mut source = open(folder.path(), &options, &begun).await;
    assert_eq!(read(&mut source, 1, &mut Resume::default()).await, [7]);
}

/// A run that ends when it has caught up is not the last one: what is appended later is read later.
#[tokio::test]
async fn a_followed_file_that_was_caught_up_with_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let clock = ManualClock::new(0);
    let mut context = context(folder.path(), &clock);
    context.until = Until::CaughtUp;
    let def = relation(&[("path", "a.csv"), ("follow", "true")]);
    let mut resume = Resume::default();
    // The second time the last line is not whole.
    for (text, expected) in
        [("n,a\n1,x\n", &[1][..]), ("n,a\n1,x\n2,y\n3", &[2]), ("n,a\n1,x\n2,y\n3,z\n", &[3])]
    {
        fs::write(&path, text).unwrap();
        let mut source = FileSource::open(&def, &[0, 1, 2], &resume, &context).await.unwrap();
        assert_eq!(read(&mut source, usize::MAX, &mut resume).await, expected);
    }
}
