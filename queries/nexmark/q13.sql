-- Bounded side input: bids, with what a table says about them.
SELECT STREAM b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid AS b
JOIN side_input AS s ON MOD(b.auction, 10000) = s.key;
