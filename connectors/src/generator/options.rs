//! What generated data looks like, and the options of `connector = 'generator'`.

use std::time::Duration;

use millstream_engine::definition::RelationDef;

use crate::options::RelationKind::Stream;
use crate::options::{ConnectorSpec, OptionError, OptionSpec, Options, ValueKind};

/// Generated data.
pub const SPEC: ConnectorSpec = ConnectorSpec {
    name: "generator",
    help: "Generated demonstration data, the same for the same seed",
    relations: &[Stream],
    options: &[
        option(
            "kind",
            ValueKind::OneOf(&[
                "ticker",
                "tenants.companies",
                "tenants.users",
                "tenants.jobs",
                "tenants.job_ends",
                "nexmark.person",
                "nexmark.auction",
                "nexmark.bid",
            ]),
            None,
            "ticker: stock prices; tenants: what happens on a platform for companies; nexmark: auctions",
        )
        .required(),
        option(
            "rate",
            ValueKind::Integer(0, 10_000_000),
            Some("100"),
            "events a second, of all streams of the kind together; 0 is as fast as can be",
        ),
        option(
            "count",
            ValueKind::Integer(1, u64::MAX),
            Some("(no end)"),
            "how many events, of all streams of the kind together",
        ),
        option(
            "seed",
            ValueKind::Integer(0, u64::MAX),
            Some("(of the run)"),
            "the same seed gives the same events",
        ),
        option("companies", ValueKind::Integer(1, 1_000_000), Some("10"), "tenants: how many"),
        option(
            "disorder",
            ValueKind::Duration,
            Some("0s"),
            "by how much some events come late, at most",
        ),
        option(
            "rowtime",
            ValueKind::Text,
            None,
            "the field of the record that holds its ROWTIME; it need not be a column",
        ),
    ],
};

const fn option(
    name: &'static str,
    value: ValueKind,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { name, value, default, required: false, relations: &[Stream], help }
}

/// What happens in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// A platform with companies, their users and jobs.
    Tenants,
    /// Stock prices.
    Ticker,
    /// People, auctions and bids.
    Nexmark,
}

/// What a feed is made from: equal options, equal events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOptions {
    /// Seeds all chance.
    pub seed: u64,
    /// The time of the first event, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Events a second; 0 is as fast as can be, with event times as at 100.
    pub rate_per_s: u32,
    /// How many events; `None` is without end.
    pub count: Option<u64>,
    /// Tenants: how many companies.
    pub companies: u32,
    /// By how much some events come late, at most, in milliseconds.
    pub disorder_ms: u32,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self { seed: 0, start_ms: 0, rate_per_s: 100, count: None, companies: 10, disorder_ms: 0 }
    }
}

impl FeedOptions {
    /// When event `number` happens, in milliseconds since the first.
    pub(super) fn due_ms(&self, number: u64) -> i64 {
        let rate = if self.rate_per_s == 0 { 100 } else { self.rate_per_s };
        let ms = u128::from(number) * 1_000 / u128::from(rate);
        i64::try_from(ms).unwrap_or(i64::MAX)
    }

    /// How many events are due when `passed` has passed since the first.
    pub(super) fn due_count(&self, passed: Duration) -> u64 {
        if self.rate_per_s == 0 {
            return u64::MAX;
        }
        let due = passed.as_millis() * u128::from(self.rate_per_s) / 1_000 + 1;
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

/// The options of a generated stream, as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorOptions {
    /// Which feed.
    pub kind: FeedKind,
    /// Which of the feed's streams.
    pub stream: &'static str,
    /// What the feed is made from; its start is set when the source is opened.
    pub feed: FeedOptions,
}

impl GeneratorOptions {
    /// The options of the stream `def`; `seed` holds where it names none.
    ///
    /// # Errors
    ///
    /// Names the option that is wrong.
    pub fn parse(def: &RelationDef, seed: u64) -> Result<Self, OptionError> {
        let options = Options::new(Stream, &def.options)?;
        let (kind, stream) = match options.word("kind").and_then(|word| word.split_once('.')) {
            Some(("nexmark", stream)) => (FeedKind::Nexmark, stream),
            Some((_, stream)) => (FeedKind::Tenants, stream),
            None => (FeedKind::Ticker, "ticker"),
        };
        let small = |name: &str, otherwise: u32| {
            options.integer(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(otherwise)
        };
        let disorder_ms = options.duration("disorder").unwrap_or_default().as_millis();
        let disorder_ms = u32::try_from(disorder_ms).map_err(|_| {
            OptionError::value("disorder", "disorder is longer than 49 days")
                .with_hint("it is by how much some events come late")
        })?;
        let feed = FeedOptions {
            seed: options.integer("seed").unwrap_or(seed),
            start_ms: 0,
            rate_per_s: small("rate", 100),
            count: options.integer("count"),
            companies: small("companies", 10),
            disorder_ms,
        };
        Ok(Self { kind, stream, feed })
    }
}
