//! From Kinesis: boto3 puts the records, three different servers hold them.

use std::fmt::Write as _;
use std::fs;

use millstream_engine::{Clock, SystemClock};
use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::python;
use millstream_tests::program::Program;

use super::company_jobs::{COLUMNS, Sample, application};
use super::files::files_below;

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

/// Windows of ten rows, a second apart, and among them rows of other centuries: one of those to come
/// would close all windows, one of those that were has no window any more.
#[test]
fn w7_a_row_of_another_century_moves_no_window() {
    let server = KinesisServer::Embedded.start();
    let environment = server.environment();
    let folder = tempfile::tempdir().unwrap();
    let first = (SystemClock::default().now_ms() - 600_000).div_euclid(10_000) * 10_000;
    let mut lines = String::new();
    for row in 0..101_i64 {
        let at = first + row * 1_000;
        let _infallible = writeln!(lines, r#"{{"at":{at},"n":{row}}}"#);
        match row {
            15 => lines.push_str("{\"at\":\"2099-01-01 00:00:00\",\"n\":-1}\n"),
            // Microseconds, seconds, and what a device without a clock says.
            35 => lines.push_str(&format!("{{\"at\":{},\"n\":-2}}\n", at * 1_000)),
            55 => lines.push_str(&format!("{{\"at\":{},\"n\":-3}}\n", at / 1_000)),
            75 => lines.push_str("{\"at\":\"1970-01-01 00:00:00\",\"n\":-4}\n"),
            _ => {}
        }
    }
    python::run("kinesis_put.py", &["times", "1", "n"], &lines, &environment);
    let text = format!(
        "CREATE STREAM s (at TIMESTAMP, n INTEGER, WATERMARK FOR at AS at - INTERVAL '5' SECOND)
           WITH ({});
         CREATE SINK counts WITH (connector = 'file', path = 'counts', format = 'json') AS
           SELECT STREAM window_start, COUNT(*) AS n, MIN(n) AS least
           FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(at), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end;
         CREATE SINK bad WITH (connector = 'file', path = 'bad', format = 'json') AS
           SELECT STREAM error_name, raw FROM error_stream;",
        kinesis("times")
    );
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);
    program.succeed(&["run", "app.sql", "--until", "caught-up"]);

    let lines = |name: &str| -> Vec<serde_json::Value> {
        let folder = folder.path().join(name);
        let texts = files_below(&folder).into_iter().map(|p| fs::read_to_string(folder.join(p)));
        let text: String = texts.map(Result::unwrap).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut counts: Vec<_> =
        lines("counts").iter().map(|w| (w["least"].as_i64(), w["n"].as_i64())).collect();
    counts.sort_unstable();
    let full = (0..10).map(|window| (Some(window * 10), Some(10)));
    let expected: Vec<_> = full.chain([(Some(100), Some(1))]).collect();
    assert_eq!(counts, expected);
    let bad = lines("bad");
    let named = |name: &str| bad.iter().filter(|row| row["error_name"] == name).count();
    assert_eq!((named("FUTURE"), named("LATE"), bad.len()), (2, 2, 4), "{bad:?}");
    // A record is as it came, so that it can be put back once it is mended.
    let raw = "{\"at\":\"2099-01-01 00:00:00\",\"n\":-1}";
    assert!(bad.iter().any(|row| row["raw"] == raw), "{bad:?}");
}
