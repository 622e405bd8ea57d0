//! Random changes in random epochs, against `GROUP BY` in batch SQL after every one of them.

use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    StringViewArray, UInt64Array,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::functions_aggregate::{
    array_agg, average, bit_and_or_xor, bool_and_or, count, first_last, median, min_max, regr,
    stddev, sum,
};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, lit};
use proptest::prelude::*;

use super::versions::NONE;
use super::*;
use crate::dataflow::{Dataflow, Node, NodeKind, SourceNode, TimeOrder};
use crate::executor::{EpochInput, Executor};
use crate::operators::oracle::{
    Fate, Multiset, Restarted, aggregate, batch_sql, built, cases, changed, epoch, fates,
    integrate, multiset, texts,
};

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("g", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("u", DataType::UInt64, true),
        Field::new("p", DataType::Boolean, true),
    ]))
}

/// The two keys, a value, a condition.
type Row = (Option<u8>, Option<i64>, Option<i64>, Option<bool>);

fn batch(rows: &[Row]) -> RecordBatch {
    let text = rows.iter().map(|r| r.0.map(|k| format!("a key that is no short text, {k}")));
    let float = rows.iter().map(|r| r.2.map(|v| f64::from(i16::try_from(v % 100).unwrap())));
    let decimal = rows.iter().map(|r| r.2.map(|v| i128::from(v % 1000)));
    let decimal = decimal.collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(text.collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(float.collect::<Float64Array>()),
        Arc::new(decimal),
        Arc::new(rows.iter().map(|r| r.2.map(i64::unsigned_abs)).collect::<UInt64Array>()),
        Arc::new(rows.iter().map(|r| r.3).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

fn physical(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &input_schema()).unwrap())
}

/// An aggregate with its `FILTER`.
type Call = (Arc<AggregateFunctionExpr>, Option<Arc<dyn PhysicalExpr>>);

fn spec(keys: &[&str], calls: Vec<Call>, input_updating: bool) -> UpdatingAggregateSpec {
    let input = input_schema();
    let key_fields = keys.iter().map(|key| input.field_with_name(key).unwrap().clone());
    let (aggregates, filters): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    let fields = aggregates.iter().map(|a: &Arc<AggregateFunctionExpr>| a.field().as_ref().clone());
    UpdatingAggregateSpec {
        keys: keys.iter().map(|key| input.index_of(key).unwrap()).collect(),
        schema: Arc::new(Schema::new(key_fields.chain(fields).collect::<Vec<_>>())),
        aggregates,
        filters,
        input_schema: input,
        input_updating,
    }
}

fn on(function: Arc<AggregateUDF>, columns: &[&str]) -> AggregateExprBuilder {
    aggregate(function, columns, &input_schema())
}

/// AVG of integers as DataFusion plans it.
fn average_of_integers(column: &str, distinct: bool) -> Arc<AggregateFunctionExpr> {
    let cast = CastExpr::new(physical(column), DataType::Float64, None);
    let builder = AggregateExprBuilder::new(average::avg_udaf(), vec![Arc::new(cast)]);
    built(builder.schema(input_schema()).alias("average").with_distinct(distinct))
}

/// Aggregates of every class but those over kept rows.
fn exact() -> Vec<Call> {
    let filtered = |builder| (built(builder), Some(physical("p")));
    vec![
        (built(on(count::count_udaf(), &[])), None),
        (built(on(count::count_udaf(), &["v"])), None),
        (built(on(count::count_udaf(), &["v", "k"])), None),
        (built(on(sum::sum_udaf(), &["v"])), None),
        (built(on(sum::sum_udaf(), &["u"])), None),
        (built(on(sum::sum_udaf(), &["d"])), None),
        (built(on(average::avg_udaf(), &["d"])), None),
        (average_of_integers("g", false), None),
        filtered(on(sum::sum_udaf(), &["v"])),
        filtered(on(count::count_udaf(), &[])),
        (built(on(count::count_udaf(), &["k"]).distinct()), None),
        (built(on(count::count_udaf(), &["v"]).distinct()), None),
        (built(on(sum::sum_udaf(), &["v"]).distinct()), None),
        (average_of_integers("g", true), None),
        filtered(on(count::count_udaf(), &["v"]).distinct()),
    ]
}

const EXACT: &str = "count(*), count(v), count(v, k), sum(v), sum(u), sum(d), avg(d), avg(g), \
    sum(v) FILTER (WHERE p), count(*) FILTER (WHERE p), \
    count(DISTINCT k), count(DISTINCT v), sum(DISTINCT v), avg(DISTINCT g), \
    count(DISTINCT v) FILTER (WHERE p)";

/// Aggregates that an updating input makes keep rows.
fn kept() -> Vec<Call> {
    let filtered = |builder| (built(builder), Some(physical("p")));
    vec![
        (built(on(min_max::min_udaf(), &["k"])), None),
        (built(on(min_max::max_udaf(), &["v"])), None),
        (built(on(min_max::min_udaf(), &["d"])), None),
        (built(on(bool_and_or::bool_and_udaf(), &["p"])), None),
        (built(on(bit_and_or_xor::bit_xor_udaf(), &["v"])), None),
        (built(on(stddev::stddev_udaf(), &["f"])), None),
        (built(on(sum::sum_udaf(), &["f"])), None),
        (built(on(average::avg_udaf(), &["f"])), None),
        (built(on(median::median_udaf(), &["f"])), None),
        (built(on(median::median_udaf(), &["f"]).distinct()), None),
        (built(on(average::avg_udaf(), &["d"]).distinct()), None),
        (built(on(array_agg::array_agg_udaf(), &["v"])), None),
        // This one has no vectorised accumulator.
        (built(on(regr::regr_count_udaf(), &["f", "f"])), None),
        filtered(on(min_max::max_udaf(), &["k"])),
        filtered(on(sum::sum_udaf(), &["f"])),
        filtered(on(array_agg::array_agg_udaf(), &["k"])),
    ]
}

const KEPT: &str = "min(k), max(v), min(d), bool_and(p), bit_xor(v), stddev(f), sum(f), avg(f), median(f), \
    median(DISTINCT f), avg(DISTINCT d), array_agg(v), regr_count(f, f), max(k) FILTER (WHERE p), sum(f) FILTER (WHERE p), \
    array_agg(k) FILTER (WHERE p)";

/// A row that reads the same however its lists are ordered and its last digits are rounded.
fn leniently(rows: &Multiset) -> Multiset {
    let cell = |cell: &str| {
        if let Some(list) = cell.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let mut items: Vec<_> = list.split(", ").collect();
            items.sort_unstable();
            return items.join(", ");
        }
        match cell.parse::<f64>() {
            Ok(number) if cell.contains('.') && number.abs() < 1e-6 => "0".to_owned(),
            Ok(number) if cell.contains('.') => format!("{number:.6e}"),
            _ => cell.to_owned(),
        }
    };
    let mut lenient = Multiset::new();
    for (row, count) in rows {
        let row = row.split('|').map(cell).collect::<Vec<_>>().join("|");
        *lenient.entry(row).or_default() += count;
    }
    lenient
}

