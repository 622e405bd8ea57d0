//! Small constructors of sqlparser's syntax trees.
//!
//! Names built here are in lower case and unquoted, so that the planner finds them whatever the folding
//! of the text is.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// The call of a function.
pub(crate) fn call(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident { value: name.to_owned(), quote_style: None, span }]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A string literal.
pub(crate) fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).into())
}

/// A number literal.
pub(crate) fn number(value: impl Into<i128>) -> Expr {
    Expr::Value(Value::Number(value.into().to_string(), false).into())
}

/// `INTERVAL 'count' unit`.
pub(crate) fn interval(count: impl Into<String>, unit: DateTimeField) -> Expr {
    Expr::Interval(Interval {
        value: Box::new(text(count)),
        leading_field: Some(unit),
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

/// `left op right` in parentheses.
pub(crate) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let binary = Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    Expr::Nested(Box::new(binary))
}

/// The arguments of a plain call of the function `name`: none if it is another function or the call
/// has more than arguments.
pub(crate) fn arguments_of<'a>(expr: &'a Expr, name: &str) -> Option<Vec<&'a Expr>> {
    let Expr::Function(function) = expr else { return None };
    if !is_named(&function.name, name) || function.over.is_some() || function.filter.is_some() {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return None;
    }
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg),
            _ => None,
        })
        .collect()
}

/// The expression that an argument is, if it is one.
pub(crate) fn into_expr(arg: FunctionArg) -> Option<Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Whether `name` is the one unquoted word `wanted`, in any case.
pub(crate) fn is_named(name: &ObjectName, wanted: &str) -> bool {
    let [part] = name.0.as_slice() else { return false };
    part.as_ident().is_some_and(|ident| {
        ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(wanted)
    })
}

/// The last word of a name.
pub(crate) fn ident_of(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}
