//! `UNNEST`: a row for each element of a list.

use std::sync::Arc;

use datafusion::logical_expr::{LogicalPlan, Unnest};
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::unnest::UnnestSpec;

use super::{Translator, arrow_schema};
use crate::error::SqlError;

impl Translator<'_> {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<NodeId, SqlError> {
        let input = self.plan(&unnest.input)?;
        let mut lists: Vec<usize> =
            unnest.list_type_columns.iter().map(|(list, _)| *list).collect();
        let nested = unnest.list_type_columns.iter().any(|(_, list)| list.depth != 1);
        lists.sort_unstable();
        let before = lists.len();
        lists.dedup();
        if nested || lists.len() < before {
            return Err(SqlError::new("UNNEST of an UNNEST cannot run continuously in one step")
                .with_hint("unnest the inner list in a query of its own and the outer around it"));
        }
        let schema = arrow_schema(&LogicalPlan::Unnest(unnest.clone()));
        let spec = UnnestSpec {
            lists,
            structs: unnest.struct_type_columns.clone(),
            keeps_null: unnest.options.preserve_nulls,
            schema: Arc::clone(&schema),
        };
        let updating = self.dataflow.node(input).updating;
        Ok(self.operator(schema, updating, vec![input], spec))
    }
}
