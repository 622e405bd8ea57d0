//! `SIMILAR TO` in SQL's own pattern language. DataFusion takes the pattern for a regular expression
//! that may match anywhere; SQL's has `%` and `_`, knows no `.` or `^`, and matches the whole text.
//! A pattern is therefore translated where it is a literal, which it has to be.
//!
//! In DataFusion's `LIKE` the backslash escapes, in SQL's what `ESCAPE` says, or nothing.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::sql::sqlparser::ast::{DataType, Expr, Spanned, Value, ValueWithSpan};

use super::cast;
use crate::error::SqlError;
use crate::functions::{CAST, LIKE_PATTERN};
use crate::source::span_of;
use crate::syntax::{self, call};

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let (value, pattern, escape_char) = match expr {
        Expr::SimilarTo { expr, pattern, escape_char, .. } => (expr, pattern, escape_char),
        Expr::Like { expr, pattern, escape_char, .. }
        | Expr::ILike { expr, pattern, escape_char, .. } => {
            text_of_null(expr);
            return like(pattern, escape_char.take());
        }
        _ => return Ok(()),
    };
    text_of_null(value);
    let span = pattern.span();
    let at = |error: SqlError| span_of(span).into_iter().fold(error, SqlError::or_at);
    let text = match pattern.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text,
            // No row is similar to NULL, nor is any not: DataFusion says so as well.
            Value::Null => return Ok(()),
            _ => return Err(at(not_a_text())),
        },
        _ => return Err(at(not_a_text())),
    };
    let escape =
        escape_char.take().map(|escape| escape_of(&escape.value)).transpose().map_err(at)?;
    let regex = translate(text, escape).map_err(at)?;
    **pattern = syntax::text(&regex);
    Ok(())
}

/// A NULL without a type is one of text.
fn text_of_null(expr: &mut Expr) {
    if matches!(expr, Expr::Value(value) if value.value == Value::Null) {
        let target = cast::arguments(&DataType::Text, || None).into_iter().flatten();
        let null = std::mem::replace(expr, syntax::text(""));
        *expr = call(CAST, null.span(), std::iter::once(null).chain(target).collect());
    }
}

/// The one character of `ESCAPE`.
fn escape_of(escape: &Value) -> Result<char, SqlError> {
    let letters = match escape {
        Value::SingleQuotedString(text) => text.as_str(),
        _ => "",
    };
    let mut letters = letters.chars();
    match (letters.next(), letters.next()) {
        (Some(escape), None) => Ok(escape),
        _ => Err(SqlError::new("an escape is one character").with_hint("write ESCAPE '!'")),
    }
}

/// The pattern of `LIKE` with the escapes of DataFusion's.
fn like(pattern: &mut Expr, escape: Option<ValueWithSpan>) -> Result<(), SqlError> {
    let span = pattern.span();
    let at = |error: SqlError| span_of(span).into_iter().fold(error, SqlError::or_at);
    let escape = escape.map(|escape| escape_of(&escape.value)).transpose().map_err(at)?;
    match pattern {
        Expr::Value(value) => {
            if let Value::SingleQuotedString(text) = &mut value.value {
                *text = with_backslashes(text, escape).ok_or_else(|| at(cut_off()))?;
            }
            Ok(())
        }
        computed => {
            let escape = syntax::text(escape.map(String::from).unwrap_or_default());
            let computed_pattern = std::mem::replace(computed, syntax::text(""));
            *computed = call(LIKE_PATTERN, span, vec![computed_pattern, escape]);
            Ok(())
        }
    }
}

/// `pattern` with a backslash before what `escape` stands before, and before backslashes; none if it
/// ends with the escape.
pub(crate) fn with_backslashes(pattern: &str, escape: Option<char>) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        let (letter, escaped) = match Some(letter) == escape {
            true => (rest.next()?, true),
            false => (letter, false),
        };
        if letter == '\\' || (escaped && matches!(letter, '%' | '_')) {
            text.push('\\');
        }
        text.push(letter);
    }
    Some(text)
}

fn cut_off() -> SqlError {
    SqlError::new("the pattern ends with its escape character")
        .with_hint("write it twice to mean itself")
}

