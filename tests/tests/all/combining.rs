//! The law for what combines relations: joins by any condition, by time and with tables; unions,
//! intersections and differences; grouping sets; constants and lists.

use crate::oracle::check;

#[test]
fn joins_without_an_equality() {
    for join in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        check(
            &format!(
                "SELECT STREAM a.k AS ak, a.v, b.k AS bk FROM s AS a {join} r AS b ON a.v < b.v - 60"
            ),
            &format!("SELECT a.k, a.v, b.k FROM s AS a {join} r AS b ON a.v < b.v - 60"),
        );
    }
}

#[test]
fn subqueries_of_every_kind() {
    for query in [
        "SELECT k, v FROM s WHERE v > (SELECT AVG(v) FROM r)",
        "SELECT k, v FROM s WHERE v > (SELECT AVG(r.v) FROM r WHERE r.k = s.k)",
        "SELECT k, v FROM s WHERE k IN (SELECT k FROM r WHERE v > 40)",
        "SELECT k, v FROM s WHERE k NOT IN (SELECT k FROM r WHERE v > 48 AND k IS NOT NULL)",
        "SELECT k, v FROM s WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = s.k AND r.v > s.v)",
        "SELECT k, v FROM s WHERE EXISTS (SELECT 1 FROM r WHERE r.v > s.v + 90)",
        "SELECT k, v FROM s WHERE v > 30 OR EXISTS (SELECT 1 FROM r WHERE r.k = s.k AND r.v > 45)",
        "SELECT k, (SELECT MAX(r.v) FROM r WHERE r.k = s.k) AS m FROM s",
        "SELECT k, v FROM s WHERE v = (SELECT MAX(v) FROM s)",
    ] {
        check(&query.replacen("SELECT", "SELECT STREAM", 1), query);
    }
}

/// What a quantifier stands for, in words that DataFusion has.
#[test]
fn comparisons_with_all_rows_of_a_subquery() {
    let pairs = "SELECT k, v FROM r WHERE v > 40";
    let equal = "r.v > 40 AND r.k = s.k AND r.v = s.v";
    let unlike = "r.v > 40 AND (r.k = s.k AND r.v = s.v) IS NOT FALSE";
    for (query, plain) in [
        (
            "k = ANY (SELECT k FROM r WHERE v > 40)",
            "k IN (SELECT k FROM r WHERE v > 40)".to_owned(),
        ),
        (
            "k <> ALL (SELECT k FROM r WHERE v > 48)",
            "NOT EXISTS (SELECT 1 FROM r WHERE v > 48 AND (r.k = s.k) IS NOT FALSE)".to_owned(),
        ),
        (
            "v > ALL (SELECT v FROM r WHERE r.k = s.k)",
            "NOT EXISTS (SELECT 1 FROM r WHERE r.k = s.k AND (s.v > r.v) IS NOT TRUE)".to_owned(),
        ),
        (
            "v > SOME (SELECT v FROM r WHERE r.k = s.k)",
            "EXISTS (SELECT 1 FROM r WHERE r.k = s.k AND s.v > r.v)".to_owned(),
        ),
        (&format!("(k, v) IN ({pairs})"), format!("EXISTS (SELECT 1 FROM r WHERE {equal})")),
        (
            &format!("(k, v) NOT IN ({pairs})"),
            format!("NOT EXISTS (SELECT 1 FROM r WHERE {unlike})"),
        ),
        (
            &format!("v < 10 OR (k, v) IN ({pairs})"),
            format!("v < 10 OR EXISTS (SELECT 1 FROM r WHERE {equal})"),
        ),
    ] {
        let stream = format!("SELECT STREAM k, v FROM s WHERE {query}");
        check(&stream, &format!("SELECT k, v FROM s WHERE {plain}"));
    }
}

