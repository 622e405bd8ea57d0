//! Random rows in random epochs, against `GROUP BY` over rows times windows in batch SQL.

use arrow::array::{Float64Array, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::functions_aggregate::{average, count, median, min_max, sum};
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, aggregate, appended, batch_sql, built, cases, cut, fates, integrate,
    multiset,
};

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", crate::definition::TIMESTAMP_TYPE, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
    ]))
}

const EVERYTHING: &str = "count(*), count(v), sum(v), min(k), max(v), avg(f), median(f), \
    count(DISTINCT v), count(v) FILTER (WHERE v > 0)";

fn spec(windows: Overlapping, keys: &[usize]) -> PaneAggregateSpec {
    let schema = input_schema();
    let on = |function, columns: &[&str]| aggregate(function, columns, &schema);
    let aggregates = vec![
        built(on(count::count_udaf(), &[])),
        built(on(count::count_udaf(), &["v"])),
        built(on(sum::sum_udaf(), &["v"])),
        built(on(min_max::min_udaf(), &["k"])),
        built(on(min_max::max_udaf(), &["v"])),
        built(on(average::avg_udaf(), &["f"])),
        built(on(median::median_udaf(), &["f"])),
        built(on(count::count_udaf(), &["v"]).distinct()),
        built(on(count::count_udaf(), &["v"])),
    ];
    let mut filters = vec![None; aggregates.len()];
    let v = datafusion::physical_expr::expressions::col("v", &schema).unwrap();
    let zero = datafusion::physical_expr::expressions::lit(0_i64);
    let positive = datafusion::physical_expr::expressions::binary(
        v,
        datafusion::logical_expr::Operator::Gt,
        zero,
        &schema,
    );
    filters[8] = Some(positive.unwrap());
    let mut fields = vec![Field::new("w", crate::definition::TIMESTAMP_TYPE, true)];
    fields.extend(keys.iter().map(|key| schema.field(*key).clone()));
    fields.extend(aggregates.iter().map(|a| a.field().as_ref().clone()));
    let output = Arc::new(Schema::new(fields));
    let (keys, input_schema) = (keys.to_vec(), schema);
    PaneAggregateSpec { windows, time: 0, keys, aggregates, filters, input_schema, schema: output }
}

