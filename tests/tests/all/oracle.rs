//! The law: what a continuous query has given when its input ends is what the batch query gives for
//! all of the input — whatever the cut into epochs, the number of partitions and lanes, the order
//! (within the watermark), and however often it was stopped and restored in between.
//!
//! The batch query is written for DataFusion and does not pass through our parser and planner. Every
//! failure names its seed; `MILLSTREAM_SEED=n` runs that one alone, `n..m` as many fresh ones.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use millstream_engine::definition::{RelationDef, TIMESTAMP_TYPE};
use millstream_engine::executor::EpochOutput;
use millstream_tests::pipeline::{Event, Happening, Pipeline};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::law::{seeds, texts};

/// How many seeds each query runs with.
const SEEDS: u64 = 25;

/// How far behind the newest row of its partition a row may come, in milliseconds.
const DELAY_MS: i64 = 5_000;

pub(crate) const DECLARATIONS: &str = "
CREATE STREAM s (t TIMESTAMP, k INTEGER, v DOUBLE, WATERMARK FOR t AS t - INTERVAL '5' SECOND);
CREATE STREAM r (t TIMESTAMP, k INTEGER, v DOUBLE, WATERMARK FOR t AS t - INTERVAL '5' SECOND);
CREATE TABLE d (k INTEGER, name VARCHAR(8)) WITH (connector = 'file', path = 'd.csv');
CREATE STREAM middle (k INTEGER, v DOUBLE);
CREATE PUMP p AS INSERT INTO middle SELECT STREAM k, v + 1 FROM s WHERE k <> 2;
CREATE PUMP q AS INSERT INTO middle SELECT STREAM k, v FROM r WHERE v > 0;
";

/// Rows as they come: partitions of rows in the order of their arrival.
type Partitions = Vec<Vec<(i64, Option<i32>, Option<f64>)>>;

/// A random stream: up to four partitions, each out of order by no more than the watermark allows. No
/// two rows have the same time, so that a batch window sees the same rows in front of a row.
fn random_stream(rng: &mut StdRng, taken: &mut HashSet<i64>) -> Partitions {
    let partitions = rng.random_range(1..=4);
    let mut partition = || {
        let mut newest: i64 = 1_541_066_400_000 + rng.random_range(0..20_000);
        let rows = rng.random_range(0..120);
        (0..rows)
            .map(|_| {
                newest += rng.random_range(0..1_500);
                let mut time = newest - rng.random_range(0..=DELAY_MS);
                while !taken.insert(time) {
                    time += 1;
                }
                newest = newest.max(time);
                let key = rng.random_bool(0.95).then(|| rng.random_range(0..6));
                let value = rng.random_bool(0.9).then(|| f64::from(rng.random_range(-50..50)));
                (time, key, value)
            })
            .collect()
    };
    (0..partitions).map(|_| partition()).collect()
}

/// All rows of a stream as a batch of `schema`; columns other than its three are NULL, and `ROWTIME` is
/// the time.
pub(crate) fn batch(rows: &[(i64, Option<i32>, Option<f64>)], schema: &SchemaRef) -> RecordBatch {
    let times: ArrayRef =
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>());
    let column = |field: &Arc<Field>| -> ArrayRef {
        match field.name().to_uppercase().as_str() {
            "T" | "ROWTIME" => Arc::clone(&times),
            "K" => Arc::new(rows.iter().map(|row| row.1).collect::<Int32Array>()),
            "V" => Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
            _ => arrow::array::new_null_array(field.data_type(), rows.len()),
        }
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect()).unwrap()
}

fn table() -> RecordBatch {
    let names = [(0, "zero"), (1, "one"), (3, "three"), (3, "drei")];
    let keys: ArrayRef = Arc::new(names.iter().map(|(k, _)| Some(*k)).collect::<Int32Array>());
    let texts: ArrayRef = Arc::new(names.iter().map(|(_, n)| Some(*n)).collect::<StringArray>());
    RecordBatch::try_from_iter([("K", keys), ("NAME", texts)]).unwrap()
}

/// Adds the changes of an epoch to a multiset of rows.
fn add(output: EpochOutput, sum: &mut BTreeMap<String, i64>) {
    assert!(output.bad.is_empty(), "nothing is late or bad: {:?}", output.bad);
    for delta in output.sinks.into_iter().flat_map(|(_, deltas)| deltas) {
        for (row, text) in texts(&delta.batch).into_iter().enumerate() {
            *sum.entry(text).or_default() += delta.weights.as_ref().map_or(1, |w| w.value(row));
        }
    }
}

