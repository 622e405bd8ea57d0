//! The law for every operator that keeps state, on as many lanes as there happen to be after a restart,
//! from snapshots and from what they amount to (`Pipeline::restart`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMillisecondType;
use millstream_tests::pipeline::{Happening, Pipeline};

use crate::oracle::{DECLARATIONS, batch, check_seeds};

/// A continuous query and the batch query it must equal: together they have every operator.
const QUERIES: &[(&str, &str)] = &[
    (
        "SELECT STREAM k, SUM(v) AS s, COUNT(DISTINCT v) AS d FROM s GROUP BY k",
        "SELECT k, SUM(v), COUNT(DISTINCT v) FROM s GROUP BY k",
    ),
    (
        "SELECT STREAM k, COUNT(*) AS n FROM s WITH (state_ttl = '1 hour') GROUP BY k",
        "SELECT k, COUNT(*) FROM s GROUP BY k",
    ),
    (
        "SELECT STREAM k, STEP(s.ROWTIME BY INTERVAL '10' SECOND) AS w, SUM(v) AS s FROM s
         GROUP BY k, STEP(s.ROWTIME BY INTERVAL '10' SECOND)",
        "SELECT k, date_bin(INTERVAL '10 seconds', t), SUM(v) FROM s
         GROUP BY k, date_bin(INTERVAL '10 seconds', t)",
    ),
    (
        "SELECT STREAM window_start, k, COUNT(*) AS n, SUM(v) AS s
         FROM TABLE(HOP(TABLE s, DESCRIPTOR(t), INTERVAL '5' SECOND, INTERVAL '15' SECOND))
         GROUP BY window_start, window_end, k",
        "SELECT date_bin(INTERVAL '5 seconds', t) - o, k, COUNT(*), SUM(v)
         FROM s CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '5 seconds'),
           (INTERVAL '10 seconds')) AS x(o)
         GROUP BY date_bin(INTERVAL '5 seconds', t) - o, k",
    ),
    (
        "SELECT STREAM window_start, window_end, k, COUNT(*) AS n
         FROM TABLE(SESSION(TABLE s PARTITION BY k, DESCRIPTOR(t), INTERVAL '3' SECOND))
         GROUP BY window_start, window_end, k",
        "SELECT MIN(t), MAX(t) + INTERVAL '3 seconds', k, COUNT(*)
         FROM (SELECT t, k, SUM(CASE WHEN t > p + INTERVAL '3 seconds' THEN 1 ELSE 0 END)
                 OVER (PARTITION BY k ORDER BY t) AS session
               FROM (SELECT t, k, LAG(t) OVER (PARTITION BY k ORDER BY t) AS p FROM s))
         GROUP BY k, session",
    ),
    // A window is longer than the stream, so that a key has one.
    (
        "SELECT STREAM k, COUNT(*) AS n FROM s
         WINDOWED BY STAGGER (PARTITION BY k RANGE INTERVAL '1' HOUR)",
        "SELECT k, COUNT(*) FROM s GROUP BY k",
    ),
    (
        "SELECT STREAM t, k, SUM(v) OVER (PARTITION BY k ROWS 3 PRECEDING) AS s FROM s",
        "SELECT t, k, SUM(v) OVER (PARTITION BY k ORDER BY t
           ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM s",
    ),
    // What counts all rows in their order keeps what is below it on one lane.
    (
        "SELECT STREAM x.t, x.k, x.c, SUM(x.c) OVER (ROWS 3 PRECEDING) AS s
         FROM (SELECT STREAM t, k, COUNT(*) OVER (PARTITION BY k ROWS 2 PRECEDING) AS c FROM s) AS x",
        "SELECT t, k, c, SUM(c) OVER (ORDER BY t ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
         FROM (SELECT t, k, COUNT(*) OVER (PARTITION BY k ORDER BY t
                 ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS c FROM s)",
    ),
    (
        "SELECT STREAM k, t, ROW_NUMBER() OVER w AS n, LEAD(v, 2) OVER w AS l
         FROM s WINDOW w AS (PARTITION BY k ORDER BY t)",
        "SELECT k, t, ROW_NUMBER() OVER w, LEAD(v, 2) OVER w
         FROM s WINDOW w AS (PARTITION BY k ORDER BY t)",
    ),
    (
        "SELECT STREAM k, t, CUME_DIST() OVER (PARTITION BY k ORDER BY v) AS c FROM s",
        "SELECT k, t, CUME_DIST() OVER (PARTITION BY k ORDER BY v) FROM s",
    ),
    (
        "SELECT STREAM k, v, t, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v, t)
           AS n FROM s) WHERE n <= 3",
        "SELECT k, v, t, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v, t)
           AS n FROM s) WHERE n <= 3",
    ),
    (
        "SELECT STREAM k, v, t FROM (SELECT *, RANK() OVER (PARTITION BY k ORDER BY v DESC) AS n
           FROM s) WHERE n BETWEEN 2 AND 6",
        "SELECT k, v, t FROM (SELECT *, RANK() OVER (PARTITION BY k ORDER BY v DESC) AS n
           FROM s) WHERE n BETWEEN 2 AND 6",
    ),
    (
        "SELECT STREAM a.k, a.v AS av, b.v AS bv FROM s AS a JOIN r AS b ON a.k = b.k",
        "SELECT a.k, a.v, b.v FROM s AS a JOIN r AS b ON a.k = b.k",
    ),
    (
        "SELECT STREAM a.k, a.v AS av, b.v AS bv FROM s AS a FULL JOIN r AS b
           ON a.k = b.k AND a.v < b.v",
        "SELECT a.k, a.v, b.v FROM s AS a FULL JOIN r AS b ON a.k = b.k AND a.v < b.v",
    ),
    (
        "SELECT STREAM k, t FROM s WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = s.k)",
        "SELECT k, t FROM s WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = s.k)",
    ),
    // A side with one row for each window is on every lane.
    (
        "SELECT STREAM s.k, s.v FROM s JOIN (
           SELECT MAX(v) AS m, window_end AS e
           FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(t), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end) AS x
         ON s.v = x.m WHERE s.t BETWEEN x.e - INTERVAL '10' SECOND AND x.e",
        "SELECT s.k, s.v FROM s JOIN (
           SELECT MAX(v) AS m, date_bin(INTERVAL '10 seconds', t) + INTERVAL '10 seconds' AS e
           FROM s GROUP BY date_bin(INTERVAL '10 seconds', t)) AS x
         ON s.v = x.m WHERE s.t BETWEEN x.e - INTERVAL '10 seconds' AND x.e",
    ),
    (
        "SELECT STREAM s.t, s.k, d.name FROM s LEFT JOIN d ON s.k = d.k",
        "SELECT s.t, s.k, d.name FROM s LEFT JOIN d ON s.k = d.k",
    ),
    (
        "SELECT STREAM a.t, a.k, a.v AS av, b.v AS bv FROM s AS a FULL JOIN r AS b ON a.k = b.k
           AND a.t BETWEEN b.t - INTERVAL '8' SECOND AND b.t + INTERVAL '3' SECOND",
        "SELECT a.t, a.k, a.v, b.v FROM s AS a FULL JOIN r AS b ON a.k = b.k
           AND a.t BETWEEN b.t - INTERVAL '8 seconds' AND b.t + INTERVAL '3 seconds'",
    ),
    (
        "SELECT STREAM s.t, s.k, x.v FROM s LEFT JOIN r FOR SYSTEM_TIME AS OF s.t AS x ON s.k = x.k",
        "SELECT s.t, s.k, x.v FROM s LEFT JOIN
           (SELECT *, LEAD(t) OVER (PARTITION BY k ORDER BY t) AS until FROM r) AS x
         ON s.k = x.k AND x.t <= s.t AND (s.t < x.until OR x.until IS NULL)",
    ),
    (
        "SELECT STREAM a.t, a.k, a.v AS av, b.v AS bv
         FROM s OVER (ROWS 3 PRECEDING) AS a FULL JOIN r OVER (ROWS 1 PRECEDING) AS b ON a.k = b.k",
        "SELECT a.t, a.k, a.v, b.v FROM (SELECT *, LEAD(t, 4) OVER (ORDER BY t) AS u FROM s) AS a
         FULL JOIN (SELECT *, LEAD(t, 2) OVER (ORDER BY t) AS u FROM r) AS b ON a.k = b.k
           AND ((a.t <= b.t AND (b.t < a.u OR a.u IS NULL))
             OR (b.t <= a.t AND (a.t < b.u OR b.u IS NULL)))",
    ),
    (
        "SELECT STREAM a.t, a.k, b.v FROM s AS a LEFT JOIN r AS b
         ON a.k = b.k AND STEP(a.t BY INTERVAL '10' SECOND) = STEP(b.t BY INTERVAL '10' SECOND)",
        "SELECT a.t, a.k, b.v FROM s AS a LEFT JOIN r AS b
         ON a.k = b.k
           AND date_bin(INTERVAL '10 seconds', a.t) = date_bin(INTERVAL '10 seconds', b.t)",
    ),
    (
        "SELECT STREAM a.k, a.v AS av, b.v AS bv FROM s AS a JOIN r AS b
         ON a.k = b.k AND STEP(a.t BY INTERVAL '10' SECOND) = STEP(b.t BY INTERVAL '10' SECOND)",
        "SELECT a.k, a.v, b.v FROM s AS a JOIN r AS b
         ON a.k = b.k
           AND date_bin(INTERVAL '10 seconds', a.t) = date_bin(INTERVAL '10 seconds', b.t)",
    ),
    (
        "SELECT STREAM FLOOR(s.ROWTIME TO SECOND) AS w, k, v FROM s
         ORDER BY FLOOR(s.ROWTIME TO SECOND), v",
        "SELECT date_trunc('second', t), k, v FROM s",
    ),
    (
        "SELECT STREAM t AS ROWTIME, k, v FROM s ORDER BY t WITHIN INTERVAL '1' HOUR",
        "SELECT t, k, v FROM s",
    ),
    // What a model learns has no answer in batch: its rows do.
    (
        "SELECT STREAM k, v, COALESCE(score, 0) >= 0 AS is_scored
         FROM (SELECT k, v, ANOMALY_SCORE AS score
               FROM TABLE(RANDOM_CUT_FOREST(CURSOR(SELECT STREAM * FROM s), 10, 10, 1000, 1)))",
        "SELECT k, v, true FROM s",
    ),
    (
        "SELECT STREAM k FROM s UNION ALL SELECT STREAM p FROM (VALUES (1), (2)) AS x(p)",
        "SELECT k FROM s UNION ALL SELECT p FROM (VALUES (1), (2)) AS x(p)",
    ),
];

