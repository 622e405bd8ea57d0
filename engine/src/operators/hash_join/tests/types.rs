//! Every join type over random changelogs, after every epoch, against DataFusion's batch join.

use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::prelude::SessionContext;

use super::*;
use crate::operators::oracle::JOIN_TYPES;

/// A join to try.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "every combination of them is tried")]
struct Case {
    join: JoinType,
    nulls: NullEquality,
    keyless: bool,
    residual: bool,
    updating: bool,
}

fn cases_of_types() -> impl Strategy<Value = Case> {
    let types = prop::sample::select(JOIN_TYPES.to_vec());
    let flags = (prop::bool::weighted(0.3), any::<bool>(), prop::bool::weighted(0.7));
    (types, nulls(), flags).prop_map(|(join, nulls, (keyless, residual, updating))| Case {
        join,
        nulls,
        keyless,
        residual,
        updating,
    })
}

fn is_of_one_side(join: JoinType) -> Option<Side> {
    match join {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Some(Side::Left),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Some(Side::Right),
        _ => None,
    }
}

fn is_mark(join: JoinType) -> bool {
    matches!(join, JoinType::LeftMark | JoinType::RightMark)
}

fn spec_of(case: Case) -> HashJoinSpec {
    let residual = case.residual.then(|| condition(Compare::Lt));
    let mut inner = spec(case.nulls, residual, case.updating);
    if case.keyless {
        inner = HashJoinSpec { left_keys: vec![], right_keys: vec![], ..inner };
    }
    let Some(side) = is_of_one_side(case.join) else {
        let of = |side: Side| (0..3).map(move |column| (side, column));
        let fields = [side_schema(), side_schema()].map(|s| s.fields().to_vec());
        return HashJoinSpec {
            join_type: case.join,
            output: of(Side::Left).chain(of(Side::Right)).collect(),
            schema: Arc::new(Schema::new(fields.concat())),
            ..inner
        };
    };
    let mut fields: Vec<_> = side_schema().fields().iter().cloned().collect();
    if is_mark(case.join) {
        fields.push(Arc::new(Field::new("mark", DataType::Boolean, false)));
    }
    let output = (0..3).map(|column| (side, column)).collect();
    let schema = Arc::new(Schema::new(fields));
    HashJoinSpec { join_type: case.join, output, schema, ..inner }
}

/// What DataFusion says of these rows.
fn answer(case: Case, left: &[Row], right: &[Row]) -> Multiset {
    let equal = |name: &str| {
        let (l, r) = (col(format!("l.{name}")), col(format!("r.{name}")));
        match case.nulls {
            NullEquality::NullEqualsNull => {
                Expr::BinaryExpr(datafusion::logical_expr::BinaryExpr::new(
                    Box::new(l),
                    Compare::IsNotDistinctFrom,
                    Box::new(r),
                ))
            }
            NullEquality::NullEqualsNothing => l.eq(r),
        }
    };
    let mut on = vec![equal("k"), equal("n")];
    if case.keyless {
        on = vec![lit(true)];
    }
    if case.residual {
        on.push(col("l.v").lt(col("r.v")));
    }
    let columns = match is_of_one_side(case.join) {
        None => vec!["l.k", "l.n", "l.v", "r.k", "r.n", "r.v"],
        Some(Side::Left) if is_mark(case.join) => vec!["l.k", "l.n", "l.v", "mark"],
        Some(Side::Right) if is_mark(case.join) => vec!["r.k", "r.n", "r.v", "mark"],
        Some(Side::Left) => vec!["l.k", "l.n", "l.v"],
        Some(Side::Right) => vec!["r.k", "r.n", "r.v"],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, rows) in [("l", left), ("r", right)] {
            let table = MemTable::try_new(side_schema(), vec![vec![batch(rows)]]).unwrap();
            context.register_table(name, Arc::new(table)).unwrap();
        }
        let (l, r) = (context.table("l").await.unwrap(), context.table("r").await.unwrap());
        let joined = l.join_on(r, case.join, on).unwrap();
        let columns: Vec<Expr> = columns.into_iter().map(col).collect();
        multiset(&joined.select(columns).unwrap().collect().await.unwrap())
    })
}

/// What an epoch does to one side: rows to add, and which of those there are to take back.
type Steps = Vec<(Row, Option<prop::sample::Index>)>;

fn steps() -> impl Strategy<Value = Steps> {
    let row =
        (prop::option::weighted(0.8, 0..2_u8), prop::option::weighted(0.9, Just(1)), 0..3_i64);
    let step = (row, prop::option::weighted(0.45, any::<prop::sample::Index>()));
    prop::collection::vec(step, 0..9)
}

