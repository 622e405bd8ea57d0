//! Joins with a window of `ROWS` on a side: the window is over all rows of the relation, so whatever
//! chooses among them, put below the join by the planner, only says which of them are joined.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, LogicalPlan, Operator, Window, binary_expr,
};
use millstream_engine::dataflow::NodeId;
use millstream_engine::definition::TIMESTAMP_TYPE;
use millstream_engine::operators::rows_join::{Reach, RowsJoinSpec, RowsSide, Side};

use super::join::residual;
use super::window::arrival_order;
use super::{Translator, physical_all};
use crate::error::SqlError;
use crate::plan::errors::from_datafusion;
use crate::rowtime::windowed::IN_WINDOW;

/// What the windows of `join` are by, if one is of rows, and the join without that.
pub(super) fn windows_of(join: &Join) -> Option<([Expr; 6], Join)> {
    let parts = || join.filter.iter().flat_map(split_conjunction);
    let windows = parts().find_map(arguments)?;
    let others = parts().filter(|part| arguments(part).is_none()).cloned();
    let mut without = join.clone();
    without.filter = conjunction(others);
    Some((windows, without))
}

fn arguments(part: &Expr) -> Option<[Expr; 6]> {
    match part {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == IN_WINDOW => {
            args.clone().try_into().ok()
        }
        _ => None,
    }
}

/// A plan as what it makes of the rows below a window: the columns it gives, over the window's, and
/// which rows it passes on.
struct Above<'p> {
    window: &'p Window,
    columns: Vec<Expr>,
    predicate: Option<Expr>,
}

impl<'p> Above<'p> {
    fn of(plan: &'p LogicalPlan) -> Result<Self, SqlError> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input),
            LogicalPlan::Projection(projection) => {
                let below = Self::of(&projection.input)?;
                let columns = projection.expr.iter();
                let columns = columns.map(|expr| below.replaced(expr, &projection.input));
                Ok(Self { columns: columns.collect::<Result<_, _>>()?, ..below })
            }
            LogicalPlan::Filter(filter) => {
                let below = Self::of(&filter.input)?;
                let passed = below.replaced(&filter.predicate, &filter.input)?;
                let predicate = conjunction(below.predicate.into_iter().chain([passed]));
                Ok(Self { predicate, ..below })
            }
            LogicalPlan::Window(window) => {
                let columns = window.schema.columns().into_iter().map(Expr::Column).collect();
                Ok(Self { window, columns, predicate: None })
            }
            other => Err(SqlError::new(format!(
                "{} cannot stand above a window of ROWS in FROM",
                other.display()
            ))
            .with_hint("give the rows of the window a stream of their own, with a pump")),
        }
    }

    /// `expr` over the columns of `plan`, as one over those of the window.
    fn replaced(&self, expr: &Expr, plan: &LogicalPlan) -> Result<Expr, SqlError> {
        let replaced = expr.clone().unalias().transform(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            let at = plan.schema().index_of_column(column)?;
            Ok(Transformed::yes(self.columns[at].clone().unalias()))
        });
        Ok(replaced.map_err(|error| from_datafusion(&error))?.data)
    }

    /// How many rows before its last the window holds; its function is the last column.
    fn rows(&self) -> Result<u64, SqlError> {
        let [call] = self.window.window_expr.as_slice() else { return Err(strange()) };
        let Expr::WindowFunction(call) = call.clone().unalias() else { return Err(strange()) };
        arrival_order(&call.params)?;
        let places = call.params.args.get(1).and_then(|places| match places {
            Expr::Literal(places, _) => places.cast_to(&DataType::UInt64).ok(),
            _ => None,
        });
        match places {
            Some(ScalarValue::UInt64(Some(places))) => Ok(places.saturating_sub(1)),
            _ => Err(strange()),
        }
    }

    /// The expression over what the window reads; when it lets go of a row, the join says.
    fn below(&self, expr: Expr) -> Result<Expr, SqlError> {
        let window = self.window.schema.columns().pop();
        let moment = ScalarValue::TimestampMillisecond(None, None);
        let below = expr.transform(|part| match &part {
            Expr::Column(column) if Some(column) == window.as_ref() => {
                Ok(Transformed::yes(Expr::Literal(moment.clone(), None)))
            }
            _ => Ok(Transformed::no(part)),
        });
        Ok(below.map_err(|error| from_datafusion(&error))?.data)
    }
}

fn strange() -> SqlError {
    SqlError::new("the window of a relation in FROM is not planned as one")
}