/// Rows to add, and which of those that are there to take back.
type Changes = (Vec<Row>, Vec<prop::sample::Index>);

fn row() -> impl Strategy<Value = Row> {
    let value = prop_oneof![6 => -4..5_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    (
        prop::option::weighted(0.8, 0..3_u8),
        prop::option::weighted(0.8, -1..2_i64),
        prop::option::weighted(0.8, value),
        prop::option::weighted(0.8, any::<bool>()),
    )
}

fn changes() -> impl Strategy<Value = Changes> {
    let some = prop::collection::vec(row(), 0..12);
    let taken_back = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
    prop_oneof![
        6 => (some, taken_back),
        1 => Just((Vec::new(), Vec::new())),
    ]
}

/// What a table holds, and what changes it.
#[derive(Debug, Default)]
struct Table(Vec<Row>);

impl Table {
    /// Takes rows back and adds rows, in one delta or two.
    fn change(&mut self, (added, taken_back): &Changes, together: bool) -> Vec<Delta> {
        let mut changes: Vec<(Row, i64)> = Vec::new();
        for index in taken_back.iter().filter(|_| !together) {
            if !self.0.is_empty() {
                changes.push((self.0.swap_remove(index.index(self.0.len())), -1));
            }
        }
        changes.extend(added.iter().map(|row| (*row, 1)));
        self.0.extend(added);
        // Rows of this very epoch may be taken back as well.
        for index in taken_back.iter().filter(|_| together) {
            if !self.0.is_empty() {
                changes.push((self.0.swap_remove(index.index(self.0.len())), -1));
            }
        }
        let cut = if together { 0 } else { changes.len() / 2 };
        let delta = |changes: &[(Row, i64)]| {
            let rows: Vec<Row> = changes.iter().map(|(row, _)| *row).collect();
            let weights = changes.iter().map(|(_, weight)| *weight).collect();
            Delta { batch: batch(&rows), weights: Some(weights) }
        };
        vec![delta(&changes[..cut]), delta(&changes[cut..])]
    }
}

/// Adds an epoch's output, of which no row may be both added and taken back.
fn integrate_net(seen: &mut Multiset, output: &[Delta]) -> Result<(), TestCaseError> {
    let mut signs = BTreeMap::<String, i64>::new();
    for delta in output {
        for (i, row) in texts(&delta.batch).into_iter().enumerate() {
            let weight = delta.weights.as_ref().map_or(1, |weights| weights.value(i));
            prop_assert!(weight.abs() == 1);
            prop_assert_eq!(*signs.entry(row).or_insert(weight), weight);
        }
    }
    integrate(seen, output);
    Ok(())
}

fn check_added(
    spec: &UpdatingAggregateSpec,
    sql: &str,
    epochs: &[(Changes, Fate)],
) -> Result<(), TestCaseError> {
    let mut operator = Restarted::new(spec);
    let (mut rows, mut seen) = (Vec::new(), Multiset::new());
    for ((added, _), fate) in epochs {
        rows.extend(added);
        let (first, second) = added.split_at(added.len() / 3);
        let deltas = [first, second].map(|rows| Delta::append(batch(rows)));
        let output = operator.step(vec![changed(deltas.into(), 7)], *fate);
        prop_assert!(output.iter().all(|d| d.weights.is_none() == spec.is_append_only()));
        integrate_net(&mut seen, &output)?;
        let expected = multiset(&batch_sql(&[("s", batch(&rows))], sql));
        prop_assert_eq!(leniently(&seen), leniently(&expected));
    }
    Ok(())
}

fn check_changed(
    spec: &UpdatingAggregateSpec,
    sql: &str,
    epochs: &[(Changes, Fate)],
) -> Result<(), TestCaseError> {
    let mut operator = Restarted::new(spec);
    let (mut table, mut seen) = (Table::default(), Multiset::new());
    for (number, (changes, fate)) in epochs.iter().enumerate() {
        let deltas = table.change(changes, number % 2 == 0);
        let output = operator.step(vec![changed(deltas, 7)], *fate);
        integrate_net(&mut seen, &output)?;
        let expected = multiset(&batch_sql(&[("s", batch(&table.0))], sql));
        prop_assert_eq!(leniently(&seen), leniently(&expected));
    }
    Ok(())
}

fn epochs() -> impl Strategy<Value = Vec<(Changes, Fate)>> {
    prop::collection::vec((changes(), fates()), 1..8)
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn added_rows_aggregate_as_in_batch(epochs in epochs()) {
        let all = || exact().into_iter().chain(kept()).collect();
        let sql = format!("SELECT k, g, {EXACT}, {KEPT} FROM s GROUP BY k, g");
        check_added(&spec(&["k", "g"], all(), false), &sql, &epochs)?;
        let sql = format!("SELECT {EXACT}, {KEPT} FROM s");
        check_added(&spec(&[], all(), false), &sql, &epochs)?;
    }

    #[test]
    fn changing_rows_aggregate_as_in_batch(epochs in epochs()) {
        let all = || exact().into_iter().chain(kept()).collect();
        let sql = format!("SELECT g, k, {EXACT}, {KEPT} FROM s GROUP BY g, k");
        check_changed(&spec(&["g", "k"], all(), true), &sql, &epochs)?;
        let sql = format!("SELECT {EXACT}, {KEPT} FROM s");
        check_changed(&spec(&[], all(), true), &sql, &epochs)?;
    }

    #[test]
    fn changing_rows_aggregate_without_keeping_any(epochs in epochs()) {
        let spec_by_key = spec(&["g"], exact(), true);
        prop_assert!(!spec_by_key.explain().keeps.contains("row"));
        let sql = format!("SELECT g, {EXACT} FROM s GROUP BY g");
        check_changed(&spec_by_key, &sql, &epochs)?;
        check_changed(&spec(&[], exact(), true), &format!("SELECT {EXACT} FROM s"), &epochs)?;
    }

    #[test]
    fn distinct_rows_are_those_of_batch(epochs in epochs()) {
        let sql = "SELECT DISTINCT k, g FROM s";
        check_added(&spec(&["k", "g"], vec![], false), sql, &epochs)?;
        check_changed(&spec(&["k", "g"], vec![], true), sql, &epochs)?;
        check_changed(&spec(&["f"], vec![], true), "SELECT DISTINCT f FROM s", &epochs)?;
    }
}

fn empty() -> Vec<Input> {
    vec![changed(vec![], 7)]
}

fn added(rows: &[Row]) -> Vec<Input> {
    vec![changed(vec![Delta::append(batch(rows))], 7)]
}

#[test]
fn an_aggregation_without_keys_has_a_row_from_the_first_epoch_on_and_once() {
    for updating in [false, true] {
        let calls: Vec<Call> = exact().into_iter().chain(kept()).collect();
        let spec = spec(&[], calls, updating);
        let mut operator = Restarted::new(&spec);
        let mut seen = Multiset::new();
        integrate(&mut seen, &operator.step(empty(), Fate::Restart));
        let sql = format!("SELECT {EXACT}, {KEPT} FROM s");
        assert_eq!(seen, multiset(&batch_sql(&[("s", batch(&[]))], &sql)));
        assert!(operator.step(empty(), Fate::Runs).is_empty());
    }
}

#[test]
fn an_aggregation_without_keys_has_one_row_however_many_lanes() {
    let spec = spec(&[], vec![(built(on(count::count_udaf(), &[])), None)], false);
    let schema = Arc::clone(&spec.schema);
    let mut dataflow = Dataflow::default();
    let node =
        |schema, updating, inputs, kind| Node { owner: "Q".into(), schema, updating, inputs, kind };
    let source = SourceNode {
        stream: "S".into(),
        projection: (0..7).collect(),
        rowtime: 1,
        time_columns: vec![],
        order: TimeOrder::Bounded(0),
    };
    let source = dataflow.push(node(input_schema(), false, vec![], NodeKind::Source(source)));
    let count = NodeKind::Operator(Arc::new(spec));
    let count = dataflow.push(node(Arc::clone(&schema), true, vec![source], count));
    let sink = dataflow.push(node(schema, true, vec![count], NodeKind::Sink("OUT".into())));
    let mut executor = Executor::new(Arc::new(dataflow), 4).unwrap();
    let mut seen = Multiset::new();
    for _ in 0..2 {
        for (id, deltas) in executor.step(0, EpochInput::default()).unwrap().sinks {
            assert_eq!(id, sink);
            integrate(&mut seen, &deltas);
        }
    }
    assert_eq!(seen, Multiset::from([("0".to_owned(), 1)]));
}

#[test]
fn an_unchanged_row_does_not_come_out() {
    let spec = spec(&["k"], vec![(built(on(min_max::max_udaf(), &["v"])), None)], false);
    let mut operator = spec.build().unwrap();
    let row = |v| (Some(1), None, Some(v), None);
    operator.step(&epoch(), added(&[row(5)])).unwrap();
    assert!(operator.step(&epoch(), added(&[row(3), row(5)])).unwrap().deltas.is_empty());
    let output = operator.step(&epoch(), added(&[row(6)])).unwrap().deltas;
    let weights: Vec<_> =
        output.iter().flat_map(|d| d.weights.clone().unwrap().values().to_vec()).collect();
    assert_eq!(weights, [-1, 1]);
}

#[test]
fn aggregates_that_depend_on_order_keep_it() {
    let calls = || -> Vec<Call> {
        vec![
            (built(on(array_agg::array_agg_udaf(), &["v"])), None),
            (built(on(first_last::first_value_udaf(), &["v"])), None),
            (built(on(first_last::last_value_udaf(), &["v"])), None),
        ]
    };
    for updating in [false, true] {
        let spec = spec(&["k"], calls(), updating);
        let mut operator = Restarted::new(&spec);
        let mut seen = Multiset::new();
        for v in 0..20 {
            let fate = if v % 3 == 0 { Fate::Restart } else { Fate::Runs };
            integrate(&mut seen, &operator.step(added(&[(None, None, Some(v), None)]), fate));
        }
        let list: Vec<String> = (0..20).map(|v| v.to_string()).collect();
        assert_eq!(seen, Multiset::from([(format!("NULL|[{}]|0|19", list.join(", ")), 1)]));
    }
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn aggregates_with_an_order_are_those_of_batch(epochs in epochs()) {
        let ordered = |function, options| {
            let order = PhysicalSortExpr { expr: physical("v"), options };
            (built(on(function, &["v"]).order_by(vec![order])), None)
        };
        let (first, last) = (SortOptions::new(false, true), SortOptions::new(true, false));
        let calls = || vec![
            ordered(array_agg::array_agg_udaf(), last),
            ordered(first_last::first_value_udaf(), first),
            ordered(first_last::last_value_udaf(), last),
        ];
        let sql = "SELECT g, array_agg(v ORDER BY v DESC NULLS LAST), \
            first_value(v ORDER BY v NULLS FIRST), last_value(v ORDER BY v DESC NULLS LAST) \
            FROM s GROUP BY g";
        for updating in [false, true] {
            let spec = spec(&["g"], calls(), updating);
            let mut operator = Restarted::new(&spec);
            let (mut table, mut seen) = (Table::default(), Multiset::new());
            for ((added, taken_back), fate) in &epochs {
                let taken_back = if updating { taken_back.clone() } else { vec![] };
                let mut deltas = table.change(&(added.clone(), taken_back), true);
                if !updating {
                    deltas.iter_mut().for_each(|delta| delta.weights = None);
                }
                integrate_net(&mut seen, &operator.step(vec![changed(deltas, 7)], *fate))?;
                let expected = batch_sql(&[("s", batch(&table.0))], sql);
                prop_assert_eq!(&seen, &multiset(&expected));
            }
        }
    }
}

#[test]
fn keys_are_equal_in_every_epoch_as_they_are_within_one() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8View, true),
        Field::new("l", DataType::new_list(DataType::Int64, true), true),
    ]));
    let floats = [Some(0.0), Some(-0.0), Some(f64::NAN), None, Some(f64::INFINITY)];
    let list = |v: Option<i64>| v.map(|v| vec![Some(v), None]);
    let one = |i: usize| -> RecordBatch {
        let lists = [list(Some(1)), list(None), Some(vec![]), list(Some(1)), list(Some(2))];
        let lists = [lists[i % 5].clone()];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(vec![floats[i % 5]])),
            Arc::new(StringViewArray::from(vec![
                i.is_multiple_of(2).then_some("neither short nor long"),
            ])),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let all: Vec<RecordBatch> = (0..30).map(|i| one(i * 7 % 10)).collect();
    let all = arrow::compute::concat_batches(&schema, &all).unwrap();
    for keys in [vec![0], vec![1], vec![2], vec![0, 1, 2]] {
        let names: Vec<_> = keys.iter().map(|key| schema.field(*key).name().as_str()).collect();
        let call = built(aggregate(count::count_udaf(), &[], &schema));
        let fields = keys.iter().map(|key| schema.field(*key).clone());
        let fields = fields.chain([call.field().as_ref().clone()]).collect::<Vec<_>>();
        let spec = UpdatingAggregateSpec {
            keys: keys.clone(),
            aggregates: vec![call],
            filters: vec![None],
            input_schema: Arc::clone(&schema),
            schema: Arc::new(Schema::new(fields)),
            input_updating: false,
        };
        let mut operator = Restarted::new(&spec);
        let mut seen = Multiset::new();
        for i in 0..30 {
            let fate = if i % 4 == 0 { Fate::Restart } else { Fate::Runs };
            let delta = Delta::append(all.slice(i, 1));
            integrate(&mut seen, &operator.step(vec![changed(vec![delta], 3)], fate));
        }
        let by = names.join(", ");
        let sql = format!("SELECT {by}, count(*) FROM s GROUP BY {by}");
        assert_eq!(seen, multiset(&batch_sql(&[("s", all.clone())], &sql)), "by {by}");
    }
}

