//! `SET state_ttl = '1 day'`: how long rows count in those queries that would keep state for ever, as if
//! each of them said so itself. What is bounded anyway stays as it is.

use std::collections::BTreeSet;

use millstream_engine::dataflow::Dataflow;

use super::names::relations_of;
use crate::catalog::Catalog;
use crate::statement::{Query, SinkInput};

/// The pumps, sinks and views of `dataflow` that keep state for ever; a lone query has no name.
pub(super) fn growing(dataflow: &Dataflow) -> BTreeSet<String> {
    let nodes = dataflow.unbounded_state().into_iter().map(|(id, _)| dataflow.node(id));
    nodes.map(|node| node.owner.to_string()).collect()
}

/// `query` with rows that count for `ttl_ms`, if it does not say for how long.
pub(super) fn counted(query: &Query, ttl_ms: i64) -> Query {
    Query { state_ttl: query.state_ttl.or(Some(ttl_ms)), ..query.clone() }
}

/// The catalog with such sinks and views, and such views behind them. Pumps give their rows once and for
/// all: none is taken back.
pub(super) fn with_counted(catalog: &Catalog, growing: &BTreeSet<String>, ttl_ms: i64) -> Catalog {
    let mut changed = catalog.clone();
    let mut open: Vec<String> = Vec::new();
    for (name, (_, input)) in &mut changed.sinks {
        if !growing.contains(name) {
            continue;
        }
        match input {
            SinkInput::Query(query) => {
                *query = counted(query, ttl_ms);
                open.extend(relations_of(&query.ast).into_iter().map(|(name, _)| name));
            }
            SinkInput::Relation(relation) => open.push(relation.value.clone()),
        }
    }
    open.extend(growing.iter().cloned());
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(query) = changed.views.get_mut(&name) {
            *query = counted(query, ttl_ms);
            open.extend(relations_of(&query.ast).into_iter().map(|(name, _)| name));
        }
    }
    changed
}
