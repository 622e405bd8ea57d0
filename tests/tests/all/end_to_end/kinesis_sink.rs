//! To Kinesis: every row at least once, and the copies of a record can be told.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::{Server, python, s3};
use millstream_tests::program::Program;
use serde_json::Value;

/// Rows in the file.
const ROWS: usize = 4_000;

fn create(server: &Server, stream: &str) {
    let environment = server.environment();
    python::run("kinesis_put.py", &[stream, "2", "k"], "", &environment);
}

/// The records of `stream`: partition key and data.
fn records(server: &Server, stream: &str) -> Vec<(String, Value)> {
    let printed = python::run("kinesis_get.py", &[stream], "", &server.environment());
    let record = |line: &str| {
        let (key, data) = line.split_once('\t').unwrap();
        (key.to_owned(), serde_json::from_str(data).unwrap())
    };
    printed.lines().map(record).collect()
}

fn write_rows(folder: &std::path::Path) {
    let lines: String = (0..ROWS).map(|n| format!("{n},c{}\n", n % 7)).collect();
    fs::write(folder.join("in.csv"), format!("n,company\n{lines}")).unwrap();
}

/// Killed on the way, the records that come again have the ids they had.
fn check(server: KinesisServer) {
    let server = server.start();
    create(&server, "out");
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path());
    let text = "
        CREATE STREAM s (n INTEGER, company VARCHAR(8)) WITH (connector = 'file', path = 'in.csv');
        CREATE SINK o WITH (connector = 'kinesis', stream = 'out', partition_key = 'company, half')
          AS SELECT STREAM n, company, n / 2000 AS half, CAST(NULL AS TIMESTAMP) AS t FROM s;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path()).with(&server.environment());
    let arguments = ["run", "app.sql", "--state", "state", "--checkpoint-interval", "100ms"];
    for wait_ms in [700, 1_000, 1_300, 1_600] {
        let mut running = program.start(&arguments);
        std::thread::sleep(Duration::from_millis(wait_ms));
        if !running.has_ended() {
            running.signal("KILL");
        }
        let killed = running.wait();
        assert!(matches!(killed.status, None | Some(0)), "{}", killed.stderr);
    }
    program.succeed(&arguments);
    let mut by_id: BTreeMap<String, Value> = BTreeMap::new();
    for (key, record) in records(&server, "out") {
        let n = record["n"].as_u64().unwrap();
        assert_eq!(key, format!("c{}|{}", n % 7, n / 2_000));
        assert_eq!(record["t"], Value::Null);
        let id = record["record_id"].as_str().unwrap().to_owned();
        if let Some(copy) = by_id.insert(id, record.clone()) {
            assert_eq!(copy, record, "two records of one id");
        }
    }
    let mut numbers: Vec<u64> = by_id.values().map(|r| r["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..ROWS as u64).collect::<Vec<_>>());
}

#[test]
fn embedded() {
    check(KinesisServer::Embedded);
}

#[test]
fn kinesalite() {
    check(KinesisServer::Kinesalite);
}

#[test]
fn a_row_too_large_for_a_record_goes_to_the_error_stream() {
    let server = KinesisServer::Embedded.start();
    create(&server, "out");
    let folder = tempfile::tempdir().unwrap();
    let large = "x".repeat(1 << 20);
    fs::write(folder.path().join("in.csv"), format!("a\nsmall\n{large}\nlast\n")).unwrap();
    let text = "
        CREATE STREAM s (a VARCHAR) WITH (connector = 'file', path = 'in.csv');
        CREATE SINK o FROM s
          WITH (connector = 'kinesis', stream = 'out', format = 'csv', record_id = 'none');
        CREATE SINK bad WITH (connector = 'file', path = 'bad', format = 'csv')
          AS SELECT STREAM error_name, message FROM error_stream;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path()).with(&server.environment());
    let said = program.succeed(&["run", "app.sql"]).stderr;
    assert!(said.contains("(9 B) by O, 1 row refused"), "{said}");
    let printed = python::run("kinesis_get.py", &["out"], "", &server.environment());
    let mut data: Vec<&str> = printed.lines().filter_map(|l| Some(l.split_once('\t')?.1)).collect();
    data.sort_unstable();
    assert_eq!(data, ["last", "small"]);
    let bad = folder.path().join("bad");
    let rows = ["duckdb", "csv", bad.to_str().unwrap(), "error_name,message"];
    let rows = python::rows("read_files.py", &rows, &[]);
    assert!(rows.len() == 1 && rows[0].starts_with("UNWRITABLE,"), "{rows:?}");
}

/// A role of another account is assumed, and the stream read with what that gives.
#[test]
fn a_role_is_assumed() {
    let (server, sts) = (KinesisServer::Embedded.start(), s3::start());
    let events = "{\"n\":1}\n{\"n\":2}\n";
    python::run("kinesis_put.py", &["in", "1", "n"], events, &server.environment());
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "CREATE STREAM s (n INTEGER) WITH (connector = 'kinesis', stream = 'in', endpoint = '{}',
           role_arn = 'arn:aws:iam::123456789012:role/reader', external_id = 'agreed');
         SELECT STREAM n FROM s;",
        server.url()
    );
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path());
    let arguments = ["run", "app.sql", "--until", "caught-up", "--format", "csv"];
    let refused = program.run(&arguments);
    assert_eq!(refused.status, Some(1), "nobody gives the role: {}", refused.stderr);
    let printed = program.with_variable("AWS_ENDPOINT_URL_STS", &sts.url()).succeed(&arguments);
    assert_eq!(printed.stdout, "N\n1\n2\n");
}
