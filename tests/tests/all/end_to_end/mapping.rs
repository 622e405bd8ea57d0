//! How records become rows, and what becomes of those that do not: the examples of the developer guide
//! (E24, E34 to E36), on files; and what stands for the functions before and behind an application
//! (E38, E39).

use std::fs;
use std::path::Path;

use millstream_tests::program::Program;

/// The rows that `statements` print of the file `name` with `content`, without the header.
fn rows(folder: &Path, name: &str, content: &str, statements: &str) -> Vec<String> {
    fs::write(folder.join(name), content).unwrap();
    let finished = Program::in_folder(folder).succeed(&["sql", "--format", "csv", statements]);
    finished.stdout.lines().skip(1).map(str::to_owned).collect()
}

/// A stream of columns of text over `r.json`, each mapped to a path.
fn mapped(paths: &[&str]) -> String {
    let columns: Vec<String> = paths
        .iter()
        .enumerate()
        .map(|(at, path)| format!("c{at} VARCHAR(80) MAPPING '{path}'"))
        .collect();
    let columns = columns.join(", ");
    format!("CREATE STREAM r ({columns}) WITH (connector = 'file', path = 'r.json');")
}

const NESTED: &str = r#"{"who":"Ann","home":{"city":"Oslo"},"items":[{"id":"7"},{"id":"8"},{"id":"9"}],"tags":["a","b"]}"#;

