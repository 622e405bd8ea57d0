//! The options of `connector = 'kinesis'`.

use std::time::Duration;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use millstream_engine::definition::{RelationDef, Rowtime};

use super::api::StreamRef;
use super::client::ConnectOptions;
use crate::decode::{Delimiters, Format};
use crate::names::{self, ColumnNames};
use crate::options::RelationKind::{Sink, Stream};
use crate::options::{ConnectorSpec, OptionError, OptionSpec, Options, ValueKind};

/// Kinesis data streams.
pub const SPEC: ConnectorSpec = ConnectorSpec {
    name: "kinesis",
    help: "An Amazon Kinesis data stream",
    relations: &[Stream, Sink],
    options: &[
        shared("stream", ValueKind::Text, None, "the stream's name or ARN").required(),
        shared(
            "format",
            ValueKind::OneOf(&["json", "csv"]),
            Some("json"),
            "json: one or several objects in a record; csv: one or several lines in a record",
        ),
        shared("delimiter", ValueKind::Delimiter, Some(","), "csv: what stands between fields"),
        shared("row_delimiter", ValueKind::Delimiter, Some("\\n"), "csv: what ends a row"),
        option(
            "start",
            ValueKind::Text,
            Some("trim_horizon"),
            "where to begin: `trim_horizon` (the oldest record), `latest`, `at_timestamp` (with \
             `start_timestamp`), or a timestamp such as `2026-11-01T00:00:00Z`",
        ),
        option(
            "start_timestamp",
            ValueKind::Text,
            None,
            "with start = 'at_timestamp': records that arrived before this are not read",
        ),
        shared(
            "endpoint",
            ValueKind::Text,
            Some("(AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL, else AWS)"),
            "the URL of the endpoint",
        ),
        shared(
            "region",
            ValueKind::Text,
            Some("(of the ARN, else AWS_REGION, else of the profile)"),
            "the AWS region",
        ),
        shared(
            "profile",
            ValueKind::Text,
            Some("(AWS_PROFILE)"),
            "the profile of the AWS configuration files",
        ),
        shared(
            "role_arn",
            ValueKind::Text,
            None,
            "a role to assume, as for a stream of another account",
        ),
        shared(
            "external_id",
            ValueKind::Text,
            None,
            "with role_arn: what its trust policy asks for as sts:ExternalId",
        ),
        of_sink(
            "partition_key",
            ValueKind::Names,
            Some("(the record's id)"),
            "the columns whose values, with `|` between them, are the partition key of a record; their \
             first 256 characters count",
        ),
        of_sink(
            "record_id",
            ValueKind::Text,
            Some("record_id"),
            "the name under which a record has its id: a record that comes twice, since Kinesis takes \
             each at least once, has the same id twice; `none` leaves it out",
        ),
        of_sink(
            "mode",
            ValueKind::OneOf(&["append", "changelog"]),
            Some("append"),
            "append: rows, which the query must not take back; changelog: every change with a leading \
             `_op` of `+` or `-` and its `_epoch`",
        ),
        names::OPTION,
        option(
            "poll_interval",
            ValueKind::Duration,
            Some("1s"),
            "how often a shard with nothing new is asked; one with data is asked four times a second",
        ),
        option(
            "consumer",
            ValueKind::OneOf(&["polling", "fan-out", "auto"]),
            Some("polling"),
            "polling: shards are asked for records; fan-out: a consumer is registered to which they are \
             pushed, at a price and with 2 MB/s a shard of its own; auto: fan-out where it is allowed",
        ),
        option(
            "consumer_name",
            ValueKind::Text,
            Some("millstream"),
            "with fan-out: the consumer's name; each application needs one of its own",
        ),
        option(
            "idle_timeout",
            ValueKind::Duration,
            Some("5s, or 0s without WATERMARK"),
            "how long a shard must be at its tip without a record until it no longer holds the watermark \
             back; at least as long as producers hold records back",
        ),
        option(
            "payload_max",
            ValueKind::Bytes,
            Some("64MiB"),
            "the most bytes of a gzip or zstd payload once it is decompressed; a larger one is a bad row",
        ),
        option(
            "future_tolerance",
            ValueKind::Duration,
            Some("87600h"),
            "by how much the ROWTIME of a record may be later than its arrival; one that is later still \
             would close every window, so its row goes to `error_stream` (as FUTURE), where ROWTIME is \
             read. Ten years find wrong units; where producers' clocks may be wrong, choose an hour or a \
             day",
        ),
        option(
            "on_data_loss",
            ValueKind::OneOf(&["fail", "continue"]),
            Some("fail"),
            "when records passed the stream's retention before they were read: end with an error, or go \
             on with what is left and say so in `error_stream` (as LOST)",
        ),
        option(
            "rowtime",
            ValueKind::Text,
            None,
            "the field of the record that holds its ROWTIME; it need not be a column",
        ),
    ],
};

