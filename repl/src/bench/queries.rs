//! Queries over decoded events: the engine in epochs, beside DataFusion's batch run of the same SQL
//! over the same batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use datafusion::catalog::MemTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::executor::{EpochInput, Executor};
use millstream_engine::port::{Position, SourceBatch, SourceEvent};
use millstream_sql::plan::{batch_config, batch_functions, batch_query, stream_query};
use millstream_sql::statement::Query;
use millstream_sql::{Catalog, StatementKind, parse};

use super::events::{COMPANIES, DECLARATION, Events, definition};
use super::measure::{self, Comparison};
use crate::cli::BenchArgs;
use crate::failure::Failure;

/// A query and its name in the table.
#[derive(Debug)]
pub(super) struct BenchQuery {
    name: &'static str,
    sql: &'static str,
}

/// What is measured over decoded input.
pub(super) const QUERIES: &[BenchQuery] = &[
    BenchQuery {
        name: "filter and project (DataFusion batch)",
        sql: "SELECT STREAM company_id, duration_ms * 2 AS twice FROM events WHERE bytes > 500000",
    },
    BenchQuery {
        name: "tumbling count and sum (DataFusion batch)",
        sql: "SELECT STREAM company_id, COUNT(*) AS jobs, SUM(bytes) AS bytes FROM events \
              GROUP BY company_id, STEP(events.ROWTIME BY INTERVAL '1' MINUTE)",
    },
    BenchQuery {
        name: "join of two streams (DataFusion batch)",
        sql: "SELECT STREAM e.company_id, c.industry, e.bytes FROM events AS e \
              JOIN companies AS c ON e.company_id = c.company_id",
    },
];

/// Measures `query`.
///
/// # Errors
///
/// When either side fails, or they do not give as many rows.
pub(super) fn compare(
    query: &BenchQuery,
    events: &Events,
    args: &BenchArgs,
) -> Result<Comparison, Failure> {
    let bench = Bench::new(query, events, args)?;
    let (ours, theirs) = (bench.stream()?, bench.batch()?);
    if ours != theirs {
        return Err(Failure::new(format!("{}: {ours} rows, batch {theirs}", query.name)));
    }
    measure::compare(
        query.name,
        args.events,
        args.runs,
        || bench.stream().map(drop),
        || bench.batch().map(drop),
    )
}

struct Bench {
    catalog: Catalog,
    query: Query,
    dataflow: Arc<Dataflow>,
    /// The decoded input of each source node.
    inputs: Vec<(NodeId, Vec<RecordBatch>)>,
    /// The same rows for DataFusion, by relation.
    tables: HashMap<String, Arc<dyn TableSource>>,
    lanes: usize,
    epoch_batches: usize,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(query: &BenchQuery, events: &Events, args: &BenchArgs) -> Result<Self, Failure> {
        let sql = |error: millstream_sql::SqlError| Failure::new(error.to_string());
        let mut catalog = Catalog::default();
        for statement in parse(DECLARATION).map_err(sql)? {
            catalog.apply(&statement).map_err(sql)?;
        }
        let parsed = parse(query.sql).map_err(sql)?.into_iter().next();
        let Some(StatementKind::Query(query)) = parsed.map(|statement| statement.kind) else {
            return Err(Failure::new(format!("not a query: {}", query.sql)));
        };
        let dataflow = Arc::new(stream_query(&catalog, &query).map_err(sql)?.dataflow);
        let mut inputs = Vec::new();
        for (id, node) in dataflow.iter() {
            if let NodeKind::Source(source) = &node.kind {
                let batches = match source.stream.as_str() {
                    "EVENTS" => events.decode(&definition("EVENTS")?, &source.projection)?,
                    _ => vec![companies()?.project(&source.projection).map_err(engine)?],
                };
                inputs.push((id, batches));
            }
        }
        let tables = tables(events)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(args.parallelism)
            .build()
            .map_err(|error| Failure::new(error.to_string()))?;
        let (lanes, epoch_batches) = (args.parallelism, args.epoch_batches.max(1));
        Ok(Self { catalog, query, dataflow, inputs, tables, lanes, epoch_batches, runtime })
    }

