//! Both APIs' descriptions, and what cannot be taken over.

use millstream_sql::Catalog;

use super::*;

const SECOND: &str = r#"{"ApplicationDetail": {
  "ApplicationName": "tickers", "RuntimeEnvironment": "SQL-1_0",
  "ApplicationConfigurationDescription": {
    "SqlApplicationConfigurationDescription": {
      "InputDescriptions": [{
        "InputId": "1.1", "NamePrefix": "SOURCE_SQL_STREAM",
        "InAppStreamNames": ["SOURCE_SQL_STREAM_001"],
        "KinesisStreamsInputDescription": {"ResourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/ticks"},
        "InputSchema": {
          "RecordFormat": {"RecordFormatType": "JSON", "MappingParameters": {"JSONMappingParameters": {"RecordRowPath": "$.rows[0:]"}}},
          "RecordEncoding": "UTF-8",
          "RecordColumns": [
            {"Name": "ticker", "Mapping": "$.ticker", "SqlType": "VARCHAR(4)"},
            {"Name": "PRICE", "Mapping": "$.quote.price", "SqlType": "DOUBLE"}]},
        "InputStartingPositionConfiguration": {"InputStartingPosition": "NOW"}}],
      "ReferenceDataSourceDescriptions": [{
        "TableName": "Firms",
        "S3ReferenceDataSourceDescription": {"BucketARN": "arn:aws:s3:::refs", "FileKey": "a/firms.csv"},
        "ReferenceSchema": {
          "RecordFormat": {"RecordFormatType": "CSV", "MappingParameters": {"CSVMappingParameters": {"RecordRowDelimiter": "\n", "RecordColumnDelimiter": ";"}}},
          "RecordColumns": [{"Name": "Sym", "SqlType": "VARCHAR(4)"}, {"Name": "Firm", "SqlType": "VARCHAR(32)"}]}}],
      "OutputDescriptions": [
        {"Name": "DESTINATION_SQL_STREAM", "KinesisFirehoseOutputDescription": {"ResourceARN": "arn:aws:firehose:us-east-1:123456789012:deliverystream/to-s3"}, "DestinationSchema": {"RecordFormatType": "CSV"}},
        {"Name": "DESTINATION_SQL_STREAM", "LambdaOutputDescription": {"ResourceARN": "arn:aws:lambda:us-east-1:123456789012:function:f"}}]},
    "ApplicationCodeConfigurationDescription": {"CodeContentType": "PLAINTEXT", "CodeContentDescription": {"TextContent":
      "CREATE OR REPLACE STREAM \"DESTINATION_SQL_STREAM\" (t VARCHAR(4), f VARCHAR(20));\nCREATE OR REPLACE PUMP \"P\" AS INSERT INTO \"DESTINATION_SQL_STREAM\"\n  SELECT STREAM s.\"ticker\", f.\"Firm\" FROM \"SOURCE_SQL_STREAM_001\" AS s LEFT JOIN \"Firms\" AS f ON s.\"ticker\" = f.\"Sym\" -- done"}}}}}"#;

const FIRST: &str = r#"{"ApplicationDetail": {
  "ApplicationName": "old", "ApplicationStatus": "READY",
  "ApplicationCode": "CREATE STREAM \"OUT\" (a INTEGER);",
  "InputDescriptions": [{
    "NamePrefix": "IN", "InputParallelism": {"Count": 2},
    "KinesisFirehoseInputDescription": {"ResourceARN": "arn:aws:firehose:us-east-1:1:deliverystream/d"},
    "InputProcessingConfigurationDescription": {"InputLambdaProcessorDescription": {"ResourceARN": "arn:aws:lambda:us-east-1:1:function:clean"}},
    "InputSchema": {"RecordFormat": {"RecordFormatType": "JSON"}, "RecordColumns": [{"Name": "a", "Mapping": "$.a", "SqlType": "INTEGER"}]}}]}}"#;

/// The script declares what it says it does.
fn declared(sql: &str) -> Catalog {
    let mut catalog = Catalog::default();
    for statement in millstream_sql::parse(sql).unwrap() {
        assert!(catalog.apply(&statement).unwrap(), "{}", statement.text);
    }
    catalog
}

#[test]
fn an_application_becomes_a_script_that_declares_it() {
    let imported = import("a.json", SECOND).unwrap();
    let catalog = declared(&imported.sql);
    let input = &catalog.streams["SOURCE_SQL_STREAM_001"];
    assert_eq!(input.columns[0].mapping.as_deref(), Some("$.rows[0:].ticker"));
    assert_eq!(input.columns[1].mapping.as_deref(), Some("$.rows[0:].quote.price"));
    assert_eq!(input.option("start"), Some("latest"));
    assert_eq!(input.option("stream"), Some("arn:aws:kinesis:us-east-1:123456789012:stream/ticks"));
    let table = &catalog.tables["Firms"];
    assert_eq!(table.option("path"), Some("s3://refs/a/firms.csv"));
    assert_eq!((table.option("delimiter"), table.option("header")), (Some(";"), Some("false")));
    let sinks: Vec<&str> = catalog.sinks.keys().map(String::as_str).collect();
    assert_eq!(sinks, ["DESTINATION_SQL_STREAM", "DESTINATION_SQL_STREAM_2"]);
    assert_eq!(catalog.sinks["DESTINATION_SQL_STREAM"].0.option("names"), Some("declared"));
    millstream_sql::plan::application(&catalog).unwrap();
    assert!(imported.sql.contains("= f.\"Sym\" -- done\n"), "the code is as it was");
    assert_eq!(imported.decisions.len(), 3, "{:#?}", imported.decisions);
}

