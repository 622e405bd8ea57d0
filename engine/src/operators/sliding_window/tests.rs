//! Windows over random rows within the watermark, against a self-join in batch SQL.

use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::functions_aggregate::{
    average, bit_and_or_xor, count, first_last, min_max, sum, variance,
};
use datafusion::logical_expr::AggregateUDF;
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, aggregate, appended, batch_sql, built, cases, fates, integrate,
    multiset, texts,
};

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", crate::definition::TIMESTAMP_TYPE, false),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("s", DataType::Utf8, true),
        Field::new("seq", DataType::Int64, false),
    ]))
}

/// The aggregates as built, and in SQL.
fn everything() -> Vec<(Arc<AggregateFunctionExpr>, &'static str)> {
    let schema = input_schema();
    let on = |function: Arc<AggregateUDF>, columns: &[&str]| aggregate(function, columns, &schema);
    vec![
        (built(on(count::count_udaf(), &[])), "count(*)"),
        (built(on(count::count_udaf(), &["s"])), "count(b.s)"),
        (built(on(sum::sum_udaf(), &["v"])), "sum(b.v)"),
        (built(on(min_max::min_udaf(), &["v"])), "min(b.v)"),
        (built(on(min_max::max_udaf(), &["f"])), "max(b.f)"),
        (built(on(sum::sum_udaf(), &["f"])), "sum(b.f)"),
        (built(on(average::avg_udaf(), &["f"])), "avg(b.f)"),
        (built(on(sum::sum_udaf(), &["d"])), "sum(b.d)"),
        (built(on(average::avg_udaf(), &["d"])), "avg(b.d)"),
        (built(on(min_max::max_udaf(), &["s"])), "max(b.s)"),
        (built(on(count::count_udaf(), &["s"]).distinct()), "count(DISTINCT b.s)"),
        (built(on(bit_and_or_xor::bit_xor_udaf(), &["v"])), "bit_xor(b.v)"),
        (built(on(variance::var_pop_udaf(), &["f"])), "round(var_pop(b.f), 6)"),
        (built(on(first_last::first_value_udaf(), &["v"])), "first_value(b.v ORDER BY b.t, b.seq)"),
        (built(on(first_last::last_value_udaf(), &["s"])), "last_value(b.s ORDER BY b.t, b.seq)"),
    ]
}

/// The number of the aggregate whose result is rounded before it is compared.
const VARIANCE: usize = 7 + 12;

fn spec(partition_by: Vec<usize>, windows: Vec<SlidingAggregate>) -> SlidingWindowSpec {
    let input = input_schema();
    let fields = input.fields().iter().map(|field| field.as_ref().clone());
    let results = windows.iter().enumerate().map(|(i, window)| {
        window.aggregate.field().as_ref().clone().with_name(format!("w{i}")).with_nullable(true)
    });
    SlidingWindowSpec {
        partition_by,
        time: 0,
        schema: Arc::new(Schema::new(fields.chain(results).collect::<Vec<_>>())),
        input_schema: input,
        windows,
    }
}

/// Time, key, value, text.
type Row = (i64, Option<u8>, Option<i64>, Option<u8>);

fn batch(rows: &[Row], first: usize) -> RecordBatch {
    let small = |row: &Row| row.2.map(|v| i16::try_from(v % 100).unwrap());
    let decimals = rows.iter().map(|row| small(row).map(i128::from)).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|row| row.1.map(|k| format!("k{k}"))).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| small(row).map(f64::from)).collect::<Float64Array>()),
        Arc::new(decimals.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(rows.iter().map(|row| row.3.map(|s| format!("s{s}"))).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values((0_i64..).skip(first).take(rows.len()))),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

/// A self-join: each row with those of its partition that the frame holds.
fn sql(frame: Frame, partitioned: bool) -> String {
    let results: Vec<_> = everything().iter().map(|(_, sql)| *sql).collect();
    let same = if partitioned { "a.k IS NOT DISTINCT FROM b.k" } else { "true" };
    let within = match frame {
        Frame::Range { preceding } => {
            format!("CAST(a.t AS BIGINT) - CAST(b.t AS BIGINT) <= {preceding}")
        }
        Frame::Rows(rows) => format!("a.place - b.place <= {rows}"),
    };
    let by = if partitioned { "PARTITION BY k" } else { "" };
    let numbered = format!("(SELECT *, row_number() OVER ({by} ORDER BY t, seq) AS place FROM s)");
    format!(
        "SELECT a.t, a.k, a.v, a.f, a.d, a.s, a.seq, {} \
         FROM {numbered} a JOIN {numbered} b ON ({same}) \
         AND (b.t < a.t OR (b.t = a.t AND b.seq <= a.seq)) AND ({within}) \
         GROUP BY a.t, a.k, a.v, a.f, a.d, a.s, a.seq",
        results.join(", ")
    )
}

fn rounded(output: &[Delta]) -> Vec<Delta> {
    let round = |delta: &Delta| {
        let values = delta.batch.column(VARIANCE).as_primitive::<arrow::datatypes::Float64Type>();
        let rounded: Float64Array = values.unary(|value| (value * 1e6).round() / 1e6);
        let mut columns = delta.batch.columns().to_vec();
        columns[VARIANCE] = Arc::new(rounded);
        Delta::append(RecordBatch::try_new(delta.batch.schema(), columns).unwrap())
    };
    output.iter().map(round).collect()
}

fn frames() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (0..12_i64).prop_map(|preceding| Frame::Range { preceding }),
        Just(Frame::Range { preceding: i64::MAX }),
        (0..5_u64).prop_map(Frame::Rows),
    ]
}

