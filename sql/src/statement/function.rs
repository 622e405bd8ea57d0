//! `CREATE FUNCTION`: an expression with a name and parameters.
//!
//! ```text
//! CREATE [OR REPLACE] FUNCTION name (parameter type, …) RETURNS type
//!   [LANGUAGE SQL] [SPECIFIC name] [[NOT] DETERMINISTIC] [CONTAINS SQL | READS SQL DATA | MODIFIES SQL DATA]
//!   [RETURNS NULL ON NULL INPUT | CALLED ON NULL INPUT]
//!   RETURN expression
//! ```
//!
//! The clauses come in any order. A call is replaced by the expression before the query is planned:
//! [`crate::rewrite`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::SqlError;
use crate::rewrite;
use crate::source::span_of;
use crate::spelling::did_you_mean;
use crate::statement::Name;
use crate::statement::cursor::Cursor;
use crate::statement::data_type::{ColumnType, data_type};
use crate::statement::query::whole_expression;

/// A function to create.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name, folded.
    pub name: Name,
    /// Whether an existing function of that name and as many parameters is replaced.
    pub or_replace: bool,
    /// Its parameters, folded, with their types.
    pub parameters: Vec<(String, ColumnType)>,
    /// The type of its result.
    pub returns: ColumnType,
    /// Whether the result is NULL where an argument is.
    pub null_on_null: bool,
    /// What it computes of its parameters.
    pub body: Box<Expr>,
}

/// Reads what follows `CREATE [OR REPLACE] FUNCTION name`.
pub(crate) fn function(
    cursor: &mut Cursor<'_>,
    name: Name,
    or_replace: bool,
) -> Result<Function, SqlError> {
    let parameters = parameters(cursor)?;
    let mut returns = None;
    let mut null_on_null = false;
    loop {
        if cursor.accept(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) {
            null_on_null = true;
        } else if cursor.accept(&["CALLED", "ON", "NULL", "INPUT"]) {
            null_on_null = false;
        } else if cursor.accept(&["RETURNS"]) {
            returns = Some(data_type(cursor)?);
        } else if cursor.accept(&["SPECIFIC"]) {
            cursor.name("a specific name")?;
        } else if cursor.accept(&["RETURN"]) {
            break;
        } else if !NO_MEANING.iter().any(|words| cursor.accept(words)) {
            return Err(cursor
                .expected("RETURNS type, a clause of the function, or RETURN expression")
                .with_hint("CREATE FUNCTION twice (x INTEGER) RETURNS INTEGER RETURN x * 2"));
        }
    }
    let returns = returns.ok_or_else(|| {
        SqlError::at(name.span, format!("function {} does not say what it returns", name.value))
            .with_hint("CREATE FUNCTION twice (x INTEGER) RETURNS INTEGER RETURN x * 2")
    })?;
    let start = cursor.mark();
    let mut body = whole_expression(cursor)?;
    let span = cursor.span_since(start);
    rewrite::expression(&mut body).map_err(|error| error.or_at(span))?;
    if let ControlFlow::Break(error) = body.visit(&mut OnlyParameters(Some(&parameters))) {
        return Err(error.or_at(span));
    }
    let body = Box::new(body);
    Ok(Function { name, or_replace, parameters, returns, null_on_null, body })
}

/// Clauses that are checked for form and have no meaning here.
const NO_MEANING: [&[&str]; 6] = [
    &["LANGUAGE", "SQL"],
    &["NOT", "DETERMINISTIC"],
    &["DETERMINISTIC"],
    &["CONTAINS", "SQL"],
    &["READS", "SQL", "DATA"],
    &["MODIFIES", "SQL", "DATA"],
];

/// Finds what is none of the parameters: a call would take it for a column of its own query.
struct OnlyParameters<'a>(Option<&'a [(String, ColumnType)]>);

impl Visitor for OnlyParameters<'_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        let name = match expr {
            // The names inside are those of its relations.
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                self.0 = None;
                return ControlFlow::Continue(());
            }
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) if !parts.is_empty() => &parts[0],
            _ => return ControlFlow::Continue(()),
        };
        let Some(parameters) = self.0 else { return ControlFlow::Continue(()) };
        if parameters.iter().any(|(parameter, _)| *parameter == name.value) {
            return ControlFlow::Continue(());
        }
        let known = parameters.iter().map(|(parameter, _)| parameter.as_str());
        let error = SqlError::new(format!("{} is no parameter of the function", name.value))
            .with_hint(did_you_mean(&name.value, known, "parameters"));
        ControlFlow::Break(span_of(name.span).into_iter().fold(error, SqlError::or_at))
    }
}

fn parameters(cursor: &mut Cursor<'_>) -> Result<Vec<(String, ColumnType)>, SqlError> {
    cursor.expect_token(&Token::LParen, "( and the parameters of the function")?;
    let mut parameters: Vec<(String, ColumnType)> = Vec::new();
    if cursor.accept_token(&Token::RParen) {
        return Ok(parameters);
    }
    loop {
        let name = cursor.name("the name of a parameter")?;
        if parameters.iter().any(|(known, _)| *known == name.value) {
            let message = format!("parameter {} is there twice", name.value);
            return Err(SqlError::at(name.span, message).with_hint("give one of them another name"));
        }
        parameters.push((name.value, data_type(cursor)?));
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen, ", or )")?;
    Ok(parameters)
}
