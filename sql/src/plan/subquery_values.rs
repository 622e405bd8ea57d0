//! `IN (SELECT …)` and `EXISTS (SELECT …)` as values, in a select list or an aggregate: a join marks every
//! row by whether the subquery has rows for it, and the mark is the value.
//!
//! ```text
//!   EXISTS (q)    the mark of q
//!   x IN (q)      CASE WHEN the mark of the rows of q that equal x THEN TRUE
//!                      WHEN x IS NULL and the mark of q, or the mark of the NULLs of q THEN NULL
//!                      ELSE FALSE END
//!   x > ANY (q)   CASE WHEN the mark of the rows of q below x THEN TRUE
//!                      WHEN the mark of those of which that is not known THEN NULL ELSE FALSE END
//!   x > ALL (q)   the same of the rows that are not below x, the other way round
//! ```
//!
//! How a subquery that reads the row around it becomes such a join is DataFusion's: it does that for a
//! condition that is part of another.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Subquery,
    binary_expr, lit, when,
};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use super::not_in::of_the_row;

/// `node`, a projection or an aggregate, over an input in which its subqueries are columns.
pub(super) fn marked(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let exprs = node.expressions();
    let inputs = node.inputs();
    let ([input], true) = (inputs.as_slice(), exprs.iter().any(has_subquery)) else {
        return Ok(Transformed::no(node));
    };
    let mut marks = Marks { input: (*input).clone(), context: OptimizerContext::new() };
    // A column keeps its name, whatever stands in its expression now.
    let names = NamePreserver::new_for_projection();
    let exprs = exprs.into_iter().map(|expr| {
        let name = names.save(&expr);
        let valued = expr.transform_up(|expr| marks.value(expr))?;
        Ok(name.restore(valued.data))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    node.with_new_exprs(exprs, vec![marks.input]).map(Transformed::yes)
}

fn has_subquery(expr: &Expr) -> bool {
    let is_one = |expr: &Expr| {
        matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
    };
    expr.exists(|expr| Ok(is_one(expr))).unwrap_or(false)
}

/// The rows, with a column for each mark.
struct Marks {
    input: LogicalPlan,
    /// Where the names of the joins' right sides come from.
    context: OptimizerContext,
}

impl Marks {
    /// `expr` as an expression of marks, if it is a subquery of these that can be one.
    fn value(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let before = self.input.clone();
        let value = match &expr {
            Expr::Exists(Exists { subquery, negated }) => {
                self.exists(subquery.clone())?.map(|value| (value, *negated))
            }
            Expr::InSubquery(condition) => {
                self.is_in(condition)?.map(|value| (value, condition.negated))
            }
            Expr::SetComparison(comparison) => {
                self.compared(comparison)?.map(|value| (value, false))
            }
            _ => return Ok(Transformed::no(expr)),
        };
        Ok(match value {
            Some((value, true)) => Transformed::yes(Expr::Not(Box::new(value))),
            Some((value, false)) => Transformed::yes(value),
            None => {
                // It is refused where it stands, with what else can be written.
                self.input = before;
                Transformed::no(expr)
            }
        })
    }

    fn exists(&mut self, subquery: Subquery) -> Result<Option<Expr>> {
        self.mark(Expr::Exists(Exists { subquery, negated: false }))
    }

    fn is_in(&mut self, condition: &InSubquery) -> Result<Option<Expr>> {
        let InSubquery { expr: value, subquery, .. } = condition;
        let rows = subquery.subquery.as_ref();
        let (qualifier, field) = rows.schema().qualified_field(0);
        let column = Column::from((qualifier, field));
        let equal = InSubquery { negated: false, ..condition.clone() };
        let Some(equal) = self.mark(Expr::InSubquery(equal))? else { return Ok(None) };
        let mut unknown = lit(false);
        if value.nullable(self.input.schema().as_ref())? {
            let Some(any) = self.exists(subquery.clone())? else { return Ok(None) };
            unknown = unknown.or(value.as_ref().clone().is_null().and(any));
        }
        if rows.schema().nullable(&column)? {
            let nulls = LogicalPlanBuilder::from(rows.clone());
            let nulls = nulls.filter(Expr::Column(column).is_null())?.build()?;
            let nulls = subquery.with_plan(Arc::new(nulls));
            let Some(any) = self.exists(nulls)? else { return Ok(None) };
            unknown = unknown.or(any);
        }
        let null = lit(ScalarValue::Boolean(None));
        when(equal, lit(true)).when(unknown, null).otherwise(lit(false)).map(Some)
    }

    fn compared(&mut self, comparison: &SetComparison) -> Result<Option<Expr>> {
        let SetComparison { expr: value, subquery, op, quantifier } = comparison;
        let rows = subquery.subquery.as_ref();
        let (qualifier, field) = rows.schema().qualified_field(0);
        let column = Expr::Column(Column::from((qualifier, field)));
        let value = of_the_row(value.as_ref().clone(), self.input.schema())?;
        let holds = binary_expr(value, *op, column);
        let is_any = *quantifier == SetQuantifier::Any;
        let decides = if is_any { holds.clone().is_true() } else { holds.clone().is_false() };
        let mut marks = Vec::new();
        for condition in [decides, holds.is_null()] {
            let some = LogicalPlanBuilder::from(rows.clone()).filter(condition)?.build()?;
            let outer_ref_columns = some.all_out_ref_exprs();
            let some = Subquery { outer_ref_columns, ..subquery.with_plan(Arc::new(some)) };
            let Some(mark) = self.exists(some)? else { return Ok(None) };
            marks.push(mark);
        }
        let mut marks = marks.into_iter();
        let (Some(decided), Some(unknown)) = (marks.next(), marks.next()) else { return Ok(None) };
        let null = lit(ScalarValue::Boolean(None));
        when(decided, lit(is_any)).when(unknown, null).otherwise(lit(!is_any)).map(Some)
    }

    /// The column that says of each row whether it meets `condition`, a subquery alone; none if that
    /// cannot be a join.
    fn mark(&mut self, condition: Expr) -> Result<Option<Expr>> {
        // As a part of another condition it becomes a mark, and not a join that leaves rows out.
        let part = Filter::try_new(condition.or(lit(false)), Arc::new(self.input.clone()))?;
        let rule = DecorrelatePredicateSubquery::new();
        let joined = rule.rewrite(LogicalPlan::Filter(part), &self.context)?.data;
        let LogicalPlan::Projection(declared) = joined else { return Ok(None) };
        let LogicalPlan::Filter(filter) = declared.input.as_ref() else { return Ok(None) };
        let Expr::BinaryExpr(BinaryExpr { left: mark, .. }) = &filter.predicate else {
            return Ok(None);
        };
        self.input = filter.input.as_ref().clone();
        Ok(Some(mark.as_ref().clone()))
    }
}