#[test]
fn joins_by_time_free_their_rows_and_lose_none() {
    let on = "a.k = b.k AND a.t BETWEEN b.t - INTERVAL '8' SECOND AND b.t + INTERVAL '3' SECOND";
    let batch =
        "a.k = b.k AND a.t BETWEEN b.t - INTERVAL '8 seconds' AND b.t + INTERVAL '3 seconds'";
    for join in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        check(
            &format!(
                "SELECT STREAM a.t AS at, a.v AS av, b.t AS bt FROM s AS a {join} r AS b ON {on}"
            ),
            &format!("SELECT a.t, a.v, b.t FROM s AS a {join} r AS b ON {batch}"),
        );
    }
    for exists in ["EXISTS", "NOT EXISTS"] {
        check(
            &format!(
                "SELECT STREAM a.t, a.v FROM s AS a WHERE {exists} (SELECT 1 FROM r AS b WHERE {on})"
            ),
            &format!(
                "SELECT a.t, a.v FROM s AS a WHERE {exists} (SELECT 1 FROM r AS b WHERE {batch})"
            ),
        );
    }
    check(
        "SELECT STREAM a.v AS av, b.v AS bv FROM s AS a JOIN r AS b ON a.t - b.t
           BETWEEN INTERVAL '0' SECOND AND INTERVAL '2' SECOND",
        "SELECT a.v, b.v FROM s AS a JOIN r AS b ON a.t - b.t
           BETWEEN INTERVAL '0 seconds' AND INTERVAL '2 seconds'",
    );
}

#[test]
fn a_window_follows_a_join_by_time() {
    check(
        "SELECT STREAM STEP(a.t BY INTERVAL '10' SECOND) AS w, COUNT(*) AS n, SUM(b.v) AS s
         FROM s AS a JOIN r AS b ON a.k = b.k AND a.t BETWEEN b.t AND b.t + INTERVAL '20' SECOND
         GROUP BY STEP(a.t BY INTERVAL '10' SECOND)",
        "SELECT date_bin(INTERVAL '10 seconds', a.t), COUNT(*), SUM(b.v)
         FROM s AS a JOIN r AS b ON a.k = b.k AND a.t BETWEEN b.t AND b.t + INTERVAL '20 seconds'
         GROUP BY date_bin(INTERVAL '10 seconds', a.t)",
    );
}

#[test]
fn joins_with_a_table() {
    for query in [
        "SELECT s.t, d.name FROM s RIGHT JOIN d ON s.k = d.k",
        "SELECT s.t, d.name FROM d LEFT JOIN s ON s.k = d.k AND s.v > 0",
        "SELECT s.t, d.name FROM s FULL JOIN d ON s.k = d.k",
        "SELECT s.t, d.name FROM s JOIN d ON s.k < d.k",
        "SELECT s.t, s.k FROM s WHERE s.k IN (SELECT k FROM d)",
        "SELECT s.t, s.k FROM s WHERE s.k NOT IN (SELECT k FROM d)",
        "SELECT s.t, s.k FROM s WHERE s.v > 40 OR EXISTS (SELECT 1 FROM d WHERE d.k = s.k)",
        "SELECT name FROM d WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = d.k AND s.v > 30)",
        "SELECT x.k, d.name, x.n FROM (SELECT k, COUNT(*) AS n FROM s GROUP BY k) AS x
           JOIN d ON x.k = d.k",
        "SELECT d.name, e.name AS other, COUNT(*) AS n FROM d JOIN d AS e ON d.k = e.k
           GROUP BY d.name, e.name",
    ] {
        check(&query.replacen("SELECT", "SELECT STREAM", 1), query);
    }
}

#[test]
fn set_operations() {
    for op in ["UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"] {
        check(
            &format!("SELECT STREAM k, v FROM s {op} SELECT STREAM k, v FROM r"),
            &format!("SELECT k, v FROM s {op} SELECT k, v FROM r"),
        );
    }
    let mixed = "(SELECT k FROM s WHERE v > 20 UNION SELECT k FROM r WHERE v > 20)
                 EXCEPT (SELECT k FROM s INTERSECT SELECT k FROM d)";
    check(mixed, mixed);
}

#[test]
fn set_operations_of_what_changes() {
    for op in ["UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"] {
        let counts = format!(
            "SELECT k, COUNT(*) AS n FROM s GROUP BY k {op} SELECT k, COUNT(*) AS n FROM r GROUP BY k"
        );
        check(&counts.replacen("SELECT", "SELECT STREAM", 1), &counts);
    }
}

