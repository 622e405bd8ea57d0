-- Query 12 for DataFusion, without window functions.
SELECT bidder, COUNT(*), date_bin(INTERVAL '10 seconds', date_time)
FROM bid
GROUP BY bidder, date_bin(INTERVAL '10 seconds', date_time);
