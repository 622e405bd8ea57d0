//! Random rows in random epochs, against a model that takes them one by one.

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::definition::TIMESTAMP_TYPE;
use crate::operators::oracle::{cases, changed, epoch};

fn spec(within: i64) -> TimeSortSpec {
    let schema = Arc::new(Schema::new(vec![
        Field::new("t", TIMESTAMP_TYPE, true),
        Field::new("seq", DataType::Int64, false),
    ]));
    let key = SortKey { column: 0, descending: false, nulls_first: false };
    TimeSortSpec { keys: vec![key], within, schema }
}

fn batch(spec: &TimeSortSpec, times: &[Option<i64>], first: usize) -> RecordBatch {
    let seqs = Int64Array::from_iter_values((0_i64..).skip(first).take(times.len()));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(TimestampMillisecondArray::from(times.to_vec())), Arc::new(seqs)];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap()
}

/// What has come out after these rows, in order, and how many are late.
fn model(times: &[Option<i64>], within: i64, ended: bool) -> (Vec<i64>, usize) {
    let (mut high, mut kept, mut late) = (i64::MIN / 2, Vec::new(), 0);
    for time in times {
        match time {
            Some(time) if *time >= high - within => {
                high = high.max(*time);
                kept.push(*time);
            }
            _ => late += 1,
        }
    }
    kept.retain(|time| ended || *time <= high - within);
    kept.sort_unstable();
    (kept, late)
}

proptest! {
    #![proptest_config(cases(128))]
    #[test]
    fn rows_come_out_in_order_whatever_the_cut(
        epochs in prop::collection::vec(
            (prop::collection::vec(prop::option::weighted(0.95, 0..60_i64), 0..8), any::<bool>()),
            1..10,
        ),
        within in 0..25_i64,
    ) {
        let spec = spec(within);
        let mut operator = spec.build().unwrap();
        let mut snapshots = Vec::new();
        let (mut rows, mut found, mut late): (Vec<Option<i64>>, Vec<i64>, usize) =
            (Vec::new(), Vec::new(), 0);
        let count = epochs.len();
        for (i, (new, restart)) in epochs.into_iter().enumerate() {
            let batch = batch(&spec, &new, rows.len());
            rows.extend(new);
            let mut input = changed(vec![Delta::append(batch)], 2);
            let ended = i + 1 == count;
            input.watermarks.0[1] = Some(Watermark::At(1_000_000));
            let cx = EpochContext { ended, ..epoch() };
            let output = operator.step(&cx, vec![input]).unwrap();
            late += output.bad.len();
            for delta in &output.deltas {
                let times = to_numbers(delta.batch.column(0)).unwrap();
                found.extend(times.as_primitive::<Int64Type>().values());
            }
            prop_assert_eq!((found.clone(), late), model(&rows, within, ended));
            let floor = operator.watermarks().unwrap().0[0].unwrap();
            prop_assert!(found.iter().all(|time| *time <= floor.bound()));
            if restart {
                snapshots.extend(operator.snapshot().unwrap());
                operator = spec.build().unwrap();
                operator.restore(snapshots.clone()).unwrap();
            }
        }
    }
}