#[test]
fn a_row_an_expression_fails_on_is_set_aside_alone() {
    let one_over_v = Arc::new(BinaryExpr::new(
        lit(1_i64),
        datafusion::logical_expr::Operator::Divide,
        physical("v"),
    ));
    let filter: Arc<dyn PhysicalExpr> =
        Arc::new(BinaryExpr::new(one_over_v, datafusion::logical_expr::Operator::GtEq, lit(0_i64)));
    let spec = spec(&["g"], vec![(built(on(count::count_udaf(), &[])), Some(filter))], false);
    let mut operator = spec.build().unwrap();
    let row = |v| (None, Some(1), Some(v), None);
    let output = operator.step(&epoch(), added(&[row(1), row(0), row(3), row(-1)])).unwrap();
    assert_eq!(output.bad.len(), 1);
    let mut seen = Multiset::new();
    integrate(&mut seen, &output.deltas);
    assert_eq!(seen, Multiset::from([("1|2".to_owned(), 1)]));
}

#[test]
fn a_snapshot_costs_what_changed() {
    for updating in [false, true] {
        let calls = vec![(built(on(sum::sum_udaf(), &["v"])), None)];
        let spec = spec(&["g"], calls, updating);
        let mut operator = spec.build().unwrap();
        let many: Vec<Row> = (0..100_000).map(|g| (None, Some(g), Some(1), None)).collect();
        operator.step(&epoch(), added(&many)).unwrap();
        let rows = |operator: &mut Box<dyn Operator>| -> usize {
            operator.snapshot().unwrap().iter().map(|state| state.rows.num_rows()).sum()
        };
        assert_eq!(rows(&mut operator), 100_000);
        operator.step(&epoch(), added(&many[..3])).unwrap();
        assert_eq!(rows(&mut operator), 3);
        assert_eq!(rows(&mut operator), 0);
    }
}

