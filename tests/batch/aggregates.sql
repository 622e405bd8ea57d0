-- Aggregates: with and without groups, over nothing, over NULLs, in an order, filtered, distinct.
SELECT COUNT(*), COUNT(n), COUNT(DISTINCT k), SUM(n), MIN(n), MAX(n) FROM t
SELECT COUNT(*), COUNT(a), SUM(a), MIN(b), MAX(b) FROM e
SELECT COUNT(*) FROM t WHERE false
SELECT SUM(n) FROM t HAVING COUNT(*) > 100
SELECT SUM(n) FROM t HAVING COUNT(*) > 1
SELECT k, COUNT(*) AS c FROM t GROUP BY k ORDER BY k NULLS FIRST
SELECT k, g, SUM(n) AS total FROM t GROUP BY k, g
SELECT g, AVG(d) FROM t GROUP BY g
SELECT AVG(d), AVG(d * 2) FROM t
SELECT MIN(s), MAX(s), MIN(dd), MAX(dd), MIN(ts), MAX(ts) FROM t
SELECT MIN(m), MAX(m), SUM(m) FROM t
SELECT MIN(ok), MAX(ok) FROM t
SELECT bool_and(ok), bool_or(ok) FROM t
SELECT k, bool_and(n > 0), bool_or(n IS NULL) FROM t GROUP BY k
SELECT bit_and(n), bit_or(n), bit_xor(n) FROM t WHERE n > 0
SELECT k, bit_xor(DISTINCT n) FROM t GROUP BY k
SELECT SUM(DISTINCT g), COUNT(DISTINCT g), MIN(DISTINCT g), MAX(DISTINCT g) FROM t
SELECT COUNT(DISTINCT k), COUNT(DISTINCT g) FROM t
SELECT k, COUNT(DISTINCT g), SUM(DISTINCT n) FROM t GROUP BY k
SELECT COUNT(*) FILTER (WHERE n > 10), SUM(n) FILTER (WHERE ok), MAX(d) FILTER (WHERE false) FROM t
SELECT k, COUNT(*) FILTER (WHERE n > 10) AS big FROM t GROUP BY k HAVING COUNT(*) FILTER (WHERE n > 10) > 0
SELECT COUNT(DISTINCT k) FILTER (WHERE g = 2) FROM t
SELECT array_agg(id ORDER BY id) FROM t
SELECT array_agg(n ORDER BY n DESC NULLS LAST, id) FROM t
SELECT k, array_agg(g ORDER BY id DESC) FROM t GROUP BY k
SELECT array_agg(DISTINCT g ORDER BY g) FROM t
SELECT array_agg(id ORDER BY id) FILTER (WHERE g = 1) FROM t
SELECT array_agg(a) FROM e
SELECT string_agg(s, ',' ORDER BY id) FROM t
SELECT k, string_agg(s, '' ORDER BY s DESC) FROM t GROUP BY k
SELECT string_agg(DISTINCT k, '|' ORDER BY k) FROM t
SELECT first_value(s ORDER BY id), last_value(s ORDER BY id) FROM t
SELECT k, first_value(n ORDER BY id), last_value(n ORDER BY id DESC) FROM t GROUP BY k
SELECT first_value(n IGNORE NULLS ORDER BY id DESC) FROM t
SELECT nth_value(s, 2 ORDER BY id) FROM t
SELECT median(n), median(d), median(m) FROM t
SELECT k, median(g) FROM t GROUP BY k
SELECT stddev(d), stddev_samp(d), stddev_pop(d) FROM t
SELECT var(d), var_samp(d), var_pop(d) FROM t
SELECT k, var_pop(d), stddev_pop(d) FROM t GROUP BY k
SELECT corr(d, n), covar_pop(d, n), covar_samp(d, n) FROM t
SELECT regr_slope(d, n), regr_intercept(d, n), regr_count(d, n), regr_r2(d, n) FROM t
SELECT regr_avgx(d, n), regr_avgy(d, n), regr_sxx(d, n), regr_syy(d, n), regr_sxy(d, n) FROM t
SELECT approx_distinct(k), approx_distinct(id) FROM t
SELECT approx_median(d) FROM t
SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY d) FROM t
SELECT approx_percentile_cont_with_weight(1, 0.9) WITHIN GROUP (ORDER BY d) FROM t
SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY d), percentile_cont(0.75) WITHIN GROUP (ORDER BY d DESC) FROM t
SELECT quantile_cont(0.5) WITHIN GROUP (ORDER BY d) FROM t
SELECT grouping(k), k, SUM(n) FROM t GROUP BY GROUPING SETS ((k), ())
SELECT k, g, COUNT(*), grouping(k, g) FROM t GROUP BY CUBE (k, g)
SELECT k, g, SUM(d) FROM t GROUP BY ROLLUP (k, g)
SELECT k, g, SUM(d) FROM t GROUP BY ROLLUP (k, g) HAVING grouping(g) = 1
SELECT k, g, COUNT(*) FROM t GROUP BY GROUPING SETS ((k, g), (k), (g), ())
SELECT k, g, ok, COUNT(*) FROM t GROUP BY k, GROUPING SETS ((g), (ok))
SELECT k, COUNT(*) FROM t GROUP BY 1
SELECT g % 2, k, COUNT(*) FROM t GROUP BY 1, 2
SELECT k, g, COUNT(*) FROM t GROUP BY ALL
SELECT COUNT(*) FROM t GROUP BY ALL
SELECT g + 1 AS h, SUM(n) FROM t GROUP BY h
SELECT g + 1 AS h, SUM(n) FROM t GROUP BY g + 1
SELECT UPPER(k) AS u, COUNT(*) FROM t GROUP BY UPPER(k) HAVING COUNT(*) >= 2
SELECT COUNT(*) FROM t GROUP BY k
SELECT k FROM t GROUP BY k HAVING SUM(n) IS NULL OR SUM(n) > 0
SELECT SUM(n) + COUNT(*) * 2 FROM t
SELECT MAX(n) - MIN(n) AS spread, k FROM t GROUP BY k
SELECT SUM(CASE WHEN ok THEN 1 ELSE 0 END), SUM(CASE WHEN ok THEN n END) FROM t
SELECT COUNT(1), COUNT(NULL), SUM(1), MIN(7) FROM t
SELECT SUM(n) FROM t WHERE n IS NULL
SELECT DISTINCT k FROM t
SELECT DISTINCT k, g FROM t ORDER BY k NULLS LAST, g
SELECT DISTINCT g % 2 FROM t
SELECT DISTINCT ON (k) k, id FROM t ORDER BY k, id
SELECT DISTINCT ON (k, g) k, g, n FROM t ORDER BY k, g, id DESC
SELECT COUNT(*) FROM (SELECT DISTINCT k, g FROM t) AS x
SELECT MAX(c) FROM (SELECT k, COUNT(*) AS c FROM t GROUP BY k) AS x
SELECT c, COUNT(*) FROM (SELECT k, COUNT(*) AS c FROM t GROUP BY k) AS x GROUP BY c
SELECT first_value(k) FROM t WHERE k = 'a'
SELECT dd, COUNT(*) FROM t GROUP BY dd
SELECT date_trunc('month', ts) AS mo, COUNT(*) FROM t GROUP BY date_trunc('month', ts)
SELECT EXTRACT(YEAR FROM dd) AS y, COUNT(*) FROM t GROUP BY EXTRACT(YEAR FROM dd)
SELECT ok, COUNT(*), MIN(id) FROM t GROUP BY ok ORDER BY ok NULLS LAST
SELECT m, COUNT(*) FROM t GROUP BY m
SELECT d, COUNT(*) FROM t GROUP BY d
SELECT k, SUM(n) AS total FROM t GROUP BY k ORDER BY total DESC NULLS LAST, k LIMIT 2
SELECT k, SUM(n) FROM t GROUP BY k ORDER BY SUM(n) NULLS FIRST, k NULLS FIRST
SELECT k, COUNT(*) FROM t GROUP BY k ORDER BY 2 DESC, 1 NULLS FIRST
SELECT t.k, COUNT(*) FROM t AS t GROUP BY t.k
SELECT MIN(CAST(NULL AS INTEGER)) FROM t
SELECT COUNT(*) FROM t WHERE k IS NOT NULL AND g IN (1, 2)
SELECT k, COUNT(*) AS c, SUM(c2) FROM (SELECT k, g AS c2 FROM t) AS x GROUP BY k
SELECT 'all' AS label, COUNT(*) FROM t
SELECT k, MIN(named_struct('a', n, 'b', id)) FROM t GROUP BY k
-- because: DataFusion passes over parts that are NULL, so that its answer depends on the order of the rows
-- means: SELECT k, first_value(named_struct('a', n, 'b', id) ORDER BY n DESC NULLS LAST, id DESC) FROM t GROUP BY k
SELECT k, MAX(named_struct('a', n, 'b', id)) FROM t GROUP BY k
SELECT MIN(make_array(g, id)), MAX(make_array(g, id)) FROM t
