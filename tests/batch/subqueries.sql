-- Subqueries (scalar, IN, EXISTS, correlated), CTEs, derived tables.
SELECT id FROM t WHERE n > (SELECT MIN(w) FROM r)
SELECT id, (SELECT MAX(w) FROM r) AS hi FROM t
SELECT id, n - (SELECT MIN(n) FROM t) AS x FROM t
SELECT id FROM t WHERE id IN (SELECT id FROM r)
SELECT id FROM t WHERE id NOT IN (SELECT id FROM r WHERE id IS NOT NULL)
SELECT id FROM t WHERE id NOT IN (SELECT id FROM r)
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM r WHERE r.id = t.id)
SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.id = t.id)
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM r WHERE r.id = t.id AND r.w > t.n)
SELECT id FROM t WHERE EXISTS (SELECT * FROM e)
SELECT id, (SELECT SUM(w) FROM r WHERE r.id = t.id) AS total FROM t
SELECT id, (SELECT COUNT(*) FROM r WHERE r.k = t.k) AS c FROM t
SELECT id FROM t WHERE n < (SELECT SUM(w) FROM r WHERE r.k = t.k)
SELECT id FROM t WHERE id IN (SELECT id FROM r WHERE r.k = t.k)
SELECT id FROM t WHERE k IN (SELECT k FROM r WHERE w > 0) OR g = 3
SELECT id FROM t WHERE n = ANY (SELECT w FROM r)
SELECT x.k, x.c FROM (SELECT k, COUNT(*) AS c FROM t GROUP BY k) AS x WHERE x.c > 1
SELECT k FROM (SELECT k, g FROM (SELECT k, g, n FROM t WHERE n > 0) AS y) AS x WHERE g > 1
WITH x AS (SELECT id, n FROM t WHERE g = 1) SELECT * FROM x
WITH x AS (SELECT k, SUM(n) AS total FROM t GROUP BY k), y AS (SELECT MAX(total) AS hi FROM x) SELECT x.k FROM x, y WHERE x.total = y.hi
WITH x(a, b) AS (SELECT id, k FROM t) SELECT a, b FROM x WHERE a > 3
WITH x AS (SELECT 1 AS a), y AS (SELECT a + 1 AS b FROM x) SELECT a, b FROM x, y
WITH x AS (SELECT id FROM t) SELECT COUNT(*) FROM x AS p JOIN x AS q ON p.id = q.id
WITH x AS (VALUES (1, 'a'), (2, 'b')) SELECT * FROM x
-- because: a stream has no end to iterate to, and a batch query means the same as a continuous one
-- refused: WITH RECURSIVE is not supported
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5) SELECT x FROM c
WITH t AS (SELECT 1 AS id) SELECT id FROM t
SELECT (SELECT 1), (SELECT 'x'), (SELECT a FROM e)
SELECT id FROM t WHERE (SELECT COUNT(*) FROM e) = 0
SELECT id FROM t WHERE n > (SELECT AVG(d) FROM t)
SELECT k, SUM(n) FROM t GROUP BY k HAVING SUM(n) > (SELECT MIN(w) FROM r)
SELECT id FROM t WHERE id = (SELECT MAX(id) FROM t)
SELECT id FROM t a WHERE n = (SELECT MAX(n) FROM t b WHERE b.k = a.k)
SELECT * FROM (SELECT id, k FROM t ORDER BY id LIMIT 3) AS x
SELECT COUNT(*) FROM (SELECT id FROM t ORDER BY id LIMIT 3 OFFSET 1) AS x
SELECT id FROM t WHERE id > ALL (SELECT g FROM t)
SELECT id FROM t WHERE NOT (id IN (SELECT id FROM r WHERE id IS NOT NULL))
SELECT a.id FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.id > a.id AND NOT EXISTS (SELECT 1 FROM r WHERE r.id = b.id))
