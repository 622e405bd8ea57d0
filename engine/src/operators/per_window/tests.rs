//! Joins per window over random rows in random epochs, against batch SQL on the windows that are over,
//! or, for what is given as it comes, on all rows so far.

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::JoinType;
use proptest::prelude::*;

use super::*;
use crate::operators::hash_join::{HashJoinSpec, Side};
use crate::operators::oracle::{
    Fate, Multiset, Restarted, appended, batch_sql, cases, cut, fates, integrate, multiset,
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("w", crate::definition::TIMESTAMP_TYPE, true),
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

/// The types of join with how SQL says them, and which sides come out.
const TYPES: [(JoinType, &str, &[Side]); 8] = [
    (JoinType::Inner, "JOIN", &[Side::Left, Side::Right]),
    (JoinType::Left, "LEFT JOIN", &[Side::Left, Side::Right]),
    (JoinType::Right, "RIGHT JOIN", &[Side::Left, Side::Right]),
    (JoinType::Full, "FULL JOIN", &[Side::Left, Side::Right]),
    (JoinType::LeftSemi, "LEFT SEMI JOIN", &[Side::Left]),
    (JoinType::RightSemi, "RIGHT SEMI JOIN", &[Side::Right]),
    (JoinType::LeftAnti, "LEFT ANTI JOIN", &[Side::Left]),
    (JoinType::RightAnti, "RIGHT ANTI JOIN", &[Side::Right]),
];

fn spec(join_type: JoinType, sides: &[Side]) -> PerWindowSpec {
    let output: Vec<(Side, usize)> =
        sides.iter().flat_map(|side| (0..3).map(|column| (*side, column))).collect();
    let fields = output.iter().enumerate().map(|(number, (_, column))| {
        schema().field(*column).clone().with_name(format!("c{number}"))
    });
    let joined = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let join = HashJoinSpec {
        join_type,
        null_aware: false,
        left_keys: vec![1, 0],
        right_keys: vec![1, 0],
        null_equals_null: false,
        residual: None,
        output,
        left_schema: schema(),
        right_schema: schema(),
        schema: Arc::clone(&joined),
        updating: false,
    };
    let emission = if join.is_updating() { Emission::AtClose } else { Emission::AsItComes };
    PerWindowSpec {
        inner: Arc::new(join),
        times: vec![vec![0], vec![0]],
        times_out: sides.iter().enumerate().map(|(side, _)| (3 * side, 0)).collect(),
        emission,
        input_schemas: vec![schema(), schema()],
        schema: joined,
    }
}

/// Window, key, value, and whether it is of the left side.
type Row = (i64, Option<i64>, i64, bool);

fn batch(rows: &[Row], left: bool) -> RecordBatch {
    let of_side = || rows.iter().filter(|row| row.3 == left);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(of_side().map(|row| Some(row.0)).collect::<TimestampMillisecondArray>()),
        Arc::new(of_side().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(of_side().map(|row| Some(row.2)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn answer(rows: &[Row], sql: &str) -> Multiset {
    multiset(&batch_sql(&[("l", batch(rows, true)), ("r", batch(rows, false))], sql))
}

fn check(
    (join_type, join, sides): (JoinType, &str, &[Side]),
    rows: &[Row],
    cuts: &[(usize, i64)],
    fates: &[Fate],
) -> Result<(), TestCaseError> {
    let spec = spec(join_type, sides);
    let shown = sides.iter().map(|side| match side {
        Side::Left => "l.w, l.k, l.v",
        Side::Right => "r.w, r.k, r.v",
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {shown} FROM l {join} r ON l.k = r.k AND l.w = r.w");
    let mut operator = Restarted::new(&spec);
    let mut seen = Multiset::new();
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    for (number, (epoch, watermark)) in cut(&times, cuts, 20).into_iter().enumerate() {
        let fate = fates.get(number).copied().unwrap_or(Fate::Runs);
        let inputs = [true, false].map(|l| appended(batch(&rows[epoch.clone()], l), 0, watermark));
        let output = operator.step(inputs.into(), fate);
        prop_assert!(output.iter().all(|delta| delta.weights.is_none()));
        integrate(&mut seen, &output);
        let over = |row: &&Row| match spec.emission {
            Emission::AsItComes => true,
            Emission::AtClose => row.0 < watermark.bound(),
        };
        let so_far: Vec<Row> = rows[..epoch.end].iter().filter(over).copied().collect();
        prop_assert_eq!(&seen, &answer(&so_far, &sql));
    }
    prop_assert_eq!(operator.operator.memory_bytes() < 2_000, true);
    Ok(())
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..10_i64, prop::option::weighted(0.9, 0..3_i64), 0..4_i64, any::<bool>());
    prop::collection::vec(row, 1..50).prop_map(|mut rows| {
        rows.sort_by_key(|(window, _, value, _)| 2 * window + value);
        rows
    })
}

proptest! {
    #![proptest_config(cases(12))]
    #[test]
    fn joins_by_window_are_what_batch_says(
        rows in rows(),
        cuts in prop::collection::vec((0..20_usize, 0..4_i64), 0..6),
        fates in prop::collection::vec(fates(), 7),
    ) {
        for kind in TYPES {
            check(kind, &rows, &cuts, &fates)?;
        }
    }
}

#[test]
fn the_watermark_is_that_of_the_slower_side() {
    let spec = spec(JoinType::Inner, &[Side::Left, Side::Right]);
    let mut inputs = [Watermarks::none(3), Watermarks::none(3)];
    inputs[0].0[0] = Some(Watermark::At(7));
    assert!(!spec.watermarks(&inputs).any());
    inputs[1].0[0] = Some(Watermark::At(5));
    let watermarks = spec.watermarks(&inputs);
    assert_eq!([watermarks.get(0), watermarks.get(3)], [Some(Watermark::At(5)); 2]);
    assert_eq!(watermarks.get(1), None);
}
