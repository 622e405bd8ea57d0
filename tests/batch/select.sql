-- Projection, filter, order, limit, predicates, CASE, NULLs.
SELECT * FROM t
SELECT t.* FROM t
SELECT id, id + 1 AS next FROM t ORDER BY id
SELECT id FROM t ORDER BY id DESC LIMIT 3
SELECT id FROM t ORDER BY id LIMIT 3 OFFSET 2
SELECT id FROM t ORDER BY id OFFSET 8
SELECT id FROM t ORDER BY id OFFSET 2 ROWS
SELECT id FROM t ORDER BY id LIMIT 0
SELECT id, n FROM t ORDER BY n NULLS FIRST, id
SELECT id, n FROM t ORDER BY n DESC NULLS LAST, id
SELECT id, n FROM t ORDER BY n, id
SELECT id, n FROM t ORDER BY n DESC, id
SELECT id, k FROM t ORDER BY 2 NULLS LAST, 1 DESC
SELECT id AS z FROM t ORDER BY z
SELECT id FROM t ORDER BY -id
SELECT id FROM t ORDER BY CASE WHEN g = 2 THEN 0 ELSE 1 END, id
SELECT id FROM t ORDER BY g DESC, k NULLS FIRST, id
SELECT id, s FROM t ORDER BY s NULLS LAST, id
SELECT id FROM t ORDER BY dd NULLS LAST, id
SELECT id FROM t WHERE n > 10
SELECT id FROM t WHERE NOT n > 10
SELECT id FROM t WHERE n > 10 AND ok
SELECT id FROM t WHERE n > 10 OR ok
SELECT id FROM t WHERE ok IS TRUE
SELECT id FROM t WHERE ok IS NOT TRUE
SELECT id FROM t WHERE ok IS FALSE
SELECT id FROM t WHERE ok IS UNKNOWN
SELECT id FROM t WHERE ok IS NOT UNKNOWN
SELECT id FROM t WHERE n IS NULL
SELECT id FROM t WHERE n IS NOT NULL
SELECT id FROM t WHERE n BETWEEN 10 AND 40
SELECT id FROM t WHERE n NOT BETWEEN 10 AND 40
SELECT id FROM t WHERE k IN ('a', 'c')
SELECT id FROM t WHERE k NOT IN ('a', 'c')
SELECT id FROM t WHERE k NOT IN ('a', NULL)
SELECT id FROM t WHERE k IN (NULL, 'b')
SELECT id FROM t WHERE g IN (1)
SELECT id FROM t WHERE n IS DISTINCT FROM 10
SELECT id FROM t WHERE n IS NOT DISTINCT FROM NULL
SELECT id FROM t WHERE s LIKE 'a%'
SELECT id FROM t WHERE s LIKE '%an%'
SELECT id FROM t WHERE s LIKE '_anana'
SELECT id FROM t WHERE s NOT LIKE '%e%'
SELECT id FROM t WHERE s ILIKE 'BAN%'
SELECT id FROM t WHERE s LIKE ''
SELECT id FROM t WHERE dd = DATE '2024-02-29'
SELECT id FROM t WHERE dd > DATE '2024-01-01' AND dd < DATE '2024-12-31'
SELECT id FROM t WHERE ts >= TIMESTAMP '2024-01-01 00:00:00'
SELECT id FROM t WHERE ts BETWEEN TIMESTAMP '2023-01-01 00:00:00' AND TIMESTAMP '2024-02-01 00:00:00'
SELECT id FROM t WHERE m > 10.5
SELECT id FROM t WHERE m = 20.50
SELECT id FROM t WHERE d = 2.5
SELECT id FROM t WHERE d > n
SELECT id FROM t WHERE true
SELECT id FROM t WHERE false
SELECT id FROM t WHERE NULL
SELECT id FROM t WHERE 1 = 1 AND id = 1
SELECT id FROM t WHERE id = 1 OR (id = 2 AND k = 'b') OR NOT (id < 10)
SELECT id, CASE WHEN n > 10 THEN 'hi' WHEN n > 0 THEN 'lo' ELSE 'no' END AS c FROM t
SELECT id, CASE k WHEN 'a' THEN 1 WHEN 'b' THEN 2 END AS c FROM t
SELECT id, CASE WHEN n IS NULL THEN NULL ELSE n + 1 END AS c FROM t
SELECT id, CASE WHEN g = 1 THEN n ELSE d END AS c FROM t
SELECT id, CASE WHEN g = 1 THEN CASE WHEN ok THEN 'a' ELSE 'b' END ELSE 'c' END AS c FROM t
SELECT COALESCE(n, g, 0), COALESCE(k, 'none') FROM t
SELECT COALESCE(NULL, NULL, 3)
SELECT NULLIF(k, 'a'), NULLIF(n, 10) FROM t
SELECT NVL(n, -1), NVL2(n, 'some', 'none') FROM t
SELECT GREATEST(n, 15, g), LEAST(n, 15, g) FROM t
SELECT NULL, NULL + 1, NULL IS NULL, NOT NULL
SELECT NULL = NULL, NULL AND false, NULL OR true
SELECT 1, 'x', true, 1.5, -3
SELECT 1 + 2 * 3 AS a, (1 + 2) * 3 AS b, -(-4) AS c, 7 % 4 AS f
SELECT 1 = 1, 1 <> 2, 1 < 2, 2 >= 2, 1 != 1
SELECT 'it''s', 'two' || ' ' || 'words', '' || 'x'
SELECT 'a' || NULL, k || '-' || s FROM t
SELECT k || n FROM t
SELECT id AS "Quoted", k AS "two words" FROM t
SELECT T.ID, t.K, g FROM T
SELECT 'é' AS x, 'ß' = 'SS', 'ÀÉ' AS y
SELECT n + g, n - g, n * g, n / g, n % g FROM t
SELECT d + 1, d - n, d * g, d / 2, -d FROM t
SELECT m + 1, m - m, m * 2, -m FROM t
SELECT m + m, m * m FROM t
SELECT id FROM t WHERE id % 2 = 0
-- because: an exclusive or has no sign in the dialect
-- refused: unexpected character #
SELECT n # 3 FROM t WHERE n > 0
SELECT n & 6, n | 1, n << 1, n >> 1 FROM t WHERE n > 0
SELECT id, ok AND n > 10, ok OR n > 10, NOT ok FROM t
SELECT id * 2 AS z, x FROM (SELECT id, n AS x FROM t) AS y
SELECT * EXCEPT (ts, dd) FROM t
SELECT * REPLACE (id + 100 AS id) FROM r
SELECT * FROM r LIMIT 0
SELECT COUNT(*) FROM (SELECT * FROM t LIMIT 4) AS x
SELECT x.id FROM t AS x WHERE x.id = 1
SELECT "ID" FROM (SELECT id AS "ID" FROM t) AS y
SELECT 1 AS a, 2 AS b, 3 AS c
-- because: SIMILAR TO has the patterns of the standard, DataFusion's are regular expressions
-- means: SELECT id FROM t WHERE s ~ '(an|rr)'
SELECT id FROM t WHERE s SIMILAR TO '%(an|rr)%'
SELECT id FROM t WHERE s ~ '^[a-c]'
SELECT id FROM t WHERE s ~* '^[A-C]'
SELECT id FROM t WHERE s !~ 'e'
SELECT id FROM t WHERE k = 'a' AND k = 'b'
-- because: a small number is an INTEGER, and a sum does not become a wider one in silence
-- refused: out of range
SELECT 2147483647 + 1
SELECT 9223372036854775807
-- because: a number with an exponent is a DOUBLE, as in the standard
-- means: SELECT 1000::DOUBLE, 0.015::DOUBLE
SELECT 1e3, 1.5e-2
SELECT 0.1 + 0.2, 1.10, 3.14 * 2
SELECT id FROM t WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
SELECT X'0AFF'
SELECT id, n IS NULL AS isnull, n IS NOT NULL AS notnull FROM t
SELECT (id, k) FROM t WHERE id < 3
SELECT id FROM t ORDER BY n + g NULLS LAST, id LIMIT 4
-- because: a query begins with SELECT, WITH or VALUES
-- refused: expected a statement
FROM t SELECT id WHERE id < 4
-- because: a query begins with SELECT, WITH or VALUES
-- refused: expected a statement
FROM r
SELECT * REPLACE (UPPER(k) AS k, w * 2 AS w) FROM r ORDER BY id NULLS LAST, w
SELECT 5 << 2, 20 >> 2, 6 & 3, 6 | 1
SELECT id FROM t WHERE (n, d) = (10, 1.5)
SELECT id FROM t WHERE CASE WHEN ok THEN n > 10 ELSE g = 2 END
SELECT id FROM t WHERE COALESCE(n, 0) = 0
SELECT id FROM t WHERE NOT (k = 'a' OR k IS NULL)
SELECT id FROM t WHERE n > 10 IS TRUE
SELECT id FROM t WHERE s = 'apple' AND m > 10
SELECT id, -n, +n FROM t
SELECT id FROM t WHERE n + g > 50
SELECT id FROM t WHERE d * d > 10
SELECT DISTINCT ok FROM t ORDER BY ok NULLS FIRST
SELECT id FROM t ORDER BY ok DESC NULLS LAST, id DESC
SELECT id FROM t ORDER BY UPPER(s) NULLS FIRST, id
SELECT id FROM t ORDER BY LENGTH(s) DESC NULLS LAST, id
SELECT k, MAX(id) AS top FROM t GROUP BY k ORDER BY top DESC LIMIT 2
