//! The queries of Nexmark, each over a small set of events cut at random into epochs, partitions and
//! lanes, beside DataFusion's batch answer.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream_connectors::decode::{Format, RecordAddress, RowDecoder};
use millstream_connectors::generator::{Feed, FeedKind, FeedOptions};
use millstream_engine::definition::RelationDef;
use millstream_sql::statement::SinkInput;
use millstream_sql::{StatementKind, parse};
use millstream_tests::pipeline::Pipeline;

use crate::law::{Compared, Law};

/// Queries that cannot be planned yet. May only shrink.
const NOT_YET: &[&str] = &[];

/// Events of a run.
const EVENTS: u64 = 2_000;

/// How many times each query is cut anew.
const SEEDS: u64 = 2;

/// Windows are closed by the watermark, so their results are compared when all has ended.
const WINDOWED: &[&str] =
    &["nexmark/q5.sql", "nexmark/q7.sql", "nexmark/q8.sql", "nexmark/q11.sql", "nexmark/q12.sql"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("queries").join(path)).unwrap()
}

/// What DataFusion is asked: our text where it means the same there, else the same without the window
/// functions.
fn batch_text(name: &str, query: &str) -> String {
    let windows = "INTERVAL '10 seconds', date_time";
    match name {
        "nexmark/q2.sql" => "SELECT auction, price FROM bid WHERE auction % 123 = 0".to_owned(),
        // Our decimal literals are exact, and the mean of whole numbers is one; prices are positive.
        "nexmark/q1.sql" | "nexmark/q14.sql" => {
            query.replace("SELECT STREAM", "SELECT").replace("0.908", "CAST(0.908 AS DECIMAL(3, 3))")
        }
        "nexmark/q4.sql" => {
            query.replace("SELECT STREAM", "SELECT").replace("AVG(q.final)", "CAST(FLOOR(AVG(q.final)) AS BIGINT)")
        }
        "nexmark/q17.sql" => {
            query.replace("SELECT STREAM", "SELECT").replace("AVG(price)", "CAST(FLOOR(AVG(price)) AS BIGINT)")
        }
        "nexmark/q5.sql" => "WITH counted AS (
             SELECT auction, COUNT(*) AS num, date_bin(INTERVAL '2 seconds', date_time) - pane AS starts
             FROM bid CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'),
               (INTERVAL '4 seconds'), (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS panes(pane)
             GROUP BY auction, date_bin(INTERVAL '2 seconds', date_time) - pane)
           SELECT c.auction, c.num FROM counted AS c
           JOIN (SELECT starts, MAX(num) AS most FROM counted GROUP BY starts) AS m
             ON c.starts = m.starts AND c.num >= m.most"
            .to_owned(),
        "nexmark/q7.sql" => format!(
            "SELECT b.auction, b.price, b.bidder, b.date_time, b.extra FROM bid AS b
             JOIN (SELECT MAX(price) AS price, date_bin({windows}) AS starts FROM bid
                   GROUP BY date_bin({windows})) AS m ON b.price = m.price
             WHERE b.date_time BETWEEN m.starts AND m.starts + INTERVAL '10 seconds'"
        ),
        "nexmark/q8.sql" => format!(
            "SELECT p.id, p.name, p.starts
             FROM (SELECT DISTINCT id, name, date_bin({windows}) AS starts FROM person) AS p
             JOIN (SELECT DISTINCT seller, date_bin({windows}) AS starts FROM auction) AS a
             ON p.id = a.seller AND p.starts = a.starts"
        ),
        "nexmark/q11.sql" => "WITH marked AS (
             SELECT bidder, date_time, CASE WHEN date_time <= LAG(date_time) OVER w
               + INTERVAL '10 seconds' THEN 0 ELSE 1 END AS begins
             FROM bid WINDOW w AS (PARTITION BY bidder ORDER BY date_time)),
           numbered AS (
             SELECT bidder, date_time, SUM(begins) OVER (PARTITION BY bidder ORDER BY date_time
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS number FROM marked)
           SELECT bidder, COUNT(*), MIN(date_time), MAX(date_time) + INTERVAL '10 seconds'
           FROM numbered GROUP BY bidder, number"
            .to_owned(),
        "nexmark/q12.sql" => format!(
            "SELECT bidder, COUNT(*), date_bin({windows}) FROM bid
             GROUP BY bidder, date_bin({windows})"
        ),
        "nexmark/q13.sql" => "SELECT b.auction, b.bidder, b.price, b.date_time, s.value
           FROM bid AS b JOIN side_input AS s ON b.auction % 10000 = s.key"
            .to_owned(),
        _ => query.replace("SELECT STREAM", "SELECT"),
    }
}