/// What the continuous query gives in the end, over a random cut into epochs.
fn continuous(
    query: &str,
    streams: &[(&str, &Partitions)],
    rng: &mut StdRng,
) -> BTreeMap<String, i64> {
    let mut pipeline = Pipeline::new(DECLARATIONS, query, rng.random_range(1..=4));
    pipeline.load("D", table());
    let partitions = streams.iter().flat_map(|(stream, partitions)| {
        partitions
            .iter()
            .enumerate()
            .map(move |(n, rows)| (*stream, format!("p{n}"), rows.as_slice()))
    });
    let mut open: Vec<(&str, String, &[_])> = partitions.collect();
    let event = |stream: &str, partition: &String, happening| -> Event {
        (stream.to_owned(), partition.clone(), happening)
    };
    let discovered = open.iter().map(|(s, p, _)| event(s, p, Happening::Discovered));
    let mut events: Vec<Event> = discovered.collect();
    let mut sum = BTreeMap::new();
    let chunk_max = rng.random_range(1..=40);
    while !open.is_empty() {
        for _ in 0..rng.random_range(0..6) {
            if open.is_empty() {
                break;
            }
            let chosen = rng.random_range(0..open.len());
            let (stream, partition, rows) = &mut open[chosen];
            let (now, later) = rows.split_at(rng.random_range(0..=rows.len().min(chunk_max)));
            let schema = pipeline.stream(stream).stream_schema();
            events.push(event(stream, partition, Happening::Rows(batch(now, &schema))));
            *rows = later;
            match later.iter().map(|row| row.0).min() {
                None => {
                    events.push(event(stream, partition, Happening::Finished));
                    open.remove(chosen);
                }
                Some(bound) if rng.random_bool(0.1) => {
                    events.push(event(stream, partition, Happening::Bound(bound)));
                }
                Some(_) => {}
            }
        }
        add(pipeline.epoch(&std::mem::take(&mut events)), &mut sum);
        if rng.random_bool(0.05) {
            pipeline.restart();
        }
    }
    add(pipeline.end(), &mut sum);
    sum.retain(|_, weight| *weight != 0);
    sum
}

/// What DataFusion says the result is.
fn oracle(query: &str, streams: &[(&str, &Partitions)]) -> BTreeMap<String, i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let fields = vec![
            field("t", TIMESTAMP_TYPE),
            field("k", DataType::Int32),
            field("v", DataType::Float64),
        ];
        let schema = Arc::new(Schema::new(fields));
        for (name, partitions) in streams {
            let rows = batch(&partitions.concat(), &schema);
            let table = MemTable::try_new(Arc::clone(&schema), vec![vec![rows]]).unwrap();
            context.register_table(name.to_lowercase(), Arc::new(table)).unwrap();
        }
        let d = table();
        let d = RecordBatch::try_from_iter([
            ("k", Arc::clone(d.column(0))),
            ("name", Arc::clone(d.column(1))),
        ]);
        context.register_batch("d", d.unwrap()).unwrap();
        let batches = context.sql(query).await.unwrap().collect().await.unwrap();
        let mut sum = BTreeMap::new();
        batches.iter().flat_map(texts).for_each(|text| *sum.entry(text).or_default() += 1);
        sum
    })
}

/// Runs both queries on the same random input, for many seeds.
pub(crate) fn check(stream_query: &str, batch_query: &str) {
    check_seeds(stream_query, batch_query, SEEDS);
}

/// The same for this many seeds.
pub(crate) fn check_seeds(stream_query: &str, batch_query: &str, count: u64) {
    let mut rows = 0;
    for seed in seeds(count) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut taken = HashSet::new();
        let (s, r) = (random_stream(&mut rng, &mut taken), random_stream(&mut rng, &mut taken));
        let streams = [("S", &s), ("R", &r)];
        let expected = oracle(batch_query, &streams);
        let given = continuous(stream_query, &streams, &mut rng);
        rows += expected.len();
        let missing: Vec<_> =
            expected.iter().filter(|(row, n)| given.get(*row) != Some(n)).collect();
        let extra: Vec<_> = given.iter().filter(|(row, n)| expected.get(*row) != Some(n)).collect();
        let first =
            |rows: &[(&String, &i64)]| format!("{:?}", rows.iter().take(5).collect::<Vec<_>>());
        assert!(
            missing.is_empty() && extra.is_empty(),
            "MILLSTREAM_SEED={seed}: {stream_query}\n{} rows missing: {}\n{} rows too many: {}",
            missing.len(),
            first(&missing),
            extra.len(),
            first(&extra),
        );
    }
    assert!(rows > 0, "the query gives nothing, so nothing is compared");
}

