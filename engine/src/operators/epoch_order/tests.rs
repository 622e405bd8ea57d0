//! Random rows in random batches, against a stable sort.

use arrow::array::{Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::definition::TIMESTAMP_TYPE;
use crate::operators::oracle::{Fate, Restarted, cases, texts};
use crate::watermark::Watermark;

fn spec() -> EpochOrderSpec {
    let fields =
        vec![Field::new("n", DataType::Int64, false), Field::new("t", TIMESTAMP_TYPE, true)];
    EpochOrderSpec { time: 1, schema: Arc::new(Schema::new(fields)) }
}

fn batch(rows: &[(i64, Option<i64>)]) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let times: TimestampMillisecondArray = rows.iter().map(|row| row.1).collect();
    RecordBatch::try_new(spec().schema, vec![Arc::new(numbers), Arc::new(times)]).unwrap()
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn an_epoch_comes_out_in_the_order_of_time(
        epochs in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, 0..6_i64), 0..5), 0..5),
            1..5,
        ),
    ) {
        let spec = spec();
        let mut operator = Restarted::new(&spec);
        let mut number = 0;
        for batches in epochs {
            let mut rows = Vec::new();
            let mut deltas = Vec::new();
            for times in batches {
                let part: Vec<_> = times.iter().map(|time| { number += 1; (number, *time) }).collect();
                deltas.push(Delta::append(batch(&part)));
                rows.extend(part);
            }
            let watermarks = Watermarks(vec![None, Some(Watermark::Unknown)]);
            let output = operator.step(vec![Input { deltas, watermarks }], Fate::Runs);
            let found: Vec<String> = output.iter().flat_map(|delta| texts(&delta.batch)).collect();
            rows.sort_by_key(|row| row.1);
            prop_assert_eq!(found, texts(&batch(&rows)));
        }
    }
}
