//! The functions that tell the time.
//!
//! `CURRENT_TIMESTAMP` and its kin are the moment the query was planned, for as long as it runs: the
//! planner puts a literal in their place. `CURRENT_ROW_TIMESTAMP` is the clock when the row's epoch
//! began.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use millstream_engine::clock::EpochTime;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::monotonic::EPOCH_TIME;

use super::TIME_TYPE;
use super::calendar::split;

/// `CURRENT_ROW_TIMESTAMP` as a call: of the row's time, with which the clock of its rows ends, or of
/// nothing.
pub(crate) const CLOCK: &str = EPOCH_TIME;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let constant = |name, of| ScalarUDF::from(Planned::new(name, of));
    let now = Planned::new("now", Part::Timestamp);
    vec![
        ScalarUDF::from(now).with_aliases(["current_timestamp", "localtimestamp"]),
        constant("current_date", Part::Date),
        ScalarUDF::from(Planned::new("current_time", Part::Time)).with_aliases(["localtime"]),
        epoch_time(None),
    ]
}

/// `plan` with the time `now_ms` in place of `CURRENT_TIMESTAMP` and its kin; of a batch query, whose
/// rows all come at once, in place of `CURRENT_ROW_TIMESTAMP` too.
///
/// # Errors
///
/// When DataFusion refuses the plan: our bug.
pub(crate) fn fix_time(plan: LogicalPlan, now_ms: i64, is_batch: bool) -> Result<LogicalPlan> {
    replace_calls(plan, &|call| {
        let name = call.func.name();
        if name == CLOCK && is_batch {
            return Some(Expr::Literal(Part::Timestamp.of(now_ms), None));
        }
        let part = match name {
            "now" => Part::Timestamp,
            "current_date" => Part::Date,
            "current_time" => Part::Time,
            _ => return None,
        };
        Some(Expr::Literal(part.of(now_ms), None))
    })
}

/// `plan` with its `CURRENT_ROW_TIMESTAMP`s reading the clock of a dataflow's epochs.
///
/// # Errors
///
/// When DataFusion refuses the plan: our bug.
pub(crate) fn bind_clock(plan: LogicalPlan, time: &EpochTime) -> Result<LogicalPlan> {
    replace_calls(plan, &|call| {
        let bound = || Arc::new(epoch_time(Some(time.clone())));
        (call.func.name() == CLOCK)
            .then(|| Expr::ScalarFunction(ScalarFunction::new_udf(bound(), call.args.clone())))
    })
}

fn replace_calls(
    plan: LogicalPlan,
    replacement: &dyn Fn(&ScalarFunction) -> Option<Expr>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let replaced = expr.transform_up(|expr| match &expr {
                Expr::ScalarFunction(call) => Ok(match replacement(call) {
                    Some(new) => Transformed::yes(new),
                    None => Transformed::no(expr),
                }),
                _ => Ok(Transformed::no(expr)),
            })?;
            Ok(replaced.update_data(|expr| name.restore(expr)))
        })
    })
    .data()
}

fn epoch_time(time: Option<EpochTime>) -> ScalarUDF {
    let forms = vec![TypeSignature::Nullary, TypeSignature::Any(1)];
    ScalarUDF::from(EpochClock { signature: Signature::one_of(forms, Volatility::Volatile), time })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Timestamp,
    Date,
    Time,
}

impl Part {
    /// This part of a time.
    fn of(self, now_ms: i64) -> ScalarValue {
        let (days, in_day) = split(now_ms);
        match self {
            Self::Timestamp => ScalarValue::TimestampMillisecond(Some(now_ms), None),
            Self::Date => ScalarValue::Date32(i32::try_from(days).ok()),
            Self::Time => ScalarValue::Time32Millisecond(i32::try_from(in_day).ok()),
        }
    }
}

/// A function that is the time of planning.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    part: Part,
    signature: Signature,
}

impl Planned {
    fn new(name: &'static str, part: Part) -> Self {
        Self { name, part, signature: Signature::nullary(Volatility::Stable) }
    }
}

impl ScalarUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.part {
            Part::Timestamp => TIMESTAMP_TYPE,
            Part::Date => DataType::Date32,
            Part::Time => TIME_TYPE,
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} was not planned", self.name)
    }
}

/// `CURRENT_ROW_TIMESTAMP`.
#[derive(Debug)]
struct EpochClock {
    signature: Signature,
    /// The clock of the dataflow it belongs to; none before it does.
    time: Option<EpochTime>,
}

impl PartialEq for EpochClock {
    fn eq(&self, other: &Self) -> bool {
        self.time.is_some() == other.time.is_some()
    }
}

impl Eq for EpochClock {}

impl Hash for EpochClock {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.time.is_some().hash(state);
    }
}

impl ScalarUDFImpl for EpochClock {
    fn name(&self) -> &'static str {
        CLOCK
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(TIMESTAMP_TYPE)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let time = self.time.as_ref().map(EpochTime::now_ms);
        let now_ms =
            time.ok_or_else(|| DataFusionError::Internal("a clock of no dataflow".to_owned()))?;
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(Some(now_ms), None)))
    }
}
