//! `IN (SELECT …)` and `EXISTS (SELECT …)` among the selected values, as counts of rows: a condition can
//! be joined by, a value cannot.
//!
//! ```text
//!   EXISTS (SELECT … WHERE c)    (SELECT COUNT(*) … WHERE c) > 0
//!   x IN (q)                     CASE WHEN (SELECT COUNT(*) FROM (q) AS i(v) WHERE v = x) > 0 THEN TRUE
//!                                     WHEN x IS NULL and q has rows, or a row of q is NULL THEN NULL
//!                                     ELSE FALSE END
//! ```

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Distinct, Expr, FunctionArg, FunctionArgExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, UnaryOperator, Value,
    VisitMut, VisitorMut,
};

use crate::rowtime::is_grouped;
use crate::syntax::{self, binary};

/// The subquery as a relation, and its column.
const INNER: &str = "__in";
const VALUE: &str = "__value";

/// Rewrites the selected values of a `SELECT`.
pub(super) fn select(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let ControlFlow::Continue(()) = expr.visit(&mut Values { depth: 0 });
    }
}

/// Rewrites the subqueries of an expression, not those inside them.
struct Values {
    depth: usize,
}

impl VisitorMut for Values {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let (value, negated) = match &*expr {
            Expr::Exists { subquery, negated } => (exists(subquery), *negated),
            Expr::InSubquery { expr, subquery, negated } => (is_in(expr, subquery), *negated),
            _ => return ControlFlow::Continue(()),
        };
        *expr = match negated {
            true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(value) },
            false => value,
        };
        ControlFlow::Continue(())
    }
}

fn exists(subquery: &Query) -> Expr {
    match subquery.body.as_ref() {
        SetExpr::Select(select) if is_plain(subquery, select) => {
            // It may read the row around it, so it is counted in place.
            let mut counted = subquery.clone();
            if let SetExpr::Select(select) = counted.body.as_mut() {
                select.projection = vec![count()];
                select.distinct = None;
            }
            counted.order_by = None;
            some(counted)
        }
        _ => some(rows_of(subquery, None)),
    }
}

/// Whether its rows are those of its `FROM` and `WHERE`.
fn is_plain(query: &Query, select: &Select) -> bool {
    !is_grouped(select)
        && select.qualify.is_none()
        && !matches!(select.distinct, Some(Distinct::On(_)))
        && !select.from.is_empty()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.with.is_none()
}

fn is_in(value: &Expr, subquery: &Query) -> Expr {
    let inner = || Expr::CompoundIdentifier(vec![Ident::new(INNER), Ident::new(VALUE)]);
    let value_is_null = Expr::IsNull(Box::new(value.clone()));
    let equal = binary(Expr::Nested(Box::new(value.clone())), BinaryOperator::Eq, inner());
    let any = some(rows_of(subquery, None));
    let any_null = some(rows_of(subquery, Some(Expr::IsNull(Box::new(inner())))));
    let unknown = binary(value_is_null, BinaryOperator::And, any);
    let boolean = |value: bool| Expr::Value(Value::Boolean(value).into());
    let when = |condition, result| CaseWhen { condition, result };
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            when(some(rows_of(subquery, Some(equal))), boolean(true)),
            when(binary(unknown, BinaryOperator::Or, any_null), Expr::Value(Value::Null.into())),
        ],
        else_result: Some(Box::new(boolean(false))),
    }
}

/// `SELECT COUNT(*) FROM (subquery) AS inner(value) WHERE condition`.
fn rows_of(subquery: &Query, condition: Option<Expr>) -> Query {
    let mut relation = syntax::derived(subquery.clone());
    if let TableFactor::Derived { alias, .. } = &mut relation {
        let column = ast::TableAliasColumnDef::from_name(VALUE);
        let columns = if condition.is_some() { vec![column] } else { Vec::new() };
        let name = Ident::new(INNER);
        *alias = Some(TableAlias { explicit: true, name, columns, at: None });
    }
    let mut select = syntax::select(vec![count()], relation);
    select.selection = condition;
    syntax::query(SetExpr::Select(Box::new(select)))
}

/// `(query) > 0`.
fn some(query: Query) -> Expr {
    binary(Expr::Subquery(Box::new(query)), BinaryOperator::Gt, syntax::number(0_i64))
}

fn count() -> SelectItem {
    let all = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    let name = ObjectName::from(vec![Ident::new("count")]);
    SelectItem::UnnamedExpr(Expr::Function(syntax::function(name, all)))
}
