//! Small constructors of sqlparser's syntax trees.
//!
//! Names built here are in lower case and unquoted, so that the planner finds them whatever the folding
//! of the text is.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, Interval, ObjectName, Query,
    Select, SelectFlavor, SelectItem, SetExpr, TableFactor, TableWithJoins, Value, Values,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// The call of a function.
pub(crate) fn call(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let name = Ident { value: name.to_owned(), quote_style: None, span };
    Expr::Function(function(ObjectName::from(vec![name]), args))
}

/// A function with its arguments, and nothing behind them.
pub(crate) fn function(name: ObjectName, args: Vec<FunctionArg>) -> Function {
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// `body` without a clause around it.
pub(crate) fn query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// `SELECT projection FROM relation`.
pub(crate) fn select(projection: Vec<SelectItem>, relation: TableFactor) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// `VALUES` without a row: what stands where something was taken out.
pub(crate) fn no_rows() -> SetExpr {
    SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() })
}

/// A query in `FROM`, which has no name yet.
pub(crate) fn derived(subquery: Query) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias: None, sample: None }
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