/// The shortest `poll_interval`: Kinesis allows five calls a second to a shard, for all its readers.
pub(crate) const POLL_INTERVAL_MIN: Duration = Duration::from_millis(200);

/// How long a shard has been without a record when it is idle, where rows can be late.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a decompressed payload, unless said otherwise.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// By how much a `ROWTIME` may be later than the arrival of its record: less than a wrong unit or a field
/// that means "never", more than a row that someone puts on purpose to close all windows.
pub(crate) const FUTURE_TOLERANCE: Duration = Duration::from_secs(87_600 * 3_600);

const fn option(
    name: &'static str,
    value: ValueKind,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { name, value, default, required: false, relations: &[Stream], help }
}

/// An option of streams and sinks.
const fn shared(
    name: &'static str,
    value: ValueKind,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { relations: &[Stream, Sink], ..option(name, value, default, help) }
}

const fn of_sink(
    name: &'static str,
    value: ValueKind,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { relations: &[Sink], ..option(name, value, default, help) }
}

/// Where to begin a stream that was not read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record of each shard.
    TrimHorizon,
    /// At the first record that arrives after the source was opened.
    Latest,
    /// At the first record that arrived at or after this, in milliseconds since the Unix epoch.
    AtTimestamp(i64),
}

/// What to do when records were thrown away before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDataLoss {
    /// End the run with an error.
    Fail,
    /// Say so in `error_stream`, and go on with what is left.
    Continue,
}

/// How records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumer {
    /// Shards are asked.
    Polling,
    /// They are pushed to a consumer of our own.
    FanOut,
    /// They are pushed where that is allowed, else asked for.
    Auto,
}

/// The options as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisOptions {
    /// The stream.
    pub stream: StreamRef,
    /// The format of a record's bytes.
    pub format: Format,
    /// Where to begin.
    pub start: Start,
    /// Where to connect.
    pub connect: ConnectOptions,
    /// How often a shard with nothing new is asked.
    pub poll_interval: Duration,
    /// How the records come.
    pub consumer: Consumer,
    /// The name of the consumer that they are pushed to.
    pub consumer_name: String,
    /// How long no record must have come until a shard counts as idle.
    pub idle_timeout: Duration,
    /// The most bytes of a payload once it is decompressed.
    pub payload_bytes_max: u64,
    /// By how much the `ROWTIME` of a record may be later than its arrival.
    pub future_tolerance: Duration,
    /// What to do when records were thrown away before they were read.
    pub on_data_loss: OnDataLoss,
}