/// Does the steps on the rows there are, and cuts what changes into deltas.
fn play(rows: &mut Vec<Row>, steps: Steps, updating: bool) -> Vec<Delta> {
    let mut changes = Vec::new();
    for (row, back) in steps {
        match back.filter(|_| updating && !rows.is_empty()) {
            Some(which) => {
                let at = which.index(rows.len());
                changes.push((rows.swap_remove(at), -1));
            }
            None => {
                rows.push(row);
                changes.push((row, 1));
            }
        }
    }
    changes
        .chunks(4)
        .map(|changes| {
            let delta = weighted(changes);
            if updating { delta } else { Delta::append(delta.batch) }
        })
        .collect()
}

/// Adds an epoch's output, which must be its net change, to what was seen.
fn add_net(seen: &mut Multiset, deltas: &[Delta], updating: bool) {
    assert!(deltas.iter().all(|delta| delta.weights.is_some() == updating));
    let mut net = Multiset::new();
    integrate(&mut net, deltas);
    let gross: i64 = deltas
        .iter()
        .map(|delta| match &delta.weights {
            Some(weights) => weights.values().iter().map(|weight| weight.abs()).sum(),
            None => i64::try_from(delta.num_rows()).unwrap(),
        })
        .sum();
    assert_eq!(gross, net.values().map(|weight| weight.abs()).sum::<i64>(), "not net: {net:?}");
    integrate(seen, deltas);
}

type Epochs = Vec<(Steps, Steps, Fate)>;

fn epochs() -> impl Strategy<Value = Epochs> {
    prop::collection::vec((steps(), steps(), fates()), 1..8)
}

/// Runs the epochs and compares with `answer` after each.
fn follow(spec: &HashJoinSpec, epochs: Epochs, answer: impl Fn(&[Row], &[Row]) -> Multiset) {
    let mut operator = Restarted::new(spec);
    let (mut left, mut right, mut seen) = (Vec::new(), Vec::new(), Multiset::new());
    for (l, r, fate) in epochs {
        let inputs = vec![
            changed(play(&mut left, l, spec.updating), 3),
            changed(play(&mut right, r, spec.updating), 3),
        ];
        add_net(&mut seen, &operator.step(inputs, fate), spec.is_updating());
        assert_eq!(seen, answer(&left, &right), "left {left:?} right {right:?}");
    }
}

proptest! {
    #![proptest_config(cases(160))]
    #[test]
    fn each_type_follows_the_batch_join(case in cases_of_types(), epochs in epochs()) {
        follow(&spec_of(case), epochs, |left, right| answer(case, left, right));
    }
}

/// `SELECT * FROM l WHERE l.k NOT IN (SELECT r.k FROM r)`.
fn not_in(updating: bool) -> HashJoinSpec {
    let join = JoinType::LeftAnti;
    let nulls = NullEquality::NullEqualsNothing;
    HashJoinSpec {
        null_aware: true,
        left_keys: vec![0],
        right_keys: vec![0],
        ..spec_of(Case { join, nulls, keyless: false, residual: false, updating })
    }
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn not_in_follows_the_batch_answer(
        mut epochs in epochs(),
        updating in prop::bool::weighted(0.8),
        rare_nulls in any::<bool>(),
    ) {
        if rare_nulls {
            // So that not every run of epochs has a NULL on the right all the time.
            for (row, _) in epochs.iter_mut().flat_map(|(_, right, _)| right) {
                if row.2 > 0 {
                    row.0 = row.0.or(Some(3));
                }
            }
        }
        follow(&not_in(updating), epochs, |left, right| {
            let tables = [("l", batch(left)), ("r", batch(right))];
            multiset(&batch_sql(&tables, "SELECT * FROM l WHERE k NOT IN (SELECT k FROM r)"))
        });
    }
}

/// So many rows come and go that both sides reclaim their space again and again; the counts of the
/// rows that stay must come along.
#[test]
fn counts_survive_the_reclaiming_of_dead_rows() {
    let row = |e: i64, i: i64| (Some(u8::from(i % 3 == 0)), Some(i % 25), (e * 7 + i) % 90);
    for join in [JoinType::Full, JoinType::LeftSemi, JoinType::RightAnti, JoinType::LeftMark] {
        let nulls = NullEquality::NullEqualsNothing;
        let case = Case { join, nulls, keyless: false, residual: true, updating: true };
        let spec = spec_of(case);
        let mut operator = Restarted::new(&spec);
        let mut seen = Multiset::new();
        for e in 0..60 {
            let of = |side: i64, kept: i64| {
                // One in `kept` rows of the epoch before stays for good.
                let gone = (0..90).filter(move |i| e > 0 && i % kept != 0);
                let gone = gone.map(move |i| (row(e - 1 + side, i), -1));
                let come = (0..90).map(move |i| (row(e + side, i), 1));
                weighted(&come.chain(gone).collect::<Vec<_>>())
            };
            let fate = if e % 13 == 12 { Fate::Restart } else { Fate::Runs };
            let inputs = [of(0, 45), of(5, 30)].map(|delta| changed(vec![delta], 3));
            add_net(&mut seen, &operator.step(inputs.into(), fate), spec.is_updating());
        }
        let there = |side: i64, kept: i64| -> Vec<Row> {
            let stay =
                (0..59).flat_map(|e| (0..90).filter(move |i| i % kept == 0).map(move |i| (e, i)));
            let last = (0..90).map(|i| (59, i));
            stay.chain(last).map(|(e, i)| row(e + side, i)).collect()
        };
        assert_eq!(seen, answer(case, &there(0, 45), &there(5, 30)), "{join}");
    }
}

