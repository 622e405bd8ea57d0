//! Computes columns. Linear: it maps a delta to a delta and keeps nothing.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::isolate::isolate;
use super::{EpochContext, Input, Linear, Operator, Output};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::Result;
use crate::monotonic::watermark_of;
use crate::watermark::Watermarks;

/// A projection as planned.
#[derive(Debug)]
pub struct ProjectSpec {
    /// The columns' expressions, over `input_schema`.
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// The columns it reads.
    pub input_schema: SchemaRef,
    /// The columns it gives, as many as `exprs`.
    pub schema: SchemaRef,
}

impl OperatorSpec for ProjectSpec {
    fn name(&self) -> &'static str {
        "Project"
    }

    fn explain(&self) -> Explanation {
        let named = self.exprs.iter().zip(self.schema.fields()).map(|(expr, field)| {
            let expr = expr.to_string();
            let column = expr.rsplit_once('@').map(|(name, _)| name);
            if column == Some(field.name()) { expr } else { format!("{expr} AS {}", field.name()) }
        });
        let detail = named.collect::<Vec<_>>().join(", ");
        Explanation { detail, ..Explanation::default() }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Any
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        // An expression that fails on the watermark itself promises nothing.
        let of = |expr| watermark_of(expr, &self.input_schema, &inputs[0]).ok().flatten();
        Watermarks(self.exprs.iter().map(of).collect())
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        let exprs = self.exprs.iter().map(Arc::clone).collect();
        Ok(Box::new(Project { exprs, schema: Arc::clone(&self.schema) }))
    }
}

#[derive(Debug)]
struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Project {
    fn evaluate(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let rows = batch.num_rows();
        let columns = self.exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(rows));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Linear for Project {
    fn map(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let mut output = Output::default();
        for delta in inputs.into_iter().flat_map(|input| input.deltas) {
            let projected = isolate(cx, delta, &|batch| self.evaluate(batch), &mut output.bad)?;
            let projected = projected.into_iter();
            let weighted = projected.map(|(from, batch)| Delta { batch, weights: from.weights });
            output.deltas.extend(weighted);
        }
        Ok(output)
    }
}
