-- Bids in ten seconds of the stream's own clock, by person.
SELECT STREAM bidder, COUNT(*) AS bid_count, STEP(bid.ROWTIME BY INTERVAL '10' SECOND) AS starttime
FROM bid
GROUP BY bidder, STEP(bid.ROWTIME BY INTERVAL '10' SECOND);
