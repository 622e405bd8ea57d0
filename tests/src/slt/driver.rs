//! Carries out a script's records on the real parser, planner and executor: no files, no clock, no
//! threads but the executor's own. What happens depends on the script alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream_engine::Delta;
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::definition::RelationDef;
use millstream_engine::executor::{EpochInput, EpochOutput, Executor};
use millstream_engine::port::{PartitionId, Position, SourceBatch, SourceEvent};
use millstream_sql::plan::{self, Planned};
use millstream_sql::{Catalog, SqlError, StatementKind, parse, statement::Query};
use sqllogictest::{DBOutput, DefaultColumnType};

use super::rows;
use super::script::{FIRST_PARTITION, Mentions, fold, partition};

/// Why a record did not succeed: what a terminal would show.
#[derive(Debug)]
pub(super) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<millstream_engine::Error> for Failure {
    fn from(error: millstream_engine::Error) -> Self {
        Self(format!("{error}{}", error.hint().map(|h| format!(" ({h})")).unwrap_or_default()))
    }
}

impl From<datafusion::error::DataFusionError> for Failure {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self(error.to_string())
    }
}

impl Failure {
    fn sql(error: &SqlError, text: &str) -> Self {
        Self(error.render("slt", text))
    }
}

/// Something that happens to a stream in the next epoch.
#[derive(Debug, Clone)]
enum Happening {
    Rows(String, RecordBatch),
    Bound(String, i64),
    Idle(String),
    End,
}

/// A planned dataflow at work.
#[derive(Debug)]
struct Run {
    dataflow: Arc<Dataflow>,
    executor: Executor,
    /// The name its sink nodes' rows are kept under: a query's own, else the sink's.
    name: Option<String>,
}

/// A session that a script drives.
#[derive(Debug)]
pub(super) struct Driver {
    lanes: usize,
    /// What the script speaks of now, and after each restart still to come.
    mentions: VecDeque<Mentions>,
    catalog: Catalog,
    queries: BTreeMap<String, (Query, String)>,
    runs: Vec<Run>,
    started: bool,
    happenings: Vec<(String, Happening)>,
    loads: BTreeMap<String, RecordBatch>,
    loaded: Vec<String>,
    fed: BTreeMap<String, Vec<RecordBatch>>,
    emitted: BTreeMap<String, Vec<String>>,
    position: u64,
    now_ms: i64,
}

impl sqllogictest::DB for Driver {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, text: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let words: Vec<&str> = first.split_whitespace().collect();
        let lines: Vec<&str> = rest.lines().collect();
        match words.as_slice() {
            ["stream", name] => self.declare_query(fold(name), rest)?,
            ["load", table] => self.load(&fold(table), &lines)?,
            ["feed", stream, ..] => {
                let def = self.stream(stream)?;
                let batch = rows::stream_rows(&def, &lines)?;
                self.happen(stream, Happening::Rows(partition(&words).to_owned(), batch))?;
            }
            ["bound" | "watermark", stream, time, ..] => {
                let bound = rows::parse_time(time)?;
                self.happen(stream, Happening::Bound(partition(&words).to_owned(), bound))?;
            }
            ["idle", stream, ..] => {
                self.happen(stream, Happening::Idle(partition(&words).to_owned()))?;
            }
            ["clock", time] => self.now_ms = self.now_ms.max(rows::parse_time(time)?),
            ["end", stream] => self.happen(stream, Happening::End)?,
            ["epoch"] => self.epoch()?,
            ["emitted", name] => return self.take_emitted(&fold(name)),
            ["restart"] => self.restart(),
            _ => return self.sql(text),
        }
        Ok(DBOutput::StatementComplete(0))
    }
}

impl Driver {
    pub(super) fn new(mentions: Vec<Mentions>, lanes: usize) -> Self {
        Self {
            lanes,
            mentions: mentions.into(),
            catalog: Catalog::default(),
            queries: BTreeMap::new(),
            runs: Vec::new(),
            started: false,
            happenings: Vec::new(),
            loads: BTreeMap::new(),
            loaded: Vec::new(),
            fed: BTreeMap::new(),
            emitted: BTreeMap::new(),
            position: 0,
            now_ms: 0,
        }
    }

