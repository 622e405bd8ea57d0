//! DataFusion's errors in our words, with their place in the text.

use std::str::FromStr;

use arrow::datatypes::DataType;
use datafusion::common::{Column, Diagnostic, SchemaError};
use datafusion::error::DataFusionError;

use millstream_engine::error::words_of;

use super::typing::MIXED;
use crate::error::{Position, Span, SqlError};
use crate::functions::written;
use crate::spelling::suggest;

/// `error` with its place, if DataFusion knows it.
pub(super) fn from_datafusion(error: &DataFusionError) -> SqlError {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let mut converted = match error.find_root() {
        DataFusionError::SchemaError(schema, _) => from_schema(schema),
        DataFusionError::Diagnostic(diagnostic, _) => SqlError::new(lower(&diagnostic.message)),
        DataFusionError::Plan(message) => {
            from_signature(message).unwrap_or_else(|| from_plan(message))
        }
        DataFusionError::NotImplemented(message) => from_missing(message),
        root => {
            let words = words_of(root);
            from_alternatives(&words).unwrap_or_else(|| SqlError::new(lower(&words)))
        }
    };
    converted.span = span.and_then(span_of);
    let help = error.diagnostic().and_then(|diagnostic| diagnostic.helps.first());
    if let (None, Some(help)) = (&converted.hint, help) {
        converted.hint = Some(help.message.clone());
    }
    converted
}

/// `error` as one of DataFusion's, which comes out of it again as it is.
pub(super) fn to_datafusion(error: &SqlError) -> DataFusionError {
    let location = |at: Position| datafusion::common::Location { line: at.line, column: at.column };
    let span = error.span.map(|span| {
        let end = Position { column: span.end.column + 1, ..span.end };
        datafusion::common::Span::new(location(span.start), location(end))
    });
    let mut diagnostic = Diagnostic::new_error(error.message.clone(), span);
    if let Some(hint) = &error.hint {
        diagnostic.add_help(hint.clone(), None);
    }
    DataFusionError::Plan(error.message.clone()).with_diagnostic(diagnostic)
}

/// A place as DataFusion has it, in the text; none for what a rewrite has put there.
pub(super) fn span_of(span: datafusion::common::Span) -> Option<Span> {
    (span.start.line > 0).then(|| Span {
        start: position(span.start),
        end: Position { line: span.end.line, column: span.end.column.saturating_sub(1).max(1) },
    })
}

fn position(location: datafusion::common::Location) -> Position {
    Position { line: location.line, column: location.column }
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, .. } if is_inside_row_value(field) => {
            SqlError::new("not supported: (a, b) IN (SELECT …) that reads the row around it")
                .with_hint("write EXISTS (SELECT 1 FROM … WHERE … AND x = t.a AND y = t.b)")
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
            let error = SqlError::new(format!("column {} does not exist", field.flat_name()));
            match suggest(&field.name, names.iter().copied()) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None if names.is_empty() => error,
                None => error.with_hint(format!("the columns here are {}", names.join(", "))),
            }
        }
        SchemaError::AmbiguousReference { field } => {
            SqlError::new(format!("column {} is in several relations", field.name))
                .with_hint(format!("say which: alias.{}", field.name))
        }
        other => SqlError::new(lower(&other.to_string())),
    }
}

/// Whether a column was looked for where DataFusion has put the rows of a subquery.
fn is_inside_row_value(field: &Column) -> bool {
    field.relation.as_ref().is_some_and(|name| name.table().starts_with("__correlated_sq"))
}

fn from_plan(message: &str) -> SqlError {
    let error = SqlError::new(lower(message));
    let ungrouped = message.split_once("column \"").and_then(|(_, rest)| rest.split_once('"'));
    if let Some((column, rest)) = ungrouped
        && rest.contains("must appear in the GROUP BY clause")
    {
        return SqlError::new(format!("{column} is no key of the groups and in no aggregate"))
            .with_hint("add the column to the keys (GROUP BY, or the PARTITION BY of a stagger window), or aggregate it");
    }
    if let Some(error) = from_requirement(message) {
        return error;
    }
    if message.contains("could not be resolved from available columns")
        || message.contains("must appear in the GROUP BY clause")
    {
        return error.with_hint("add the column to GROUP BY, or aggregate it");
    }
    if message.contains("non-boolean predicate") {
        return error.with_hint("a condition is TRUE or FALSE: compare the value with another");
    }
    if message.contains("infer common argument type") {
        return error.with_hint("CAST one of them to the type of the other");
    }
    from_alternatives(message).unwrap_or(error)
}

