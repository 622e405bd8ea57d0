//! What the parser makes of each form of the dialect.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may stop at once")]

use arrow::datatypes::{DataType, TimeUnit};
use millstream_engine::definition::Rowtime;
use millstream_sql::statement::{Create, Query, SinkInput};
use millstream_sql::{
    Folding, Statement, StatementKind, parse, parse_folding, statement_is_complete,
};

fn one(text: &str) -> Statement {
    match parse(text) {
        Ok(mut statements) => {
            assert_eq!(statements.len(), 1, "{text}");
            statements.remove(0)
        }
        Err(error) => panic!("{}", error.render("test.sql", text)),
    }
}

fn query(text: &str) -> Query {
    match one(text).kind {
        StatementKind::Query(query) => query,
        other => panic!("not a query: {other:?}"),
    }
}

fn stream(text: &str) -> Create {
    match one(text).kind {
        StatementKind::CreateStream(create) => create,
        other => panic!("not a stream: {other:?}"),
    }
}

/// The query as sqlparser prints it.
fn printed(text: &str) -> String {
    query(text).ast.to_string()
}

/// The one selected expression, printed.
fn selected(expr: &str) -> String {
    let printed = printed(&format!("SELECT {expr} FROM s"));
    printed.strip_prefix("SELECT ").unwrap().strip_suffix(" FROM S").unwrap().to_owned()
}

#[test]
fn stream_behind_select_is_a_keyword_and_never_a_column() {
    for text in [
        "SELECT STREAM a FROM s",
        "select stream a from s",
        "SELECT\n\tStReAm a FROM s",
        "SELECT /* x */ STREAM -- y\n a FROM s",
    ] {
        assert_eq!(printed(text), "SELECT A FROM S", "{text}");
        assert!(query(text).stream, "{text}");
    }
    assert_eq!(printed("SELECT STREAM * FROM s"), "SELECT * FROM S");
    assert_eq!(printed("SELECT STREAM DISTINCT a FROM s"), "SELECT DISTINCT A FROM S");
    assert_eq!(printed("SELECT STREAM ROWTIME, * FROM s"), "SELECT ROWTIME, * FROM S");
    assert_eq!(
        printed("SELECT STREAM a FROM (SELECT STREAM a FROM s) AS t"),
        "SELECT A FROM (SELECT A FROM S) AS T"
    );
}

#[test]
fn only_the_outermost_select_makes_a_query_continuous() {
    assert!(!query("SELECT a FROM s").stream);
    assert!(!query("SELECT a FROM (SELECT STREAM a FROM s) AS t").stream);
    assert!(query("(SELECT STREAM a FROM s)").stream);
    assert!(query("WITH w AS (SELECT a FROM s) SELECT STREAM a FROM w").stream);
    assert!(!query("WITH w AS (SELECT STREAM a FROM s) SELECT a FROM w").stream);
    assert!(query("SELECT a FROM s UNION ALL SELECT STREAM a FROM t").stream);
    assert!(!query("VALUES (1)").stream);
}

#[test]
fn stream_elsewhere_is_a_word_like_any_other() {
    assert_eq!(
        printed("SELECT t.stream, a AS stream FROM stream t"),
        "SELECT T.STREAM, A AS STREAM FROM STREAM T"
    );
    assert_eq!(printed("SELECT \"STREAM\" FROM s"), "SELECT \"STREAM\" FROM S");
    let create = stream("CREATE STREAM s (stream INT) WITH (stream = 'x')");
    assert_eq!(create.def.option("stream"), Some("x"));
    assert_eq!(create.def.columns[0].name, "STREAM");
}

