//! Our side: files through the job that runs every application, into a sink that counts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use millstream_connectors::{Context, Until, open_source, open_table};
use millstream_engine::dataflow::{Dataflow, NodeKind};
use millstream_engine::fault::BadRow;
use millstream_engine::job::{Job, Progress, Read};
use millstream_engine::port::{Flush, Resume, Sink, SinkReport};
use millstream_engine::{Clock, Delta, Error, Result as EngineResult, SystemClock, Troubles};
use millstream_sql::plan::stream_query;
use millstream_sql::statement::SinkInput;
use millstream_sql::{StatementKind, parse};
use tokio::sync::{mpsc, watch};

use super::input::{BenchQuery, Input};
use super::table::{Measured, Meter};
use crate::commands::runtime;
use crate::failure::Failure;

/// A query ready to run.
pub(super) struct Planned {
    dataflow: Arc<Dataflow>,
    /// Events of the streams it reads.
    pub(super) events: u64,
}

/// Plans `query`, or says why it cannot run.
///
/// # Errors
///
/// The reason.
pub(super) fn plan(input: &Input, query: &BenchQuery) -> Result<Planned, String> {
    let statements = parse(query.text).map_err(|error| error.message)?;
    let parsed = match statements.first().map(|statement| &statement.kind) {
        Some(StatementKind::Query(query)) => query,
        Some(StatementKind::CreateSink { input: SinkInput::Query(query), .. }) => query,
        _ => return Err("it is not a query".to_owned()),
    };
    let dataflow = stream_query(&input.catalog, parsed).map_err(|error| error.message)?.dataflow;
    let read: BTreeSet<&str> = dataflow
        .iter()
        .filter_map(|(_, node)| match &node.kind {
            NodeKind::Source(source) => Some(source.stream.as_str()),
            _ => None,
        })
        .collect();
    let events = read.iter().filter_map(|stream| input.events.get(stream)).sum();
    Ok(Planned { dataflow: Arc::new(dataflow), events })
}

/// Runs it once, from opening the files to the last row.
///
/// # Errors
///
/// When it fails.
pub(super) fn run(planned: &Planned, input: &Input, lanes: usize) -> Result<Measured, Failure> {
    let runtime = runtime()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let base = std::env::current_dir()?;
    let context = Context {
        clock: Arc::clone(&clock),
        until: Until::Ended,
        seed: 1,
        base,
        decoders: lanes,
        troubles: Troubles::default(),
    };
    let rows = Arc::new(AtomicI64::new(0));
    let epochs = Mutex::new((Duration::ZERO, Vec::new()));
    let meter = Meter::start(&*clock);
    let work = async {
        // Nobody asks what a view shows.
        let (_reader, reads) = mpsc::channel(1);
        let mut job = open(planned, input, &context, &rows, reads).await?;
        job.lanes = lanes;
        let (_stop, stopped) = watch::channel(false);
        let observe = |progress: &Progress| {
            let mut epochs = epochs.lock().unwrap_or_else(PoisonError::into_inner);
            let took = progress.elapsed.saturating_sub(epochs.0);
            epochs.0 = progress.elapsed;
            epochs.1.push(took);
        };
        job.run(stopped, observe).await
    };
    let progress = runtime.block_on(Box::pin(work))?;
    if progress.rows_bad + progress.rows_late > 0 {
        let (bad, late) = (progress.rows_bad, progress.rows_late);
        return Err(Failure::new(format!("{bad} bad rows and {late} late ones")));
    }
    let (_, epochs) = epochs.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(meter.stop(&*clock, rows.load(Ordering::Relaxed), epochs))
}

async fn open(
    planned: &Planned,
    input: &Input,
    context: &Context,
    rows: &Arc<AtomicI64>,
    reads: mpsc::Receiver<Read>,
) -> EngineResult<Job> {
    let (mut sources, mut tables, mut sinks) = (Vec::new(), Vec::new(), Vec::new());
    let begin = Resume::default();
    for (id, node) in planned.dataflow.iter() {
        match &node.kind {
            NodeKind::Source(source) => {
                let def = input.catalog.streams.get(&source.stream);
                let def = def.ok_or_else(|| Error::bug("a stream that is not declared"))?;
                let opened = Box::pin(open_source(def, &source.projection, &begin, context));
                sources.push((id, opened.await?));
            }
            NodeKind::Table(table) => {
                let def = input.catalog.tables.get(&table.table);
                let def = def.ok_or_else(|| Error::bug("a table that is not declared"))?;
                let opened = Box::pin(open_table(def, &table.projection, context));
                tables.push((id, opened.await?));
            }
            NodeKind::Sink(_) => {
                sinks.push((id, Box::new(Counter(Arc::clone(rows))) as Box<dyn Sink>));
            }
            NodeKind::Operator(_) | NodeKind::ErrorStream | NodeKind::View(_) => {}
        }
    }
    let (dataflow, clock) = (Arc::clone(&planned.dataflow), Arc::clone(&context.clock));
    // As fast as it goes: what the state may hold is not limited, and it is not kept.
    let (memory, durability) = (None, None);
    let troubles = context.troubles.clone();
    Ok(Job {
        dataflow,
        sources,
        tables,
        sinks,
        clock,
        lanes: 1,
        reads,
        memory,
        durability,
        troubles,
    })
}

/// Counts the rows of a result that is dropped: each as often as its weight says.
#[derive(Debug)]
struct Counter(Arc<AtomicI64>);

#[async_trait]
impl Sink for Counter {
    async fn write(&mut self, _: u64, rows: Vec<Delta>) -> EngineResult<Vec<BadRow>> {
        let rows = rows.iter().map(|delta| match &delta.weights {
            Some(weights) => weights.values().iter().sum::<i64>(),
            None => i64::try_from(delta.num_rows()).unwrap_or(i64::MAX),
        });
        self.0.fetch_add(rows.sum(), Ordering::Relaxed);
        Ok(Vec::new())
    }

    async fn flush(&mut self, _: Flush) -> EngineResult<()> {
        Ok(())
    }

    fn report(&self) -> SinkReport {
        SinkReport::default()
    }
}
