//! What the parser says about text that is not of the dialect, and that it always says where.

#![expect(clippy::unwrap_used, reason = "tests may stop at once")]

use std::fmt::Write as _;

use millstream_sql::parse;
use millstream_sql::tokens::{
    CHAIN_MAX, IDENTIFIER_CHARS_MAX, NESTING_MAX, TEXT_BYTES_MAX, TOKENS_MAX,
};
use proptest::prelude::*;

const MISTAKES: &[&str] = &[
    "SELECT STREAM FROM s",
    "SELECT a, ((t1 - t2)) minute FROM s",
    "SELECT a FROM s WHERE",
    "SELECT a FROM s WINDOWED BY HOP (PARTITION BY a RANGE INTERVAL '1' MINUTE)",
    "SELECT a FROM s WINDOWED BY STAGGER (PARTITION BY a ROWS 3)",
    "SELECT a FROM s WINDOWED BY STAGGER (PARTITION BY a RANGE INTERVAL '1' MINUTE",
    "SELECT a FROM s GROUP BY a WINDOWED BY STAGGER (PARTITION BY a RANGE INTERVAL '1' MINUTE)",
    "SELECT a FROM s OVER (PARTITION BY a RANGE INTERVAL '1' MINUTE PRECEDING) AS t",
    "SELECT a FROM s OVER (RANGE UNBOUNDED FOLLOWING) AS t",
    "SELECT a FROM (SELECT b FROM s) OVER (RANGE CURRENT ROW) AS t",
    "SELECT t AS ROWTIME FROM s ORDER BY t DESC WITHIN INTERVAL '1' MINUTE",
    "SELECT t AS ROWTIME FROM s ORDER BY t WITHIN INTERVAL '1' MINUTE DESC",
    "SELECT a FRM s",
    "SELECT ((a) FROM s",
    "SELECT a) FROM s",
    "SELECT a # b",
    "SELECT 'abc\nFROM s;\n",
    "SELECT \"abc\nFROM s;\n",
    "SELECT 1 /* abc\nFROM s;\n",
    "SELECT sum(x) OVER wx FROM s WINDOW w AS (ROWS 1 PRECEDING)",
    "SELECT a INTO t FROM s",
    "SELCT a FROM s",
    "INSERT INTO s SELECT 1",
    "CREATE SREAM s (a INT)",
    "CREATE FUNCTION f(a INT) RETURN a",
    "CREATE FUNCTION f(a INT, a INT) RETURNS INT RETURN a",
    "CREATE FUNCTION f(a INT) RETURNS INT LANGUAGE JAVA RETURN a",
    "CREATE FUNCTION f(a INT) RETURNS INT RETURN a b",
    "CREATE STREAM s",
    "CREATE STREAM s (a INT, b VARCAHR(3))",
    "CREATE STREAM s (a INT, A BIGINT)",
    "CREATE STREAM s (select INT)",
    "CREATE STREAM s (rowtime TIMESTAMP)",
    "CREATE STREAM error_stream (a INT)",
    "CREATE STREAM a.b.c.d (a INT)",
    "CREATE STREAM s (a DECIMAL(10, 11))",
    "CREATE STREAM s (a VARCHAR(0))",
    "CREATE STREAM s (a CHAR)",
    "CREATE STREAM s (a INT MAPPING 'a.b')",
    "CREATE STREAM s (a INT PRIMARY KEY)",
    "CREATE STREAM s (t TIMESTAMP, WATERMARK FOR tt AS tt)",
    "CREATE STREAM s (t INT, WATERMARK FOR t AS t)",
    "CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t + INTERVAL '1' SECOND)",
    "CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '-1' SECOND)",
    "CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '1' MONTH)",
    "CREATE STREAM s (t TIMESTAMP, WATERMARK FOR t AS t) WITH (rowtime = 'x')",
    "CREATE TABLE s (t TIMESTAMP, WATERMARK FOR t AS t)",
    "CREATE STREAM s (a INT) WITH (path = s3://b/c)",
    "CREATE STREAM s (a INT) WITH (path = 'a', PATH = 'b')",
    "CREATE STREAM s (a INT) WITH (path 'a')",
    "CREATE PUMP p AS SELECT 1",
    "CREATE PUMP p AS INSERT INTO s (a, a) SELECT 1, 2",
    "CREATE SINK s",
    "CREATE SINK s WITH (a = b)",
    "SHOW STREMS",
    "DROP a",
    "ALTER STREAM s",
    "SET unbound_state = 'allow'",
    "SET identifier_folding = 'camel'",
    "EXPLAIN EXPLAIN SELECT 1",
    "SELECT 1 SELECT 2",
    "\tSELECT 'ä€', ü FROM FROM t",
];

