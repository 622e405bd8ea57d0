//! `millstream demo`: the whole way of a row, on one machine, with nothing else running.
//!
//! ```text
//!   generator ──PutRecords──► local Kinesis ──GetRecords──► company_jobs ──► Parquet ──► SELECT
//! ```
//!
//! Producer and application run at the same time. The events are the same in every run and counted
//! beforehand, so the demo knows when all of them have arrived and ends by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::Context;
use millstream_connectors::embedded::{EmbeddedKinesis, EmbeddedOptions};
use millstream_connectors::generator::drive::drive;
use millstream_connectors::generator::targets::KinesisTarget;
use millstream_connectors::generator::{Feed, FeedKind, FeedOptions};
use millstream_connectors::kinesis::client::{ConnectOptions, connect};
use millstream_connectors::kinesis::producer::create_stream_if_missing;
use millstream_engine::Clock;
use tokio::sync::watch;

use super::setup::{context, cores, runtime};
use crate::cli::{DemoArgs, End};
use crate::failure::Failure;
use crate::interrupt::{Interrupts, Stop};
use crate::output::Format;
use crate::session::{Console, Manner, Session, Settings};

/// The application as shipped.
const APPLICATION: &str = include_str!("../../../queries/company_jobs_kinesis.sql");

/// The streams the application reads.
const STREAMS: [&str; 2] = ["companies", "jobs"];

/// More than one, so that the demo shows how shards are merged.
const SHARDS: u16 = 2;

/// Enough to see rows flow for a few seconds.
const FEED: FeedOptions = FeedOptions {
    seed: 1,
    start_ms: 0,
    rate_per_s: 800,
    count: Some(2_400),
    companies: 20,
    disorder_ms: 0,
};

/// How long the rows may take to arrive, before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);

const QUERY: &str = "\
SELECT industry, COUNT(*) AS matches, COUNT(DISTINCT company_id) AS companies, MAX(job30) AS job30_max
FROM company_jobs_parquet
GROUP BY industry
ORDER BY matches DESC, industry;";

/// `millstream demo`.
///
/// # Errors
///
/// When a folder cannot be written, or something in between fails.
pub fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let temporary;
    let folder = if let Some(folder) = &args.keep {
        let failed = |error| cannot_write(folder, &error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        folder.as_path()
    } else {
        let made = tempfile::Builder::new().prefix("millstream-demo-").tempdir();
        temporary = made.map_err(|error| cannot_write(&std::env::temp_dir(), &error))?;
        temporary.path()
    };
    let folder = std::path::absolute(folder).map_err(|error| cannot_write(folder, &error))?;
    runtime()?.block_on(async {
        let interrupts = Interrupts::listen()?;
        Box::pin(interrupts.during(async |stop| show(&folder, args.keep.is_some(), &stop).await))
            .await
    })
}

async fn show(folder: &Path, keep: bool, stop: &Stop) -> Result<(), Failure> {
    let context = Context { base: folder.to_owned(), ..context(End::Ended)? };
    let (manner, lanes) = (Manner::Script, cores());
    let context_of_session = context.clone();
    let settings =
        Settings { manner, context: context_of_session, lanes, memory: None, state: None };
    let mut session = Session::new(settings, Console::standard(Format::Table));
    let endpoint = EmbeddedKinesis::start(EmbeddedOptions::default())?;
    let url = endpoint.endpoint_url();
    session.console_mut().say(&format!("1. A local Kinesis listens on {url}."))?;

    let producer = Producer::new(&url, &context).await?;
    let expected = expected_rows();
    session.console_mut().say(&format!(
        "2. A producer writes {} events of 20 companies to it: who signs up, logs in, submits a job.\n\
         3. Meanwhile the application below joins companies and jobs, from Kinesis to Parquet.\n\n",
    FEED.count.unwrap_or_default()))?;
    session.console_mut().say(&statements_of(APPLICATION))?;
    session.console_mut().say("")?;

    let application = at_endpoint(APPLICATION, &url);
    let arrived = session.progress();
    let texts = [("company_jobs_kinesis.sql", application.as_str())];
    let (ran, produced) = tokio::join!(
        Box::pin(session.run_script(&texts, stop)),
        Box::pin(produce(producer, arrived, expected, stop)),
    );
    produced?;
    ran?;

    session
        .console_mut()
        .say(&format!("\n4. A query over the files it has written:\n\n{QUERY}\n\n"))?;
    Box::pin(session.converse(QUERY, &Stop::default())).await?;
    let end = if keep {
        format!("\nThe files are in {}.", folder.display())
    } else {
        "\nThe files are gone with this process; --keep DIR keeps them.".to_owned()
    };
    session.console_mut().say(&end)
}

