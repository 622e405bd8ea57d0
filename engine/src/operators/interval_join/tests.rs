//! Every type over random streams within their watermarks, against DataFusion's batch join: at the end
//! in full, and on the way no row that is not in it, and every pair at once.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator as Compare;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, JOIN_TYPES, Multiset, Restarted, TimedRow as Row, batch_sql, cases, fates, integrate,
    multiset, timed_batch as batch, timed_schema as schema,
};

const LOWEST: i64 = -5;
const HIGHEST: i64 = 3;

/// `l.t - r.t BETWEEN lowest AND highest`, on the numbers of the times.
fn condition() -> JoinFilter {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = ["l", "r"].map(|name| Field::new(name, time.clone(), true));
    let number = |name: &str, i| -> Arc<dyn PhysicalExpr> {
        Arc::new(CastExpr::new(Arc::new(Column::new(name, i)), DataType::Int64, None))
    };
    let literal = |value: i64| Arc::new(Literal::new(ScalarValue::from(value)));
    let binary =
        |left, op, right| -> Arc<dyn PhysicalExpr> { Arc::new(BinaryExpr::new(left, op, right)) };
    let distance = || binary(number("l", 0), Compare::Minus, number("r", 1));
    let low = binary(distance(), Compare::GtEq, literal(LOWEST));
    let high = binary(distance(), Compare::LtEq, literal(HIGHEST));
    let columns = JoinFilter::build_column_indices(vec![1], vec![1]);
    let both = binary(low, Compare::And, high);
    JoinFilter::new(both, columns, Arc::new(Schema::new(fields.to_vec())))
}

/// What the join is by beside the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    None,
    One,
    OneOrNull,
}

fn spec(join_type: JoinType, by: Keys) -> IntervalJoinSpec {
    let side = || TimedSide {
        schema: schema(),
        keys: if by == Keys::None { vec![] } else { vec![0] },
        time: 1,
        same_time: vec![],
    };
    let of = |side: Side| (0..3).map(move |column| (side, column));
    let mut fields = schema().fields().to_vec();
    let output: Vec<_> = match join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => of(Side::Left).collect(),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            of(Side::Right).collect()
        }
        _ => {
            fields.extend(schema().fields().to_vec());
            of(Side::Left).chain(of(Side::Right)).collect()
        }
    };
    if matches!(join_type, JoinType::LeftMark | JoinType::RightMark) {
        fields.push(Arc::new(Field::new("mark", DataType::Boolean, false)));
    }
    let schema = Arc::new(Schema::new(fields));
    let (lowest, highest) = (Some(LOWEST), Some(HIGHEST));
    let (left, right) = (side(), side());
    let null_equals_null = by == Keys::OneOrNull;
    let residual = Some(condition());
    IntervalJoinSpec {
        join_type,
        left,
        right,
        null_equals_null,
        residual,
        lowest,
        highest,
        few: None,
        output,
        schema,
    }
}

/// What DataFusion says of these rows.
fn answer(spec: &IntervalJoinSpec, left: &[Row], right: &[Row]) -> Multiset {
    let equal = match (spec.left.keys.is_empty(), spec.null_equals_null) {
        (true, _) => "true",
        (false, true) => "l.k IS NOT DISTINCT FROM r.k",
        (false, false) => "l.k = r.k",
    };
    let on = format!(
        "({equal}) AND CAST(l.t AS BIGINT) - CAST(r.t AS BIGINT) BETWEEN {LOWEST} AND {HIGHEST}"
    );
    let mark = |side: &str| {
        format!(
            "SELECT *, true FROM l {side} SEMI JOIN r ON {on} UNION ALL
             SELECT *, false FROM l {side} ANTI JOIN r ON {on}"
        )
    };
    let sql = match spec.join_type {
        JoinType::LeftMark => mark("LEFT"),
        JoinType::RightMark => mark("RIGHT"),
        other => {
            let words = match other {
                JoinType::Inner => "INNER",
                JoinType::Left => "LEFT",
                JoinType::Right => "RIGHT",
                JoinType::Full => "FULL",
                JoinType::LeftSemi => "LEFT SEMI",
                JoinType::RightSemi => "RIGHT SEMI",
                JoinType::LeftAnti => "LEFT ANTI",
                _ => "RIGHT ANTI",
            };
            format!("SELECT * FROM l {words} JOIN r ON {on}")
        }
    };
    multiset(&batch_sql(&[("l", batch(left)), ("r", batch(right))], &sql))
}

/// A stream: rows in the order they come, none more than `DELAY` behind the latest.
fn stream() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.85, 0..3_u8),
        prop::option::weighted(0.9, (0..4_i64, 0..=DELAY)),
        0..3_i64,
    );
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let mut latest = 0;
        let time = |step: (i64, i64), latest: &mut i64| {
            *latest += step.0;
            *latest - step.1
        };
        rows.into_iter().map(|(k, t, v)| (k, t.map(|t| time(t, &mut latest)), v)).collect()
    })
}