#[test]
fn mistakes_are_rendered_with_place_and_hint() {
    let mut all = String::new();
    for text in MISTAKES {
        let error = parse(text).unwrap_err();
        assert!(error.span.is_some(), "{text}: {error}");
        writeln!(all, "{}\n", error.render("a.sql", text)).unwrap();
    }
    insta::assert_snapshot!(all);
}

/// The message about `text` and its first line and column.
fn refused(text: &str) -> (String, u64, u64) {
    let error = parse(text).unwrap_err();
    let start = error.span.unwrap().start;
    (error.message, start.line, start.column)
}

#[test]
fn text_from_outside_is_limited() {
    let long = format!("SELECT '{}'", "ä".repeat(TEXT_BYTES_MAX / 2));
    assert_eq!(refused(&long).0, "the text is longer than 1048576 bytes");
    let many = "1,".repeat(TOKENS_MAX);
    assert_eq!(refused(&many).0, "the text has more than 100000 words and signs");
    let name = "a".repeat(IDENTIFIER_CHARS_MAX + 1);
    assert_eq!(
        refused(&format!("SELECT 1,\n {name}")),
        ("the name is longer than 128 characters".into(), 2, 2)
    );
    assert!(parse(&format!("SELECT {}", "ü".repeat(IDENTIFIER_CHARS_MAX))).is_ok());
    for (open, close) in [("(", ")"), ("CASE WHEN a THEN ", " END"), ("(SELECT ", ")"), ("f(", ")")]
    {
        let text =
            format!("SELECT {}1{}", open.repeat(NESTING_MAX + 1), close.repeat(NESTING_MAX + 1));
        assert_eq!(refused(&text).0, "nested more than 128 deep", "{open}");
    }
    for chained in [" + 1", " OR a", " AND NOT a", " || 'x'", "::INT", " IS NULL", " - -1", " = 1"]
    {
        let text = format!("SELECT a{}", chained.repeat(CHAIN_MAX + 1));
        assert_eq!(refused(&text).0, "more than 500 operators in one expression", "{chained}");
    }
    let wrapped = format!("SELECT {}a{}", "(".repeat(120), " + 1 + 1 + 1 + 1)".repeat(120));
    assert_eq!(refused(&wrapped).0, "more than 500 operators in one expression");
    for prefixed in ["- ", "NOT ", "INTERVAL ", "+ "] {
        let text = format!("SELECT {}a", prefixed.repeat(CHAIN_MAX + 1));
        assert_eq!(refused(&text).0, "more than 500 operators in one expression", "{prefixed}");
    }
    for repeated in [" UNION ALL SELECT 1", " JOIN t ON true"] {
        let text = format!("SELECT 1 FROM t{}", repeated.repeat(300));
        assert_eq!(refused(&text).0, "more than 128 joins or set operations", "{repeated}");
    }
}

#[test]
fn what_the_limits_allow_is_read_in_time_and_without_overflow() {
    for chained in [" + 1", " OR a", " AND NOT a", " || 'x'", "::INT", " IS NULL", " = 1"] {
        let text = format!("SELECT a{} FROM s", chained.repeat(CHAIN_MAX / 2));
        assert!(parse(&text).is_ok(), "{chained}");
    }
    assert!(parse(&format!("SELECT {}a", "- ".repeat(CHAIN_MAX - 1))).is_ok());
    let deep = NESTING_MAX - 2;
    for (open, close) in
        [("(", ")"), ("CASE WHEN a THEN ", " END"), ("(SELECT ", ")"), ("f(", ")"), ("(1 + ", ")")]
    {
        let text = format!("SELECT {}1{}", open.repeat(deep), close.repeat(deep));
        assert!(parse(&text).is_ok(), "{open}");
    }
    let wrapped = format!("SELECT {}a{}", "(".repeat(60), " + 1 + 1 + 1)".repeat(60));
    parse(&wrapped).unwrap();
    let tables = format!("SELECT 1 FROM {}t{}", "(".repeat(deep), ")".repeat(deep));
    parse(&tables).unwrap();
    let derived = format!("SELECT 1 FROM {}t{}", "(SELECT 1 FROM ".repeat(deep), ")".repeat(deep));
    parse(&derived).unwrap();
    let unions = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(120));
    parse(&unions).unwrap();
}

