//! Random streams against the definition, written out: who is in which window when.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Operator as Compare;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use proptest::prelude::*;

use super::*;
use crate::definition::TIMESTAMP_TYPE;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, appended, cases, cut, fates, integrate, timed_batch as batch,
    timed_schema,
};

/// A row: key, time, value.
type Row = (u8, i64, i64);

fn equal_keys() -> JoinFilter {
    let column = |name: &str, at| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, at)) };
    let equal = BinaryExpr::new(column("l", 0), Compare::Eq, column("r", 1));
    let fields = ["l", "r"].map(|name| Field::new(name, DataType::Int64, true));
    let columns = JoinFilter::build_column_indices(vec![0], vec![0]);
    JoinFilter::new(Arc::new(equal), columns, Arc::new(Schema::new(fields.to_vec())))
}

/// The third column of the left stands for the moment, which the operator fills in.
fn spec(join_type: JoinType, reaches: [Reach; 2], by_key: bool) -> RowsJoinSpec {
    let keys = if by_key { vec![0] } else { vec![] };
    let moment = Field::new("moment", TIMESTAMP_TYPE, true);
    let with_moment: Vec<_> =
        timed_schema().fields().iter().map(|f| f.as_ref().clone()).chain([moment]).collect();
    let schema = Arc::new(Schema::new(with_moment));
    let side = |reach| RowsSide {
        schema: Arc::clone(&schema),
        keys: keys.clone(),
        time: 1,
        counts: None,
        reach,
    };
    let of = |side: Side| [0, 1, 2].map(move |column| (side, column));
    let output: Vec<_> =
        of(Side::Left).into_iter().chain(of(Side::Right)).chain([(Side::Left, 3)]).collect();
    let fields: Vec<_> = output.iter().map(|(_, c)| schema.field(*c).clone()).collect();
    RowsJoinSpec {
        join_type,
        left: side(reaches[0]),
        right: side(reaches[1]),
        residual: by_key.then(equal_keys),
        output,
        moments: vec![6],
        schema: Arc::new(Schema::new(fields)),
    }
}

fn rows_of(rows: &[Row]) -> RecordBatch {
    let timed: Vec<_> = rows.iter().map(|(k, t, v)| (Some(*k), Some(*t), *v)).collect();
    let mut columns = batch(&timed).columns().to_vec();
    columns.push(arrow::array::new_null_array(&TIMESTAMP_TYPE, rows.len()));
    RecordBatch::try_new(spec(JoinType::Inner, [Reach::Rows(0); 2], true).left.schema, columns)
        .unwrap()
}

/// Until when, exclusively, the window holds the row at `at`.
fn until(rows: &[Row], at: usize, reach: Reach) -> Option<i64> {
    match reach {
        Reach::Within(ms) => Some(rows[at].1 + ms + 1),
        Reach::Rows(n) => rows.get(at + usize::try_from(n).unwrap() + 1).map(|row| row.1),
    }
}

/// The definition.
fn model(spec: &RowsJoinSpec, left: &[Row], right: &[Row], by_key: bool) -> Multiset {
    let holds = |rows: &[Row], at: usize, reach, time: i64| {
        rows[at].1 <= time && until(rows, at, reach).is_none_or(|end| time < end)
    };
    let last = left.iter().chain(right).map(|row| row.1).max().unwrap_or(0);
    let time = |ms: Option<i64>| ms.map_or("NULL".to_owned(), |ms| format!("{ms}"));
    let text = |row: Option<&Row>| match row {
        Some((k, t, v)) => format!("{k}|{t}|{v}"),
        None => "NULL|NULL|NULL".to_owned(),
    };
    let mut all = Multiset::new();
    let mut met = (vec![false; left.len()], vec![false; right.len()]);
    let mut give = |l, r, at| {
        *all.entry(format!("{}|{}|{}", text(l), text(r), time(Some(at)))).or_default() += 1;
    };
    for (i, l) in left.iter().enumerate() {
        for (j, r) in right.iter().enumerate() {
            let in_left = holds(left, i, spec.left.reach, r.1);
            let in_right = holds(right, j, spec.right.reach, l.1);
            if (in_left || in_right) && (!by_key || l.0 == r.0) {
                (met.0[i], met.1[j]) = (true, true);
                give(Some(l), Some(r), l.1.max(r.1));
            }
        }
    }
    let released = |rows: &[Row], at: usize, reach| match reach {
        Reach::Within(ms) => rows[at].1 + ms,
        Reach::Rows(_) => until(rows, at, reach).unwrap_or(last),
    };
    for (i, l) in left.iter().enumerate() {
        if !met.0[i] && spec.is_preserved(Side::Left) {
            give(Some(l), None, released(left, i, spec.left.reach));
        }
    }
    for (j, r) in right.iter().enumerate() {
        if !met.1[j] && spec.is_preserved(Side::Right) {
            give(None, Some(r), released(right, j, spec.right.reach));
        }
    }
    all
}