#[test]
fn what_is_taken_back_is_forgotten() {
    let calls = exact().into_iter().chain(kept()).collect();
    let spec = spec(&["g", "v"], calls, true);
    let mut operator = Restarted::new(&spec);
    let mut seen = Multiset::new();
    let mut saved = 0;
    for v in 0..600 {
        let row = |v| (Some(0), Some(v), Some(v), None);
        let delta = Delta {
            batch: batch(&[row(v), row(v - 1)]),
            weights: Some(vec![1, if v == 0 { 0 } else { -1 }].into()),
        };
        let fate = if v == 250 { Fate::Restart } else { Fate::Runs };
        integrate(&mut seen, &operator.step(vec![changed(vec![delta], 7)], fate));
        if v > 300 && v % 30 == 0 {
            saved += operator
                .operator
                .snapshot()
                .unwrap()
                .iter()
                .map(|s| s.rows.num_rows())
                .sum::<usize>();
        }
    }
    assert_eq!(seen.len(), 1);
    // Per snapshot what is gone and what is there: a group, a row, six kinds of distinct values.
    assert!((10..=10 * 16).contains(&saved), "{saved}");
    assert!(operator.operator.memory_bytes() < 1 << 20, "{}", operator.operator.memory_bytes());
}

#[test]
fn every_row_of_the_state_is_copied_a_few_times_only() {
    let mut versions = Versions::new();
    let mut brought = 0;
    for number in 0..4000_i64 {
        // Ten groups that are new, and ninety from all that there are.
        let many = number * 10 + 10;
        let keys: std::collections::BTreeSet<i64> = (0..100)
            .map(|i| if i < 10 { many - 10 + i } else { number * i * 7919 % many })
            .collect();
        brought += keys.len() as u64;
        let keys: ArrayRef = Arc::new(keys.into_iter().collect::<Int64Array>());
        let found = versions.find(std::slice::from_ref(&keys), keys.len()).unwrap();
        versions.put(found, &[Arc::clone(&keys), keys]).unwrap();
    }
    assert!(versions.rows.rows_copied < brought * 6, "{} of {brought}", versions.rows.rows_copied);
    let keys: ArrayRef = Arc::new((0..40_000).collect::<Int64Array>());
    let found = versions.find(std::slice::from_ref(&keys), 40_000).unwrap();
    assert!(found.groups.iter().all(|group| *group != NONE));
    let values = versions.pick(&found.groups).unwrap().column(1).unwrap();
    assert_eq!(&values, &keys);
    // 16 bytes of key and value; three times as much are allowed, and dead rows besides.
    assert!(versions.memory_bytes() < 40_000 * 16 * 5, "{}", versions.memory_bytes());
}

