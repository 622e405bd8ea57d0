//! The windows of Kinesis Analytics on decoded rows, on one core: sliding by time, tumbling, stagger.
//!
//! `cargo bench -p millstream-engine --bench keyed` prints rows a second for each. Time goes on with the
//! epochs, so that a sliding window holds as much at the end as at the beginning.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{col, lit};
use divan::Bencher;
use divan::counter::ItemsCount;
use millstream_engine::dataflow::OperatorSpec;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::delta::Delta;
use millstream_engine::operators::sliding_window::{Frame, SlidingAggregate, SlidingWindowSpec};
use millstream_engine::operators::stagger_window::StaggerWindowSpec;
use millstream_engine::operators::window_aggregate::WindowAggregateSpec;
use millstream_engine::operators::{EpochContext, Input, Operator};
use millstream_engine::watermark::{Watermark, Watermarks};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

const KEYS: i64 = 10_000;

/// Rows of an epoch.
const ROWS: usize = 65_536;

/// Rows of an hour: a thousand for each key.
const ROWS_PER_HOUR: i64 = KEYS * 1_000;

fn main() {
    divan::main();
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", TIMESTAMP_TYPE, false),
        Field::new("k", DataType::Int64, false),
        Field::new("v", DataType::Int64, false),
    ]))
}

/// The rows of epoch `number`, in the order of time, and the watermark at their end. A window of
/// `length` begins every so often: its start is the fourth column, if it is not 0.
fn epoch(number: i64, length: i64) -> Input {
    let rows = i64::try_from(ROWS).unwrap_or(i64::MAX);
    let time = |row: i64| (number * rows + row) * HOUR_MS / ROWS_PER_HOUR;
    let times = TimestampMillisecondArray::from_iter_values((0..rows).map(time));
    let keys = (0..rows).map(|row| (number * rows + row) * 7_919 % KEYS);
    let values = (0..rows).map(|row| row % 1_000);
    let mut columns: Vec<Arc<dyn arrow::array::Array>> = vec![
        Arc::new(times),
        Arc::new(Int64Array::from_iter_values(keys)),
        Arc::new(Int64Array::from_iter_values(values)),
    ];
    let mut schema = input_schema();
    if length > 0 {
        let starts = (0..rows).map(|row| time(row).div_euclid(length) * length);
        columns.push(Arc::new(TimestampMillisecondArray::from_iter_values(starts)));
        let fields = schema.fields().iter().map(|field| field.as_ref().clone());
        let start = Field::new("w", TIMESTAMP_TYPE, false);
        schema = Arc::new(Schema::new(fields.chain([start]).collect::<Vec<_>>()));
    }
    let mut watermarks = Watermarks::none(columns.len());
    let end = time(rows);
    watermarks.0[0] = Some(Watermark::At(end));
    if length > 0 {
        watermarks.0[3] = Some(Watermark::At(end.div_euclid(length) * length));
    }
    let batch = RecordBatch::try_new(schema, columns);
    Input { deltas: vec![Delta::append(batch.expect("the columns match"))], watermarks }
}

fn aggregate(
    function: Arc<AggregateUDF>,
    argument: Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
    alias: &str,
) -> Arc<AggregateFunctionExpr> {
    let built = AggregateExprBuilder::new(function, vec![argument])
        .schema(Arc::clone(schema))
        .alias(alias)
        .build();
    Arc::new(built.expect("it can be built"))
}

fn with_fields(schema: &SchemaRef, more: impl IntoIterator<Item = Field>) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(fields.chain(more).collect::<Vec<_>>()))
}

/// `SUM(v), COUNT(*) OVER (PARTITION BY k RANGE INTERVAL '1' HOUR PRECEDING)`.
fn sliding_spec() -> SlidingWindowSpec {
    let input = input_schema();
    let value = col("v", &input).expect("it is a column");
    let sum = aggregate(sum_udaf(), value, &input, "s");
    let count = aggregate(count_udaf(), lit(1_i64), &input, "n");
    let results = [&sum, &count].map(|of| of.field().as_ref().clone());
    let frame = Frame::Range { preceding: HOUR_MS };
    SlidingWindowSpec {
        partition_by: vec![1],
        time: 0,
        windows: [sum, count].map(|aggregate| SlidingAggregate { aggregate, frame }).to_vec(),
        schema: with_fields(&input, results),
        input_schema: input,
    }
}

/// `COUNT(*) … GROUP BY k, w`, where `w` is the start of a window.
fn tumbling_spec() -> WindowAggregateSpec {
    let schema = epoch(0, MINUTE_MS).deltas[0].batch.schema();
    let count = aggregate(count_udaf(), lit(1_i64), &schema, "n");
    let key = |name: &str| (col(name, &schema).expect("it is a column"), name.to_owned());
    let output = Schema::new(vec![
        Field::new("w", TIMESTAMP_TYPE, true),
        Field::new("k", DataType::Int64, true),
        count.field().as_ref().clone(),
    ]);
    WindowAggregateSpec {
        keys: vec![key("w"), key("k")],
        time_keys: vec![0],
        aggregates: vec![count],
        filters: vec![None],
        input_schema: schema,
        schema: Arc::new(output),
    }
}

/// The end of the window of each row by `WINDOWED BY STAGGER (PARTITION BY k RANGE INTERVAL '1' MINUTE)`.
fn stagger_spec() -> StaggerWindowSpec {
    let input = input_schema();
    StaggerWindowSpec {
        partition_by: vec![1],
        time: 0,
        length: MINUTE_MS,
        schema: with_fields(&input, [Field::new("end", TIMESTAMP_TYPE, true)]),
        input_schema: input,
    }
}

fn context() -> EpochContext {
    EpochContext { epoch: 1, now_ms: 0, owner: "BENCH".into(), ended: false }
}

/// Measures epochs of `spec` behind those that fill it.
fn measure(bencher: Bencher<'_, '_>, spec: &dyn OperatorSpec, filling: i64, length: i64) {
    let mut operator: Box<dyn Operator> = spec.build().expect("the plan is right");
    let mut number = 0;
    while number < filling {
        operator.step(&context(), vec![epoch(number, length)]).expect("rows are taken in");
        number += 1;
    }
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| {
            number += 1;
            vec![epoch(number - 1, length)]
        })
        .bench_local_values(|inputs| operator.step(&context(), inputs).expect("rows are counted"));
}

#[divan::bench(sample_count = 50)]
fn sliding_hour(bencher: Bencher<'_, '_>) {
    let epochs_per_hour = ROWS_PER_HOUR / i64::try_from(ROWS).unwrap_or(i64::MAX) + 1;
    measure(bencher, &sliding_spec(), epochs_per_hour, 0);
}

#[divan::bench(sample_count = 200)]
fn tumbling(bencher: Bencher<'_, '_>) {
    measure(bencher, &tumbling_spec(), 10, MINUTE_MS);
}

#[divan::bench(sample_count = 200)]
fn stagger(bencher: Bencher<'_, '_>) {
    measure(bencher, &stagger_spec(), 10, 0);
}
