//! The law as a procedure: rows of streams are cut at random into partitions and epochs, the executor
//! is restored now and then, and what the continuous query has given is compared with what DataFusion
//! says about the same rows.
//!
//! The batch query does not pass through our parser and planner, and names are in lower case there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream_connectors::decode::{Format, RecordAddress, RowDecoder};
use millstream_engine::definition::RelationDef;
use millstream_engine::executor::EpochOutput;
use millstream_tests::pipeline::{Event, Happening, Pipeline};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Rows and how often each is there.
pub(crate) type Multiset = BTreeMap<String, i64>;

/// When the two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// After every epoch: the query is a function of what has arrived.
    EveryEpoch,
    /// When all input has ended and every window is closed.
    AtTheEnd,
    /// The same, and until then nothing is given that is not in the end.
    Growing,
}

/// A continuous query, the batch query it must equal, and their input.
#[derive(Debug)]
pub(crate) struct Law<'a> {
    /// Our declarations.
    pub(crate) declarations: &'a str,
    /// Our query.
    pub(crate) query: &'a str,
    /// Statements for DataFusion before its query: views.
    pub(crate) views: &'a [String],
    /// DataFusion's query.
    pub(crate) batch: &'a str,
    /// The rows of each stream in the order of arrival, in its whole schema.
    pub(crate) streams: &'a [(&'a str, RecordBatch)],
    /// The rows of each table.
    pub(crate) tables: &'a [(&'a str, RecordBatch)],
    /// The most epochs to cut the input into.
    pub(crate) epochs_max: usize,
    /// When results are compared.
    pub(crate) compared: Compared,
}

impl Law<'_> {
    /// Holds the query to the law with chance from `seed`; returns how many rows the result has.
    ///
    /// # Errors
    ///
    /// The first difference, or why the query is not planned.
    pub(crate) fn check(&self, seed: u64) -> Result<usize, String> {
        let mut rng = StdRng::seed_from_u64(seed);
        let lanes = rng.random_range(1..=4);
        let mut pipeline = Pipeline::try_new(self.declarations, self.query, lanes)?;
        for (name, rows) in self.tables {
            pipeline.load(name, rows.clone());
        }
        let epochs = rng.random_range(1..=self.epochs_max);
        let mut feeds: Vec<Feed<'_>> = self
            .streams
            .iter()
            .map(|(name, rows)| Feed::new(name, rows, epochs, &mut rng))
            .collect();
        let mut sum = Multiset::new();
        let mut given_before = Vec::new();
        for epoch in 0..epochs {
            let events: Vec<Event> =
                feeds.iter_mut().flat_map(|feed| feed.events(epoch, epochs, &mut rng)).collect();
            add(pipeline.epoch(&events), &mut sum)?;
            let arrived: Vec<usize> = feeds.iter().map(|feed| feed.arrived).collect();
            match self.compared {
                Compared::EveryEpoch => {
                    let place = format!("after epoch {} of {epochs}", epoch + 1);
                    difference(&self.expected(&arrived), &sum, &place)?;
                }
                Compared::Growing => given_before.push(sum.clone()),
                Compared::AtTheEnd => {}
            }
            if rng.random_bool(0.15) {
                pipeline.restart();
            }
        }
        add(pipeline.end(), &mut sum)?;
        let all: Vec<usize> = self.streams.iter().map(|(_, rows)| rows.num_rows()).collect();
        let expected = self.expected(&all);
        difference(&expected, &sum, "at the end")?;
        for (epoch, given) in given_before.iter().enumerate() {
            let early = given.iter().find(|(row, n)| expected.get(*row) < Some(*n));
            if let Some((row, n)) = early {
                return Err(format!("after epoch {}: {n} x {row} is not in the end", epoch + 1));
            }
        }
        Ok(expected.len())
    }

    /// What DataFusion says about the first rows of each stream.
    fn expected(&self, arrived: &[usize]) -> Multiset {
        let prefixes =
            self.streams.iter().zip(arrived).map(|((name, rows), n)| (*name, rows.slice(0, *n)));
        let tables = self.tables.iter().map(|(name, rows)| (*name, rows.clone()));
        let relations: Vec<(&str, RecordBatch)> = prefixes.chain(tables).collect();
        batch(&relations, self.views, self.batch)
    }
}

/// A stream that arrives: its partitions, and what of it has come.
struct Feed<'a> {
    name: &'a str,
    rows: &'a RecordBatch,
    /// Where each epoch ends.
    cuts: Vec<usize>,
    partitions: usize,
    arrived: usize,
}

impl<'a> Feed<'a> {
    fn new(name: &'a str, rows: &'a RecordBatch, epochs: usize, rng: &mut StdRng) -> Self {
        let mut cuts: Vec<usize> =
            (1..epochs).map(|_| rng.random_range(0..=rows.num_rows())).collect();
        cuts.sort_unstable();
        cuts.push(rows.num_rows());
        Self { name, rows, cuts, partitions: rng.random_range(1..=3), arrived: 0 }
    }

