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
        Some(RelationShape { columns, system_columns, window_ends: Vec::new(), times: Vec::new() })
    }
}

fn resolved(text: &str, want_rowtime: bool) -> Result<ResolvedQuery, SqlError> {
    let statement = parse(text)?.remove(0);
    let StatementKind::Query(query) = statement.kind else { panic!("not a query: {text}") };
    resolve(&query.ast, &Fixture, want_rowtime)
}

/// Checks `text` with the row's time wanted: it must have one.
fn timed(text: &str, expected: &str) {
    let resolved = resolved(text, true).unwrap();
    assert_eq!(resolved.ast.to_string(), expected, "{text}");
    assert!(resolved.has_rowtime, "{text}");
}

/// Checks `text` with the row's time wanted: it must have none.
fn timeless(text: &str, expected: &str) {
    let resolved = resolved(text, true).unwrap();
    assert_eq!(resolved.ast.to_string(), expected, "{text}");
    assert!(!resolved.has_rowtime, "{text}");
}

/// Checks `text` without the row's time.
fn plain(text: &str, expected: &str) {
    let resolved = resolved(text, false).unwrap();
    assert_eq!(resolved.ast.to_string(), expected, "{text}");
    assert!(!resolved.has_rowtime, "{text}");
}

/// The time of the groups of `SELECT count(*) AS n FROM s GROUP BY key`.
fn time_of_group(key: &str) -> String {
    let resolved = resolved(&format!("SELECT count(*) AS n FROM s GROUP BY {key}"), true).unwrap();
    let printed = resolved.ast.to_string();
    let time = printed.strip_prefix("SELECT COUNT(*) AS N, ").unwrap_or("none ");
    assert_eq!(resolved.has_rowtime, time != "none ", "{printed}");
    time.split(" AS ROWTIME").next().unwrap().to_owned()
}

#[test]
fn a_wildcard_shows_the_declared_columns_only() {
    plain("SELECT * FROM s", "SELECT S.A, S.B, S.T FROM S");
    plain("SELECT x.* FROM s x", "SELECT X.A, X.B, X.T FROM S X");
    plain("SELECT ROWTIME, * FROM s", "SELECT S.ROWTIME, S.A, S.B, S.T FROM S");
    plain("SELECT * EXCEPT (b) FROM s", "SELECT S.A, S.T FROM S");
    plain("SELECT * FROM d", "SELECT * FROM D");
    plain("SELECT d.*, s.* FROM d, s", "SELECT D.A, D.NAME, S.A, S.B, S.T FROM D, S");
}

#[test]
fn the_time_comes_last_and_beside_a_shown_one() {
    timed("SELECT * FROM s", "SELECT S.A, S.B, S.T, S.ROWTIME AS ROWTIME FROM S");
    timed("SELECT ROWTIME, a FROM s", "SELECT S.ROWTIME, A, S.ROWTIME AS __ROWTIME FROM S");
    timed("SELECT x.a FROM s AS x", "SELECT X.A, X.ROWTIME AS ROWTIME FROM S AS X");
}

#[test]
fn promotion_replaces_the_time_and_keeps_ordinals_true() {
    timed(
        "SELECT t AS ROWTIME, a, b FROM s ORDER BY 1, 2, 3",
        "SELECT A, B, T AS ROWTIME FROM S ORDER BY 3, 1, 2",
    );
    timed(
        "SELECT MIN(s.ROWTIME) AS ROWTIME, a FROM s GROUP BY a",
        "SELECT A, MIN(S.ROWTIME) AS ROWTIME FROM S GROUP BY A",
    );
    timed("SELECT DISTINCT t AS ROWTIME, a FROM d", "SELECT DISTINCT A, T AS ROWTIME FROM D");
    plain("SELECT t AS ROWTIME, a FROM s", "SELECT T AS ROWTIME, A FROM S");
}

#[test]
fn a_join_takes_the_later_time_of_its_streams() {
    timed(
        "SELECT * FROM s JOIN u ON s.a = u.a AND ROWTIME > s.t",
        "SELECT S.A, S.B, S.T, U.A, U.C, greatest(S.ROWTIME, U.ROWTIME) AS ROWTIME FROM S JOIN U ON \
         S.A = U.A AND greatest(S.ROWTIME, U.ROWTIME) > S.T",
    );
    timed(
        "SELECT ROWTIME FROM s, u",
        "SELECT greatest(S.ROWTIME, U.ROWTIME) AS ROWTIME, greatest(S.ROWTIME, U.ROWTIME) AS __ROWTIME \
         FROM S, U",
    );
    timed(
        "SELECT s.a, name FROM s LEFT JOIN d ON s.a = d.a",
        "SELECT S.A, NAME, S.ROWTIME AS ROWTIME FROM S LEFT JOIN D ON S.A = D.A",
    );
    timed(
        "SELECT * FROM s NATURAL JOIN u",
        "SELECT S.A, S.B, S.T, U.C, greatest(S.ROWTIME, U.ROWTIME) AS ROWTIME FROM S JOIN U USING(A)",
    );
    timed(
        "SELECT * FROM s LEFT SEMI JOIN u ON s.a = u.a",
        "SELECT S.A, S.B, S.T, S.ROWTIME AS ROWTIME FROM S LEFT SEMI JOIN U ON S.A = U.A",
    );
}

