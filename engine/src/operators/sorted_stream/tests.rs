//! Random rows in random epochs, against DataFusion's sort of those the watermark has passed.

use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::definition::TIMESTAMP_TYPE;
use crate::operators::oracle::{Fate, Restarted, appended, batch_sql, cases, fates, texts};

/// Minute, time, text, number of arrival.
type Row = (i64, Option<u8>, i64);

fn spec() -> SortedStreamSpec {
    let schema = Arc::new(Schema::new(vec![
        Field::new("m", TIMESTAMP_TYPE, false),
        Field::new("s", DataType::Utf8, true),
        Field::new("seq", DataType::Int64, false),
    ]));
    let key = |column, descending| SortKey { column, descending, nulls_first: descending };
    SortedStreamSpec { keys: vec![key(0, false), key(1, true)], schema }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|row| row.1.map(|s| format!("s{s}"))).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

/// Rows to come, by how much the watermark rises, and what happens then.
type Epoch = (Vec<(i64, Option<u8>)>, i64, Fate);

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let row = (0..6_i64, prop::option::of(0..4_u8));
    prop::collection::vec((prop::collection::vec(row, 0..10), 0..5_i64, fates()), 1..10)
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn rows_come_out_in_the_order_of_a_batch_sort(epochs in epochs()) {
        let spec = spec();
        let mut operator = Restarted::new(&spec);
        let (mut rows, mut found): (Vec<Row>, Vec<String>) = (Vec::new(), Vec::new());
        let (mut watermark, count) = (0, epochs.len());
        for (i, (new, step, fate)) in epochs.into_iter().enumerate() {
            let first = rows.len();
            for (time, text) in new {
                rows.push((time + watermark, text, i64::try_from(rows.len()).unwrap()));
            }
            let input = batch(&rows[first..]);
            watermark += step;
            let bound = if i + 1 == count { Watermark::End } else { Watermark::At(watermark) };
            let output = operator.step(vec![appended(input, 0, bound)], fate);
            found.extend(output.iter().flat_map(|delta| texts(&delta.batch)));
            let closed: Vec<Row> =
                rows.iter().copied().filter(|row| row.0 < bound.bound()).collect();
            let sql = "SELECT * FROM t ORDER BY m, s DESC, seq";
            let expected = batch_sql(&[("t", batch(&closed))], sql);
            let expected: Vec<String> = expected.iter().flat_map(texts).collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}

#[test]
fn the_rows_that_wait_hold_back_the_other_columns() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("m", TIMESTAMP_TYPE, false),
        Field::new("t", TIMESTAMP_TYPE, false),
    ]));
    let key = SortKey { column: 0, descending: false, nulls_first: false };
    let spec = SortedStreamSpec { keys: vec![key], schema: Arc::clone(&schema) };
    let mut operator = spec.build().unwrap();
    let times = |values: [i64; 2]| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from(values.to_vec()))
    };
    let rows = RecordBatch::try_new(schema, vec![times([10, 20]), times([13, 24])]).unwrap();
    let mut input = appended(rows, 0, Watermark::At(20));
    input.watermarks.0[1] = Some(Watermark::At(30));
    let output = operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
    assert_eq!(output.deltas[0].num_rows(), 1);
    let known = operator.watermarks().unwrap();
    assert_eq!(known.0, vec![Some(Watermark::At(20)), Some(Watermark::At(24))]);
}
