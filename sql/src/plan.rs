//! Statements to dataflow.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use millstream_engine::dataflow::Dataflow;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::statement::Query;

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

/// Plans every sink of the catalog, with the pumps and views it needs.
///
/// # Errors
///
/// When a query is wrong or cannot run continuously: with the place and what to do.
pub fn application(catalog: &Catalog) -> Result<Planned, SqlError> {
    Err(SqlError::new(format!("unfinished: {}", catalog.sinks.len())))
}

/// Plans `SELECT STREAM …`; its rows go to the sink node [`QUERY_SINK`].
///
/// # Errors
///
/// When the query is wrong or cannot run continuously: with the place and what to do.
pub fn stream_query(catalog: &Catalog, query: &Query) -> Result<Planned, SqlError> {
    Err(SqlError::new(format!("unfinished: {} {query:?}", catalog.sinks.len())))
}

/// The streams and tables (not views) that a batch query reads, directly or through views and pumps:
/// what the caller must provide to [`batch_query`].
///
/// # Errors
///
/// When the query names a relation that does not exist.
pub fn batch_inputs(catalog: &Catalog, query: &Query) -> Result<Vec<String>, SqlError> {
    Err(SqlError::new(format!("unfinished: {} {query:?}", catalog.sinks.len())))
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
    Err(SqlError::new(format!("unfinished: {} {} {query:?}", catalog.sinks.len(), relations.len())))
}

/// The columns readers of the stream, table, view or sink `name` see, without system columns.
///
/// # Errors
///
/// When there is no such relation.
pub fn describe(catalog: &Catalog, name: &str) -> Result<SchemaRef, SqlError> {
    Err(SqlError::new(format!("unfinished: {} {name}", catalog.sinks.len())))
}

/// The dataflow as a picture: one line per operator, inputs indented below what reads them.
pub fn explain(planned: &Planned) -> String {
    format!("{:?}", planned.dataflow)
}
