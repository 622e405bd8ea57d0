//! Which queries an application consists of, and in what order they are wired.
//!
//! From the sinks backwards: a sink's query reads streams; an in-application stream is fed by pumps,
//! whose queries read streams; external streams, tables and `error_stream` are the ends. Pumps come
//! before what reads their stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use millstream_engine::dataflow::SortKey;
use millstream_engine::definition::{ROWTIME, RelationDef};
use millstream_engine::fault::ERROR_STREAM;

use super::SHOWN_MODE;
use super::errors::from_datafusion;
use super::insert;
use super::logical::optimize;
use super::order::Ordered;
use super::relations::{Scope, is_fed_by_pumps, stream_schema};
use crate::catalog::Catalog;
use crate::error::{Span, SqlError};
use crate::statement::{Query, SinkInput};

/// An optimised query and where its rows go.
#[derive(Debug)]
pub(super) struct Step {
    /// The pump, sink or query, for `EXPLAIN` and for errors.
    pub(super) owner: Arc<str>,
    pub(super) target: Target,
    pub(super) plan: LogicalPlan,
    /// The order in which its result is shown.
    pub(super) order: Vec<SortKey>,
    /// The plan with that order, where it has been taken off: where the result is not shown as a whole,
    /// the rows themselves have to come in it.
    pub(super) sorted: Option<LogicalPlan>,
    /// Where rows have a time and are written as they come: they come in its order.
    pub(super) timed: Option<Timed>,
    /// Where the query stands, for errors that have no better place.
    pub(super) span: Option<Span>,
}

/// An optimised query that gives the time of its rows as well.
#[derive(Debug)]
pub(super) struct Timed {
    /// The query's columns, and the time behind them where it is none of them.
    pub(super) plan: LogicalPlan,
    /// The column that is the time.
    pub(super) time: usize,
    /// How many columns the query has.
    pub(super) width: usize,
}

/// Where a query's rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// An in-application stream.
    Stream(String),
    /// A sink, or the terminal.
    Sink(String, Mode),
    /// A view, for whoever reads it while the application runs.
    View(String),
}

/// What a sink does with its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It writes the changes, whatever order they come in.
    Changes,
    /// It is the terminal, which shows the changes of a result that only grows, and any other as it is.
    Shown,
    /// It writes the result as a whole.
    Whole,
}

impl Mode {
    fn of(def: &RelationDef) -> Self {
        match def.option("mode") {
            Some(mode) if mode.eq_ignore_ascii_case("snapshot") => Self::Whole,
            Some(SHOWN_MODE) => Self::Shown,
            _ => Self::Changes,
        }
    }
}

