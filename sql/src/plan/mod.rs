//! Statements to dataflow, and queries to batch plans.
//!
//! ```text
//!   Query ─[relations]─► resolved tree ─[logical]─► LogicalPlan ─[translate]─► Dataflow
//!                          names, ROWTIME   DataFusion: plan, check, optimise    our operators
//! ```
//!
//! Batch queries stop at the logical plan and are run by DataFusion itself, so that what a continuous
//! query means is what the batch query says.

mod application;
mod approximate;
mod arrival;
mod distinct_on;
mod ends_at;
mod errors;
mod explain;
mod expressions;
mod extremes;
mod functions;
mod insert;
mod lifetime;
mod logical;
mod markers;
mod models;
mod names;
mod not_in;
mod operators;
mod order;
mod over_partition;
mod padded;
mod qualifiers;
mod relations;
mod rows_window;
mod shift;
mod subquery_values;
#[cfg(test)]
mod tests;
mod translate;
mod typing;
mod window_functions;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, TableSource};
use millstream_engine::dataflow::Dataflow;
use millstream_engine::definition::ROWTIME;
use millstream_engine::fault::{ERROR_STREAM, error_stream_schema};
use millstream_engine::job::Progress;

use self::application::Collector;
use self::relations::{Scope, is_fed_by_pumps, stream_schema};
use self::translate::translate;
use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::rowtime::AS_OF;
use crate::stack::with_room;
use crate::statement::{Query, SinkInput};

/// A planned application or query.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What runs. Its sink nodes carry the names of the catalog's sinks; a query's own is [`QUERY_SINK`].
    pub dataflow: Dataflow,
    /// What the user should know: state that grows for ever, and the like.
    pub warnings: Vec<String>,
}

/// The name of the sink node that receives the rows of a query.
pub const QUERY_SINK: &str = "";

/// The `mode` of a sink that stands for a query whose rows are shown: one that may change them, and
/// whose `ORDER BY` is for those who look.
pub const SHOWN_MODE: &str = "shown";

/// Plans every sink of the catalog, with the pumps and views it needs.
///
/// # Errors
///
/// When a query is wrong or cannot run continuously: with the place and what to do.
pub fn application(catalog: &Catalog) -> Result<Planned, SqlError> {
    application_with_views(catalog, &BTreeSet::new())
}

/// Plans every sink of the catalog, and keeps the rows of `views` to be read while it runs: in nodes
/// of the kind [`millstream_engine::dataflow::NodeKind::View`].
///
/// # Errors
///
/// When a query is wrong or cannot run continuously: with the place and what to do.
pub fn application_with_views(
    catalog: &Catalog,
    views: &BTreeSet<String>,
) -> Result<Planned, SqlError> {
    let plan = |catalog: &Catalog| {
        let mut collector = Collector::new(catalog);
        for (def, input) in catalog.sinks.values() {
            collector.sink(def, input)?;
        }
        for (name, query) in catalog.views.iter().filter(|(name, _)| views.contains(*name)) {
            collector.view(name, query)?;
        }
        finish(catalog, collector)
    };
    with_room(|| {
        let planned = plan(catalog)?;
        let growing = lifetime::growing(&planned.dataflow);
        match catalog.state_ttl().filter(|_| !growing.is_empty()) {
            Some(ttl) => plan(&lifetime::with_counted(catalog, &growing, ttl)),
            None => Ok(planned),
        }
    })
}

/// Plans `SELECT STREAM …`; its rows go to the sink node [`QUERY_SINK`].
///
/// # Errors
///
/// When the query is wrong or cannot run continuously: with the place and what to do.
pub fn stream_query(catalog: &Catalog, query: &Query) -> Result<Planned, SqlError> {
    let plan = |catalog: &Catalog, query: &Query| {
        let mut collector = Collector::new(catalog);
        collector.query(QUERY_SINK, query)?;
        if collector.reads_errors() {
            // Every row set aside anywhere belongs to it.
            collector.everything()?;
        }
        finish(catalog, collector)
    };
    with_room(|| {
        let planned = plan(catalog, query)?;
        let growing = lifetime::growing(&planned.dataflow);
        let Some(ttl) = catalog.state_ttl().filter(|_| !growing.is_empty()) else {
            return Ok(planned);
        };
        let read = names::relations_of(&query.ast).into_iter().map(|(name, _)| name);
        let catalog = lifetime::with_counted(catalog, &read.chain(growing).collect(), ttl);
        plan(&catalog, &lifetime::counted(query, ttl))
    })
}

