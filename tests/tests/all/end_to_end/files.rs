//! From files to files, in every format, read back by DuckDB and PyArrow.

use std::fs;
use std::path::{Path, PathBuf};

use millstream_tests::peers::python;
use millstream_tests::program::Program;

use super::company_jobs::{COLUMNS, Sample, application};

/// All files below `folder`, relative to it, sorted.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect()
}

fn file(path: &str) -> String {
    format!("connector = 'file', path = '{path}'")
}

/// Runs the founding application on `inputs` and compares what DuckDB and PyArrow read of `format`.
fn check(inputs: (&str, &str), format: &str) {
    let sample = Sample::new(20, 300);
    let folder = tempfile::tempdir().unwrap();
    sample.write(folder.path());
    let output =
        format!("connector = 'file', path = 'out', format = '{format}', partition_by = 'industry'");
    let text = application(&file(inputs.0), &file(inputs.1), &output);
    fs::write(folder.path().join("app.sql"), text).unwrap();

    let finished = Program::in_folder(folder.path()).succeed(&["run", "app.sql"]);

    assert_eq!(finished.stdout, "", "a script prints nothing but what it selects");
    for (word, count) in [("read", sample.rows_in()), ("written", sample.expected().len())] {
        let line = finished.stderr.lines().find(|line| line.starts_with(word)).unwrap_or_default();
        assert!(line.contains(&count.to_string()), "{count} {word}: {}", finished.stderr);
    }
    let out = folder.path().join("out");
    let readers: &[&str] = if format == "json" { &["duckdb"] } else { &["duckdb", "pyarrow"] };
    for reader in readers {
        let arguments = [reader, format, out.to_str().unwrap(), COLUMNS];
        let rows = python::rows("read_files.py", &arguments, &[]);
        assert_eq!(rows, sample.expected(), "as {reader} reads it");
    }
    let folders = sample.industries().into_iter().map(|industry| {
        let encoded = industry.replace(' ', "%20");
        assert!(
            [industry, &encoded].iter().any(|name| out.join(format!("industry={name}")).is_dir()),
            "no folder for {industry}: {:?}",
            files_below(&out)
        );
    });
    assert!(folders.count() > 3);
    let hidden = |path: &PathBuf| path.extension().and_then(|e| e.to_str()) != Some(format);
    assert!(!files_below(&out).iter().any(hidden), "left behind: {:?}", files_below(&out));
}

#[test]
fn csv_to_parquet() {
    check(("companies.csv", "jobs.csv"), "parquet");
}

#[test]
fn json_to_csv() {
    check(("companies.json", "jobs.json"), "csv");
}

#[test]
fn a_mix_to_json() {
    check(("companies.csv", "jobs.json"), "json");
}

#[test]
fn parquet_written_by_one_application_is_read_by_another() {
    let sample = Sample::new(10, 50);
    let folder = tempfile::tempdir().unwrap();
    sample.write(folder.path());
    let program = Program::in_folder(folder.path());
    let copy =
        "CREATE STREAM jobs (company_id VARCHAR(16), userid VARCHAR(16), job_submitted INTEGER)
                  WITH (connector = 'file', path = 'jobs.csv');
                CREATE SINK copy FROM jobs
                  WITH (connector = 'file', path = 'copy', format = 'parquet');";
    fs::write(folder.path().join("copy.sql"), copy).unwrap();
    program.succeed(&["run", "copy.sql"]);
    let output = "connector = 'file', path = 'out', format = 'csv'";
    let jobs = "connector = 'file', path = 'copy/', format = 'parquet'";
    let text = application(&file("companies.csv"), jobs, output);
    fs::write(folder.path().join("app.sql"), text).unwrap();
    program.succeed(&["run", "app.sql"]);
    let out = folder.path().join("out");
    let rows =
        python::rows("read_files.py", &["duckdb", "csv", out.to_str().unwrap(), COLUMNS], &[]);
    assert_eq!(rows, sample.expected());
}

#[test]
fn a_batch_query_reads_what_was_written() {
    let sample = Sample::new(20, 300);
    let folder = tempfile::tempdir().unwrap();
    sample.write(folder.path());
    let output = "connector = 'file', path = 'out', format = 'parquet', partition_by = 'industry'";
    let text = application(&file("companies.csv"), &file("jobs.csv"), output);
    fs::write(folder.path().join("app.sql"), text).unwrap();
    let program = Program::in_folder(folder.path());
    program.succeed(&["run", "app.sql"]);
    let query = "SELECT COUNT(*) AS n, SUM(job30) AS s FROM 'out/**/*.parquet'";
    let expected = sample.expected();
    let sum: u64 =
        expected.iter().map(|r| r.split(',').nth(4).unwrap().parse::<u64>().unwrap()).sum();

    let csv = program.succeed(&["sql", "--format", "csv", query]).stdout;
    let json = program.succeed(&["sql", "--format", "json", query]).stdout;

    assert_eq!(csv, format!("N,S\n{},{sum}\n", expected.len()));
    let json: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(json, serde_json::json!({"N": expected.len(), "S": sum}));
}