#[test]
fn what_cannot_be_taken_over_is_a_decision() {
    let imported = import("a.json", FIRST).unwrap();
    let catalog = declared(&imported.sql);
    assert!(catalog.streams.contains_key("IN_001") && catalog.streams.contains_key("OUT"));
    let all = imported.decisions.join("\n");
    for word in
        ["function:clean", "deliverystream/d", "IN_002", "where reading starts", "no output"]
    {
        assert!(all.contains(word), "{word} in\n{all}");
        assert!(imported.sql.contains(word), "{word} in\n{}", imported.sql);
    }
}

#[test]
fn what_is_no_application_is_refused() {
    for (text, why) in [
        ("{", "is not JSON"),
        ("{}", "describes no application"),
        (r#"{"ApplicationDetail": {"RuntimeEnvironment": "FLINK-1_18"}}"#, "runs on FLINK-1_18"),
    ] {
        let failure = import("a.json", text).unwrap_err();
        assert!(failure.text().contains(why), "{}", failure.text());
    }
    assert!(is_application("\u{feff} {}") && !is_application("SELECT 1"));
}

#[test]
fn error_stream_can_be_an_output() {
    let (before, after) = SECOND.split_once("\"OutputDescriptions\": [").unwrap();
    let errors = r#"{"OutputId": "9", "Name": "error_stream", "KinesisFirehoseOutputDescription":
        {"ResourceARN": "arn:aws:firehose:us-east-1:1:deliverystream/err"}, "DestinationSchema": {"RecordFormatType": "CSV"}},"#;
    let text = format!("{before}\"OutputDescriptions\": [{errors}{after}");
    let catalog = declared(&import("a.json", &text).unwrap().sql);
    assert!(catalog.sinks.contains_key("errors"));
    millstream_sql::plan::application(&catalog).unwrap();
}

#[test]
fn streams_side_by_side_are_all_declared() {
    let both = "CREATE STREAM \\\"OUT\\\" (a INTEGER); CREATE PUMP p AS INSERT INTO \\\"OUT\\\" \
        SELECT STREAM \\\"a\\\" FROM \\\"IN_001\\\" WHERE SHARD_ID <> 'x'; CREATE PUMP q AS INSERT INTO \
        \\\"OUT\\\" SELECT STREAM \\\"a\\\" FROM \\\"IN_002\\\" WHERE SHARD_ID <> 'x';";
    let described = FIRST.replace("CREATE STREAM \\\"OUT\\\" (a INTEGER);", both);
    let catalog = declared(&import("a.json", &described).unwrap().sql);
    assert_eq!(catalog.streams["IN_002"].option("connector"), Some("none"));
    assert_eq!(catalog.streams["IN_002"].columns.len(), 1);
    millstream_sql::plan::application(&catalog).unwrap();
}

#[test]
fn an_output_to_a_stream_goes_there_and_files_never_meet() {
    let (before, after) = SECOND.split_once("\"OutputDescriptions\": [").unwrap();
    let more = r#"
        {"Name": "DESTINATION_SQL_STREAM", "KinesisStreamsOutputDescription": {"ResourceARN": "arn:aws:kinesis:us-east-1:1:stream/to"}, "DestinationSchema": {"RecordFormatType": "CSV"}},
        {"Name": "DESTINATION_SQL_STREAM", "KinesisFirehoseOutputDescription": {"ResourceARN": "arn:aws:firehose:us-east-1:1:deliverystream/to-s3"}},"#;
    let text = format!("{before}\"OutputDescriptions\": [{more}{after}");
    let imported = import("a.json", &text).unwrap();
    let catalog = declared(&imported.sql);
    let sink = |name: &str, option: &str| {
        catalog.sinks[name].0.option(option).map(str::to_owned).unwrap_or_default()
    };
    let first = "DESTINATION_SQL_STREAM";
    assert_eq!(sink(first, "connector"), "kinesis");
    assert_eq!(sink(first, "stream"), "arn:aws:kinesis:us-east-1:1:stream/to");
    assert_eq!((sink(first, "format"), sink(first, "names")), ("csv".into(), "declared".into()));
    let paths = [2, 3, 4].map(|number| sink(&format!("{first}_{number}"), "path"));
    assert_eq!(paths, ["out/to-s3", "out/to-s3_2", "out/f"]);
    for (sink, _) in catalog.sinks.values() {
        let kind = millstream_connectors::options::RelationKind::Sink;
        millstream_connectors::validate(kind, sink).unwrap();
    }
}

#[test]
fn what_cannot_be_declared_is_left_to_a_person() {
    let text = r#"{"ApplicationName": "x\nDROP", "ApplicationCode": "CREATE STREAM o (a INTEGER);",
        "Inputs": [{"NamePrefix": "X"}],
        "ReferenceDataSources": [{"TableName": "T", "ReferenceSchema": {"RecordFormat": {"RecordFormatType": "CSV"},
            "RecordColumns": [{"Name": "a", "SqlType": "INTEGER"}]}}],
        "Outputs": [{}]}"#;
    let imported = import("a.json", text).unwrap();
    let catalog = declared(&imported.sql);
    assert_eq!((catalog.streams.len(), catalog.tables.len(), catalog.sinks.len()), (1, 0, 0));
    let all = imported.decisions.join("\n");
    for word in ["no schema for X_001", "the data of T", "no name of a stream"] {
        assert!(all.contains(word), "{word} in\n{all}");
    }
}
