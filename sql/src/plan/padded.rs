//! Texts of `CHAR(n)` are filled up with blanks, so a comparison with one passes over the blanks at the
//! ends of both sides: `'ab'` is the `CHAR(4)` `'ab  '`.
//!
//! Arrow knows texts alone, so which columns are of `CHAR` is followed from the relations that declare
//! them up to the comparison. Patterns (`LIKE`, `SIMILAR TO`) do see the blanks, as in the standard.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, Operator, lit, when,
};

use super::expressions::rewritten;
use super::functions::call;
use crate::catalog::Catalog;
use crate::functions::{CAST, TRIM};

/// `plan` with the comparisons of blank-padded texts.
pub(super) fn compared(plan: LogicalPlan, catalog: &Catalog) -> Result<LogicalPlan> {
    rewritten(plan, |node| Inputs::of(node, catalog), comparison)
}

/// Which columns of a plan are blank-padded.
struct Padded(Vec<bool>);

impl Padded {
    fn of(plan: &LogicalPlan, catalog: &Catalog) -> Self {
        let none = || Self(vec![false; plan.schema().fields().len()]);
        match plan {
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table();
                let declared = catalog.streams.get(name).or_else(|| catalog.tables.get(name));
                if let Some(def) = declared {
                    let of = |name: &String| {
                        def.columns.iter().any(|column| column.name == *name && column.padded)
                    };
                    return Self(plan.schema().fields().iter().map(|f| of(f.name())).collect());
                }
                let derived = scan.source.get_logical_plan();
                derived.map_or_else(none, |plan| Self::of(&plan, catalog))
            }
            LogicalPlan::Projection(projection) => {
                let input = Inputs::alone(&projection.input, catalog);
                Self(projection.expr.iter().map(|expr| input.is_padded(expr)).collect())
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = Inputs::alone(&aggregate.input, catalog);
                let mut padded: Vec<bool> =
                    aggregate.group_expr.iter().map(|expr| input.is_padded(expr)).collect();
                padded.resize(plan.schema().fields().len(), false);
                Self(padded)
            }
            LogicalPlan::Join(join)
                if !matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti) =>
            {
                let mut padded = Self::of(&join.left, catalog).0;
                padded.extend(Self::of(&join.right, catalog).0);
                padded.resize(plan.schema().fields().len(), false);
                Self(padded)
            }
            LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Union(_) => match plan.inputs().first() {
                Some(input) => {
                    let mut padded = Self::of(input, catalog).0;
                    padded.resize(plan.schema().fields().len(), false);
                    Self(padded)
                }
                None => none(),
            },
            _ => none(),
        }
    }
}

/// The columns that the expressions of a node see.
struct Inputs {
    schema: DFSchema,
    padded: Padded,
}

impl Inputs {
    fn alone(input: &LogicalPlan, catalog: &Catalog) -> Self {
        Self { schema: input.schema().as_ref().clone(), padded: Padded::of(input, catalog) }
    }

    /// Those of `node`; none where it has no expressions over them.
    fn of(node: &LogicalPlan, catalog: &Catalog) -> Result<Option<Self>> {
        match (node, &node.inputs()[..]) {
            (_, [input]) => Ok(Some(Self::alone(input, catalog))),
            (LogicalPlan::Join(join), _) => {
                let mut all = Self::alone(&join.left, catalog);
                let right = Self::alone(&join.right, catalog);
                all.schema = all.schema.join(&right.schema)?;
                all.padded.0.extend(right.padded.0);
                Ok(Some(all))
            }
            _ => Ok(None),
        }
    }

    fn is_padded(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Column(column) => {
                let place = self.schema.maybe_index_of_column(column);
                place.is_some_and(|at| self.padded.0.get(at) == Some(&true))
            }
            Expr::Alias(alias) => self.is_padded(&alias.expr),
            Expr::ScalarFunction(function) if function.func.name() == CAST => {
                matches!(function.args.get(1), Some(Expr::Literal(name, _)) if name.to_string() == "CHAR")
            }
            _ => false,
        }
    }

    /// A text without the blanks at its end; anything else as it is.
    fn trimmed(&self, expr: Expr) -> Expr {
        match expr.get_type(&self.schema) {
            Ok(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
                call(TRIM, vec![lit("TRAILING"), lit(" "), expr])
            }
            _ => expr,
        }
    }
}

/// A comparison with what ends in blanks is one of what is before them.
fn comparison(expr: Expr, inputs: &Inputs) -> Result<Transformed<Expr>> {
    let trimmed = |expr: Expr| inputs.trimmed(expr);
    let padded = |expr: &Expr| inputs.is_padded(expr);
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(op) && (padded(&left) || padded(&right)) =>
        {
            let (left, right) = (Box::new(trimmed(*left)), Box::new(trimmed(*right)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::InList(InList { expr, list, negated }) if padded(&expr) => {
            let list = list.into_iter().map(trimmed).collect();
            let expr = Box::new(trimmed(*expr));
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::Between(mut between) if padded(&between.expr) => {
            for side in [&mut between.expr, &mut between.low, &mut between.high] {
                let value = std::mem::take(side.as_mut());
                **side = trimmed(value);
            }
            Transformed::yes(Expr::Between(between))
        }
        Expr::Case(mut case) if case.expr.as_ref().is_some_and(|expr| padded(expr)) => {
            case.expr = case.expr.map(|expr| Box::new(trimmed(*expr)));
            for (when, _) in &mut case.when_then_expr {
                let value = std::mem::take(when.as_mut());
                **when = trimmed(value);
            }
            Transformed::yes(Expr::Case(case))
        }
        Expr::ScalarFunction(mut call) if call.func.name() == "nullif" => {
            match &mut call.args[..] {
                [value, other] if padded(value) || padded(other) => {
                    let (value, other) = (std::mem::take(value), std::mem::take(other));
                    let is_equal = trimmed(value.clone()).eq(trimmed(other));
                    let value = when(is_equal, lit(ScalarValue::Utf8(None))).otherwise(value)?;
                    Transformed::yes(value)
                }
                _ => Transformed::no(Expr::ScalarFunction(call)),
            }
        }
        other => Transformed::no(other),
    })
}

/// Whether an operator compares two values.
pub(super) fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}
