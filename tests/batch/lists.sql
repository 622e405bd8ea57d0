-- Lists: made, read, searched, cut, sorted, unnested.
SELECT make_array(1, 2, 3), [1, 2], ARRAY[4, 5]
SELECT make_array(), make_array(NULL), make_array(1, NULL)
SELECT make_array(id, g) FROM t
SELECT make_array(1, 2, 3)[1], [1, 2, 3][-1], [1, 2, 3][5]
SELECT [1, 2, 3, 4][2:3], [1, 2, 3, 4][1:4:2], [1, 2, 3, 4][-3:-2]
SELECT array_length([1, 2, 3]), cardinality([1, 2, 3]), array_ndims([[1], [2]]), array_dims([[1], [2]])
SELECT array_append([1, 2], 3), array_prepend(0, [1, 2]), array_concat([1], [2, 3])
SELECT [1, 2] || [3], [1, 2] || 3, 0 || [1, 2]
SELECT array_has([1, 2, 3], 2), array_has_all([1, 2, 3], [1, 2]), array_has_any([1, 2], [3, 2])
SELECT array_contains([1, 2, 3], 5), list_contains([1, 2], 1)
SELECT array_position([1, 2, 3, 2], 2), array_positions([1, 2, 3, 2], 2)
SELECT array_remove([1, 2, 3, 2], 2), array_remove_n([1, 2, 2, 2], 2, 2), array_remove_all([1, 2, 2], 2)
SELECT array_replace([1, 2, 2], 2, 9), array_replace_all([1, 2, 2], 2, 9), array_replace_n([1, 2, 2, 2], 2, 9, 2)
SELECT array_sort([3, 1, 2]), array_sort([3, 1, NULL], 'DESC', 'NULLS LAST')
SELECT array_distinct([1, 2, 1, 3, 2]), array_union([1, 2], [2, 3]), array_intersect([1, 2], [2, 3]), array_except([1, 2], [2, 3])
SELECT array_slice([1, 2, 3, 4], 2, 3), array_element([1, 2], 2), array_pop_back([1, 2]), array_pop_front([1, 2])
SELECT array_repeat(1, 3), array_repeat('x', 2), array_resize([1, 2], 4, 0), array_reverse([1, 2, 3])
SELECT array_max([3, 1, 2]), array_min([3, 1, 2]), array_any_value([NULL, 2])
SELECT array_to_string([1, 2, 3], ','), array_to_string([1, NULL, 3], ',', '*'), string_to_array('a b c', ' ')
SELECT range(0, 5), range(1, 10, 3), generate_series(1, 4), generate_series(10, 1, -3)
SELECT flatten([[1, 2], [3]]), empty([]), empty([1])
SELECT array_distance([1.0, 2.0], [1.0, 4.0])
SELECT arrays_overlap([1, 2], [2, 3])
SELECT UNNEST([1, 2, 3])
SELECT UNNEST([1, 2, 3]) AS x, 'k' AS y
SELECT id, UNNEST(make_array(id, g, n)) AS x FROM t
SELECT UNNEST([1, 2]), UNNEST(['a', 'b', 'c'])
SELECT UNNEST([[1, 2], [3]])
SELECT UNNEST(UNNEST([[1, 2], [3]]))
SELECT UNNEST(named_struct('a', 1, 'b', 'x'))
SELECT * FROM UNNEST([1, 2, 3]) AS u(x)
SELECT u.x FROM UNNEST([1, 2], ['a', 'b']) AS u(x, y)
SELECT x, COUNT(*) FROM (SELECT UNNEST(make_array(g, id)) AS x FROM t) AS u GROUP BY x
SELECT t.id, u.x FROM t CROSS JOIN UNNEST([1, 2]) AS u(x) WHERE t.id < 3
SELECT UNNEST(range(1, 4)) AS x ORDER BY x DESC
SELECT k, array_agg(id ORDER BY id)[1] FROM t GROUP BY k
SELECT k, array_length(array_agg(id)) FROM t GROUP BY k
SELECT array_sort(array_agg(g)) FROM t
SELECT id FROM t WHERE array_has([1, 3, 5], id)
SELECT id FROM t WHERE id = ANY ([1, 3])
SELECT [1, 2] = [1, 2], [1, 2] < [1, 3], [1, 2] <> [1]
SELECT [[1, 2], [3, 4]][2][1]
SELECT make_array('a', 'b') || make_array('c')
SELECT array_append(make_array(k), s) FROM t
SELECT [1, 2] @> [1], [1] <@ [1, 3]
SELECT list_append([1], 2), list_sort([2, 1]), list_length([1])
SELECT * FROM generate_series(1, 3)
SELECT * FROM range(0, 3)
SELECT value FROM generate_series(1, 5) WHERE value > 3
SELECT make_array(named_struct('a', 1), named_struct('a', 2))[2]['a']
SELECT CAST([1, 2] AS BIGINT[]), arrow_cast([1], 'List(Int64)')
SELECT [id, id + 1][2] FROM t
SELECT make_array(dd, DATE '2024-01-01') FROM t
SELECT make_array(1, 2.5), make_array(id, d) FROM t
SELECT g.x FROM generate_series(1, 9, 4) AS g(x)
SELECT t.id, g.value FROM t CROSS JOIN generate_series(1, 2) AS g WHERE t.id < 3
SELECT CAST(make_array('1', '2') AS BIGINT[])[1] + 1
SELECT {'a': id, 'b': {'c': k}}['b']['c'] FROM t
-- because: a column may be called STRUCT: {'x': 1} names the parts
-- refused: expected ), found AS
SELECT struct(1 AS x, 'y' AS z)
SELECT COUNT(*) FROM range(10)
