//! The command line as written: what may be typed, and the help that teaches it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millstream_connectors::options::{parse_bytes, parse_duration};

use crate::output::Format;

/// Continuous SQL over Amazon Kinesis, files and S3.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    about = "Continuous SQL over Amazon Kinesis, files and S3",
    after_help = HELP_EXAMPLES,
    subcommand_required = false,
    args_conflicts_with_subcommands = true
)]
pub struct CommandLine {
    /// What to do; without it, a prompt opens (or statements are read from a pipe)
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How the prompt shows rows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Settings and limits of the prompt's jobs
    #[command(flatten)]
    pub job: JobArgs,
}

const HELP_EXAMPLES: &str = "\
Examples:
  millstream                                    open a prompt; \\? there shows what it can do
  millstream demo                               see the whole thing work, no AWS account needed
  millstream run app.sql                        run an application until its input ends or Ctrl-C
  millstream run app.sql --until caught-up      … until all that is in its streams now is written
  millstream sql \"SELECT * FROM 'out/**/*.parquet' LIMIT 5\"
  millstream sql --format csv - < query.sql     statements from standard input, rows as CSV
  millstream kinesis                            a local Kinesis for development

An application is a file of SQL statements:
  CREATE STREAM jobs (company_id VARCHAR(16), job_submitted INTEGER)
    WITH (connector = 'kinesis', stream = 'jobs', format = 'json', start = 'trim_horizon');
  CREATE SINK jobs_out WITH (connector = 'file', path = 'out/jobs', format = 'parquet')
    AS SELECT STREAM * FROM jobs;

Relative paths in a script start from the current folder. AWS endpoint, region and credentials come
from where the AWS command line takes them: AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, ~/.aws.

Exit status: 0 done, 1 an error (one message on standard error), 2 a wrong command line, 3 another
process has taken the application over, 130 stopped at once by a second Ctrl-C.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run applications: all their sinks as one job, until the input ends or Ctrl-C
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Run statements and print their rows, for scripts
    #[command(after_help = SQL_HELP)]
    Sql(SqlArgs),
    /// Show how an application would run: operators, what they keep, and what frees it
    Explain(ExplainArgs),
    /// Look at records and print the CREATE STREAM statement for them
    #[command(after_help = DISCOVER_HELP)]
    Discover(DiscoverArgs),
    /// Turn an application of Kinesis Data Analytics into a script
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// Start a local Kinesis endpoint for development
    #[cfg(feature = "embedded-kinesis")]
    #[command(after_help = KINESIS_HELP)]
    Kinesis(KinesisArgs),
    /// Make demo events: to Kinesis, to files or to standard output
    #[command(after_help = GENERATE_HELP)]
    Generate(GenerateArgs),
    /// Show the whole thing: a local Kinesis, a producer, a join to Parquet, a query over the files
    #[cfg(feature = "embedded-kinesis")]
    Demo(DemoArgs),
    /// Put records that were set aside back where the application reads
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Look at the state that applications keep between runs, or remove it
    State(StateArgs),
    /// Measure how fast it is here, beside DataFusion in the same run
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArgs),
}

/// How jobs run.
#[derive(Debug, Clone, Default, Args)]
pub struct JobArgs {
    /// When a job ends by itself
    #[arg(long, value_enum, default_value_t)]
    pub until: End,
    /// Change a setting, like SET key = 'value' in a script
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,
    /// How many lanes work in parallel [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub parallelism: Option<u16>,
    /// On a terminal: print the changes of a result, instead of drawing it anew in its place
    #[arg(long)]
    pub changelog: bool,
    /// Memory that state may hold; beyond, rows that have not changed for long go to the disk
    /// [default: 60 % of the machine's or container's]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    pub memory: Option<u64>,
    /// Folder for state beyond that memory [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub spill: Option<PathBuf>,
}

/// When a job ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum End {
    /// When its input ends: files do, a Kinesis stream does not
    #[default]
    Ended,
    /// When everything that was in its streams at the start is processed and written
    CaughtUp,
}

