//! `UNNEST`: a row for each element of a list.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{LogicalPlan, Unnest};
use millstream_engine::dataflow::NodeId;
use millstream_engine::operators::unnest::UnnestSpec;

use super::{Translator, arrow_schema};
use crate::error::SqlError;

impl Translator<'_> {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<NodeId, SqlError> {
        let mut input = self.plan(&unnest.input)?;
        let mut lists: Vec<(usize, usize)> =
            unnest.list_type_columns.iter().map(|(column, list)| (*column, list.depth)).collect();
        lists.sort_unstable();
        if lists.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(SqlError::new("a list is unnested to several depths in one step")
                .with_hint("unnest the inner list in a query of its own and the outer around it"));
        }
        // Lists of lists lose a level at a time, those with the most levels first.
        let levels = lists.iter().map(|(_, depth)| *depth).max().unwrap_or(1);
        let at_level = |level: usize| -> Vec<usize> {
            lists.iter().filter(|(_, depth)| *depth >= level).map(|(column, _)| *column).collect()
        };
        let keeps_null = unnest.options.preserve_nulls;
        for level in (2..=levels).rev() {
            let lists = at_level(level);
            let node = self.dataflow.node(input);
            let (schema, updating) = (elements(&node.schema, &lists)?, node.updating);
            let structs = Vec::new();
            let spec = UnnestSpec { lists, structs, keeps_null, schema: Arc::clone(&schema) };
            input = self.operator(schema, updating, vec![input], spec);
        }
        let schema = arrow_schema(&LogicalPlan::Unnest(unnest.clone()));
        let spec = UnnestSpec {
            lists: at_level(1),
            structs: unnest.struct_type_columns.clone(),
            keeps_null,
            schema: Arc::clone(&schema),
        };
        let updating = self.dataflow.node(input).updating;
        Ok(self.operator(schema, updating, vec![input], spec))
    }
}

/// `schema` with the elements of `lists` in their places.
fn elements(schema: &Schema, lists: &[usize]) -> Result<SchemaRef, SqlError> {
    let mut fields: Vec<_> = schema.fields().iter().map(Arc::clone).collect();
    for list in lists {
        let field = &mut fields[*list];
        let element = match field.data_type() {
            DataType::List(element)
            | DataType::LargeList(element)
            | DataType::FixedSizeList(element, _) => element.data_type().clone(),
            other => return Err(SqlError::new(format!("{other} is no list to unnest"))),
        };
        *field = Arc::new(Field::new(field.name(), element, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}
