//! An application of Kinesis Data Analytics as `describe-application` prints it, and its stream as
//! `discover` sees it.

use std::fs;

use millstream_tests::peers::kinesis::KinesisServer;
use millstream_tests::peers::python;
use millstream_tests::program::Program;

use super::files::files_below;

/// What describes the application; the code has no end behind its last statement, as many have.
const DESCRIBED: &str = r#"{"ApplicationDetail": {
  "ApplicationName": "clicks", "RuntimeEnvironment": "SQL-1_0",
  "ApplicationConfigurationDescription": {
    "SqlApplicationConfigurationDescription": {
      "InputDescriptions": [{
        "InputId": "1.1", "NamePrefix": "SOURCE_SQL_STREAM", "InAppStreamNames": ["SOURCE_SQL_STREAM_001"],
        "KinesisStreamsInputDescription": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/clicks"},
        "InputStartingPositionConfiguration": {"InputStartingPosition": "TRIM_HORIZON"},
        "InputSchema": {
          "RecordFormat": {"RecordFormatType": "JSON",
            "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$"}}},
          "RecordEncoding": "UTF-8",
          "RecordColumns": [
            {"Name": "user_id", "SqlType": "INTEGER", "Mapping": "$.user.id"},
            {"Name": "item", "SqlType": "VARCHAR(2)", "Mapping": "$.items[0:].id"},
            {"Name": "ts", "SqlType": "TIMESTAMP", "Mapping": "$.ts"}]}}],
      "OutputDescriptions": [{
        "OutputId": "1.1", "Name": "DESTINATION_SQL_STREAM",
        "KinesisFirehoseOutputDescription": {"ResourceARN": "arn:aws:firehose:us-east-1:123456789012:deliverystream/seen"},
        "DestinationSchema": {"RecordFormatType": "JSON"}}]},
    "ApplicationCodeConfigurationDescription": {"CodeContentDescription": {"TextContent":
      "CREATE OR REPLACE STREAM \"DESTINATION_SQL_STREAM\" (id INTEGER, item VARCHAR(2), at_ms BIGINT, seen BIGINT);\nCREATE OR REPLACE PUMP \"STREAM_PUMP\" AS INSERT INTO \"DESTINATION_SQL_STREAM\"\n  SELECT STREAM \"user_id\", UPPER(\"item\"), UNIX_TIMESTAMP(\"ts\"), COUNT(*) OVER (PARTITION BY \"user_id\" ROWS 10 PRECEDING)\n  FROM \"SOURCE_SQL_STREAM_001\""}}}}}"#;

const RECORDS: &str = r#"{"key": "a", "user": {"id": 7}, "items": [{"id": "x1"}, {"id": "y22"}], "ts": "2018-11-01 13:00:00"}
{"key": "a", "user": {"id": 7}, "items": [], "ts": "2018-11-01T13:00:01.5"}
{"key": "a", "user": {"id": "eight"}, "items": [{"id": "z"}], "ts": "2018-11-01 13:00:02"}
"#;

#[test]
fn an_application_runs_as_it_was_described() {
    let server = KinesisServer::Embedded.start();
    let environment = server.environment();
    python::run("kinesis_put.py", &["clicks", "1", "key"], RECORDS, &environment);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.json"), DESCRIBED).unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);

    let finished = program.succeed(&["run", "app.json", "--until", "caught-up", "--state", "none"]);

    assert!(finished.stderr.contains("to decide"), "{}", finished.stderr);
    assert!(finished.stderr.contains("eight"), "{}", finished.stderr);
    let out = folder.path().join("out");
    let files = files_below(&out);
    let text: String =
        files.iter().map(|file| fs::read_to_string(out.join(file)).unwrap()).collect();
    let mut rows: Vec<&str> = text.lines().collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            r#"{"ID":7,"ITEM":"X1","AT_MS":1541077200000,"SEEN":1}"#,
            r#"{"ID":7,"ITEM":"Y2","AT_MS":1541077200000,"SEEN":2}"#,
            r#"{"ID":7,"ITEM":null,"AT_MS":1541077201500,"SEEN":3}"#,
        ]
    );
}

#[test]
fn a_stream_is_discovered() {
    let server = KinesisServer::Embedded.start();
    let environment = server.environment();
    python::run("kinesis_put.py", &["clicks", "1", "key"], RECORDS, &environment);
    let folder = tempfile::tempdir().unwrap();
    let program = Program::in_folder(folder.path()).with(&environment);
    let finished = program.succeed(&["discover", "kinesis://clicks"]);
    for expected in ["TIMESTAMP MAPPING '$.ts'", "MAPPING '$.user.id'", "stream = 'clicks'"] {
        assert!(finished.stdout.contains(expected), "{expected}\n{}", finished.stdout);
    }
}
