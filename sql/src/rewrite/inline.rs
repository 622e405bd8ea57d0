//! Calls of the session's own functions, replaced by what they compute.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, CaseWhen, Expr, FunctionArguments, Spanned, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::SqlError;
use crate::functions::{CAST, FIT, GIVEN, cast_target};
use crate::source::span_of;
use crate::statement::{ColumnType, Function};
use crate::syntax::{self, call};

/// How deep functions may call one another.
const DEPTH_MAX: usize = 16;

/// The functions of a session, by name; of each, the ones with as many parameters.
pub(crate) type Functions = BTreeMap<String, Vec<Function>>;

/// Replaces the calls of `functions` in `query`.
pub(crate) fn functions(query: &mut ast::Query, functions: &Functions) -> Result<(), SqlError> {
    if functions.is_empty() {
        return Ok(());
    }
    match query.visit(&mut Inliner { functions, depth: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Inliner<'a> {
    functions: &'a Functions,
    depth: usize,
}

impl VisitorMut for Inliner<'_> {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Function(found) = &*expr else { return ControlFlow::Continue(()) };
        let [name] = found.name.0.as_slice() else { return ControlFlow::Continue(()) };
        let Some(name) = name.as_ident() else { return ControlFlow::Continue(()) };
        let Some(overloads) = self.functions.get(&name.value) else {
            return ControlFlow::Continue(());
        };
        let span = span_of(name.span);
        let name = name.value.clone();
        match self.replacement(expr, &name, overloads) {
            Ok(new) => *expr = new,
            Err(error) => {
                return ControlFlow::Break(span.into_iter().fold(error, SqlError::or_at));
            }
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let error = SqlError::new(format!("function {name} calls itself"))
                .with_hint("a function is replaced by its expression, which must have an end");
            return ControlFlow::Break(span.into_iter().fold(error, SqlError::or_at));
        }
        let result = expr.visit(self);
        self.depth -= 1;
        result
    }
}

impl Inliner<'_> {
    fn replacement(
        &self,
        expr: &Expr,
        name: &str,
        overloads: &[Function],
    ) -> Result<Expr, SqlError> {
        let arguments: Vec<Expr> = match expr {
            Expr::Function(ast::Function { args: FunctionArguments::List(list), .. }) => {
                list.args.iter().cloned().filter_map(syntax::into_expr).collect()
            }
            _ => Vec::new(),
        };
        let count = arguments.len();
        let function = overloads.iter().find(|function| function.parameters.len() == count);
        let function = function.ok_or_else(|| {
            let known: Vec<_> = overloads.iter().map(|f| f.parameters.len().to_string()).collect();
            SqlError::new(format!("{name} has no form with {count} arguments"))
                .with_hint(format!("it takes {}", known.join(" or ")))
        })?;
        let span = expr.span();
        let typed = function.parameters.iter().zip(arguments);
        let bound: BTreeMap<&str, Expr> = typed
            .map(|((name, data_type), argument)| {
                (name.as_str(), assigned(argument, data_type, span))
            })
            .collect();
        let mut body = function.body.clone();
        let ControlFlow::Continue(()) = body.visit(&mut Binder { bound: &bound });
        let result = assigned(Expr::Nested(body), &function.returns, span);
        Ok(if function.null_on_null { null_on_null(&bound, result) } else { result })
    }
}

/// `expr` as a value of a declared type: as if it were inserted into a column of it.
fn assigned(expr: Expr, to: &ColumnType, span: Span) -> Expr {
    let (name, precision, scale) = cast_target(&to.data_type);
    let given = call(GIVEN, span, vec![expr, syntax::text(&name)]);
    if let Some(length) = to.length_max {
        let length = i128::try_from(length).unwrap_or(i128::MAX);
        let padded = i128::from(to.padded);
        return call(FIT, span, vec![given, syntax::number(length), syntax::number(padded)]);
    }
    let digits = |count: i64| syntax::number(i128::from(count));
    let target = [digits(precision), digits(scale), syntax::text("")];
    let args = [given, syntax::text(name)].into_iter().chain(target).collect();
    call(CAST, span, args)
}

/// `CASE WHEN a IS NULL OR … THEN NULL ELSE result END`.
fn null_on_null(bound: &BTreeMap<&str, Expr>, result: Expr) -> Expr {
    let any = bound
        .values()
        .map(|argument| Expr::IsNull(Box::new(argument.clone())))
        .reduce(|a, b| syntax::binary(a, ast::BinaryOperator::Or, b));
    let Some(condition) = any else { return result };
    let null = Expr::Value(Value::Null.into());
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: null }],
        else_result: Some(Box::new(result)),
    }
}

/// Puts arguments where parameters stand.
struct Binder<'a> {
    bound: &'a BTreeMap<&'a str, Expr>,
}

impl VisitorMut for Binder<'_> {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Identifier(name) = expr
            && let Some(argument) = self.bound.get(name.value.as_str())
        {
            *expr = argument.clone();
        }
        ControlFlow::Continue(())
    }
}
