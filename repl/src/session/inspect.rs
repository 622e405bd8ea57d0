//! Statements that show what there is: `EXPLAIN`, `DESCRIBE`, `SHOW`.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use millstream_engine::definition::RelationDef;
use millstream_engine::job::Progress;
use millstream_sql::plan;
use millstream_sql::statement::{Name, Query, SinkInput};
use millstream_sql::{Statement, StatementKind};

use super::Session;
use super::written::files_at;
use crate::failure::Failure;

/// A job the session has run.
#[derive(Debug, Clone)]
pub(super) struct JobRecord {
    /// The sinks it wrote to; none for a continuous query.
    pub(super) sinks: Vec<String>,
    /// The views it kept.
    views: Vec<String>,
    state: &'static str,
    rows_in: u64,
    rows_out: u64,
    rows_bad: u64,
    rows_late: u64,
}

impl JobRecord {
    /// A job that starts in the foreground. Nobody can look while it runs: one that has not ended was
    /// given up.
    pub(super) fn started(sinks: Vec<String>, views: Vec<String>) -> Self {
        let state = "given up";
        Self { sinks, views, state, rows_in: 0, rows_out: 0, rows_bad: 0, rows_late: 0 }
    }

    /// A job that starts behind the prompt.
    pub(super) fn running(sinks: Vec<String>, views: Vec<String>) -> Self {
        Self { state: "running", ..Self::started(sinks, views) }
    }

    /// Notes how the job went.
    pub(super) fn ended(&mut self, done: Result<&Progress, &Failure>) {
        match done {
            Ok(progress) => {
                self.state = "ended";
                self.count(progress);
            }
            Err(_) => self.state = "failed",
        }
    }

    fn count(&mut self, progress: &Progress) {
        self.rows_in = progress.rows_in;
        self.rows_out = progress.rows_out;
        self.rows_bad = progress.rows_bad;
        self.rows_late = progress.rows_late;
    }
}

impl Session {
    /// `EXPLAIN statement`.
    pub(super) async fn explain(&mut self, statement: &Statement) -> Result<(), Failure> {
        match &statement.kind {
            StatementKind::Query(query) => self.explain_query(query).await,
            StatementKind::CreateView { query, .. } => self.explain_continuous(query),
            StatementKind::CreatePump(pump) => self.explain_continuous(&pump.query),
            StatementKind::CreateSink { input: SinkInput::Query(query), .. } => {
                self.explain_continuous(query)
            }
            _ => Err(Failure::with_hint(
                "only queries, pumps, views and sinks with a query have a plan",
                "EXPLAIN SELECT STREAM … or EXPLAIN CREATE PUMP …; DESCRIBE shows columns",
            )),
        }
    }

    /// Shows the plan of a query: the dataflow of a continuous one, DataFusion's of a batch one.
    pub(super) async fn explain_query(&mut self, query: &Query) -> Result<(), Failure> {
        if query.stream {
            return self.explain_continuous(query);
        }
        let planned = self.plan_batch(query).await?;
        let optimized = planned.context.state().optimize(&planned.plan)?;
        self.console.say(&optimized.display_indent().to_string())
    }

    fn explain_continuous(&mut self, query: &Query) -> Result<(), Failure> {
        let planned = self.plan(&[], &[("", query)])?;
        self.say_plan(&planned)
    }

    /// Shows the dataflow of the application that `sinks` make.
    pub(super) fn explain_application(&mut self, sinks: &[String]) -> Result<(), Failure> {
        let planned = self.plan(sinks, &[])?;
        self.say_plan(&planned)
    }

    fn say_plan(&mut self, planned: &plan::Planned) -> Result<(), Failure> {
        self.console.say(&plan::explain(planned))?;
        if self.growth_is_allowed() {
            return Ok(());
        }
        for warning in &planned.warnings {
            self.console.note(&format!("warning: {warning}"));
        }
        Ok(())
    }

