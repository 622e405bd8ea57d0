//! To and from S3.

use std::fs;

use millstream_tests::peers::{aws_environment, python, s3};
use millstream_tests::program::Program;

use super::company_jobs::{COLUMNS, Sample, application};
use super::crash_kinesis::{Beside, fault_proxy};

/// Rows that make several files of a megabyte.
const ROWS: usize = 40_000;

/// Lives in which all of them must be there: what fails goes on.
const LIVES_MAX: usize = 20;

#[test]
fn files_to_s3_and_back() {
    let server = s3::start();
    let environment = server.environment();
    let run =
        |arguments: &[&str], input: &str| python::run("s3.py", arguments, input, &environment);
    let sample = Sample::new(20, 300);
    run(&["create", "warehouse"], "");
    run(&["put", "warehouse", "in/companies.csv"], &sample.companies_csv());
    run(&["put", "warehouse", "in/jobs-1.json"], &sample.jobs_json());
    let folder = tempfile::tempdir().unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);
    for format in ["parquet", "csv"] {
        let output = format!(
            "connector = 'file', path = 's3://warehouse/{format}/', format = '{format}',
             partition_by = 'industry'"
        );
        let companies = "connector = 'file', path = 's3://warehouse/in/companies.csv'";
        let jobs = "connector = 'file', path = 's3://warehouse/in/jobs-*.json', format = 'json'";
        fs::write(folder.path().join("app.sql"), application(companies, jobs, &output)).unwrap();
        program.succeed(&["run", "app.sql"]);

        let path = format!("s3://warehouse/{format}/");
        for reader in ["duckdb", "pyarrow"] {
            let rows =
                python::rows("read_files.py", &[reader, format, &path, COLUMNS], &environment);
            assert_eq!(rows, sample.expected(), "{format} as {reader} reads it");
        }
    }
    let keys = run(&["list", "warehouse"], "");
    let written = keys.lines().filter(|key| !key.starts_with("in/"));
    let odd: Vec<&str> = written.filter(|k| !k.contains("/industry=")).collect();
    assert!(odd.is_empty(), "only the files of the table are in its folder: {odd:?}");
    assert_eq!(run(&["uploads", "warehouse"], ""), "", "no unfinished uploads");

    let query = "SELECT COUNT(*) AS n FROM 's3://warehouse/parquet/'";
    let printed = program.succeed(&["sql", "--format", "csv", query]).stdout;
    assert_eq!(printed, format!("N\n{}\n", sample.expected().len()));
}

#[test]
fn a_missing_bucket_is_one_clear_message() {
    let server = s3::start();
    let sample = Sample::new(5, 20);
    let folder = tempfile::tempdir().unwrap();
    sample.write(folder.path());
    let file = |path: &str| format!("connector = 'file', path = '{path}'");
    let output = "connector = 'file', path = 's3://nowhere-at-all/x', format = 'parquet'";
    let text = application(&file("companies.csv"), &file("jobs.csv"), output);
    fs::write(folder.path().join("app.sql"), text).unwrap();

    let program = Program::in_folder(folder.path()).with(&server.environment());
    let finished = program.run(&["run", "app.sql"]);

    assert_eq!(finished.status, Some(1));
    let said = "error: the bucket of 's3://nowhere-at-all/x' does not exist";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
}

/// Each file goes up in one request: cut off in the middle it leaves neither a part of a file nor an
/// upload that nobody ends.
#[test]
fn uploads_torn_in_the_middle_leave_nothing() {
    let server = s3::start();
    let environment = server.environment();
    let s3 = |arguments: &[&str]| python::run("s3.py", arguments, "", &environment);
    for bucket in ["out", "state"] {
        s3(&["create", bucket]);
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("faults");
    let proxy = fault_proxy(&server, 4, 5, &log, &["torn"]);
    let lines: String = (0..ROWS).map(|n| format!("{n},{n:0150}\n")).collect();
    fs::write(folder.path().join("in.csv"), format!("n,text\n{lines}")).unwrap();
    let text = "
        CREATE STREAM s (n INTEGER, text VARCHAR(200)) WITH (connector = 'file', path = 'in.csv');
        CREATE SINK o FROM s
          WITH (connector = 'file', path = 's3://out/rows', format = 'csv', file_size = '1MB');";
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let watcher = Beside::start("s3_watch.py", &["out", ""], &environment);
    let program = Program::in_folder(folder.path()).with(&aws_environment(&proxy.url()));
    let run = ["run", "app.sql", "--state", "s3://state/app", "--checkpoint-interval", "200ms"];
    let mut lives = 0;
    loop {
        let life = program.run(&run);
        lives += 1;
        if life.status == Some(0) {
            break;
        }
        assert!(lives < LIVES_MAX, "it does not come to its end: {}", life.stderr);
    }
    let files: usize = watcher.finish().parse().unwrap();
    let rows =
        python::rows("read_files.py", &["duckdb", "csv", "s3://out/rows", "n"], &environment);
    let mut expected: Vec<String> = (0..ROWS).map(|n| n.to_string()).collect();
    expected.sort();
    assert_eq!(rows, expected);
    for bucket in ["out", "state"] {
        assert_eq!(s3(&["uploads", bucket]), "", "uploads left in {bucket}");
    }
    let torn = fs::read_to_string(&log).unwrap().lines().count();
    assert!(torn > 0 && files > 3, "{torn} requests torn, {files} files");
    println!(
        "evidence P6 torn uploads: {torn} requests cut off, {files} files, 0 not whole, 0 uploads left"
    );
}
