//! Lookups in a table that is read again at random, against a batch join per epoch.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::Operator as Compare;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, batch_sql, cases, changed, epoch, fates, integrate, multiset,
};
use crate::watermark::Watermark;

/// Key and value.
type Row = (Option<u8>, i64);

fn side_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys = rows.iter().map(|row| row.0.map(|k| format!("k{k}"))).collect::<StringArray>();
    let values = rows.iter().map(|row| row.1).collect::<Int64Array>();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
    RecordBatch::try_new(side_schema(), columns).unwrap()
}

fn condition(operator: Compare) -> JoinFilter {
    let column = |i| Arc::new(Column::new("v", i)) as Arc<dyn PhysicalExpr>;
    let value = || Field::new("v", DataType::Int64, true);
    let mut expression = Arc::new(BinaryExpr::new(column(0), operator, column(1)));
    if operator == Compare::Divide {
        expression = Arc::new(BinaryExpr::new(expression, Compare::Gt, column(0)));
    }
    let columns = JoinFilter::build_column_indices(vec![1], vec![1]);
    JoinFilter::new(expression, columns, Arc::new(Schema::new(vec![value(), value()])))
}

fn spec(kind: LookupKind, nulls: NullEquality, residual: Option<JoinFilter>) -> LookupJoinSpec {
    LookupJoinSpec {
        kind,
        stream_keys: vec![0],
        table_keys: vec![0],
        null_equals_null: nulls == NullEquality::NullEqualsNull,
        residual,
        output: vec![(Side::Left, 0), (Side::Right, 1), (Side::Left, 1)],
        stream_schema: side_schema(),
        table_schema: side_schema(),
        schema: Arc::new(Schema::new(vec![
            Field::new("k", DataType::Utf8, true),
            Field::new("t", DataType::Int64, true),
            Field::new("s", DataType::Int64, true),
        ])),
    }
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((prop::option::of(0..4_u8), -2..3_i64), 0..most)
}

fn nulls() -> impl Strategy<Value = NullEquality> {
    prop_oneof![Just(NullEquality::NullEqualsNull), Just(NullEquality::NullEqualsNothing)]
}

const KINDS: [LookupKind; 6] = [
    LookupKind::Inner,
    LookupKind::Left,
    LookupKind::Semi,
    LookupKind::Anti,
    LookupKind::NullAwareAnti,
    LookupKind::Mark,
];

/// A lookup of this kind; rows of the stream come out alone where the kind says so.
fn spec_of(
    kind: LookupKind,
    nulls: NullEquality,
    keyless: bool,
    residual: Option<JoinFilter>,
) -> LookupJoinSpec {
    let mut spec = spec(kind, nulls, residual);
    if keyless {
        (spec.stream_keys, spec.table_keys) = (vec![], vec![]);
    }
    if !kind.pairs_come_out() {
        spec.output = vec![(Side::Left, 0), (Side::Left, 1)];
        let mut fields = side_schema().fields().to_vec();
        if kind == LookupKind::Mark {
            fields.push(Arc::new(Field::new("mark", DataType::Boolean, false)));
        }
        spec.schema = Arc::new(Schema::new(fields));
    }
    spec
}

/// The batch query of a kind.
fn sql_of(kind: LookupKind, on: &str) -> String {
    match kind {
        LookupKind::Inner => format!("SELECT s.k, t.v, s.v FROM s JOIN t ON {on}"),
        LookupKind::Left => format!("SELECT s.k, t.v, s.v FROM s LEFT JOIN t ON {on}"),
        LookupKind::Semi => format!("SELECT * FROM s LEFT SEMI JOIN t ON {on}"),
        LookupKind::Anti => format!("SELECT * FROM s LEFT ANTI JOIN t ON {on}"),
        LookupKind::NullAwareAnti => "SELECT * FROM s WHERE k NOT IN (SELECT k FROM t)".to_owned(),
        LookupKind::Mark => format!(
            "SELECT *, true FROM s LEFT SEMI JOIN t ON {on} UNION ALL
             SELECT *, false FROM s LEFT ANTI JOIN t ON {on}"
        ),
    }
}