/// Epochs of rows that are never late, with the watermark after each.
fn epochs() -> impl Strategy<Value = Vec<(Vec<Row>, i64, Fate)>> {
    let value = prop_oneof![4 => -50..50_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let row =
        (0..12_i64, prop::option::of(0..3_u8), prop::option::of(value), prop::option::of(0..4_u8));
    prop::collection::vec((prop::collection::vec(row, 0..10), 0..8_i64, fates()), 1..10).prop_map(
        |epochs| {
            let mut watermark = 0;
            let epoch = |(rows, step, fate): (Vec<Row>, i64, Fate)| {
                let rows = rows.into_iter().map(|row| (row.0 + watermark, row.1, row.2, row.3));
                let rows = rows.collect();
                watermark += step;
                (rows, watermark, fate)
            };
            epochs.into_iter().map(epoch).collect()
        },
    )
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn each_row_sees_what_came_before_it_within_reach(
        epochs in epochs(),
        frame in frames(),
        other in frames(),
        partitioned in any::<bool>(),
    ) {
        let window = |(aggregate, _)| SlidingAggregate { aggregate, frame };
        let mut windows: Vec<_> = everything().into_iter().map(window).collect();
        // A second frame must not disturb the first; its result is not compared.
        let count = built(aggregate(count::count_udaf(), &["v"], &input_schema()));
        windows.push(SlidingAggregate { aggregate: count, frame: other });
        let spec = spec(if partitioned { vec![1] } else { vec![] }, windows);
        let compared: Vec<usize> = (0..spec.schema.fields().len() - 1).collect();
        let mut operator = Restarted::new(&spec);
        let mut rows: Vec<Row> = Vec::new();
        let mut seen = Multiset::new();
        let mut last = i64::MIN;
        let count = epochs.len();
        for (i, (new, watermark, fate)) in epochs.into_iter().enumerate() {
            let input = batch(&new, rows.len());
            rows.extend(new);
            let watermark = if i + 1 == count { Watermark::End } else { Watermark::At(watermark) };
            for delta in operator.step(vec![appended(input, 0, watermark)], fate) {
                let times = to_numbers(delta.batch.column(0)).unwrap();
                for time in times.as_primitive::<Int64Type>().values() {
                    prop_assert!(*time >= last && *time <= watermark.bound());
                    last = *time;
                }
                let compared = delta.batch.project(&compared).unwrap();
                integrate(&mut seen, &rounded(&[Delta::append(compared)]));
            }
            let due = rows.iter().filter(|row| row.0 <= watermark.bound()).count();
            prop_assert_eq!(seen.values().sum::<i64>(), i64::try_from(due).unwrap());
        }
        let expected = batch_sql(&[("s", batch(&rows, 0))], &sql(frame, partitioned));
        prop_assert_eq!(seen, multiset(&expected));
    }
}

fn counting(frame: Frame) -> SlidingWindowSpec {
    let aggregate = built(aggregate(count::count_udaf(), &[], &input_schema()));
    spec(vec![1], vec![SlidingAggregate { aggregate, frame }])
}

#[test]
fn rows_of_one_time_are_no_peers_and_the_bound_is_inclusive() {
    let spec = counting(Frame::Range { preceding: 5 });
    let mut operator = Restarted::new(&spec);
    let rows: Vec<Row> = [1, 2, 6, 7, 8, 8, 8].map(|t| (t, None, None, None)).into();
    let output = operator.step(vec![appended(batch(&rows, 0), 0, Watermark::At(8))], Fate::Restart);
    let counts: Vec<String> = output.iter().flat_map(|delta| texts(&delta.batch)).collect();
    let counts: Vec<_> = counts.iter().map(|row| row.rsplit_once('|').unwrap().1).collect();
    assert_eq!(counts, ["1", "2", "3", "3", "3", "4", "5"]);
    // Another row of the same time comes after those that are out.
    let late = batch(&[(8, None, None, None)], 7);
    let output = operator.step(vec![appended(late, 0, Watermark::At(8))], Fate::Runs);
    assert!(texts(&output[0].batch)[0].ends_with("|6"));
}

#[test]
fn partitions_and_rows_are_forgotten_behind_the_watermark() {
    let spec = counting(Frame::Range { preceding: 10 });
    let mut operator = Restarted::new(&spec);
    let mut most = 0;
    for e in 0..300_i64 {
        let keys =
            (0..100).map(|i| (e * 10, Some(u8::try_from((e + i) % 250).unwrap()), None, None));
        let rows: Vec<Row> = keys.collect();
        operator.step(vec![appended(batch(&rows, 0), 0, Watermark::At(e * 10))], Fate::Runs);
        most = most.max(operator.operator.memory_bytes());
    }
    assert!(most < 100_000, "{most} bytes");
    operator.step(vec![appended(batch(&[], 0), 0, Watermark::End)], Fate::Runs);
    assert_eq!(operator.operator.snapshot().unwrap().len(), 1);
}

#[test]
fn partitions_that_died_are_numbered_anew() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("t", DataType::Int64, false),
        Field::new("k", DataType::Int64, false),
    ]));
    let input = |t: i64, keys: std::ops::Range<i64>| {
        let times = Int64Array::from_iter_values(keys.clone().map(|_| t));
        let keys = Int64Array::from_iter_values(keys);
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(times), Arc::new(keys)]).unwrap()
    };
    let sum = built(aggregate(sum::sum_udaf(), &["k"], &schema));
    let spec = SlidingWindowSpec {
        partition_by: vec![1],
        time: 0,
        windows: vec![SlidingAggregate { aggregate: sum, frame: Frame::Range { preceding: 3 } }],
        input_schema: Arc::clone(&schema),
        schema: Arc::new(Schema::new(vec![
            Field::new("t", DataType::Int64, false),
            Field::new("k", DataType::Int64, false),
            Field::new("sum", DataType::Int64, true),
        ])),
    };
    let mut operator = Restarted::new(&spec);
    let mut model: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for t in 0..40 {
        // Key 7 stays; 500 others come and go.
        let keys = if t % 2 == 0 { 7..8 } else { t * 500..(t + 1) * 500 };
        let output =
            operator.step(vec![appended(input(t, keys.clone()), 0, Watermark::At(t))], Fate::Runs);
        for (key, row) in keys.zip(output.iter().flat_map(|d| texts(&d.batch))) {
            let times = model.entry(key).or_default();
            times.push(t);
            let rows = times.iter().filter(|time| t - **time <= 3).count();
            assert_eq!(row, format!("{t}|{key}|{}", key * i64::try_from(rows).unwrap()));
        }
    }
    let bytes = operator.operator.memory_bytes();
    assert!(bytes < 1_000_000, "{bytes} bytes for about 1,000 of 10,000 partitions");
}

