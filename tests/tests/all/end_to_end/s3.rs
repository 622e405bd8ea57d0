//! To and from S3.

use std::fs;

use millstream_tests::peers::{python, s3};
use millstream_tests::program::Program;

use super::company_jobs::{COLUMNS, Sample, application};

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
    assert!(finished.stderr.contains("nowhere-at-all"), "{}", finished.stderr);
}
