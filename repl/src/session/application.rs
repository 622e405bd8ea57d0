//! Runs sinks, views and continuous queries as one job.
//!
//! The job's sources are opened once per source node of the dataflow, so what several sinks, views and
//! queries read is read and decoded once. A job runs in the foreground, where its queries' rows are
//! shown as they come, or behind the prompt ([`super::background`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_connectors::{Context, Until, open_sink, open_source, open_table};
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::definition::{RelationDef, Rowtime};
use millstream_engine::job::{Durability, Job, Progress, Read};
use millstream_engine::port::{Sink, Source, Table};
use millstream_engine::task::OwnedTask;
use millstream_engine::{Error, Troubles};
use millstream_sql::catalog::UNBOUNDED_STATE;
use millstream_sql::plan::{self, Planned, QUERY_SINK, SHOWN_MODE};
use millstream_sql::statement::{Query, SinkInput};
use tokio::sync::mpsc;

use super::durable::resume;
use super::inspect::JobRecord;
use super::shown::{Arriving, ShownQueries};
use super::{Manner, Session};
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::metrics::MetricsServer;
use crate::progress::{REFRESH, StatusLine, TROUBLES_EVERY, TroubleLog, set_aside, summary};

/// Readers of views that may wait for the epoch to end.
const READS_QUEUE: usize = 8;

/// A job about to run, where its queries' rows arrive, and where its views can be read.
pub(super) struct Running {
    pub(super) job: Job,
    pub(super) reads: mpsc::Sender<Read>,
    queries: ShownQueries,
    arriving: Arriving,
}

/// A continuous query and the text it is shown under.
pub(super) type Continuous<'a> = (&'a str, &'a Query);

