//! Stagger windows over random rows within the watermark, against a model that takes the rows one by
//! one in the order of time.

use std::collections::BTreeMap;

use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::definition::TIMESTAMP_TYPE;
use crate::operators::oracle::{Fate, Multiset, Restarted, appended, cases, fates, integrate};

/// Time, key, number of arrival.
type Row = (i64, Option<u8>, i64);

fn spec(partition_by: Vec<usize>, length: i64) -> StaggerWindowSpec {
    let mut fields = vec![
        Field::new("t", TIMESTAMP_TYPE, false),
        Field::new("k", DataType::Utf8, true),
        Field::new("seq", DataType::Int64, false),
    ];
    let input_schema = Arc::new(Schema::new(fields.clone()));
    fields.push(Field::new("end", TIMESTAMP_TYPE, true));
    let schema = Arc::new(Schema::new(fields));
    StaggerWindowSpec { partition_by, time: 0, length, input_schema, schema }
}

fn batch(spec: &StaggerWindowSpec, rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|row| row.1.map(|k| format!("k{k}"))).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::clone(&spec.input_schema), columns).unwrap()
}

/// Each row's window, found row by row: number of arrival and end.
fn model(rows: &[Row], keyed: bool, length: i64) -> BTreeMap<i64, i64> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|row| (row.0, row.2));
    let mut open: BTreeMap<Option<u8>, i64> = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for (time, key, seq) in sorted {
        let key = if keyed { key } else { None };
        let end = match open.get(&key) {
            Some(end) if time < *end => *end,
            _ => time + length,
        };
        open.insert(key, end);
        ends.insert(seq, end);
    }
    ends
}

/// Rows to come, by how much the watermark rises, and what happens then.
type Epoch = (Vec<(i64, Option<u8>)>, i64, Fate);

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let row = (0..12_i64, prop::option::of(0..3_u8));
    prop::collection::vec((prop::collection::vec(row, 0..10), 0..8_i64, fates()), 1..12)
}

proptest! {
    #![proptest_config(cases(128))]
    #[test]
    fn a_row_is_in_the_window_its_key_has_open(
        epochs in epochs(), length in 1..15_i64, keyed in any::<bool>(),
    ) {
        let spec = spec(if keyed { vec![1] } else { vec![] }, length);
        let mut operator = Restarted::new(&spec);
        let mut rows: Vec<Row> = Vec::new();
        let mut found = BTreeMap::new();
        let (mut watermark, count) = (0, epochs.len());
        for (i, (new, step, fate)) in epochs.into_iter().enumerate() {
            let first = rows.len();
            for (time, key) in new {
                rows.push((time + watermark, key, i64::try_from(rows.len()).unwrap()));
            }
            let input = batch(&spec, &rows[first..]);
            watermark += step;
            let bound = if i + 1 == count { Watermark::End } else { Watermark::At(watermark) };
            for delta in operator.step(vec![appended(input, 0, bound)], fate) {
                let number = |at: usize| to_numbers(delta.batch.column(at)).unwrap();
                let (seqs, ends) = (number(2), number(3));
                let ends = ends.as_primitive::<Int64Type>().values().iter();
                for (seq, end) in seqs.as_primitive::<Int64Type>().values().iter().zip(ends) {
                    prop_assert!(found.insert(*seq, *end).is_none(), "row {seq} twice");
                }
            }
            let due = rows.iter().filter(|row| row.0 <= bound.bound()).count();
            prop_assert_eq!(found.len(), due);
        }
        prop_assert_eq!(found, model(&rows, keyed, length));
    }
}

#[test]
fn keys_of_ended_windows_are_forgotten() {
    let spec = spec(vec![1], 10);
    let mut operator = spec.build().unwrap();
    let mut bytes = Vec::new();
    for epoch in 0..40_i64 {
        let rows: Vec<Row> = (0..500).map(|i| (epoch * 100, None, i)).collect();
        let mut input = batch(&spec, &rows);
        let keys: StringArray = (0..500).map(|i| Some(format!("{epoch}-{i}"))).collect();
        let mut columns = input.columns().to_vec();
        columns[1] = Arc::new(keys);
        input = RecordBatch::try_new(input.schema(), columns).unwrap();
        let bound = Watermark::At(epoch * 100);
        let cx = crate::operators::oracle::epoch();
        let output = operator.step(&cx, vec![appended(input, 0, bound)]).unwrap();
        let mut seen = Multiset::new();
        integrate(&mut seen, &output.deltas);
        assert_eq!(seen.values().sum::<i64>(), 500);
        bytes.push(operator.memory_bytes());
    }
    assert!(bytes[39] <= 2 * bytes[10], "the state grows: {bytes:?}");
}

#[test]
fn the_end_has_a_watermark_just_above_the_time_s() {
    let spec = spec(vec![1], 10);
    let input = Watermarks(vec![Some(Watermark::At(5)), None, None]);
    let output = spec.watermarks(&[input]);
    assert_eq!(output.0, vec![Some(Watermark::At(5)), None, None, Some(Watermark::At(6))]);
}
