//! What becomes of rows that are none: every documented column of `error_stream`, for every way to fail; and
//! the order of rows in a file.

use std::fs;
use std::path::Path;

use millstream_tests::program::Program;

use super::files::files_below;

/// What the sink `name` has written, its files one after another.
fn written(folder: &Path, name: &str) -> String {
    let folder = folder.join(name);
    let texts = files_below(&folder).into_iter().map(|file| fs::read_to_string(folder.join(file)));
    texts.map(Result::unwrap).collect()
}

const RECORDS: &str = r#"{"id":1,"name":"ok","at":"2018-11-01 10:00:00"}
{"id":
{"id":"x","name":"n","at":"2018-11-01 10:00:01"}
{"name":"n","at":"2018-11-01 10:00:02"}
{"id":2,"name":"toolong","at":"2018-11-01 10:00:03"}
{"id":99999999999,"at":"2018-11-01 10:00:04"}
{"id":3,"name":{"a":1},"at":"2018-11-01 10:00:05"}
{"id":4,"name":true}
"just text"
{"id":6,"name":"b","at":"2018-11-01 10:00:06"}
{"id":7,"at":"2018-11-01 10:00:07"}
"#;

const LINES: &str = "id,name,d
1,a,2018-11-01
x,b,2018-11-01
5,\"q,\"\"r\",2018-13-01
6,toolong,
,n,2018-11-01
";

const APPLICATION: &str = "
    CREATE STREAM j (id INTEGER NOT NULL, name VARCHAR(3))
        WITH (connector = 'file', path = 'j.json', format = 'json', rowtime = 'at');
    CREATE STREAM c (id INTEGER NOT NULL, name VARCHAR(3), d DATE) WITH (connector = 'file', path = 'c.csv');
    CREATE STREAM parts (part INTEGER, name VARCHAR(3));
    CREATE STREAM numbers (n INTEGER);
    CREATE STREAM named (name VARCHAR(3) NOT NULL);
    CREATE PUMP divide AS INSERT INTO parts SELECT STREAM 10 / (id - 2), name FROM j WHERE id < 6;
    CREATE PUMP cast_it AS INSERT INTO numbers SELECT STREAM CAST(name AS INTEGER) FROM j WHERE id >= 6;
    CREATE PUMP has_name AS INSERT INTO named SELECT STREAM name FROM j WHERE id > 5;
    CREATE SINK p FROM parts WITH (connector = 'file', path = 'parts', format = 'csv');
    CREATE SINK n FROM numbers WITH (connector = 'file', path = 'numbers', format = 'csv');
    CREATE SINK m FROM named WITH (connector = 'file', path = 'named', format = 'csv');
    CREATE SINK l WITH (connector = 'file', path = 'lines', format = 'csv') AS SELECT STREAM * FROM c;
    CREATE SINK e WITH (connector = 'file', path = 'errors', format = 'csv', delimiter = '|', header = 'false') AS
        SELECT STREAM error_level, error_name, message, CASE WHEN stream_name = 'C' THEN NULL ELSE data_rowtime END AS t,
            data_row, pump_name, stream_name, partition_name, position,
            error_time IS NOT NULL AND error_time = ROWTIME AS is_timed FROM error_stream;";

#[test]
fn every_column_of_error_stream_says_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("j.json"), RECORDS).unwrap();
    fs::write(folder.path().join("c.csv"), LINES).unwrap();
    fs::write(folder.path().join("app.sql"), APPLICATION).unwrap();
    Program::in_folder(folder.path()).succeed(&["run", "app.sql"]);
    // Texts are cut to their column; what is missing is NULL.
    assert_eq!(written(folder.path(), "parts"), "part,name\n-10,ok\n10,\"{\"\"a\"\n");
    assert_eq!(written(folder.path(), "numbers"), "n\n\"\"\n");
    assert_eq!(written(folder.path(), "named"), "name\nb\n");
    assert_eq!(written(folder.path(), "lines"), "id,name,d\n1,a,2018-11-01\n6,too,\n");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let record = |line: usize, reason: &str, message: &str| {
        let raw = hex(RECORDS.lines().nth(line - 1).unwrap());
        format!("ERROR|{reason}|{message}||{raw}||J|j.json|line {line}|true")
    };
    let csv = |line: usize, reason: &str, message: &str| {
        let raw = hex(LINES.lines().nth(line - 1).unwrap());
        format!("ERROR|{reason}|{message}||{raw}||C|c.csv|line {line}|true")
    };
    let of_pump = |pump: &str, reason: &str, message: &str, at: &str, row: &str| {
        let raw = hex(&format!("{row}, ROWTIME={}", at.replace(' ', "T")));
        format!("ERROR|{reason}|{message}|{at}|{raw}|{pump}||||true")
    };
    let mut expected = vec![
        record(2, "UNDECODABLE", "not JSON: EOF while parsing a value at byte 7"),
        record(3, "COERCION", "column ID: 'x' is not an INTEGER"),
        record(4, "NOT_NULL", "column ID: NULL, but it is NOT NULL"),
        record(6, "COERCION", "column ID: '99999999999' is not an INTEGER"),
        record(8, "NOT_NULL", "column at: NULL, but it is the ROWTIME"),
        record(9, "UNDECODABLE", "not a JSON object"),
        csv(3, "COERCION", "column ID: 'x' is not an INTEGER"),
        csv(4, "COERCION", "column D: '2018-13-01' is not a DATE"),
        csv(6, "NOT_NULL", "column ID: NULL, but it is NOT NULL"),
        of_pump(
            "DIVIDE",
            "EXPRESSION",
            "division by zero",
            "2018-11-01 10:00:03",
            "ID=2, NAME=too",
        ),
        of_pump(
            "CAST_IT",
            "EXPRESSION",
            "'b' is no INTEGER",
            "2018-11-01 10:00:06",
            "ID=6, NAME=b",
        ),
        of_pump(
            "HAS_NAME",
            "NOT_NULL",
            "NULL in the NOT NULL column NAME",
            "2018-11-01 10:00:07",
            "ID=7, NAME=NULL",
        ),
    ];
    expected.sort();
    let errors = written(folder.path(), "errors");
    let mut errors: Vec<&str> = errors.lines().collect();
    errors.sort_unstable();
    assert_eq!(errors, expected);
}