/// The rows that came, times as numbers.
fn plain(deltas: &[Delta]) -> Vec<Delta> {
    let plain = |delta: &Delta| {
        let columns = delta
            .batch
            .columns()
            .iter()
            .map(|column| arrow::compute::cast(column, &DataType::Int64).unwrap());
        let fields: Vec<_> =
            (0..7).map(|i| Field::new(format!("c{i}"), DataType::Int64, true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect());
        Delta::append(batch.unwrap())
    };
    deltas.iter().map(plain).collect()
}

fn reaches() -> impl Strategy<Value = [Reach; 2]> {
    let rows = || (0..4_u64).prop_map(Reach::Rows);
    let other = || prop_oneof![rows(), (0..6_i64).prop_map(Reach::Within)];
    prop_oneof![(rows(), other()), (other(), rows())].prop_map(|(left, right)| [left, right])
}

/// Rows in the order of arrival, which is not quite that of time; and the same by time.
fn stream() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..3_u8, 0..30_i64, 0..1000_i64), 0..30)
}

fn by_time(rows: &[Row]) -> Vec<Row> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|row| row.1);
    sorted
}

proptest! {
    #![proptest_config(cases(300))]
    #[test]
    fn windows_hold_what_the_definition_says(
        join in prop::sample::select(vec![JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full]),
        reaches in reaches(),
        by_key in any::<bool>(),
        (left, right) in (stream(), stream()),
        cuts in prop::collection::vec(((0..8_usize, 0..3_i64), (0..8_usize, 0..3_i64), fates()), 0..12),
    ) {
        let spec = spec(join, reaches, by_key);
        let mut operator = Restarted::new(&spec);
        let times = |rows: &[Row]| rows.iter().map(|row| row.1).collect::<Vec<_>>();
        let of = |side: usize| cuts.iter().map(|cut| if side == 0 { cut.0 } else { cut.1 }).collect::<Vec<_>>();
        // No watermark is later than the last row: then the last moment depends on rows alone.
        let last = |rows: &[Row]| rows.iter().map(|row| row.1).max().unwrap_or(0);
        let end = last(&left).max(last(&right));
        let epochs = cut(&times(&left), &of(0), end).into_iter().zip(cut(&times(&right), &of(1), end));
        let fates = cuts.iter().map(|cut| cut.2).chain([Fate::Runs]);
        let (mut seen, mut least) = (Multiset::new(), i64::MIN);
        for (((l, wl), (r, wr)), fate) in epochs.zip(fates) {
            let inputs = vec![
                appended(rows_of(&left[l]), 1, wl),
                appended(rows_of(&right[r]), 1, wr),
            ];
            let out = plain(&operator.step(inputs, fate));
            for delta in &out {
                let moments = delta.batch.column(6);
                let moments = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(moments);
                prop_assert!(moments.iter().flatten().all(|moment| moment >= least), "late");
            }
            least = least.max(wl.min(wr).bound());
            integrate(&mut seen, &out);
        }
        prop_assert_eq!(seen, model(&spec, &by_time(&left), &by_time(&right), by_key));
    }
}

#[test]
fn a_side_keeps_the_rows_of_its_window() {
    let spec = spec(JoinType::Full, [Reach::Rows(9), Reach::Within(5)], true);
    let mut operator = Restarted::new(&spec);
    let mut bytes = Vec::new();
    for e in 0..60_i64 {
        let rows: Vec<Row> =
            (0..500).map(|i| (u8::try_from(i % 7).unwrap(), e * 500 + i, i)).collect();
        let side = || appended(rows_of(&rows), 1, Watermark::At(e * 500 + 500));
        let fate = if e % 9 == 8 { Fate::Restart } else { Fate::Snapshot };
        operator.step(vec![side(), side()], fate);
        assert!(operator.operator.state_rows() <= 10 + 6, "{}", operator.operator.state_rows());
        bytes.push(operator.operator.memory_bytes());
    }
    assert!(bytes[59] < bytes[9] * 2, "{bytes:?}");
}
