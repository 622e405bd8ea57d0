-- The last bid of each person on each auction.
SELECT STREAM auction, bidder, price, channel, url, date_time, extra
FROM (
  SELECT auction, bidder, price, channel, url, date_time, extra,
    ROW_NUMBER() OVER (
      PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC, extra
    ) AS rank_number
  FROM bid
) AS q
WHERE rank_number <= 1;