const UNSORTED: &str = r#"{"at":"2018-11-01 10:00:05","k":"a","v":2}
{"at":"2018-11-01 10:00:01","k":"b","v":2}
{"at":"2018-11-01 10:00:05","k":"c","v":1}
{"at":"2018-11-01 10:00:01","k":"d","v":1}
{"at":"2018-11-01 10:00:30","k":"e","v":1}
{"at":"2018-11-01 10:00:20","k":"f","v":1}
{"at":"2018-11-01 10:00:19.999","k":"g","v":1}
"#;

const SORTED: &str = r#"{"at":"2018-11-01 10:00:00","k":"a","v":2}
{"at":"2018-11-01 10:00:00","k":"b","v":3}
{"at":"2018-11-01 10:00:00.500","k":"c","v":3}
{"at":"2018-11-01 10:00:00.900","k":"d","v":null}
{"at":"2018-11-01 10:00:01","k":"e","v":1}
{"at":"2018-11-01 10:00:01","k":"f","v":1}
"#;

/// Rows of which nothing says which comes first are in the order in which they came.
#[test]
fn rows_are_written_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.json"), SORTED).unwrap();
    fs::write(folder.path().join("w.json"), UNSORTED).unwrap();
    let sink = |name: &str, query: &str| {
        format!(
            "CREATE SINK {name} WITH (connector = 'file', path = '{name}', format = 'csv', header = 'false') AS \
             SELECT STREAM {query};"
        )
    };
    let statements = [
        "CREATE STREAM s (k VARCHAR(3), v INTEGER)
           WITH (connector = 'file', path = 's.json', format = 'json', rowtime = 'at');
         CREATE STREAM w (at TIMESTAMP, k VARCHAR(3), v INTEGER)
           WITH (connector = 'file', path = 'w.json', format = 'json');"
            .to_owned(),
        sink("falling", "k FROM s ORDER BY FLOOR(s.ROWTIME TO SECOND), v DESC"),
        sink("rising", "k FROM s ORDER BY FLOOR(s.ROWTIME TO SECOND), v"),
        sink(
            "ordinals",
            "v, k FROM s ORDER BY STEP(s.ROWTIME BY INTERVAL '2' SECOND), 1 DESC, 2 DESC",
        ),
        sink("within", "at AS ROWTIME, k FROM w ORDER BY at WITHIN INTERVAL '10' SECOND"),
        sink("ties", "at AS ROWTIME, k FROM w ORDER BY at WITHIN INTERVAL '10' SECOND, v"),
        sink("late", "pump_name, data_rowtime FROM error_stream"),
    ];
    fs::write(folder.path().join("app.sql"), statements.concat()).unwrap();
    Program::in_folder(folder.path()).succeed(&["run", "app.sql"]);
    let keys = |name: &str| -> String {
        let text = written(folder.path(), name);
        text.lines().filter_map(|line| line.rsplit(',').next()).collect()
    };
    // A NULL is the greatest value.
    assert_eq!(keys("falling"), "dbcaef");
    assert_eq!(keys("rising"), "abcdef");
    assert_eq!(keys("ordinals"), "dcbafe");
    assert_eq!(keys("within"), "bdacfe");
    assert_eq!(keys("ties"), "dbcafe");
    let late = written(folder.path(), "late");
    let mut late: Vec<&str> = late.lines().collect();
    late.sort_unstable();
    assert_eq!(late, ["TIES,2018-11-01 10:00:19.999", "WITHIN,2018-11-01 10:00:19.999"]);
}

/// What DataFusion finds only when it makes a query physical has a place and a hint as well.
#[test]
fn what_has_no_form_is_refused_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let query = "SELECT x IN (SELECT y FROM (VALUES (1, 10)) AS b(j, y) WHERE b.j = a.k LIMIT 1)
        FROM (VALUES (1, 10)) AS a(k, x)";
    let refused = Program::in_folder(folder.path()).run(&["sql", query]);
    assert_eq!(refused.status, Some(1), "{}", refused.stdout);
    for said in ["of this form as a value", "input:1:1", "hint: join with"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}