impl KinesisOptions {
    /// The options of the stream `def`.
    ///
    /// # Errors
    ///
    /// Names the option that is wrong.
    pub fn parse(def: &RelationDef) -> Result<Self, OptionError> {
        let options = Options::new(Stream, &def.options)?;
        let stream = StreamRef::parse(options.text("stream").unwrap_or_default());
        let poll_interval = options.duration("poll_interval").unwrap_or(Duration::from_secs(1));
        if poll_interval < POLL_INTERVAL_MIN {
            let message = "poll_interval is shorter than 200ms";
            return Err(OptionError::value("poll_interval", message)
                .with_hint("Kinesis allows five reads a second to a shard, for all its readers"));
        }
        Ok(Self {
            format: format(&options)?,
            start: start(&options)?,
            connect: connect(&options, &stream)?,
            stream,
            poll_interval,
            consumer: match options.word("consumer") {
                Some("fan-out") => Consumer::FanOut,
                Some("auto") => Consumer::Auto,
                _ => Consumer::Polling,
            },
            consumer_name: options.text("consumer_name").unwrap_or("millstream").to_owned(),
            idle_timeout: options.duration("idle_timeout").unwrap_or(match def.rowtime {
                Rowtime::Column { .. } => IDLE_TIMEOUT,
                // Arrival times follow the clock: no row can be late.
                Rowtime::Arrival | Rowtime::Field(_) => Duration::ZERO,
            }),
            payload_bytes_max: options.bytes("payload_max").unwrap_or(PAYLOAD_BYTES_MAX),
            future_tolerance: options.duration("future_tolerance").unwrap_or(FUTURE_TOLERANCE),
            on_data_loss: match options.word("on_data_loss") {
                Some("continue") => OnDataLoss::Continue,
                _ => OnDataLoss::Fail,
            },
        })
    }
}

/// The options of `connector = 'kinesis'` for a sink, as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisSinkOptions {
    /// The stream.
    pub stream: StreamRef,
    /// The format of a record's bytes.
    pub format: Format,
    /// Where to connect.
    pub connect: ConnectOptions,
    /// The columns of the partition key; none for a key of its own for each record.
    pub partition_key: Vec<String>,
    /// The name under which records have their id.
    pub record_id: Option<String>,
    /// Whether rows that are taken back are written too.
    pub changelog: bool,
    /// How columns are called.
    pub names: ColumnNames,
}

impl KinesisSinkOptions {
    /// The options of the sink `def`.
    ///
    /// # Errors
    ///
    /// Names the option that is wrong.
    pub fn parse(def: &RelationDef) -> Result<Self, OptionError> {
        let options = Options::new(Sink, &def.options)?;
        let stream = StreamRef::parse(options.text("stream").unwrap_or_default());
        let record_id = options.text("record_id").unwrap_or("record_id");
        Ok(Self {
            format: format(&options)?,
            connect: connect(&options, &stream)?,
            stream,
            partition_key: options.names("partition_key"),
            record_id: (!record_id.eq_ignore_ascii_case("none")).then(|| record_id.to_owned()),
            changelog: options.word("mode") == Some("changelog"),
            names: ColumnNames::of(&options),
        })
    }
}

fn connect(options: &Options<'_>, stream: &StreamRef) -> Result<ConnectOptions, OptionError> {
    let owned = |name| options.text(name).map(str::to_owned);
    if let Some(endpoint) = options.text("endpoint") {
        check_endpoint(endpoint)?;
    }
    if options.given("external_id") && !options.given("role_arn") {
        return Err(OptionError::name("external_id", "external_id has no meaning here")
            .with_hint("it belongs to role_arn = '…'"));
    }
    Ok(ConnectOptions {
        endpoint: owned("endpoint"),
        region: owned("region").or_else(|| stream.region().map(str::to_owned)),
        profile: owned("profile"),
        role_arn: owned("role_arn"),
        external_id: owned("external_id"),
    })
}

fn format(options: &Options<'_>) -> Result<Format, OptionError> {
    match options.word("format") {
        Some("csv") => Ok(Format::Csv(Delimiters::of(options)?)),
        _ => Ok(Format::Json),
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), OptionError> {
    match url::Url::parse(endpoint) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        _ => {
            Err(OptionError::value("endpoint", format!("'{endpoint}' is not an http or https URL"))
                .with_hint("write it like 'http://127.0.0.1:4567'"))
        }
    }
}

