//! What an event costs while state grows: an aggregate and a join from ten thousand keys to ten million.
//!
//! Every key has a row before the measuring begins; the events then fall on keys at random, so that
//! caches help no more than they would.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::JoinType;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{col, lit};
use divan::Bencher;
use divan::counter::ItemsCount;
use millstream_engine::dataflow::OperatorSpec;
use millstream_engine::delta::Delta;
use millstream_engine::operators::hash_join::{HashJoinSpec, Side};
use millstream_engine::operators::updating_aggregate::UpdatingAggregateSpec;
use millstream_engine::operators::{EpochContext, Input, Operator};
use millstream_engine::watermark::Watermarks;

const KEYS: [i64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];

/// Events of an epoch.
const EVENTS: usize = 65_536;

const BATCH_ROWS: i64 = 8_192;

fn main() {
    divan::main();
}

fn schema(names: [&str; 2]) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, false)).to_vec()))
}

fn rows(names: [&str; 2], keys: impl Iterator<Item = i64>) -> Delta {
    let keys: Int64Array = keys.collect::<Vec<_>>().into();
    let values = Int64Array::from_iter_values(keys.values().iter().map(|key| key % 1_000));
    let batch = RecordBatch::try_new(schema(names), vec![Arc::new(keys), Arc::new(values)]);
    Delta::append(batch.expect("the columns match"))
}

fn input(deltas: Vec<Delta>) -> Input {
    Input { deltas, watermarks: Watermarks::none(2) }
}

/// A row for each key.
fn each_key(names: [&str; 2], keys: i64) -> Vec<Delta> {
    let batches = (0..keys).step_by(8_192);
    batches.map(|first| rows(names, first..(first + BATCH_ROWS).min(keys))).collect()
}

/// Events of epoch `number`, on keys without an order.
fn events(names: [&str; 2], keys: i64, number: u64) -> Vec<Delta> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 1).unwrap_or(0) % keys
    };
    let batches = EVENTS / 8_192;
    (0..batches).map(|_| rows(names, (0..BATCH_ROWS).map(|_| next()))).collect()
}

fn context() -> EpochContext {
    EpochContext { epoch: 1, now_ms: 0, owner: "BENCH".into(), ended: false }
}

fn aggregate_spec() -> UpdatingAggregateSpec {
    let input = schema(["k", "v"]);
    let value = col("v", &input).expect("it is a column");
    let build = |udaf, argument, alias: &str| {
        let built = AggregateExprBuilder::new(udaf, vec![argument])
            .schema(Arc::clone(&input))
            .alias(alias)
            .build();
        Arc::new(built.expect("it can be built"))
    };
    let aggregates = vec![build(count_udaf(), lit(1_i64), "n"), build(sum_udaf(), value, "total")];
    let mut output = vec![Field::new("k", DataType::Int64, false)];
    output.extend(aggregates.iter().map(|aggregate| aggregate.field().as_ref().clone()));
    UpdatingAggregateSpec {
        keys: vec![0],
        filters: vec![None; 2],
        aggregates,
        schema: Arc::new(Schema::new(output)),
        input_schema: input,
        input_updating: false,
    }
}

#[expect(clippy::print_stderr, reason = "the timing has no place for it")]
fn filled(spec: &dyn OperatorSpec, inputs: Vec<Input>, keys: i64) -> Box<dyn Operator> {
    let mut operator = spec.build().expect("the plan is right");
    operator.step(&context(), inputs).expect("rows are taken in");
    let bytes = operator.memory_bytes() / usize::try_from(keys).unwrap_or(1);
    eprintln!("{} of {keys} keys: {bytes} bytes a key", spec.name());
    operator
}

#[divan::bench(args = KEYS, sample_count = 20)]
fn aggregate(bencher: Bencher<'_, '_>, keys: i64) {
    let names = ["k", "v"];
    let mut operator = filled(&aggregate_spec(), vec![input(each_key(names, keys))], keys);
    let mut epoch = 0;
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| {
            epoch += 1;
            vec![input(events(names, keys, epoch))]
        })
        .bench_local_values(|inputs| operator.step(&context(), inputs).expect("rows are counted"));
}

#[divan::bench(args = KEYS, sample_count = 20)]
fn join(bencher: Bencher<'_, '_>, keys: i64) {
    let (left, right) = (schema(["a", "v"]), schema(["b", "w"]));
    let spec = HashJoinSpec {
        join_type: JoinType::Inner,
        null_aware: false,
        left_keys: vec![0],
        right_keys: vec![0],
        null_equals_null: false,
        residual: None,
        output: vec![(Side::Left, 0), (Side::Left, 1), (Side::Right, 1)],
        schema: Arc::new(Schema::new(
            ["a", "v", "w"].map(|name| Field::new(name, DataType::Int64, false)).to_vec(),
        )),
        left_schema: left,
        right_schema: right,
        updating: false,
    };
    let (left, right) = (["a", "v"], ["b", "w"]);
    let kept = vec![input(each_key(left, keys)), input(Vec::new())];
    let mut operator = filled(&spec, kept, keys);
    let mut epoch = 0;
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| {
            epoch += 1;
            vec![input(Vec::new()), input(events(right, keys, epoch))]
        })
        .bench_local_values(|inputs| operator.step(&context(), inputs).expect("rows are joined"));
}
