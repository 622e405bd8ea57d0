//! Random rows within the watermark, against window functions in batch SQL.

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;
use crate::operators::oracle::{
    Fate, Multiset, Restarted, appended, batch_sql, cases, cut, fates, integrate, multiset,
};

const GAP: i64 = 5;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("t", crate::definition::TIMESTAMP_TYPE, true),
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn spec(keys: Vec<usize>) -> SessionWindowSpec {
    let time = |name: &str| Field::new(name, crate::definition::TIMESTAMP_TYPE, true);
    let input_schema = schema();
    let fields = input_schema.fields().iter().map(|field| field.as_ref().clone());
    let fields = fields.chain([time("e"), time("s")]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = vec![SessionColumn::End, SessionColumn::Start];
    SessionWindowSpec { keys, time: 0, gap_ms: GAP, columns, input_schema, schema }
}

/// Time, key, and a number that tells rows apart.
type Row = (i64, Option<u8>, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>();
    let keys = rows.iter().map(|row| row.1.map(|key| format!("k{key}"))).collect::<StringArray>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(keys),
        Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Every row with its session, the end first.
fn sessions(rows: &[Row], partition: &str) -> RecordBatch {
    let millisecond = "INTERVAL '5 milliseconds'";
    let sql = format!(
        "WITH marked AS (SELECT *, CASE WHEN t <= lag(t) OVER ({partition} ORDER BY t, v) + {millisecond}
           THEN 0 ELSE 1 END AS begins FROM s),
         numbered AS (SELECT *, sum(begins) OVER ({partition} ORDER BY t, v
           ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS n FROM marked),
         ended AS (SELECT *, {partition_n} AS p FROM numbered)
         SELECT t, k, v, max(t) OVER (PARTITION BY p, n) + {millisecond} AS e,
           min(t) OVER (PARTITION BY p, n) AS s FROM ended",
        partition_n = if partition.is_empty() { "''" } else { "coalesce(k, '')" },
    );
    let answer = batch_sql(&[("s", batch(rows))], &sql);
    arrow::compute::concat_batches(&answer[0].schema(), &answer).unwrap()
}

fn check(
    keys: Vec<usize>,
    partition: &str,
    rows: &[Row],
    cuts: &[(usize, i64)],
    fates: &[Fate],
) -> Result<(), TestCaseError> {
    let spec = spec(keys);
    let answer = sessions(rows, partition);
    let ends = answer.column(3).as_primitive::<TimestampMillisecondType>().clone();
    let mut operator = Restarted::new(&spec);
    let mut seen = Multiset::new();
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    for (number, (epoch, watermark)) in cut(&times, cuts, 100).into_iter().enumerate() {
        let fate = fates.get(number).copied().unwrap_or(Fate::Runs);
        let input = appended(batch(&rows[epoch]), 0, watermark);
        integrate(&mut seen, &operator.step(vec![input], fate));
        let over = ends.iter().map(|end| Some(end.is_some_and(|end| end < watermark.bound())));
        let expected = arrow::compute::filter_record_batch(&answer, &over.collect()).unwrap();
        prop_assert_eq!(&seen, &multiset(&[expected]));
    }
    prop_assert_eq!(operator.operator.memory_bytes() < 10_000, true);
    Ok(())
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..90_i64, prop::option::of(0..3_u8), 0..8_i64);
    prop::collection::vec(row, 1..60).prop_map(|mut rows| {
        // Out of order by a few gaps at most.
        rows.sort_by_key(|(time, _, late)| time + 2 * late);
        (0..).zip(rows).map(|(number, (time, key, _))| (time, key, number)).collect()
    })
}

proptest! {
    #![proptest_config(cases(96))]
    #[test]
    fn rows_come_out_with_their_session_when_it_is_over(
        rows in rows(),
        cuts in prop::collection::vec((0..20_usize, 0..12_i64), 0..8),
        fates in prop::collection::vec(fates(), 9),
    ) {
        check(vec![1], "PARTITION BY k", &rows, &cuts, &fates)?;
        check(vec![], "", &rows, &cuts, &fates)?;
    }
}

#[test]
fn a_row_may_join_two_sessions_and_the_end_itself_still_belongs() {
    let spec = spec(vec![]);
    let mut operator = Restarted::new(&spec);
    let mut step = |rows: &[Row], watermark| -> usize {
        let output = operator.step(vec![appended(batch(rows), 0, watermark)], Fate::Runs);
        output.iter().map(Delta::num_rows).sum()
    };
    assert_eq!(step(&[(0, None, 0), (9, None, 1)], Watermark::At(5)), 0);
    assert_eq!(step(&[(5, None, 2)], Watermark::At(14)), 0);
    assert_eq!(step(&[(14, None, 3)], Watermark::At(19)), 0);
    assert_eq!(step(&[], Watermark::At(20)), 4);
}

#[test]
fn what_is_held_stays_in_proportion_to_what_is_needed() {
    let spec = spec(vec![1]);
    let mut operator = spec.build().unwrap();
    // The session of key 0 goes on for ever, in every batch; those of key 1 end.
    for epoch in 0..400_i64 {
        let mut rows: Vec<Row> = (0..1_000).map(|n| (epoch * 20, Some(1), n)).collect();
        rows.extend((0..4).map(|n| (epoch * 20 + n * GAP, Some(0), n)));
        let input = appended(batch(&rows), 0, Watermark::At(epoch * 20));
        operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
    }
    // 400,000 rows of 40 bytes came, 1,600 and the last epoch's thousand are needed.
    let bytes = operator.memory_bytes();
    assert!(bytes < 6_000_000, "{bytes}");
    let input = appended(batch(&[]), 0, Watermark::End);
    let output = operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
    let rows: usize = output.deltas.iter().map(Delta::num_rows).sum();
    assert_eq!(rows, 1_600 + 1_000);
}

#[test]
fn a_lane_that_was_ahead_takes_no_rows_from_another() {
    let spec = spec(vec![1]);
    let mut saved = Vec::new();
    let mut operator = spec.build().unwrap();
    // What one lane kept in two snapshots, and between them what another lane had passed by then.
    for (time, passed) in [(0, 3), (5, 8)] {
        let other = SessionWindow { passed: Watermark::At(passed), ..fresh(&spec) };
        saved.extend({ other }.snapshot().unwrap());
        let input = appended(batch(&[(time, Some(1), time)]), 0, Watermark::At(passed));
        operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
        saved.extend(operator.snapshot().unwrap());
    }
    let mut operator = spec.build().unwrap();
    operator.restore(saved).unwrap();
    let input = appended(batch(&[]), 0, Watermark::End);
    let output = operator.step(&crate::operators::oracle::epoch(), vec![input]).unwrap();
    let mut seen = Multiset::new();
    integrate(&mut seen, &output.deltas);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.keys().all(|row| row.ends_with("00:00:00.010|1970-01-01T00:00:00")), "{seen:?}");
}

fn fresh(spec: &SessionWindowSpec) -> SessionWindow {
    SessionWindow {
        converter: RowConverter::new(vec![SortField::new(DataType::Utf8)]).unwrap(),
        sessions: Sessions::new(spec.gap_ms),
        store: Store::new(Arc::clone(&spec.input_schema)),
        passed: Watermark::Unknown,
        passed_saved: Watermark::Unknown,
        spec: spec.clone(),
    }
}