    fn restart(&mut self) {
        self.mentions.pop_front();
        self.runs.clear();
        self.started = false;
        self.happenings.clear();
        self.loaded.clear();
        self.fed.clear();
        self.emitted.clear();
        self.now_ms = 0;
    }

    fn stream(&self, name: &str) -> Result<RelationDef, Failure> {
        let found = self.catalog.streams.get(&fold(name)).cloned();
        found.ok_or_else(|| Failure(format!("no stream {name} to feed")))
    }

    fn happen(&mut self, stream: &str, happening: Happening) -> Result<(), Failure> {
        self.stream(stream)?;
        self.happenings.push((fold(stream), happening));
        Ok(())
    }

    fn load(&mut self, table: &str, lines: &[&str]) -> Result<(), Failure> {
        let def = self.catalog.tables.get(table);
        let def = def.ok_or_else(|| Failure(format!("no table {table} to load")))?;
        let batch = rows::table_rows(def, lines)?;
        self.loads.insert(table.to_owned(), batch);
        self.loaded.retain(|loaded| loaded != table);
        Ok(())
    }

    // --- SQL ---------------------------------------------------------------------------------------

    /// Carries out ordinary SQL: declarations change the catalog, a batch query gives its rows, a
    /// continuous one is only planned (`stream` starts one).
    fn sql(&mut self, text: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let statements = parse(text).map_err(|error| Failure::sql(&error, text))?;
        let mut output = DBOutput::StatementComplete(0);
        self.catalog.now_ms = self.now_ms;
        for statement in &statements {
            let failed = |error: SqlError| Failure::sql(&error, text);
            if self.catalog.apply(statement).map_err(failed)? {
                continue;
            }
            match &statement.kind {
                StatementKind::Query(query) if query.stream => {
                    plan::stream_query(&self.catalog, query).map_err(failed)?;
                }
                StatementKind::Query(query) => output = self.batch(query, text)?,
                StatementKind::Explain { statement, .. } => {
                    let planned = self.plan_of(&statement.kind).map_err(failed)?;
                    output = lines_of(plan::explain(&planned).lines().map(str::to_owned));
                }
                StatementKind::Describe(name) => {
                    let schema = plan::describe(&self.catalog, &name.value).map_err(failed)?;
                    let fields = schema.fields().iter();
                    output = lines_of(fields.map(|f| format!("{} {}", f.name(), f.data_type())));
                }
                _ => return Err(Failure(format!("a script cannot run: {}", statement.text))),
            }
        }
        if matches!(statements.last().map(|s| &s.kind), Some(StatementKind::CreateSink { .. })) {
            // A sink's query is checked where it is declared, as a session does.
            plan::application(&self.catalog).map_err(|error| Failure::sql(&error, text))?;
        }
        Ok(output)
    }

    fn plan_of(&self, kind: &StatementKind) -> Result<Planned, SqlError> {
        match kind {
            StatementKind::Query(query) => plan::stream_query(&self.catalog, query),
            _ => plan::application(&self.catalog),
        }
    }

    /// A query over all that was fed and loaded so far.
    fn batch(&self, query: &Query, text: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let failed = |error: SqlError| Failure::sql(&error, text);
        let mut relations: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
        for name in plan::batch_inputs(&self.catalog, query, &BTreeSet::new()).map_err(failed)? {
            let (schema, batches) = match self.catalog.streams.get(&name) {
                Some(def) => (def.stream_schema(), self.fed.get(&name).cloned()),
                None => {
                    let def = &self.catalog.tables[&name];
                    let loaded = self.loads.get(&name).cloned();
                    (def.declared_schema(), loaded.map(|batch| vec![batch]))
                }
            };
            let table = MemTable::try_new(schema, vec![batches.unwrap_or_default()])?;
            relations.insert(name, provider_as_source(Arc::new(table)));
        }
        let plan = plan::batch_query(&self.catalog, query, &relations).map_err(failed)?;
        let types = plan.schema().fields().iter().map(|f| column_type(f.data_type())).collect();
        let batches = collect(plan)?;
        let deltas: Vec<Delta> = batches.into_iter().map(Delta::append).collect();
        let rows = rows::values(&deltas)?;
        Ok(DBOutput::Rows { types, rows })
    }

