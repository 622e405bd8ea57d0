//! `SYSTEM_USER` and `CURRENT_PATH`: texts that the dialect names and nobody documents. There is one user
//! and one schema.

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use crate::syntax;

/// Rewrites one expression.
pub(super) fn expression(expr: &mut Expr) {
    let Expr::Identifier(Ident { value, quote_style: None, .. }) = expr else { return };
    let text = if value.eq_ignore_ascii_case("SYSTEM_USER") {
        "millstream"
    } else if value.eq_ignore_ascii_case("CURRENT_PATH") {
        ""
    } else {
        return;
    };
    *expr = syntax::text(text);
}
