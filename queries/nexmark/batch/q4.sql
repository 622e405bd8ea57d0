-- Query 4 for DataFusion: our mean of whole numbers is one.
SELECT q.category, CAST(FLOOR(AVG(q.final)) AS BIGINT) AS average
FROM (
  SELECT MAX(b.price) AS final, a.category
  FROM auction AS a
  JOIN bid AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
  GROUP BY a.id, a.category
) AS q
GROUP BY q.category;
