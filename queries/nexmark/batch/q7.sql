-- Query 7 for DataFusion, without window functions.
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid AS b
JOIN (
  SELECT MAX(price) AS price, date_bin(INTERVAL '10 seconds', date_time) AS starts
  FROM bid
  GROUP BY date_bin(INTERVAL '10 seconds', date_time)
) AS m ON b.price = m.price
WHERE b.date_time BETWEEN m.starts AND m.starts + INTERVAL '10 seconds';
