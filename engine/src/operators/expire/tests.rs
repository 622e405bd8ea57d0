//! Random rows in random epochs, against a model: the rows later than the watermark less the length.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMillisecondType};
use proptest::prelude::*;

use super::*;
use crate::definition::TIMESTAMP_TYPE;
use crate::operators::oracle::{appended, cases, epoch};

fn spec(counts_for: i64) -> ExpireSpec {
    let schema = Arc::new(Schema::new(vec![
        Field::new("t", TIMESTAMP_TYPE, false),
        Field::new("seq", DataType::Int64, false),
    ]));
    ExpireSpec { time: 0, counts_for, written: format!("{counts_for} ms"), schema }
}

fn batch(spec: &ExpireSpec, times: &[i64], first: usize) -> RecordBatch {
    let seqs = Int64Array::from_iter_values((0_i64..).skip(first).take(times.len()));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(TimestampMillisecondArray::from(times.to_vec())), Arc::new(seqs)];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap()
}

/// Adds what comes out to the rows that are there: by time and number, with their weights.
fn add(sum: &mut BTreeMap<(i64, i64), i64>, output: Output) {
    for Delta { batch, weights } in output.deltas {
        let times = batch.column(0).as_primitive::<TimestampMillisecondType>();
        let seqs = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let weight = weights.as_ref().map_or(1, |weights| weights.value(row));
            *sum.entry((times.value(row), seqs.value(row))).or_default() += weight;
        }
    }
    sum.retain(|_, weight| *weight != 0);
}

proptest! {
    #![proptest_config(cases(128))]
    #[test]
    fn the_sum_is_the_rows_that_count_whatever_the_cut(
        epochs in prop::collection::vec(
            (prop::collection::vec(0..30_i64, 0..8), 0..20_i64, any::<bool>()),
            1..10,
        ),
        counts_for in 1..40_i64,
    ) {
        let spec = spec(counts_for);
        let mut operator = spec.build().unwrap();
        let mut snapshots = Vec::new();
        let (mut watermark, mut rows) = (0, Vec::new());
        let mut sum = BTreeMap::new();
        for (delays, passes, restart) in epochs {
            // No row is late: each is at or behind the watermark before it.
            let times: Vec<i64> = delays.iter().map(|delay| watermark + delay).collect();
            let new = batch(&spec, &times, rows.len());
            rows.extend(times);
            watermark += passes;
            let input = appended(new, 0, Watermark::At(watermark));
            add(&mut sum, operator.step(&epoch(), vec![input]).unwrap());
            let expected: BTreeMap<(i64, i64), i64> = rows
                .iter()
                .zip(0_i64..)
                .filter(|(time, _)| **time > watermark - counts_for)
                .map(|(time, seq)| ((*time, seq), 1))
                .collect();
            prop_assert_eq!(&sum, &expected);
            if restart {
                snapshots.extend(operator.snapshot().unwrap());
                operator = spec.build().unwrap();
                operator.restore(snapshots.clone()).unwrap();
            }
        }
        let ended = appended(batch(&spec, &[], 0), 0, Watermark::End);
        let output = operator.step(&epoch(), vec![ended]).unwrap();
        prop_assert!(output.deltas.iter().all(|delta| delta.num_rows() == 0), "time stands still");
    }
}

#[test]
fn memory_is_that_of_the_rows_that_count() {
    let spec = spec(1_000);
    let mut operator = spec.build().unwrap();
    let mut most = 0;
    for second in 0..200_i64 {
        let times: Vec<i64> = (0..1_000).map(|ms| second * 1_000 + ms).collect();
        let input = appended(batch(&spec, &times, 0), 0, Watermark::At((second + 1) * 1_000));
        operator.step(&epoch(), vec![input]).unwrap();
        if second == 20 {
            most = operator.memory_bytes();
        }
    }
    assert!(operator.memory_bytes() <= 4 * most.max(1), "{} > 4 x {most}", operator.memory_bytes());
}
