//! Statements on the ground that DataFusion's own sqllogictest files cover (aggregates, joins, window
//! functions, set operations, subqueries, lists): each as a stream cut at random, held to what DataFusion
//! says after every epoch.
//!
//! The same text is the continuous query and the batch query.

use millstream_connectors::decode::{Delimiters, Format};
use millstream_tests::pipeline::Pipeline;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::law::{Compared, Law, decode};

const DECLARATIONS: &str = "
CREATE STREAM x (a INTEGER, b VARCHAR(4), c BIGINT);
CREATE STREAM y (a INTEGER, b VARCHAR(4), d BIGINT);
CREATE VIEW u AS SELECT a, b, MAX(c) AS c FROM x GROUP BY a, b;
CREATE VIEW v AS SELECT a, b, MIN(d) AS d FROM y GROUP BY a, b;
";

/// The views, for DataFusion: rows that come and go.
const VIEWS: [&str; 2] = [
    "CREATE VIEW u AS SELECT a, b, MAX(c) AS c FROM x GROUP BY a, b",
    "CREATE VIEW v AS SELECT a, b, MIN(d) AS d FROM y GROUP BY a, b",
];

/// Inputs of each statement.
const SEEDS: u64 = 3;

/// The rows of a stream: few keys so that they meet, empty texts and NULLs, and equal rows.
fn rows(rng: &mut StdRng) -> Vec<String> {
    let count = rng.random_range(0..40);
    let row = |rng: &mut StdRng| {
        let a =
            if rng.random_bool(0.1) { String::new() } else { rng.random_range(0..5).to_string() };
        let b = ["p", "q", "r", "pp", "é"][rng.random_range(0..5)];
        let c =
            if rng.random_bool(0.1) { String::new() } else { rng.random_range(-9..10).to_string() };
        format!("{a},{b},{c}")
    };
    (0..count).map(|_| row(rng)).collect()
}

/// Holds `query` to the law with the answers of `batch`; returns how many rows were compared.
fn obeys(query: &str, batch: &str, seeds: u64) -> usize {
    obeys_over(&[], query, batch, seeds)
}

/// The same with views that the query may read.
fn obeys_over(views: &[String], query: &str, batch: &str, seeds: u64) -> usize {
    let declared = Pipeline::try_new(DECLARATIONS, query, 1)
        .unwrap_or_else(|reason| panic!("{query}\n{reason}"));
    let compared = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream = |name| {
            let rows = rows(&mut rng).into_iter();
            (name, decode(declared.stream(name), &Format::Csv(Delimiters::default()), rows))
        };
        let streams = [stream("X"), stream("Y")];
        let law = Law {
            declarations: DECLARATIONS,
            query,
            views,
            batch,
            streams: &streams,
            tables: &[],
            epochs_max: 4,
            compared: Compared::EveryEpoch,
        };
        law.check(seed).unwrap_or_else(|difference| panic!("seed {seed}: {difference}\n{query}"))
    };
    (0..seeds).map(compared).sum()
}

/// Holds statements to what DataFusion says of the same text.
fn check(statements: &[&str]) {
    let pairs: Vec<(&str, &str)> = statements.iter().map(|text| (*text, *text)).collect();
    check_as(&pairs);
}

/// Holds each statement to what DataFusion says of the one beside it, which means the same.
fn check_as(statements: &[(&str, &str)]) {
    let mut results = 0;
    for (text, batch) in statements {
        let query = format!("SELECT STREAM * FROM ({text}) AS whole");
        results += obeys_over(&VIEWS.map(str::to_owned), &query, batch, SEEDS);
    }
    assert!(results > statements.len(), "next to nothing is compared");
}