#[test]
fn filter_and_project() {
    check(
        "SELECT STREAM s.ROWTIME, k + 1 AS k, v * 2 AS w FROM s WHERE v > 10 OR k IS NULL",
        "SELECT t, k + 1, v * 2 FROM s WHERE v > 10 OR k IS NULL",
    );
}

#[test]
fn union_all() {
    check(
        "SELECT STREAM k, v FROM s UNION ALL SELECT STREAM k, v FROM r WHERE k = 3",
        "SELECT k, v FROM s UNION ALL SELECT k, v FROM r WHERE k = 3",
    );
}

#[test]
fn tumbling_window() {
    check(
        "SELECT STREAM k, STEP(s.ROWTIME BY INTERVAL '10' SECOND) AS w, COUNT(*) AS n,
           COUNT(v) AS m, SUM(v) AS s, MIN(v) AS lo, MAX(v) AS hi, AVG(v) AS a
         FROM s GROUP BY k, STEP(s.ROWTIME BY INTERVAL '10' SECOND)",
        "SELECT k, date_bin(INTERVAL '10 seconds', t), COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v),
           AVG(v)
         FROM s GROUP BY k, date_bin(INTERVAL '10 seconds', t)",
    );
}

#[test]
fn tumbling_window_without_a_key() {
    check(
        "SELECT STREAM FLOOR(s.ROWTIME TO MINUTE) AS w, COUNT(*) AS n FROM s
         GROUP BY FLOOR(s.ROWTIME TO MINUTE) HAVING COUNT(*) > 2",
        "SELECT date_trunc('minute', t), COUNT(*) FROM s GROUP BY date_trunc('minute', t)
         HAVING COUNT(*) > 2",
    );
}

#[test]
fn tumbling_window_over_pumps() {
    check(
        "SELECT STREAM k, STEP(middle.ROWTIME BY INTERVAL '7' SECOND) AS w, SUM(v) AS s
         FROM middle GROUP BY k, STEP(middle.ROWTIME BY INTERVAL '7' SECOND)",
        "SELECT k, date_bin(INTERVAL '7 seconds', t), SUM(v)
         FROM (SELECT t, k, v + 1 AS v FROM s WHERE k <> 2
               UNION ALL SELECT t, k, v FROM r WHERE v > 0)
         GROUP BY k, date_bin(INTERVAL '7 seconds', t)",
    );
}

#[test]
fn sliding_window() {
    check(
        "SELECT STREAM t, k, COUNT(*) OVER w AS n, SUM(v) OVER w AS s, MIN(v) OVER w AS lo,
           MAX(v) OVER w AS hi, AVG(v) OVER w AS a
         FROM s WINDOW w AS (PARTITION BY k RANGE INTERVAL '30' SECOND PRECEDING)",
        // Not by DataFusion's own sliding frame: its MIN keeps a value when only NULLs are left.
        "SELECT a.t, a.k, COUNT(*), SUM(b.v), MIN(b.v), MAX(b.v), AVG(b.v) FROM s AS a JOIN s AS b
           ON (a.k IS NOT DISTINCT FROM b.k)
           AND b.t <= a.t AND b.t >= a.t - INTERVAL '30 seconds'
         GROUP BY a.t, a.k",
    );
}

#[test]
fn sliding_window_of_rows() {
    check(
        "SELECT STREAM t, k, SUM(v) OVER (PARTITION BY k ROWS 3 PRECEDING) AS s FROM s",
        "SELECT t, k, SUM(v) OVER (PARTITION BY k ORDER BY t
           ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM s",
    );
}

#[test]
fn first_rows_of_each_key() {
    check(
        "SELECT STREAM k, v, t, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, t)
           AS n FROM s) WHERE n <= 3 AND v < 40",
        "SELECT k, v, t, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, t)
           AS n FROM s) WHERE n <= 3 AND v < 40",
    );
}

#[test]
fn latest_row_of_each_key_over_an_updating_join() {
    check(
        "SELECT STREAM k, av, bv FROM (SELECT *, RANK() OVER (PARTITION BY k ORDER BY bt DESC, av) AS n
           FROM (SELECT a.k, a.v AS av, b.v AS bv, b.t AS bt FROM s AS a LEFT JOIN r AS b
             ON a.k = b.k AND a.v < b.v)) WHERE n <= 2",
        "SELECT k, av, bv FROM (SELECT *, RANK() OVER (PARTITION BY k ORDER BY bt DESC, av) AS n
           FROM (SELECT a.k, a.v AS av, b.v AS bv, b.t AS bt FROM s AS a LEFT JOIN r AS b
             ON a.k = b.k AND a.v < b.v)) WHERE n <= 2",
    );
}