#[test]
fn what_is_kept_is_said() {
    let keeps = |spec: &UpdatingAggregateSpec| spec.explain().keeps;
    let is_bounded = |spec: &UpdatingAggregateSpec| !spec.explain().freed_by.is_empty();
    let one = |builder: AggregateExprBuilder| vec![(built(builder.alias("it")), None)];
    let highest = || one(on(min_max::max_udaf(), &["v"]));
    let distinct = || one(on(count::count_udaf(), &["v"]).distinct());
    assert_eq!(
        keeps(&spec(&["k"], exact(), true)),
        "the state of 15 aggregates per group; every distinct value per group, for count(k), count(v), sum(v), average, count(v)"
    );
    let state = "the state of 1 aggregate per group";
    assert_eq!(
        keeps(&spec(&["k"], highest(), true)),
        format!("{state}; every distinct value per group, for it")
    );
    let median = one(on(median::median_udaf(), &["f"]));
    assert_eq!(keeps(&spec(&["k"], median, true)), format!("{state}; every row per group, for it"));
    assert_eq!(keeps(&spec(&["k"], highest(), false)), state);
    assert_eq!(keeps(&spec(&["k"], vec![], false)), "every group");
    assert!(!is_bounded(&spec(&["k"], highest(), false)));
    assert!(is_bounded(&spec(&[], highest(), false)));
    assert!(!is_bounded(&spec(&[], highest(), true)));
    assert!(!is_bounded(&spec(&[], distinct(), false)));
    assert!(!is_bounded(&spec(&[], one(on(array_agg::array_agg_udaf(), &["v"])), false)));
    assert_eq!(spec(&["g", "k"], vec![], false).distribution(0), Distribution::Hash(vec![1, 0]));
    assert_eq!(spec(&[], highest(), false).distribution(0), Distribution::Single);
}

