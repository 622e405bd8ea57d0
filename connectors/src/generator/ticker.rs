//! Stock prices: random walks of a few well-known symbols.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Event, FeedOptions, Timeline, Value};

/// The symbols, and where their walks begin.
const TICKERS: [(&str, f64); 8] = [
    ("AAPL", 172.0),
    ("AMZN", 128.0),
    ("GOOG", 139.0),
    ("INTC", 36.0),
    ("MSFT", 331.0),
    ("NVDA", 441.0),
    ("ORCL", 109.0),
    ("TBV", 45.0),
];

/// The lowest price: a walk does not leave the positive numbers.
const PRICE_MIN: f64 = 1.0;

/// Events of the stream `ticker`: `EVENT_TIME`, `TICKER`, `PRICE`.
#[derive(Debug)]
pub struct TickerGenerator {
    timeline: Timeline,
    rng: StdRng,
    prices: [f64; TICKERS.len()],
}

impl TickerGenerator {
    /// The prices these options stand for.
    pub fn new(options: FeedOptions) -> Self {
        let rng = StdRng::seed_from_u64(options.seed);
        let prices = TICKERS.map(|(_, price)| price);
        Self { timeline: Timeline::new(options), rng, prices }
    }

    pub(super) fn options(&self) -> &FeedOptions {
        &self.timeline.options
    }
}

impl Iterator for TickerGenerator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let event_time_ms = self.timeline.next(&mut self.rng)?;
        let index = self.rng.random_range(0..TICKERS.len());
        let step = self.rng.random_range(-0.01..0.01);
        let price = &mut self.prices[index];
        *price = (*price * (1.0 + step)).max(PRICE_MIN);
        let price = (*price * 100.0).round() / 100.0;
        let ticker = TICKERS[index].0;
        Some(Event {
            stream: "ticker",
            partition_key: ticker.to_owned(),
            event_time_ms,
            columns: vec![
                ("EVENT_TIME", Value::Time(event_time_ms)),
                ("TICKER", Value::Text(ticker.to_owned())),
                ("PRICE", Value::Decimal(price)),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(seed: u64, disorder_ms: u32) -> Vec<Event> {
        let count = Some(2_000);
        let options = FeedOptions { seed, count, disorder_ms, ..FeedOptions::default() };
        TickerGenerator::new(options).collect()
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(events(7, 500), events(7, 500));
        assert_ne!(events(7, 500), events(8, 500));
    }

    #[test]
    fn disorder_is_there_and_bounded() {
        let (ordered, disordered) = (events(7, 0), events(7, 500));
        assert!(ordered.is_sorted_by_key(|event| event.event_time_ms));
        assert_eq!(ordered[1_999].event_time_ms, 19_990, "100 a second");
        let late: Vec<i64> = ordered
            .iter()
            .zip(&disordered)
            .map(|(a, b)| a.event_time_ms - b.event_time_ms)
            .filter(|late| *late != 0)
            .collect();
        assert!(late.len() > 100 && late.iter().all(|late| (1..=500).contains(late)));
    }

    #[test]
    fn prices_walk_and_stay_positive() {
        for event in events(3, 0) {
            let Value::Decimal(price) = event.columns[2].1 else { panic!("{event:?}") };
            assert!((PRICE_MIN..10_000.0).contains(&price));
        }
    }
}
