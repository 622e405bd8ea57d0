//! Random streams within their watermarks, against a batch query over the versions and when each ends.

use arrow::datatypes::Schema;
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, TimedRow as Row, appended, batch_sql, cases, fates, integrate,
    multiset, timed_batch as batch, timed_schema as schema,
};

const DELAY: i64 = 4;

fn spec(outer: bool) -> TemporalJoinSpec {
    let side = || TimedSide { schema: schema(), keys: vec![0], time: 1, same_time: Vec::new() };
    let of = |side: Side| (0..3).map(move |column| (side, column));
    let fields = [schema(), schema()].map(|schema| schema.fields().to_vec()).concat();
    TemporalJoinSpec {
        outer,
        left: side(),
        right: side(),
        null_equals_null: false,
        residual: None,
        output: of(Side::Left).chain(of(Side::Right)).collect(),
        schema: Arc::new(Schema::new(fields)),
    }
}

fn answer(outer: bool, left: &[Row], right: &[Row]) -> Multiset {
    let join = if outer { "LEFT JOIN" } else { "JOIN" };
    let sql = format!(
        "SELECT l.k, l.t, l.v, r.k, r.t, r.v FROM l {join}
           (SELECT *, LEAD(t) OVER (PARTITION BY k ORDER BY t) AS until FROM r WHERE t IS NOT NULL) r
         ON l.k = r.k AND r.t <= l.t AND (l.t < r.until OR r.until IS NULL)"
    );
    multiset(&batch_sql(&[("l", batch(left)), ("r", batch(right))], &sql))
}

/// Rows in the order they come, none more than `DELAY` behind the latest.
fn stream(keys: u8) -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.9, 0..keys),
        prop::option::weighted(0.9, (0..4_i64, 0..=DELAY)),
        0..100_i64,
    );
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let mut latest = 0;
        let mut time = |(step, back): (i64, i64)| {
            latest += step;
            latest - back
        };
        rows.into_iter().map(|(k, t, v)| (k, t.map(&mut time), v)).collect()
    })
}

/// The versions of a key have different times, so that batch knows the latest as well.
fn versions() -> impl Strategy<Value = Vec<Row>> {
    stream(3).prop_map(|rows| {
        let mut seen = std::collections::HashSet::new();
        rows.into_iter().filter(|row| row.1.is_none() || seen.insert((row.0, row.1))).collect()
    })
}

fn next(rows: &[Row], given: &mut usize, count: usize) -> Input {
    let upto = given.saturating_add(count).min(rows.len());
    let new = batch(&rows[*given..upto]);
    *given = upto;
    let latest = rows[..upto].iter().filter_map(|row| row.1).max();
    appended(new, 1, latest.map_or(Watermark::Unknown, |t| Watermark::At(t - DELAY)))
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn each_row_finds_the_version_of_its_time(
        outer in any::<bool>(),
        (left, right) in (stream(3), versions()),
        cuts in prop::collection::vec((0..12_usize, 0..12_usize, fates()), 0..6),
    ) {
        let spec = spec(outer);
        let expected = answer(outer, &left, &right);
        let mut operator = Restarted::new(&spec);
        let (mut given, mut seen) = ([0, 0], Multiset::new());
        for (l, r, fate) in cuts.into_iter().chain([(usize::MAX, usize::MAX, Fate::Restart)]) {
            let [of_left, of_right] = &mut given;
            let inputs = vec![next(&left, of_left, l), next(&right, of_right, r)];
            let bound = inputs[1].watermarks.get(1).map_or(i64::MIN, Watermark::bound);
            let output = operator.step(inputs, fate);
            prop_assert!(output.iter().all(|delta| delta.weights.is_none()));
            integrate(&mut seen, &output);
            // What the versions' watermark has passed has come, and nothing else.
            let passed = left[..given[0]].iter().filter(|row| row.1.is_none_or(|t| t < bound));
            let keyless = left[..given[0]].iter().filter(|row| {
                row.0.is_none() && row.1.is_some_and(|t| t >= bound)
            });
            let closed: Vec<Row> = passed.chain(keyless).copied().collect();
            prop_assert_eq!(&seen, &answer(outer, &closed, &right[..given[1]]));
        }
        let nothing = || appended(batch(&[]), 1, Watermark::End);
        integrate(&mut seen, &operator.step(vec![nothing(), nothing()], Fate::Runs));
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn of_versions_with_one_time_the_last_counts() {
    let spec = spec(false);
    let mut operator = Restarted::new(&spec);
    let versions = [(Some(1), Some(5), 1), (Some(1), Some(5), 2), (Some(1), Some(9), 3)];
    let inputs = vec![
        appended(batch(&[(Some(1), Some(6), 0)]), 1, Watermark::At(6)),
        appended(batch(&versions), 1, Watermark::At(9)),
    ];
    let mut seen = Multiset::new();
    integrate(&mut seen, &operator.step(inputs, Fate::Restart));
    assert_eq!(seen.len(), 1);
    assert!(seen.keys().all(|row| row.ends_with("|2")), "{seen:?}");
}

#[test]
fn old_versions_and_rows_that_came_out_are_freed() {
    let spec = spec(true);
    let mut operator = Restarted::new(&spec);
    let mut bytes = Vec::new();
    for e in 0..80_i64 {
        let rows: Vec<Row> =
            (0..500).map(|i| (Some(u8::try_from(i % 7).unwrap()), Some(e * 500 + i), i)).collect();
        let side = || appended(batch(&rows), 1, Watermark::At(e * 500 + 490));
        let fate = if e % 9 == 8 { Fate::Restart } else { Fate::Snapshot };
        operator.step(vec![side(), side()], fate);
        bytes.push(operator.operator.memory_bytes());
    }
    assert!(bytes[79] < bytes[9] * 2, "{bytes:?}");
}