#[test]
fn aggregates() {
    check(&[
        "SELECT COUNT(*) AS n, COUNT(a) AS k, COUNT(DISTINCT b) AS d, SUM(c) AS s, MIN(b) AS lo, MAX(c) AS hi FROM x",
        "SELECT a, COUNT(*) AS n, SUM(c) AS s FROM x GROUP BY a HAVING COUNT(*) > 1",
        "SELECT a, b, MIN(c) AS lo, MAX(c) AS hi FROM x GROUP BY a, b",
        "SELECT a % 2 AS odd, COUNT(*) FILTER (WHERE c > 0) AS pos, SUM(c) FILTER (WHERE b = 'p') AS p FROM x GROUP BY a % 2",
        "SELECT b, SUM(DISTINCT c) AS s, COUNT(DISTINCT a) AS n FROM x GROUP BY b",
        "SELECT bool_and(c > 0) AS every_one, bool_or(c > 8) AS some FROM x",
        "SELECT a, bit_and(c) AS both, bit_or(c) AS any_bit FROM x GROUP BY a",
        "SELECT b FROM x GROUP BY b HAVING MAX(c) > 5 AND MIN(c) < 0",
        "SELECT CASE WHEN c > 0 THEN 'up' WHEN c < 0 THEN 'down' END AS way, COUNT(*) AS n FROM x GROUP BY CASE WHEN c > 0 THEN 'up' WHEN c < 0 THEN 'down' END",
        "SELECT n, COUNT(*) AS times FROM (SELECT a, COUNT(*) AS n FROM x GROUP BY a) AS g GROUP BY n",
        "SELECT a, b, GROUPING(a) AS ga, SUM(c) AS s FROM x GROUP BY GROUPING SETS ((a, b), (b), ())",
        "SELECT a, COUNT(*) AS n FROM x GROUP BY CUBE (a)",
        "SELECT DISTINCT a, b FROM x WHERE c IS NOT NULL",
        "SELECT MAX(b) AS last, MIN(b) AS first FROM x WHERE false",
        "SELECT COUNT(*) AS n FROM (SELECT DISTINCT b FROM x) AS g",
        "SELECT a, array_length(array_agg(c)) AS n FROM x GROUP BY a",
        "SELECT b, median(CAST(c AS DOUBLE)) AS mid FROM x GROUP BY b",
    ]);
}

#[test]
fn joins() {
    check(&[
        "SELECT x.a, x.c, y.d FROM x JOIN y ON x.a = y.a",
        "SELECT x.a, x.b, y.d FROM x LEFT JOIN y ON x.a = y.a AND x.b = y.b",
        "SELECT x.c, y.a, y.d FROM x RIGHT JOIN y ON x.a = y.a AND x.c < y.d",
        "SELECT x.a AS l, y.a AS r FROM x FULL JOIN y ON x.a = y.a AND x.b <> y.b",
        "SELECT x.a, y.a AS r FROM x CROSS JOIN y WHERE x.c + y.d = 3",
        "SELECT a, x.c, y.d FROM x JOIN y USING (a)",
        "SELECT x.c, y.d FROM x JOIN y ON x.c BETWEEN y.d - 1 AND y.d + 1",
        "SELECT one.a, COUNT(*) AS n FROM x AS one JOIN x AS two ON one.a = two.a AND one.c < two.c GROUP BY one.a",
        "SELECT p.b, q.b AS also, r.d FROM x AS p JOIN x AS q ON p.a = q.a LEFT JOIN y AS r ON q.a = r.a AND r.d > 0",
        "SELECT x.a, x.b FROM x LEFT SEMI JOIN y ON x.a = y.a",
        "SELECT x.a, x.b FROM x LEFT ANTI JOIN y ON x.a = y.a AND y.d > x.c",
        "SELECT x.a, y.d FROM x JOIN y ON x.a IS NOT DISTINCT FROM y.a",
        "SELECT g.a, g.n, y.d FROM (SELECT a, COUNT(*) AS n FROM x GROUP BY a) AS g LEFT JOIN y ON g.n = y.d",
        "SELECT x.a FROM x LEFT JOIN y ON x.a = y.a WHERE y.a IS NULL",
        "SELECT x.a, y.b FROM x, y WHERE x.a = y.a AND (x.b = y.b OR y.d > 4)",
    ]);
}

