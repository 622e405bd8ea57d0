-- The companies of a platform and the jobs their users submit: each job gives the row of its company
-- with the job counted in.
--
--   millstream run queries/company_jobs.sql                                 from files
--   millstream run queries/company_jobs_kinesis.sql --until caught-up       from Kinesis
--
-- The two applications differ in nothing but the WITH (…) of their streams and sinks. Paths start from
-- the folder the program runs in; a path s3://bucket/prefix/ writes to S3. AWS endpoint, region and
-- credentials come from the environment, as for the AWS command line.

-- A company waits for its jobs, and a job for its company, however long that takes: the join keeps
-- both for ever. That is meant here, and small; without this line it is refused on endless input.
SET unbounded_state = 'allow';

CREATE STREAM companies (
  company_id VARCHAR(32),
  industry   VARCHAR(16),
  revenu     INTEGER,
  employees  INTEGER,
  job30      INTEGER,
  job90      INTEGER,
  monthlyFee INTEGER,
  totalFee   INTEGER
) WITH (
  connector = 'kinesis', stream = 'companies', format = 'json', start = 'trim_horizon'
);

CREATE STREAM jobs (
  company_id    VARCHAR(32),
  userid        VARCHAR(32),
  job_submitted INTEGER
) WITH (
  connector = 'kinesis', stream = 'jobs', format = 'json', start = 'trim_horizon'
);

CREATE STREAM company_jobs (
  company_id VARCHAR(32),
  industry   VARCHAR(16),
  revenu     INTEGER,
  employees  INTEGER,
  job30      INTEGER,
  job90      INTEGER,
  monthlyFee INTEGER,
  totalFee   INTEGER
);

CREATE PUMP count_jobs_in AS
  INSERT INTO company_jobs
  SELECT STREAM
    c.company_id,
    c.industry,
    c.revenu,
    c.employees,
    c.job30 + j.job_submitted AS job30,
    c.job90 + j.job_submitted AS job90,
    c.monthlyFee,
    c.totalFee
  FROM companies AS c
  JOIN jobs AS j ON c.company_id = j.company_id;

-- For Athena, DuckDB and the like: folders industry=retail/…, columns in Parquet.
CREATE SINK company_jobs_parquet FROM company_jobs WITH (
  connector = 'file', path = 'out/company_jobs_kinesis/parquet', format = 'parquet', partition_by = 'industry'
);

-- The same rows as text.
CREATE SINK company_jobs_csv FROM company_jobs WITH (
  connector = 'file', path = 'out/company_jobs_kinesis/csv', format = 'csv', partition_by = 'industry'
);
