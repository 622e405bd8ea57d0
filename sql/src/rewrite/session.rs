//! `SYSTEM_USER` and `CURRENT_PATH`: texts that the dialect names and nobody documents. There is one user
//! and one schema.

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use crate::error::SqlError;
use crate::syntax;

/// Rewrites one expression.
#[expect(clippy::unnecessary_wraps, reason = "it is one of the passes, and most of them can fail")]
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let Expr::Identifier(Ident { value, quote_style: None, .. }) = expr else { return Ok(()) };
    let text = if value.eq_ignore_ascii_case("SYSTEM_USER") {
        "millstream"
    } else if value.eq_ignore_ascii_case("CURRENT_PATH") {
        ""
    } else {
        return Ok(());
    };
    *expr = syntax::text(text);
    Ok(())
}