/// Checks every pump, whether or not anything reads what it gives, and those that are stopped.
///
/// # Errors
///
/// When one is wrong or cannot run continuously: with the place and what to do.
pub fn check_pumps(catalog: &Catalog) -> Result<(), SqlError> {
    with_room(|| {
        let mut collector = Collector::new(catalog);
        collector.pumps()?;
        translate(catalog, collector).map(drop)
    })
}

fn finish(catalog: &Catalog, collector: Collector<'_>) -> Result<Planned, SqlError> {
    let dataflow = translate(catalog, collector)?;
    let unbounded = dataflow.unbounded_state().into_iter().map(|(id, explanation)| {
        let owner = &dataflow.node(id).owner;
        let owner = if owner.is_empty() { "the query" } else { owner.as_ref() };
        format!("the state of {owner} grows for ever: it keeps {}", explanation.keeps)
    });
    let warnings = unbounded.collect();
    Ok(Planned { dataflow, warnings })
}

/// The streams, tables, sinks and files (quoted paths) that a batch query reads, directly or through
/// views and pumps: what the caller must provide to [`batch_query`]. A stream is provided with the
/// columns of [`stream_columns`], a table with its declared ones. The views in `kept` are provided by
/// the caller as well, with the columns of [`view_columns`]; what is behind them is not looked at.
///
/// # Errors
///
/// When the query names a relation that does not exist.
pub fn batch_inputs(
    catalog: &Catalog,
    query: &Query,
    kept: &BTreeSet<String>,
) -> Result<Vec<String>, SqlError> {
    let mut inputs = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![query];
    while let Some(query) = open.pop() {
        for (name, is_path) in names::relations_of(&query.ast) {
            if !seen.insert(name.clone()) {
                continue;
            }
            if kept.contains(&name) {
                inputs.insert(name);
            } else if let Some(view) = catalog.views.get(&name) {
                open.push(view);
            } else if is_fed_by_pumps(catalog, &name) {
                open.extend(insert::pumps_into(catalog, &name).map(|pump| &pump.query));
            } else if is_path || is_provided(catalog, &name) {
                inputs.insert(name);
            } else {
                return Err(Scope::streaming(catalog).unknown(&name).or_at(query.span));
            }
        }
    }
    Ok(inputs.into_iter().collect())
}

fn is_provided(catalog: &Catalog, name: &str) -> bool {
    catalog.streams.contains_key(name)
        || catalog.tables.contains_key(name)
        || catalog.sinks.contains_key(name)
        || name == ERROR_STREAM
}

/// The columns a caller of [`batch_query`] provides for the stream `name`: the declared ones, then the
/// system columns.
pub fn stream_columns(catalog: &Catalog, name: &str) -> Option<SchemaRef> {
    if name == ERROR_STREAM {
        return Some(error_stream_schema());
    }
    catalog.streams.get(name).map(stream_schema)
}

/// The columns of the view `name`, with `ROWTIME` behind them if its rows have one: as a node of the
/// kind [`millstream_engine::dataflow::NodeKind::View`] keeps them.
///
/// # Errors
///
/// When its query is wrong.
pub fn view_columns(catalog: &Catalog, name: &str) -> Result<SchemaRef, SqlError> {
    with_room(|| {
        let scope = Scope::streaming(catalog);
        let query = catalog.views.get(name).ok_or_else(|| scope.unknown(name))?;
        Ok(Arc::new(scope.plan(query, true)?.plan.schema().as_arrow().clone()))
    })
}

