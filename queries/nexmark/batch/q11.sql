-- Query 11 for DataFusion, without window functions: a session begins where the bid before is too old.
WITH marked AS (
  SELECT bidder, date_time,
    CASE WHEN date_time <= LAG(date_time) OVER w + INTERVAL '10 seconds' THEN 0 ELSE 1 END AS begins
  FROM bid
  WINDOW w AS (PARTITION BY bidder ORDER BY date_time)
),
numbered AS (
  SELECT bidder, date_time, SUM(begins) OVER (
      PARTITION BY bidder ORDER BY date_time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS number
  FROM marked
)
SELECT bidder, COUNT(*), MIN(date_time), MAX(date_time) + INTERVAL '10 seconds'
FROM numbered
GROUP BY bidder, number;