/// Collects the steps of an application, inputs first.
pub(super) struct Collector<'a> {
    scope: Scope<'a>,
    catalog: &'a Catalog,
    pub(super) steps: Vec<Step>,
    /// The columns read of each stream that nothing in the application feeds, and of each table.
    pub(super) inputs: BTreeMap<String, BTreeSet<usize>>,
    collected: BTreeSet<String>,
    open: Vec<String>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self {
            scope: Scope::streaming(catalog),
            catalog,
            steps: Vec::new(),
            inputs: BTreeMap::new(),
            collected: BTreeSet::new(),
            open: Vec::new(),
        }
    }

    /// Adds the sink `def`, which writes `input`.
    pub(super) fn sink(&mut self, def: &RelationDef, input: &SinkInput) -> Result<(), SqlError> {
        let target = Target::Sink(def.name.clone(), Mode::of(def));
        match input {
            SinkInput::Query(query) => {
                let plan = self.scope.plan(query, false)?.plan;
                self.add(&def.name, target, plan, query.span)?;
                self.time_last(query)
            }
            SinkInput::Relation(name) => {
                let at = |error: SqlError| error.or_at(name.span);
                let plan = self.relation(&name.value, false).map_err(at)?;
                self.add(&def.name, target, plan, name.span)?;
                let timed = self.relation(&name.value, true).ok();
                self.time(timed, name.span)
            }
        }
    }

    /// Adds the view `name`, to be read while the application runs.
    pub(super) fn view(&mut self, name: &str, query: &Query) -> Result<(), SqlError> {
        let plan = self.scope.plan(query, true)?.plan;
        self.add(name, Target::View(name.to_owned()), plan, query.span)
    }

    /// Adds a query whose rows go to the sink `name`.
    pub(super) fn query(&mut self, name: &str, query: &Query) -> Result<(), SqlError> {
        let plan = self.scope.plan(query, false)?.plan;
        self.add(name, Target::Sink(name.to_owned(), Mode::Shown), plan, query.span)?;
        self.time_last(query)
    }

    /// Gives the step added last, which writes the rows of `query`, their times.
    fn time_last(&mut self, query: &Query) -> Result<(), SqlError> {
        if !self.steps.last().is_some_and(|step| self.may_mix(&step.plan)) {
            return Ok(());
        }
        let planned = self.scope.plan(query, true)?;
        self.time(planned.has_rowtime.then_some(planned.plan), query.span)
    }

    /// Whether the rows of `plan` may come in another order than they are read in.
    fn may_mix(&self, plan: &LogicalPlan) -> bool {
        let mixes = |node: &LogicalPlan| {
            Ok(match node {
                LogicalPlan::TableScan(scan) => {
                    is_fed_by_pumps(self.catalog, scan.table_name.table())
                }
                LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::SubqueryAlias(_) => false,
                _ => true,
            })
        };
        plan.exists(mixes).unwrap_or(true)
    }

    fn time(&mut self, plan: Option<LogicalPlan>, span: Span) -> Result<(), SqlError> {
        let Some(step) = self.steps.last_mut() else { return Ok(()) };
        // Whoever asks for an order gets that.
        let is_ordered = !step.order.is_empty() || step.sorted.is_some();
        let writes_changes = !matches!(step.target, Target::Sink(_, Mode::Whole));
        let Some(plan) = plan.filter(|_| writes_changes && !is_ordered) else { return Ok(()) };
        let columns = step.plan.schema().fields();
        let (plan, time) = match columns.iter().position(|column| column.name() == ROWTIME) {
            Some(time) => (step.plan.clone(), time),
            None => (optimize(plan).map_err(|error| error.or_at(span))?, columns.len()),
        };
        let width = columns.len();
        step.timed = Some(Timed { plan, time, width });
        Ok(())
    }

    /// Adds what can put rows into `error_stream`: every pump, and every external stream whole.
    pub(super) fn everything(&mut self) -> Result<(), SqlError> {
        for (name, def) in &self.catalog.streams {
            self.stream(name)?;
            if !is_fed_by_pumps(self.catalog, name) && def.option("connector").is_some() {
                // A stream's time is always read.
                let rowtime = stream_schema(def).index_of(ROWTIME).ok();
                let columns = (0..def.columns.len()).chain(rowtime);
                self.inputs.entry(name.clone()).or_default().extend(columns);
            }
        }
        Ok(())
    }

    /// Adds every started pump, and checks the stopped ones.
    pub(super) fn pumps(&mut self) -> Result<(), SqlError> {
        for pump in self.catalog.pumps.values() {
            let name = &pump.target.value;
            let Some(def) = self.catalog.streams.get(name) else {
                return Err(self.scope.unknown(name).or_at(pump.target.span));
            };
            if pump.started {
                self.stream(name)?;
            } else {
                insert::plan(&self.scope, pump, def)
                    .and_then(optimize)
                    .map_err(|error| error.or_at(pump.query.span))?;
            }
        }
        Ok(())
    }

    /// Whether a step reads `error_stream`.
    pub(super) fn reads_errors(&self) -> bool {
        self.inputs.contains_key(ERROR_STREAM)
    }

    /// The plan of `SELECT *` of a relation; `timed`, with its `ROWTIME` behind.
    fn relation(&self, name: &str, timed: bool) -> Result<LogicalPlan, SqlError> {
        let plan = self.scope.scan(name)?;
        let mut columns = self.scope.columns(name).ok_or_else(|| self.scope.unknown(name))?;
        columns.extend(timed.then(|| ROWTIME.to_owned()));
        insert::declared_columns(plan, &columns)
    }

    fn add(
        &mut self,
        owner: &str,
        target: Target,
        plan: LogicalPlan,
        span: Span,
    ) -> Result<(), SqlError> {
        let plan = optimize(plan).map_err(|error| error.or_at(span))?;
        for (name, columns) in scanned(&plan)? {
            self.stream(&name).map_err(|error| error.or_at(span))?;
            if !is_fed_by_pumps(self.catalog, &name) {
                self.inputs.entry(name).or_default().extend(columns);
            }
        }
        let whole = plan.clone();
        let orders = |mode| mode != Mode::Changes;
        let ordered = match &target {
            Target::Sink(_, mode) if orders(*mode) => Ordered::new(plan),
            Target::View(_) => Ordered::new(plan),
            Target::Sink(..) | Target::Stream(_) => Ordered::untouched(plan),
        };
        let Ordered { plan, order, taken_off } = ordered;
        let owner = owner.into();
        let sorted = taken_off.then_some(whole);
        let step = Step { owner, target, plan, order, sorted, timed: None, span: Some(span) };
        self.steps.push(step);
        Ok(())
    }

    /// Adds the pumps that feed `name`, if it is an in-application stream.
    fn stream(&mut self, name: &str) -> Result<(), SqlError> {
        let Some(def) = self.catalog.streams.get(name) else { return Ok(()) };
        if self.collected.contains(name) {
            return Ok(());
        }
        if let Some(at) = self.open.iter().position(|open| open == name) {
            let circle = self.open[at..].join(" -> ");
            return Err(SqlError::new(format!(
                "pumps feed {name} in a circle: {circle} -> {name}"
            ))
            .with_hint("break the circle"));
        }
        self.open.push(name.to_owned());
        for pump in insert::pumps_into(self.catalog, name) {
            if def.option("connector").is_some() {
                return Err(SqlError::at(
                    pump.target.span,
                    format!("{name} is an external stream"),
                )
                .with_hint("pump into a stream without connector, and CREATE SINK … FROM it"));
            }
            let plan = insert::plan(&self.scope, pump, def)?;
            self.add(&pump.name, Target::Stream(name.to_owned()), plan, pump.query.span)?;
        }
        self.open.pop();
        self.collected.insert(name.to_owned());
        Ok(())
    }
}

/// The relations a plan scans, and the columns it reads of each.
pub(super) fn scanned(plan: &LogicalPlan) -> Result<BTreeMap<String, BTreeSet<usize>>, SqlError> {
    let mut scans: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = scans.entry(scan.table_name.table().to_owned()).or_default();
            match &scan.projection {
                Some(projection) => columns.extend(projection),
                None => columns.extend(0..scan.source.schema().fields().len()),
            }
            // A stream's time is always read.
            columns.extend(scan.source.schema().index_of(ROWTIME).ok());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(|error| from_datafusion(&error))?;
    Ok(scans)
}