#[test]
fn first_rows_of_each_window() {
    check(
        "SELECT STREAM w, k, v FROM (SELECT *, DENSE_RANK() OVER (PARTITION BY w, k ORDER BY v) AS n
           FROM (SELECT STEP(s.ROWTIME BY INTERVAL '20' SECOND) AS w, k, v FROM s)) WHERE n <= 2",
        "SELECT w, k, v FROM (SELECT *, DENSE_RANK() OVER (PARTITION BY w, k ORDER BY v) AS n
           FROM (SELECT date_bin(INTERVAL '20 seconds', t) AS w, k, v FROM s)) WHERE n <= 2",
    );
}

#[test]
fn order_by_limit() {
    check(
        "SELECT STREAM k, SUM(v) AS s FROM s GROUP BY k ORDER BY SUM(v) DESC, k LIMIT 2 OFFSET 1",
        "SELECT k, SUM(v) FROM s GROUP BY k ORDER BY SUM(v) DESC, k LIMIT 2 OFFSET 1",
    );
}

#[test]
fn window_functions_in_the_order_of_time() {
    check(
        "SELECT STREAM k, t, v, LAG(v, 2) OVER w AS l, ROW_NUMBER() OVER w AS n,
           SUM(v) OVER (PARTITION BY k ORDER BY t
             RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND INTERVAL '1' SECOND FOLLOWING) AS s
         FROM s WINDOW w AS (PARTITION BY k ORDER BY t)",
        "SELECT k, t, v, LAG(v, 2) OVER w, ROW_NUMBER() OVER w,
           SUM(v) OVER (PARTITION BY k ORDER BY t
             RANGE BETWEEN INTERVAL '3 seconds' PRECEDING AND INTERVAL '1 second' FOLLOWING)
         FROM s WINDOW w AS (PARTITION BY k ORDER BY t)",
    );
}

#[test]
fn window_functions_in_any_order() {
    check(
        "SELECT STREAM k, t, v, LAG(v) OVER (PARTITION BY k ORDER BY t) AS l,
           CUME_DIST() OVER (PARTITION BY k ORDER BY v) AS c,
           COUNT(*) OVER (ORDER BY t RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW) AS n
         FROM s",
        "SELECT k, t, v, LAG(v) OVER (PARTITION BY k ORDER BY t),
           CUME_DIST() OVER (PARTITION BY k ORDER BY v),
           COUNT(*) OVER (ORDER BY t RANGE BETWEEN INTERVAL '3 seconds' PRECEDING AND CURRENT ROW)
         FROM s",
    );
}

#[test]
fn join_of_two_streams() {
    check(
        "SELECT STREAM a.k, a.v AS av, b.v AS bv FROM s AS a JOIN r AS b ON a.k = b.k AND a.v < b.v",
        "SELECT a.k, a.v, b.v FROM s AS a JOIN r AS b ON a.k = b.k AND a.v < b.v",
    );
}

#[test]
fn inner_and_left_join_with_a_table() {
    check(
        "SELECT STREAM s.t, s.k, d.name FROM s JOIN d ON s.k = d.k WHERE s.v > 0",
        "SELECT s.t, s.k, d.name FROM s JOIN d ON s.k = d.k WHERE s.v > 0",
    );
    check(
        "SELECT STREAM s.t, s.k, d.name FROM s LEFT JOIN d ON s.k = d.k",
        "SELECT s.t, s.k, d.name FROM s LEFT JOIN d ON s.k = d.k",
    );
}

/// The comparison itself can fail: a wrong batch query is noticed for every shape of difference.
#[test]
#[should_panic(expected = "MILLSTREAM_SEED=")]
fn a_difference_is_seen() {
    check("SELECT STREAM k, v FROM s WHERE v > 10", "SELECT k, v FROM s WHERE v > 11");
}

/// The relation the streams of this file declare is the one [`batch`] fills.
#[test]
fn rowtime_is_the_declared_column() {
    let pipeline = Pipeline::new(DECLARATIONS, "SELECT STREAM k FROM s", 1);
    let def: &RelationDef = pipeline.stream("S");
    let rows = batch(&[(7, Some(1), None)], &def.stream_schema());
    assert_eq!(rows.column_by_name("T"), rows.column_by_name("ROWTIME"));
}