/// Each epoch touches one group only, of ever more values: it must not read them all.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures the time of an epoch")]
fn counting_distinct_values_costs_what_is_new() {
    for updating in [false, true] {
        let calls = vec![(built(on(count::count_udaf(), &["v"]).distinct()), None)];
        let spec = spec(&["k"], calls, updating);
        let mut operator = Restarted::new(&spec);
        let mut seen = Multiset::new();
        let mut took = Vec::new();
        for e in 0..1000_i64 {
            let rows: Vec<Row> = (0..50).map(|i| (None, None, Some(e * 25 + i), None)).collect();
            let input = added(&rows);
            let start = std::time::Instant::now();
            let output = operator.step(input, if e == 500 { Fate::Restart } else { Fate::Runs });
            took.push(start.elapsed());
            integrate(&mut seen, &output);
        }
        assert_eq!(seen, Multiset::from([("NULL|25025".to_owned(), 1)]));
        let (first, last) = (median(&mut took[..100]), median(&mut took[900..]));
        assert!(last < first * 8, "updating: {updating}, first {first:?}, last {last:?}");
    }
}

fn median(times: &mut [std::time::Duration]) -> std::time::Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Groups are never freed, so the state grows a thousandfold; the last epochs must cost as much as the
/// first hundred. Medians, and a generous factor, keep noise out.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures the time of an epoch")]
fn an_epoch_over_a_grown_state_costs_what_the_first_did() {
    for updating in [false, true] {
        let calls = exact().into_iter().take(4).chain(kept().into_iter().take(2)).collect();
        let spec = spec(&["g"], calls, updating);
        let mut operator = spec.build().unwrap();
        let mut took = Vec::new();
        for e in 0..1000_i64 {
            let new = (0..50).map(|i| (Some(1), Some(e * 50 + i), Some(i), None));
            // Each old group is touched a few times, so that none has many rows.
            let old = (0..50)
                .map(|i| (Some(1), Some((e * 37 + i * 997) % (50 * (e + 1))), Some(i), None));
            let rows: Vec<Row> = new.chain(old).collect();
            let input = added(&rows);
            let start = std::time::Instant::now();
            operator.step(&epoch(), input).unwrap();
            took.push(start.elapsed());
        }
        let (first, last) = (median(&mut took[..100]), median(&mut took[900..]));
        assert!(last < first * 8, "updating: {updating}, first {first:?}, last {last:?}");
    }
}