    /// `DESCRIBE name`: a relation, or files at a path.
    pub(super) async fn describe(&mut self, name: &Name) -> Result<(), Failure> {
        let schema: SchemaRef = match plan::describe(&self.catalog, &name.value) {
            Ok(schema) => schema,
            Err(error) => {
                let mut def = files_at(&name.value);
                let looks_like_a_path = name.value.contains(['/', '.']);
                match self.columns_of_files(&def).await {
                    Ok(columns) => def.columns = columns,
                    Err(no_files) if looks_like_a_path => return Err(no_files),
                    Err(_) => return Err(self.failure(&error.or_at(name.span))),
                }
                def.declared_schema()
            }
        };
        let row = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            vec![field.name().clone(), sql_type(field.data_type())]
        };
        let rows: Vec<Vec<String>> = schema.fields().iter().map(row).collect();
        self.console.list(&["COLUMN", "TYPE"], &rows)
    }

    /// `SHOW what`.
    pub(super) fn show(&mut self, what: &str) -> Result<(), Failure> {
        let catalog = &self.catalog;
        let of = |def: &RelationDef| vec![def.name.clone(), columns(def), options(def)];
        let (names, rows): (&[&str], Vec<Vec<String>>) = match what {
            "STREAMS" => {
                (&["STREAM", "COLUMNS", "OPTIONS"], catalog.streams.values().map(of).collect())
            }
            "TABLES" => {
                (&["TABLE", "COLUMNS", "OPTIONS"], catalog.tables.values().map(of).collect())
            }
            "VIEWS" => {
                let row = |name: &String| {
                    let state = match self.user_of("VIEW", name) {
                        Some(job) => format!("kept by job {job}"),
                        None => "computed when asked".to_owned(),
                    };
                    let described = plan::describe(catalog, name);
                    let names = described.iter().flat_map(|schema| schema.fields());
                    let names: Vec<&str> = names.map(|field| field.name().as_str()).collect();
                    vec![name.clone(), names.join(", "), state]
                };
                (&["VIEW", "COLUMNS", "STATE"], catalog.views.keys().map(row).collect())
            }
            "PUMPS" => {
                let row = |pump: &millstream_sql::statement::Pump| {
                    let state = if pump.started { "started" } else { "stopped" };
                    vec![pump.name.clone(), pump.target.value.clone(), state.to_owned()]
                };
                (&["PUMP", "INTO", "STATE"], catalog.pumps.values().map(row).collect())
            }
            "SINKS" => {
                let row = |(def, input): &(RelationDef, SinkInput)| {
                    let from = match input {
                        SinkInput::Relation(name) => name.value.clone(),
                        SinkInput::Query(_) => "(query)".to_owned(),
                    };
                    vec![def.name.clone(), from, options(def)]
                };
                (&["SINK", "FROM", "OPTIONS"], catalog.sinks.values().map(row).collect())
            }
            "JOBS" => (&JOB_COLUMNS, self.job_rows()),
            other => {
                return Err(Failure::with_hint(
                    format_args!("cannot show {other}"),
                    "SHOW STREAMS, PUMPS, SINKS, TABLES, VIEWS or JOBS",
                ));
            }
        };
        self.console.list(names, &rows)
    }

    fn job_rows(&self) -> Vec<Vec<String>> {
        let row = |(index, job): (usize, &JobRecord)| {
            let mut job = job.clone();
            if let Some(running) = self.background.iter().find(|other| other.number == index + 1) {
                job.count(&running.progress.borrow());
            }
            let is_query = job.sinks.is_empty() && job.views.is_empty();
            let what = if is_query { "(query)".into() } else { job.sinks.join(", ") };
            let counts = [job.rows_in, job.rows_out, job.rows_bad, job.rows_late];
            let number = (index + 1).to_string();
            let start = [number, what, job.views.join(", "), job.state.to_owned()];
            start.into_iter().chain(counts.iter().map(u64::to_string)).collect()
        };
        self.jobs.iter().enumerate().map(row).collect()
    }
}

const JOB_COLUMNS: [&str; 8] = ["JOB", "SINKS", "VIEWS", "STATE", "READ", "OUT", "BAD", "LATE"];

fn columns(def: &RelationDef) -> String {
    let names: Vec<&str> = def.columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}

fn options(def: &RelationDef) -> String {
    let options: Vec<String> =
        def.options.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
    options.join(", ")
}

/// The name a type has in a declaration.
fn sql_type(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "VARBINARY",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        other => return other.to_string(),
    };
    name.to_owned()
}