#[test]
fn grouping_sets() {
    for query in [
        "SELECT k, w, GROUPING(k) AS g, GROUPING(w) AS h, COUNT(*) AS n, SUM(k) AS s, MAX(w) AS m
         FROM x GROUP BY CUBE (k, w)",
        "SELECT k, w, GROUPING(k) AS g, COUNT(*) AS n FROM x GROUP BY GROUPING SETS ((k, w), (k), (k))",
        "SELECT k, COUNT(*) AS n FROM x GROUP BY GROUPING SETS ((), (k), ())",
        "SELECT k, w FROM x GROUP BY GROUPING SETS ((k), (w), ())",
        "SELECT n, COUNT(*) AS c FROM (SELECT k, COUNT(*) AS n FROM x GROUP BY k) AS y GROUP BY ROLLUP (n)",
    ] {
        let query = format!("WITH x AS (SELECT k, FLOOR(v / 25) AS w FROM s) {query}");
        check(&query, &query);
    }
}

#[test]
fn grouping_sets_of_windows_close_with_them() {
    check(
        "SELECT STREAM STEP(s.t BY INTERVAL '10' SECOND) AS w, k, COUNT(*) AS n FROM s
         GROUP BY GROUPING SETS ((STEP(s.t BY INTERVAL '10' SECOND), k),
           (STEP(s.t BY INTERVAL '10' SECOND)))",
        "SELECT date_bin(INTERVAL '10 seconds', t), k, COUNT(*) FROM s
         GROUP BY GROUPING SETS ((date_bin(INTERVAL '10 seconds', t), k),
           (date_bin(INTERVAL '10 seconds', t)))",
    );
}

#[test]
fn constants_and_lists() {
    for query in [
        "SELECT s.t, x.name FROM s JOIN (VALUES (1, 'one'), (3, 'three')) AS x(k, name) ON s.k = x.k",
        "SELECT k FROM s UNION ALL SELECT 77",
        "SELECT k FROM s WHERE false UNION ALL SELECT p FROM (VALUES (1), (2)) AS x(p)",
        "SELECT k, UNNEST(make_array(v, v + 1)) AS e FROM s",
        "SELECT x.p, COUNT(*) AS n FROM (VALUES (1), (2), (2)) AS x(p) GROUP BY x.p",
        "SELECT x.a, x.b FROM (SELECT k, v FROM s) AS x(a, b) WHERE x.a > 1",
        "SELECT e, SUM(c) AS f FROM (SELECT k, COUNT(*) FROM s GROUP BY k) AS x(c, d)
           JOIN (SELECT k, MAX(v) FROM r GROUP BY k) AS y(c2, e) ON x.c = y.c2 GROUP BY e",
    ] {
        check(&query.replacen("SELECT", "SELECT STREAM", 1), query);
    }
    check(
        "SELECT STREAM s.t, u.e FROM s CROSS JOIN UNNEST(make_array(s.v, NULL, s.v + 1)) AS u(e)
         WHERE u.e > 10",
        "SELECT t, e FROM (SELECT t, UNNEST(make_array(v, NULL, v + 1)) AS e FROM s) WHERE e > 10",
    );
    check(
        "SELECT STREAM s.t, u.e FROM s, UNNEST(string_to_array('a,b', ',')) AS u(e)",
        "SELECT s.t, u.e FROM s CROSS JOIN UNNEST(string_to_array('a,b', ',')) AS u(e)",
    );
}

#[test]
fn a_stream_as_of_the_time_of_each_row() {
    for join in ["JOIN", "LEFT JOIN"] {
        check(
            &format!(
                "SELECT STREAM s.t AS st, s.v AS sv, x.v AS rv
                 FROM s {join} r FOR SYSTEM_TIME AS OF s.t AS x ON s.k = x.k"
            ),
            &format!(
                "SELECT s.t, s.v, x.v FROM s {join}
                   (SELECT *, LEAD(t) OVER (PARTITION BY k ORDER BY t) AS until FROM r) AS x
                 ON s.k = x.k AND x.t <= s.t AND (s.t < x.until OR x.until IS NULL)"
            ),
        );
        check(
            &format!(
                "SELECT STREAM s.t, d.name FROM s {join} d FOR SYSTEM_TIME AS OF s.ROWTIME ON s.k = d.k"
            ),
            &format!("SELECT s.t, d.name FROM s {join} d ON s.k = d.k"),
        );
    }
}
