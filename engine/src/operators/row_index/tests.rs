//! The index on its own: how often rows are copied, what it holds, what it gives back.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("t", DataType::Utf8View, false),
    ]))
}

fn batch(keys: std::ops::Range<i64>) -> RecordBatch {
    let text: StringViewArray =
        keys.clone().map(|k| Some(format!("a text that is not inlined {k}"))).collect();
    let keys = Int64Array::from_iter_values(keys);
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(text)]).unwrap()
}

fn index(changes: bool) -> RowIndex {
    RowIndex::new(schema(), vec![0], NullEquality::NullEqualsNothing, changes)
}

fn found(index: &RowIndex, keys: std::ops::Range<i64>) -> Vec<i64> {
    let probe = index.keyed(Delta::append(batch(keys))).unwrap();
    let mut cursor = RowIndex::start();
    let mut found = Vec::new();
    while let Some(pairs) = index.matches(&probe, &[0], &mut cursor).unwrap() {
        let column = index.pick(&pairs.kept).unwrap().column(0).unwrap();
        found.extend_from_slice(column.as_primitive::<Int64Type>().values());
    }
    found
}

#[test]
fn tiny_batches_are_joined_a_few_times_and_leave_few_segments() {
    let mut index = index(false);
    let mut most = 0;
    for k in 0..100_000 {
        let rows = index.keyed(Delta::append(batch(k..k + 1))).unwrap();
        index.apply(&rows).unwrap();
        most = most.max(index.segments.len());
    }
    // log₈ 32 768 = 5 levels, fewer than 8 segments on each.
    assert!(most <= 5 * FAN_IN, "{most} segments");
    assert!(index.rows_copied <= 6 * 100_000, "{} rows copied", index.rows_copied);
    assert_eq!(found(&index, 99_000..100_010), (99_000..100_000).collect::<Vec<_>>());
    assert_eq!(found(&index, -5..3), vec![0, 1, 2]);
}

#[test]
fn a_slice_does_not_keep_the_buffers_it_is_cut_from() {
    let large = batch(0..50_000);
    let mut index = index(false);
    let rows = index.keyed(Delta::append(large.slice(100, 10))).unwrap();
    index.apply(&rows).unwrap();
    assert!(index.memory_bytes() < 8_000, "{} bytes", index.memory_bytes());
    assert!(large.get_array_memory_size() > 1_000_000);
}

#[test]
fn dead_rows_are_reclaimed_in_proportion() {
    let mut index = index(true);
    for round in 0..200 {
        let weights = |w: i64| Some(Int64Array::from(vec![w; 100]));
        let at = round * 100;
        let add = Delta { batch: batch(at..at + 100), weights: weights(1) };
        let rows = index.keyed(add).unwrap();
        index.apply(&rows).unwrap();
        let remove = Delta { batch: batch(at - 100..at), weights: weights(-1) };
        if round > 0 {
            let rows = index.keyed(remove).unwrap();
            index.apply(&rows).unwrap();
        }
    }
    assert_eq!(found(&index, 0..20_000), (19_900..20_000).collect::<Vec<_>>());
    assert!(index.older.len() <= 2 * DEAD_AND_ALIVE, "{} rows", index.older.len());
    assert!(index.rows_copied < 4 * 20_000, "{} rows copied", index.rows_copied);
}

/// The rows the index may hold before it reclaims, with those of one round.
const DEAD_AND_ALIVE: usize = 1024 + 200;