/// An epoch must not look at the partitions and rows it does not touch.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures the time of an epoch")]
fn an_epoch_over_a_large_history_costs_what_the_first_did() {
    let spec = counting(Frame::Range { preceding: i64::MAX / 2 });
    let mut operator = Restarted::new(&spec);
    let mut took = Vec::new();
    for e in 0..1000_i64 {
        let rows: Vec<Row> =
            (0..20).map(|i| (e, Some(u8::try_from(i).unwrap()), None, None)).collect();
        let input = vec![appended(batch(&rows, 0), 0, Watermark::At(e - 1))];
        let start = std::time::Instant::now();
        operator.step(input, Fate::Runs);
        took.push(start.elapsed());
    }
    let median = |times: &mut [std::time::Duration]| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (first, last) = (median(&mut took[..100]), median(&mut took[900..]));
    assert!(last < first * 8, "first {first:?}, last {last:?}");
}

#[test]
fn only_windows_by_time_are_freed() {
    let range = counting(Frame::Range { preceding: 5 }).explain();
    assert!(!range.freed_by.is_empty() && !range.keeps.is_empty());
    let rows = counting(Frame::Rows(5)).explain();
    assert_eq!((rows.keeps.as_str(), rows.freed_by.as_str()), ("the last 5 rows of every k", ""));
}
