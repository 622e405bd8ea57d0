//! Rows in random order within the watermark, against the same functions in batch SQL: what has come out
//! are rows of the batch answer, and in the end all of them.

use proptest::prelude::*;

use super::*;
use crate::delta::Delta;
use crate::operators::oracle::{
    Multiset, Restarted, appended, batch_sql, cases, fates, integrate, multiset,
};
use crate::operators::ordered_rows::tests::{Row, batch, row, schema, window_functions};

const UP: SortOptions = SortOptions { descending: false, nulls_first: false };

/// A function, its frame, and how far that reaches.
type Call = (&'static str, Option<RankFunction>, Reach);

const NOTHING: Reach = Reach { rows_back: 0, rows_ahead: 0, time_back: 0, time_ahead: 0 };

/// Of a total order, so that there is one answer.
const BY_ROWS: [Call; 8] = [
    ("lag(v)", None, Reach { rows_back: 1, ..NOTHING }),
    ("lag(v, 3, 7)", None, Reach { rows_back: 3, ..NOTHING }),
    ("lead(f)", None, Reach { rows_ahead: 1, ..NOTHING }),
    ("lead(v, 2)", None, Reach { rows_ahead: 2, ..NOTHING }),
    ("row_number()", Some(RankFunction::RowNumber), NOTHING),
    ("rank()", Some(RankFunction::Rank), NOTHING),
    ("dense_rank()", Some(RankFunction::DenseRank), NOTHING),
    ("count(*) ROWS", None, Reach { rows_back: 2, rows_ahead: 1, ..NOTHING }),
];

/// Of an order by time alone: rows of one time are peers.
const BY_TIME: [Call; 5] = [
    ("rank()", Some(RankFunction::Rank), NOTHING),
    ("dense_rank()", Some(RankFunction::DenseRank), NOTHING),
    ("sum(v % 1000) BACK", None, Reach { time_back: 3, ..NOTHING }),
    ("max(f) AROUND", None, Reach { time_back: 1, time_ahead: 2, ..NOTHING }),
    ("count(v) PEERS", None, NOTHING),
];

fn query(calls: &[Call], partition: &str, order: &str) -> String {
    let one = |(number, (call, ..)): (usize, &Call)| {
        let (call, frame) = call.split_once(") ").map_or((*call, ""), |(c, f)| (c, f));
        let frame = match frame {
            "ROWS" => "ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
            "BACK" => "RANGE BETWEEN INTERVAL '3 milliseconds' PRECEDING AND CURRENT ROW",
            "AROUND" => {
                "RANGE BETWEEN INTERVAL '1 milliseconds' PRECEDING AND INTERVAL '2 milliseconds' \
                 FOLLOWING"
            }
            "PEERS" => "RANGE BETWEEN CURRENT ROW AND CURRENT ROW",
            _ => "",
        };
        let call = call.trim_end_matches(')');
        format!("{call}) OVER ({partition} ORDER BY {order} {frame}) AS c{number}")
    };
    let calls: Vec<_> = calls.iter().enumerate().map(one).collect();
    format!("SELECT *, {} FROM t", calls.join(", "))
}

fn spec(calls: &[Call], sql: &str, keys: &[usize], order: &[usize]) -> OrderedWindowSpec {
    let input_schema = schema();
    let (windows, schema) = window_functions(sql);
    assert_eq!(windows.len(), calls.len());
    let functions = calls.iter().zip(windows).map(|((_, rank, _), window)| match rank {
        Some(rank) => OrderedFunction::Counted(*rank),
        None => OrderedFunction::Framed(window),
    });
    OrderedWindowSpec {
        partition_by: keys.to_vec(),
        order_by: order.iter().map(|column| (*column, UP)).collect(),
        functions: functions.collect(),
        reach: calls.iter().fold(NOTHING, |all, (.., reach)| all.max(*reach)),
        input_schema,
        schema,
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn what_comes_out_is_what_batch_says(
        epochs in prop::collection::vec((prop::collection::vec(row(), 0..12), fates()), 1..7),
        by_rows in prop::sample::subsequence(BY_ROWS.to_vec(), 1..4),
        by_time in prop::sample::subsequence(BY_TIME.to_vec(), 1..4),
        rows in any::<bool>(),
        keyed in any::<bool>(),
    ) {
        let (calls, order, columns): (_, _, &[usize]) = match rows {
            true => (by_rows, "t, k, v, f", &[1, 0, 2, 3]),
            false => (by_time, "t", &[1]),
        };
        let (partition, keys): (_, &[usize]) =
            if keyed { ("PARTITION BY k", &[0]) } else { ("", &[]) };
        let sql = query(&calls, partition, order);
        let spec = spec(&calls, &sql, keys, columns);
        let (mut all, mut seen): (Vec<Row>, _) = (Vec::new(), Multiset::new());
        let mut given = Vec::new();
        let mut operator = Restarted::new(&spec);
        let last = epochs.len() - 1;
        for (number, (rows, fate)) in epochs.iter().enumerate() {
            // Each epoch brings rows from its watermark on, some of them of later epochs.
            let bound = i64::try_from(number).unwrap() * 4;
            let rows: Vec<Row> = rows.iter().map(|r| (r.0, bound + r.1, r.2, r.3)).collect();
            all.extend(&rows);
            let next = if number == last { Watermark::End } else { Watermark::At(bound + 4) };
            let output = operator.step(vec![appended(batch(&rows), 1, next)], *fate);
            prop_assert!(output.iter().all(|delta| delta.weights.is_none()));
            integrate(&mut seen, &output);
            // Without a look ahead by rows all that the watermark makes final is out.
            if spec.reach.rows_ahead == 0 {
                let out: i64 = seen.values().sum();
                let is_due = |r: &&Row| r.1 < next.bound().saturating_sub(spec.reach.time_ahead);
                prop_assert_eq!(usize::try_from(out).unwrap(), all.iter().filter(is_due).count());
            }
            given.push(seen.clone());
        }
        let expected = multiset(&batch_sql(&[("t", batch(&all))], &sql));
        prop_assert_eq!(&seen, &expected);
        for given in given {
            prop_assert!(given.iter().all(|(row, n)| expected.get(row).is_some_and(|e| e >= n)));
        }
    }
}

#[test]
fn what_no_frame_reaches_is_forgotten() {
    let calls = [("sum(v % 1000) BACK", None, Reach { time_back: 3, ..NOTHING })];
    let sql = query(&calls, "PARTITION BY k", "t");
    let spec = spec(&calls, &sql, &[0], &[1]);
    let mut operator = spec.build().unwrap();
    let mut bytes = Vec::new();
    for epoch in 0..40_i64 {
        let rows: Vec<Row> = (0..20).map(|n| (Some(1), epoch * 20 + n, Some(n), None)).collect();
        let next = Watermark::At(epoch * 20 + 20);
        let input = appended(batch(&rows), 1, next);
        operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
        bytes.push(operator.memory_bytes());
    }
    assert_eq!(bytes[1], bytes[39], "{bytes:?}");
}

#[test]
fn rows_that_wait_are_not_looked_at() {
    let calls = [("lag(v)", None, Reach { rows_back: 1, ..NOTHING })];
    let sql = query(&calls, "PARTITION BY k", "t, k, v, f");
    let mut operator = spec(&calls, &sql, &[0], &[1, 0, 2, 3]).running().unwrap();
    let rows: Vec<Row> = (0..2_000).map(|n| (Some(1), n, Some(n), None)).collect();
    let epoch = crate::operators::oracle::epoch();
    operator.step(&epoch, vec![appended(batch(&rows), 1, Watermark::At(0))]).unwrap();
    for bound in 1..=200 {
        let row = (Some(1), 3_000 + bound, None, None);
        let input = appended(batch(&[row]), 1, Watermark::At(bound));
        let output = operator.step(&epoch, vec![input]).unwrap();
        assert_eq!(output.deltas.iter().map(Delta::num_rows).sum::<usize>(), 1);
    }
    assert!(operator.rows_read <= 3 * 200, "{} rows were looked at", operator.rows_read);
}
