//! The models of the developer guide as an application runs them (E19 to E21): what holds of their scores,
//! whatever they are.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use millstream_tests::program::Program;
use serde_json::Value;

/// The rows, as JSON, that `statements` give for the records in `s.json`.
fn rows(folder: &Path, records: &str, statements: &str) -> Vec<Value> {
    fs::write(folder.join("s.json"), records).unwrap();
    let finished = Program::in_folder(folder).succeed(&["sql", "--format", "json", statements]);
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

/// Rows of two numbers around their norm; from the 300th on every tenth `Hi` is far above it, and
/// above those before.
fn around_a_norm() -> String {
    (0..420).fold(String::new(), |mut records, row| {
        let hi =
            if row >= 300 && row % 10 == 0 { 190 + (row - 300) * 9 } else { 60 + row * 37 % 41 };
        let lo = 10 + row * 13 % 7;
        writeln!(records, r#"{{"Hi": {hi}, "Lo": {lo}, "Level": "l{row}"}}"#).unwrap();
        records
    })
}

const SOURCE: &str = r#"CREATE STREAM "SOURCE_SQL_STREAM_001" ("Hi" INTEGER, "Lo" INTEGER, "Level" VARCHAR(20))
  WITH (connector = 'file', path = 's.json', ordered = 'true');"#;

#[test]
fn e19_scores_are_of_all_rows_and_higher_where_rows_are_unlike_others() {
    let folder = tempfile::tempdir().unwrap();
    let statements = format!(
        r#"{SOURCE} SELECT STREAM "Hi", "Level", ANOMALY_SCORE FROM TABLE(RANDOM_CUT_FOREST(
           CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001")));"#
    );
    let rows = rows(folder.path(), &around_a_norm(), &statements);
    assert_eq!(rows.len(), 420);
    let scores: Vec<f64> = rows.iter().map(|row| number(&row["ANOMALY_SCORE"])).collect();
    assert!(scores[..256].iter().all(|score| *score == 0.0), "the first sample scores nothing");
    assert_eq!(rows[7]["Level"], "l7", "what is no number is passed on");
    let mean = |unlike: bool| {
        let of = rows.iter().zip(&scores).skip(300);
        let of: Vec<f64> =
            of.filter(|(row, _)| (number(&row["Hi"]) > 150.0) == unlike).map(|(_, s)| *s).collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    assert!(mean(true) > 1.3 * mean(false), "{} and {}", mean(true), mean(false));
}

#[test]
fn e20_the_shares_of_the_columns_add_up_to_the_score() {
    let folder = tempfile::tempdir().unwrap();
    let statements = format!(
        r#"{SOURCE} SELECT STREAM "Hi", "Lo", "Level", ANOMALY_SCORE, ANOMALY_EXPLANATION
           FROM TABLE(RANDOM_CUT_FOREST_WITH_EXPLANATION(
           CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 100, 256, 100000, 1, true));"#
    );
    let rows = rows(folder.path(), &around_a_norm(), &statements);
    assert_eq!(rows.len(), 420);
    let mut unlike = 0;
    for row in &rows {
        let explained: Value =
            serde_json::from_str(row["ANOMALY_EXPLANATION"].as_str().unwrap()).unwrap();
        let columns: Vec<&String> = explained.as_object().unwrap().keys().collect();
        assert_eq!(columns, ["Hi", "Lo"], "only numbers are explained");
        let share = |column: &str| {
            let share = explained[column]["ATTRIBUTION_SCORE"].as_str().unwrap();
            assert_eq!(share.split_once('.').unwrap().1.len(), 4, "{share}");
            share.parse::<f64>().unwrap()
        };
        let score = number(&row["ANOMALY_SCORE"]);
        assert!((share("Hi") + share("Lo") - score).abs() < 0.001, "{row}");
        for column in ["Hi", "Lo"] {
            assert!(["HIGH", "LOW"].contains(&explained[column]["DIRECTION"].as_str().unwrap()));
            assert!(number(&explained[column]["STRENGTH"]) >= 0.0);
        }
        if number(&row["Hi"]) > 150.0 && score > 0.0 {
            unlike += 1;
            assert_eq!(explained["Hi"]["DIRECTION"], "HIGH", "{row}");
            assert!(share("Hi") > share("Lo"), "{row}");
        }
    }
    assert!(unlike >= 10, "{unlike}");
}

#[test]
fn e21_a_dense_square_is_in_a_reported_rectangle() {
    let folder = tempfile::tempdir().unwrap();
    // Points far apart, and forty in a square of a tenth.
    let records = (0..240).fold(String::new(), |mut records, row: i32| {
        let (x, y) = if row % 6 == 0 && row >= 60 {
            let step = f64::from(row / 6 % 5) * 0.02;
            (5.0 + step, 5.0 + f64::from(row / 30 % 5) * 0.02)
        } else {
            (f64::from(row * 37 % 241), f64::from(row * 91 % 239) + 20.0)
        };
        writeln!(records, r#"{{"x": {x}, "y": {y}, "tag": "t{row}"}}"#).unwrap();
        records
    });
    let statements = r#"CREATE STREAM "SOURCE_SQL_STREAM_001" ("x" DOUBLE, "y" DOUBLE, "tag" VARCHAR(4))
          WITH (connector = 'file', path = 's.json', ordered = 'true');
        CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" ("x" DOUBLE, "y" DOUBLE, "tag" VARCHAR(4), HOTSPOTS_RESULT VARCHAR(10000));
        CREATE OR REPLACE PUMP "HOT_PUMP" AS INSERT INTO "DESTINATION_SQL_STREAM"
          SELECT "x", "y", "tag", "HOTSPOTS_RESULT" FROM TABLE (HOTSPOTS(
            CURSOR(SELECT STREAM "x", "y", "tag" FROM "SOURCE_SQL_STREAM_001"), 1000, 0.2, 17));
        SELECT STREAM * FROM "DESTINATION_SQL_STREAM";"#;
    let rows = rows(folder.path(), &records, statements);
    assert_eq!(rows.len(), 240, "a row for each row");
    let spots = |row: &Value| -> Value {
        let result: Value = serde_json::from_str(row["HOTSPOTS_RESULT"].as_str().unwrap()).unwrap();
        result["hotspots"].clone()
    };
    assert_eq!(spots(&rows[100]), Value::Array(Vec::new()), "fewer than 17 points are close");
    let last = spots(&rows[239]);
    let within = |spot: &Value| {
        (0..2).all(|side| {
            number(&spot["minValues"][side]) >= 4.9 && number(&spot["maxValues"][side]) <= 5.2
        })
    };
    let found: Vec<&Value> = last.as_array().unwrap().iter().filter(|spot| within(spot)).collect();
    assert_eq!(found.len(), 1, "{last}");
    assert!(number(&found[0]["density"]) > 0.0);
}
