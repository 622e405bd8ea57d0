//! From Kinesis: boto3 puts the records, three different servers hold them.

use std::fs;

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::python;
use millstream_tests::program::Program;

use super::company_jobs::{COLUMNS, Sample, application};

fn kinesis(stream: &str) -> String {
    format!("connector = 'kinesis', stream = '{stream}', format = 'json', start = 'trim_horizon'")
}

/// The founding application over two streams of several shards, until it has caught up.
fn check(server: KinesisServer, jobs: u64) {
    check_with(server, jobs, "");
}

/// The same with more options of the streams.
fn check_with(server: KinesisServer, jobs: u64, options: &str) {
    let server = server.start();
    let sample = Sample::new(20, jobs);
    let environment = server.environment();
    let put = |stream, shards, lines: &str| {
        python::run("kinesis_put.py", &[stream, shards, "company_id"], lines, &environment);
    };
    put("bg-companies", "2", &sample.companies_json());
    put("bg-jobs", "3", &sample.jobs_json());
    let folder = tempfile::tempdir().unwrap();
    let output = "connector = 'file', path = 'out', format = 'parquet', partition_by = 'industry'";
    let text = {
        let stream = |name| format!("{}{options}", kinesis(name));
        application(&stream("bg-companies"), &stream("bg-jobs"), output)
    };
    fs::write(folder.path().join("app.sql"), text).unwrap();

    let program = Program::in_folder(folder.path()).with(&environment);
    let finished = program.succeed(&["run", "app.sql", "--until", "caught-up"]);

    let out = folder.path().join("out");
    let arguments = ["duckdb", "parquet", out.to_str().unwrap(), COLUMNS];
    assert_eq!(python::rows("read_files.py", &arguments, &[]), sample.expected());
    let read = finished.stderr.lines().find(|line| line.starts_with("read")).unwrap_or_default();
    let digits: String = read.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(digits, sample.rows_in().to_string(), "{}", finished.stderr);
}

#[test]
fn kinesis_local() {
    check(KinesisServer::KinesisLocal, 150);
}

#[test]
fn kinesis_local_pushes_to_a_consumer() {
    check_with(KinesisServer::KinesisLocal, 150, ", consumer = 'fan-out'");
}

#[test]
fn the_embedded_endpoint_pushes_to_a_consumer() {
    check_with(KinesisServer::Embedded, 1_500, ", consumer = 'auto', consumer_name = 'app-1'");
}

#[test]
fn kinesalite() {
    check(KinesisServer::Kinesalite, 300);
}

#[test]
fn embedded() {
    check(KinesisServer::Embedded, 1_500);
}

#[test]
fn a_stream_that_does_not_exist_is_one_clear_message() {
    let server = KinesisServer::Kinesalite.start();
    let folder = tempfile::tempdir().unwrap();
    let text =
        application(&kinesis("nowhere"), &kinesis("nowhere"), "connector = 'file', path = 'out'");
    fs::write(folder.path().join("app.sql"), text).unwrap();

    let program = Program::in_folder(folder.path()).with(&server.environment());
    let finished = program.run(&["run", "app.sql"]);

    assert_eq!(finished.status, Some(1));
    assert!(finished.stderr.contains("nowhere"), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("error").count(), 1, "{}", finished.stderr);
    assert!(!folder.path().join("out").exists(), "nothing is written");
}

#[test]
fn the_demo_producer_fills_streams_that_an_application_reads() {
    let server = KinesisServer::Embedded.start();
    let folder = tempfile::tempdir().unwrap();
    let program = Program::in_folder(folder.path()).with(&server.environment());
    let arguments = ["generate", "ticker", "--count", "500", "--rate", "0", "--to", "kinesis"];
    program.succeed(&arguments);
    let query = "CREATE STREAM t (EVENT_TIME TIMESTAMP, TICKER VARCHAR(8), PRICE DOUBLE)
                   WITH (connector = 'kinesis', stream = 'ticker', format = 'json');
                 SELECT STREAM TICKER, PRICE FROM t;";
    let finished = program.succeed(&["sql", "--format", "csv", "--until", "caught-up", query]);
    assert_eq!(finished.stdout.lines().count(), 501, "a header and the rows");
    assert!(finished.stdout.starts_with("TICKER,PRICE\n"), "{}", finished.stdout);
}
