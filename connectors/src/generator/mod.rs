//! Demonstration data: events of a make-believe world, the same for the same seed.
//!
//! ```text
//!   Feed (pure iterator of Events) ──► drive (paced by the clock) ──► Target
//!     tenants · ticker · nexmark                                       Kinesis · folder · writer
//! ```
//!
//! - [`tenants`]: what happens on a platform for companies: users and jobs
//! - [`ticker`]: stock prices
//! - [`nexmark`]: people, auctions and bids
//! - [`drive`]: hands the events to a [`drive::Target`] at their pace
//! - [`source`]: the same events as an engine source, `connector = 'generator'`
//!
//! The invariant: an event depends only on the options, its number and the events before it; no
//! clock and no chance but the seed is in it.

pub mod drive;
pub mod nexmark;
pub mod options;
pub mod source;
pub mod targets;
pub mod tenants;
pub mod ticker;

use std::fmt::Write;

use arrow::temporal_conversions::timestamp_ms_to_datetime;
use rand::Rng;
use rand::rngs::StdRng;

pub use nexmark::NexmarkGenerator;
pub use options::{FeedKind, FeedOptions};
pub use tenants::TenantGenerator;
pub use ticker::TickerGenerator;

/// A value of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text without quotes, commas and control characters: needs no quoting but JSON's.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with two decimals.
    Decimal(f64),
    /// A time in milliseconds since the Unix epoch, written `2026-11-01 00:00:00.000`.
    Time(i64),
}

/// A thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The logical stream it belongs to.
    pub stream: &'static str,
    /// What keeps events in order: those with the same key go to the same shard.
    pub partition_key: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub event_time_ms: i64,
    /// Its columns, in the order of a CSV file. The same names for all events of a stream.
    pub columns: Vec<(&'static str, Value)>,
}

impl Event {
    /// The event as a JSON object, without a line end.
    pub fn json_line(&self) -> String {
        let mut line = String::with_capacity(32 * self.columns.len());
        for (index, (name, value)) in self.columns.iter().enumerate() {
            line.push_str(if index == 0 { "{\"" } else { ",\"" });
            line.push_str(name);
            line.push_str("\":");
            match value {
                Value::Text(_) | Value::Time(_) => {
                    line.push('"');
                    write_plain(&mut line, value);
                    line.push('"');
                }
                Value::Integer(_) | Value::Decimal(_) => write_plain(&mut line, value),
            }
        }
        line.push('}');
        line
    }

    /// The event as a CSV line, without a line end.
    pub fn csv_line(&self) -> String {
        let mut line = String::with_capacity(16 * self.columns.len());
        for (index, (_, value)) in self.columns.iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            write_plain(&mut line, value);
        }
        line
    }

    /// The header of a CSV file of such events.
    pub fn csv_header(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(",")
    }
}

fn write_plain(line: &mut String, value: &Value) {
    let written = match value {
        Value::Text(text) => write!(line, "{text}"),
        Value::Integer(number) => write!(line, "{number}"),
        Value::Decimal(number) => write!(line, "{number:.2}"),
        Value::Time(ms) => match timestamp_ms_to_datetime(*ms) {
            Some(time) => write!(line, "{}", time.format("%Y-%m-%d %H:%M:%S%.3f")),
            None => write!(line, "{ms}"),
        },
    };
    written.expect("writing into a String cannot fail");
}

/// The events of any feed.
#[derive(Debug)]
pub enum Feed {
    /// [`TenantGenerator`].
    Tenants(TenantGenerator),
    /// [`TickerGenerator`].
    Ticker(TickerGenerator),
    /// [`NexmarkGenerator`].
    Nexmark(Box<NexmarkGenerator>),
}

impl Feed {
    /// The feed of this kind.
    pub fn new(kind: FeedKind, options: FeedOptions) -> Self {
        match kind {
            FeedKind::Tenants => Self::Tenants(TenantGenerator::new(options)),
            FeedKind::Ticker => Self::Ticker(TickerGenerator::new(options)),
            FeedKind::Nexmark => Self::Nexmark(Box::new(NexmarkGenerator::new(options))),
        }
    }

    /// Its options.
    pub fn options(&self) -> &FeedOptions {
        match self {
            Self::Tenants(feed) => feed.options(),
            Self::Ticker(feed) => feed.options(),
            Self::Nexmark(feed) => feed.options(),
        }
    }
}

impl Iterator for Feed {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        match self {
            Self::Tenants(feed) => feed.next(),
            Self::Ticker(feed) => feed.next(),
            Self::Nexmark(feed) => feed.next(),
        }
    }
}

/// Numbers the events of a feed and tells their times.
#[derive(Debug)]
struct Timeline {
    options: FeedOptions,
    /// Events told so far.
    told: u64,
}

impl Timeline {
    /// Of ten events with disorder, how many come late.
    const LATE_PERCENT: u32 = 10;

    fn new(options: FeedOptions) -> Self {
        Self { options, told: 0 }
    }

    /// The time of the next event, or `None` after the last.
    fn next(&mut self, rng: &mut StdRng) -> Option<i64> {
        if self.options.count.is_some_and(|count| self.told >= count) {
            return None;
        }
        let due_ms = self.options.start_ms.saturating_add(self.options.due_ms(self.told));
        self.told += 1;
        // Drawn always, so that disorder changes the times and nothing else.
        let late = rng.random_range(0..100) < Self::LATE_PERCENT;
        let by_ms = rng.random_range(0..=self.options.disorder_ms);
        let by_ms = if late { i64::from(by_ms) } else { 0 };
        Some(due_ms.saturating_sub(by_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_the_same_in_both_formats() {
        let event = Event {
            stream: "jobs",
            partition_key: "comp_1".into(),
            event_time_ms: 1_793_491_200_005,
            columns: vec![
                ("company_id", Value::Text("comp_1".into())),
                ("job_submitted", Value::Integer(3)),
                ("price", Value::Decimal(1.5)),
                ("event_time", Value::Time(1_793_491_200_005)),
            ],
        };
        let json: serde_json::Value = serde_json::from_str(&event.json_line()).unwrap();
        assert_eq!(json["event_time"], "2026-11-01 00:00:00.005");
        assert_eq!(json["price"], 1.5);
        assert_eq!(event.csv_header(), "company_id,job_submitted,price,event_time");
        assert_eq!(event.csv_line(), "comp_1,3,1.50,2026-11-01 00:00:00.005");
    }
}
