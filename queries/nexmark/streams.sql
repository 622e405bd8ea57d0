-- The streams of Nexmark: people open auctions, and bid on them. The queries q0 to q22 beside this file
-- are the benchmark's, as Apache Flink has them, over these declarations:
--
--   millstream generate nexmark --rate 0 --count 100000 --to files --dir nexmark
--   millstream run queries/nexmark/streams.sql queries/nexmark/q4.sql
--   millstream bench nexmark

-- Some queries keep what they have seen for ever, as the benchmark asks.
SET unbounded_state = 'allow';

CREATE STREAM person (
  id            BIGINT,
  name          VARCHAR(64),
  email_address VARCHAR(64),
  credit_card   VARCHAR(32),
  city          VARCHAR(32),
  state         VARCHAR(2),
  date_time     TIMESTAMP,
  extra         VARCHAR(1024),
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH (connector = 'file', path = 'nexmark/person.json', format = 'json');

CREATE STREAM auction (
  id          BIGINT,
  item_name   VARCHAR(64),
  description VARCHAR(256),
  initial_bid BIGINT,
  reserve     BIGINT,
  date_time   TIMESTAMP,
  expires     TIMESTAMP,
  seller      BIGINT,
  category    BIGINT,
  extra       VARCHAR(1024),
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH (connector = 'file', path = 'nexmark/auction.json', format = 'json');

CREATE STREAM bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   VARCHAR(32),
  url       VARCHAR(256),
  date_time TIMESTAMP,
  extra     VARCHAR(1024),
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH (connector = 'file', path = 'nexmark/bid.json', format = 'json');

-- What query 13 joins with.
CREATE TABLE side_input (
  key   BIGINT,
  value VARCHAR(16)
) WITH (connector = 'file', path = 'queries/nexmark/side_input.csv', format = 'csv');
