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
const EXAMPLES: [&str; 22] = [
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
    for c in text.chars() {
        let glued = quote.is_some()
            || (is_word(c) && parts.last().is_some_and(|last| last.chars().all(is_word)));
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
