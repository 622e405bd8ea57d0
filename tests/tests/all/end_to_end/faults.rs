//! Bad input, bad settings, bad commands: what the user sees, and what is written.

use std::fs;

use millstream_tests::program::{Finished, Program};

use super::files::files_below;

fn run(files: &[(&str, &str)], arguments: &[&str]) -> (Finished, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    (Program::in_folder(folder.path()).run(arguments), folder)
}

const BAD_RECORDS: &str = r#"{"id":1,"n":10}
not json at all
{"id":2,"n":"x"}
{"id":3,"n":30}
{"id":null,"n":40}
"#;

const READ_BAD_RECORDS: &str = "
CREATE STREAM s (id INTEGER NOT NULL, n INTEGER) WITH (connector = 'file', path = 'in.json');
CREATE SINK good FROM s WITH (connector = 'file', path = 'good', format = 'json');
CREATE SINK bad WITH (connector = 'file', path = 'bad', format = 'json')
  AS SELECT STREAM error_name, stream_name, position, raw FROM error_stream;
";

#[test]
fn a_bad_record_stops_nothing_and_is_not_lost() {
    let files = [("in.json", BAD_RECORDS), ("app.sql", READ_BAD_RECORDS)];
    let (finished, folder) = run(&files, &["run", "app.sql"]);
    assert_eq!(finished.status, Some(0), "{}", finished.stderr);
    let lines = |name: &str| -> Vec<serde_json::Value> {
        let folder = folder.path().join(name);
        let texts = files_below(&folder).into_iter().map(|p| fs::read_to_string(folder.join(p)));
        let text: String = texts.map(Result::unwrap).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ids: Vec<i64> = lines("good").iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 3]);
    let mut bad: Vec<(String, String, String)> = lines("bad")
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (text("position"), text("error_name"), text("raw"))
        })
        .collect();
    bad.sort();
    let bad: Vec<(&str, &str, &str)> = bad.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
    assert_eq!(
        bad,
        [
            ("line 2", "UNDECODABLE", "not json at all"),
            ("line 3", "COERCION", r#"{"id":2,"n":"x"}"#),
            ("line 5", "NOT_NULL", r#"{"id":null,"n":40}"#),
        ]
    );
    let counted = finished.stderr.lines().find(|line| line.starts_with("bad"));
    assert!(counted.is_some_and(|line| line.contains('3')), "{}", finished.stderr);
}

#[test]
fn what_a_user_must_mend_is_one_message_and_status_1() {
    let missing = "CREATE STREAM s (a INTEGER) WITH (connector = 'file', path = 'no/such.csv');
                   CREATE SINK o FROM s WITH (connector = 'file', path = 'out');";
    let option =
        "CREATE STREAM s (a INTEGER) WITH (connector = 'file', path = 'in.csv', fromat = 'csv');";
    let column = "CREATE STREAM s (a INTEGER) WITH (connector = 'file', path = 'in.csv');
                  CREATE SINK o WITH (connector = 'file', path = 'out') AS SELECT STREAM nope FROM s;";
    let script = "CREATE STREAM s (a INTEGER WITH (connector = 'file', path = 'in.csv');";
    for (text, say) in [
        (missing, ["no/such.csv", ""]),
        (option, ["fromat", "did you mean"]),
        (column, ["app.sql:2", "^"]),
        (script, ["app.sql:1", "^"]),
    ] {
        let (finished, folder) =
            run(&[("in.csv", "a\n1\n"), ("app.sql", text)], &["run", "app.sql"]);
        assert_eq!(finished.status, Some(1), "{text}\n{}", finished.stderr);
        for say in say {
            assert!(finished.stderr.contains(say), "{say:?} is not in:\n{}", finished.stderr);
        }
        assert_eq!(finished.stderr.matches("error").count(), 1, "{}", finished.stderr);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        assert!(!folder.path().join("out").exists(), "nothing is written:\n{text}");
    }
    let (finished, _) = run(&[], &["run", "no.sql"]);
    assert_eq!(finished.status, Some(1));
    assert!(finished.stderr.contains("no.sql"), "{}", finished.stderr);
}

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [&["run"][..], &["walk"], &["sql"], &["run", "a.sql", "--until", "tomorrow"]] {
        let (finished, _) = run(&[], arguments);
        assert_eq!(finished.status, Some(2), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains("--help"), "{}", finished.stderr);
    }
}

