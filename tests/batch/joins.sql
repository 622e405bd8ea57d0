-- Joins: inner, outer, semi, anti, cross, by equality and not, with USING, NATURAL, LATERAL.
SELECT t.id, r.w FROM t JOIN r ON t.id = r.id
SELECT t.id, r.w FROM t INNER JOIN r ON t.id = r.id AND r.w > 100
SELECT t.id, r.w FROM t LEFT JOIN r ON t.id = r.id
SELECT t.id, r.w FROM t LEFT OUTER JOIN r ON t.id = r.id AND t.k = r.k
SELECT t.id, r.w FROM t RIGHT JOIN r ON t.id = r.id
SELECT t.id, r.id AS rid, r.w FROM t FULL JOIN r ON t.id = r.id
SELECT t.id, r.id AS rid FROM t FULL OUTER JOIN r ON t.id = r.id AND t.n < r.w
SELECT t.id, r.w FROM t CROSS JOIN r
SELECT COUNT(*) FROM t, r
SELECT t.id, r.w FROM t, r WHERE t.id = r.id
SELECT id, t.k, r.note FROM t JOIN r USING (id)
SELECT id, k, w FROM t JOIN r USING (id, k)
SELECT id, w FROM t LEFT JOIN r USING (id)
SELECT * FROM t JOIN r USING (id)
SELECT id, k, w FROM t NATURAL JOIN r
SELECT t.id, r.w FROM t JOIN r ON t.n < r.w
SELECT t.id, r.w FROM t LEFT JOIN r ON t.n > r.w
SELECT t.id, r.w FROM t JOIN r ON t.n BETWEEN r.w - 100 AND r.w
SELECT t.id, r.w FROM t FULL JOIN r ON t.n < r.w AND t.k = r.k
SELECT t.id, r.w FROM t LEFT JOIN r ON false
SELECT t.id, r.w FROM t LEFT JOIN r ON true WHERE t.id < 3
SELECT t.id FROM t LEFT SEMI JOIN r ON t.id = r.id
SELECT t.id FROM t LEFT ANTI JOIN r ON t.id = r.id
SELECT r.w FROM t RIGHT SEMI JOIN r ON t.id = r.id
SELECT r.w FROM t RIGHT ANTI JOIN r ON t.id = r.id
SELECT a.id, b.id AS other FROM t AS a JOIN t AS b ON a.k = b.k AND a.id < b.id
SELECT a.id, b.id AS other, c.w FROM t a JOIN t b ON a.g = b.g LEFT JOIN r c ON b.id = c.id WHERE a.id <> b.id
SELECT t.id, r.w FROM t JOIN r ON t.k IS NOT DISTINCT FROM r.k
SELECT t.id, r.w FROM t JOIN r ON t.id + 1 = r.id
SELECT t.id, r.w FROM t JOIN r ON UPPER(t.k) = UPPER(r.k)
SELECT t.id FROM t LEFT JOIN r ON t.id = r.id WHERE r.id IS NULL
SELECT t.id, COALESCE(r.w, 0) AS w FROM t LEFT JOIN r ON t.id = r.id ORDER BY t.id, w
SELECT x.id, y.w FROM (SELECT id FROM t WHERE g = 1) AS x JOIN (SELECT id, w FROM r) AS y ON x.id = y.id
SELECT t.k, SUM(r.w) FROM t JOIN r ON t.k = r.k GROUP BY t.k
SELECT t.id, l.w FROM t CROSS JOIN LATERAL (SELECT SUM(w) AS w FROM r WHERE r.id = t.id) AS l
SELECT t.id, l.w FROM t, LATERAL (SELECT w FROM r WHERE r.k = t.k) AS l
SELECT t.id, l.w FROM t LEFT JOIN LATERAL (SELECT w FROM r WHERE r.k = t.k) AS l ON true
SELECT t.id, e.a FROM t LEFT JOIN e ON t.id = e.a
SELECT e.a, t.id FROM e LEFT JOIN t ON t.id = e.a
SELECT e.a, t.id FROM e FULL JOIN t ON t.id = e.a
SELECT t.id FROM t JOIN e ON t.id = e.a
SELECT * FROM r AS x(i, j, l, o) WHERE i = 2
SELECT t.*, r.note FROM t JOIN r ON t.id = r.id
SELECT r.*, t.id AS tid FROM t JOIN r ON t.id = r.id
SELECT t.id, r.w FROM t JOIN r ON t.id = r.id OR t.k = r.k
SELECT t.id, r.w FROM t JOIN r ON (t.id, t.k) = (r.id, r.k)
SELECT t.id, v.name FROM t JOIN (VALUES (1, 'one'), (2, 'two')) AS v(num, name) ON t.g = v.num
SELECT p.id, q.id AS qid FROM t p, t q, r WHERE p.id = q.id AND q.id = r.id
SELECT t.id, r.w FROM t JOIN r ON t.id = r.id ORDER BY r.w DESC LIMIT 2
SELECT t.id, r.w FROM (t JOIN r ON t.id = r.id)
SELECT a.id FROM t a JOIN t b ON a.id = b.id JOIN t c ON b.id = c.id WHERE a.g = 1 AND c.n > 5
SELECT t.k, r.note FROM t RIGHT JOIN r ON t.id = r.id AND t.ok WHERE r.w > 0
