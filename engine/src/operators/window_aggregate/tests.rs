//! Random rows in random epochs, against `GROUP BY` in batch SQL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::functions_aggregate::{
    array_agg, average, bit_and_or_xor, count, first_last, median, min_max, regr, stddev, sum,
};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::expressions::Column;
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, aggregate, appended, batch_sql, built, cases, fates, integrate,
    multiset,
};

const MINUTE: i64 = 60_000;

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("w", crate::definition::TIMESTAMP_TYPE, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("g", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("p", DataType::Boolean, true),
    ]))
}

fn keys(names: &[&str]) -> Vec<(Arc<dyn PhysicalExpr>, String)> {
    let schema = input_schema();
    let key = |name: &&str| {
        let column = Column::new_with_schema(name, &schema).unwrap();
        (Arc::new(column) as Arc<dyn PhysicalExpr>, (*name).to_owned())
    };
    names.iter().map(key).collect()
}

/// A spec whose first filtered aggregate is `filtered`, over `p`.
fn spec(
    names: &[&str],
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    filtered: Option<usize>,
) -> WindowAggregateSpec {
    let input = input_schema();
    let fields = names.iter().map(|name| input.field_with_name(name).unwrap().clone());
    let fields: Vec<_> =
        fields.chain(aggregates.iter().map(|a| a.field().as_ref().clone())).collect();
    let mut filters = vec![None; aggregates.len()];
    if let Some(filtered) = filtered {
        filters[filtered] = Some(keys(&["p"]).remove(0).0);
    }
    WindowAggregateSpec {
        keys: keys(names),
        time_keys: names.iter().position(|name| *name == "w").into_iter().collect(),
        aggregates,
        filters,
        input_schema: Arc::clone(&input),
        schema: Arc::new(Schema::new(fields)),
    }
}

fn everything() -> Vec<Arc<AggregateFunctionExpr>> {
    let schema = input_schema();
    let on = |function: Arc<AggregateUDF>, columns: &[&str]| aggregate(function, columns, &schema);
    vec![
        built(on(count::count_udaf(), &[])),
        built(on(count::count_udaf(), &["v"])),
        built(on(sum::sum_udaf(), &["v"])),
        built(on(average::avg_udaf(), &["f"])),
        built(on(sum::sum_udaf(), &["d"])),
        built(on(average::avg_udaf(), &["d"])),
        built(on(min_max::min_udaf(), &["k"])),
        built(on(min_max::max_udaf(), &["v"])),
        built(on(count::count_udaf(), &["k"]).distinct()),
        built(on(bit_and_or_xor::bit_xor_udaf(), &["g"])),
        built(on(median::median_udaf(), &["f"])),
        // This one has no vectorised accumulator.
        built(on(regr::regr_count_udaf(), &["f", "f"])),
        built(on(count::count_udaf(), &["v"])),
    ]
}

const EVERYTHING: &str = "count(*), count(v), sum(v), avg(f), sum(d), avg(d), min(k), max(v), \
    count(DISTINCT k), bit_xor(g), median(f), regr_count(f, f), \
    count(v) FILTER (WHERE p)";

/// Window, key, group, value, condition.
type Row = (Option<i64>, Option<u8>, Option<i64>, Option<i64>, Option<bool>);