#[test]
fn state_that_would_grow_for_ever_is_refused_unless_allowed() {
    let text = |allow: &str| {
        format!(
            "{allow}CREATE STREAM a (k INTEGER) WITH (connector = 'kinesis', stream = 'a');
             CREATE STREAM b (k INTEGER) WITH (connector = 'kinesis', stream = 'b');
             SELECT STREAM a.k FROM a JOIN b ON a.k = b.k;"
        )
    };
    let (finished, _) = run(&[("app.sql", &text(""))], &["run", "app.sql"]);
    assert_eq!(finished.status, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("unbounded_state"), "{}", finished.stderr);
}

#[test]
fn a_row_that_a_sink_cannot_write_goes_to_the_error_stream() {
    let long = "x".repeat(300);
    let rows = format!("a,n\nshort,1\n{long},2\nshort,3\n{long},4\n");
    let app = "
        CREATE STREAM s (a VARCHAR(400), n INTEGER) WITH (connector = 'file', path = 'in.csv');
        CREATE SINK o FROM s WITH (connector = 'file', path = 'out', format = 'csv', partition_by = 'a');
        CREATE SINK bad WITH (connector = 'file', path = 'bad', format = 'json')
          AS SELECT STREAM error_name, pump_name, message, raw FROM error_stream;";
    for state in ["state", "none"] {
        let files = [("in.csv", &*rows), ("app.sql", app)];
        let (finished, folder) = run(&files, &["run", "app.sql", "--state", state]);
        assert_eq!(finished.status, Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains("bad      2 rows"), "{}", finished.stderr);
        let bad = folder.path().join("bad");
        let texts = files_below(&bad).into_iter().map(|p| fs::read_to_string(bad.join(p)));
        let text: String = texts.map(Result::unwrap).collect();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["error_name"], "UNWRITABLE");
        assert_eq!(lines[0]["pump_name"], "O");
        assert_eq!(lines[1]["raw"].as_str().unwrap(), format!("a={long}, n=4"));
    }
}

/// What could not be decoded is put back, byte for byte, and read by a declaration that is mended.
#[test]
fn records_set_aside_are_replayed_after_the_fix() {
    let sinks = "
        CREATE SINK good FROM s WITH (connector = 'file', path = 'good', format = 'json');
        CREATE SINK bad WITH (connector = 'file', path = 'bad', format = 'json')
          AS SELECT STREAM * FROM error_stream;";
    let app = |n: &str| {
        format!(
            "CREATE STREAM s (id INTEGER, n {n}, t TIMESTAMP, WATERMARK FOR t AS t)
               WITH (connector = 'file', path = 'in/*.json', format = 'json');{sinks}"
        )
    };
    let records = concat!(
        "{\"id\":1,\"n\":\"1\",\"t\":\"2026-01-01 00:00:05\"}\n",
        "{\"id\":2,\"n\":\"x\\u00e9\",\"t\":\"2026-01-01 00:00:06\"}\n",
        "{\"id\":3,\"n\":\"3\",\"t\":\"2026-01-01 00:00:01\"}\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("in")).unwrap();
    fs::write(at("in/1.json"), records).unwrap();
    fs::write(at("before.sql"), app("INTEGER")).unwrap();
    let program = Program::in_folder(folder.path());
    program.succeed(&["run", "before.sql"]);
    let replayed = program.succeed(&["replay", "bad", "--stream", "S", "--to", "in/replayed.json"]);
    assert!(
        replayed.stderr.contains("1 records put back, 1 rows left alone"),
        "{}",
        replayed.stderr
    );
    let again = fs::read_to_string(at("in/replayed.json")).unwrap();
    assert_eq!(again, format!("{}\n", records.lines().nth(1).unwrap()));
    fs::remove_file(at("in/1.json")).unwrap();
    fs::remove_dir_all(at("good")).unwrap();
    fs::write(at("after.sql"), app("VARCHAR(8)")).unwrap();
    program.succeed(&["run", "after.sql"]);
    let good = files_below(&at("good"));
    let good = fs::read_to_string(at("good").join(&good[0])).unwrap();
    assert!(good.contains("\"id\":2,\"n\":\"x\u{e9}\""), "{good}");
    let twice = program.run(&["replay", "bad", "--to", "in/replayed.json"]);
    assert_eq!(twice.status, Some(1));
    assert!(twice.stderr.contains("is there already"), "{}", twice.stderr);
}
