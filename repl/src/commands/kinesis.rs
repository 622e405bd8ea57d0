//! `millstream kinesis`: a Kinesis endpoint on this machine, for development.

use std::io::Write;

use millstream_connectors::embedded::{EmbeddedKinesis, EmbeddedOptions};
use millstream_connectors::kinesis::client::{ConnectOptions, connect};
use millstream_connectors::kinesis::producer::create_stream_if_missing;

use super::{context, runtime};
use crate::cli::{End, KinesisArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupts;

/// `millstream kinesis`.
///
/// # Errors
///
/// When the port is taken or a stream cannot be made.
pub fn kinesis(args: &KinesisArgs) -> Result<(), Failure> {
    let streams: Vec<(&str, u16)> =
        args.streams.iter().map(|text| named(text, args.shards)).collect::<Result<_, _>>()?;
    let options = EmbeddedOptions { port: Some(args.port), ..EmbeddedOptions::default() };
    let endpoint = EmbeddedKinesis::start(options)?;
    runtime()?.block_on(async {
        let interrupts = Interrupts::listen()?;
        Box::pin(interrupts.during(async |stop| {
            create(&endpoint.endpoint_url(), &streams).await?;
            announce(&endpoint.endpoint_url(), &streams)?;
            stop.asked().await;
            Ok(())
        }))
        .await
    })
}

/// Makes the streams at the endpoint.
async fn create(url: &str, streams: &[(&str, u16)]) -> Result<(), Failure> {
    let options = ConnectOptions { endpoint: Some(url.to_owned()), ..ConnectOptions::default() };
    let context = context(End::Ended)?;
    let client = connect(&options).await?.client;
    for (name, shards) in streams {
        create_stream_if_missing(&client, name, *shards, &context).await?;
    }
    Ok(())
}

fn announce(url: &str, streams: &[(&str, u16)]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "export AWS_ENDPOINT_URL={url}")?;
    writeln!(out, "export AWS_REGION=us-east-1")?;
    writeln!(out, "export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local")?;
    for (name, shards) in streams {
        writeln!(
            out,
            "# stream {name} with {shards} shard{}",
            if *shards == 1 { "" } else { "s" }
        )?;
    }
    writeln!(out, "# listening on this machine only, data in memory; Ctrl-C ends it")?;
    Ok(out.flush()?)
}

/// `name` or `name=shards`.
fn named(text: &str, shards: u16) -> Result<(&str, u16), Failure> {
    let Some((name, number)) = text.split_once('=') else { return Ok((text, shards)) };
    match number.trim().parse() {
        Ok(shards @ 1..=100) => Ok((name.trim(), shards)),
        _ => Err(Failure::with_hint(
            format_args!("'{number}' is no number of shards for stream {name}"),
            "1 to 100, as in --stream jobs=4",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_says_its_shards_or_takes_the_default() {
        assert_eq!(named("jobs=4", 1), Ok(("jobs", 4)));
        assert_eq!(named("jobs", 2), Ok(("jobs", 2)));
        assert!(named("jobs=0", 1).unwrap_err().text().contains("1 to 100"));
    }
}