impl Session {
    /// Runs `sinks` and the continuous `queries` as one job and reports on it.
    pub(super) async fn run_application(
        &mut self,
        sinks: &[String],
        queries: &[Continuous<'_>],
        stop: &Stop,
    ) -> Result<(), Failure> {
        let planned = self.plan(sinks, queries)?;
        let Some(progress) = self.run_planned(&planned, (sinks, queries), stop).await? else {
            return Ok(());
        };
        let report = if sinks.is_empty() {
            set_aside(&progress)
        } else {
            summary(&progress, &planned.dataflow)
        };
        if !report.is_empty() {
            self.console.note(&report);
        }
        Ok(())
    }

    /// Serves the metrics of the job that runs next, if they are wanted: as long as the answer lives.
    async fn serve(&mut self, dataflow: &Dataflow) -> Result<Option<MetricsServer>, Failure> {
        let Some(address) = self.metrics else { return Ok(None) };
        let dataflow = Arc::new(dataflow.clone());
        let server = MetricsServer::start(address, dataflow, self.progress.subscribe()).await?;
        self.console.note(&format!("metrics: http://{}/metrics", server.address));
        Ok(Some(server))
    }

    /// Runs `sinks` and continuous `queries` as one job, and shows its dataflow with what each operator
    /// did and each sink wrote.
    pub(super) async fn analyze(
        &mut self,
        sinks: &[String],
        queries: &[Continuous<'_>],
        stop: &Stop,
    ) -> Result<(), Failure> {
        let planned = self.plan(sinks, queries)?;
        let done = self.run_planned(&planned, (sinks, queries), stop).await?;
        self.console.say(&plan::explain_analyzed(&planned, &done.unwrap_or_default()))
    }

    /// Runs what is planned to its end; nothing if the user wants to stop before it runs.
    async fn run_planned(
        &mut self,
        planned: &Planned,
        (sinks, queries): (&[String], &[Continuous<'_>]),
        stop: &Stop,
    ) -> Result<Option<Progress>, Failure> {
        self.warn_of_growth(planned)?;
        self.note_unfed(planned);
        let _served = self.serve(&planned.dataflow).await?;
        let running = stop_or(stop, self.open(planned, queries)).await?;
        let Some(running) = running else { return Ok(None) };
        self.jobs.push(JobRecord::started(sinks.to_vec(), Vec::new()));
        let done = self.drive(running, stop).await;
        if let Some(record) = self.jobs.last_mut() {
            record.ended(done.as_ref());
        }
        done.map(Some)
    }

    /// Plans the job. A lone query is planned as itself; several become sinks of one application.
    pub(super) fn plan(
        &self,
        sinks: &[String],
        queries: &[Continuous<'_>],
    ) -> Result<Planned, Failure> {
        self.plan_with_views(sinks, queries, &BTreeSet::new())
    }

    /// Plans the job, which also keeps the rows of `views` to be read.
    pub(super) fn plan_with_views(
        &self,
        sinks: &[String],
        queries: &[Continuous<'_>],
        views: &BTreeSet<String>,
    ) -> Result<Planned, Failure> {
        let planned = if let ([], [(_, query)]) = (sinks, queries) {
            plan::stream_query(&self.catalog, query)
        } else {
            let mut catalog = self.catalog.clone();
            catalog.sinks.retain(|name, _| sinks.contains(name));
            for (index, (_, query)) in queries.iter().enumerate() {
                let def = query_sink(index);
                let input = SinkInput::Query((*query).clone());
                catalog.sinks.insert(def.name.clone(), (def, input));
            }
            plan::application_with_views(&catalog, views)
        };
        planned.map_err(|error| self.failure(&error))
    }

    /// Refuses state that grows for ever, unless it was allowed, ends with the input, or a person is
    /// there to see the warning.
    pub(super) fn warn_of_growth(&mut self, planned: &Planned) -> Result<(), Failure> {
        if self.growth_is_allowed() {
            return Ok(());
        }
        let growing = planned.dataflow.unbounded_state();
        let tolerated = self.settings.manner == Manner::Interactive
            || self.settings.context.until == Until::CaughtUp
            || self.is_bounded(&planned.dataflow);
        // So many rows of every key are what ROWS n PRECEDING asks for.
        let for_ever = |(id, _): &&(NodeId, _)| !planned.dataflow.grows_with_keys(*id);
        if let Some((id, explanation)) = growing.iter().find(for_ever)
            && !tolerated
        {
            let owner = planned.dataflow.node(*id).owner.as_ref();
            let owner = if owner.is_empty() { "the query" } else { owner };
            let kept = &explanation.keeps;
            return Err(Failure::with_hint(
                format_args!("{owner} would keep {kept} for ever, and its input never ends"),
                "bound it by a window on ROWTIME, or accept it: SET unbounded_state = 'allow'",
            ));
        }
        for warning in &planned.warnings {
            self.console.note(&format!("warning: {warning}"));
        }
        Ok(())
    }

    /// Says which streams have no rows because no pump runs into them.
    pub(super) fn note_unfed(&mut self, planned: &Planned) {
        for node in &planned.dataflow.nodes {
            if let NodeKind::Source(source) = &node.kind
                && let Some(def) = self.catalog.streams.get(&source.stream)
                && def.option("connector").is_none()
            {
                let name = &def.name;
                self.console.note(&format!("stream {name} has no rows: no started pump feeds it"));
            }
        }
    }

    /// Whether `SET unbounded_state = 'allow'` was said.
    pub(super) fn growth_is_allowed(&self) -> bool {
        let setting = self.catalog.settings.get(UNBOUNDED_STATE);
        setting.is_some_and(|value| value.eq_ignore_ascii_case("allow"))
    }

    /// Whether every source of the dataflow ends by itself.
    pub(super) fn is_bounded(&self, dataflow: &Dataflow) -> bool {
        let mut streams = dataflow.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Source(source) => self.catalog.streams.get(&source.stream),
            _ => None,
        });
        streams.all(ends)
    }

    /// Connects the dataflow: what is read first, so that a missing input leaves no output behind.
    pub(super) async fn open(
        &mut self,
        planned: &Planned,
        queries: &[Continuous<'_>],
    ) -> Result<Running, Failure> {
        let dataflow = Arc::new(planned.dataflow.clone());
        let durability = self.take_over(&dataflow).await?;
        let inputs = match &durability {
            // Nothing would be made of it.
            Some(durability) if durability.owner.head().finished => Default::default(),
            _ => self.open_inputs(&dataflow, durability.as_ref()).await?,
        };
        // The troubles are those of this job.
        let troubles = Troubles::default();
        let context = Context { troubles: troubles.clone(), ..self.settings.context.clone() };
        let (sources, tables) = inputs;
        let (mut shown, arriving) = ShownQueries::new();
        let mut outputs: Vec<(NodeId, Box<dyn Sink>)> = Vec::new();
        for (id, node) in dataflow.iter() {
            let NodeKind::Sink(name) = &node.kind else { continue };
            let output: Box<dyn Sink> = if let Some(index) = query_index(name, queries) {
                let order = dataflow.orders.get(&id).cloned().unwrap_or_default();
                let place = (index, queries.len());
                shown.add(&self.console, place, (node, order), queries[index].0)
            } else {
                let def = self.catalog.sinks.get(name).map(|(def, _)| def);
                let def = def.ok_or_else(|| undeclared(name))?;
                open_sink(def, Arc::clone(&node.schema), node.updating, &context).await?
            };
            outputs.push((id, output));
        }
        let clock = Arc::clone(&context.clock);
        let lanes = self.settings.lanes;
        let (reader, reads) = mpsc::channel(READS_QUEUE);
        let job = Job {
            dataflow,
            sources,
            tables,
            sinks: outputs,
            clock,
            lanes,
            reads,
            memory: self.settings.memory.clone(),
            durability,
            troubles,
        };
        Ok(Running { job, reads: reader, queries: shown, arriving })
    }

    async fn open_inputs(
        &self,
        dataflow: &Dataflow,
        durability: Option<&Durability>,
    ) -> Result<(Sources, Tables), Failure> {
        let context = &self.settings.context;
        let (mut sources, mut tables) = (Vec::new(), Vec::new());
        for (id, node) in dataflow.iter() {
            match &node.kind {
                NodeKind::Source(source) => {
                    let def = declared(&self.catalog.streams, &source.stream)?;
                    let resume = durability.map(|durability| resume(durability, id));
                    let resume = resume.unwrap_or_default();
                    let source = open_source(def, &source.projection, &resume, context).await?;
                    sources.push((id, source));
                }
                NodeKind::Table(table) => {
                    let def = declared(&self.catalog.tables, &table.table)?;
                    tables.push((id, open_table(def, &table.projection, context).await?));
                }
                NodeKind::ErrorStream
                | NodeKind::Operator(_)
                | NodeKind::Sink(_)
                | NodeKind::View(_) => {}
            }
        }
        Ok((sources, tables))
    }

    /// Runs the job on a task of its own, shows its queries' rows as they come and the status line in
    /// between.
    async fn drive(&mut self, running: Running, stop: &Stop) -> Result<Progress, Failure> {
        let Running { job, mut queries, mut arriving, .. } = running;
        let clock = Arc::clone(&self.settings.context.clock);
        let observe = self.progress.clone();
        observe.send_replace(Progress::default());
        let stopping = stop.receiver();
        let work = OwnedTask::spawn(async move {
            Box::pin(job.run(stopping, move |now| {
                observe.send_replace(now.clone());
            }))
            .await
        });
        let work = work.join();
        tokio::pin!(work);
        // Rows and a status line on the same terminal would overwrite each other.
        let draws = self.console.status && queries.is_empty();
        let started = clock.monotonic();
        let mut status = StatusLine::default();
        let (mut tells, mut troubles_told) = (started + TROUBLES_EVERY, TroubleLog::default());
        let mut shown = Ok(());
        let done = loop {
            let due = queries.wait(clock.monotonic());
            tokio::select! {
                done = &mut work => break done,
                Some((index, deltas)) = arriving.recv() => {
                    if shown.is_ok() {
                        shown = queries.take(&mut self.console, index, &deltas);
                    }
                }
                () = clock.sleep(due.unwrap_or_default()), if due.is_some() && shown.is_ok() => {
                    shown = queries.draw(&mut self.console, clock.as_ref());
                }
                () = clock.sleep(tells.saturating_sub(clock.monotonic())), if !draws => {
                    tells = clock.monotonic() + TROUBLES_EVERY;
                    let troubles = self.progress.borrow().troubles.clone();
                    if let Some(line) = troubles_told.line(&troubles, clock.monotonic()) {
                        self.console.note(&line);
                    }
                }
                () = clock.sleep(REFRESH), if draws => {
                    let now = clock.monotonic().saturating_sub(started);
                    let progress = self.progress.borrow().clone();
                    status.draw(&progress, now, self.console.notes.as_mut())?;
                }
            }
            if shown.is_err() && !stop.is_asked() {
                // Nobody reads any more; sinks of the same job still end cleanly.
                stop.ask();
            }
        };
        status.clear(self.console.notes.as_mut())?;
        while let Ok((index, deltas)) = arriving.try_recv() {
            if shown.is_ok() {
                shown = queries.take(&mut self.console, index, &deltas);
            }
        }
        let progress = done??;
        shown?;
        queries.end(&mut self.console, stop.is_asked())?;
        Ok(progress)
    }
}

/// Whether the stream ends by itself.
pub(super) fn ends(def: &RelationDef) -> bool {
    let is = |name, value: &str| def.option(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    def.option("connector").is_none()
        || (is("connector", "file") && !is("follow", "true"))
        || (is("connector", "generator") && def.option("count").is_some())
}

type Sources = Vec<(NodeId, Box<dyn Source>)>;
type Tables = Vec<(NodeId, Box<dyn Table>)>;

/// The outcome of `work`, or nothing if the user wants to stop before it is there.
pub(super) async fn stop_or<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        done = work => done.map(Some),
        () = stop.asked() => Ok(None),
    }
}

/// The sink that stands for a query: of a name that no identifier has, and free to retract.
fn query_sink(index: usize) -> RelationDef {
    RelationDef {
        name: query_sink_name(index),
        columns: Vec::new(),
        options: vec![("mode".to_owned(), SHOWN_MODE.to_owned())],
        rowtime: Rowtime::Arrival,
    }
}

fn query_sink_name(index: usize) -> String {
    format!("query {}", index + 1)
}

fn query_index(sink: &str, queries: &[Continuous<'_>]) -> Option<usize> {
    if sink == QUERY_SINK {
        return Some(0);
    }
    (0..queries.len()).find(|index| query_sink_name(*index) == sink)
}

fn declared<'a>(
    relations: &'a BTreeMap<String, RelationDef>,
    name: &str,
) -> Result<&'a RelationDef, Failure> {
    relations.get(name).ok_or_else(|| undeclared(name))
}

fn undeclared(name: &str) -> Failure {
    Error::bug(format!("the plan names {name}, which is not declared")).into()
}
