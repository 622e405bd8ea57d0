-- Query 5 for DataFusion, without window functions: a bid belongs to five windows.
WITH counted AS (
  SELECT auction, COUNT(*) AS num, date_bin(INTERVAL '2 seconds', date_time) - pane AS starts
  FROM bid
  CROSS JOIN (
    VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
      (INTERVAL '6 seconds'), (INTERVAL '8 seconds')
  ) AS panes(pane)
  GROUP BY auction, date_bin(INTERVAL '2 seconds', date_time) - pane
)
SELECT c.auction, c.num
FROM counted AS c
JOIN (SELECT starts, MAX(num) AS most FROM counted GROUP BY starts) AS m
  ON c.starts = m.starts AND c.num >= m.most;
