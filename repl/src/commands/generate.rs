//! `millstream generate`: demo events.

use std::error::Error as _;
use std::io;

use millstream_connectors::generator::drive::{DriveReport, Target, drive};
use millstream_connectors::generator::targets::{
    FolderTarget, KinesisTarget, LineFormat, WriterTarget,
};
use millstream_connectors::generator::{Feed, FeedKind, FeedOptions};
use millstream_connectors::kinesis::client::{ConnectOptions, connect};
use millstream_engine::Error;

use super::{context, runtime};
use crate::cli::{Destination, End, GenerateArgs, LineChoice, Scenario};
use crate::failure::Failure;
use crate::interrupt::{Interrupts, Stop};

/// `millstream generate`.
///
/// # Errors
///
/// When the events cannot be handed on.
pub fn generate(args: &GenerateArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let interrupts = Interrupts::listen()?;
        let report = Box::pin(interrupts.during(async |stop| run(args, &stop).await)).await?;
        if args.to != Destination::Stdout {
            let by_stream: Vec<String> = report
                .by_stream
                .iter()
                .map(|(stream, events)| format!("{events} {}{stream}", args.stream_prefix))
                .collect();
            let text = format!("{} events: {}\n", report.events, by_stream.join(", "));
            io::Write::write_all(&mut io::stderr(), text.as_bytes())?;
        }
        Ok(())
    })
}

async fn run(args: &GenerateArgs, stop: &Stop) -> Result<DriveReport, Failure> {
    let context = context(End::Ended)?;
    let kind = match args.what {
        Scenario::Tenants => FeedKind::Tenants,
        Scenario::Ticker => FeedKind::Ticker,
        Scenario::Nexmark => FeedKind::Nexmark,
    };
    let options = FeedOptions {
        seed: args.seed,
        start_ms: context.clock.now_ms(),
        rate_per_s: args.rate,
        count: args.count,
        companies: args.companies,
        ..FeedOptions::default()
    };
    let format = match args.lines {
        LineChoice::Json => LineFormat::Json,
        LineChoice::Csv => LineFormat::Csv,
    };
    let mut target: Box<dyn Target> = match args.to {
        Destination::Kinesis => {
            let client = connect(&ConnectOptions::default()).await?.client;
            Box::new(KinesisTarget::new(client, &args.stream_prefix, args.shards, &context))
        }
        Destination::Files => Box::new(FolderTarget::open(&args.dir, format).await?),
        Destination::Stdout => {
            Box::new(WriterTarget::new(tokio::io::stdout(), format, args.only.as_deref()))
        }
    };
    let feed = Feed::new(kind, options);
    let clock = context.clock.as_ref();
    let done = drive(feed, target.as_mut(), clock, stop.receiver()).await;
    done.map_err(|error| match args.to {
        Destination::Stdout if is_closed_pipe(&error) => Failure::OutputClosed,
        _ => error.into(),
    })
}

/// Whether nobody reads standard output any more.
fn is_closed_pipe(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