#[test]
fn window_functions() {
    check(&[
        "SELECT a, c, SUM(c) OVER (PARTITION BY a) AS s FROM x",
        "SELECT a, c, COUNT(*) OVER () AS n, MAX(c) OVER (PARTITION BY b) AS hi FROM x",
        "SELECT a, b, c, ROW_NUMBER() OVER (PARTITION BY a ORDER BY c, b) AS n FROM x",
        "SELECT a, c, RANK() OVER (ORDER BY c DESC) AS r, DENSE_RANK() OVER (ORDER BY c DESC) AS d FROM x",
        "SELECT a, b, c, LAG(c) OVER (PARTITION BY a ORDER BY c, b) AS before FROM x",
        "SELECT a, b, c, LEAD(c, 2, 0) OVER (PARTITION BY a ORDER BY c, b) AS after FROM x",
        "SELECT b, c, FIRST_VALUE(c) OVER (PARTITION BY b ORDER BY c) AS lo FROM x",
        "SELECT b, c, SUM(c) OVER (PARTITION BY b ORDER BY c, a ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s FROM x WHERE a IS NOT NULL AND c IS NOT NULL",
        "SELECT b, c, COUNT(*) OVER (PARTITION BY b ORDER BY c RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM x WHERE c IS NOT NULL",
        "SELECT a, c FROM (SELECT a, c, ROW_NUMBER() OVER (PARTITION BY a ORDER BY c DESC, b) AS n FROM x) AS r WHERE n <= 2",
        "SELECT a, s, RANK() OVER (ORDER BY s) AS r FROM (SELECT a, SUM(c) AS s FROM x GROUP BY a) AS g",
        "SELECT b, NTH_VALUE(c, 2) OVER (PARTITION BY b ORDER BY c, a) AS second FROM x",
        "SELECT c FROM x ORDER BY c DESC NULLS LAST LIMIT 3",
        "SELECT a, SUM(c) AS s FROM x GROUP BY a ORDER BY s, a LIMIT 2 OFFSET 1",
    ]);
}

#[test]
fn set_operations() {
    check(&[
        "SELECT a, b FROM x UNION ALL SELECT a, b FROM y",
        "SELECT a, b FROM x UNION SELECT a, b FROM y",
        "SELECT a FROM x INTERSECT SELECT a FROM y",
        "SELECT a, b FROM x EXCEPT SELECT a, b FROM y",
        "SELECT a FROM x UNION ALL SELECT d FROM y UNION ALL SELECT 7",
        "SELECT a, COUNT(*) AS n FROM (SELECT a FROM x UNION ALL SELECT a FROM y) AS u GROUP BY a",
        "(SELECT a FROM x EXCEPT SELECT a FROM y) UNION (SELECT a FROM y EXCEPT SELECT a FROM x)",
        "SELECT u.a, x.c FROM (SELECT a FROM x UNION SELECT a FROM y) AS u JOIN x ON u.a = x.a",
        "SELECT a FROM x WHERE c > 0 INTERSECT SELECT a FROM x WHERE c < 0",
    ]);
}

#[test]
fn subqueries() {
    check(&[
        "SELECT a, c FROM x WHERE c > (SELECT MIN(d) FROM y)",
        "SELECT a, c FROM x WHERE a IN (SELECT a FROM y WHERE d > 0)",
        "SELECT a, c FROM x WHERE a NOT IN (SELECT a FROM y WHERE d > 5)",
        "SELECT a, c FROM x WHERE EXISTS (SELECT 1 FROM y WHERE y.a = x.a AND y.d > x.c)",
        "SELECT a, c FROM x WHERE NOT EXISTS (SELECT 1 FROM y WHERE y.b = x.b)",
        "SELECT a, (SELECT COUNT(*) FROM y WHERE y.a = x.a) AS n FROM x",
        "SELECT a, c FROM x WHERE c >= (SELECT MAX(d) FROM y WHERE y.a = x.a)",
        "SELECT b, c - (SELECT MIN(c) FROM x) AS above FROM x",
        "WITH g AS (SELECT a, SUM(c) AS s FROM x GROUP BY a) SELECT one.a FROM g AS one JOIN g AS two ON one.s = two.s AND one.a < two.a",
        "WITH g AS (SELECT a, COUNT(*) AS n FROM x GROUP BY a) SELECT a FROM g WHERE n = (SELECT MAX(n) FROM g)",
        "SELECT a FROM x WHERE a IN (SELECT a FROM y WHERE b IN (SELECT b FROM x AS z WHERE z.c > 0))",
        "SELECT a, c FROM x WHERE c > 3 OR a IN (SELECT a FROM y WHERE d < 0)",
    ]);
}

