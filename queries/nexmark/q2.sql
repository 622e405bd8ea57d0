-- Selection: bids on certain auctions.
SELECT STREAM auction, price FROM bid WHERE MOD(auction, 123) = 0;
