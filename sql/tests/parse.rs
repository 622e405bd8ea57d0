//! What the parser makes of each form of the dialect.

use millstream_sql::statement::{Query, SinkInput};
use millstream_sql::{Statement, StatementKind, parse};

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

/// The query as sqlparser prints it.
fn printed(text: &str) -> String {
    query(text).ast.to_string()
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
    assert!(!query("SELECT a FROM s").stream);
}

#[test]
fn smoke() {
    for text in [
        "SELECT STREAM a FROM (SELECT STREAM x, stream.y FROM s) AS t",
        "SELECT STREAM STEP(s.rowtime BY INTERVAL '10' SECOND), count(*) FROM s GROUP BY STEP(s.rowtime BY INTERVAL '10' SECOND), sym",
        "SELECT STREAM FLOOR(s.rowtime TO MINUTE), CEIL(s.rowtime TO HOUR), MONOTONIC(STEP(x BY INTERVAL '1:30' HOUR TO MINUTE)) FROM s",
        "SELECT STREAM avg(x) OVER (PARTITION BY k RANGE INTERVAL '59:59.999' MINUTE TO SECOND(3) PRECEDING) FROM s",
        "SELECT STREAM avg(x) OVER w, sum(y) OVER (w ROWS 3 PRECEDING) FROM s WINDOW w AS (PARTITION BY k RANGE INTERVAL '60' SECOND(3) PRECEDING)",
        "SELECT upper(x) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(t), INTERVAL '10' SECOND)) AS w",
        "SELECT * FROM TABLE(F(CURSOR(SELECT STREAM * FROM s), 3))",
        "(SELECT 1) UNION ALL SELECT 2",
        "SELECT step(i BY 5) FROM s",
        "SELECT a // comment don't\n FROM s",
    ] {
        println!("{}", printed(text));
    }
    for text in ["SELECT (t1 - t2) SECOND FROM s", "SELECT STREAM FROM s", "SELECT a FROM s WHERE", "SELECT a b c FROM s", "SELEC x",
        "CREATE STREAM x (a VARCHR(3))", "CREATE SREAM x (a INT)", "SELECT 'x FROM s", "CREATE PUMP p AS INSERT INTO s SELECT STREAM a FRM s", "SELECT count(*) minute, x FROM s OVER w",
        "SELECT ((a) FROM s"] {
        let e = parse(text);
        match e { Err(e) => println!("{}", e.render("f.sql", text)), Ok(o) => println!("OK?? {o:?}") }
    }
    let text = "CREATE OR REPLACE STREAM jobs (company_id VARCHAR(16) NOT NULL, \"price\" DOUBLE MAPPING '$.q.p', d DECIMAL(10,2), event_time TIMESTAMP, WATERMARK FOR event_time AS event_time - INTERVAL '1:30' MINUTE TO SECOND) DESCRIPTION 'x' WITH (connector = 'kinesis', stream = bg, n = -3, delay = true);";
    println!("{:#?}", one(text));
    let _ = SinkInput::Relation;
}
