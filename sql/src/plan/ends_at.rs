//! Until when an expression over the row's time stays what it is.
//!
//! A grouping expression that only grows or only falls has each of its values during one stretch of
//! time; the end of the stretch is when a group is complete. For `STEP(m BY …)` and its kin the end is
//! plain arithmetic; for all the others (`-m`, `c / m`, texts of times) it is looked for:
//!
//! ```text
//!   value   5 5 5 5 5 5 5 5 4 4 4
//!   time    t · · · · · · · ┬ · ·      1, 2, 4, 8 … ms ahead until it differs, then halves
//!                           └ the end
//! ```

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMillisecondType};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, ToDFSchema, internal_err};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, col,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use millstream_engine::definition::TIMESTAMP_TYPE;

use super::markers::arguments;
use crate::statement::clauses::ENDS_AT;

/// The name of the time in the expression that is looked at.
const TIME: &str = "t";

/// The last moment that is looked at, the end of the year 9999: what stays the same until then does so
/// for ever.
const LAST_MS: i64 = 253_402_300_799_999;

/// The function as queries are rewritten to call it.
pub(super) fn marker() -> ScalarUDF {
    ScalarUDF::from(EndsAt { of: None, signature: Signature::any(2, Volatility::Immutable) })
}

/// Gives the calls among the keys of an aggregate the expression they look at.
pub(super) fn bound(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
    let is_call = |key: &Expr| arguments(key, ENDS_AT).is_some_and(|args| args.len() == 2);
    if !aggregate.group_expr.iter().any(is_call) {
        return Ok(Transformed::no(plan));
    }
    let keys = aggregate.group_expr.iter().map(|key| match arguments(key, ENDS_AT) {
        Some([of, time]) => Ok(looking(of, time)?.alias(key.schema_name().to_string())),
        _ => Ok(key.clone()),
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let grouped =
        Aggregate::try_new(Arc::clone(&aggregate.input), keys, aggregate.aggr_expr.clone())?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(grouped)))
}

/// The call for `of`, which is made of `time`.
fn looking(of: &Expr, time: &Expr) -> Result<Expr> {
    let as_column = |expr: Expr| match expr == *time {
        true => Ok(Transformed::yes(col(TIME))),
        false => Ok(Transformed::no(expr)),
    };
    let of = of.clone().transform_up(as_column).data()?;
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(EndsAt { of: Some(Looked::new(of)?), signature });
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![time.clone()])))
}

/// The end of the time for which the value is what it is at the argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EndsAt {
    /// What is looked at; none before that is known.
    of: Option<Looked>,
    signature: Signature,
}

impl ScalarUDFImpl for EndsAt {
    fn name(&self) -> &'static str {
        ENDS_AT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(TIMESTAMP_TYPE)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(of), Some(times)) = (&self.of, args.args.into_iter().next()) else {
            return internal_err!("it is not known what ends");
        };
        let times = arrow::compute::cast(&times.into_array(args.number_rows)?, &TIMESTAMP_TYPE)?;
        // The rows of a batch are near each other: most are in the stretch of the one before.
        let mut stretch: Option<(i64, i64)> = None;
        let times = times.as_primitive::<TimestampMillisecondType>();
        let ends = times.iter().map(|time| {
            let Some(time) = time else { return Ok(None) };
            match stretch {
                Some((from, end)) if (from..end).contains(&time) => Ok(Some(end)),
                _ => {
                    let end = of.end(time)?;
                    stretch = Some((time, end));
                    Ok(Some(end))
                }
            }
        });
        let ends: TimestampMillisecondArray = ends.collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(ends)))
    }
}

/// An expression over one column, a time.
#[derive(Debug)]
pub(super) struct Looked {
    of: Expr,
    physical: Arc<dyn PhysicalExpr>,
    schema: Arc<Schema>,
}

impl PartialEq for Looked {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of
    }
}

impl Eq for Looked {}

impl Hash for Looked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
    }
}

