//! Logical plan to dataflow: each stateful node becomes an operator of ours, each stateless one an
//! operator over DataFusion's expressions; whatever is neither is refused with the reason.
//!
//! Equal subplans become one node, also across pumps and sinks.

mod aggregate;
mod arrival_order;
mod columns;
mod constant;
mod expire;
mod grouping;
mod in_time;
mod interval;
mod join;
mod joined_time;
mod model;
mod origin;
mod over;
mod own_time;
mod rank;
mod reach;
mod rows_join;
mod session;
mod sort;
mod stagger;
mod temporal;
mod unnest;
mod window;
mod window_table;

pub(super) use window::interval_ms;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, TableScan, Window};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use millstream_engine::clock::EpochTime;
use millstream_engine::dataflow::{
    Dataflow, Node, NodeId, NodeKind, OperatorSpec, SourceNode, TableNode, TimeOrder,
};
use millstream_engine::definition::{ROWTIME, Rowtime};
use millstream_engine::executor::timed_columns;
use millstream_engine::fault::{ERROR_STREAM, error_stream_schema};
use millstream_engine::operators::filter::FilterSpec;
use millstream_engine::operators::project::ProjectSpec;
use millstream_engine::operators::union::UnionSpec;
use millstream_engine::watermark::Watermarks;

use super::application::{Collector, Mode, Step, Target};
use super::errors::from_datafusion;
use super::relations::stream_schema;
use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::functions::{CLOCK, bind_clock};

/// Builds the dataflow of the collected steps.
pub(super) fn translate(catalog: &Catalog, collected: Collector<'_>) -> Result<Dataflow, SqlError> {
    // What a recursive query reads of its own rows is no input.
    collected.steps.iter().try_for_each(refuse_rounds)?;
    let mut translator = Translator::new(catalog);
    for (name, columns) in &collected.inputs {
        translator.input(name, columns.iter().copied().collect())?;
    }
    let mut pumped: HashMap<String, Vec<NodeId>> = HashMap::new();
    let mut steps = collected.steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        let span = step.span;
        let node = translator.step(&step).map_err(|error| match span {
            Some(span) => error.or_at(span),
            None => error,
        })?;
        if let Target::Stream(stream) = step.target {
            if translator.dataflow.node(node).updating {
                let error = not_for_good(&translator.dataflow, node, &step.owner);
                return Err(span.map_or(error.clone(), |span| error.or_at(span)));
            }
            pumped.entry(stream.clone()).or_default().push(node);
            // The collector keeps the pumps of a stream together.
            let is_last =
                steps.peek().is_none_or(|next| next.target != Target::Stream(stream.clone()));
            let all = super::insert::pumps_into(catalog, &stream).count();
            if is_last || pumped[&stream].len() == all {
                let parts = pumped[&stream].clone();
                translator.stream(&stream, parts);
            }
        }
    }
    Ok(translator.dataflow)
}

/// Why the rows of a pump, which `node` gives, cannot go into its stream.
fn not_for_good(dataflow: &Dataflow, node: NodeId, pump: &str) -> SqlError {
    let mut behind = vec![node];
    while let Some(id) = behind.pop() {
        if dataflow.expires_rows(id) {
            return SqlError::new(format!(
                "the rows of pump {pump} expire by state_ttl, so they may be taken back, and a stream \
                 has its rows for good"
            ))
            .with_hint(
                "say state_ttl where the stream is read, in a view or a sink with mode = 'changelog'; \
                 here bound a join by time (a.t BETWEEN b.t - INTERVAL '1' HOUR AND b.t) or a grouping \
                 by a window",
            );
        }
        behind.extend(&dataflow.node(id).inputs);
    }
    SqlError::new(format!("the rows of pump {pump} may be taken back")).with_hint(
        "group by a window such as STEP(s.ROWTIME BY INTERVAL '1' MINUTE), or write the query to a sink \
         with mode = 'changelog'",
    )
}

struct Translator<'a> {
    catalog: &'a Catalog,
    dataflow: Dataflow,
    /// Where the rows of a relation are, and which of its columns the node has.
    relations: HashMap<String, (NodeId, Vec<usize>)>,
    /// Subplans that are nodes already.
    shared: HashMap<LogicalPlan, NodeId>,
    owner: Arc<str>,
}