fn plain(join: JoinType, updating: bool) -> HashJoinSpec {
    let nulls = NullEquality::NullEqualsNothing;
    spec_of(Case { join, nulls, keyless: false, residual: false, updating })
}

#[test]
fn a_row_a_condition_failed_on_is_not_said_to_match_nothing() {
    for join in JOIN_TYPES {
        let residual = Some(condition(Compare::Divide));
        let spec = HashJoinSpec { residual, ..plain(join, false) };
        let mut operator = spec.build().unwrap();
        let side = |v| changed(vec![Delta::append(batch(&[(Some(1), Some(1), v)]))], 3);
        let output = operator.step(&epoch(), vec![side(6), side(0)]).unwrap();
        assert_eq!(output.bad.len(), 1, "{join}");
        let mut seen = Multiset::new();
        integrate(&mut seen, &output.deltas);
        let marked = Multiset::from([match join {
            JoinType::LeftMark => ("a key, the 1th|1|6|false".to_owned(), 1),
            _ => ("a key, the 1th|1|0|false".to_owned(), 1),
        }]);
        assert_eq!(seen, if is_mark(join) { marked } else { Multiset::new() }, "{join}");
    }
}

/// A change of a row whose key all rows have.
fn hot(v: i64, weight: i64) -> (Row, i64) {
    ((Some(1), Some(1), v), weight)
}

/// Runs an epoch; says how long it took and how many rows came out.
#[expect(clippy::disallowed_methods, reason = "it measures the time of an epoch")]
fn timed(
    operator: &mut dyn Operator,
    left: &[(Row, i64)],
    right: &[(Row, i64)],
) -> (std::time::Duration, usize) {
    let sides = [left, right].map(|changes| changed(vec![weighted(changes)], 3));
    let start = std::time::Instant::now();
    let output = operator.step(&epoch(), sides.into()).unwrap();
    (start.elapsed(), crate::delta::total_rows(&output.deltas))
}

/// The median time of epochs that replace twenty rows on the left, and add one on the right if
/// `both`.
fn median_of_epochs(operator: &mut dyn Operator, from: i64, both: bool) -> std::time::Duration {
    let mut took = Vec::new();
    for e in from..from + 40 {
        let replaced =
            (0..20).flat_map(|i| [hot(e * 20 + i, 1), hot((e - 1) * 20 + i, -i64::from(e > from))]);
        let replaced: Vec<_> = replaced.collect();
        let right = both.then(|| hot(e, 1));
        let (time, rows) = timed(operator, &replaced, right.as_slice());
        assert!(rows <= 60, "{rows} rows");
        took.push(time);
    }
    took.sort_unstable();
    took[took.len() / 2]
}

/// All rows have one key. A hundred thousand of them may cost no more per change than a few hundred.
#[test]
fn changes_of_a_hot_key_cost_what_they_change() {
    for join in [JoinType::Left, JoinType::LeftSemi, JoinType::LeftAnti, JoinType::LeftMark] {
        let mut operator = plain(join, true).build().unwrap();
        // Of an outer join the pairs come out, so what its right side has of the key counts.
        let both = join != JoinType::Left;
        let first = median_of_epochs(operator.as_mut(), 0, both);
        let many: Vec<_> = (1 << 20..(1 << 20) + 100_000).map(|v| hot(v, 1)).collect();
        timed(operator.as_mut(), &many, if both { &many } else { &[] });
        let last = median_of_epochs(operator.as_mut(), 1000, both);
        assert!(last < first * 8, "{join}: first {first:?}, last {last:?}");
    }
}

#[test]
fn a_semi_join_of_what_is_only_added_keeps_distinct_keys_and_open_rows() {
    let mut operator = plain(JoinType::LeftSemi, false).build().unwrap();
    for e in 0..100 {
        let rows: Vec<Row> = (0..500).map(|i| (Some(1), Some(i % 10), e * 500 + i)).collect();
        let sides = [&rows, &rows].map(|rows| changed(vec![Delta::append(batch(rows))], 3));
        let output = operator.step(&epoch(), sides.into()).unwrap();
        assert_eq!(crate::delta::total_rows(&output.deltas), 500);
    }
    assert!(operator.memory_bytes() < 16 << 10, "{} bytes", operator.memory_bytes());
}
