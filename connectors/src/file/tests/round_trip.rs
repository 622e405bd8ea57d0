//! Every type through every format and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use millstream_engine::definition::ColumnDef;
use millstream_engine::port::{Flush, Sink};
use millstream_engine::{Delta, ManualClock};

use super::{context, with_columns};
use crate::file::read_all;
use crate::file::sink::FileSink;

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let texts = vec![Some("plain"), None, Some(""), Some("a,\"b\"\n c"), Some(" é😀 ")];
    vec![
        ("B", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), None, None]))),
        ("I8", Arc::new(Int8Array::from(vec![Some(-128), None, Some(127), None, Some(0)]))),
        ("I16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(1), None, None]))),
        ("I32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(1), None, None]))),
        ("I64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX), None, None]))),
        ("F32", Arc::new(Float32Array::from(vec![Some(1.1), None, Some(-3.4e38), None, None]))),
        ("F64", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(1e300), None, Some(-0.5)]))),
        ("TXT", Arc::new(StringArray::from(texts))),
        (
            "DEC",
            Arc::new(
                Decimal128Array::from(vec![Some(12_345), None, Some(-1), Some(0), Some(10)])
                    .with_precision_and_scale(18, 3)
                    .unwrap(),
            ),
        ),
        ("DAY", Arc::new(Date32Array::from(vec![Some(0), None, Some(20_000), Some(-1), None]))),
        (
            "CLK",
            Arc::new(Time32MillisecondArray::from(vec![
                Some(0),
                None,
                Some(86_399_999),
                None,
                Some(1_500),
            ])),
        ),
        (
            "AT",
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(0),
                None,
                Some(1_700_000_000_123),
                Some(-1),
                None,
            ])),
        ),
        (
            "BIN",
            Arc::new(BinaryArray::from_opt_vec(vec![
                Some(b"\x00\xff".as_slice()),
                None,
                Some(b"abc"),
                None,
                None,
            ])),
        ),
    ]
}

fn rows() -> RecordBatch {
    let columns = columns();
    let fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

/// Writes `rows` below `folder`, whole, and returns the files.
pub(super) async fn write(
    folder: &Path,
    rows: &RecordBatch,
    options: &[(&str, &str)],
) -> Vec<PathBuf> {
    let context = context(folder, &ManualClock::new(1_700_000_000_000));
    let def = with_columns(vec![], &[&[("path", "out")], options].concat());
    let mut sink = FileSink::open(&def, rows.schema(), false, &context).await.unwrap();
    for half in [
        rows.slice(0, rows.num_rows() / 2),
        rows.slice(rows.num_rows() / 2, rows.num_rows() - rows.num_rows() / 2),
    ] {
        sink.write(1, vec![Delta::append(half)]).await.unwrap();
    }
    assert_eq!(sink.report().files, 0);
    sink.flush(Flush::All).await.unwrap();
    let files = files_below(&folder.join("out"));
    let report = sink.report();
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!((report.files, report.bytes), (files.len() as u64, bytes));
    assert_eq!(report.rows + report.bad, rows.num_rows() as u64);
    files
}

/// All files below `folder`, hidden ones too, in name order.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[tokio::test]
async fn every_type_comes_back_from_every_format() {
    let rows = rows();
    let declared = rows.schema();
    let declared: Vec<ColumnDef> =
        declared.fields().iter().map(|f| ColumnDef::new(f.name(), f.data_type().clone())).collect();
    let all: Vec<usize> = (0..declared.len()).collect();
    for options in [
        vec![("format", "parquet")],
        vec![("format", "parquet"), ("compression", "snappy")],
        vec![("format", "csv")],
        vec![("format", "csv"), ("header", "false"), ("delimiter", "|")],
        vec![("format", "json")],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), &rows, &options).await;
        assert_eq!(files.len(), 1);
        let read: Vec<_> =
            options.iter().filter(|(name, _)| *name != "compression").copied().collect();
        let def = with_columns(declared.clone(), &[vec![("path", "out")], read].concat());
        let context = context(folder.path(), &ManualClock::new(0));
        let (batches, bad) = read_all(&def, &all, &context).await.unwrap();
        assert_eq!(bad, vec![], "{options:?}");
        let found = concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!(found, rows, "{options:?}");
    }
}

#[tokio::test]
async fn another_reader_finds_the_same() {
    let rows = rows();
    let folder = tempfile::tempdir().unwrap();
    let parquet = write(folder.path(), &rows, &[("format", "parquet")]).await.remove(0);
    let session = SessionContext::new();
    let options = ParquetReadOptions { skip_metadata: Some(true), ..ParquetReadOptions::default() };
    let read = session.read_parquet(parquet.to_str().unwrap(), options).await.unwrap();
    let found = read.collect().await.unwrap();
    let lower = rows.schema();
    let lower: Vec<Field> = lower
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_name(f.name().to_lowercase()))
        .collect();
    // The reader's own preference for string views aside, the types are those written.
    let expected =
        RecordBatch::try_new(Arc::new(Schema::new(lower)), rows.columns().to_vec()).unwrap();
    let shown = |batches: &[RecordBatch]| {
        arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string()
    };
    assert_eq!(shown(&found), shown(&[expected]));

    let folder = tempfile::tempdir().unwrap();
    let csv = write(folder.path(), &rows, &[("format", "csv")]).await.remove(0);
    let options = CsvReadOptions::new().newlines_in_values(true);
    let read = session.read_csv(csv.to_str().unwrap(), options).await.unwrap();
    let sums = read
        .aggregate(
            vec![],
            vec![
                datafusion::functions_aggregate::expr_fn::count(datafusion::prelude::col("txt")),
                datafusion::functions_aggregate::expr_fn::min(datafusion::prelude::col("i64")),
                datafusion::functions_aggregate::expr_fn::max(datafusion::prelude::col("at")),
            ],
        )
        .unwrap();
    let text = shown(&sums.collect().await.unwrap());
    assert!(
        text.contains("-9223372036854775808") && text.contains("2023-11-14T22:13:20.123"),
        "{text}"
    );
}

#[tokio::test]
async fn times_are_stored_as_every_reader_knows_them() {
    use arrow::array::{TimestampNanosecondArray, TimestampSecondArray};
    let nanos = TimestampNanosecondArray::from(vec![1_500, i64::MAX, -1]);
    let seconds = TimestampSecondArray::from(vec![Some(1), Some(2), Some(i64::MAX)]);
    let rows = RecordBatch::try_from_iter([
        ("n", Arc::new(nanos) as ArrayRef),
        ("s", Arc::new(seconds) as ArrayRef),
    ])
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The third row's time overflows in milliseconds: it is counted, not wrapped.
    let file = write(folder.path(), &rows, &[("format", "parquet")]).await.remove(0);
    let reader = ::parquet::file::reader::SerializedFileReader::new(fs::File::open(file).unwrap());
    let metadata = ::parquet::file::reader::FileReader::metadata(&reader.unwrap()).clone();
    assert_eq!(metadata.file_metadata().num_rows(), 2);
    for column in metadata.file_metadata().schema_descr().columns() {
        assert_eq!(column.physical_type(), ::parquet::basic::Type::INT64);
        let logical = format!("{:?}", column.logical_type_ref().unwrap());
        assert!(logical.contains("MILLIS") || logical.contains("MICROS"), "{logical}");
    }
    let text = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    assert_eq!(text.to_string(), "Timestamp(µs)");
}
