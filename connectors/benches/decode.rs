//! JSON and CSV decoding, beside Arrow's own decoders on the same bytes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use millstream_connectors::decode::{Delimiters, Format, RecordAddress, RowDecoder};
use millstream_engine::definition::{ColumnDef, RelationDef, Rowtime, TIMESTAMP_TYPE};

const RECORDS: usize = 8_192;

fn main() {
    divan::main();
}

fn def() -> RelationDef {
    let columns = vec![
        ColumnDef::new("event_id", DataType::Utf8),
        ColumnDef::new("company_id", DataType::Utf8),
        ColumnDef::new("user_id", DataType::Utf8),
        ColumnDef::new("job_submitted", DataType::Int32),
        ColumnDef::new("price", DataType::Float64),
        ColumnDef::new("volume", DataType::Int64),
        ColumnDef::new("event_time", TIMESTAMP_TYPE),
        ColumnDef::new("region", DataType::Utf8),
    ];
    let rowtime = Rowtime::Column { column: 6, delay_ms: 0 };
    RelationDef { name: "JOBS".into(), columns, options: Vec::new(), rowtime }
}

/// About 200 bytes each, as tenant events have.
fn json_record(i: usize) -> String {
    format!(
        "{{\"event_id\":\"evt-{i:012}\",\"company_id\":\"comp_{}\",\"user_id\":\"user_{}\",\
         \"job_submitted\":{},\"price\":{}.{:02},\"volume\":{},\
         \"event_time\":\"2026-03-01T12:{:02}:{:02}.{:03}\",\"region\":\"eu-central-{}\"}}\n",
        i % 97,
        i % 1_009,
        i % 7,
        i % 500,
        i % 100,
        i * 1_003,
        i / 60 % 60,
        i % 60,
        i % 1_000,
        i % 3
    )
}

fn csv_record(i: usize) -> String {
    format!(
        "evt-{i:012},comp_{},user_{},{},{}.{:02},{},2026-03-01T12:{:02}:{:02}.{:03},eu-central-{}\n",
        i % 97,
        i % 1_009,
        i % 7,
        i % 500,
        i % 100,
        i * 1_003,
        i / 60 % 60,
        i % 60,
        i % 1_000,
        i % 3
    )
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, records: &[String]) -> Bencher<'a, 'b> {
    let bytes: usize = records.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(records.len())).counter(BytesCount::new(bytes))
}

fn ours(bencher: Bencher<'_, '_>, records: &[String], projection: &[usize], format: &Format) {
    let mut decoder = RowDecoder::new(&def(), projection, format).expect("a decodable schema");
    let partition: Arc<str> = "shard".into();
    counted(bencher, records).bench_local(|| {
        for record in records {
            let address = RecordAddress {
                arrival_ms: 0,
                partition: &partition,
                position: &1,
                partition_key: None,
                sequence_number: None,
                shard_id: None,
            };
            decoder.push(record.as_bytes(), &address);
        }
        let (batch, bad) = decoder.finish().expect("valid columns");
        assert_eq!((batch.num_rows(), bad.len()), (RECORDS, 0));
        batch
    });
}

fn arrow_json(bencher: Bencher<'_, '_>, records: &[String], projection: &[usize]) {
    let schema = Arc::new(def().declared_schema().project(projection).expect("declared columns"));
    let mut decoder = arrow::json::ReaderBuilder::new(schema)
        .with_batch_size(RECORDS)
        .build_decoder()
        .expect("a decodable schema");
    counted(bencher, records).bench_local(|| {
        for record in records {
            decoder.decode(record.as_bytes()).expect("valid records");
        }
        decoder.flush().expect("valid records").expect("rows")
    });
}

const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7];
const TWO: &[usize] = &[1, 3];

#[divan::bench]
fn json_all_ours(bencher: Bencher<'_, '_>) {
    let records: Vec<String> = (0..RECORDS).map(json_record).collect();
    ours(bencher, &records, ALL, &Format::Json);
}

#[divan::bench]
fn json_all_arrow(bencher: Bencher<'_, '_>) {
    let records: Vec<String> = (0..RECORDS).map(json_record).collect();
    arrow_json(bencher, &records, ALL);
}

#[divan::bench]
fn json_two_ours(bencher: Bencher<'_, '_>) {
    let records: Vec<String> = (0..RECORDS).map(json_record).collect();
    ours(bencher, &records, TWO, &Format::Json);
}

#[divan::bench]
fn json_two_arrow(bencher: Bencher<'_, '_>) {
    let records: Vec<String> = (0..RECORDS).map(json_record).collect();
    arrow_json(bencher, &records, TWO);
}

#[divan::bench]
fn csv_all_ours(bencher: Bencher<'_, '_>) {
    let records: Vec<String> = (0..RECORDS).map(csv_record).collect();
    ours(bencher, &records, ALL, &Format::Csv(Delimiters::default()));
}

#[divan::bench]
fn csv_all_arrow(bencher: Bencher<'_, '_>) {
    let records: Vec<String> = (0..RECORDS).map(csv_record).collect();
    let mut decoder = arrow::csv::ReaderBuilder::new(def().declared_schema())
        .with_batch_size(RECORDS)
        .build_decoder();
    counted(bencher, &records).bench_local(|| {
        for record in &records {
            decoder.decode(record.as_bytes()).expect("valid records");
        }
        decoder.flush().expect("valid records").expect("rows")
    });
}