/// Writes the demo's events to Kinesis.
struct Producer {
    target: KinesisTarget,
    clock: Arc<dyn Clock>,
}

impl Producer {
    /// A producer for the endpoint at `url`, with the streams made.
    async fn new(url: &str, context: &Context) -> Result<Self, Failure> {
        let options =
            ConnectOptions { endpoint: Some(url.to_owned()), ..ConnectOptions::default() };
        let client = connect(&options).await?.client;
        for stream in STREAMS {
            create_stream_if_missing(&client, stream, SHARDS, context).await?;
        }
        let target = KinesisTarget::new(client, "", SHARDS, context);
        Ok(Self { target, clock: Arc::clone(&context.clock) })
    }
}

/// Produces all events, waits until the application has read those it wants, and asks it to stop.
async fn produce(
    mut producer: Producer,
    mut arrived: watch::Receiver<millstream_engine::job::Progress>,
    expected: u64,
    stop: &Stop,
) -> Result<(), Failure> {
    let clock = Arc::clone(&producer.clock);
    let work = async {
        let feed = Feed::new(FeedKind::Tenants, FeedOptions { start_ms: clock.now_ms(), ..FEED });
        drive(feed, &mut producer.target, clock.as_ref(), stop.receiver()).await?;
        // The sender lives as long as the session.
        let _gone = arrived.wait_for(|progress| progress.rows_in >= expected).await;
        Ok(())
    };
    let late = || Failure::new("the demo's rows did not arrive in time");
    let done = tokio::select! {
        done = work => done,
        () = clock.sleep(PATIENCE) => Err(late()),
        () = stop.asked() => Ok(()),
    };
    if !stop.is_asked() {
        stop.ask();
    }
    done
}

/// How many of the demo's events are in the streams that the application reads.
fn expected_rows() -> u64 {
    let feed = Feed::new(FeedKind::Tenants, FEED);
    let read = feed.filter(|event| STREAMS.contains(&event.stream)).count();
    u64::try_from(read).unwrap_or(u64::MAX)
}

/// The application, told where Kinesis is: what `AWS_ENDPOINT_URL` does from outside.
fn at_endpoint(application: &str, url: &str) -> String {
    application
        .replace("connector = 'kinesis'", &format!("connector = 'kinesis', endpoint = '{url}'"))
}

/// The text without its comments, for showing.
fn statements_of(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let lines: Vec<String> = lines.map(|line| format!("   {line}").trim_end().to_owned()).collect();
    lines.join("\n").trim_start_matches('\n').to_owned()
}

fn cannot_write(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::with_hint(
        format_args!("cannot write to {}: {error}", folder.display()),
        "name a folder that can be written: --keep DIR",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_sent_to_the_endpoint() {
        let text = at_endpoint(APPLICATION, "http://127.0.0.1:1");
        assert_eq!(text.matches("endpoint = 'http://127.0.0.1:1'").count(), STREAMS.len());
    }

    #[test]
    fn the_feed_has_companies_and_jobs() {
        let rows = expected_rows();
        assert!(rows > 100 && rows < 2_400, "{rows} of the events are read by the application");
    }
}
