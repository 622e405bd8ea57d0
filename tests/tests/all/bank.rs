//! Internal consistency: money moves between accounts and none is made or lost, so every epoch of every
//! query that adds it all up says zero, whatever joins, unions and aggregates it comes through.
//!
//! An engine whose operators run each at their own pace shows totals here that match no prefix of the
//! input, until it settles.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::Int64Type;
use millstream_engine::definition::ROWTIME;
use millstream_tests::pipeline::{Event, Happening, Pipeline};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ACCOUNTS: i64 = 20;
const EPOCHS: usize = 60;

const DECLARATIONS: &str = "
CREATE STREAM transfers (id BIGINT, payer BIGINT, payee BIGINT, amount BIGINT);
CREATE TABLE accounts (account BIGINT, branch BIGINT) WITH (connector = 'file', path = 'a.csv');
CREATE VIEW movements AS
  SELECT payee AS account, amount FROM transfers
  UNION ALL SELECT payer AS account, -amount AS amount FROM transfers;
CREATE VIEW balances AS SELECT account, SUM(amount) AS balance FROM movements GROUP BY account;
CREATE VIEW credits AS SELECT payee AS account, SUM(amount) AS total FROM transfers GROUP BY payee;
CREATE VIEW debits AS SELECT payer AS account, SUM(amount) AS total FROM transfers GROUP BY payer;
";

/// Queries whose first column adds up to zero over their rows.
const QUERIES: &[(&str, &str)] = &[
    ("balances", "SELECT STREAM balance, account FROM balances"),
    ("total", "SELECT STREAM SUM(balance) AS total FROM balances"),
    (
        "credits and debits",
        "SELECT STREAM COALESCE(c.total, 0) - COALESCE(d.total, 0) AS balance,
           COALESCE(c.account, d.account) AS account
         FROM credits AS c FULL JOIN debits AS d ON c.account = d.account",
    ),
    (
        "total of credits and debits",
        "SELECT STREAM SUM(COALESCE(c.total, 0) - COALESCE(d.total, 0)) AS total
         FROM credits AS c FULL JOIN debits AS d ON c.account = d.account",
    ),
    (
        "branches",
        "SELECT STREAM SUM(b.balance) AS total, a.branch FROM balances AS b
         JOIN accounts AS a ON b.account = a.account GROUP BY a.branch",
    ),
    (
        "payer and payee of each transfer",
        "SELECT STREAM SUM(p.amount) + SUM(m.amount) AS total FROM transfers AS t
         JOIN (SELECT id, amount FROM transfers) AS p ON p.id = t.id
         JOIN (SELECT id, -amount AS amount FROM transfers) AS m ON m.id = t.id",
    ),
    (
        "two ways to the same balances",
        "SELECT STREAM b.balance - (COALESCE(c.total, 0) - COALESCE(d.total, 0)) AS difference,
           b.account
         FROM balances AS b
         LEFT JOIN credits AS c ON b.account = c.account
         LEFT JOIN debits AS d ON b.account = d.account",
    ),
];

fn transfers(rng: &mut StdRng, first: i64, schema: &arrow::datatypes::SchemaRef) -> RecordBatch {
    let rows = rng.random_range(0..40);
    let mut column = |below| -> ArrayRef {
        Arc::new((0..rows).map(|_| rng.random_range(0..below)).collect::<Int64Array>())
    };
    let (payer, payee, amount) = (column(ACCOUNTS), column(ACCOUNTS), column(1_000));
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "ID" => Arc::new(Int64Array::from_iter_values(first..first + rows)),
            "PAYER" => Arc::clone(&payer),
            "PAYEE" => Arc::clone(&payee),
            "AMOUNT" => Arc::clone(&amount),
            ROWTIME => Arc::new(TimestampMillisecondArray::from_iter_values(first..first + rows)),
            _ => arrow::array::new_null_array(field.data_type(), usize::try_from(rows).unwrap()),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

fn accounts() -> RecordBatch {
    let accounts: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ACCOUNTS));
    let branches: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ACCOUNTS).map(|a| a % 3)));
    RecordBatch::try_from_iter([("ACCOUNT", accounts), ("BRANCH", branches)]).unwrap()
}

/// The sum of the first column over the rows that are there after each epoch.
fn sums(query: &str, seed: u64) -> Vec<i64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pipeline = Pipeline::new(DECLARATIONS, query, rng.random_range(1..=4));
    pipeline.load("ACCOUNTS", accounts());
    let schema = pipeline.stream("TRANSFERS").stream_schema();
    let event = |what| -> Event { ("TRANSFERS".to_owned(), "p".to_owned(), what) };
    let (mut sum, mut rows, mut next, mut sums) = (0, 0, 0, Vec::new());
    for epoch in 0..EPOCHS {
        let batch = transfers(&mut rng, next, &schema);
        next += i64::try_from(batch.num_rows()).unwrap();
        let discovered = (epoch == 0).then(|| event(Happening::Discovered));
        let events: Vec<Event> =
            discovered.into_iter().chain([event(Happening::Rows(batch))]).collect();
        let output = pipeline.epoch(&events);
        assert!(output.bad.is_empty(), "{:?}", output.bad);
        for delta in output.sinks.iter().flat_map(|(_, deltas)| deltas) {
            let values = delta.batch.column(0).as_primitive::<Int64Type>();
            for row in 0..delta.num_rows() {
                let weight = delta.weights.as_ref().map_or(1, |weights| weights.value(row));
                rows += weight.abs();
                // A total over nothing is NULL.
                sum += weight * values.iter().nth(row).flatten().unwrap_or(0);
            }
        }
        sums.push(sum);
        if rng.random_bool(0.1) {
            pipeline.restart();
        }
    }
    assert!(rows > 0, "the query gives nothing");
    sums
}

#[test]
fn no_epoch_shows_money_made_or_lost() {
    for (name, query) in QUERIES {
        for seed in 0..4 {
            let sums = sums(query, seed);
            assert!(sums.iter().all(|sum| *sum == 0), "{name}, seed {seed}: {sums:?}");
        }
    }
}

/// The check can fail: without the other side of the transfers, the total is not zero.
#[test]
fn money_that_is_made_is_seen() {
    let sums = sums("SELECT STREAM SUM(total) AS total FROM credits", 0);
    assert!(sums.iter().any(|sum| *sum != 0));
}