/// DataFusion joins by `NOT IN` with a further condition in no way; what it means is written out.
#[test]
fn not_in_with_a_further_condition() {
    for (ours, batch) in [
        (
            "SELECT a, b, c FROM x WHERE c NOT IN (SELECT d FROM y WHERE y.a = x.a)",
            "SELECT a, b, c FROM x WHERE NOT EXISTS
               (SELECT 1 FROM y WHERE y.a = x.a AND (y.d = x.c OR y.d IS NULL OR x.c IS NULL))",
        ),
        (
            "SELECT a, b FROM x WHERE b > 'a' AND a + 1 NOT IN (SELECT a FROM y WHERE y.d > x.c AND d <> 2)",
            "SELECT a, b FROM x WHERE b > 'a' AND NOT EXISTS
               (SELECT 1 FROM y WHERE y.d > x.c AND y.d <> 2 AND (y.a = x.a + 1 OR y.a IS NULL OR x.a IS NULL))",
        ),
    ] {
        let query = ours.replacen("SELECT", "SELECT STREAM", 1);
        let results = obeys(&query, batch, 4 * SEEDS);
        assert!(results > 0, "nothing is compared: {ours}");
    }
}

/// DataFusion plans no `IN` or `EXISTS` as a value; what they mean is written out.
#[test]
fn subqueries_that_read_the_row_as_values() {
    for (ours, batch) in [
        (
            "SELECT a, b, c, c IN (SELECT d FROM y WHERE y.a = x.a) AS i FROM x",
            "SELECT a, b, c, CASE
               WHEN (SELECT COUNT(*) FROM y WHERE y.a = x.a AND y.d = x.c) > 0 THEN TRUE
               WHEN (SELECT COUNT(*) FROM y WHERE y.a = x.a AND y.d IS NULL) > 0 THEN NULL
               WHEN x.c IS NULL AND (SELECT COUNT(*) FROM y WHERE y.a = x.a) > 0 THEN NULL
               ELSE FALSE END FROM x",
        ),
        (
            "SELECT a, c, NOT EXISTS (SELECT 1 FROM y WHERE y.d > x.c) AS e FROM x",
            "SELECT a, c, NOT COALESCE(c < (SELECT MAX(d) FROM y), FALSE) FROM x",
        ),
        (
            "SELECT a, SUM(CASE WHEN EXISTS (SELECT 1 FROM y WHERE y.b = x.b) THEN 1 ELSE 0 END) AS n
             FROM x GROUP BY a",
            "SELECT x.a, SUM(CASE WHEN k.b IS NULL THEN 0 ELSE 1 END) FROM x
             LEFT JOIN (SELECT DISTINCT b FROM y) AS k ON k.b = x.b GROUP BY x.a",
        ),
    ] {
        let query = ours.replacen("SELECT", "SELECT STREAM", 1);
        let results = obeys(&query, batch, 4 * SEEDS);
        assert!(results > 0, "nothing is compared: {ours}");
    }
}