impl Translator<'_> {
    pub(super) fn rows_join(
        &mut self,
        join: &Join,
        windows: &[Expr; 6],
    ) -> Result<NodeId, SqlError> {
        let [left, left_until, left_reach, right, right_until, right_reach] = windows;
        if !matches!(
            join.join_type,
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
        ) {
            return Err(SqlError::new(format!("{} JOIN has no windows of ROWS", join.join_type))
                .with_hint("JOIN, LEFT JOIN, RIGHT JOIN and FULL JOIN have"));
        }
        let equal = match join.null_equality {
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
            NullEquality::NullEqualsNothing => Operator::Eq,
        };
        let equalities = join.on.iter().map(|(l, r)| binary_expr(l.clone(), equal, r.clone()));
        let condition = conjunction(equalities.chain(join.filter.clone()));
        let residual = condition.as_ref().map(|filter| residual(filter, join, false));
        let keys: (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
        let left = self.rows_side(&join.left, [left, left_until, left_reach], &keys.0)?;
        let right = self.rows_side(&join.right, [right, right_until, right_reach], &keys.1)?;
        let widths = [&join.left, &join.right].map(|plan| plan.schema().fields().len());
        let of = |side, width| (0..width).map(move |column| (side, column));
        let until = [left_until, right_until].into_iter().filter_map(|until| match until {
            Expr::Column(column) => join.schema.maybe_index_of_column(column),
            _ => None,
        });
        let schema = Arc::new(join.schema.as_arrow().clone());
        let spec = RowsJoinSpec {
            join_type: join.join_type,
            left: left.1,
            right: right.1,
            residual: residual.transpose()?,
            output: of(Side::Left, widths[0]).chain(of(Side::Right, widths[1])).collect(),
            moments: until.collect(),
            schema: Arc::clone(&schema),
        };
        Ok(self.operator(schema, false, vec![left.0, right.0], spec))
    }

    /// A side: the columns of its plan, then its time and keys, and which of its rows are joined.
    fn rows_side(
        &mut self,
        plan: &LogicalPlan,
        [time, until, reach]: [&Expr; 3],
        keys: &[Expr],
    ) -> Result<(NodeId, RowsSide), SqlError> {
        let above = match until {
            Expr::Column(_) => Some(Above::of(plan)?),
            _ => None,
        };
        let reach = match &above {
            Some(above) => Reach::Rows(above.rows()?),
            None => within(reach).ok_or_else(strange)?,
        };
        let below = above.as_ref().map_or(plan, |above| &above.window.input);
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let time_at = exprs.len();
        exprs.push(time.clone());
        exprs.extend(keys.iter().cloned());
        let names = plan.schema().columns().into_iter().map(|Column { name, .. }| name);
        let mut names: Vec<String> = names.chain(["__time".to_owned()]).collect();
        names.extend((0..keys.len()).map(|key| format!("__key_{key}")));
        let types = exprs.iter().map(|expr| expr.get_type(plan.schema()));
        let mut types = types.collect::<Result<Vec<_>, _>>().map_err(|e| from_datafusion(&e))?;
        let mut counts = None;
        if let Some(above) = &above {
            let replaced = exprs.iter().map(|expr| above.below(above.replaced(expr, plan)?));
            exprs = replaced.collect::<Result<_, _>>()?;
            if let Some(predicate) = &above.predicate {
                counts = Some(exprs.len());
                exprs.push(above.below(predicate.clone())?);
                names.push("__counts".to_owned());
                types.push(DataType::Boolean);
            }
        }
        let fields = names.into_iter().zip(types).map(|(name, of)| Field::new(name, of, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let input = self.plan(below)?;
        let node = self.project(input, physical_all(&exprs, below.schema())?, &schema);
        let is_timed = *schema.field(time_at).data_type() == TIMESTAMP_TYPE
            && self.timed(node).get(time_at).is_some();
        if !is_timed || self.dataflow.node(node).updating {
            return Err(SqlError::new("a window of ROWS needs rows with a ROWTIME, for good")
                .with_hint("join streams whose rows are not taken back"));
        }
        let keys = (time_at + 1..time_at + 1 + keys.len()).collect();
        Ok((node, RowsSide { schema, keys, time: time_at, counts, reach }))
    }
}

/// The reach of a window of time.
fn within(reach: &Expr) -> Option<Reach> {
    let Expr::Literal(value, _) = reach else { return None };
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(ms)) => Some(Reach::Within(ms)),
        _ => None,
    }
}