    fn declare_query(&mut self, name: String, text: &str) -> Result<(), Failure> {
        if self.started {
            return Err(Failure("declare queries before the first epoch, or restart".into()));
        }
        let statements = parse(text).map_err(|error| Failure::sql(&error, text))?;
        match statements.as_slice() {
            [statement] => match &statement.kind {
                StatementKind::Query(query) if query.stream => {
                    self.queries.insert(name, (query.clone(), text.to_owned()));
                    Ok(())
                }
                _ => Err(Failure("stream takes a SELECT STREAM".into())),
            },
            _ => Err(Failure("stream takes one statement".into())),
        }
    }

    // --- epochs ------------------------------------------------------------------------------------

    /// Plans the sinks, the named queries and what else is watched, and starts them together.
    fn start(&mut self) -> Result<(), Failure> {
        self.started = true;
        self.catalog.now_ms = self.now_ms;
        let mentions = self.mentions.front().cloned().unwrap_or_default();
        if !self.catalog.sinks.is_empty() {
            let planned = plan::application(&self.catalog).map_err(|e| Failure::sql(&e, ""))?;
            self.begin(planned, None, &mentions)?;
        }
        for (name, (query, text)) in self.queries.clone() {
            let planned = plan::stream_query(&self.catalog, &query);
            let planned = planned.map_err(|error| Failure::sql(&error, &text))?;
            self.begin(planned, Some(name), &mentions)?;
        }
        for name in mentions.outputs.clone() {
            if self.queries.contains_key(&name) || self.catalog.sinks.contains_key(&name) {
                continue;
            }
            let is_view = self.catalog.views.contains_key(&name);
            let columns = if is_view { "*" } else { "ROWTIME, *" };
            let text = format!("SELECT STREAM {columns} FROM \"{name}\"");
            let statements = parse(&text).map_err(|error| Failure::sql(&error, &text))?;
            let StatementKind::Query(query) = &statements[0].kind else {
                return Err(Failure(format!("not a query: {text}")));
            };
            let planned = plan::stream_query(&self.catalog, query);
            let planned = planned.map_err(|error| Failure::sql(&error, &text))?;
            self.begin(planned, Some(name), &mentions)?;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        planned: Planned,
        name: Option<String>,
        mentions: &Mentions,
    ) -> Result<(), Failure> {
        let dataflow = Arc::new(planned.dataflow);
        let mut executor = Executor::new(Arc::clone(&dataflow), self.lanes)?;
        let mut events = Vec::new();
        for (id, node) in dataflow.iter() {
            let NodeKind::Source(source) = &node.kind else { continue };
            let named = mentions.partitions.get(&source.stream).cloned().unwrap_or_default();
            let first = named.is_empty().then(|| FIRST_PARTITION.to_owned());
            events.extend(named.into_iter().chain(first).map(|partition| {
                let partition = PartitionId::from(partition.as_str());
                (id, SourceEvent::Discovered { partition, parents: Vec::new() })
            }));
        }
        // What a query spells out comes before anything else.
        let output = executor.step(0, EpochInput { events, ..EpochInput::default() })?;
        let run = Run { dataflow, executor, name };
        run.keep(output, &mut self.emitted)?;
        self.runs.push(run);
        Ok(())
    }

    fn epoch(&mut self) -> Result<(), Failure> {
        if !self.started {
            self.start()?;
        }
        let happenings = std::mem::take(&mut self.happenings);
        for (stream, happening) in &happenings {
            self.note(stream, happening);
        }
        let loads: BTreeMap<String, RecordBatch> =
            self.loads.iter().filter(|(t, _)| !self.loaded.contains(t)).map(clone_pair).collect();
        self.loaded.extend(loads.keys().cloned());
        let (now_ms, position) = (self.now_ms, self.position);
        for run in &mut self.runs {
            let input = run.input(&happenings, &loads, position)?;
            let output = run.executor.step(now_ms, input)?;
            run.keep(output, &mut self.emitted)?;
        }
        Ok(())
    }

    /// Remembers what was fed for batch queries, and moves the clock to the latest time seen.
    fn note(&mut self, stream: &str, happening: &Happening) {
        self.position += 1;
        match happening {
            Happening::Rows(_, batch) => {
                self.now_ms = self.now_ms.max(rows::latest(batch));
                self.fed.entry(stream.to_owned()).or_default().push(batch.clone());
            }
            Happening::Bound(_, bound) => self.now_ms = self.now_ms.max(*bound),
            Happening::Idle(_) | Happening::End => {}
        }
    }

    fn take_emitted(&mut self, name: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        if !self.started || !self.happenings.is_empty() {
            return Err(Failure("rows were fed, but no epoch took them".into()));
        }
        Ok(lines_of(self.emitted.remove(name).unwrap_or_default().into_iter()))
    }
}

impl Run {
    /// Adds what came out to what was emitted.
    fn keep(
        &self,
        output: EpochOutput,
        emitted: &mut BTreeMap<String, Vec<String>>,
    ) -> Result<(), Failure> {
        for (id, deltas) in output.sinks {
            let NodeKind::Sink(sink) = &self.dataflow.node(id).kind else { continue };
            let name = self.name.as_ref().unwrap_or(sink).clone();
            emitted.entry(name).or_default().extend(rows::show(&deltas)?);
        }
        Ok(())
    }

