//! The applications we ship in `queries/`, on their sample input: what they write is the expected
//! output beside them, as a multiset of rows.

use std::fs;
use std::path::{Path, PathBuf};

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::python;
use millstream_tests::program::Program;

use super::company_jobs::COLUMNS;
use super::files::files_below;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("queries")
}

/// A folder with a copy of `queries/`, so that what the applications write stays out of the checkout.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files_below(&shipped()) {
        let to = folder.path().join("queries").join(&file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(shipped().join(file), to).unwrap();
    }
    folder
}

/// The lines of the CSV files below `folder` without their headers, sorted.
fn csv_rows(folder: &Path) -> Vec<String> {
    let files = files_below(folder).into_iter().map(|file| folder.join(file));
    let texts: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let rows = texts.iter().flat_map(|text| text.lines().skip(1));
    let mut rows: Vec<String> = rows.map(str::to_owned).collect();
    rows.sort();
    rows
}

/// The rows of an expected output, sorted.
fn expected(name: &str) -> Vec<String> {
    let text = fs::read_to_string(shipped().join("expected").join(name)).unwrap();
    let mut rows: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    assert!(rows.len() > 3, "{name} says too little");
    rows.sort();
    rows
}

fn run(application: &str) -> tempfile::TempDir {
    let folder = checkout();
    let path = format!("queries/{application}");
    Program::in_folder(folder.path()).succeed(&["run", &path]);
    folder
}

#[test]
fn company_jobs_from_files() {
    let folder = run("company_jobs.sql");
    check_company_jobs(&folder.path().join("out/company_jobs"));
}

fn check_company_jobs(out: &Path) {
    for (reader, format) in [("duckdb", "parquet"), ("pyarrow", "parquet"), ("duckdb", "csv")] {
        let path = out.join(format);
        let arguments = [reader, format, path.to_str().unwrap(), COLUMNS];
        let rows = python::rows("read_files.py", &arguments, &[]);
        assert_eq!(rows, expected("company_jobs.csv"), "{format} as {reader} reads it");
    }
}

#[test]
fn company_jobs_from_kinesis() {
    let server = KinesisServer::KinesisLocal.start();
    let environment = server.environment();
    let folder = checkout();
    let data = |name: &str| fs::read_to_string(shipped().join("data").join(name)).unwrap();
    let put = "kinesis_put.py";
    let companies = ["companies", "2", "company_id", COLUMNS];
    python::run(put, &companies, &data("companies.csv"), &environment);
    python::run(put, &["jobs", "2", "company_id"], &data("jobs.json"), &environment);
    let application = format!("queries/{}", "company_jobs_kinesis.sql");
    let program = Program::in_folder(folder.path()).with(&environment);
    program.succeed(&["run", &application, "--until", "caught-up"]);
    check_company_jobs(&folder.path().join("out/company_jobs_kinesis"));
}

#[test]
fn jobs_per_minute() {
    let folder = run("jobs_per_minute.sql");
    let rows = csv_rows(&folder.path().join("out/jobs_per_minute"));
    assert_eq!(rows, expected("jobs_per_minute.csv"));
}

#[test]
fn active_companies() {
    let folder = run("active_companies.sql");
    let rows = csv_rows(&folder.path().join("out/active_companies"));
    assert_eq!(rows, expected("active_companies.csv"));
}