#[test]
fn lists() {
    check(&[
        "SELECT a, UNNEST(make_array(c, c + 1, NULL)) AS e FROM x",
        "SELECT e, COUNT(*) AS n FROM (SELECT UNNEST(make_array(a, c)) AS e FROM x) AS u GROUP BY e",
        "SELECT u.e, y.d FROM (SELECT UNNEST(make_array(a, a + 1)) AS e FROM x) AS u JOIN y ON u.e = y.a",
        "SELECT a, array_length(make_array(a, c)) AS n, make_array(a, c)[2] AS second FROM x",
        "SELECT b, UNNEST(string_to_array(b, 'p')) AS part FROM x",
        "SELECT x.a, g.value FROM x CROSS JOIN generate_series(1, 2) AS g",
        "SELECT x.a, COUNT(*) AS n FROM x JOIN range(0, 4) AS g(i) ON x.a = g.i GROUP BY x.a",
    ]);
}

#[test]
fn aggregates_in_an_order() {
    check(&[
        "SELECT a, ARRAY_AGG(c ORDER BY c DESC NULLS LAST) AS s FROM x GROUP BY a",
        "SELECT a, ARRAY_AGG(DISTINCT b ORDER BY b) AS s FROM u GROUP BY a",
        "SELECT a, STRING_AGG(b, '-' ORDER BY b DESC) FILTER (WHERE c < 3) AS s FROM u GROUP BY a",
        "SELECT a, FIRST_VALUE(c ORDER BY c, b) AS s, LAST_VALUE(c ORDER BY c, b) AS l FROM u GROUP BY a",
        "SELECT a, PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY c DESC) AS s FROM u GROUP BY a",
        "SELECT a, APPROX_PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY c) AS s FROM u GROUP BY a",
        "SELECT ROUND(CORR(a, c), 6) AS s, ROUND(COVAR_SAMP(a, c), 6) AS q FROM u",
        "SELECT b, ROUND(STDDEV(c), 6) AS s, ROUND(REGR_SLOPE(c, a), 6) AS r FROM u GROUP BY b",
        "SELECT a, MEDIAN(c) AS s, MEDIAN(DISTINCT c) AS m, APPROX_DISTINCT(b) AS d FROM u GROUP BY a",
        "SELECT a, COUNT(DISTINCT b) FILTER (WHERE c > 0) AS n, BIT_XOR(DISTINCT c) AS d FROM u GROUP BY a",
        "SELECT a, b, GROUPING(a) AS g, SUM(c) AS s FROM u GROUP BY CUBE (a, b) HAVING SUM(c) > 0 OR GROUPING(a) = 1",
        "SELECT n, STRING_AGG(CAST(a AS VARCHAR), ',' ORDER BY a) AS l FROM (SELECT a, COUNT(*) AS n FROM x GROUP BY a) AS t GROUP BY n",
    ]);
    check_as(&[
        (
            "SELECT a, JSON_ARRAYAGG(c ORDER BY c, b) AS s FROM u GROUP BY a",
            "SELECT a, '[' || COALESCE(STRING_AGG(CAST(c AS VARCHAR), ', ' ORDER BY c, b), '') || ']' AS s FROM u GROUP BY a",
        ),
        (
            "SELECT a, JSON_OBJECTAGG(b VALUE c) AS s FROM u GROUP BY a",
            "SELECT a, '{' || STRING_AGG('\"' || b || '\": ' || COALESCE(CAST(c AS VARCHAR), 'null'), ', ' ORDER BY b) || '}' AS s FROM u GROUP BY a",
        ),
        (
            "SELECT a, NTH_VALUE(c, 2 ORDER BY c, b) AS s FROM x GROUP BY a",
            "SELECT a, (ARRAY_AGG(c ORDER BY c, b))[2] AS s FROM x GROUP BY a",
        ),
        (
            "SELECT a, NTH_VALUE(b, -1 ORDER BY c, b) AS s FROM u GROUP BY a",
            "SELECT a, (ARRAY_AGG(b ORDER BY c, b))[-1] AS s FROM u GROUP BY a",
        ),
    ]);
}

