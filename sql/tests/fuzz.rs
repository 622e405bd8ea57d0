//! Broken texts: whatever stands in them, the parser and the planner answer, and say where it is wrong.

#![expect(clippy::unwrap_used, reason = "tests may stop at once")]

use millstream_sql::{Catalog, StatementKind, parse, plan};
use proptest::prelude::*;

/// Streams that the examples read.
const DECLARED: &str = "
CREATE STREAM s (a INTEGER, b VARCHAR(8), t TIMESTAMP);
CREATE STREAM r (a INTEGER, c DOUBLE);
CREATE STREAM d (a INTEGER, n BIGINT);
CREATE TABLE f (a INTEGER, name VARCHAR(8));
CREATE FUNCTION twice (x INTEGER) RETURNS INTEGER RETURN x * 2;
";

/// Texts of every statement and clause; what is tried is made of their words.
const EXAMPLES: [&str; 34] = [
    "CREATE OR REPLACE STREAM \"X\" (a INTEGER NOT NULL, b VARCHAR(8)) DESCRIPTION 'x'",
    "CREATE STREAM w (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '5' SECOND)",
    "CREATE OR REPLACE PUMP p STOPPED AS INSERT INTO d (a, n) SELECT STREAM a, 1 FROM s",
    "CREATE FUNCTION g (x INTEGER, y TIMESTAMP) RETURNS TIMESTAMP CONTAINS SQL RETURNS NULL ON NULL INPUT RETURN y + x * INTERVAL '1' SECOND",
    "ALTER PUMP p, q STOP",
    "DROP STREAM IF EXISTS d",
    "SELECT STREAM a, twice(a) AS z FROM s WHERE b LIKE 'x%' AND a BETWEEN 1 AND 3",
    "SELECT STREAM b, COUNT(*) AS n, MIN(a) FROM s GROUP BY b, STEP(s.ROWTIME BY INTERVAL '60' SECOND) HAVING COUNT(*) > 1",
    "SELECT STREAM FLOOR(s.ROWTIME TO HOUR) AS h, SUM(a) AS x FROM s GROUP BY FLOOR(s.ROWTIME TO HOUR) ORDER BY FLOOR(s.ROWTIME TO HOUR), x DESC",
    "SELECT STREAM b, COUNT(*) FROM s WHERE a > 0 WINDOWED BY STAGGER (PARTITION BY b, FLOOR(t TO MINUTE) RANGE INTERVAL '1' MINUTE) HAVING COUNT(*) > 1",
    "SELECT STREAM a, AVG(a) OVER w AS m FROM s WINDOW w AS (PARTITION BY b RANGE INTERVAL '1:30' MINUTE TO SECOND PRECEDING)",
    "SELECT STREAM t AS ROWTIME, a FROM s ORDER BY t WITHIN INTERVAL '2' MINUTE, a",
    "SELECT STREAM ROWTIME, x.a, y.c FROM s OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS x LEFT JOIN r AS y ON x.a = y.a",
    "SELECT STREAM s.a, q.c FROM s JOIN r OVER q ON s.a = q.a WINDOW q AS (RANGE INTERVAL '1' HOUR PRECEDING)",
    "SELECT STREAM s.a, f.name FROM s LEFT JOIN f ON s.a = f.a",
    "SELECT STREAM a FROM s UNION ALL SELECT STREAM a FROM r ORDER BY ROWTIME, a",
    "SELECT STREAM DISTINCT FLOOR(s.ROWTIME TO DAY) AS d, b FROM s",
    "SELECT STREAM z FROM (SELECT STREAM a + 1 AS z, b FROM s) AS q(z, y) WHERE y SIMILAR TO '%x[a-z]'",
    "SELECT CASE WHEN a > 1 THEN 'x' ELSE b END, CAST(a AS VARCHAR(4)), U&'\\0041' FROM s",
    "SELECT a, n FROM d WHERE EXISTS (SELECT 1 FROM s WHERE s.a = d.a)",
    "WITH q AS (SELECT a FROM s) SELECT COUNT(*) FROM q",
    "EXPLAIN SELECT STREAM * FROM s",
    "SELECT STREAM * FROM TABLE(RANDOM_CUT_FOREST_WITH_EXPLANATION(CURSOR(SELECT STREAM a, b FROM s), 100, 256, 100000, 1, true))",
    "SELECT b, HOTSPOTS_RESULT FROM TABLE(HOTSPOTS(CURSOR(SELECT STREAM * FROM s), 1000, 2, 17)) AS h",
    "SELECT STREAM * FROM TABLE(GROUP_RANK(CURSOR(SELECT STREAM * FROM s), 'A', 'R', 'desc', 'asc', 5, 3))",
    "SELECT STREAM * FROM TABLE(TOP_K_ITEMS_TUMBLING(CURSOR(SELECT STREAM * FROM s), 'B', 5, 60))",
    "SELECT STREAM T.REC.COLUMN1 FROM (SELECT STREAM REGEX_LOG_PARSE(b, '(.*) (.*)') AS REC FROM s) AS T",
    "SELECT STREAM x.r.P FROM (SELECT STREAM VARIABLE_COLUMN_LOG_PARSE(b, 'P TYPE INTEGER', ',') FROM s) AS x(r)",
    "SELECT STREAM NTH_VALUE(a, 2) FROM LAST IGNORE NULLS OVER w, LAG(a, 1, 0) OVER w FROM s WINDOW w AS (ROWS 2 PRECEDING)",
    "SELECT STREAM EXP_AVG(a, INTERVAL '10' SECOND) OVER (RANGE INTERVAL '30' SECOND PRECEDING) FROM s",
    "SELECT U&'d!0061t' UESCAPE '!', POSITION('x' IN b), TRIM(BOTH 'x' FROM b), OVERLAY(b PLACING 'y' FROM 1) FROM s",
    "SELECT STREAM a FROM s WHERE (t, t) OVERLAPS (t, t) AND (t - t) SECOND > INTERVAL '1' SECOND",
    "SET SCHEMA 'x'",
    "SELECT STREAM FLOOR((s.ROWTIME - TIMESTAMP '1970-01-01 00:00:00') SECOND / 10 TO SECOND) FROM s",
];