    /// What happens to it in an epoch.
    fn events(&mut self, epoch: usize, epochs: usize, rng: &mut StdRng) -> Vec<Event> {
        let partition = |n: usize| format!("p{n}");
        let event = |n: usize, what| -> Event { (self.name.to_owned(), partition(n), what) };
        let mut events = Vec::new();
        if epoch == 0 {
            events.extend((0..self.partitions).map(|n| event(n, Happening::Discovered)));
        }
        let mut of: Vec<Vec<u32>> = vec![Vec::new(); self.partitions];
        for row in self.arrived..self.cuts[epoch] {
            of[rng.random_range(0..self.partitions)].push(u32::try_from(row).expect("few rows"));
        }
        for (n, rows) in of.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            // Now and then in two batches.
            let (first, second) = rows.split_at(rng.random_range(0..=rows.len()));
            for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                let rows = take_record_batch(self.rows, &UInt32Array::from(part.to_vec()));
                events.push(event(n, Happening::Rows(rows.expect("its rows are there"))));
            }
        }
        if epoch + 1 == epochs {
            events.extend((0..self.partitions).map(|n| event(n, Happening::Finished)));
        }
        self.arrived = self.cuts[epoch];
        events
    }
}

/// The seeds of a test: the first `count`, or what `MILLSTREAM_SEED` says, `7` or `1000..3000`.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    let Ok(said) = std::env::var("MILLSTREAM_SEED") else { return (0..count).collect() };
    let number = |text: &str| text.parse().expect("MILLSTREAM_SEED is a number or a range of two");
    match said.split_once("..") {
        Some((first, end)) => (number(first)..number(end)).collect(),
        None => vec![number(&said)],
    }
}

/// Rows of the stream `def`, decoded as they would be from its file.
pub(crate) fn decode(
    def: &RelationDef,
    format: &Format,
    lines: impl Iterator<Item = String>,
) -> RecordBatch {
    let all: Vec<usize> = (0..def.stream_schema().fields().len()).collect();
    let mut decoder = RowDecoder::new(def, &all, format).unwrap();
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

/// What DataFusion says is the result of `query`.
pub(crate) fn batch(relations: &[(&str, RecordBatch)], views: &[String], query: &str) -> Multiset {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // Decimal literals are exact, as ours are.
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        let context = SessionContext::new_with_config(config);
        for (name, rows) in relations {
            let rows = lower_case(rows);
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            context.register_table(name.to_lowercase(), Arc::new(table)).unwrap();
        }
        for view in views {
            context.sql(view).await.unwrap_or_else(|e| panic!("{e}: {view}"));
        }
        let result = context.sql(query).await.unwrap_or_else(|e| panic!("{e}: {query}"));
        let batches = result.collect().await.unwrap_or_else(|e| panic!("{e}: {query}"));
        let mut sum = Multiset::new();
        batches.iter().flat_map(texts).for_each(|text| *sum.entry(text).or_default() += 1);
        sum
    })
}

pub(crate) fn lower_case(rows: &RecordBatch) -> RecordBatch {
    let fields = rows.schema_ref().fields().iter();
    let fields = fields.map(|field| {
        field.as_ref().clone().with_name(field.name().to_lowercase()).with_nullable(true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, rows.columns().to_vec()).unwrap()
}

/// The rows of a batch as text, floats in one way of writing.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// Adds the changes of an epoch to what there is; rows that cancel are gone.
fn add(output: EpochOutput, sum: &mut Multiset) -> Result<(), String> {
    if let Some(bad) = output.bad.first() {
        return Err(format!("nothing should be late or bad: {bad:?}"));
    }
    for delta in output.sinks.into_iter().flat_map(|(_, deltas)| deltas) {
        for (row, text) in texts(&delta.batch).into_iter().enumerate() {
            *sum.entry(text).or_default() += delta.weights.as_ref().map_or(1, |w| w.value(row));
        }
    }
    sum.retain(|_, weight| *weight != 0);
    Ok(())
}

fn difference(expected: &Multiset, given: &Multiset, place: &str) -> Result<(), String> {
    let missing: Vec<_> = expected.iter().filter(|(row, n)| given.get(*row) != Some(n)).collect();
    let extra: Vec<_> = given.iter().filter(|(row, n)| expected.get(*row) != Some(n)).collect();
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    let first = |rows: &[(&String, &i64)]| format!("{:?}", rows.iter().take(4).collect::<Vec<_>>());
    let (few, many) = (first(&missing), first(&extra));
    Err(format!(
        "{place}: of {} rows {} missing: {few}\n{} too many: {many}",
        expected.len(),
        missing.len(),
        extra.len()
    ))
}
