//! The qualifier of an interval, as far as the text of an expression says it: a value of ours is a number of
//! milliseconds or months and does not know it.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Interval,
    UnaryOperator, Value,
};

use crate::functions::DIFFERENCE;
use crate::interval::spanned;
use crate::syntax::{self, arguments_of};

/// `-(a - b) MINUTE` as a multiple: DataFusion has no negative of what an interval is here.
pub(super) fn negative(expr: &mut Expr) {
    let Expr::UnaryOp { op: UnaryOperator::Minus, expr: value } = expr else { return };
    if matches!(value.as_ref(), Expr::Interval(_)) || qualifier(value).is_none() {
        return;
    }
    let value = std::mem::replace(value.as_mut(), syntax::text(""));
    *expr = syntax::binary(value, BinaryOperator::Multiply, syntax::number(-1));
}

/// The qualifier of `expr`; none where it is no interval, or its text does not say.
pub(super) fn qualifier(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Interval(Interval { leading_field: Some(first), last_field, .. }) => {
            Some(match last_field {
                Some(last) => format!("{first} TO {last}"),
                None => first.to_string(),
            })
        }
        Expr::Nested(inner)
        | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => {
            qualifier(inner)
        }
        Expr::Floor { expr, .. } | Expr::Ceil { expr, .. } => qualifier(expr),
        Expr::BinaryOp {
            left,
            op:
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide,
            right,
        } => of_all([left.as_ref(), right.as_ref()]),
        Expr::Case { conditions, else_result, .. } => {
            let results = conditions.iter().map(|when| &when.result);
            of_all(results.chain(else_result.as_deref()))
        }
        Expr::Cast { data_type: DataType::Interval { fields: Some(fields), .. }, .. } => {
            Some(fields.to_string())
        }
        other => match arguments_of(other, DIFFERENCE).as_deref() {
            Some([_, _, Expr::Value(value)]) => match &value.value {
                Value::SingleQuotedString(qualifier) => Some(qualifier.clone()),
                _ => None,
            },
            _ => of_arguments(other),
        },
    }
}

/// What a function makes of intervals has their qualifier: `MAX`, `COALESCE`, `ABS`.
fn of_arguments(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    of_all(list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }))
}

/// Of what may be any of `values`, or is made of all of them.
fn of_all<'e>(values: impl IntoIterator<Item = &'e Expr>) -> Option<String> {
    values.into_iter().filter_map(qualifier).reduce(|a, b| spanned(&a, &b))
}