#[test]
fn e34_paths_reach_into_documents_and_one_array_becomes_rows() {
    let folder = tempfile::tempdir().unwrap();
    let of = |paths: &[&str]| {
        let statements = format!("{} SELECT * FROM r;", mapped(paths));
        rows(folder.path(), "r.json", NESTED, &statements)
    };
    assert_eq!(of(&["$.who", "$.home.city"]), ["Ann,Oslo"]);
    // A row of NULLs is a line of nothing.
    assert_eq!(of(&["$.zip", "$.nothing.here"]), [","]);
    assert_eq!(
        of(&["$.items[0:]"]),
        [r#""[{""id"":""7""},{""id"":""8""},{""id"":""9""}]""#],
        "the whole array is its text"
    );
    assert_eq!(of(&["$.who", "$.items[0:].id"]), ["Ann,7", "Ann,8", "Ann,9"]);
    let tags = r#""[""a"",""b""]""#;
    assert_eq!(
        of(&["$.items[0:].id", "$.tags[0:]"]),
        ["7", "8", "9"].map(|id| format!("{id},{tags}"))
    );
    assert_eq!(of(&["$.items[0:].nope", "$.items[0:].no"]), [","]);
    for paths in [["$.items[0:].id", "$.tags[0:].x"], ["$.a[0:].b[0:].c", "$.who"]] {
        let statements = format!("{} SELECT * FROM r;", mapped(&paths));
        let refused = Program::in_folder(folder.path()).run(&["sql", &statements]);
        assert_eq!(refused.status, Some(1), "{}", refused.stdout);
        assert!(
            refused.stderr.contains("cannot follow") || refused.stderr.contains("second array")
        );
    }
}

/// What a JSON value becomes in a column of a type: its text, or that it is set aside.
fn coerced(sql_type: &str, value: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let statements = format!(
        "CREATE STREAM r (c {sql_type}) WITH (connector = 'file', path = 'r.json'); SELECT c FROM r;"
    );
    let record = format!("{{\"c\":{value}}}\n");
    match rows(folder.path(), "r.json", &record, &statements).as_slice() {
        [] => "error".to_owned(),
        [one] => one.clone(),
        more => unreachable!("{more:?}"),
    }
}

#[test]
fn e35_json_values_become_sql_values_by_the_table() {
    for (sql_type, value, expected) in [
        ("INTEGER", "true", "1"),
        ("VARCHAR(2)", "true", "tr"),
        ("INTEGER", "12.5", "error"),
        ("BOOLEAN", "0", "false"),
        ("BOOLEAN", "7", "true"),
        ("DATE", "5", "error"),
        ("TIME", "5", "error"),
        ("INTEGER", "\"17\"", "17"),
        ("INTEGER", "\"x\"", "error"),
        ("BOOLEAN", "\"TRUE\"", "true"),
        ("BOOLEAN", "\"yes\"", "false"),
        ("VARCHAR(3)", "\"abcdef\"", "abc"),
        ("CHAR(5)", "\"abc\"", "abc  "),
        ("VARBINARY(1)", "\"X'3F'\"", "3f"),
        ("BINARY(2)", "\"X'3F'\"", "3f00"),
        ("TIMESTAMP", "\"1992-02-14\"", "1992-02-14 00:00:00.000"),
        ("TIMESTAMP", "\"1992-02-14 18:35:44.0\"", "1992-02-14 18:35:44.000"),
        ("VARCHAR(20)", "{\"a\":1}", "\"{\"\"a\"\":1}\""),
        ("INTEGER", "{\"a\":1}", "error"),
        ("TIMESTAMP", "true", "error"),
        ("DOUBLE", "[1]", "error"),
    ] {
        assert_eq!(coerced(sql_type, value), expected, "{value} as {sql_type}");
    }
    for sql_type in ["INTEGER", "VARCHAR(4)", "BOOLEAN", "VARBINARY(4)", "TIMESTAMP"] {
        assert_eq!(coerced(sql_type, "null"), "\"\"", "NULL as {sql_type}");
    }
}

#[test]
fn e36_rows_and_columns_of_csv_end_with_any_text() {
    let folder = tempfile::tempdir().unwrap();
    let stream = |options: &str| {
        format!(
            "CREATE STREAM d (last VARCHAR(16), first VARCHAR(16), id INTEGER) WITH (connector = 'file', \
             path = 'd.csv', header = 'false'{options}); SELECT * FROM d;"
        )
    };
    let of = |content: &str, options: &str| rows(folder.path(), "d.csv", content, &stream(options));
    assert_eq!(of("Doe,Jo,17,x,y\n", ""), ["Doe,Jo,17"], "the first columns, none skipped");
    let long = ", delimiter = '::', row_delimiter = '||'";
    assert_eq!(of("Doe::Jo::17||Roe::\"a::b||c\"::18||", long), ["Doe,Jo,17", "Roe,a::b||c,18"]);
    assert_eq!(of("a|b|1||c|d|2", ", delimiter = '|', row_delimiter = '||'"), ["a,b,1", "c,d,2"]);
    assert_eq!(
        of("a\tb\t1;c\td\t2;", ", delimiter = '\\t', row_delimiter = ';'"),
        ["a,b,1", "c,d,2"]
    );
    // A line that is bad is set aside alone, with its number.
    fs::write(folder.path().join("d.csv"), "a::b::x||c::d::2||").unwrap();
    let errors = format!("{} SELECT ERROR_NAME, RAW, POSITION FROM error_stream", stream(long));
    let finished = Program::in_folder(folder.path()).succeed(&["sql", "--format", "csv", &errors]);
    assert!(finished.stdout.contains("COERCION,a::b::x,line 1"), "{}", finished.stdout);
    let same = stream(", delimiter = ';', row_delimiter = ';'");
    let refused = Program::in_folder(folder.path()).run(&["sql", &same]);
    assert!(refused.stderr.contains("cannot end alike"), "{}", refused.stderr);
}

#[test]
fn e24_what_is_no_row_is_one_of_error_stream() {
    let folder = tempfile::tempdir().unwrap();
    let statements =
        "CREATE STREAM t (ticker_symbol INTEGER) WITH (connector = 'file', path = 't.json');
        SELECT ERROR_LEVEL, ERROR_NAME, DATA_ROW, STREAM_NAME FROM error_stream;";
    let content = "{\"TICKER_SYMBOL\":\"AAA\"}\n{\"TICKER_SYMBOL\":\"7\"}\n";
    let hex: String = r#"{"TICKER_SYMBOL":"AAA"}"#.bytes().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        rows(folder.path(), "t.json", content, statements),
        [format!("ERROR,COERCION,{hex},T")]
    );
}