#[test]
fn derived_tables_and_ctes_carry_the_time_behind_their_columns() {
    plain(
        "SELECT *, x.ROWTIME AS r FROM (SELECT a FROM s) x",
        "SELECT X.A, X.ROWTIME AS R FROM (SELECT A, S.ROWTIME AS ROWTIME FROM S) X",
    );
    plain(
        "SELECT * FROM (SELECT a FROM s) WHERE ROWTIME > t",
        "SELECT __derived_1.A FROM (SELECT A, S.ROWTIME AS ROWTIME FROM S) AS __derived_1 WHERE \
         __derived_1.ROWTIME > T",
    );
    timed(
        "WITH w(p, q) AS (SELECT a, b FROM s) SELECT * FROM w",
        "WITH W AS (SELECT A AS P, B AS Q, ROWTIME FROM (SELECT A, B, S.ROWTIME AS ROWTIME FROM S)) \
         SELECT W.P, W.Q, W.ROWTIME AS ROWTIME FROM W",
    );
    timed(
        "SELECT * FROM s AS x(p, q, r)",
        "SELECT X.P, X.Q, X.R, X.ROWTIME AS ROWTIME FROM (SELECT A AS P, B AS Q, T AS R, \
         ROWTIME, SHARD_ID FROM S) AS X",
    );
    let error = resolved("SELECT * FROM s AS x(p)", true).unwrap_err();
    assert_eq!(error.message, "1 names for the 3 columns of X");
    // A WITH hides a relation, and only inside its query.
    timeless(
        "SELECT a FROM (WITH s AS (SELECT 1 AS a) SELECT * FROM s) AS x",
        "SELECT A FROM (WITH S AS (SELECT 1 AS A) SELECT * FROM S) AS X",
    );
}

#[test]
fn the_time_of_a_group_is_the_end_of_its_window() {
    let cases = [
        ("s.ROWTIME", "S.ROWTIME"),
        (
            "STEP(s.ROWTIME BY INTERVAL '10' SECOND)",
            "(date_bin(INTERVAL '10' SECOND, S.ROWTIME) + INTERVAL '10' SECOND)",
        ),
        (
            "STEP(ROWTIME BY INTERVAL '1:30' MINUTE TO SECOND)",
            "(date_bin(INTERVAL '90' SECOND, S.ROWTIME) + INTERVAL '90' SECOND)",
        ),
        ("FLOOR(s.ROWTIME TO HOUR), a", "(date_trunc('hour', S.ROWTIME) + INTERVAL '1' HOUR)"),
        (
            "a, MONOTONIC(FLOOR(s.ROWTIME TO DAY))",
            "(date_trunc('day', S.ROWTIME) + INTERVAL '1' DAY)",
        ),
        ("CEIL(s.ROWTIME TO MINUTE)", "__ceil_to('minute', S.ROWTIME)"),
        (
            "FLOOR(s.ROWTIME TO HOUR) - INTERVAL '1' DAY",
            "(((date_trunc('hour', S.ROWTIME) - INTERVAL '1' DAY) + INTERVAL '1' DAY) + INTERVAL '1' HOUR)",
        ),
        (
            "STEP(s.ROWTIME + INTERVAL '5' SECOND BY INTERVAL '1' MINUTE)",
            "((date_bin(INTERVAL '1' MINUTE, S.ROWTIME + INTERVAL '5' SECOND) + INTERVAL '1' MINUTE) - INTERVAL '5' SECOND)",
        ),
        (
            "STEP(t BY INTERVAL '1' HOUR), STEP(s.ROWTIME BY INTERVAL '1' MINUTE)",
            "(date_bin(INTERVAL '1' MINUTE, S.ROWTIME) + INTERVAL '1' MINUTE)",
        ),
        ("STEP(t BY INTERVAL '1' HOUR)", "(date_bin(INTERVAL '1' HOUR, T) + INTERVAL '1' HOUR)"),
        ("STEP(t BY INTERVAL '1' HOUR), STEP(b BY INTERVAL '1' HOUR)", "none "),
        ("a", "none "),
        ("ROLLUP(a)", "none "),
    ];
    for (key, time) in cases {
        assert_eq!(time_of_group(key), time, "{key}");
    }
}