#[test]
fn identifiers_fold_but_not_what_is_quoted() {
    let text = "SELECT Price, \"Price\", 'Price', strasse /* Price */ FROM \"s\" -- Price";
    assert_eq!(printed(text), "SELECT PRICE, \"Price\", 'Price', STRASSE FROM \"s\"");
    let lower = format!("SET identifier_folding = 'lower'; {text}");
    let StatementKind::Query(query) = &parse(&lower).unwrap()[1].kind else { panic!() };
    assert_eq!(query.ast.to_string(), "SELECT price, \"Price\", 'Price', strasse FROM \"s\"");
    let lower = parse_folding("SELECT Rowtime, A FROM Error_Stream", Folding::Lower).unwrap();
    let StatementKind::Query(query) = &lower[0].kind else { panic!() };
    assert_eq!(query.ast.to_string(), "SELECT ROWTIME, a FROM ERROR_STREAM");
}

#[test]
fn statements_end_with_semicolons_and_the_last_may_lack_it() {
    let text = ";;SELECT 1; -- ;\nSELECT ';' /* ; */;\n// it's ; over\n";
    let statements = parse(text).unwrap();
    let texts: Vec<&str> = statements.iter().map(|statement| statement.text.as_str()).collect();
    assert_eq!(texts, ["SELECT 1", "SELECT ';'"]);
    assert_eq!(statements[1].span.start.line, 2);
    assert!(parse("").unwrap().is_empty());
}

#[test]
fn times_are_rounded_by_functions_of_datafusion() {
    let cases = [
        ("STEP(s.ROWTIME BY INTERVAL '10' SECOND)", "date_bin(INTERVAL '10' SECOND, S.ROWTIME)"),
        ("step (t by INTERVAL '1' YEAR)", "date_bin(INTERVAL '1' YEAR, T)"),
        ("STEP(i BY 5)", "__step(I, 5)"),
        ("FLOOR(t TO MINUTE)", "date_trunc('minute', T)"),
        ("FLOOR(2.5)", "FLOOR(2.5)"),
        ("CEIL(t TO HOUR)", "__ceil_to('hour', T)"),
        (
            "MONOTONIC(FLOOR(STEP(t BY INTERVAL '1' DAY) TO DAY))",
            "(date_trunc('day', date_bin(INTERVAL '1' DAY, T)))",
        ),
        ("max(STEP(t BY INTERVAL '1' DAY))", "MAX(date_bin(INTERVAL '1' DAY, T))"),
        ("step(1, 2)", "error: expected BY, found ,"),
    ];
    for (text, expected) in cases {
        match expected.strip_prefix("error: ") {
            Some(message) => {
                assert_eq!(parse(&format!("SELECT {text} FROM s")).unwrap_err().message, message);
            }
            None => assert_eq!(selected(text), expected, "{text}"),
        }
    }
    assert_eq!(
        printed("SELECT 1 FROM s GROUP BY STEP(t BY INTERVAL '1' DAY) ORDER BY FLOOR(t TO SECOND)"),
        "SELECT 1 FROM S GROUP BY date_bin(INTERVAL '1' DAY, T) ORDER BY date_trunc('second', T)"
    );
    assert_eq!(printed("SELECT step FROM pump AS monotonic"), "SELECT STEP FROM PUMP AS MONOTONIC");
}

