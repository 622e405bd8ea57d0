//! Comparisons with all rows of a subquery, in the forms that are joined by:
//!
//! ```text
//!   x = ANY (q), x = SOME (q)     x IN (q)
//!   x <> ALL (q)                  x NOT IN (q)
//!   (a, b) IN (q)                 CASE WHEN EXISTS (rows of q that equal it) THEN TRUE
//!                                      WHEN EXISTS (rows of which that is not known) THEN NULL
//!                                      ELSE FALSE END
//! ```
//!
//! As a condition of its own in `WHERE` the last is `EXISTS`, and `NOT IN` is `NOT EXISTS` of the rows that
//! are not known to differ: a row that is not known to pass does not. The other comparisons with `ANY` and
//! `ALL` are left to the planner.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, Select, SelectItem, SetExpr, Spanned, TableAlias,
    TableAliasColumnDef, TableFactor, UnaryOperator, Value, helpers::attached_token::AttachedToken,
};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax::{self, binary};

/// The name of the rows of the subquery, and what those of its columns begin with.
const ROWS: &str = "__row";

/// Rewrites the conditions of a `SELECT` that decide by themselves which rows pass.
pub(super) fn select(select: &mut Select) -> Result<(), SqlError> {
    let conditions = select.selection.iter_mut().chain(select.having.iter_mut());
    conditions.into_iter().try_for_each(condition)
}

fn condition(expr: &mut Expr) -> Result<(), SqlError> {
    as_membership(expr);
    match expr {
        Expr::Nested(inner) => condition(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            condition(left).and_then(|()| condition(right))
        }
        Expr::InSubquery { expr: row, subquery, negated } => {
            let Expr::Tuple(row) = row.as_ref() else { return Ok(()) };
            let equal = equal_rows(row, subquery)?;
            let (passes, negated) = match *negated {
                true => (Expr::IsNotFalse(Box::new(equal)), true),
                false => (equal, false),
            };
            let exists = exists(subquery, row.len(), passes, negated);
            *expr = exists;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Rewrites one expression, before its parts.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    as_membership(expr);
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return Ok(()) };
    let Expr::Tuple(row) = row.as_ref() else { return Ok(()) };
    let equal = equal_rows(row, subquery)?;
    let unknown = Expr::IsNull(Box::new(Expr::Nested(Box::new(equal.clone()))));
    let truth = |value| Expr::value(Value::Boolean(value));
    let when = |condition, result| CaseWhen { condition, result };
    let value = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            when(exists(subquery, row.len(), equal, false), truth(!*negated)),
            when(exists(subquery, row.len(), unknown, false), Expr::value(Value::Null)),
        ],
        else_result: Some(Box::new(truth(*negated))),
    };
    *expr = value;
    Ok(())
}

/// `= ANY` and `<> ALL` as `IN` and `NOT IN`.
fn as_membership(expr: &mut Expr) {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return,
    };
    let Expr::Subquery(subquery) = right.as_mut() else { return };
    let subquery = std::mem::replace(subquery.as_mut(), syntax::query(syntax::no_rows()));
    let left = std::mem::replace(left.as_mut(), Expr::value(Value::Null));
    *expr = Expr::InSubquery { expr: Box::new(left), subquery: Box::new(subquery), negated };
}

fn column(at: usize) -> Ident {
    Ident::new(format!("{ROWS}_{at}"))
}

/// That a row of the subquery equals `row`.
fn equal_rows(row: &[Expr], subquery: &Query) -> Result<Expr, SqlError> {
    if let SetExpr::Select(select) = subquery.body.as_ref()
        && !select.projection.iter().any(is_wildcard)
        && select.projection.len() != row.len()
    {
        let (wanted, given) = (row.len(), select.projection.len());
        let error = SqlError::new(format!("{wanted} values beside a subquery of {given} columns"))
            .with_hint("the subquery selects one column for each value");
        return Err(span_of(subquery.span()).into_iter().fold(error, SqlError::or_at));
    }
    let equal = row.iter().enumerate().map(|(at, value)| {
        let of_subquery = Expr::CompoundIdentifier(vec![Ident::new(ROWS), column(at)]);
        binary(value.clone(), BinaryOperator::Eq, of_subquery)
    });
    let all = equal.reduce(|a, b| binary(a, BinaryOperator::And, b));
    Ok(Expr::Nested(Box::new(all.unwrap_or_else(|| Expr::value(Value::Boolean(true))))))
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// `[NOT] EXISTS (SELECT 1 FROM (subquery) AS rows WHERE condition)`.
fn exists(subquery: &Query, width: usize, condition: Expr, negated: bool) -> Expr {
    let mut rows = syntax::derived(subquery.clone());
    if let TableFactor::Derived { alias, .. } = &mut rows {
        let columns =
            (0..width).map(|at| TableAliasColumnDef { name: column(at), data_type: None });
        *alias = Some(TableAlias {
            explicit: true,
            name: Ident::new(ROWS),
            columns: columns.collect(),
            at: None,
        });
    }
    let mut select = syntax::select(vec![SelectItem::UnnamedExpr(syntax::number(1_i64))], rows);
    select.selection = Some(condition);
    let subquery = Box::new(syntax::query(SetExpr::Select(Box::new(select))));
    let exists = Expr::Exists { subquery, negated: false };
    match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(exists) },
        false => exists,
    }
}