impl<'a> Translator<'a> {
    fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            dataflow: Dataflow::default(),
            relations: HashMap::new(),
            shared: HashMap::new(),
            owner: "".into(),
        }
    }

    /// Adds a source or table node for the relation `name`, reading `projection` of its columns.
    fn input(&mut self, name: &str, projection: Vec<usize>) -> Result<(), SqlError> {
        let (schema, kind) = if let Some(def) = self.catalog.streams.get(name) {
            let schema = project(&stream_schema(def), &projection)?;
            let rowtime = schema.index_of(ROWTIME).map_err(|e| SqlError::new(e.to_string()))?;
            let (order, time_columns) = match &def.rowtime {
                Rowtime::Arrival => (TimeOrder::Arrival, Vec::new()),
                Rowtime::Field(_) => (TimeOrder::Ascending, Vec::new()),
                Rowtime::Column { column, delay_ms } => {
                    let read = projection.iter().position(|read| read == column);
                    (TimeOrder::Bounded(*delay_ms), read.into_iter().collect())
                }
            };
            let stream = name.to_owned();
            let projection = projection.clone();
            let source = SourceNode { stream, projection, rowtime, time_columns, order };
            (schema, NodeKind::Source(source))
        } else if name == ERROR_STREAM {
            // It is made whole in any case.
            let all = (0..error_stream_schema().fields().len()).collect();
            let id = self.node(error_stream_schema(), false, vec![], NodeKind::ErrorStream);
            self.relations.insert(name.to_owned(), (id, all));
            return Ok(());
        } else {
            let def = &self.catalog.tables[name];
            let schema = project(&def.declared_schema(), &projection)?;
            let table = TableNode { table: name.to_owned(), projection: projection.clone() };
            (schema, NodeKind::Table(table))
        };
        let updating = matches!(kind, NodeKind::Table(_));
        let id = self.node(schema, updating, vec![], kind);
        self.relations.insert(name.to_owned(), (id, projection));
        Ok(())
    }

    /// Adds the nodes of a step; returns the last one, or the sink.
    fn step(&mut self, step: &Step) -> Result<NodeId, SqlError> {
        self.owner = Arc::clone(&step.owner);
        let before = self.dataflow.nodes.len();
        let bound = |plan: &LogicalPlan, time: &EpochTime| {
            bind_clock(plan.clone(), time).map_err(|error| from_datafusion(&error))
        };
        let time = self.dataflow.epoch_time.clone();
        let in_time = match &step.timed {
            Some(timed) => self.in_time(&bound(&timed.plan, &time)?, timed)?,
            None => None,
        };
        let mut node = match in_time {
            Some(node) => node,
            None => self.plan(&bound(&step.plan, &time)?)?,
        };
        let updating = self.dataflow.node(node).updating;
        if let (Target::Sink(_, Mode::Shown), Some(sorted), false) =
            (&step.target, &step.sorted, updating)
        {
            node = self.plan(&bound(sorted, &time)?)?;
        }
        let schema = Arc::clone(&self.dataflow.node(node).schema);
        let kind = match &step.target {
            Target::Stream(_) => return self.in_order(node, &bound(&step.plan, &time)?, before),
            Target::Sink(name, _) => NodeKind::Sink(name.clone()),
            Target::View(name) => NodeKind::View(name.clone()),
        };
        let id = self.node(schema, updating, vec![node], kind);
        if matches!(step.target, Target::Sink(_, Mode::Whole)) {
            self.dataflow.whole.insert(id);
        }
        if !step.order.is_empty() {
            self.dataflow.orders.insert(id, step.order.clone());
        }
        Ok(id)
    }

    /// Makes the in-application stream `name` of what its pumps give.
    fn stream(&mut self, name: &str, parts: Vec<NodeId>) {
        let schema = stream_schema(&self.catalog.streams[name]);
        let all = (0..schema.fields().len()).collect();
        self.owner = name.into();
        let updating = parts.iter().any(|part| self.dataflow.node(*part).updating);
        let union = Arc::new(UnionSpec { schema: Arc::clone(&schema), updating });
        let id = self.node(schema, updating, parts, NodeKind::Operator(union));
        self.relations.insert(name.to_owned(), (id, all));
    }

    /// The node of a plan.
    fn plan(&mut self, plan: &LogicalPlan) -> Result<NodeId, SqlError> {
        if let Some(node) = self.shared.get(plan) {
            return Ok(*node);
        }
        let node = match plan {
            LogicalPlan::SubqueryAlias(alias) => return self.subquery(&alias.input),
            LogicalPlan::TableScan(scan) => self.scan(scan)?,
            LogicalPlan::Projection(projection) => self.projection(projection)?,
            LogicalPlan::Filter(filter) => self.filter(filter)?,
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.plan(input));
                let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
                let updating = inputs.iter().any(|input| self.dataflow.node(*input).updating);
                let schema = arrow_schema(plan);
                let spec = UnionSpec { schema: Arc::clone(&schema), updating };
                self.operator(schema, updating, inputs, spec)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate)?,
            LogicalPlan::Join(join) => self.join(join)?,
            LogicalPlan::Window(window) => self.any_window(window)?,
            LogicalPlan::Unnest(unnest) => match self.window_table(unnest)? {
                Some(node) => node,
                None => self.unnest(unnest)?,
            },
            LogicalPlan::Values(values) => self.values(values)?,
            LogicalPlan::EmptyRelation(empty) => self.empty(empty)?,
            LogicalPlan::Sort(sort) => self.ordered(sort)?,
            LogicalPlan::Limit(limit) => self.limit(limit)?,
            other => return Err(refuse(other)),
        };
        self.shared.insert(plan.clone(), node);
        Ok(node)
    }

    /// The node of a subquery. Its `ORDER BY` means nothing where its rows may be taken back.
    fn subquery(&mut self, plan: &LogicalPlan) -> Result<NodeId, SqlError> {
        if let LogicalPlan::Sort(sort) = plan
            && sort.fetch.is_none()
        {
            let input = self.plan(&sort.input)?;
            if self.dataflow.node(input).updating {
                return Ok(input);
            }
        }
        self.plan(plan)
    }

    fn projection(&mut self, projection: &Projection) -> Result<NodeId, SqlError> {
        if let Some(node) = self.unnumbered(projection)? {
            return Ok(node);
        }
        let input = self.plan(&projection.input)?;
        let exprs = physical_all(&projection.expr, projection.input.schema())?;
        let schema = Arc::new(projection.schema.as_arrow().clone());
        Ok(self.project(input, exprs, &schema))
    }

    fn filter(&mut self, filter: &Filter) -> Result<NodeId, SqlError> {
        if let Some(node) = self.first_rows(filter)? {
            return Ok(node);
        }
        if let Some(node) = self.expire(filter)? {
            return Ok(node);
        }
        let input = self.plan(&filter.input)?;
        let predicate = physical(&filter.predicate, filter.input.schema())?;
        let node = self.dataflow.node(input);
        let (schema, updating) = (Arc::clone(&node.schema), node.updating);
        Ok(self.operator(schema, updating, vec![input], FilterSpec { predicate }))
    }

    /// The node of an `OVER`, or of what is planned as one.
    fn any_window(&mut self, window: &Window) -> Result<NodeId, SqlError> {
        if let Some(node) = self.session(window)? {
            return Ok(node);
        }
        if let Some(node) = self.model(window)? {
            return Ok(node);
        }
        match self.stagger(window)? {
            Some(node) => Ok(node),
            None => self.window(window),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<NodeId, SqlError> {
        let name = scan.table_name.table();
        if scan.fetch.is_some() {
            return Err(refuse_limit());
        }
        let (node, columns) = self
            .relations
            .get(name)
            .ok_or_else(|| SqlError::new(format!("{name} is read before it is wired")))?;
        let (node, columns) = (*node, columns.clone());
        let wanted: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..scan.source.schema().fields().len()).collect(),
        };
        if wanted == columns {
            return Ok(node);
        }
        let schema = Arc::clone(&self.dataflow.node(node).schema);
        let positions = wanted.iter().filter_map(|wanted| columns.iter().position(|c| c == wanted));
        let exprs = positions.map(|at| column(&schema, at)).collect();
        let schema = Arc::new(scan.projected_schema.as_arrow().clone());
        Ok(self.project(node, exprs, &schema))
    }

    fn project(
        &mut self,
        input: NodeId,
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        schema: &SchemaRef,
    ) -> NodeId {
        if let Some(rows) = constant::projected(&self.dataflow, input, &exprs, schema) {
            return self.constant(rows);
        }
        let node = self.dataflow.node(input);
        let updating = node.updating;
        let input_schema = Arc::clone(&node.schema);
        let spec = ProjectSpec { exprs, input_schema, schema: Arc::clone(schema) };
        self.operator(Arc::clone(schema), updating, vec![input], spec)
    }

    fn operator(
        &mut self,
        schema: SchemaRef,
        updating: bool,
        inputs: Vec<NodeId>,
        spec: impl OperatorSpec + 'static,
    ) -> NodeId {
        self.node(schema, updating, inputs, NodeKind::Operator(Arc::new(spec)))
    }

    fn node(
        &mut self,
        schema: SchemaRef,
        updating: bool,
        inputs: Vec<NodeId>,
        kind: NodeKind,
    ) -> NodeId {
        let owner = Arc::clone(&self.owner);
        self.dataflow.push(Node { owner, schema, updating, inputs, kind })
    }

    /// Which columns of `node` keep a watermark.
    fn timed(&self, node: NodeId) -> Watermarks {
        timed_columns(&self.dataflow).swap_remove(node.0)
    }

    /// Whether `node` reads tables alone, and so changes only when they are read again.
    fn is_table(&self, node: NodeId) -> bool {
        let node = self.dataflow.node(node);
        match &node.kind {
            NodeKind::Table(_) => true,
            NodeKind::Operator(_) => node.inputs.iter().all(|input| self.is_table(*input)),
            NodeKind::Source(_) | NodeKind::ErrorStream | NodeKind::Sink(_) | NodeKind::View(_) => {
                false
            }
        }
    }
}

