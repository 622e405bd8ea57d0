//! `JOIN t FOR SYSTEM_TIME AS OF a.t`: a stream with the versions of another one, each row with the
//! version of its time.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use millstream_engine::dataflow::NodeId;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::operators::temporal_join::{TemporalJoinSpec, TimedSide};

use super::Translator;
use super::interval::same_time;
use super::join::{Half, output_of, residual};
use crate::error::SqlError;
use crate::rowtime::AS_OF;

/// The two times that `FOR SYSTEM_TIME AS OF` ties together, if it stands in the condition of `join`,
/// and the join without it.
pub(super) fn as_of(join: &Join) -> Option<([Column; 2], Join)> {
    let parts = || join.filter.iter().flat_map(split_conjunction);
    let times = parts().find_map(times_of)?;
    let others = parts().filter(|part| times_of(part).is_none()).cloned();
    let filter = conjunction(others);
    let mut without = join.clone();
    without.filter = filter;
    Some((times, without))
}

fn times_of(part: &Expr) -> Option<[Column; 2]> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = part else { return None };
    match args.as_slice() {
        [Expr::Column(moment), Expr::Column(version)] if func.name() == AS_OF => {
            Some([moment.clone(), version.clone()])
        }
        _ => None,
    }
}

impl Translator<'_> {
    pub(super) fn temporal_join(
        &mut self,
        join: &Join,
        [moment, version]: &[Column; 2],
        [left, right]: [&Half; 2],
    ) -> Result<NodeId, SqlError> {
        let outer = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            other => {
                return Err(SqlError::new(format!("{other} JOIN has no FOR SYSTEM_TIME AS OF"))
                    .with_hint("a stream joins versions by JOIN or LEFT JOIN"));
            }
        };
        let side = |half: &Half, plan: &LogicalPlan, column: &Column| -> Result<_, SqlError> {
            let timed = self.timed(half.node);
            let time = time_column(plan.schema(), column)
                .filter(|time| {
                    timed.get(*time).is_some() && !self.dataflow.node(half.node).updating
                })
                .ok_or_else(|| {
                    SqlError::new(format!(
                        "FOR SYSTEM_TIME AS OF needs {column} to have a watermark"
                    ))
                    .with_hint(
                        "name ROWTIME or the column of WATERMARK FOR, of streams whose rows \
                                    are not taken back",
                    )
                })?;
            Ok(TimedSide {
                schema: Arc::clone(&self.dataflow.node(half.node).schema),
                keys: half.keys.clone(),
                time,
                same_time: same_time(plan, time, &timed),
            })
        };
        let schema = Arc::new(join.schema.as_arrow().clone());
        let residual = join.filter.as_ref().map(|filter| residual(filter, join, false));
        let spec = TemporalJoinSpec {
            outer,
            left: side(left, &join.left, moment)?,
            right: side(right, &join.right, version)?,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            residual: residual.transpose()?,
            output: output_of(join, left, right),
            schema: Arc::clone(&schema),
        };
        Ok(self.operator(schema, false, vec![left.node, right.node], spec))
    }
}

fn time_column(schema: &DFSchema, column: &Column) -> Option<usize> {
    let at = schema.maybe_index_of_column(column)?;
    (*schema.field(at).data_type() == TIMESTAMP_TYPE).then_some(at)
}