/// Time, key, value.
type Row = (i64, Option<u8>, Option<i64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>();
    let keys = rows.iter().map(|row| row.1.map(|key| format!("k{key}"))).collect::<StringArray>();
    let floats = rows.iter().map(|row| row.2.map(|v| f64::from(i16::try_from(v).unwrap())));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(keys),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(floats.collect::<Float64Array>()),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

/// All windows that any of the rows is in, each a row: its number, start and end.
fn windows(shape: Overlapping, rows: &[Row]) -> RecordBatch {
    let mut all: Vec<i64> = rows.iter().flat_map(|row| shape.of(row.0)).collect();
    all.sort_unstable();
    all.dedup();
    let column = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new(all.iter().map(|w| Some(of(*w))).collect::<TimestampMillisecondArray>())
    };
    let columns = [
        ("w", column(&|w| w)),
        ("starts", column(&|w| shape.start(w))),
        ("ends", column(&|w| shape.end(w))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn shapes() -> impl Strategy<Value = Overlapping> {
    let hop = (1..6_i64, 1..40_i64, -3..3_i64).prop_map(|(slide, size, offset)| Overlapping::Hop {
        slide,
        size,
        offset,
    });
    let cumulate = (1..5_i64, 1..12_i64, -3..3_i64).prop_map(|(step, times, offset)| {
        Overlapping::Cumulate { step, size: step * times, offset }
    });
    prop_oneof![hop, cumulate]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (-60..60_i64, prop::option::of(0..4_u8), prop::option::of(-9..9_i64), 0..6_i64);
    prop::collection::vec(row, 1..60).prop_map(|mut rows| {
        rows.sort_by_key(|(time, _, _, late)| time + late);
        rows.into_iter().map(|(time, key, value, _)| (time, key, value)).collect()
    })
}

fn check(
    spec: &PaneAggregateSpec,
    by: &str,
    rows: &[Row],
    cuts: &[(usize, i64)],
    fates: &[Fate],
) -> Result<(), TestCaseError> {
    let sql = format!(
        "SELECT w{by}, {EVERYTHING} FROM s JOIN windows ON t >= starts AND t < ends GROUP BY w{by}"
    );
    let windows = windows(spec.windows, rows);
    let answer = batch_sql(&[("s", batch(rows)), ("windows", windows)], &sql);
    let schema = answer.first().map_or_else(|| Arc::clone(&spec.schema), RecordBatch::schema);
    let answer = concat_batches(&schema, &answer).unwrap();
    let numbers = answer.column(0).as_primitive::<TimestampMillisecondType>().clone();
    let mut operator = Restarted::new(spec);
    let mut seen = Multiset::new();
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    for (number, (epoch, watermark)) in cut(&times, cuts, 70).into_iter().enumerate() {
        let fate = fates.get(number).copied().unwrap_or(Fate::Runs);
        let input = appended(batch(&rows[epoch]), 0, watermark);
        integrate(&mut seen, &operator.step(vec![input], fate));
        let is_over = |window| spec.windows.end(window) <= watermark.bound();
        let over = numbers.iter().map(|window| Some(window.is_some_and(is_over))).collect();
        let expected = arrow::compute::filter_record_batch(&answer, &over).unwrap();
        prop_assert_eq!(&seen, &multiset(&[expected]));
    }
    prop_assert_eq!(operator.operator.memory_bytes() < 20_000, true);
    Ok(())
}

proptest! {
    #![proptest_config(cases(96))]
    #[test]
    fn closed_windows_are_what_batch_says(
        shape in shapes(),
        rows in rows(),
        cuts in prop::collection::vec((0..20_usize, 0..5_i64), 0..8),
        fates in prop::collection::vec(fates(), 9),
    ) {
        check(&spec(shape, &[1]), ", k", &rows, &cuts, &fates)?;
        check(&spec(shape, &[]), "", &rows, &cuts, &fates)?;
    }
}

/// How many groups are merged per window, with eight keys in every pane.
fn groups_merged(panes: i64) -> u64 {
    let spec = spec(Overlapping::Hop { slide: 10, size: 10 * panes, offset: 0 }, &[1]);
    let mut operator = spec.running().unwrap();
    let epochs = 400;
    for epoch in 0..epochs {
        let rows: Vec<Row> = (0..8).map(|key| (10 * epoch, Some(key), Some(1))).collect();
        let input = appended(batch(&rows), 0, Watermark::At(10 * epoch));
        operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
    }
    operator.tree.groups_merged / u64::try_from(epochs).unwrap()
}

#[test]
fn a_window_of_many_panes_costs_little_more_than_one_of_few() {
    let (few, many) = (groups_merged(5), groups_merged(100));
    // One after another, the panes would cost 40 and 800 groups a window.
    assert!(few < 45 && many < 100, "{few} groups for 5 panes, {many} for 100");
}

#[test]
fn windows_with_nothing_in_them_cost_nothing() {
    // A day of windows a millisecond apart, and two rows a year apart.
    let day = 86_400_000;
    let shape = Overlapping::Hop { slide: 3_600_000, size: day, offset: 1 };
    let spec = spec(shape, &[]);
    let mut operator = Restarted::new(&spec);
    let rows = batch(&[(0, None, Some(1)), (365 * day, None, Some(2))]);
    let mut seen = Multiset::new();
    integrate(&mut seen, &operator.step(vec![appended(rows, 0, Watermark::End)], Fate::Runs));
    assert_eq!(seen.len(), 48);
}

#[test]
fn the_output_has_a_watermark_on_its_window() {
    let spec = spec(Overlapping::Hop { slide: 10, size: 30, offset: 0 }, &[1]);
    let mut input = Watermarks::none(4);
    assert!(!spec.watermarks(std::slice::from_ref(&input)).any());
    input.0[0] = Some(Watermark::At(45));
    assert_eq!(spec.watermarks(std::slice::from_ref(&input)).get(0), Some(Watermark::At(20)));
    input.0[0] = Some(Watermark::End);
    assert_eq!(spec.watermarks(std::slice::from_ref(&input)).get(0), Some(Watermark::End));
}