/// Plans a batch query over `relations`: what each input holds now, by name. In-application streams
/// and views are computed from them.
///
/// # Errors
///
/// When the query is wrong.
#[expect(clippy::implicit_hasher, reason = "one caller")]
pub fn batch_query(
    catalog: &Catalog,
    query: &Query,
    relations: &HashMap<String, Arc<dyn TableSource>>,
) -> Result<LogicalPlan, SqlError> {
    with_room(|| {
        let plan = Scope::batch(catalog, relations).plan(query, false)?.plan;
        match reads_versions(&plan).map_err(|error| errors::from_datafusion(&error))? {
            true => Err(SqlError::new("FOR SYSTEM_TIME AS OF runs continuously only, between streams")
                .with_hint(
                    "write SELECT STREAM; in batch join b ON a.k = b.k AND b.t <= a.t and keep the row of \
                     the greatest b.t: QUALIFY ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.t DESC) = 1",
                )
                .or_at(query.span)),
            false => Ok(plan),
        }
    })
}

/// What is wrong with the text of a batch query that could be planned and not made physical; none where
/// `error` is about something else.
pub fn batch_refused(query: &Query, error: &DataFusionError) -> Option<SqlError> {
    let is_about_text = matches!(
        error.find_root(),
        DataFusionError::NotImplemented(_)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
    );
    is_about_text.then(|| errors::from_datafusion(error).or_at(query.span))
}

/// Whether a plan has a `FOR SYSTEM_TIME AS OF`.
fn reads_versions(plan: &LogicalPlan) -> datafusion::common::Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| {
                Ok(matches!(part, Expr::ScalarFunction(call) if call.func.name() == AS_OF))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The settings a batch query must run with to mean the same as the continuous one.
pub fn batch_config() -> ConfigOptions {
    logical::config()
}

/// The functions of ours that a plan of [`batch_query`] may call.
pub fn batch_functions() -> Vec<Arc<ScalarUDF>> {
    let ours = functions::functions().scalar.values();
    ours.filter(|function| function.name().starts_with("__")).map(Arc::clone).collect()
}

/// The columns readers of the stream, table, view or sink `name` see, without system columns.
///
/// # Errors
///
/// When there is no such relation.
pub fn describe(catalog: &Catalog, name: &str) -> Result<SchemaRef, SqlError> {
    let scope = Scope::streaming(catalog);
    let visible = |schema: &Schema| {
        let fields = schema.fields().iter().filter(|field| field.name() != ROWTIME);
        Arc::new(Schema::new(fields.map(Arc::clone).collect::<Vec<_>>()))
    };
    if let Some(def) = catalog.streams.get(name).or_else(|| catalog.tables.get(name)) {
        return Ok(def.declared_schema());
    }
    if name == ERROR_STREAM {
        return Ok(visible(&error_stream_schema()));
    }
    if let Some(query) = catalog.views.get(name) {
        let view = scope.plan(query, true)?;
        let schema = view.plan.schema().as_arrow();
        let columns = schema.fields().len() - usize::from(view.has_rowtime);
        return Ok(Arc::new(Schema::new(schema.fields()[..columns].to_vec())));
    }
    match catalog.sinks.get(name) {
        Some((_, SinkInput::Relation(relation))) => describe(catalog, &relation.value),
        Some((_, SinkInput::Query(query))) => {
            Ok(Arc::new(scope.plan(query, false)?.plan.schema().as_arrow().clone()))
        }
        None => Err(scope.unknown(name)),
    }
}

/// The dataflow as a picture: one line per operator, inputs indented below what reads them.
pub fn explain(planned: &Planned) -> String {
    explain::picture(&planned.dataflow, &Progress::default())
}

/// The same with what each node has done and each sink has written, as a job says at its end.
pub fn explain_analyzed(planned: &Planned, progress: &Progress) -> String {
    explain::picture(&planned.dataflow, progress)
}