const DELAY: i64 = 4;

/// One side's rows, cut into epochs.
struct Feed {
    rows: Vec<Row>,
    given: usize,
}

impl Feed {
    /// The next rows, and the watermark behind them.
    fn next(&mut self, count: usize) -> Input {
        let upto = (self.given + count).min(self.rows.len());
        let rows = &self.rows[self.given..upto];
        self.given = upto;
        let latest = self.rows[..upto].iter().filter_map(|row| row.1).max();
        let watermark = latest.map_or(Watermark::Unknown, |t| Watermark::At(t - DELAY));
        Self::input(rows, watermark)
    }

    fn input(rows: &[Row], watermark: Watermark) -> Input {
        crate::operators::oracle::appended(batch(rows), 1, watermark)
    }
}

proptest! {
    #![proptest_config(cases(100))]
    #[test]
    fn each_type_is_the_batch_join_in_the_end(
        join in prop::sample::select(JOIN_TYPES.to_vec()),
        by in prop::sample::select(vec![Keys::None, Keys::One, Keys::OneOrNull]),
        (left, right) in (stream(), stream()),
        cuts in prop::collection::vec((0..12_usize, 0..12_usize, fates()), 0..12),
    ) {
        let spec = spec(join, by);
        let expected = answer(&spec, &left, &right);
        let mut operator = Restarted::new(&spec);
        let mut sides = [left, right].map(|rows| Feed { rows, given: 0 });
        let mut seen = Multiset::new();
        let all = usize::MAX >> 1;
        for (l, r, fate) in cuts.into_iter().chain([(all, all, Fate::Restart)]) {
            let inputs = vec![sides[0].next(l), sides[1].next(r)];
            let bounds = [0, 1].map(|side: usize| inputs[side].watermarks.get(1).unwrap());
            let output = operator.step(inputs, fate);
            prop_assert!(output.iter().all(|delta| delta.weights.is_none()));
            integrate(&mut seen, &output);
            for (row, times) in &seen {
                prop_assert!(expected.get(row) >= Some(times), "{row} came, and is not in the result");
            }
            // What is certain has come: rows so early that nothing will match them.
            let (own, other) = (bounds[0].bound(), bounds[1].bound());
            let open_from = own.min(other.saturating_add(LOWEST));
            let closed = |row: &&Row| row.1.is_none_or(|time| time < open_from);
            let given = sides[0].rows[..sides[0].given].iter();
            let closed: Vec<Row> = given.filter(closed).copied().collect();
            if join == JoinType::LeftAnti {
                let right = &sides[1].rows[..sides[1].given];
                for (row, times) in answer(&spec, &closed, right) {
                    prop_assert!(seen.get(&row) >= Some(&times), "{row} has not come yet");
                }
            }
            if join == JoinType::Inner {
                let [left, right] = [0, 1].map(|side: usize| &sides[side].rows[..sides[side].given]);
                prop_assert_eq!(&answer(&spec, left, right), &seen);
            }
        }
        let ends = [Feed::input(&[], Watermark::End), Feed::input(&[], Watermark::End)];
        integrate(&mut seen, &operator.step(ends.into(), Fate::Runs));
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn the_watermarks_free_both_sides() {
    let spec = spec(JoinType::Full, Keys::One);
    let mut operator = Restarted::new(&spec);
    let mut bytes = Vec::new();
    for e in 0..60_i64 {
        let rows: Vec<Row> = (0..500).map(|i| (Some(1), Some(e * 500 + i), i)).collect();
        let watermark = Watermark::At(e * 500 + 490);
        let inputs = vec![Feed::input(&rows, watermark), Feed::input(&rows[..100], watermark)];
        operator.step(inputs, if e % 9 == 8 { Fate::Restart } else { Fate::Snapshot });
        bytes.push(operator.operator.memory_bytes());
    }
    assert!(bytes[59] < bytes[9] * 2, "{bytes:?}");
    assert!(bytes[59] < 1 << 20, "{bytes:?}");
}

#[test]
fn the_output_has_the_watermark_of_what_can_still_match() {
    let inner = IntervalJoinSpec {
        left: TimedSide { same_time: vec![2], ..spec(JoinType::Inner, Keys::One).left },
        ..spec(JoinType::Inner, Keys::One)
    };
    let side = |at| Watermarks(vec![None, Some(Watermark::At(at)), None]);
    let (from_left, from_right) = (Some(Watermark::At(15)), Some(Watermark::At(20)));
    let expected = vec![None, from_left, from_left, None, from_right, None];
    assert_eq!(inner.watermarks(&[side(30), side(20)]).0, expected);
    let left = spec(JoinType::Left, Keys::One);
    assert_eq!(left.watermarks(&[side(30), side(20)]).0[4], None);
}
