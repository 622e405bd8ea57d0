//! Which relations a query names.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use crate::stack::with_room;

/// The relations `query` reads, at any depth, without those it defines itself by `WITH`; each with
/// whether it is a quoted path (`FROM 'folder/file.csv'`).
pub(super) fn relations_of(query: &Query) -> Vec<(String, bool)> {
    let mut names = Names::default();
    // The visitor never breaks; it needs stack for every level of the tree.
    let _done = with_room(|| query.visit(&mut names));
    let Names { relations, defined } = names;
    relations.into_iter().filter(|(name, is_path)| *is_path || !defined.contains(name)).collect()
}

#[derive(Default)]
struct Names {
    relations: Vec<(String, bool)>,
    defined: BTreeSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.defined.extend(with.map(|cte| cte.alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let Some(name) = relation.0.last().and_then(|part| part.as_ident()) {
            self.relations.push((name.value.clone(), name.quote_style == Some('\'')));
        }
        ControlFlow::Continue(())
    }
}
