//! What queries become; that they mean what they should is for the planner's tests.

use super::*;
use crate::parse;
use crate::statement::StatementKind;

struct Fixture;

/// Streams S (A, B, T) and U (A, C), table D (A, NAME).
impl Relations for Fixture {
    fn relation(&self, name: &str) -> Option<RelationShape> {
        let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (columns, system_columns): (Vec<String>, Vec<String>) = match name {
            "S" => (strings(&["A", "B", "T"]), strings(&["ROWTIME", "SHARD_ID"])),
            "U" => (strings(&["A", "C"]), strings(&["ROWTIME"])),
            "D" => (strings(&["A", "NAME"]), Vec::new()),
            _ => return None,
        };
        Some(RelationShape { columns, system_columns })
    }
}

fn resolved(text: &str, want_rowtime: bool) -> Result<ResolvedQuery, SqlError> {
    let statement = parse(text)?.remove(0);
    let StatementKind::Query(query) = statement.kind else { panic!("not a query: {text}") };
    resolve(&query.ast, &Fixture, want_rowtime)
}

/// With the row's time wanted: the query, which must have one.
fn timed(text: &str) -> String {
    let resolved = resolved(text, true).unwrap();
    assert!(resolved.has_rowtime, "{}", resolved.ast);
    resolved.ast.to_string()
}

/// With the row's time wanted: the query, which must have none.
fn timeless(text: &str) -> String {
    let resolved = resolved(text, true).unwrap();
    assert!(!resolved.has_rowtime, "{}", resolved.ast);
    resolved.ast.to_string()
}

fn plain(text: &str) -> String {
    let resolved = resolved(text, false).unwrap();
    assert!(!resolved.has_rowtime);
    resolved.ast.to_string()
}

#[test]
fn probe() {
    for t in [
        "SELECT STREAM * FROM s",
        "SELECT STREAM ROWTIME, * FROM s",
        "SELECT STREAM b AS ROWTIME, * FROM s ORDER BY 1, 2",
        "SELECT * FROM s AS x(p, q, r)",
        "SELECT * FROM s JOIN u ON s.a = u.a",
        "SELECT ROWTIME, s.* FROM s JOIN u ON s.a = u.a AND ROWTIME > s.t",
        "SELECT * FROM s JOIN u USING (a)",
        "SELECT * FROM s NATURAL JOIN u",
        "SELECT * FROM s LEFT JOIN d ON s.a = d.a",
        "SELECT x.ROWTIME, ROWTIME, * FROM (SELECT * FROM s) x",
        "SELECT * FROM (SELECT STREAM a, b FROM s)",
        "WITH w(p, q) AS (SELECT a, b FROM s) SELECT *, ROWTIME AS t FROM w",
        "SELECT ROWTIME, a, count(*) FROM s GROUP BY STEP(ROWTIME BY INTERVAL '10' SECOND), a",
        "SELECT FLOOR(ROWTIME TO MINUTE) m, MIN(ROWTIME) f, ROWTIME r FROM s GROUP BY FLOOR(s.ROWTIME TO MINUTE)",
        "SELECT FLOOR(s.ROWTIME TO MINUTE) AS m, count(*) AS n FROM s GROUP BY 1",
        "SELECT CEIL(s.ROWTIME TO HOUR) AS m, count(*) AS n FROM s GROUP BY m",
        "SELECT count(*) FROM s GROUP BY FLOOR(s.ROWTIME - INTERVAL '1' DAY TO HOUR)",
        "SELECT count(*) FROM s GROUP BY FLOOR(s.ROWTIME TO HOUR) - INTERVAL '1' DAY",
        "SELECT count(*) FROM s GROUP BY s.ROWTIME",
        "SELECT count(*) FROM s GROUP BY STEP(t BY INTERVAL '1' MINUTE)",
        "SELECT count(*) FROM s GROUP BY STEP(t BY INTERVAL '1' MINUTE), STEP(s.ROWTIME BY INTERVAL '1' HOUR)",
        "SELECT count(*) FROM s",
        "SELECT a FROM s GROUP BY a",
        "SELECT DISTINCT a FROM s",
        "VALUES (1)",
        "SELECT MIN(s.ROWTIME) AS ROWTIME, a FROM s GROUP BY a",
        "SELECT a FROM s UNION ALL SELECT a FROM u",
        "SELECT a FROM s UNION ALL SELECT a FROM d",
        "SELECT sum(b) OVER (PARTITION BY a RANGE INTERVAL '1' HOUR PRECEDING) FROM s",
        "SELECT a + 1, a, (b), upper(c) FROM u",
        "SELECT a FROM s WHERE EXISTS (SELECT * FROM u WHERE u.a = s.a AND ROWTIME < s.ROWTIME)",
        "SELECT * FROM d",
        "SELECT ROWTIME FROM s GROUP BY a",
    ] {
        match resolved(t, true) { Ok(r) => println!("{}\n     -> {} {}", t, r.has_rowtime, r.ast), Err(e) => println!("{t}\n     {}", e.render("t", t)) }
    }
}
