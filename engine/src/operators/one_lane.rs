//! Any operator, with all its rows on the first lane.
//!
//! Lanes give their rows one behind the other. Where an operator above counts in the order in which rows
//! arrived and has other keys, those below it stay on one lane, so that rows of one time keep it.

use std::sync::Arc;

use super::Operator;
use crate::dataflow::{Distribution, Explanation, OperatorSpec, StateShare};
use crate::error::Result;
use crate::watermark::Watermarks;

/// An operator as planned, for one lane.
#[derive(Debug)]
pub struct OneLaneSpec {
    /// What it does.
    pub operator: Arc<dyn OperatorSpec>,
}

impl OperatorSpec for OneLaneSpec {
    fn name(&self) -> &'static str {
        self.operator.name()
    }

    fn explain(&self) -> Explanation {
        self.operator.explain()
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Single
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        self.operator.watermarks(inputs)
    }

    fn state_share(&self, _part: &str) -> Option<StateShare> {
        Some(StateShare::First)
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        self.operator.build()
    }
}