const RUN_HELP: &str = "\
All files together are one application: everything is declared first, then all sinks run as one job.
SELECT STREAM statements print their rows while it runs, other SELECTs run when it has ended.

Ctrl-C stops the job cleanly, with all output committed; a second one ends it at once. Started again, an
application goes on after the last record it has processed, with what it knew: its state is kept in
checkpoints (--state), and output becomes visible with them, exactly once. If two processes run one
application, the younger one goes on and the other ends with status 3. A summary on standard error says what was read, set aside and written; on a terminal a line shows the progress.

State that would grow for ever is refused on endless input: add a window, or say
SET unbounded_state = 'allow' in the file or --set unbounded_state=allow here.

Examples:
  millstream run queries/company_jobs.sql
  AWS_ENDPOINT_URL=http://localhost:4567 millstream run queries/company_jobs_kinesis.sql --until caught-up";

/// `millstream run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Files of SQL statements, or descriptions of applications (JSON); - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How SELECT statements print their rows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Serve metrics for Prometheus at `http://ADDRESS/metrics`; a port alone is one of this machine
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = crate::metrics::address)]
    pub metrics: Option<SocketAddr>,
    /// What becomes of its state
    #[command(flatten)]
    pub durable: DurableArgs,
    /// Settings and limits
    #[command(flatten)]
    pub job: JobArgs,
}

/// What becomes of the state of an application.
#[derive(Debug, Args)]
pub struct DurableArgs {
    /// Keep the state in a folder or at `s3://bucket/prefix` and go on from it; 'none' keeps none
    /// [default: .millstream/NAME beside FILE, if the input never ends]
    #[arg(long, value_name = "PLACE")]
    pub state: Option<String>,
    /// How often a checkpoint is taken; output becomes visible with it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = interval)]
    pub checkpoint_interval: Duration,
    /// Begin anew, whatever state there is
    #[arg(long)]
    pub fresh: bool,
    /// Drop the state of these pumps, views and sinks, and keep the rest
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub discard_state: Vec<String>,
}

/// `millstream state`.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// What to do
    #[command(subcommand)]
    pub what: StateCommand,
}

/// What can be done with state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// List the files
    Ls {
        /// A folder or `s3://bucket/prefix`
        place: String,
    },
    /// Show where sources stand and what operators and sinks hold
    Inspect {
        /// A folder or `s3://bucket/prefix`
        place: String,
    },
    /// Read everything that a restart would
    Verify {
        /// A folder or `s3://bucket/prefix`
        place: String,
    },
    /// Remove it all
    Rm {
        /// A folder or `s3://bucket/prefix`
        place: String,
    },
}

const SQL_HELP: &str = "\
Examples:
  millstream sql \"SELECT industry, COUNT(*) AS n FROM 'out/company_jobs/parquet' GROUP BY industry\"
  millstream sql --format json \"SELECT * FROM 's3://bucket/prefix/' LIMIT 10\"
  millstream sql \"CREATE STREAM s (n INTEGER) WITH (connector = 'file', path = 'in.csv');
                  SELECT STREAM n + 1 AS m FROM s\"";

/// `millstream sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Statements, separated by ;  (- reads them from standard input)
    #[arg(value_name = "STATEMENTS")]
    pub text: String,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Settings and limits
    #[command(flatten)]
    pub job: JobArgs,
}

const DISCOVER_HELP: &str = "\
Examples:
  millstream discover kinesis://bg-jobs
  millstream discover data/jobs.json --name JOBS";

/// `millstream discover`.
#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// A stream as `kinesis://NAME`, or a file of JSON or CSV
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The name of the stream to declare
    #[arg(long, default_value = "SOURCE_SQL_STREAM_001", value_name = "NAME")]
    pub name: String,
}

const REPLAY_HELP: &str = "\
Examples:
  millstream replay s3://bucket/errors/ --stream JOBS --to kinesis://bg-jobs
  millstream replay errors --to in/replayed.json

