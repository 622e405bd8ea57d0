-- Hot items: which auctions had the most bids of the last ten seconds, every two seconds.
SELECT STREAM ab.auction, ab.num
FROM (
  SELECT auction, COUNT(*) AS num, window_start, window_end
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
) AS ab
JOIN (
  SELECT MAX(cb.num) AS maxn, cb.window_start, cb.window_end
  FROM (
    SELECT COUNT(*) AS num, window_start, window_end
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
  ) AS cb
  GROUP BY cb.window_start, cb.window_end
) AS mb
ON ab.window_start = mb.window_start AND ab.window_end = mb.window_end AND ab.num >= mb.maxn;