/// The text of the query in a file: of the sink it declares, or by itself.
fn query_text(file: &str) -> String {
    let text = read(file);
    let Ok(statements) = parse(&text) else {
        return text;
    };
    match &statements[0].kind {
        StatementKind::CreateSink { input: SinkInput::Query(_), .. } => {
            let (_, query) = text.split_once(") AS\n").expect("the query of a sink follows AS");
            query.trim().trim_end_matches(';').to_owned()
        }
        StatementKind::Query(_) => statements[0].text.clone(),
        other => panic!("{file}: neither a query nor a sink: {other:?}"),
    }
}

/// The generated events of each stream, decoded as they would be from its file.
fn streams(declared: &Pipeline) -> Vec<(&'static str, RecordBatch)> {
    let names = [("person", "PERSON"), ("auction", "AUCTION"), ("bid", "BID")];
    // Fifty events a second: forty seconds, so that windows and sessions end.
    let options = FeedOptions {
        seed: 1,
        start_ms: 1_793_491_200_000,
        rate_per_s: 50,
        count: Some(EVENTS),
        disorder_ms: 3_000,
        ..FeedOptions::default()
    };
    let events: Vec<_> = Feed::new(FeedKind::Nexmark, options).collect();
    let decoded = names.into_iter().map(|(stream, name)| {
        let def = declared.stream(name);
        let lines = events.iter().filter(|event| event.stream == stream);
        (name, decode(def, lines.map(|event| event.json_line())))
    });
    decoded.collect()
}

fn decode(def: &RelationDef, lines: impl Iterator<Item = String>) -> RecordBatch {
    let all: Vec<usize> = (0..def.stream_schema().fields().len()).collect();
    let mut decoder = RowDecoder::new(def, &all, &Format::Json).unwrap();
    let partition: Arc<str> = "p".into();
    let address = RecordAddress {
        arrival_ms: 0,
        partition: &partition,
        position: &0,
        partition_key: None,
        sequence_number: None,
        shard_id: None,
    };
    lines.for_each(|line| decoder.push(line.as_bytes(), &address));
    let (rows, bad) = decoder.finish().unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    rows
}

/// The table of query 13, as its file has it.
fn side_input() -> RecordBatch {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    let text = read("nexmark/side_input.csv");
    let rows = text.lines().skip(1).map(|line| line.split_once(',').expect("two columns"));
    let (keys, values): (Vec<i64>, Vec<&str>) =
        rows.map(|(key, value)| (key.parse::<i64>().unwrap(), value)).unzip();
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    let values: ArrayRef = Arc::new(StringArray::from(values));
    RecordBatch::try_from_iter([("KEY", keys), ("VALUE", values)]).unwrap()
}

fn check(file: &str) {
    let declarations = read("nexmark/streams.sql");
    let query = query_text(file);
    let planned = Pipeline::try_new(&declarations, &query, 1);
    if NOT_YET.contains(&file) {
        assert!(planned.is_err(), "{file} can be planned now: strike it from the list");
        return;
    }
    let planned = planned.unwrap_or_else(|reason| panic!("{file}: {reason}"));
    let compared = if WINDOWED.contains(&file) { Compared::AtTheEnd } else { Compared::EveryEpoch };
    let law = Law {
        declarations: &declarations,
        query: &query,
        views: &[],
        batch: &batch_text(file, &query),
        streams: &streams(&planned),
        tables: &[("SIDE_INPUT", side_input())],
        epochs_max: 8,
        compared,
    };
    for seed in 0..SEEDS {
        match law.check(seed) {
            Ok(rows) => assert!(rows > 0, "{file} gives nothing, so nothing is compared"),
            Err(difference) => panic!("{file}, seed {seed}: {difference}"),
        }
    }
}

/// Every query is run by its test: the declarations they share, "nexmark/streams.sql", are too.
macro_rules! queries {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[test]
            fn $name() {
                check($file);
            }
        )*

        #[test]
        fn what_cannot_be_planned_is_a_query_of_ours() {
            let all = [$($file),*];
            assert!(NOT_YET.iter().all(|file| all.contains(file)), "{NOT_YET:?}");
        }
    };
}

queries! {
    q0: "nexmark/q0.sql",
    q1: "nexmark/q1.sql",
    q2: "nexmark/q2.sql",
    q3: "nexmark/q3.sql",
    q4: "nexmark/q4.sql",
    q5: "nexmark/q5.sql",
    q6: "nexmark/q6.sql",
    q7: "nexmark/q7.sql",
    q8: "nexmark/q8.sql",
    q9: "nexmark/q9.sql",
    q10: "nexmark/q10.sql",
    q11: "nexmark/q11.sql",
    q12: "nexmark/q12.sql",
    q13: "nexmark/q13.sql",
    q14: "nexmark/q14.sql",
    q15: "nexmark/q15.sql",
    q16: "nexmark/q16.sql",
    q17: "nexmark/q17.sql",
    q18: "nexmark/q18.sql",
    q19: "nexmark/q19.sql",
    q20: "nexmark/q20.sql",
    q21: "nexmark/q21.sql",
    q22: "nexmark/q22.sql",
}