fn not_a_text() -> SqlError {
    SqlError::new("the pattern of SIMILAR TO is not a text")
        .with_hint("write it in quotes, such as '%TECH%'; REGEXP_LIKE takes a computed one")
}

/// The regular expression of the three-part pattern of `SUBSTRING … SIMILAR`, whose one group is the
/// part between the escaped quotes. It need not cover the whole text, other than in SQL's standard.
pub(crate) fn similar_part(pattern: &str, escape: &str) -> Result<String, SqlError> {
    let mut letters = escape.chars();
    let (Some(escape), None) = (letters.next(), letters.next()) else {
        return Err(SqlError::new("an escape is one character").with_hint("write ESCAPE '#'"));
    };
    let quote = format!("{escape}\"");
    let parts: Vec<&str> = pattern.split(quote.as_str()).collect();
    let [before, part, behind] = parts.as_slice() else {
        return Err(SqlError::new("the pattern of SUBSTRING … SIMILAR has three parts")
            .with_hint("part them with the escape and a quote: 'a#\"b#\"c' ESCAPE '#'"));
    };
    let translated = |part: &str| body(part, Some(escape));
    Ok(format!("(?s)(?:{})({})(?:{})", translated(before)?, translated(part)?, translated(behind)?))
}

/// The regular expression of SQL's `pattern`.
fn translate(pattern: &str, escape: Option<char>) -> Result<String, SqlError> {
    Ok(format!("(?s)^(?:{})$", body(pattern, escape)?))
}

fn body(pattern: &str, escape: Option<char>) -> Result<String, SqlError> {
    let mut regex = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        if Some(character) == escape {
            let escaped = rest.next().ok_or_else(cut_off)?;
            literal(escaped, &mut regex);
            continue;
        }
        match character {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '|' | '*' | '+' | '?' | '(' | ')' | '{' | '}' => regex.push(character),
            '[' => class(&mut rest, escape, &mut regex)?,
            other => literal(other, &mut regex),
        }
    }
    Ok(regex)
}

/// One of a set of characters, up to its `]`: `[a-z]`, `[^a-z]`, `[a-z^aeiou]` (all but), `[:ALPHA:]`.
fn class(
    rest: &mut Peekable<Chars<'_>>,
    escape: Option<char>,
    regex: &mut String,
) -> Result<(), SqlError> {
    regex.push('[');
    if rest.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let (mut characters, mut except) = (0_usize, false);
    while let Some(character) = rest.next() {
        match character {
            ']' => {
                regex.push_str(if except { "]]" } else { "]" });
                return Ok(());
            }
            '^' if characters > 0 && !except => {
                except = true;
                regex.push_str("--[");
            }
            '[' if rest.peek() == Some(&':') => {
                let name: String = rest.by_ref().take_while(|c| *c != ']').collect();
                regex.push_str(&format!("[{}]", name.to_lowercase()));
            }
            '-' => regex.push('-'),
            other if Some(other) == escape => {
                rest.next().into_iter().for_each(|escaped| literal(escaped, regex));
            }
            other => literal(other, regex),
        }
        characters += 1;
    }
    Err(SqlError::new("the pattern has a [ without its ]").with_hint("close it, or use ESCAPE"))
}

/// `character` as itself.
fn literal(character: char, regex: &mut String) {
    if r"\.+*?()|[]{}^$#&-~".contains(character) {
        regex.push('\\');
    }
    regex.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_becomes_a_regular_expression_of_the_whole_text() {
        for (pattern, regex) in [
            ("%TECH%", ".*TECH.*"),
            ("a_b", "a.b"),
            ("a.b$", r"a\.b\$"),
            ("ab{3,6}|(cd)+", "ab{3,6}|(cd)+"),
            ("[a-e^c]d", "[a-e--[c]]d"),
            ("[^0-9]", "[^0-9]"),
            ("[[:ALPHA:]_]", "[[:alpha:]_]"),
        ] {
            assert_eq!(translate(pattern, None).unwrap(), format!("(?s)^(?:{regex})$"));
        }
        assert_eq!(translate("5!%", Some('!')).unwrap(), "(?s)^(?:5%)$");
    }

    #[test]
    fn a_pattern_that_is_cut_off_is_refused() {
        assert!(translate("[abc", None).is_err());
        assert!(translate("abc!", Some('!')).is_err());
    }
}
