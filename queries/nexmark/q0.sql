-- Pass through: every bid as it is.
SELECT STREAM auction, bidder, price, date_time, extra FROM bid;