PATH is what this wrote:
  CREATE SINK errors WITH (connector = 'file', path = 'errors', format = 'json')
    AS SELECT STREAM * FROM error_stream;
Records that could not be decoded are put back byte for byte. Late rows and rows whose expression failed
were decoded already: they are left alone.";

/// `millstream replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The files that a sink wrote `error_stream` to: a folder, a pattern or `s3://bucket/prefix`
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Where to put the records: `kinesis://STREAM`, or a new file that the stream will read
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    /// Only records of this stream of the application
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
}

const IMPORT_HELP: &str = "\
The file is what one of these prints:
  aws kinesisanalyticsv2 describe-application --application-name NAME > application.json
  aws kinesisanalytics describe-application --application-name NAME > application.json

The SQL code is not touched. What the script cannot take over (functions, roles, destinations) is listed
on standard error, and in the script above the statement it is about. `millstream run application.json`
does it in one step.";

/// `millstream import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The description of the application, JSON; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write the script [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `millstream explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The file of SQL statements; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Change a setting, like SET key = 'value' in a script
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,
}

#[cfg(feature = "embedded-kinesis")]
const KINESIS_HELP: &str = "\
The endpoint listens on this machine only, keeps everything in memory and ends with Ctrl-C. Streams are
created by whoever uses it, or by --stream:

  millstream kinesis --stream jobs=4 --stream companies
  export AWS_ENDPOINT_URL=http://127.0.0.1:4567 AWS_REGION=us-east-1 \\
         AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  aws kinesis list-streams";

/// `millstream kinesis`.
#[cfg(feature = "embedded-kinesis")]
#[derive(Debug, Args)]
pub struct KinesisArgs {
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 4567)]
    pub port: u16,
    /// A stream to create, with its number of shards
    #[arg(long = "stream", value_name = "NAME[=SHARDS]")]
    pub streams: Vec<String>,
    /// Shards of a --stream that does not say
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub shards: u16,
}

const GENERATE_HELP: &str = "\
Examples:
  millstream generate ticker --count 5
  millstream generate tenants --only jobs --lines csv
  millstream generate tenants --count 1000 --to files --dir data
  millstream generate nexmark --rate 0 --count 100000 --to files --dir nexmark
  millstream generate tenants --rate 1000 --to kinesis --stream-prefix demo-";

/// `millstream generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to make
    #[arg(value_enum)]
    pub what: Scenario,
    /// Events per second; 0 is as fast as possible
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub rate: u32,
    /// Events in all [default: until Ctrl-C]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// The same seed makes the same events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the events go
    #[arg(long, value_enum, default_value_t)]
    pub to: Destination,
    /// kinesis: what the names of the streams start with; they are created if they do not exist
    #[arg(long, default_value = "", value_name = "PREFIX")]
    pub stream_prefix: String,
    /// kinesis: shards of a stream that is created
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub shards: u16,
    /// files, stdout: how an event is written
    #[arg(long, value_enum, default_value_t)]
    pub lines: LineChoice,
    /// stdout: only the events of this stream, such as jobs
    #[arg(long, value_name = "STREAM")]
    pub only: Option<String>,
    /// tenants: how many companies there are
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub companies: u32,
    /// files: the folder
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

/// Kinds of demo events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Tenants of a platform: companies, their users coming and going, jobs they submit
    Tenants,
    /// A stock ticker: times, symbols and prices
    Ticker,
    /// The benchmark Nexmark: people, their auctions, and bids
    Nexmark,
}

/// How an event is written as a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LineChoice {
    /// A JSON object
    #[default]
    Json,
    /// Comma-separated values; a file begins with a header
    Csv,
}

/// Where demo events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Destination {
    /// Kinesis streams
    Kinesis,
    /// One file per stream
    Files,
    /// Standard output
    #[default]
    Stdout,
}

