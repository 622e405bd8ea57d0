//! What an event costs while state grows: an aggregate and a join from ten thousand keys to ten million,
//! by themselves and with the decoding of the events from JSON.
//!
//! Every key has a row before the measuring begins; the events then fall on keys at random, so that
//! caches help no more than they would. The events are bids of Nexmark's shape, of which two numbers
//! are read.

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
use millstream_connectors::decode::{Format, RecordAddress, RowDecoder};
use millstream_engine::dataflow::OperatorSpec;
use millstream_engine::definition::{ColumnDef, RelationDef, Rowtime, TIMESTAMP_TYPE};
use millstream_engine::delta::Delta;
use millstream_engine::operators::hash_join::{HashJoinSpec, Side};
use millstream_engine::operators::updating_aggregate::UpdatingAggregateSpec;
use millstream_engine::operators::{EpochContext, Input, Operator};
use millstream_engine::watermark::Watermarks;

const KEYS: [i64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];

/// Events of an epoch.
const EVENTS: usize = 65_536;

const BATCH_ROWS: usize = 8_192;

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
    let rows_of = |first: i64| rows(names, first..(first + 8_192).min(keys));
    (0..keys).step_by(BATCH_ROWS).map(rows_of).collect()
}

/// The keys of the events of epoch `number`, without an order.
fn event_keys(keys: i64, number: u64) -> impl Iterator<Item = i64> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 1).unwrap_or(0) % keys
    };
    (0..EVENTS).map(move |_| next())
}

/// The events of epoch `number`.
fn events(names: [&str; 2], keys: i64, number: u64) -> Vec<Delta> {
    let keys: Vec<i64> = event_keys(keys, number).collect();
    keys.chunks(BATCH_ROWS).map(|keys| rows(names, keys.iter().copied())).collect()
}

/// The events of epoch `number` as records of JSON.
fn records(keys: i64, number: u64) -> Vec<String> {
    let record = |key: i64| {
        format!(
            "{{\"auction\":{key},\"bidder\":{},\"price\":{},\"channel\":\"channel-{}\",\"url\":\
             \"https://www.nexmark.com/item.htm?query=1&channel_id={}\",\"date_time\":\
             \"2026-03-01 12:00:{:02}.000\",\"extra\":\"{:x>90}\"}}",
            key % 1_009,
            key % 1_000,
            key % 97,
            key % 10_007,
            key % 60,
            key
        )
    };
    event_keys(keys, number).map(record).collect()
}

fn bids() -> RelationDef {
    let number = |name: &str| ColumnDef::new(name, DataType::Int64);
    let text = |name: &str| ColumnDef::new(name, DataType::Utf8);
    let columns = vec![
        number("auction"),
        number("bidder"),
        number("price"),
        text("channel"),
        text("url"),
        ColumnDef::new("date_time", TIMESTAMP_TYPE),
        text("extra"),
    ];
    let rowtime = Rowtime::Column { column: 5, delay_ms: 0 };
    RelationDef { name: "BID".into(), columns, options: Vec::new(), rowtime }
}

/// Decodes bids to their auctions and prices.
struct Decoding {
    decoder: RowDecoder,
    names: [&'static str; 2],
}

impl Decoding {
    fn new(names: [&'static str; 2]) -> Self {
        let decoder = RowDecoder::new(&bids(), &[0, 2], &Format::Json);
        Self { decoder: decoder.expect("a decodable schema"), names }
    }

    fn decode(&mut self, records: &[String]) -> Vec<Delta> {
        let (partition, mut deltas): (Arc<str>, _) = ("shard".into(), Vec::new());
        for records in records.chunks(BATCH_ROWS) {
            for record in records {
                let (arrival_ms, position) = (0, &1);
                let address = RecordAddress {
                    arrival_ms,
                    partition: &partition,
                    position,
                    partition_key: None,
                    sequence_number: None,
                    shard_id: None,
                };
                self.decoder.push(record.as_bytes(), &address);
            }
            let (batch, bad) = self.decoder.finish().expect("valid columns");
            assert_eq!((batch.num_rows(), bad.len()), (records.len(), 0));
            let columns = batch.columns()[..2].to_vec();
            let batch = RecordBatch::try_new(schema(self.names), columns);
            deltas.push(Delta::append(batch.expect("the columns match")));
        }
        deltas
    }
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

fn filled_aggregate(keys: i64) -> Box<dyn Operator> {
    filled(&aggregate_spec(), vec![input(each_key(["k", "v"], keys))], keys)
}

fn filled_join(keys: i64) -> Box<dyn Operator> {
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
    filled(&spec, vec![input(each_key(["a", "v"], keys)), input(Vec::new())], keys)
}

/// Steps `operator` with what `inputs` makes of the events of each epoch; making `events` is not measured.
fn stepped<E>(
    bencher: Bencher<'_, '_>,
    mut operator: Box<dyn Operator>,
    events: impl Fn(u64) -> E,
    mut inputs: impl FnMut(E) -> Vec<Input>,
) {
    let mut epoch = 0;
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| {
            epoch += 1;
            events(epoch)
        })
        .bench_local_values(|events| {
            operator.step(&context(), inputs(events)).expect("rows are taken in")
        });
}

#[divan::bench(args = KEYS, sample_count = 20)]
fn aggregate(bencher: Bencher<'_, '_>, keys: i64) {
    let inputs = |epoch| vec![input(events(["k", "v"], keys, epoch))];
    stepped(bencher, filled_aggregate(keys), inputs, |inputs| inputs);
}

#[divan::bench(args = KEYS, sample_count = 20)]
fn aggregate_from_json(bencher: Bencher<'_, '_>, keys: i64) {
    let mut decoding = Decoding::new(["k", "v"]);
    let decoded = |records: Vec<String>| vec![input(decoding.decode(&records))];
    stepped(bencher, filled_aggregate(keys), |epoch| records(keys, epoch), decoded);
}

#[divan::bench(args = KEYS, sample_count = 20)]
fn join(bencher: Bencher<'_, '_>, keys: i64) {
    let inputs = |epoch| vec![input(Vec::new()), input(events(["b", "w"], keys, epoch))];
    stepped(bencher, filled_join(keys), inputs, |inputs| inputs);
}

#[divan::bench(args = KEYS, sample_count = 20)]
fn join_from_json(bencher: Bencher<'_, '_>, keys: i64) {
    let mut decoding = Decoding::new(["b", "w"]);
    let decoded = |records: Vec<String>| vec![input(Vec::new()), input(decoding.decode(&records))];
    stepped(bencher, filled_join(keys), |epoch| records(keys, epoch), decoded);
}
