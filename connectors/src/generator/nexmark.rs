//! Nexmark: people who open auctions, and bids on them. The events of the streaming benchmark of that
//! name, by the crate `nexmark`; of fifty, one is a person, three are auctions and the rest are bids.

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event as Drawn;

use super::{Event, FeedOptions, Value};

/// Events a second where the options say "as fast as can be": the benchmark's own pace.
const RATE: usize = 10_000;

/// Events come in rounds of this many; a seed begins at the start of a round.
const ROUND: usize = 50;

/// Rounds from one seed's first event to the next one's: more than anybody draws.
const ROUNDS_PER_SEED: usize = 1 << 28;

/// How many seeds there are; numbers beyond repeat them.
const SEEDS: u64 = 1_000_000;

/// How the crate mixes a group of events: the event in place n comes from n times this, modulo the
/// size of the group. Not every size is mixed by that.
const MIXED_BY: usize = 953;

/// Events of the streams `person`, `auction` and `bid`.
#[derive(Debug)]
pub struct NexmarkGenerator {
    options: FeedOptions,
    events: EventGenerator,
    told: u64,
}

impl NexmarkGenerator {
    /// The auctions these options stand for.
    pub fn new(options: FeedOptions) -> Self {
        let rate = usize::try_from(options.rate_per_s).unwrap_or(RATE);
        let rate = if rate == 0 { RATE } else { rate };
        let disorder_ms = usize::try_from(options.disorder_ms).unwrap_or(0);
        let group = (disorder_ms.saturating_mul(rate) / 1_000).max(1);
        let is_mixed = |group: &usize| !group.is_multiple_of(MIXED_BY) && MIXED_BY % group > 1;
        let group = (2..=group).rev().find(is_mixed).unwrap_or(1);
        // Seed 1, the usual one, begins where the benchmark begins.
        let seed = usize::try_from(options.seed.wrapping_sub(1) % SEEDS).unwrap_or(0);
        let config = NexmarkConfig {
            base_time: u64::try_from(options.start_ms).unwrap_or(0),
            first_rate: rate,
            next_rate: rate,
            out_of_order_group_size: group,
            first_event_id: seed * ROUNDS_PER_SEED * ROUND,
            ..NexmarkConfig::default()
        };
        Self { options, events: EventGenerator::new(config), told: 0 }
    }

    pub(super) fn options(&self) -> &FeedOptions {
        &self.options
    }
}

impl Iterator for NexmarkGenerator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.options.count.is_some_and(|count| self.told >= count) {
            return None;
        }
        self.told += 1;
        let drawn = self.events.next()?;
        let event_time_ms = i64::try_from(drawn.timestamp()).unwrap_or(i64::MAX);
        let (stream, key, columns) = match drawn {
            Drawn::Person(person) => ("person", person.id, person_columns(person)),
            Drawn::Auction(auction) => ("auction", auction.id, auction_columns(auction)),
            Drawn::Bid(bid) => ("bid", bid.auction, bid_columns(bid)),
        };
        Some(Event { stream, partition_key: key.to_string(), event_time_ms, columns })
    }
}

type Columns = Vec<(&'static str, Value)>;

fn person_columns(person: nexmark::event::Person) -> Columns {
    vec![
        ("id", integer(person.id)),
        ("name", Value::Text(person.name)),
        ("email_address", Value::Text(person.email_address)),
        ("credit_card", Value::Text(person.credit_card)),
        ("city", Value::Text(person.city)),
        ("state", Value::Text(person.state)),
        ("date_time", time(person.date_time)),
        ("extra", Value::Text(person.extra)),
    ]
}

fn auction_columns(auction: nexmark::event::Auction) -> Columns {
    vec![
        ("id", integer(auction.id)),
        ("item_name", Value::Text(auction.item_name)),
        ("description", Value::Text(auction.description)),
        ("initial_bid", integer(auction.initial_bid)),
        ("reserve", integer(auction.reserve)),
        ("date_time", time(auction.date_time)),
        ("expires", time(auction.expires)),
        ("seller", integer(auction.seller)),
        ("category", integer(auction.category)),
        ("extra", Value::Text(auction.extra)),
    ]
}

fn bid_columns(bid: nexmark::event::Bid) -> Columns {
    vec![
        ("auction", integer(bid.auction)),
        ("bidder", integer(bid.bidder)),
        ("price", integer(bid.price)),
        ("channel", Value::Text(bid.channel)),
        ("url", Value::Text(bid.url)),
        ("date_time", time(bid.date_time)),
        ("extra", Value::Text(bid.extra)),
    ]
}

fn integer(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn time(ms: u64) -> Value {
    Value::Time(i64::try_from(ms).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn events(options: &FeedOptions) -> Vec<Event> {
        let options = FeedOptions { count: Some(2_000), start_ms: 1_000_000, ..options.clone() };
        NexmarkGenerator::new(options).collect()
    }

    #[test]
    fn the_seed_decides_everything_and_a_round_has_its_shares() {
        let seeded = |seed| events(&FeedOptions { seed, ..FeedOptions::default() });
        assert_eq!(seeded(7), seeded(7));
        assert_ne!(seeded(7), seeded(8));
        let mut by_stream = BTreeMap::new();
        for event in seeded(7) {
            *by_stream.entry(event.stream).or_insert(0) += 1;
        }
        assert_eq!(by_stream, BTreeMap::from([("person", 40), ("auction", 120), ("bid", 1_840)]));
    }

    #[test]
    fn times_follow_the_rate_and_disorder_is_bounded() {
        let at = |rate_per_s, disorder_ms| {
            let drawn = events(&FeedOptions { rate_per_s, disorder_ms, ..FeedOptions::default() });
            drawn.iter().map(|event| event.event_time_ms).collect::<Vec<_>>()
        };
        let ordered = at(0, 0);
        assert!(ordered.is_sorted());
        assert_eq!((ordered[0], ordered[1_990]), (1_000_000, 1_000_199));
        assert_eq!(at(1_000, 0)[1_999], 1_001_999);
        let mixed = at(1_000, 953);
        assert!(!mixed.is_sorted());
        let mut newest = 0;
        for time in mixed {
            assert!(newest - time <= 953, "{newest} {time}");
            newest = newest.max(time);
        }
    }

    #[test]
    fn texts_need_no_quoting() {
        for event in events(&FeedOptions::default()) {
            let parsed: serde_json::Value = serde_json::from_str(&event.json_line()).unwrap();
            assert_eq!(parsed.as_object().unwrap().len(), event.columns.len());
            assert_eq!(event.csv_line().matches(',').count() + 1, event.columns.len());
        }
    }
}
