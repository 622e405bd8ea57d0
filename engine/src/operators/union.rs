//! Puts the rows of several inputs together (`UNION ALL`, several pumps into one stream). Linear.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::{EpochContext, Input, Linear, Operator, Output};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::error::Result;
use crate::watermark::Watermarks;

/// A union as planned. Its inputs have the same column types; names are those of `schema`.
#[derive(Debug)]
pub struct UnionSpec {
    /// The columns it gives.
    pub schema: SchemaRef,
    /// Whether any input can retract rows: then every delta gets weights.
    pub updating: bool,
}

impl OperatorSpec for UnionSpec {
    fn name(&self) -> &'static str {
        "Union"
    }

    fn explain(&self) -> Explanation {
        Explanation::default()
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Any
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        let none = || Watermarks::none(self.schema.fields().len());
        inputs.iter().cloned().reduce(|a, b| a.min(&b)).unwrap_or_else(none)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Union { schema: Arc::clone(&self.schema), updating: self.updating }))
    }
}

#[derive(Debug)]
struct Union {
    schema: SchemaRef,
    updating: bool,
}

impl Linear for Union {
    fn map(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let mut deltas = Vec::new();
        for mut delta in inputs.into_iter().flat_map(|input| input.deltas) {
            let columns = delta.batch.columns().to_vec();
            let options = RecordBatchOptions::new().with_row_count(Some(delta.num_rows()));
            let schema = Arc::clone(&self.schema);
            delta.batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
            if self.updating && delta.weights.is_none() {
                delta.weights = Some(Int64Array::from(vec![1; delta.num_rows()]));
            }
            deltas.push(delta);
        }
        Ok(deltas.into())
    }
}
