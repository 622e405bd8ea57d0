//! Counting by windows that overlap: what a row costs, however many windows it is in.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::lit;
use divan::Bencher;
use divan::counter::ItemsCount;
use millstream_engine::dataflow::OperatorSpec;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::delta::Delta;
use millstream_engine::event_window::Overlapping;
use millstream_engine::operators::pane_aggregate::PaneAggregateSpec;
use millstream_engine::operators::{EpochContext, Input};
use millstream_engine::watermark::{Watermark, Watermarks};

const EPOCHS: usize = 400;
const ROWS: usize = 8_192;
const KEYS: i64 = 500;

/// How far apart windows begin: the rows of an epoch.
const SLIDE_MS: i64 = 1_000;

fn main() {
    divan::main();
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", TIMESTAMP_TYPE, false),
        Field::new("k", DataType::Int64, false),
    ]))
}

fn spec(panes: i64) -> PaneAggregateSpec {
    let schema = input_schema();
    let count = AggregateExprBuilder::new(count_udaf(), vec![lit(1_i64)])
        .schema(Arc::clone(&schema))
        .alias("n")
        .build();
    let count = Arc::new(count.expect("COUNT(*) can be built"));
    let output = Schema::new(vec![
        Field::new("w", TIMESTAMP_TYPE, true),
        Field::new("k", DataType::Int64, true),
        count.field().as_ref().clone(),
    ]);
    PaneAggregateSpec {
        windows: Overlapping::Hop { slide: SLIDE_MS, size: SLIDE_MS * panes, offset: 0 },
        time: 0,
        keys: vec![1],
        aggregates: vec![count],
        filters: vec![None],
        input_schema: schema,
        schema: Arc::new(output),
    }
}

/// The rows of a slide, and the watermark at its end.
fn epoch(number: i64) -> Input {
    let rows = i64::try_from(ROWS).unwrap_or(i64::MAX);
    let times = (0..rows).map(|row| number * SLIDE_MS + row * SLIDE_MS / rows);
    let keys = (0..rows).map(|row| (row * 7_919 + number) % KEYS);
    let batch = RecordBatch::try_new(
        input_schema(),
        vec![
            Arc::new(TimestampMillisecondArray::from_iter_values(times)),
            Arc::new(Int64Array::from_iter_values(keys)),
        ],
    );
    let mut watermarks = Watermarks::none(2);
    watermarks.0[0] = Some(Watermark::At((number + 1) * SLIDE_MS));
    Input { deltas: vec![Delta::append(batch.expect("the columns match"))], watermarks }
}

#[divan::bench(args = [1, 5, 20, 100], sample_count = 5)]
fn hop(bencher: Bencher<'_, '_>, panes: i64) {
    let spec = spec(panes);
    let cx = EpochContext { epoch: 1, now_ms: 0, owner: "BENCH".into(), ended: false };
    bencher
        .counter(ItemsCount::new(EPOCHS * ROWS))
        .with_inputs(|| (0_i64..).take(EPOCHS).map(epoch).collect::<Vec<_>>())
        .bench_local_values(|inputs| {
            let mut operator = spec.build().expect("the plan is right");
            for input in inputs {
                operator.step(&cx, vec![input]).expect("rows are counted");
            }
            operator.memory_bytes()
        });
}
