//! `WITH RECURSIVE`: a first part, and one that names what the round before gave.
//!
//! Its rows have no time: they are made in rounds. Only a query that is asked once can have it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Ident, SetExpr, SetOperator, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::{Names, renamed, set};
use crate::error::SqlError;
use crate::syntax;

/// Resolves `cte` if it has the two parts. Returns whether it has.
///
/// # Errors
///
/// When a name or wildcard in it means nothing.
pub(super) fn resolve(cte: &mut Cte, names: &mut Names<'_>) -> Result<bool, SqlError> {
    if cte.query.with.is_some() {
        return Ok(false);
    }
    let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } = cte.query.body.as_mut()
    else {
        return Ok(false);
    };
    // The columns get their names in the first part, so that the other finds them.
    let mut first = syntax::query(std::mem::replace(left.as_mut(), syntax::no_rows()));
    let output = set(&mut first.body, names, false)?;
    let shape = renamed(&mut cte.alias, &mut first, output.shape())?;
    *left = first.body;
    let name = cte.alias.name.clone();
    names.ctes.push((name.value.clone(), shape));
    // The visitor never breaks.
    let _done = right.visit(&mut Called(&name));
    set(right, names, false)?;
    Ok(true)
}

/// Calls a relation by its name where it is not called otherwise: DataFusion would call what the rounds
/// read by the name in lower case.
struct Called<'a>(&'a Ident);

impl VisitorMut for Called<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias: alias @ None, .. } = factor
            && let [part] = name.0.as_slice()
            && part.as_ident().is_some_and(|name| name.value == self.0.value)
        {
            let (name, columns) = (self.0.clone(), Vec::new());
            *alias = Some(TableAlias { explicit: true, name, columns, at: None });
        }
        ControlFlow::Continue(())
    }
}