/// What to do about a subquery that DataFusion cannot turn into a join.
fn from_missing(message: &str) -> SqlError {
    let expr = message.strip_prefix("Physical plan does not support logical expression ");
    let (what, hint) = match expr {
        Some(expr) if expr.starts_with("InSubquery") => (
            "IN (SELECT …) of this form as a value: its subquery reads the row around it",
            "join with the DISTINCT rows of the subquery by LEFT JOIN, and test its column IS NOT NULL",
        ),
        Some(expr) if expr.starts_with("Exists") => (
            "EXISTS of this form as a value: its subquery reads the row around it",
            "compare a count: (SELECT COUNT(*) FROM … WHERE …) > 0",
        ),
        Some(expr) if expr.starts_with("ScalarSubquery") => (
            "a subquery that compares with the row around it otherwise than by =",
            "join the two by the condition and GROUP BY the columns of the row",
        ),
        Some(expr) if expr.starts_with("OuterReferenceColumn") => (
            "a subquery that reads the row around it in this place",
            "compare with the row in the WHERE of the subquery",
        ),
        Some(expr) if expr.starts_with("WindowFunction") => (
            "a window in a condition: it is computed of the rows that meet it",
            "filter outside: SELECT … FROM (SELECT …, SUM(x) OVER w AS s FROM …) WHERE s > 1",
        ),
        _ if message.starts_with("Unsupported ast node TableFunction") => (
            "TABLE(…) of this function",
            "there are RANDOM_CUT_FOREST, RANDOM_CUT_FOREST_WITH_EXPLANATION, HOTSPOTS, GROUP_RANK, \
             TOP_K_ITEMS_TUMBLING, COUNT_DISTINCT_ITEMS_TUMBLING, TUMBLE, HOP, CUMULATE and SESSION",
        ),
        _ if message == "Table Functions are not supported" => (
            "a function in FROM that gives rows",
            "unnest a list: FROM UNNEST(generate_series(1, 3)) AS s(n)",
        ),
        _ => return SqlError::new(format!("not supported: {}", lower(first_words(message)))),
    };
    SqlError::new(format!("not supported: {what}")).with_hint(hint)
}

/// An aggregate of values that it is not for: DataFusion lists all it could have been.
fn from_signature(message: &str) -> Option<SqlError> {
    let named = message
        .split_once("Function '")
        .and_then(|(_, rest)| rest.split_once("' failed to match any signature"));
    let received = message
        .split_once("but received ")
        .and_then(|(_, rest)| rest.split_once(" (DataType").map(|(received, _)| received));
    let ((name, _), received) = named.zip(received)?;
    let received = match received {
        received if received.starts_with("Timestamp") => "TIMESTAMP",
        received if received.starts_with("Time") => "TIME",
        received if received.starts_with("Date") => "DATE",
        received if received.starts_with("Interval") || received.starts_with("Duration") => {
            "INTERVAL"
        }
        "Utf8" | "LargeUtf8" | "Utf8View" => "VARCHAR",
        received => received,
    };
    let error = SqlError::new(format!("{} is not for values of {received}", name.to_uppercase()));
    Some(error.with_hint("aggregate a number; UNIX_TIMESTAMP makes one of a time"))
}

/// A function of texts or numbers that is given something else.
fn from_requirement(message: &str) -> Option<SqlError> {
    let (_, rest) = message.split_once("Function '")?;
    let (name, rest) = rest.split_once("' requires ")?;
    let (wanted, rest) = rest.split_once(", but received ")?;
    let (given, _) = rest.split_once(' ')?;
    let wanted = match wanted {
        "String" => "a text",
        "Integer" => "a whole number",
        "Timestamp" => "a TIMESTAMP",
        _ => return None,
    };
    let given = DataType::from_str(given).ok()?;
    let message = format!("{} takes {wanted}, not {}", name.to_uppercase(), written(&given));
    Some(SqlError::new(message).with_hint("CAST the value"))
}

/// A message without the dump of a syntax tree behind it.
fn first_words(message: &str) -> &str {
    let dump = message.find(" {").filter(|_| message.starts_with("Unsupported ast node"));
    dump.and_then(|at| message.get(..at)).unwrap_or(message)
}

/// A function of alternatives whose arguments have nothing in common.
fn from_alternatives(message: &str) -> Option<SqlError> {
    let between = |before: &str, behind: &str| {
        let (_, rest) = message.split_once(before)?;
        rest.split_once(behind).map(|(name, _)| name)
    };
    let name = between("Function '", "' user-defined coercion failed")
        .or_else(|| between("to satisfy a call to '", "' function"))
        .filter(|name| MIXED.contains(name))?;
    let message = format!("the arguments of {} are of different types", name.to_uppercase());
    Some(SqlError::new(message).with_hint("CAST them to one type"))
}

/// Messages begin in lower case; identifiers and functions keep theirs.
fn lower(message: &str) -> String {
    let message = message.strip_prefix("Error during planning: ").unwrap_or(message);
    let mut chars = message.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(message.chars().skip(1)).collect()
        }
        _ => message.to_owned(),
    }
}
