-- Log to files: every bid into the folder of its day and minute.
CREATE SINK bids_by_minute WITH (
  connector = 'file', path = 'out/nexmark/q10', format = 'csv', partition_by = 'dt,hm'
) AS
SELECT STREAM auction, bidder, price, date_time, extra,
  to_char(date_time, '%Y-%m-%d') AS dt, to_char(date_time, '%H:%M') AS hm
FROM bid;
