//! Words that cannot be a name unless they are quoted.
//!
//! Kinesis Data Analytics reserves many more. Reserved here are the words that begin or join the parts
//! of a query, and what the grammar would read as something else where a name may stand; a test asks
//! the parser about every keyword it knows.

/// Words that are no name unless quoted, upper case, sorted.
pub(crate) const RESERVED: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "BETWEEN",
    "CROSS",
    "CUBE",
    "CURRENT_DATE",
    "CURRENT_PATH",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "DISTINCT",
    "EXCEPT",
    "EXISTS",
    "FALSE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NATURAL",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "RETURNING",
    "RIGHT",
    "ROLLUP",
    "SELECT",
    "SOME",
    "SYSTEM_USER",
    "TABLE",
    "TRIM",
    "TRUE",
    "UNION",
    "UNKNOWN",
    "USING",
    "VALUES",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Whether `word` is reserved, in any case.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word.to_ascii_uppercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, TableFactor};
    use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;

    use super::*;
    use crate::statement::{StatementKind, parse};

    /// Whether every place marked by `{}` in the query reads `word` as a name; the first item selected
    /// and the first relation are such places.
    fn is_a_name(word: &str, query: &str) -> bool {
        let Ok(mut statements) = parse(&query.replace("{}", word)) else { return false };
        let StatementKind::Query(query) = statements.remove(0).kind else { return false };
        let SetExpr::Select(select) = query.ast.body.as_ref() else { return false };
        let is_word = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.value == word);
        let SelectItem::UnnamedExpr(first) = &select.projection[1] else { return false };
        let reads = select.from.len() == 2
            && select.projection.len() == 5
            && matches!(&select.from[0].relation, TableFactor::Table { name, alias: None, .. }
                if name.0[0].as_ident().is_some_and(|ident| ident.value == word));
        reads && is_word(first)
    }

    #[test]
    fn every_word_that_is_misread_is_reserved() {
        let query = "SELECT 1, {}, {} + 1, f({}), t.{} AS {} FROM {}, s WHERE {} = 1 AND {} \
             GROUP BY {}, a HAVING {} > 1 ORDER BY {}";
        let words = ALL_KEYWORDS.iter().filter(|word| !word.contains('-') && !is_reserved(word));
        let misread: Vec<_> = words.filter(|word| !is_a_name(word, query)).collect();
        assert_eq!(misread, [&""; 0]);
    }

    #[test]
    fn the_words_are_sorted_and_refused_in_queries() {
        assert!(RESERVED.is_sorted());
        for word in RESERVED {
            assert!(parse(&format!("SELECT a FROM {word} s")).is_err(), "{word}");
            assert!(parse(&format!("SELECT a, \"{word}\" FROM \"{word}\" s")).is_ok(), "{word}");
        }
    }
}
