//! Ctrl-C: a job that would run for ever stops with all output committed; the second one ends it.

use std::fs;

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::{python, s3};
use millstream_tests::program::Program;

use super::files::files_below;

const FOLLOW: &str = "
CREATE STREAM jobs (company_id VARCHAR(16), userid VARCHAR(16), job_submitted INTEGER)
  WITH (connector = 'file', path = 'in/*.csv', follow = 'true');
CREATE SINK out_csv FROM jobs
  WITH (connector = 'file', path = 'out', format = 'csv', roll_interval = '1h');
SELECT STREAM company_id FROM jobs;
";

const HEADER: &str = "company_id,userid,job_submitted\n";

#[test]
fn the_first_ctrl_c_commits_everything() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("in/1.csv"), format!("{HEADER}c1,u1,1\nc2,u1,2\n")).unwrap();
    fs::write(folder.path().join("app.sql"), FOLLOW).unwrap();
    let mut running =
        Program::in_folder(folder.path()).start(&["run", "app.sql", "--format", "csv"]);
    running.line_with("c2");
    // A file that comes later is read as well, and a lone row is not held back.
    fs::write(folder.path().join("in/2.csv"), format!("{HEADER}c3,u1,3\n")).unwrap();
    running.line_with("c3");
    assert!(files_below(&folder.path().join("out")).is_empty(), "nothing is due yet");

    running.signal("INT");
    let finished = running.wait();

    assert_eq!(finished.status, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("written"), "{}", finished.stderr);
    let out = folder.path().join("out");
    let columns = "company_id,userid,job_submitted";
    let rows =
        python::rows("read_files.py", &["duckdb", "csv", out.to_str().unwrap(), columns], &[]);
    assert_eq!(rows, ["c1,u1,1", "c2,u1,2", "c3,u1,3"]);
}

#[test]
fn a_kinesis_job_stops_cleanly() {
    let server = KinesisServer::Embedded.start();
    let environment = server.environment();
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..100).map(|n| format!("{{\"k\":\"{n}\",\"n\":{n}}}\n")).collect();
    python::run("kinesis_put.py", &["numbers", "2", "k"], &lines, &environment);
    let text = "CREATE STREAM numbers (n INTEGER) WITH (connector = 'kinesis', stream = 'numbers');
                CREATE SINK out_csv FROM numbers
                  WITH (connector = 'file', path = 'out', format = 'csv', roll_interval = '1h');
                SELECT STREAM n FROM numbers WHERE n = 77;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);
    let mut running = program.start(&["run", "app.sql", "--format", "csv"]);
    running.line_with("77");
    // Rows that arrive while it runs are read without a restart.
    python::run("kinesis_put.py", &["numbers", "2", "k"], "{\"k\":\"x\",\"n\":77}\n", &environment);
    running.line_with("77");

    running.signal("TERM");
    let finished = running.wait();

    assert_eq!(finished.status, Some(0), "{}", finished.stderr);
    let out = folder.path().join("out");
    let rows = python::rows("read_files.py", &["duckdb", "csv", out.to_str().unwrap(), "n"], &[]);
    assert_eq!(rows.len(), 101);
}

#[test]
fn the_second_ctrl_c_ends_it_at_once() {
    let server = s3::start();
    let environment = server.environment();
    python::run("s3.py", &["create", "warehouse"], "", &environment);
    let folder = tempfile::tempdir().unwrap();
    let text = "CREATE STREAM numbers (n INTEGER)
                  WITH (connector = 'file', path = 'numbers.csv', follow = 'true');
                CREATE SINK kept FROM numbers WITH (connector = 'file', path = 's3://warehouse/kept/',
                  format = 'csv', roll_interval = '1h');
                SELECT STREAM n FROM numbers;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    fs::write(folder.path().join("numbers.csv"), "n\n77\n").unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);
    let mut running = program.start(&["run", "app.sql", "--format", "csv"]);
    running.line_with("77");
    // From here on the clean end, which writes the row, never comes.
    server.pause();

    running.signal_until_it_ends("INT");
    let finished = running.wait();

    assert_eq!(finished.status, Some(130), "{finished:?}");
}

#[test]
fn ctrl_c_ends_a_job_that_still_waits_for_its_endpoint() {
    // The endpoint accepts connections and never answers.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = "CREATE STREAM numbers (n INTEGER) WITH (connector = 'kinesis', stream = 'numbers');
                SELECT STREAM n FROM numbers;";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path()).with_variable("AWS_ENDPOINT_URL", &url);
    let running = program.start(&["run", "app.sql"]);
    let (_connection, _) = silent.accept().unwrap();

    running.signal("INT");
    let finished = running.wait();

    assert_eq!(finished.status, Some(0), "{finished:?}");
}
