-- How many jobs each company submits per minute of event time: a tumbling window.
--
--   millstream run queries/jobs_per_minute.sql
--
-- Events may come up to 30 seconds out of order; a minute is written when the watermark has passed its
-- end, so it counts every event that is its own. Later ones go to error_stream.

CREATE STREAM jobs (
  event_time TIMESTAMP,
  company_id VARCHAR(32),
  userid     VARCHAR(32),
  WATERMARK FOR event_time AS event_time - INTERVAL '30' SECOND
) WITH (
  connector = 'file', path = 'queries/data/job_events.csv', format = 'csv'
);

-- A stream inside the application: whoever needs the counts reads them here.
CREATE STREAM job_counts (
  minute_start TIMESTAMP,
  company_id   VARCHAR(32),
  jobs         BIGINT
);

CREATE PUMP count_jobs AS
  INSERT INTO job_counts
  SELECT STREAM
    STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE) AS minute_start,
    company_id,
    COUNT(*) AS jobs
  FROM jobs
  GROUP BY company_id, STEP(jobs.ROWTIME BY INTERVAL '1' MINUTE);

CREATE SINK jobs_per_minute FROM job_counts WITH (
  connector = 'file', path = 'out/jobs_per_minute', format = 'csv'
);