fn project(schema: &Schema, projection: &[usize]) -> Result<SchemaRef, SqlError> {
    schema.project(projection).map(Arc::new).map_err(|error| SqlError::new(error.to_string()))
}

fn arrow_schema(plan: &LogicalPlan) -> SchemaRef {
    Arc::new(plan.schema().as_arrow().clone())
}

fn column(schema: &Schema, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    let changes = expr.exists(|expr| {
        let is_clock = matches!(expr, Expr::ScalarFunction(call) if call.func.name() == CLOCK);
        Ok(!is_clock && expr.is_volatile_node())
    });
    if changes.unwrap_or(true) {
        return Err(SqlError::new(format!("{expr} is not the same on a replay"))
            .with_hint("a continuous query may only use functions of its input"));
    }
    create_physical_expr(expr, schema, &ExecutionProps::new())
        .map_err(|error| from_datafusion(&error))
}

fn physical_all(exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>, SqlError> {
    exprs.iter().map(|expr| physical(expr, schema)).collect()
}

fn refuse_rounds(step: &Step) -> Result<(), SqlError> {
    let makes_rounds = |plan: &LogicalPlan| Ok(matches!(plan, LogicalPlan::RecursiveQuery(_)));
    if matches!(step.plan.exists(makes_rounds), Ok(false)) {
        return Ok(());
    }
    let error = SqlError::new("WITH RECURSIVE cannot run continuously").with_hint(
        "its rounds would begin anew with every row; ask once instead: SELECT without STREAM",
    );
    Err(step.span.into_iter().fold(error, SqlError::or_at))
}

fn refuse_limit() -> SqlError {
    SqlError::new("LIMIT has no meaning on a stream that does not end")
        .with_hint("say which rows are first with ORDER BY, or ask once: SELECT without STREAM")
}

/// What the reader can do about a plan node that has no incremental form here.
fn refuse(plan: &LogicalPlan) -> SqlError {
    match plan {
        LogicalPlan::Distinct(_) => SqlError::new("DISTINCT would have to keep every row for ever")
            .with_hint(
                "GROUP BY the columns and a window such as STEP(s.ROWTIME BY INTERVAL '1' MINUTE)",
            ),
        LogicalPlan::Subquery(_) => SqlError::new(
            "LATERAL with a LIMIT, or without a FROM, cannot run continuously",
        )
        .with_hint(
            "number the rows with ROW_NUMBER() OVER (PARTITION BY …) and join; compute in SELECT",
        ),
        other => SqlError::new(format!("{} cannot run continuously", other.display()))
            .with_hint("ask once instead: SELECT without STREAM"),
    }
}
