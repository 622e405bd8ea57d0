//! The string functions that are no plain calls: `SUBSTRING`, `TRIM`, `OVERLAY`.

use datafusion::sql::sqlparser::ast::{Expr, Spanned, TrimWhereField};

use crate::error::SqlError;
use crate::functions::{OVERLAY, SUBSTR, SUBSTRING, TRIM};
use crate::syntax::{self, call};

/// Rewrites one expression; its parts are rewritten already.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    let span = expr.span();
    let take = |expr: &mut Box<Expr>| std::mem::replace(expr.as_mut(), syntax::text(""));
    let new = match expr {
        Expr::Substring { expr, substring_from: Some(from), substring_for, special, shorthand } => {
            let name = if *special || *shorthand { SUBSTR } else { SUBSTRING };
            let mut args = vec![take(expr), take(from)];
            args.extend(substring_for.as_mut().map(take));
            call(name, span, args)
        }
        // FOR alone begins at the beginning.
        Expr::Substring { expr, substring_from: None, substring_for: Some(length), .. } => {
            call(SUBSTRING, span, vec![take(expr), syntax::number(1_i64), take(length)])
        }
        Expr::Trim { expr, trim_where, trim_what, trim_characters: None } => {
            let side = match trim_where {
                Some(TrimWhereField::Leading) => "LEADING",
                Some(TrimWhereField::Trailing) => "TRAILING",
                Some(TrimWhereField::Both) | None => "BOTH",
            };
            let what = trim_what.as_mut().map_or_else(|| syntax::text(" "), take);
            call(TRIM, span, vec![syntax::text(side), what, take(expr)])
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![take(expr), take(overlay_what), take(overlay_from)];
            args.extend(overlay_for.as_mut().map(take));
            call(OVERLAY, span, args)
        }
        _ => return Ok(()),
    };
    *expr = new;
    Ok(())
}