/// The table's old rows leave, the new ones come.
fn replaced(old: &[Row], new: &[Row]) -> Delta {
    let rows: Vec<Row> = old.iter().chain(new).copied().collect();
    let weights = old.iter().map(|_| -1).chain(new.iter().map(|_| 1)).collect();
    Delta { batch: batch(&rows), weights: Some(weights) }
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn each_epoch_is_the_batch_join_with_the_table_it_saw(
        epochs in prop::collection::vec((rows(8), prop::option::of(rows(8)), fates()), 1..6),
        kind in prop::sample::select(KINDS.to_vec()),
        nulls in nulls(),
        residual in any::<bool>(),
        keyless in prop::bool::weighted(0.3),
    ) {
        let not_in = kind == LookupKind::NullAwareAnti;
        let (residual, keyless) = (residual && !not_in, keyless && !not_in);
        let spec = spec_of(kind, nulls, keyless, residual.then(|| condition(Compare::Lt)));
        let mut operator = Restarted::new(&spec);
        let mut table: Vec<Row> = Vec::new();
        let equal =
            if nulls == NullEquality::NullEqualsNull { "IS NOT DISTINCT FROM" } else { "=" };
        let equal = if keyless { "true".to_owned() } else { format!("(s.k {equal} t.k)") };
        let sql = sql_of(kind, &format!("{equal} {}", if residual { "AND s.v < t.v" } else { "" }));
        for (stream, reload, fate) in epochs {
            let mut reloads = Vec::new();
            if let Some(new) = reload {
                reloads.push(replaced(&table, &new));
                table = new;
            }
            // Every row twice: once as it is, once to be taken back. They must cancel out.
            let undo = Delta {
                batch: batch(&stream),
                weights: Some(Int64Array::from(vec![-1; stream.len()])),
            };
            let inputs = vec![
                changed(vec![Delta::append(batch(&stream)), undo], 2),
                changed(reloads, 2),
            ];
            let output = operator.step(inputs, fate);
            let (added, removed): (Vec<Delta>, Vec<Delta>) =
                output.iter().cloned().partition(|delta| delta.weights.is_none());
            let (mut seen, mut all) = (Multiset::new(), Multiset::new());
            integrate(&mut seen, &added);
            let expected = batch_sql(&[("s", batch(&stream)), ("t", batch(&table))], &sql);
            prop_assert_eq!(seen, multiset(&expected));
            integrate(&mut all, &added);
            integrate(&mut all, &removed);
            prop_assert!(all.is_empty());
        }
    }
}

#[test]
fn a_row_whose_condition_fails_is_set_aside_and_not_extended() {
    let spec =
        spec(LookupKind::Left, NullEquality::NullEqualsNothing, Some(condition(Compare::Divide)));
    let mut operator = spec.build().unwrap();
    let table = changed(vec![Delta::append(batch(&[(Some(1), 0), (Some(2), 1)]))], 2);
    let stream = changed(vec![Delta::append(batch(&[(Some(1), 5), (Some(2), 5)]))], 2);
    let output = operator.step(&epoch(), vec![stream, table]).unwrap();
    assert_eq!(output.bad.len(), 1);
    let mut seen = Multiset::new();
    integrate(&mut seen, &output.deltas);
    assert_eq!(seen, Multiset::from([("k2|NULL|5".to_owned(), 1)]));
}

#[test]
fn reading_a_table_again_and_again_keeps_one_copy() {
    let spec = spec(LookupKind::Inner, NullEquality::NullEqualsNothing, None);
    let mut operator = Restarted::new(&spec);
    let table: Vec<Row> = (0..2000).map(|v| (Some(1), v)).collect();
    let mut old: &[Row] = &[];
    let mut bytes = Vec::new();
    for i in 0..12 {
        let fate = if i == 5 { Fate::Restart } else { Fate::Runs };
        operator.step(vec![changed(vec![], 2), changed(vec![replaced(old, &table)], 2)], fate);
        bytes.push(operator.operator.memory_bytes());
        old = &table;
    }
    assert!(bytes[11] < bytes[0] * 4, "{bytes:?}");
    let stream = changed(vec![Delta::append(batch(&[(Some(1), 0)]))], 2);
    let output = operator.step(vec![stream, changed(vec![], 2)], Fate::Runs);
    assert_eq!(crate::delta::total_rows(&output), 2000);
}

#[test]
fn the_streams_watermarks_pass() {
    let spec = spec(LookupKind::Inner, NullEquality::NullEqualsNothing, None);
    let mut stream = Watermarks::none(2);
    stream.0[1] = Some(Watermark::At(7));
    let table = Watermarks(vec![Some(Watermark::End); 2]);
    assert_eq!(spec.watermarks(&[stream, table]).0, vec![None, None, Some(Watermark::At(7))]);
}
