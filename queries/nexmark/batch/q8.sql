-- Query 8 for DataFusion, without window functions.
SELECT p.id, p.name, p.starts
FROM (
  SELECT DISTINCT id, name, date_bin(INTERVAL '10 seconds', date_time) AS starts FROM person
) AS p
JOIN (
  SELECT DISTINCT seller, date_bin(INTERVAL '10 seconds', date_time) AS starts FROM auction
) AS a ON p.id = a.seller AND p.starts = a.starts;