    /// Runs the engine over the input, in epochs; returns the rows it gave.
    fn stream(&self) -> Result<usize, Failure> {
        let mut executor = Executor::new(Arc::clone(&self.dataflow), self.lanes)?;
        let mut rows = 0;
        let epochs = self.inputs.iter().map(|(_, batches)| batches.len()).max().unwrap_or(0);
        for first in (0..epochs).step_by(self.epoch_batches) {
            let mut input = EpochInput::default();
            for (node, batches) in &self.inputs {
                let epoch = batches.iter().skip(first).take(self.epoch_batches);
                input.events.extend(epoch.map(|batch| (*node, event(batch.clone()))));
            }
            rows += step(&mut executor, input)?;
        }
        let ended = self.inputs.iter().map(|(node, _)| *node).collect();
        rows += step(&mut executor, EpochInput { ended, ..EpochInput::default() })?;
        Ok(rows)
    }

    /// Runs DataFusion over the input; returns the rows it gave.
    fn batch(&self) -> Result<usize, Failure> {
        let config = SessionConfig::from(batch_config()).with_target_partitions(self.lanes);
        let context = SessionContext::new_with_config(config);
        batch_functions()
            .iter()
            .for_each(|function| context.register_udf(function.as_ref().clone()));
        let plan = batch_query(&self.catalog, &self.query, &self.tables)
            .map_err(|error| Failure::new(error.to_string()))?;
        let collected = self
            .runtime
            .block_on(async { context.execute_logical_plan(plan).await?.collect().await });
        let batches = collected.map_err(millstream_engine::Error::from)?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }
}

fn step(executor: &mut Executor, input: EpochInput) -> Result<usize, Failure> {
    let output = executor.step(0, input)?;
    Ok(output.sinks.iter().flat_map(|(_, rows)| rows).map(millstream_engine::Delta::num_rows).sum())
}

fn event(rows: RecordBatch) -> SourceEvent {
    SourceEvent::Rows(SourceBatch {
        partition: "events".into(),
        rows,
        bad: Vec::new(),
        position: Position(String::new()),
    })
}

fn tables(events: &Events) -> Result<HashMap<String, Arc<dyn TableSource>>, Failure> {
    let def = definition("EVENTS")?;
    let schema = def.stream_schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let events = MemTable::try_new(schema, vec![events.decode(&def, &all)?]).map_err(data)?;
    let companies = companies()?;
    let companies = MemTable::try_new(companies.schema(), vec![vec![companies]]).map_err(data)?;
    let mut tables: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    tables.insert("EVENTS".to_owned(), provider_as_source(Arc::new(events)));
    tables.insert("COMPANIES".to_owned(), provider_as_source(Arc::new(companies)));
    Ok(tables)
}

/// One row per company.
fn companies() -> Result<RecordBatch, Failure> {
    let schema = definition("COMPANIES")?.stream_schema();
    let rows = usize::try_from(COMPANIES).unwrap_or(0);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new((0..rows).map(|i| Some(format!("comp_{i}"))).collect::<StringArray>()),
        Arc::new((0..rows).map(|i| Some(format!("industry_{}", i % 7))).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from(vec![0; rows])),
    ];
    for field in schema.fields().iter().skip(columns.len()) {
        columns.push(arrow::array::new_null_array(field.data_type(), rows));
    }
    RecordBatch::try_new(schema, columns).map_err(engine)
}

fn engine(error: arrow::error::ArrowError) -> Failure {
    millstream_engine::Error::from(error).into()
}

fn data(error: datafusion::error::DataFusionError) -> Failure {
    millstream_engine::Error::from(error).into()
}
