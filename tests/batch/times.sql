-- Dates, times, intervals.
SELECT date_part('year', dd), date_part('month', dd), date_part('day', dd), date_part('doy', dd), date_part('dow', dd) FROM t
SELECT date_part('hour', ts), date_part('minute', ts), date_part('second', ts) FROM t
SELECT date_part('quarter', dd), date_part('week', dd), date_part('isodow', dd) FROM t
SELECT date_part('epoch', ts), date_part('millisecond', ts) FROM t
SELECT EXTRACT(YEAR FROM ts), EXTRACT(MONTH FROM ts), EXTRACT(DAY FROM ts), EXTRACT(HOUR FROM ts), EXTRACT(MINUTE FROM ts) FROM t
-- because: the seconds have their fractions, as in the standard
-- means: SELECT CAST(date_part('millisecond', ts) AS DECIMAL(10, 3)) / 1000 FROM t
SELECT EXTRACT(SECOND FROM ts) FROM t
SELECT EXTRACT(QUARTER FROM dd), EXTRACT(WEEK FROM dd), EXTRACT(DOY FROM dd), EXTRACT(DOW FROM dd) FROM t
SELECT date_trunc('year', ts), date_trunc('month', ts), date_trunc('day', ts), date_trunc('hour', ts) FROM t
SELECT date_trunc('minute', ts), date_trunc('second', ts), date_trunc('week', ts), date_trunc('quarter', ts) FROM t
-- because: a DATE cut off is a DATE
-- means: SELECT CAST(date_trunc('month', dd) AS DATE) FROM t
SELECT date_trunc('month', dd) FROM t
SELECT date_bin(INTERVAL '15 minutes', ts, TIMESTAMP '2024-01-01 00:00:00') FROM t
SELECT date_bin(INTERVAL '1 day', ts) FROM t
SELECT to_timestamp('2024-01-02T03:04:05'), to_timestamp_seconds(1700000000), to_timestamp_millis(1700000000000)
-- because: TO_TIMESTAMP takes milliseconds, as in Kinesis Data Analytics
-- means: SELECT to_timestamp_millis(1700000000)
SELECT to_timestamp(1700000000)
SELECT to_timestamp_micros(1700000000000000), to_timestamp_nanos(1700000000000000000)
SELECT to_date('2024-01-02'), to_date('02/01/2024', '%d/%m/%Y')
SELECT to_char(dd, '%Y-%m-%d'), to_char(ts, '%H:%M') FROM t
SELECT to_unixtime(ts), to_unixtime('2024-01-02') FROM t
SELECT from_unixtime(1700000000)
SELECT to_local_time(ts) FROM t
SELECT dd + INTERVAL '1' DAY, dd - INTERVAL '1' MONTH FROM t
SELECT ts + INTERVAL '1' HOUR, ts - INTERVAL '90' SECOND FROM t
SELECT dd + INTERVAL '1 month 2 days' FROM t
SELECT ts + INTERVAL '1 day 3 hours' FROM t
SELECT INTERVAL '1' DAY > INTERVAL '23' HOUR
SELECT TIMESTAMP '2024-03-01 00:00:00' > TIMESTAMP '2024-02-01 00:00:00'
SELECT DATE '2024-02-29', TIMESTAMP '2024-02-29 12:34:56.789'
SELECT TIME '12:34:56'
SELECT ts - TIMESTAMP '2024-01-01 00:00:00' FROM t
-- because: a difference of dates says its unit: (dd - DATE '2024-01-01') DAY
-- refused: the difference of two DATEs has no unit
SELECT dd - DATE '2024-01-01' FROM t
SELECT CAST(ts AS DATE) = dd FROM t
SELECT MIN(dd), MAX(ts) FROM t WHERE dd > DATE '2023-01-01'
SELECT dd, ts FROM t WHERE EXTRACT(MONTH FROM dd) = 2
SELECT make_date(CAST(EXTRACT(YEAR FROM dd) AS INTEGER), 1, 1) FROM t WHERE dd IS NOT NULL
SELECT now() = now(), current_date = CAST(now() AS DATE)
SELECT datepart('year', dd), datetrunc('year', ts) FROM t
SELECT DATE '2024-01-31' + INTERVAL '1' MONTH
SELECT CAST('10:20:30' AS TIME)
SELECT dd < ts FROM t
SELECT dd BETWEEN DATE '2024-01-01' AND DATE '2024-01-31' FROM t
SELECT COUNT(*) FROM t WHERE ts < TIMESTAMP '2024-01-15 10:30:00.001'
SELECT arrow_cast(ts, 'Timestamp(Second, None)') FROM t
SELECT generate_series(DATE '2024-01-01', DATE '2024-01-03', INTERVAL '1' DAY)
SELECT ts AT TIME ZONE 'UTC' IS NULL FROM t