const SEEDS: &[&str] = &[
    "CREATE OR REPLACE STREAM jobs (id VARCHAR(16) NOT NULL, \"p\" DOUBLE MAPPING '$.q.p', t TIMESTAMP, \
     WATERMARK FOR t AS t - INTERVAL '1:30' MINUTE TO SECOND) DESCRIPTION 'x' WITH (connector = 'file', n = -3);",
    "CREATE PUMP p STOPPED AS INSERT EXPEDITED INTO d (a, \"b\") SELECT STREAM x, y FROM s;",
    "SELECT STREAM STEP(s.ROWTIME BY INTERVAL '10' SECOND), CEIL(t TO HOUR), count(*) FILTER (WHERE a > 1) \
     FROM s JOIN (SELECT STREAM * FROM u) AS u ON s.a = u.a WHERE x IN (1, 2) AND y LIKE 'ä%' \
     GROUP BY STEP(s.ROWTIME BY INTERVAL '10' SECOND), CASE WHEN a THEN 1 ELSE 2 END HAVING 1 = 1 ORDER BY 1",
    "SELECT sum(x) OVER w, (a - b) AS d FROM s WINDOW w AS (PARTITION BY k RANGE INTERVAL '1' HOUR PRECEDING)",
    "CREATE SINK x WITH (path = 'z') AS WITH q AS (VALUES (1, 'a')) SELECT * FROM q UNION ALL SELECT 1, 2; \
     SHOW PUMPS; DROP VIEW IF EXISTS v; SET unbounded_state = 'allow'; EXPLAIN SELECT 1 // end",
];

/// Whatever the text: no panic, and an error has a place inside the text or just behind it.
fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(error) = parse(text) else { return Ok(()) };
    let Some(span) = error.span else {
        return Err(TestCaseError::fail(format!("no place: {error} in {text:?}")));
    };
    let lines = text.split('\n').count() as u64;
    prop_assert!((1..=lines.max(1)).contains(&span.start.line), "{span:?} in {text:?}");
    prop_assert!(span.start.column >= 1 && span.start <= span.end, "{span:?} in {text:?}");
    let line = text.split('\n').nth(usize::try_from(span.start.line).unwrap() - 1).unwrap();
    prop_assert!(span.start.column <= line.chars().count() as u64 + 1, "{span:?} in {text:?}");
    prop_assert!(!error.message.contains("at Line"), "{error}");
    error.render("a.sql", text);
    Ok(())
}

proptest! {
    #[test]
    fn a_truncated_statement_is_an_error_with_a_place(seed in 0..SEEDS.len(), at in 0.0..1.0_f64) {
        let chars: Vec<char> = SEEDS[seed].chars().collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a length")]
        let length = (chars.len() as f64 * at) as usize;
        check(&chars[..length].iter().collect::<String>())?;
    }

    #[test]
    fn a_garbled_statement_is_an_error_with_a_place(
        seed in 0..SEEDS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, "[ -~äü\\n\\t'\"(),;]{0,3}"), 1..6),
    ) {
        let mut chars: Vec<char> = SEEDS[seed].chars().collect();
        for (at, kind, text) in edits {
            let at = at.index(chars.len() + 1);
            match kind {
                0 => chars.truncate(at.max(1)),
                1 => drop(chars.drain(at..(at + 4).min(chars.len()))),
                _ => drop(chars.splice(at..at, text.chars())),
            }
        }
        check(&chars.iter().collect::<String>())?;
    }

    #[test]
    fn shuffled_words_are_read_or_refused_with_a_place(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..30),
    ) {
        check(&words.join(" "))?;
    }
}

const WORDS: &[&str] = &[
    "SELECT",
    "STREAM",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "STEP",
    "(",
    ")",
    ",",
    "a",
    "\"b\"",
    "'c'",
    "1",
    "+",
    "-",
    "*",
    ".",
    "=",
    "INTERVAL",
    "SECOND",
    "HOUR",
    "TO",
    "OVER",
    "RANGE",
    "PRECEDING",
    "CREATE",
    "PUMP",
    "SINK",
    "AS",
    "INSERT",
    "INTO",
    "WITH",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "FLOOR",
    "WINDOW",
    "UNION",
    "ALL",
    "VALUES",
    ";",
    "JOIN",
    "ON",
    "TABLE",
    "NOT",
    "NULL",
    "CAST",
    "INT",
    "EXISTS",
    "WATERMARK",
    "FOR",
    "SET",
];