/// `millstream demo`.
#[cfg(feature = "embedded-kinesis")]
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Write into this folder and keep it; else a temporary one is used and removed
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

const BENCH_HELP: &str = "\
Measures decoding, filter and projection, a tumbling aggregate and a join over generated events, each
beside DataFusion (or arrow-json) on the same input in the same run, then the whole way from JSON on
disk to Parquet on disk. Compare the ratios: events per second depend on the machine.

  millstream bench --events 2000000 --parallelism 1
  millstream bench nexmark --events 1000000 --queries q0,q4
  millstream bench state --keys 10000000 --only checkpoint";

/// `millstream bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// What to measure instead
    #[command(subcommand)]
    pub what: Option<BenchWhat>,
    /// Events of input
    #[arg(long, default_value_t = 1_000_000)]
    pub events: u64,
    /// Runs of each thing and of its peer, in turn, after a warm-up; medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Lanes of the engine, and partitions of DataFusion
    #[arg(long, default_value_t = 1, value_parser = lanes)]
    pub parallelism: usize,
    /// Batches of 8,192 rows per epoch
    #[arg(long, default_value_t = 8)]
    pub epoch_batches: usize,
    /// Seed of the events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Other benchmarks.
#[derive(Debug, Subcommand)]
pub enum BenchWhat {
    /// The queries of Nexmark from JSON on disk to nowhere, beside DataFusion over the same files
    Nexmark(NexmarkArgs),
    /// Checkpoints, restarts, and state larger than memory, of an aggregate over many keys
    State(BenchState),
}

/// `millstream bench state`.
#[derive(Debug, Args)]
pub struct BenchState {
    /// Keys of the aggregate
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Width of a key as text; 0 is a BIGINT
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub key_bytes: usize,
    /// Measure only this
    #[arg(long, value_enum)]
    pub only: Option<StateFigure>,
    /// How often a checkpoint is taken when throughput is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = interval)]
    pub interval: Duration,
    /// Lanes of the engine
    #[arg(long, default_value_t = 1, value_parser = lanes)]
    pub lanes: usize,
    /// Seed of the keys
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What `millstream bench state` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateFigure {
    /// A checkpoint of few changes beside one of all keys, pauses, and restarts
    Checkpoint,
    /// Runs with checkpoints beside runs without
    Throughput,
    /// State ten times its memory beside state that fits, keys chosen evenly and unevenly
    Memory,
}

/// `millstream bench nexmark`.
#[derive(Debug, Args)]
pub struct NexmarkArgs {
    /// Events of input: of fifty, one is a person, three are auctions and the rest are bids
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "dir")]
    pub events: u64,
    /// Events per second of event time
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub event_rate: u32,
    /// The queries, such as q0,q4 [default: all]
    #[arg(long, value_delimiter = ',', value_name = "QUERIES")]
    pub queries: Vec<String>,
    /// Lanes of the engine, and partitions of DataFusion
    #[arg(long, default_value_t = 1, value_parser = lanes)]
    pub lanes: usize,
    /// Runs of each query and of its peer, in turn; the fastest is shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Seed of the events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Read person.json, auction.json and bid.json of this folder instead of generating them
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The least time between checkpoints: each one writes an object.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(interval) if interval >= INTERVAL_MIN => Ok(interval),
        Some(_) => Err("at least 100ms".to_owned()),
        None => Err("a time such as 500ms, 10s or 1m".to_owned()),
    }
}

fn memory(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "a size such as 500MB or 2GiB".to_owned())
}

fn lanes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(lanes @ 1..=256) => Ok(lanes),
        _ => Err("a number from 1 to 256".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_setting_needs_an_equals_sign() {
        assert_eq!(key_value("a = b=c"), Ok(("a".into(), "b=c".into())));
        assert!(CommandLine::try_parse_from(["millstream", "run", "a.sql", "--set", "x"]).is_err());
    }

    #[test]
    fn run_needs_a_file() {
        let error = CommandLine::try_parse_from(["millstream", "run"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
