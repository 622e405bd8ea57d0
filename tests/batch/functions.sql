-- Scalar functions: numbers, texts, regular expressions, hashes.
SELECT ABS(n), ABS(d), SIGNUM(d), CEIL(d), FLOOR(d), ROUND(d) FROM t
SELECT ROUND(2.567, 2), ROUND(-2.5), TRUNC(2.567), TRUNC(2.567, 1)
SELECT SQRT(16), CBRT(27), POWER(2, 10), EXP(0), LN(1), LOG10(100), LOG2(8), LOG(2, 8)
SELECT SIN(0), COS(0), TAN(0), ASIN(0), ACOS(1), ATAN(0), ATAN2(0, 1), SINH(0), COSH(0), TANH(0), COT(1)
SELECT PI(), DEGREES(PI()), RADIANS(180)
SELECT GCD(12, 18), LCM(4, 6), FACTORIAL(5)
SELECT ISNAN(d), ISZERO(d), NANVL(d, 0) FROM t
-- because: MOD is a function of the dialect
-- means: SELECT 10 % 3, n % 3 FROM t
SELECT MOD(10, 3), MOD(n, 3) FROM t
SELECT ACOSH(1), ASINH(0), ATANH(0)
SELECT UPPER(s), LOWER(s), INITCAP(s), CHAR_LENGTH(s), LENGTH(s), CHARACTER_LENGTH(s) FROM t
SELECT OCTET_LENGTH(s), BIT_LENGTH(s) FROM t
SELECT TRIM('  x  '), LTRIM('  x  '), RTRIM('  x  '), BTRIM('xxaxx', 'x')
SELECT TRIM(BOTH 'x' FROM 'xxaxx'), TRIM(LEADING 'x' FROM 'xxa'), TRIM(TRAILING 'x' FROM 'axx')
SELECT LTRIM('xxa', 'x'), RTRIM('axx', 'x')
SELECT SUBSTR(s, 2), SUBSTR(s, 2, 3), SUBSTRING(s FROM 2 FOR 2), SUBSTRING(s, 1, 1) FROM t
SELECT LEFT(s, 2), RIGHT(s, 2), LEFT(s, -2), RIGHT(s, -2) FROM t
SELECT LPAD(s, 8, '*'), RPAD(s, 8, '*'), LPAD('x', 3), RPAD('x', 3) FROM t
SELECT REPEAT(k, 3), REVERSE(s), REPLACE(s, 'a', 'o') FROM t
SELECT CONCAT(k, '-', s), CONCAT_WS(',', k, s, 'z') FROM t
SELECT CONCAT('a', NULL, 'b'), CONCAT_WS('-', 'a', NULL, 'b')
SELECT POSITION('an' IN s) AS a, STRPOS(s, 'an') AS b, INSTR(s, 'an') AS c FROM t
SELECT SPLIT_PART('a,b,c', ',', 2), SPLIT_PART('a,b,c', ',', -1), SPLIT_PART('abc', ',', 2)
SELECT ASCII('x'), CHR(65), TO_HEX(255), TRANSLATE('abc', 'ab', 'xy')
SELECT STARTS_WITH(s, 'a'), ENDS_WITH(s, 'e'), CONTAINS(s, 'an') FROM t
SELECT OVERLAY('abcdef' PLACING 'ZZ' FROM 2 FOR 3), OVERLAY('abcdef' PLACING 'ZZ' FROM 5)
SELECT LEVENSHTEIN('kitten', 'sitting'), FIND_IN_SET('b', 'a,b,c'), SUBSTR_INDEX('a.b.c', '.', 2)
SELECT REGEXP_LIKE(s, '^b', 'i'), REGEXP_COUNT(s, 'a') FROM t
SELECT REGEXP_REPLACE(s, 'a', 'X'), REGEXP_REPLACE(s, 'a', 'X', 'g') FROM t
SELECT REGEXP_MATCH(s, '(a)(n)') FROM t
SELECT REGEXP_INSTR('abcabc', 'c')
SELECT MD5('x'), SHA224('x'), SHA256('x'), DIGEST('x', 'sha256')
SELECT ENCODE('abc', 'hex'), DECODE('616263', 'hex'), ENCODE('abc', 'base64')
SELECT STRING_TO_ARRAY('a,b,c', ','), ARRAY_TO_STRING(make_array(1, 2, 3), '-')
SELECT CAST(n AS VARCHAR) AS a, CAST(id AS DOUBLE) AS b, CAST(id AS SMALLINT) AS c, CAST('12' AS INTEGER) AS f FROM t
SELECT CAST('2024-01-02' AS DATE), CAST('2024-01-02 03:04:05' AS TIMESTAMP), CAST(ts AS DATE) FROM t
-- because: a truth value is written in capitals, as in Kinesis Data Analytics
-- means: SELECT 'TRUE'
SELECT CAST(true AS VARCHAR)
SELECT CAST('true' AS BOOLEAN)
-- because: numbers are no truth values in the dialect
-- refused: cannot be cast to BOOLEAN
SELECT CAST(1 AS BOOLEAN)
-- because: numbers are no truth values in the dialect
-- refused: cannot be cast
SELECT CAST(true AS INTEGER)
SELECT CAST(NULL AS INTEGER) AS a, CAST(NULL AS VARCHAR) AS b, CAST(NULL AS DATE) AS c, CAST(NULL AS TIMESTAMP) AS f
SELECT CAST(1.5 AS DECIMAL(5, 2)), CAST(m AS DOUBLE), CAST('1.25' AS DECIMAL(5, 2)) FROM t
SELECT id::BIGINT, '7'::INTEGER, k::TEXT, n::DOUBLE FROM t
SELECT CAST(dd AS TIMESTAMP) AS a, CAST(dd AS VARCHAR) AS b FROM t
-- because: a TIMESTAMP is written with a blank and whole seconds, as in Kinesis Data Analytics
-- means: SELECT to_char(ts, '%Y-%m-%d %H:%M:%S') FROM t
SELECT CAST(ts AS VARCHAR) FROM t
-- because: a DOUBLE or DECIMAL that becomes a whole number is rounded, not cut off, as in Kinesis Data Analytics
-- means: SELECT CAST(round(d) AS INTEGER) FROM t
SELECT CAST(d AS INTEGER) FROM t
-- because: a DOUBLE or DECIMAL that becomes a whole number is rounded, not cut off, as in Kinesis Data Analytics
-- means: SELECT CAST(round(m) AS INTEGER) FROM t
SELECT CAST(m AS INTEGER) FROM t
SELECT CAST(d AS VARCHAR), CAST(m AS VARCHAR) FROM t
SELECT TRY_CAST('x' AS INTEGER), TRY_CAST('5' AS INTEGER), TRY_CAST(s AS DOUBLE) FROM t
SELECT arrow_typeof(k) FROM t LIMIT 1
SELECT arrow_cast(1, 'Int16'), arrow_cast('x', 'LargeUtf8')
SELECT id, random() BETWEEN 0 AND 1 FROM t
SELECT uuid() <> uuid()
SELECT LOWER(UPPER(k)) = k FROM t
SELECT UPPER('é'), LOWER('ÀÉ'), LENGTH('é')
SELECT CHAR_LENGTH(NULL), UPPER(NULL), SUBSTR(NULL, 1)
SELECT SUBSTR('abc', 0), SUBSTR('abc', -1, 3), SUBSTR('abc', 2, 0)
-- because: there is no part behind the end of a text, as in Kinesis Data Analytics
-- means: SELECT CAST(NULL AS VARCHAR)
SELECT SUBSTR('abc', 10)
SELECT ROUND(CAST(125.315 AS DOUBLE), 1), ROUND(CAST(125.315 AS DOUBLE), -1)
SELECT ROUND(m, 1), ABS(m), CEIL(m), FLOOR(m) FROM t
SELECT POWER(d, 2), SQRT(ABS(d)), EXP(d) FROM t
SELECT SIGNUM(d) FROM t
-- because: POWER gives a DOUBLE, as in Kinesis Data Analytics
-- means: SELECT 8.0::DOUBLE, power(2.0::DOUBLE, 0.5::DOUBLE), power(n::DOUBLE, 2.0::DOUBLE) FROM t
SELECT POWER(2, 3), POWER(2.0, 0.5), POWER(n, 2) FROM t
SELECT n / 7, 7 / 2, -7 / 2, -7 % 3 FROM t
-- because: a quotient has the digits that Kinesis Data Analytics gives it
-- means: SELECT 3.5, 0.333333
SELECT 7.0 / 2, 1 / 3.0
-- because: a quotient has the digits that Kinesis Data Analytics gives it
-- means: SELECT round(CAST(m AS DECIMAL(20, 10)) / 3, 10) FROM t
SELECT m / 3 FROM t
SELECT d / g FROM t
SELECT version() IS NOT NULL
SELECT substring('abcdef' from 3), position('c' in 'abc')
SELECT named_struct('a', 1, 'b', 'x')['a'], struct(1, 2)['c0']
SELECT named_struct('a', id, 'b', k) FROM t
SELECT get_field(named_struct('a', id), 'a') FROM t
SELECT s."x", s."y" FROM (SELECT named_struct('x', id, 'y', k) AS s FROM t) AS q
-- because: a column may be called STRUCT: {'p': id} names the parts
-- refused: expected ), found AS
SELECT struct(id AS p, k AS q) FROM t
SELECT {'a': 1, 'b': 'x'}
SELECT MAP {'a': 1, 'b': 2}['a']
SELECT map_keys(MAP(['a', 'b'], [1, 2])), map_values(MAP(['a', 'b'], [1, 2]))
SELECT map_extract(MAP(['a', 'b'], [1, 2]), 'b')
SELECT make_date(2024, 2, 29), make_date(2023, 1, 1)
-- because: what a function is given has no names in the dialect
-- refused: does not support named arguments
SELECT LPAD(string => 'x', n => 3)
-- because: what a function is given has no names in the dialect
-- refused: does not support named arguments
SELECT SUBSTR(str => 'abc', start_pos => 2)
SELECT left(lower(s), 1), COUNT(*) FROM t GROUP BY left(lower(s), 1)
SELECT BIT_LENGTH('abc'), OCTET_LENGTH('é')
SELECT CASE WHEN s LIKE 'a%' THEN LENGTH(s) ELSE 0 END FROM t
