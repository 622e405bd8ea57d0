//! `STATE TTL`: the condition that a row counts becomes an operator that takes rows back.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter};
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::expire::ExpireSpec;
use millstream_engine::operators::filter::FilterSpec;

use super::{Translator, physical};
use crate::error::SqlError;
use crate::plan::markers::arguments;
use crate::state_ttl::COUNTS;

impl Translator<'_> {
    /// The node of a filter with that condition; none for any other.
    pub(super) fn expire(&mut self, filter: &Filter) -> Result<Option<NodeId>, SqlError> {
        let is_ttl = |expr: &Expr| arguments(expr, COUNTS).is_some();
        let conjuncts = split_conjunction_owned(filter.predicate.clone());
        let (ttl, others): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(is_ttl);
        let Some(ttl) = ttl.first() else { return Ok(None) };
        let mut input = self.plan(&filter.input)?;
        if let Some(others) = conjunction(others) {
            // What is left out need not be kept.
            let predicate = physical(&others, filter.input.schema())?;
            let node = self.dataflow.node(input);
            let (schema, updating) = (Arc::clone(&node.schema), node.updating);
            input = self.operator(schema, updating, vec![input], FilterSpec { predicate });
        }
        let Some([Expr::Column(time), Expr::Literal(ScalarValue::Int64(Some(length)), _)]) =
            arguments(ttl, COUNTS)
        else {
            return Err(SqlError::new("the time of rows with a state_ttl is no column of theirs"));
        };
        let time = filter.input.schema().maybe_index_of_column(time);
        let time = time.filter(|time| self.timed(input).get(*time).is_some());
        let node = self.dataflow.node(input);
        let Some(time) = time.filter(|_| !node.updating) else {
            return Err(SqlError::new(
                "rows that change, or whose time has no watermark, have no state_ttl",
            )
            .with_hint(
                "say it of the stream that they are made of: FROM s WITH (state_ttl = '1 day')",
            ));
        };
        let schema = Arc::clone(&node.schema);
        let written = in_words(*length);
        let spec = ExpireSpec { time, counts_for: *length, written, schema: Arc::clone(&schema) };
        Ok(Some(self.operator(schema, true, vec![input], spec)))
    }
}

/// A length of time in the largest unit that it is a multiple of.
fn in_words(ms: i64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let unit = units.into_iter().find(|(unit, _)| ms % unit == 0);
    match unit {
        Some((unit, name)) if ms == unit => format!("1 {name}"),
        Some((unit, name)) => format!("{} {name}s", ms / unit),
        None => format!("{ms} ms"),
    }
}
