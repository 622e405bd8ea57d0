-- How active a company is: with each job, the number of its jobs in the hour up to then. A sliding
-- window: every event gives a row.
--
--   millstream run queries/active_companies.sql
--
-- Events may come up to 30 seconds out of order; each gets the count as if they had come in order.

CREATE STREAM jobs (
  event_time TIMESTAMP,
  company_id VARCHAR(32),
  userid     VARCHAR(32),
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND
) WITH (
  connector = 'file', path = 'queries/data/job_events.csv', format = 'csv'
);

CREATE SINK active_companies WITH (
  connector = 'file', path = 'out/active_companies', format = 'csv'
) AS
  SELECT STREAM
    event_time,
    company_id,
    userid,
    COUNT(*) OVER (PARTITION BY company_id RANGE INTERVAL '1' HOUR PRECEDING) AS jobs_last_hour
  FROM jobs;
