//! Keeps the rows a predicate holds for. Linear: it maps a delta to a delta and keeps nothing.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use datafusion::physical_expr::PhysicalExpr;

use super::isolate::isolate;
use super::{EpochContext, Input, Linear, Operator, Output};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::Watermarks;

/// A filter as planned.
#[derive(Debug)]
pub struct FilterSpec {
    /// What must be true of a row; NULL is not.
    pub predicate: Arc<dyn PhysicalExpr>,
}

impl OperatorSpec for FilterSpec {
    fn name(&self) -> &'static str {
        "Filter"
    }

    fn explain(&self) -> Explanation {
        Explanation { detail: self.predicate.to_string(), ..Explanation::default() }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Any
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        inputs[0].clone()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Filter { predicate: Arc::clone(&self.predicate) }))
    }
}

#[derive(Debug)]
struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
}

impl Linear for Filter {
    fn map(&mut self, cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let mut output = Output::default();
        for delta in inputs.into_iter().flat_map(|input| input.deltas) {
            let evaluate =
                |batch: &RecordBatch| self.predicate.evaluate(batch)?.into_array(batch.num_rows());
            for (delta, mask) in isolate(cx, delta, &evaluate, &mut output.bad)? {
                let mask = mask
                    .as_boolean_opt()
                    .ok_or_else(|| Error::bug("a predicate is not a truth value"))?;
                let mask = match mask.null_count() {
                    0 => mask.clone(),
                    _ => prep_null_mask_filter(mask),
                };
                if mask.true_count() == delta.num_rows() {
                    output.deltas.push(delta);
                } else if mask.true_count() > 0 {
                    let weights =
                        delta.weights.map(|weights| filter(&weights, &mask)).transpose()?;
                    output.deltas.push(Delta {
                        batch: filter_record_batch(&delta.batch, &mask)?,
                        weights: weights.map(|weights| weights.as_primitive().clone()),
                    });
                }
            }
        }
        Ok(output)
    }
}
