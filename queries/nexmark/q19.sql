-- The ten highest bids of each auction.
SELECT STREAM auction, bidder, price, channel, url, date_time, extra, rank_number
FROM (
  SELECT auction, bidder, price, channel, url, date_time, extra,
    ROW_NUMBER() OVER (
      PARTITION BY auction ORDER BY price DESC, date_time, bidder, extra
    ) AS rank_number
  FROM bid
) AS q
WHERE rank_number <= 10;