/// DataFusion passes over parts that are NULL, so that its answer depends on the order of the rows.
#[test]
fn extremes_of_structs() {
    let first = |order: &str| {
        format!(
            "FIRST_VALUE(named_struct('p', c, 'q', b) ORDER BY c {order} NULLS LAST, b {order})"
        )
    };
    let (least, greatest) = (first("ASC"), first("DESC"));
    let ours = "MIN(named_struct('p', c, 'q', b)) AS l, MAX(named_struct('p', c, 'q', b)) AS h";
    let batch = format!("{least} AS l, {greatest} AS h");
    for (from, filter) in [("u GROUP BY a", ""), ("x GROUP BY a", ""), ("u", ""), ("u", "c > 0")] {
        let from = match filter {
            "" => from.to_owned(),
            filter => format!("{from} WHERE {filter} GROUP BY a"),
        };
        let key = if from.contains("GROUP BY") { "a, " } else { "" };
        check_as(&[(
            &format!("SELECT {key}{ours} FROM {from}"),
            &format!("SELECT {key}{batch} FROM {from}"),
        )]);
    }
    check_as(&[(
        "SELECT a, MAX(s) FILTER (WHERE s IS NOT NULL) AS h FROM (SELECT a, CASE WHEN c > 0 THEN named_struct('p', named_struct('r', b), 'q', c) END AS s FROM u) AS t GROUP BY a",
        "SELECT a, FIRST_VALUE(named_struct('p', named_struct('r', b), 'q', c) ORDER BY b DESC, c DESC) FILTER (WHERE c > 0) AS h FROM u GROUP BY a",
    )]);
    check(&[
        "SELECT a, MIN(make_array(c, a)) AS l, MAX(make_array(c, a)) AS h FROM u GROUP BY a",
        "SELECT MIN(make_array(c)) AS l, MAX(make_array(b)) AS h FROM x",
    ]);
}

#[test]
fn windows_over_rows_that_change() {
    check(&[
        "SELECT a, c, NTILE(3) OVER (PARTITION BY a ORDER BY c, b) AS n FROM u",
        "SELECT a, c, CUME_DIST() OVER (ORDER BY c) AS n, PERCENT_RANK() OVER (ORDER BY c) AS p FROM u",
        "SELECT a, b, c, LAG(c, 2, -1) OVER (PARTITION BY a ORDER BY c, b) AS n FROM u",
        "SELECT a, c, COUNT(c) OVER (PARTITION BY a ORDER BY c GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS n FROM u",
        "SELECT a, c, COUNT(*) OVER (ORDER BY c DESC RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM u",
        "SELECT a, c, ARRAY_AGG(c) OVER (PARTITION BY a ORDER BY c, b) AS n FROM u",
        "SELECT a, SUM(SUM(c)) OVER (ORDER BY a) AS run FROM u GROUP BY a",
        "SELECT a, c FROM u QUALIFY RANK() OVER (PARTITION BY a ORDER BY c DESC) <= 2",
        "SELECT a, c FROM x QUALIFY MAX(c) OVER (PARTITION BY a) = c",
        "SELECT b, c FROM (SELECT b, c, ROW_NUMBER() OVER (PARTITION BY b ORDER BY c DESC, a) AS r FROM u) AS t WHERE r BETWEEN 2 AND 3",
    ]);
}

#[test]
fn first_rows_by_distinct_on() {
    check(&[
        "SELECT DISTINCT ON (a) a, c FROM x ORDER BY a, c DESC, b",
        "SELECT DISTINCT ON (a) a, b, c + 1 AS d FROM u ORDER BY a DESC, c, b",
        "SELECT DISTINCT ON (a, b) a, b, c FROM x ORDER BY a, b, c",
        "SELECT t.c, y.d FROM (SELECT DISTINCT ON (a % 2) a, c FROM x ORDER BY a % 2, c, a, b) AS t JOIN y ON y.a = t.a",
    ]);
}