/// The words of the examples, and some that fit nowhere.
fn words() -> Vec<String> {
    let examples = EXAMPLES.iter().flat_map(|text| split(text));
    let others =
        ["(", ")", ";", "''", "\"", "0", "99999999999999999999", "NULL", "é", ".", "/*", "--"];
    examples.chain(others.into_iter().map(str::to_owned)).collect()
}

/// Words and signs, which a blank between them does not change.
fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.last().map_or("", String::as_str);
        // `U&'…'` is one.
        let unicode = match c {
            '&' => last.eq_ignore_ascii_case("u") && chars.peek() == Some(&'\''),
            '\'' => last.eq_ignore_ascii_case("u&"),
            _ => false,
        };
        let in_word = is_word(c) && !last.is_empty() && last.chars().all(is_word);
        let glued = quote.is_some() || unicode || in_word;
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        if c == ' ' && !glued {
            parts.push(String::new());
            continue;
        }
        match parts.last_mut() {
            Some(last) if glued || last.is_empty() => last.push(c),
            _ => parts.push(c.to_string()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What is done to a text: at which word, what, and with which word.
type Change = (prop::sample::Index, u8, prop::sample::Index);

fn changed(mut text: Vec<String>, changes: &[Change], words: &[String]) -> String {
    for (at, kind, with) in changes {
        if text.is_empty() {
            break;
        }
        let at = at.index(text.len());
        let word = words[with.index(words.len())].clone();
        match kind {
            0 => drop(text.remove(at)),
            1 => text[at] = word,
            2 => text.insert(at, word),
            3 => text.truncate(at),
            4 => text.insert(at, text[at].clone()),
            _ => {
                let other = with.index(text.len());
                text.swap(at, other);
            }
        }
    }
    text.join(" ")
}

/// Parses, declares and plans; every error has a place in the text.
fn attempt(text: &str) -> Result<(), String> {
    let mut catalog = Catalog::default();
    for statement in parse(DECLARED).unwrap() {
        catalog.apply(&statement).unwrap();
    }
    let statements = match parse(text) {
        Ok(statements) => statements,
        Err(error) if error.span.is_some() => return Ok(()),
        Err(error) => return Err(format!("no place for: {}", error.message)),
    };
    for statement in statements {
        let result = match &statement.kind {
            StatementKind::Query(query) => plan::stream_query(&catalog, query).map(drop),
            StatementKind::CreatePump(pump) => plan::stream_query(&catalog, &pump.query).map(drop),
            _ => catalog.apply(&statement).map(drop),
        };
        if let Err(error) = result
            && error.span.is_none()
        {
            return Err(format!("no place for: {}", error.message));
        }
    }
    Ok(())
}

#[test]
fn every_example_is_read() {
    for text in EXAMPLES {
        let read = parse(text);
        assert!(read.is_ok(), "{text}\n{}", read.unwrap_err().message);
        let again = split(text).join(" ");
        assert!(parse(&again).is_ok(), "{again}");
    }
}

/// Calls around an expression, which takes the place of `#`.
const CALLS: [&str; 29] = [
    "ABS(#)",
    "SUM(#)",
    "COUNT(DISTINCT #)",
    "AVG(#)",
    "MIN(#)",
    "ANY(#)",
    "CAST(# AS VARCHAR(4))",
    "CAST(# AS TIMESTAMP)",
    "CAST(# AS DECIMAL(5,2))",
    "FLOOR(# TO MINUTE)",
    "CEIL(#)",
    "STEP(# BY INTERVAL '1' SECOND)",
    "EXTRACT(SECOND FROM #)",
    "# IS NULL",
    "NOT #",
    "(#)",
    "-#",
    "UNIX_TIMESTAMP(#)",
    "SUBSTRING(# FROM 2)",
    "CHAR_TO_TIMESTAMP('yyyy', #)",
    "twice(#)",
    "LAG(#, 1) OVER (ROWS 2 PRECEDING)",
    "SUM(#) OVER (PARTITION BY b RANGE INTERVAL '1' HOUR PRECEDING)",
    "REGEX_LOG_PARSE(#, '(.)')",
    "# IN (1, 2)",
    "EXISTS (SELECT 1 FROM r WHERE r.a = #)",
    "(SELECT MAX(a) FROM f WHERE a = #)",
    "MONOTONIC(#)",
    "(# - t) SECOND",
];

/// Expressions by the grammar, of types that may not fit.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "t",
        "s.a",
        "s.ROWTIME",
        "ROWTIME",
        "n",
        "1",
        "1.5",
        "-2",
        "'x'",
        "NULL",
        "TRUE",
        "DATE '2018-11-01'",
        "TIMESTAMP '2018-11-01 01:00:00'",
        "INTERVAL '1' MINUTE",
        "CURRENT_TIMESTAMP",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "||",
            "=",
            "<",
            "AND",
            "OR",
            "LIKE",
            "SIMILAR TO",
            "IS DISTINCT FROM",
        ]);
        let call = prop::sample::select(CALLS.to_vec());
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(l, o, r)| format!("({l} {o} {r})")),
            (call, inner.clone()).prop_map(|(call, inner)| call.replacen('#', &inner, 1)),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(w, t, e)| format!("CASE WHEN {w} THEN {t} ELSE {e} END")),
        ]
    })
}

