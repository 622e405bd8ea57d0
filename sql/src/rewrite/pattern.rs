//! `SIMILAR TO` in SQL's own pattern language. DataFusion takes the pattern for a regular expression
//! that may match anywhere; SQL's has `%` and `_`, knows no `.` or `^`, and matches the whole text.
//! A pattern is therefore translated where it is a literal, which it has to be.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::sql::sqlparser::ast::{Expr, Spanned, Value};

use crate::error::SqlError;
use crate::source::span_of;
use crate::syntax;

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let Expr::SimilarTo { pattern, escape_char, .. } = expr else { return Ok(()) };
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
    let escape = escape_char.take().map(|escape| escape.value.to_string());
    let escape = escape.as_deref().map(|quoted| quoted.trim_matches('\''));
    let regex = translate(text, escape.and_then(|text| text.chars().next())).map_err(at)?;
    **pattern = syntax::text(&regex);
    Ok(())
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
            let escaped = rest.next().ok_or_else(|| {
                SqlError::new("the pattern ends with its escape character")
                    .with_hint("write it twice to mean itself")
            })?;
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