#[test]
fn joins_by_more_than_equality() {
    check(&[
        "SELECT u.a, u.c, v.d FROM u FULL JOIN v ON u.c < v.d AND u.a > v.a",
        "SELECT u.a, u.c, v.d FROM u LEFT JOIN v ON u.c > 3",
        "SELECT u.a, v.d FROM u FULL JOIN v ON false",
        "SELECT u.a, u.b FROM u LEFT ANTI JOIN v ON u.c < v.d",
        "SELECT v.a, v.b FROM u RIGHT SEMI JOIN v ON u.a = v.a AND u.c < v.d",
        "SELECT a FROM u WHERE a IN (SELECT a FROM v) OR b IN (SELECT b FROM v WHERE d > 5)",
        "SELECT a, b FROM u WHERE a NOT IN (SELECT a FROM v) OR c > 5",
        "SELECT x.a, t.n FROM x CROSS JOIN LATERAL (SELECT COUNT(*) AS n FROM v WHERE v.a = x.a) AS t",
        "SELECT u.a, t.d FROM u LEFT JOIN LATERAL (SELECT d FROM y WHERE y.a = u.a AND y.d > u.c) AS t ON true",
        "SELECT COALESCE(u.a, v.a) AS a, SUM(COALESCE(u.c, 0) - COALESCE(v.d, 0)) AS s FROM u FULL JOIN v ON u.a = v.a GROUP BY COALESCE(u.a, v.a)",
    ]);
    check_as(&[
        (
            "SELECT x.a, y.b FROM x JOIN y ON x.a IS NOT DISTINCT FROM y.a AND x.b <> y.b",
            "SELECT x.a, y.b FROM x JOIN y ON (x.a IS NOT DISTINCT FROM y.a) AND x.b <> y.b",
        ),
        (
            "SELECT x.a FROM x WHERE a IS DISTINCT FROM 1 OR c > 0",
            "SELECT x.a FROM x WHERE (a IS DISTINCT FROM 1) OR c > 0",
        ),
        (
            "SELECT a FROM u WHERE c > ANY (SELECT d FROM v)",
            "SELECT a FROM u WHERE EXISTS (SELECT 1 FROM v WHERE u.c > v.d)",
        ),
    ]);
}

#[test]
fn lists_of_rows_in_from() {
    let sometimes =
        "CASE WHEN x.c > 0 THEN make_array(x.c, x.a) WHEN x.c < -4 THEN make_array() END";
    let null_for_none = "CASE WHEN c > 0 THEN make_array(c, a) ELSE make_array(NULL) END";
    check_as(&[
        (
            &format!("SELECT x.a, l.e FROM x LEFT JOIN UNNEST({sometimes}) AS l(e) ON true"),
            &format!("SELECT a, UNNEST({null_for_none}) AS e FROM x"),
        ),
        (
            &format!(
                "SELECT x.a, l.e, l.n FROM x CROSS JOIN UNNEST({sometimes}) WITH ORDINALITY AS l(e, n)"
            ),
            "SELECT a, UNNEST(make_array(c, a)) AS e, UNNEST(make_array(1, 2)) AS n FROM x WHERE c > 0",
        ),
        (
            "SELECT x.a, l.e FROM x JOIN UNNEST(make_array(x.a, x.c)) AS l(e) ON l.e > 1 AND x.b <> 'p'",
            "SELECT a, e FROM (SELECT a, b, UNNEST(make_array(a, c)) AS e FROM x) AS l WHERE e > 1 AND b <> 'p'",
        ),
        (
            "SELECT l.e, COUNT(*) AS n FROM u CROSS JOIN UNNEST(make_array(u.a, u.c)) AS l(e) GROUP BY l.e",
            "SELECT e, COUNT(*) AS n FROM (SELECT UNNEST(make_array(a, c)) AS e FROM u) AS l GROUP BY e",
        ),
    ]);
    check(&[
        "SELECT a, UNNEST(UNNEST(make_array(make_array(a, c), make_array(c)))) AS e FROM x",
        "SELECT a, UNNEST(UNNEST(make_array(make_array(a, c), NULL, make_array(c)))) AS e, UNNEST(make_array(b, 'k')) AS f FROM u",
        "SELECT a, UNNEST(UNNEST(UNNEST(make_array(make_array(make_array(a), make_array(c, NULL)))))) AS e FROM u",
    ]);
}