/// Queries by the grammar.
fn query() -> impl Strategy<Value = String> {
    let from = prop::sample::select(vec![
        "s",
        "s JOIN r ON s.a = r.a",
        "s OVER (RANGE INTERVAL '1' MINUTE PRECEDING) AS s LEFT JOIN r AS q ON s.a = q.a",
        "(SELECT STREAM * FROM s) AS s",
        "(SELECT STREAM a, COUNT(*) AS b, MAX(t) AS t FROM s GROUP BY a, STEP(s.ROWTIME BY INTERVAL '1' MINUTE)) AS s",
        "s LEFT JOIN f ON s.a = f.a",
        "TABLE(RANDOM_CUT_FOREST(CURSOR(SELECT STREAM * FROM s))) AS s",
    ]);
    let clause = |begin: &'static str| {
        prop_oneof![
            2 => Just(String::new()),
            1 => expression().prop_map(move |e| begin.replacen('#', &e, 1)),
        ]
    };
    let select = prop::sample::select(vec!["SELECT STREAM", "SELECT", "SELECT STREAM DISTINCT"]);
    let group = prop_oneof![
        clause(" GROUP BY #, FLOOR(s.ROWTIME TO MINUTE)"),
        clause(" WINDOWED BY STAGGER (PARTITION BY # RANGE INTERVAL '1' MINUTE)"),
    ];
    (
        select,
        expression(),
        expression(),
        from,
        clause(" WHERE #"),
        group,
        clause(" HAVING #"),
        clause(" ORDER BY #"),
    )
        .prop_map(|(select, a, b, from, where_, group, having, order)| {
            format!("{select} {a}, {b} AS z FROM {from}{where_}{group}{having}{order}")
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn queries_by_the_grammar_are_answered(text in query()) {
        let answer = attempt(&text);
        prop_assert!(answer.is_ok(), "{}\n{}", text, answer.unwrap_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn broken_examples_are_answered(
        example in 0..EXAMPLES.len(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..6_u8, any::<prop::sample::Index>()), 1..5,
        ),
    ) {
        let text = changed(split(EXAMPLES[example]), &changes, &words());
        let answer = attempt(&text);
        prop_assert!(answer.is_ok(), "{}\n{}", text, answer.unwrap_err());
    }

    #[test]
    fn heaps_of_words_are_answered(
        heap in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let words = words();
        let text: Vec<&str> = heap.iter().map(|at| words[at.index(words.len())].as_str()).collect();
        let text = text.join(" ");
        let answer = attempt(&text);
        prop_assert!(answer.is_ok(), "{}\n{}", text, answer.unwrap_err());
    }
}