#[test]
fn rowtime_over_groups_is_the_windows_but_the_rows_inside_aggregates() {
    timed(
        "SELECT FLOOR(ROWTIME TO MINUTE) AS m, MIN(ROWTIME) AS f, ROWTIME FROM s GROUP BY 1 HAVING \
         MAX(ROWTIME) > ROWTIME",
        "SELECT date_trunc('minute', S.ROWTIME) AS M, MIN(S.ROWTIME) AS F, (date_trunc('minute', \
         S.ROWTIME) + INTERVAL '1' MINUTE) AS ROWTIME, (date_trunc('minute', S.ROWTIME) + INTERVAL '1' \
         MINUTE) AS __ROWTIME FROM S GROUP BY date_trunc('minute', S.ROWTIME) HAVING MAX(S.ROWTIME) > \
         (date_trunc('minute', S.ROWTIME) + INTERVAL '1' MINUTE)",
    );
    timed(
        "SELECT STEP(s.ROWTIME BY INTERVAL '1' HOUR) AS h FROM s GROUP BY h",
        "SELECT date_bin(INTERVAL '1' HOUR, S.ROWTIME) AS H, (date_bin(INTERVAL '1' HOUR, S.ROWTIME) + \
         INTERVAL '1' HOUR) AS ROWTIME FROM S GROUP BY date_bin(INTERVAL '1' HOUR, S.ROWTIME)",
    );
    let error = resolved("SELECT a, ROWTIME FROM s GROUP BY a", true).unwrap_err();
    assert_eq!(error.message, "a group has no ROWTIME unless it is grouped by time");
    assert_eq!(error.span.unwrap().start.column, 11);
}

#[test]
fn where_no_time_can_be_had_nothing_is_added() {
    timeless("SELECT count(*) AS n FROM s", "SELECT COUNT(*) AS N FROM S");
    timeless("SELECT DISTINCT a FROM s", "SELECT DISTINCT A FROM S");
    timeless("SELECT name FROM d", "SELECT NAME FROM D");
    timeless("VALUES (1)", "VALUES (1)");
    timeless("SELECT a FROM s UNION SELECT a FROM u", "SELECT A FROM S UNION SELECT A FROM U");
    timeless("SELECT ROWTIME FROM d", "SELECT ROWTIME FROM D");
}

#[test]
fn all_branches_of_a_union_have_the_time_or_none() {
    timed(
        "SELECT a FROM s UNION ALL SELECT a FROM u UNION ALL (SELECT c FROM u)",
        "SELECT A, S.ROWTIME AS ROWTIME FROM S UNION ALL SELECT A, U.ROWTIME AS ROWTIME FROM U UNION ALL \
         (SELECT C, U.ROWTIME AS ROWTIME FROM U)",
    );
    timeless(
        "SELECT a FROM s UNION ALL SELECT a FROM u UNION ALL SELECT a FROM d",
        "SELECT A FROM S UNION ALL SELECT A FROM U UNION ALL SELECT A FROM D",
    );
    timeless(
        "SELECT a FROM d UNION ALL SELECT a FROM s",
        "SELECT A FROM D UNION ALL SELECT A FROM S",
    );
}

#[test]
fn windows_and_subqueries_have_the_time_of_their_own_relations() {
    plain(
        "SELECT sum(b) OVER (PARTITION BY a ROWS 2 PRECEDING) AS n FROM s",
        "SELECT SUM(B) OVER (PARTITION BY A ORDER BY __arrival_order(S.ROWTIME) ROWS BETWEEN 2 PRECEDING \
         AND CURRENT ROW) AS N FROM S",
    );
    plain(
        "SELECT a FROM s WHERE EXISTS (SELECT * FROM u WHERE ROWTIME < s.ROWTIME) AND ROWTIME > t",
        "SELECT A FROM S WHERE EXISTS (SELECT U.A, U.C FROM U WHERE U.ROWTIME < S.ROWTIME) AND S.ROWTIME \
         > T",
    );
}

#[test]
fn expressions_without_a_name_are_numbered() {
    plain(
        "SELECT a + 1, a, (b), upper(t), t AS x FROM s",
        "SELECT A + 1 AS EXPR$0, A, (B) AS B, UPPER(T) AS EXPR$1, T AS X FROM S",
    );
}

#[test]
fn resolving_twice_changes_nothing() {
    for text in [
        "SELECT *, a + 1 FROM s",
        "SELECT ROWTIME, count(*) FROM s GROUP BY FLOOR(ROWTIME TO HOUR)",
    ] {
        let once = resolved(text, false).unwrap().ast;
        let twice = resolve(&once, &Fixture, false).unwrap().ast;
        assert_eq!(once.to_string(), twice.to_string());
    }
}

#[test]
fn the_deepest_query_that_is_read_is_resolved() {
    let chain = " + 1".repeat(crate::tokens::CHAIN_MAX - 10);
    let grouped = format!("SELECT max(a){chain} AS n FROM s GROUP BY FLOOR(s.ROWTIME TO HOUR)");
    assert!(resolved(&grouped, true).unwrap().has_rowtime);
    let deep = crate::tokens::NESTING_MAX - 3;
    let derived = format!("{}s{}", "SELECT * FROM (".repeat(deep), ")".repeat(deep));
    assert!(resolved(&derived, true).unwrap().has_rowtime);
    let unions = format!("SELECT a FROM s{}", " UNION ALL SELECT a FROM u".repeat(100));
    assert!(resolved(&unions, true).unwrap().has_rowtime);
}
