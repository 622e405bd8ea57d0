//! Joins of random changelogs, cut into random epochs, against batch SQL and a product of Z-sets.

mod types;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::logical_expr::Operator as Compare;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use proptest::prelude::*;

use super::*;
use crate::delta::Delta;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, batch_sql, cases, changed, epoch, fates, integrate, multiset,
};

/// Two keys and a value.
type Row = (Option<u8>, Option<i64>, i64);

fn side_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let text = rows.iter().map(|row| row.0.map(|k| format!("a key, the {k}th")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(text.collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(side_schema(), columns).unwrap()
}

/// `l.v <operator> r.v`.
fn condition(operator: Compare) -> JoinFilter {
    let column = |i| Arc::new(Column::new("v", i)) as Arc<dyn PhysicalExpr>;
    let schema = Schema::new(vec![
        Field::new("v", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
    ]);
    let expression: Arc<dyn PhysicalExpr> = if operator == Compare::Divide {
        let quotient = Arc::new(BinaryExpr::new(column(0), operator, column(1)));
        Arc::new(BinaryExpr::new(quotient, Compare::GtEq, column(0)))
    } else {
        Arc::new(BinaryExpr::new(column(0), operator, column(1)))
    };
    let columns = JoinFilter::build_column_indices(vec![2], vec![2]);
    JoinFilter::new(expression, columns, Arc::new(schema))
}

fn spec(nulls: NullEquality, residual: Option<JoinFilter>, updating: bool) -> HashJoinSpec {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    HashJoinSpec {
        join_type: JoinType::Inner,
        null_aware: false,
        left_keys: vec![0, 1],
        right_keys: vec![0, 1],
        null_equals_null: nulls == NullEquality::NullEqualsNull,
        residual,
        output: vec![(Side::Right, 2), (Side::Left, 0), (Side::Left, 2), (Side::Right, 1)],
        left_schema: side_schema(),
        right_schema: side_schema(),
        schema: Arc::new(Schema::new(vec![
            field("rv", DataType::Int64),
            field("k", DataType::Utf8),
            field("lv", DataType::Int64),
            field("n", DataType::Int64),
        ])),
        updating,
    }
}

fn sql(nulls: NullEquality, residual: bool) -> String {
    let equal = if nulls == NullEquality::NullEqualsNull { "IS NOT DISTINCT FROM" } else { "=" };
    let residual = if residual { "AND l.v < r.v" } else { "" };
    format!(
        "SELECT r.v, l.k, l.v, r.n FROM l JOIN r \
         ON (l.k {equal} r.k) AND (l.n {equal} r.n) {residual}"
    )
}

fn nulls() -> impl Strategy<Value = NullEquality> {
    prop_oneof![Just(NullEquality::NullEqualsNull), Just(NullEquality::NullEqualsNothing)]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop_oneof![4 => -3..3_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let row = (prop::option::of(0..3_u8), prop::option::of(0..2_i64), value);
    prop::collection::vec(row, 0..12)
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn appended_rows_join_as_in_batch(
        epochs in prop::collection::vec((rows(), rows(), fates()), 1..8),
        nulls in nulls(),
        residual in any::<bool>(),
        updating in any::<bool>(),
    ) {
        let spec = spec(nulls, residual.then(|| condition(Compare::Lt)), updating);
        let mut operator = Restarted::new(&spec);
        let (mut left, mut right, mut seen) = (Vec::new(), Vec::new(), Multiset::new());
        for (l, r, fate) in epochs {
            let inputs = [&l, &r].map(|rows| changed(vec![Delta::append(batch(rows))], 3));
            integrate(&mut seen, &operator.step(inputs.into(), fate));
            left.extend(l);
            right.extend(r);
        }
        let tables = [("l", batch(&left)), ("r", batch(&right))];
        prop_assert_eq!(seen, multiset(&batch_sql(&tables, &sql(nulls, residual))));
    }

    #[test]
    fn a_changelog_joins_as_the_product_of_z_sets(
        epochs in prop::collection::vec((changes(), changes(), fates()), 1..12),
        residual in any::<bool>(),
    ) {
        let spec = spec(NullEquality::NullEqualsNull, residual.then(|| condition(Compare::Lt)), true);
        let mut operator = Restarted::new(&spec);
        let mut sums = [BTreeMap::<Row, i64>::new(), BTreeMap::new()];
        let mut seen = Multiset::new();
        for (l, r, fate) in epochs {
            for (sum, changes) in sums.iter_mut().zip([&l, &r]) {
                for (row, weight) in changes {
                    *sum.entry(*row).or_default() += weight;
                }
            }
            let inputs = [l, r].map(|changes| changed(vec![weighted(&changes)], 3));
            integrate(&mut seen, &operator.step(inputs.into(), fate));
            prop_assert_eq!(&seen, &product(&sums, residual));
        }
    }
}

/// Additions and removals; a removal may come before its addition.
fn changes() -> impl Strategy<Value = Vec<(Row, i64)>> {
    let row = (prop::option::of(0..2_u8), Just(Some(1)), 0..3_i64);
    prop::collection::vec((row, -2..3_i64), 0..10)
}

fn weighted(changes: &[(Row, i64)]) -> Delta {
    let rows: Vec<Row> = changes.iter().map(|(row, _)| *row).collect();
    let weights = changes.iter().map(|(_, weight)| *weight).collect();
    Delta { batch: batch(&rows), weights: Some(weights) }
}

fn product([left, right]: &[BTreeMap<Row, i64>; 2], residual: bool) -> Multiset {
    let mut rows = Multiset::new();
    for (l, l_weight) in left {
        for (r, r_weight) in right {
            if l.0 == r.0 && l.1 == r.1 && (!residual || l.2 < r.2) {
                let k = l.0.map_or_else(|| "NULL".to_owned(), |k| format!("a key, the {k}th"));
                let row = format!("{}|{k}|{}|{}", r.2, l.2, r.1.unwrap());
                *rows.entry(row).or_default() += l_weight * r_weight;
            }
        }
    }
    rows.retain(|_, weight| *weight != 0);
    rows
}

#[test]
fn a_hot_key_comes_out_in_bounded_batches() {
    let spec = spec(NullEquality::NullEqualsNull, None, false);
    let mut operator = spec.build().unwrap();
    let many: Vec<Row> = (0..30_000).map(|v| (Some(1), None, v)).collect();
    let empty = || changed(vec![], 3);
    let left = changed(vec![Delta::append(batch(&many))], 3);
    operator.step(&epoch(), vec![left, empty()]).unwrap();
    let right = changed(vec![Delta::append(batch(&[(Some(1), None, 7), (Some(1), None, 8)]))], 3);
    let output = operator.step(&epoch(), vec![empty(), right]).unwrap();
    assert_eq!(crate::delta::total_rows(&output.deltas), 60_000);
    assert!(output.deltas.iter().all(|delta| delta.num_rows() <= 8192));
    let sum: i64 = output
        .deltas
        .iter()
        .map(|delta| delta.batch.column(2).as_primitive::<Int64Type>().values().iter().sum::<i64>())
        .sum();
    assert_eq!(sum, 30_000 * 29_999);
}

#[test]
fn a_condition_that_fails_on_a_pair_sets_that_pair_aside() {
    let spec = spec(NullEquality::NullEqualsNull, Some(condition(Compare::Divide)), false);
    let mut operator = spec.build().unwrap();
    let left = changed(vec![Delta::append(batch(&[(Some(1), None, 6)]))], 3);
    let right: Vec<Row> = [0, 1, 2].map(|v| (Some(1), None, v)).into();
    let right = changed(vec![Delta::append(batch(&right))], 3);
    let output = operator.step(&epoch(), vec![left, right]).unwrap();
    assert_eq!(output.bad.len(), 1);
    let mut seen = Multiset::new();
    integrate(&mut seen, &output.deltas);
    assert_eq!(seen, Multiset::from([("1|a key, the 1th|6|NULL".to_owned(), 1)]));
}

#[test]
fn what_is_taken_back_is_forgotten() {
    let spec = spec(NullEquality::NullEqualsNull, None, true);
    let mut operator = Restarted::new(&spec);
    let mut weight_sum = 0;
    let right = changed(vec![Delta::append(batch(&[(Some(0), Some(0), 0)]))], 3);
    operator.step(vec![changed(vec![], 3), right], Fate::Runs);
    for v in 0..20_000 {
        let row = |v| (Some(0), Some(0), v);
        let changes = [(row(v), 1), (row(v - 1), if v == 0 { 0 } else { -1 })];
        let fate = if v % 5000 == 17 { Fate::Restart } else { Fate::Runs };
        let inputs = vec![changed(vec![weighted(&changes)], 3), changed(vec![], 3)];
        for delta in operator.step(inputs, fate) {
            weight_sum += delta.weights.unwrap().values().iter().sum::<i64>();
        }
    }
    assert_eq!(weight_sum, 1);
    assert!(operator.operator.memory_bytes() < 1 << 20, "{}", operator.operator.memory_bytes());
}

/// Everything is kept, so the state grows a thousandfold; the last epochs must cost as much as the
/// first. An epoch that touched all of the state would cost hundreds of times as much. Medians, and
/// a generous factor, keep noise out.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures the time of an epoch")]
fn an_epoch_over_a_grown_state_costs_what_the_first_did() {
    let spec = spec(NullEquality::NullEqualsNull, None, false);
    let mut operator = spec.build().unwrap();
    let mut took = Vec::new();
    let mut found = 0;
    for e in 0..1000_i64 {
        let rows: Vec<Row> = (0..50).map(|i| (Some(1), Some(e * 50 + i), i)).collect();
        // Each left row meets a right row from long ago, spread over all of the state.
        let old: Vec<Row> =
            (0..50).map(|i| (Some(1), Some((e + 1) * 49 * i % (50 * (e + 1))), i)).collect();
        let inputs = [&old, &rows].map(|rows| changed(vec![Delta::append(batch(rows))], 3));
        let start = std::time::Instant::now();
        let output = operator.step(&epoch(), inputs.into()).unwrap();
        took.push(start.elapsed());
        found += crate::delta::total_rows(&output.deltas);
    }
    assert!(found >= 50_000);
    let median = |times: &mut [std::time::Duration]| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (first, last) = (median(&mut took[..100]), median(&mut took[900..]));
    assert!(last < first * 8, "first {first:?}, last {last:?}");
}
