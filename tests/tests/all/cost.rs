//! An epoch costs what its input costs, however much state there is: nothing is rebuilt or re-planned
//! per epoch.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, TimestampMillisecondArray};
use millstream_engine::definition::RelationDef;
use millstream_engine::{Clock, SystemClock};
use millstream_tests::pipeline::{Event, Happening, Pipeline};

const EPOCHS: usize = 1_000;
const ROWS: usize = 100;

/// How much more an epoch at the end may cost than one at the beginning. Hash tables and allocators
/// make a few tens of percent; rebuilding the state would make hundreds.
const FACTOR_MAX: u32 = 4;

fn rows(def: &RelationDef, epoch: usize) -> RecordBatch {
    let first = i32::try_from(epoch * ROWS).unwrap();
    let keys: Vec<i32> = (first..first + i32::try_from(ROWS).unwrap()).collect();
    let schema = def.stream_schema();
    let column = |name: &str| -> Option<ArrayRef> {
        match name {
            "K" | "X" => Some(Arc::new(Int32Array::from(keys.clone()))),
            "ROWTIME" => {
                let time = i64::try_from(epoch).unwrap() * 1_000;
                Some(Arc::new(TimestampMillisecondArray::from(vec![time; ROWS])))
            }
            _ => None,
        }
    };
    let columns = schema.fields().iter().map(|field| {
        column(field.name())
            .unwrap_or_else(|| arrow::array::new_null_array(field.data_type(), ROWS))
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// The median time of an epoch among the first and the last hundred (after ten to warm up), with one
/// row out per row of `a`.
fn cost(query: &str) -> (Duration, Duration) {
    let declarations =
        "CREATE STREAM a (k INTEGER, x INTEGER); CREATE STREAM b (k INTEGER, x INTEGER);";
    let mut pipeline = Pipeline::new(declarations, query, 2);
    let event = |stream: &str, happening| -> Event { (stream.into(), "p".into(), happening) };
    pipeline.epoch(&[event("A", Happening::Discovered), event("B", Happening::Discovered)]);
    let clock = SystemClock::new();
    let mut times = Vec::with_capacity(EPOCHS);
    for epoch in 0..EPOCHS {
        let of = |stream| event(stream, Happening::Rows(rows(pipeline.stream(stream), epoch)));
        let events = [of("A"), of("B")];
        let before = clock.monotonic();
        let output = pipeline.epoch(&events);
        times.push(clock.monotonic() - before);
        let out: usize = output.sinks.iter().flat_map(|(_, d)| d).map(|d| d.num_rows()).sum();
        assert_eq!(out, ROWS, "each key matches once, in epoch {epoch}");
    }
    (median(&times[10..110]), median(&times[EPOCHS - 100..]))
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn check(query: &str) {
    let (first, last) = cost(query);
    assert!(
        last <= first * FACTOR_MAX,
        "an epoch took {first:?} at the beginning and {last:?} with {} rows of state",
        EPOCHS * ROWS * 2
    );
}

#[test]
fn a_join_with_a_growing_state() {
    check("SELECT STREAM a.k, a.x, b.x AS y FROM a JOIN b ON a.k = b.k");
}

#[test]
fn a_sliding_window_that_holds_everything() {
    check("SELECT STREAM k, SUM(x) OVER (RANGE INTERVAL '1' HOUR PRECEDING) AS s FROM a");
}
