-- Query 6 for DataFusion: our mean of whole numbers is one.
SELECT q.seller, CAST(FLOOR(AVG(q.final) OVER (
    PARTITION BY q.seller ORDER BY q.date_time, q.id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW
  )) AS BIGINT) AS average
FROM (
  SELECT a.id, a.seller, b.price AS final, b.date_time,
    ROW_NUMBER() OVER (
      PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder, b.extra
    ) AS row_num
  FROM auction AS a
  JOIN bid AS b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires
) AS q
WHERE q.row_num <= 1;