    /// What of the happenings concerns this dataflow.
    fn input(
        &self,
        happenings: &[(String, Happening)],
        loads: &BTreeMap<String, RecordBatch>,
        position: u64,
    ) -> Result<EpochInput, Failure> {
        let mut input = EpochInput::default();
        for (id, node) in self.dataflow.iter() {
            match &node.kind {
                NodeKind::Source(source) => {
                    let of_it = happenings.iter().filter(|(stream, _)| *stream == source.stream);
                    for (_, happening) in of_it {
                        take_in(&mut input, id, happening, &source.projection, position)?;
                    }
                }
                NodeKind::Table(table) => {
                    if let Some(batch) = loads.get(&table.table) {
                        let batch = batch.project(&table.projection);
                        let batch = batch.map_err(millstream_engine::Error::from)?;
                        input.tables.push((id, vec![batch]));
                    }
                }
                _ => {}
            }
        }
        Ok(input)
    }
}

fn take_in(
    input: &mut EpochInput,
    id: NodeId,
    happening: &Happening,
    projection: &[usize],
    position: u64,
) -> Result<(), Failure> {
    let named = |partition: &String| PartitionId::from(partition.as_str());
    let event = match happening {
        Happening::Rows(partition, batch) => SourceEvent::Rows(SourceBatch {
            partition: named(partition),
            rows: batch.project(projection).map_err(millstream_engine::Error::from)?,
            bad: Vec::new(),
            position: Position(position.to_string()),
        }),
        Happening::Bound(partition, bound) => {
            SourceEvent::Bound { partition: named(partition), rowtime_ms: *bound }
        }
        Happening::Idle(partition) => SourceEvent::Idle { partition: named(partition) },
        Happening::End => {
            input.ended.push(id);
            return Ok(());
        }
    };
    input.events.push((id, event));
    Ok(())
}

fn clone_pair((name, batch): (&String, &RecordBatch)) -> (String, RecordBatch) {
    (name.clone(), batch.clone())
}

fn lines_of(lines: impl Iterator<Item = String>) -> DBOutput<DefaultColumnType> {
    let rows = lines.map(|line| vec![line]).collect();
    DBOutput::Rows { types: vec![DefaultColumnType::Text], rows }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => DefaultColumnType::Text,
        _ => DefaultColumnType::Any,
    }
}

/// Runs a batch plan to its end.
fn collect(plan: LogicalPlan) -> Result<Vec<RecordBatch>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Failure(error.to_string()))?;
    let batches = runtime.block_on(async {
        let config = SessionConfig::from(plan::batch_config());
        SessionContext::new_with_config(config).execute_logical_plan(plan).await?.collect().await
    })?;
    Ok(match batches.first().map(RecordBatch::schema) {
        Some(schema) => {
            vec![concat_batches(&schema, &batches).map_err(millstream_engine::Error::from)?]
        }
        None => Vec::new(),
    })
}