fn start(options: &Options<'_>) -> Result<Start, OptionError> {
    let written = options.text("start").unwrap_or("trim_horizon");
    let timestamp = options.text("start_timestamp");
    let start = match written.to_ascii_lowercase().as_str() {
        "trim_horizon" => Start::TrimHorizon,
        "latest" => Start::Latest,
        "at_timestamp" => {
            let Some(text) = timestamp else {
                let message = "start = 'at_timestamp' needs the option 'start_timestamp'";
                return Err(OptionError::general(message)
                    .with_hint("add start_timestamp = '2026-11-01T00:00:00Z'"));
            };
            return timestamp_ms("start_timestamp", text).map(Start::AtTimestamp);
        }
        _ => Start::AtTimestamp(timestamp_ms("start", written)?),
    };
    if timestamp.is_some() {
        let message = "start_timestamp has no meaning here";
        return Err(OptionError::name("start_timestamp", message)
            .with_hint("it belongs to start = 'at_timestamp'"));
    }
    Ok(start)
}

fn timestamp_ms(name: &str, text: &str) -> Result<i64, OptionError> {
    let nanos = string_to_timestamp_nanos(text).map_err(|_| {
        let words = match name {
            "start" => "'trim_horizon', 'latest', 'at_timestamp' or a timestamp",
            _ => "a timestamp",
        };
        OptionError::value(name, format!("'{text}' is not {words}"))
            .with_hint("write a timestamp like '2026-11-01T00:00:00Z'")
    })?;
    Ok(nanos.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<KinesisOptions, OptionError> {
        let all = [("connector", "kinesis"), ("stream", "jobs")];
        let all = all.iter().chain(options).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        KinesisOptions::parse(&RelationDef {
            name: "JOBS".into(),
            columns: Vec::new(),
            options: all.collect(),
            rowtime: Rowtime::Arrival,
        })
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        let start = |options: &[(&str, &str)]| parse(options).map(|options| options.start);
        let november = Start::AtTimestamp(1_793_491_200_000);
        assert_eq!(start(&[]), Ok(Start::TrimHorizon));
        assert_eq!(start(&[("start", "LATEST")]), Ok(Start::Latest));
        assert_eq!(start(&[("start", "2026-11-01T00:00:00Z")]), Ok(november));
        assert_eq!(start(&[("start", "2026-11-01 01:00:00+01:00")]), Ok(november));
        let both = [("start", "at_timestamp"), ("start_timestamp", "2026-11-01T00:00:00Z")];
        assert_eq!(start(&both), Ok(november));
    }

    #[test]
    fn wrong_options_are_named() {
        let blamed = |options: &[(&str, &str)]| parse(options).unwrap_err().option.unwrap().0;
        assert_eq!(blamed(&[("start", "yesterday")]), "start");
        assert_eq!(
            blamed(&[("start", "at_timestamp"), ("start_timestamp", "x")]),
            "start_timestamp"
        );
        assert_eq!(blamed(&[("start_timestamp", "2026-11-01T00:00:00Z")]), "start_timestamp");
        assert_eq!(blamed(&[("poll_interval", "10ms")]), "poll_interval");
        assert_eq!(blamed(&[("external_id", "x")]), "external_id");
        assert_eq!(blamed(&[("endpoint", "127.0.0.1:4567")]), "endpoint");
        assert!(parse(&[("start", "at_timestamp")]).unwrap_err().message.contains("needs"));
    }

    #[test]
    fn the_region_of_an_arn_holds_unless_another_is_given() {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/jobs";
        let region = |extra: &[(&str, &str)]| {
            let options = [&[("connector", "kinesis"), ("stream", arn)], extra].concat();
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let (name, columns, rowtime) = ("J".into(), Vec::new(), Rowtime::Arrival);
            let def = RelationDef { name, columns, options, rowtime };
            KinesisOptions::parse(&def).unwrap().connect.region.unwrap()
        };
        assert_eq!(region(&[]), "eu-west-1");
        assert_eq!(region(&[("region", "us-east-2")]), "us-east-2");
    }
}