#[test]
fn what_goes_out_is_written_by_the_type_of_its_column() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("v.json"), "{\"k\":1}\n{\"k\":2}\n").unwrap();
    let statements = r#"
        CREATE STREAM s (k INTEGER) WITH (connector = 'file', path = 'v.json', ordered = 'true');
        CREATE STREAM o (b BOOLEAN, t TINYINT, l BIGINT, d DECIMAL(6, 2), r REAL, x DOUBLE, c CHAR(4), v VARCHAR(20),
          y VARBINARY(4), da DATE, ti TIME, ts TIMESTAMP);
        CREATE PUMP p AS INSERT INTO o SELECT STREAM TRUE, CAST(7 AS TINYINT), 9, 1.5, CAST(2.5 AS REAL), 0.25, 'ab',
          'q"u,o', X'00ff', DATE '2018-11-01', TIME '10:11:12.5', TIMESTAMP '2018-11-01 10:11:12' FROM s WHERE k = 1;
        CREATE PUMP q AS INSERT INTO o (l) SELECT STREAM k FROM s WHERE k = 2;
        CREATE SINK j FROM o WITH (connector = 'file', path = 'j', format = 'json');
        CREATE SINK w FROM o WITH (connector = 'file', path = 'w', format = 'csv', delimiter = '||', header = 'false');"#;
    fs::write(folder.path().join("app.sql"), statements).unwrap();
    Program::in_folder(folder.path()).succeed(&["run", "app.sql"]);
    let written = |name: &str| {
        let out = folder.path().join(name);
        let files = super::files::files_below(&out);
        files.iter().map(|file| fs::read_to_string(out.join(file)).unwrap()).collect::<String>()
    };
    assert_eq!(
        written("j"),
        r#"{"b":true,"t":7,"l":9,"d":1.50,"r":2.5,"x":0.25,"c":"ab  ","v":"q\"u,o","y":"AP8=","da":"2018-11-01","ti":"10:11:12.500","ts":"2018-11-01 10:11:12"}
{"b":null,"t":null,"l":2,"d":null,"r":null,"x":null,"c":null,"v":null,"y":null,"da":null,"ti":null,"ts":null}
"#
    );
    assert_eq!(
        written("w"),
        "true||7||9||1.50||2.5||0.25||\"ab  \"||\"q\"\"u,o\"||AP8=||2018-11-01||10:11:12.500||2018-11-01 10:11:12\n\
         ||||2||||||||||||||||||\n"
    );
}

/// An application with a function before it and one behind it.
const WITH_FUNCTIONS: &str = r#"{"ApplicationDetail": {"ApplicationName": "f",
  "InputDescriptions": [{"NamePrefix": "S", "InAppStreamNames": ["S_001"],
    "KinesisStreamsInputDescription": {"ResourceARN": "arn:aws:kinesis:us-east-1:1:stream/s"},
    "InputProcessingConfigurationDescription": {"InputLambdaProcessorDescription": {"ResourceARN": "arn:aws:lambda:us-east-1:1:function:clean"}},
    "InputSchema": {"RecordFormat": {"RecordFormatType": "CSV", "MappingParameters":
      {"CSVMappingParameters": {"RecordRowDelimiter": "|\n", "RecordColumnDelimiter": "\t|"}}},
      "RecordColumns": [{"Name": "a", "SqlType": "INTEGER"}]}}],
  "OutputDescriptions": [{"Name": "D", "LambdaOutputDescription": {"ResourceARN": "arn:aws:lambda:us-east-1:1:function:notify"},
    "DestinationSchema": {"RecordFormatType": "JSON"}}],
  "ApplicationCode": "CREATE STREAM \"D\" (a INTEGER); CREATE PUMP p AS INSERT INTO \"D\" SELECT STREAM \"a\" FROM \"S_001\""}}"#;

#[test]
fn e38_and_e39_functions_before_and_behind_are_decisions() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.json"), WITH_FUNCTIONS).unwrap();
    let finished = Program::in_folder(folder.path()).succeed(&["import", "app.json"]);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    for expected in [
        "TO DECIDE: records went through the function arn:aws:lambda:us-east-1:1:function:clean first",
        "TO DECIDE: D went to the function arn:aws:lambda:us-east-1:1:function:notify",
        "row_delimiter = '|\\n'",
        "delimiter = '\\t|'",
    ] {
        let script = fs::read_to_string(folder.path().join("f.sql")).unwrap_or_default();
        assert!(
            said.contains(expected) || script.contains(expected),
            "{expected}\n{said}\n{script}"
        );
    }
}