#[test]
fn intervals_mean_what_the_standard_says() {
    let cases = [
        ("'1' HOUR", "'1' HOUR"),
        ("'60' SECOND(3)", "'60' SECOND"),
        ("' 5 ' MINUTES", "'5' MINUTE"),
        ("5 DAY", "'5' DAY"),
        ("'-5' DAY", "'-5' DAY"),
        ("-'5' DAY", "'-5' DAY"),
        ("'1:30' HOUR TO MINUTE", "'90' MINUTE"),
        ("'59:59.999' MINUTE TO SECOND(3)", "'3599999' MILLISECOND"),
        ("'1 12:00:00' DAY TO SECOND", "'36' HOUR"),
        ("'0 00:00:00.001' DAY TO SECOND", "'1' MILLISECOND"),
        ("'-1 06' DAY TO HOUR", "'-30' HOUR"),
        ("'1-6' YEAR TO MONTH", "'18' MONTH"),
        ("'1.5' SECOND", "'1500' MILLISECOND"),
        ("'0' SECOND", "'0' SECOND"),
        ("'2' WEEK", "'14' DAY"),
        ("'90 seconds'", "'90' SECOND"),
        ("'1 month 3 days'", "'1 month 3 days'"),
    ];
    for (text, expected) in cases {
        assert_eq!(selected(&format!("INTERVAL {text}")), format!("INTERVAL {expected}"), "{text}");
    }
    for text in [
        "'x' DAY",
        "'1:30' MINUTE TO HOUR",
        "'1' HOUR TO MINUTE",
        "'1' MONTH TO DAY",
        "a DAY",
        "'0.0001' SECOND",
        "'' DAY",
        "'9999999999999999999' DAY",
    ] {
        let query = format!("SELECT 1,\n INTERVAL {text}");
        let error = parse(&query).unwrap_err();
        assert_eq!(error.span.map(|span| span.start.line), Some(2), "{text}: {error}");
    }
}

