//! The queries of Nexmark, each over a small set of events cut at random into epochs, partitions and
//! lanes, beside DataFusion's batch answer.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use millstream_connectors::decode::Format;
use millstream_connectors::generator::{Feed, FeedKind, FeedOptions};
use millstream_sql::statement::SinkInput;
use millstream_sql::{StatementKind, parse};
use millstream_tests::pipeline::Pipeline;

use crate::law::{Compared, Law, decode};

/// Queries that cannot be planned yet. May only shrink.
const NOT_YET: &[&str] = &[];

/// Events of a run.
const EVENTS: u64 = 2_000;

/// How many times each query is cut anew.
const SEEDS: u64 = 2;

/// Windows are closed by the watermark, so their results are compared when all has ended.
const WINDOWED: &[&str] =
    &["nexmark/q5.sql", "nexmark/q7.sql", "nexmark/q8.sql", "nexmark/q11.sql", "nexmark/q12.sql"];

/// Queries that DataFusion has another text for.
const BATCH: &[&str] = &[
    "nexmark/batch/q2.sql",
    "nexmark/batch/q4.sql",
    "nexmark/batch/q5.sql",
    "nexmark/batch/q6.sql",
    "nexmark/batch/q7.sql",
    "nexmark/batch/q8.sql",
    "nexmark/batch/q11.sql",
    "nexmark/batch/q12.sql",
    "nexmark/batch/q13.sql",
    "nexmark/batch/q17.sql",
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("queries").join(path)).unwrap()
}

/// What DataFusion is asked: the text in the folder `batch` where our text means nothing there.
fn batch_text(file: &str, query: &str) -> String {
    let name = file.trim_start_matches("nexmark/");
    match BATCH.iter().find(|text| text.ends_with(&format!("/{name}"))) {
        Some(text) => read(text).trim().trim_end_matches(';').to_owned(),
        None => query.replace("SELECT STREAM", "SELECT"),
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
        (name, decode(def, &Format::Json, lines.map(|event| event.json_line())))
    });
    decoded.collect()
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
    let compared = if WINDOWED.contains(&file) { Compared::Growing } else { Compared::EveryEpoch };
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