fn batch(rows: &[Row]) -> RecordBatch {
    let time = rows.iter().map(|r| r.0.map(|w| w * MINUTE)).collect::<TimestampMillisecondArray>();
    let text = rows.iter().map(|r| r.1.map(|k| format!("key {k}"))).collect::<StringArray>();
    // Two different values per group at most keep sums of floats exact.
    let float = rows.iter().map(|r| r.3.map(|v| f64::from(i16::try_from(v % 100).unwrap())));
    let decimal = rows.iter().map(|r| r.3.map(|v| i128::from(v % 1000)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(time),
        Arc::new(text),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.3).collect::<Int64Array>()),
        Arc::new(float.collect::<Float64Array>()),
        Arc::new(decimal.collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap()),
        Arc::new(rows.iter().map(|r| r.4).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop_oneof![4 => -50..50_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let row = (
        prop::option::weighted(0.95, -2..8_i64),
        prop::option::of(0..3_u8),
        prop::option::of(0..2_i64),
        prop::option::of(value),
        prop::option::of(any::<bool>()),
    );
    // Roughly ascending in time, as a stream is.
    prop::collection::vec(row, 0..80).prop_map(|mut rows| {
        rows.sort_by_key(|(window, .., value, _)| window.map(|w| w * 3 + value.unwrap_or(0) % 5));
        rows
    })
}

/// The rows in epochs, each with the best watermark the rows after it allow, less some slack.
fn epochs(rows: &[Row], cuts: &[(usize, i64)]) -> Vec<(Vec<Row>, Watermark)> {
    let mut epochs = Vec::new();
    let mut from = 0;
    let mut highest = i64::MIN;
    for &(count, slack) in cuts {
        let to = (from + count).min(rows.len());
        let later = rows[to..].iter().filter_map(|r| r.0).min();
        let bound = later.unwrap_or(20).saturating_sub(slack);
        highest = highest.max(bound);
        let watermark = if slack == 3 && highest == bound {
            Watermark::Unknown
        } else {
            Watermark::At(highest * MINUTE)
        };
        epochs.push((rows[from..to].to_vec(), watermark));
        from = to;
    }
    epochs.push((rows[from..].to_vec(), Watermark::End));
    epochs
}

fn check(
    spec: &WindowAggregateSpec,
    sql: &str,
    rows: &[Row],
    cuts: &[(usize, i64)],
    fates: &[Fate],
) -> Result<(), TestCaseError> {
    let answer = batch_sql(&[("s", batch(rows))], sql);
    let answer = concat_batches(
        &answer.first().map_or_else(|| Arc::clone(&spec.schema), RecordBatch::schema),
        &answer,
    )
    .unwrap();
    let times = to_numbers(answer.column(spec.time_keys[0])).unwrap();
    let times = times.as_primitive::<Int64Type>().clone();
    let mut operator = Restarted::new(spec);
    let mut seen = Multiset::new();
    for (i, (rows, watermark)) in epochs(rows, cuts).into_iter().enumerate() {
        let fate = fates.get(i).copied().unwrap_or(Fate::Runs);
        let output = operator.step(vec![appended(batch(&rows), 0, watermark)], fate);
        integrate(&mut seen, &output);
        let complete: BooleanArray = times
            .iter()
            .map(|time| Some(split::WindowTime::from(time).is_below(watermark)))
            .collect();
        let expected = arrow::compute::filter_record_batch(&answer, &complete).unwrap();
        // The watermark may be unknown again in this test, but what came out stays out.
        if watermark != Watermark::Unknown {
            prop_assert_eq!(&seen, &multiset(&[expected]));
        }
    }
    prop_assert_eq!(operator.operator.memory_bytes() < 100_000, true);
    Ok(())
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn closed_windows_are_what_batch_says(
        rows in rows(),
        cuts in prop::collection::vec((0..20_usize, 0..4_i64), 0..8),
        fates in prop::collection::vec(fates(), 9),
    ) {
        let sql = format!("SELECT w, k, g, {EVERYTHING} FROM s GROUP BY w, k, g");
        check(&spec(&["w", "k", "g"], everything(), Some(12)), &sql, &rows, &cuts, &fates)?;
        let sql = format!("SELECT w, {EVERYTHING} FROM s GROUP BY w");
        check(&spec(&["w"], everything(), Some(12)), &sql, &rows, &cuts, &fates)?;
        let sql = "SELECT k, w FROM s GROUP BY w, k";
        check(&spec(&["k", "w"], vec![], None), sql, &rows, &cuts, &fates)?;
        check(&spec(&["w"], vec![], None), "SELECT DISTINCT w FROM s", &rows, &cuts, &fates)?;
    }
}

#[test]
fn aggregates_that_depend_on_order_keep_it_across_snapshots() {
    let schema = input_schema();
    let aggregates = vec![
        built(aggregate(array_agg::array_agg_udaf(), &["v"], &schema)),
        built(aggregate(first_last::first_value_udaf(), &["v"], &schema)),
        built(aggregate(first_last::last_value_udaf(), &["v"], &schema)),
        built(aggregate(stddev::stddev_udaf(), &["f"], &schema)),
    ];
    let spec = spec(&["w"], aggregates, None);
    let mut operator = Restarted::new(&spec);
    let mut seen = Multiset::new();
    for v in 0..20 {
        let rows = batch(&[(Some(0), None, None, Some(v), None)]);
        let fate = if v % 3 == 0 { Fate::Restart } else { Fate::Runs };
        integrate(&mut seen, &operator.step(vec![appended(rows, 0, Watermark::Unknown)], fate));
    }
    assert!(seen.is_empty());
    let last = operator.step(vec![appended(batch(&[]), 0, Watermark::End)], Fate::Runs);
    integrate(&mut seen, &last);
    let list: Vec<String> = (0..20).map(|v| v.to_string()).collect();
    let row = seen.keys().next().unwrap();
    let start = format!("1970-01-01T00:00:00|[{}]|0|19|5.91", list.join(", "));
    assert!(row.starts_with(&start), "{row}");
}

#[test]
fn a_row_behind_the_watermark_is_a_window_of_its_own() {
    let spec =
        spec(&["w"], vec![built(aggregate(count::count_udaf(), &[], &input_schema()))], None);
    let mut operator = spec.build().unwrap();
    let row = (Some(0), None, None, None, None);
    let cx = crate::operators::oracle::epoch();
    for _ in 0..2 {
        let input = appended(batch(&[row]), 0, Watermark::At(5 * MINUTE));
        let mut seen = Multiset::new();
        integrate(&mut seen, &operator.step(&cx, vec![input]).unwrap().deltas);
        assert_eq!(seen, Multiset::from([("1970-01-01T00:00:00|1".to_owned(), 1)]));
    }
}

#[test]
fn a_snapshot_costs_what_changed() {
    let spec =
        spec(&["w", "g"], vec![built(aggregate(sum::sum_udaf(), &["v"], &input_schema()))], None);
    let mut operator = spec.build().unwrap();
    let cx = crate::operators::oracle::epoch();
    let many: Vec<Row> = (0..10_000).map(|g| (Some(0), None, Some(g), Some(1), None)).collect();
    operator.step(&cx, vec![appended(batch(&many), 0, Watermark::Unknown)]).unwrap();
    assert_eq!(operator.snapshot().unwrap()[0].rows.num_rows(), 10_000);
    operator.step(&cx, vec![appended(batch(&many[..3]), 0, Watermark::Unknown)]).unwrap();
    assert_eq!(operator.snapshot().unwrap()[0].rows.num_rows(), 3);
    assert!(operator.snapshot().unwrap().is_empty());
}

#[test]
fn the_output_has_a_watermark_on_its_time() {
    let spec = spec(&["k", "w"], vec![], None);
    let mut input = Watermarks::none(7);
    assert_eq!(spec.watermarks(std::slice::from_ref(&input)).0, vec![None, None]);
    input.0[0] = Some(Watermark::At(5));
    assert_eq!(spec.watermarks(std::slice::from_ref(&input)).0, vec![None, Some(Watermark::At(5))]);
    input.0[0] = Some(Watermark::End);
    assert_eq!(spec.watermarks(std::slice::from_ref(&input)).0, vec![None, Some(Watermark::End)]);
    assert_eq!(spec.distribution(0), Distribution::Hash(vec![1, 0]));
}