#[test]
fn windows_without_an_order_are_in_order_of_arrival() {
    let order = "ORDER BY __arrival_order(ROWTIME)";
    let hour = "RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW";
    let cases = [
        (
            "avg(x) OVER (PARTITION BY k RANGE INTERVAL '1' HOUR PRECEDING)",
            format!("AVG(X) OVER (PARTITION BY K {order} {hour})"),
        ),
        (
            "avg(x) OVER (ROWS 10 PRECEDING)",
            format!("AVG(X) OVER ({order} ROWS BETWEEN 10 PRECEDING AND CURRENT ROW)"),
        ),
        (
            "avg(x) OVER (RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW)",
            format!("AVG(X) OVER ({order} {hour})"),
        ),
        (
            "avg(x) OVER (RANGE UNBOUNDED PRECEDING)",
            format!("AVG(X) OVER ({order} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"),
        ),
        (
            "avg(x) OVER (ORDER BY t RANGE INTERVAL '1' HOUR PRECEDING)",
            "AVG(X) OVER (ORDER BY T RANGE INTERVAL '1' HOUR PRECEDING)".to_owned(),
        ),
        ("avg(x) OVER (PARTITION BY k)", "AVG(X) OVER (PARTITION BY K)".to_owned()),
        (
            "LAG(x, 1) IGNORE NULLS OVER (ROWS 1 PRECEDING)",
            // In the order of arrival the function is one of ours.
            format!(
                "__nth(X, 'BEFORE', 1, true, NULL) OVER ({order} ROWS BETWEEN 1 PRECEDING AND \
                 CURRENT ROW)"
            ),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(selected(text), expected, "{text}");
    }
}

#[test]
fn named_windows_are_put_where_they_are_used() {
    assert_eq!(
        printed(
            "SELECT sum(x) OVER w, sum(y) OVER (w ROWS 1 PRECEDING), sum(z) OVER v FROM s WINDOW w AS (PARTITION BY k), v AS w, u AS (w RANGE INTERVAL '1' DAY PRECEDING)"
        ),
        "SELECT SUM(X) OVER (PARTITION BY K), SUM(Y) OVER (PARTITION BY K ORDER BY __arrival_order(ROWTIME) \
         ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), SUM(Z) OVER (PARTITION BY K) FROM S"
    );
}

#[test]
fn a_stream_has_columns_options_and_a_time() {
    let create = stream(
        "CREATE OR REPLACE STREAM jobs (id VARCHAR(16) NOT NULL, \"p\" DOUBLE MAPPING '$.q.p', t TIMESTAMP, \
         WATERMARK FOR t AS t - INTERVAL '1:30' MINUTE TO SECOND) DESCRIPTION 'x' \
         WITH (connector = 'kinesis', Stream = bgJobs, a.B = -3, 'Quoted Key' = \"v\")",
    );
    assert!(create.or_replace);
    assert_eq!(create.def.name, "JOBS");
    assert_eq!(create.def.rowtime, Rowtime::Column { column: 2, delay_ms: 90_000 });
    let options: Vec<_> =
        create.def.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected =
        [("connector", "kinesis"), ("stream", "bgJobs"), ("a.b", "-3"), ("quoted key", "v")];
    assert_eq!(options, expected);
    assert_eq!(create.option_spans.len(), 4);
    let [id, p, _] = create.def.columns.as_slice() else { panic!() };
    assert_eq!((id.name.as_str(), id.length_max, id.nullable), ("ID", Some(16), false));
    assert_eq!((p.name.as_str(), p.mapping.as_deref(), p.nullable), ("p", Some("$.q.p"), true));
    let rowtime = |tail: &str| stream(&format!("CREATE STREAM s (t TIMESTAMP{tail}")).def.rowtime;
    assert_eq!(rowtime(")"), Rowtime::Arrival);
    assert_eq!(rowtime(", WATERMARK FOR t AS t)"), Rowtime::Column { column: 0, delay_ms: 0 });
    assert_eq!(rowtime(") WITH (rowtime = 'ts')"), Rowtime::Field("ts".into()));
}

#[test]
fn types_are_those_of_arrow() {
    let ms = TimeUnit::Millisecond;
    let cases = [
        ("VARCHAR", DataType::Utf8, None),
        ("varchar(4)", DataType::Utf8, Some(4)),
        ("CHAR(3)", DataType::Utf8, Some(3)),
        ("CHARACTER VARYING(65535)", DataType::Utf8, Some(65_535)),
        ("INT", DataType::Int32, None),
        ("INTEGER", DataType::Int32, None),
        ("BIGINT", DataType::Int64, None),
        ("SMALLINT", DataType::Int16, None),
        ("TINYINT", DataType::Int8, None),
        ("REAL", DataType::Float32, None),
        ("FLOAT", DataType::Float64, None),
        ("DOUBLE", DataType::Float64, None),
        ("DOUBLE PRECISION", DataType::Float64, None),
        ("DECIMAL", DataType::Decimal128(18, 0), None),
        ("NUMERIC(10)", DataType::Decimal128(10, 0), None),
        ("DEC(10, 2)", DataType::Decimal128(10, 2), None),
        ("BOOLEAN", DataType::Boolean, None),
        ("DATE", DataType::Date32, None),
        ("TIME", DataType::Time32(ms), None),
        ("TIMESTAMP", DataType::Timestamp(ms, None), None),
        ("TIMESTAMP(3) WITHOUT TIME ZONE", DataType::Timestamp(ms, None), None),
        ("VARBINARY(10)", DataType::Binary, Some(10)),
        ("BINARY VARYING(10)", DataType::Binary, Some(10)),
    ];
    for (name, data_type, length_max) in cases {
        let create = stream(&format!("CREATE STREAM s (a {name} NOT NULL)"));
        let column = &create.def.columns[0];
        assert_eq!((&column.data_type, column.length_max), (&data_type, length_max), "{name}");
    }
}

#[test]
fn pumps_name_their_stream_and_columns() {
    let pump = |text: &str| match one(text).kind {
        StatementKind::CreatePump(pump) => pump,
        other => panic!("not a pump: {other:?}"),
    };
    let full = pump(
        "CREATE OR REPLACE PUMP p STOPPED AS INSERT EXPEDITED INTO d (a, \"b\") SELECT STREAM x, y FROM s",
    );
    assert!(!full.started && full.or_replace && full.query.stream);
    assert_eq!((full.name.as_str(), full.target.value.as_str()), ("P", "D"));
    assert_eq!(full.columns.iter().map(|name| name.value.as_str()).collect::<Vec<_>>(), ["A", "b"]);
    let short = pump("CREATE PUMP p AS INSERT INTO d (SELECT x FROM s)");
    assert!(short.started && short.columns.is_empty() && !short.query.stream);
    assert!(pump("CREATE PUMP p STARTED AS INSERT INTO d VALUES (1)").started);
}

#[test]
fn sinks_write_a_relation_or_a_query() {
    let StatementKind::CreateSink { create, input } =
        one("CREATE SINK x FROM y WITH (path = 'z')").kind
    else {
        panic!()
    };
    assert_eq!((create.def.name.as_str(), create.def.option("path")), ("X", Some("z")));
    assert!(matches!(input, SinkInput::Relation(name) if name.value == "Y"));
    let StatementKind::CreateSink { input, .. } =
        one("CREATE OR REPLACE SINK x WITH (path = 'z') AS SELECT STREAM a FROM s").kind
    else {
        panic!()
    };
    assert!(matches!(input, SinkInput::Query(query) if query.stream));
}

#[test]
fn the_other_statements() {
    let cases = [
        ("DROP STREAM IF EXISTS a", "Drop { object: \"STREAM\", if_exists: true, name: A }"),
        ("drop sink \"a\"", "Drop { object: \"SINK\", if_exists: false, name: a }"),
        ("SHOW pumps", "Show(\"PUMPS\")"),
        ("DESC a", "Describe(A)"),
        ("DESCRIBE a;", "Describe(A)"),
        ("START PUMP p", "SwitchPump { names: P, start: true }"),
        ("STOP PUMP p", "SwitchPump { names: P, start: false }"),
        ("ALTER PUMP p STOP", "SwitchPump { names: P, start: false }"),
        ("ALTER PUMP s.p, q START", "SwitchPump { names: P, Q, start: true }"),
        ("ALTER PUMP s.* STOP", "SwitchPump { names: *, start: false }"),
        ("SET unbounded_state = 'allow'", "Set { key: \"unbounded_state\", value: \"allow\" }"),
        (
            "SET Identifier_Folding TO upper",
            "Set { key: \"identifier_folding\", value: \"upper\" }",
        ),
    ];
    for (text, expected) in cases {
        let shown = match one(text).kind {
            StatementKind::Drop { object, if_exists, name } => {
                format!(
                    "Drop {{ object: {object:?}, if_exists: {if_exists}, name: {} }}",
                    name.value
                )
            }
            StatementKind::Describe(name) => format!("Describe({})", name.value),
            StatementKind::SwitchPump { names, start } => {
                let names: Vec<_> = names.iter().map(|name| name.value.as_str()).collect();
                format!("SwitchPump {{ names: {}, start: {start} }}", names.join(", "))
            }
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{text}");
    }
    let StatementKind::Explain { analyze, statement } = one("EXPLAIN ANALYZE SELECT STREAM 1").kind
    else {
        panic!()
    };
    assert!(analyze);
    assert_eq!(statement.text, "SELECT STREAM 1");
    assert!(
        matches!(one("CREATE TABLE t WITH (path = 'x')").kind, StatementKind::CreateTable(create) if create.def.columns.is_empty())
    );
    assert!(
        matches!(one("CREATE VIEW v AS SELECT 1").kind, StatementKind::CreateView { name, .. } if name == "V")
    );
}

#[test]
fn complete_is_what_ends_with_a_semicolon_of_its_own() {
    for text in ["", "  -- x", "SELECT 1;", "SELECT 1; -- done", "SELECT ';';  /* ; */ ", "//;\n"] {
        assert!(statement_is_complete(text), "{text}");
    }
    for text in [
        "SELECT 1",
        "SELECT ';",
        "SELECT 1 -- ;",
        "SELECT \"a;",
        "/* ;",
        "SELECT 1; SELECT 2",
        "'x;\n",
    ] {
        assert!(!statement_is_complete(text), "{text}");
    }
}