#[test]
fn every_operator_goes_on_with_other_lanes() {
    for (stream, batch) in QUERIES {
        check_seeds(stream, batch, 6);
    }
}

/// An operator that this file does not know would not be tested here.
#[test]
fn every_operator_that_keeps_state_is_in_a_query() {
    let planned = QUERIES.iter().flat_map(|(stream, _)| {
        let pipeline = Pipeline::new(DECLARATIONS, stream, 1);
        pipeline.operators()
    });
    let planned: BTreeSet<String> = planned.collect();
    let mut missing = Vec::new();
    let operators = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/operators");
    for file in fs::read_dir(operators).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let Some((_, after)) = source.split_once("impl OperatorSpec for ") else { continue };
        let name = after.split_whitespace().next().unwrap();
        if !source.contains("impl Linear for") && !planned.contains(name) {
            missing.push(name.to_owned());
        }
    }
    assert!(missing.is_empty(), "no query here has {missing:?}");
}

#[test]
fn a_sink_is_given_the_rows_of_all_lanes_in_the_order_of_their_time() {
    let queries = [
        "SELECT STREAM ROWTIME, k, COUNT(*) FROM s GROUP BY k, STEP(s.ROWTIME BY INTERVAL '10' SECOND)",
        "SELECT STREAM ROWTIME, SUM(v) OVER (PARTITION BY k ROWS 3 PRECEDING) AS n FROM s",
        "SELECT STREAM ROWTIME, k, COUNT(*) FROM s
         WINDOWED BY STAGGER (PARTITION BY k RANGE INTERVAL '1' MINUTE)",
    ];
    for query in queries {
        let mut pipeline = Pipeline::new(DECLARATIONS, query, 4);
        let schema = pipeline.stream("S").stream_schema();
        let event = |happening| ("S".to_owned(), "p".to_owned(), happening);
        let mut times: Vec<i64> = Vec::new();
        let mut take = |output: millstream_engine::executor::EpochOutput| {
            for delta in output.sinks.into_iter().flat_map(|(_, deltas)| deltas) {
                times.extend(
                    delta.batch.column(0).as_primitive::<TimestampMillisecondType>().values(),
                );
            }
        };
        for epoch in 0..4_i64 {
            let rows: Vec<_> = (0..500_i64)
                .map(|n| 1_541_066_400_000 + (epoch * 500 + n) * 700)
                .map(|time| (time, i32::try_from(time / 700 % 11).ok(), Some(1.0)))
                .collect();
            let rows = event(Happening::Rows(batch(&rows, &schema)));
            let events =
                if epoch == 0 { vec![event(Happening::Discovered), rows] } else { vec![rows] };
            take(pipeline.epoch(&events));
        }
        take(pipeline.end());
        assert!(times.len() > 100, "{query}: {} rows", times.len());
        assert!(times.is_sorted(), "{query}: {times:?}");
    }
}