impl Looked {
    pub(super) fn new(of: Expr) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Field::new(TIME, TIMESTAMP_TYPE, true)]));
        let known: Arc<DFSchema> = Arc::clone(&schema).to_dfschema_ref()?;
        let simplifier = ExprSimplifier::new(SimplifyContext::default());
        let coerced = simplifier.coerce(of.clone(), &known)?;
        let physical = create_physical_expr(&coerced, &known, &ExecutionProps::new())?;
        Ok(Self { of, physical, schema })
    }

    /// Its values at `times`.
    pub(super) fn at(&self, times: Vec<i64>) -> Result<ArrayRef> {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times));
        let rows = times.len();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![times])?;
        self.physical.evaluate(&batch)?.into_array(rows)
    }

    /// The value at one time. There is one zero, not two.
    fn value(&self, time: i64) -> Result<ScalarValue> {
        Ok(match ScalarValue::try_from_array(&self.at(vec![time])?, 0)? {
            ScalarValue::Float64(Some(number)) => ScalarValue::Float64(Some(number + 0.0)),
            ScalarValue::Float32(Some(number)) => ScalarValue::Float32(Some(number + 0.0)),
            other => other,
        })
    }

    /// The first time after `time` at which the value is another one.
    fn end(&self, time: i64) -> Result<i64> {
        let value = self.value(time)?;
        let is_same = |time: i64| self.value(time).is_ok_and(|other| other == value);
        let (mut same, mut step) = (time, 1_i64);
        let mut other = loop {
            let ahead = time.saturating_add(step).min(LAST_MS);
            if !is_same(ahead) {
                break ahead;
            }
            if ahead >= LAST_MS {
                return Ok(LAST_MS.max(time.saturating_add(1)));
            }
            (same, step) = (ahead, step.saturating_mul(2));
        };
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            match is_same(middle) {
                true => same = middle,
                false => other = middle,
            }
        }
        Ok(other)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{self, SelectItem, SetExpr};
    use proptest::prelude::*;

    use super::*;
    use crate::plan::relations::Scope;
    use crate::plan::tests::read;
    use crate::rowtime::monotonic::{Direction, direction};

    const STREAM: &str = "CREATE STREAM s (k INTEGER);";

    /// What the table says of an expression over `s.ROWTIME`, and the expression to be computed.
    fn judged(expr: &str) -> (Result<Direction, String>, Looked) {
        let text = format!("{STREAM} SELECT STREAM {expr} AS e FROM s;");
        let (catalog, query) = read(&text).unwrap();
        let query = query.unwrap();
        let SetExpr::Select(select) = query.ast.body.as_ref() else { panic!("no SELECT: {expr}") };
        let SelectItem::ExprWithAlias { expr: written, .. } = &select.projection[0] else {
            panic!("no alias: {expr}")
        };
        let is_time = |expr: &ast::Expr| expr.to_string().eq_ignore_ascii_case("s.rowtime");
        let direction = direction(written, &is_time);
        let plan = Scope::streaming(&catalog).plan(&query, false).unwrap().plan;
        let LogicalPlan::Projection(projection) = plan else { panic!("no projection: {plan}") };
        let as_time = |expr: Expr| match expr {
            Expr::Column(_) => Ok(Transformed::yes(col(TIME))),
            other => Ok(Transformed::no(other)),
        };
        let computed = projection.expr[0].clone().unalias().transform_up(as_time).data().unwrap();
        (direction, Looked::new(computed).unwrap())
    }

    /// Numbers that are made of the time.
    fn numbers() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            4 => Just("UNIX_TIMESTAMP(s.ROWTIME)".to_owned()),
            1 => Just("TSDIFF(TIMESTAMP '2001-02-03 04:05:06', s.ROWTIME)".to_owned()),
            1 => Just("TSDIFF(s.ROWTIME, TIMESTAMP '2031-02-03 04:05:06')".to_owned()),
            1 => Just("CAST((s.ROWTIME - TIMESTAMP '1999-12-31 00:00:00') SECOND(10) AS BIGINT)".to_owned()),
            1 => (-9..=9_i64).prop_map(|number| number.to_string()),
        ];
        leaf.prop_recursive(4, 12, 2, |inner| {
            let constant = prop_oneof![-1000..=-1_i64, 0..=0_i64, 1..=1000_i64];
            prop_oneof![
                inner.clone().prop_map(|x| format!("-({x})")),
                (inner.clone(), constant.clone()).prop_map(|(x, c)| format!("({x}) * {c}")),
                (inner.clone(), constant.clone()).prop_map(|(x, c)| format!("{c} * ({x})")),
                (inner.clone(), constant.clone()).prop_map(|(x, c)| format!("({x}) / {c}")),
                (inner.clone(), constant.clone()).prop_map(|(x, c)| format!("{c} - ({x})")),
                constant.prop_map(|c| format!("{c}000000000000 / UNIX_TIMESTAMP(s.ROWTIME)")),
                (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("({x}) + ({y})")),
                (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("({x}) - ({y})")),
                inner.clone().prop_map(|x| format!("FLOOR(({x}) / 7.5)")),
                inner.clone().prop_map(|x| format!("CEIL(({x}) * 0.25)")),
                (inner.clone(), 1..5000_i64).prop_map(|(x, c)| format!("STEP({x} BY {c})")),
                inner.prop_map(|x| format!("CAST({x} AS DOUBLE)")),
            ]
        })
    }

    /// Times and texts that are made of the time.
    fn moments() -> impl Strategy<Value = String> {
        let unit = prop_oneof![
            Just("YEAR"),
            Just("MONTH"),
            Just("DAY"),
            Just("HOUR"),
            Just("MINUTE"),
            Just("SECOND"),
        ];
        let time = Just("s.ROWTIME".to_owned()).prop_recursive(3, 6, 1, move |inner| {
            prop_oneof![
                (inner.clone(), unit.clone())
                    .prop_map(|(x, unit)| format!("FLOOR(({x}) TO {unit})")),
                (inner.clone(), unit.clone())
                    .prop_map(|(x, unit)| format!("CEIL(({x}) TO {unit})")),
                (inner.clone(), 1..90_u32)
                    .prop_map(|(x, n)| format!("STEP(({x}) BY INTERVAL '{n}' MINUTE)")),
                (inner.clone(), 1..90_u32)
                    .prop_map(|(x, n)| format!("{x} - INTERVAL '{n}' SECOND")),
                (inner, 1..9_u32).prop_map(|(x, n)| format!("{x} + INTERVAL '{n}' MONTH")),
            ]
        });
        (time, 0..6_u8, 1..24_u32).prop_map(|(time, form, n)| match form {
            0 => format!("CAST({time} AS DATE)"),
            1 => format!("CAST({time} AS VARCHAR(40))"),
            2 => format!("SUBSTRING(CAST({time} AS VARCHAR(40)) FROM 1 FOR {n})"),
            3 => format!("STEP(CAST({time} AS DATE) BY INTERVAL '{n}' DAY)"),
            _ => time,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn what_is_judged_to_rise_or_fall_does(
            expr in prop_oneof![numbers(), moments()],
            mut times in proptest::collection::vec(0..4_000_000_000_000_i64, 20),
            near in 946_684_800_000..2_000_000_000_000_i64,
            steps in proptest::collection::vec(0..100_000_i64, 30),
        ) {
            let (direction, looked) = judged(&expr);
            let Ok(direction) = direction else { return Ok(()) };
            times.retain(|time| *time > 0);
            times.extend(steps.iter().scan(near, |at, step| { *at += step; Some(*at) }));
            times.sort_unstable();
            // Rows on which it overflows are set aside.
            let value_at = |time: i64| looked.value(time).ok();
            let values: Vec<_> =
                times.iter().filter_map(|time| Some((*time, value_at(*time)?))).collect();
            for pair in values.windows(2) {
                let [(from, a), (to, b)] = pair else { continue };
                let order = a.partial_cmp(b);
                let kept = match direction {
                    Direction::Constant => order.is_some_and(std::cmp::Ordering::is_eq),
                    Direction::Rising => order.is_some_and(std::cmp::Ordering::is_le),
                    Direction::Falling => order.is_some_and(std::cmp::Ordering::is_ge),
                };
                prop_assert!(kept, "{} is {:?}, but {} at {} and {} at {}", expr, direction, a, from, b, to);
            }
            // Where a stretch ends, the value is another one, and was the same all the time before.
            let Some((time, value)) = values.first() else { return Ok(()) };
            let end = looked.end(*time).unwrap();
            prop_assert!(end > *time);
            let before = value_at(end - 1);
            prop_assert_eq!(before.as_ref(), Some(value), "{}", &expr);
            prop_assert!(end >= LAST_MS || value_at(end).as_ref() != Some(value), "{}", &expr);
        }
    }

    #[test]
    fn nothing_is_promised_of_what_may_go_either_way() {
        for expr in [
            "k",
            "MOD(UNIX_TIMESTAMP(s.ROWTIME), 7)",
            "EXTRACT(HOUR FROM s.ROWTIME)",
            "CAST(s.ROWTIME AS TIME)",
            "UNIX_TIMESTAMP(s.ROWTIME) - UNIX_TIMESTAMP(s.ROWTIME) / 2",
            "CAST(UNIX_TIMESTAMP(s.ROWTIME) AS VARCHAR(20))",
            "SUBSTRING(CAST(s.ROWTIME AS VARCHAR(40)) FROM 2 FOR 3)",
            "UNIX_TIMESTAMP(s.ROWTIME) * UNIX_TIMESTAMP(s.ROWTIME)",
        ] {
            assert!(judged(expr).0.is_err(), "{expr}");
        }
    }
}
