//! Statements that change the catalog.
//!
//! A declaration is checked by its connector before it takes effect, so that a misspelt option is an
//! error at its place in the text, not when the job starts.

use millstream_connectors::options::{Blame, OptionError, RelationKind};
use millstream_connectors::validate;
use millstream_sql::statement::Create;
use millstream_sql::{SqlError, Statement, StatementKind};

use super::{Manner, Session};
use crate::failure::Failure;

impl Session {
    /// Declares everything in `statements` that declares, and returns the sinks among it, in order.
    pub(super) async fn declare_all(
        &mut self,
        statements: &[Statement],
    ) -> Result<Vec<String>, Failure> {
        let mut sinks = Vec::new();
        for statement in statements {
            if self.declare(statement).await?
                && let StatementKind::CreateSink { create, .. } = &statement.kind
            {
                sinks.push(create.def.name.clone());
            }
        }
        sinks.retain(|name| self.catalog.sinks.contains_key(name));
        sinks.dedup();
        Ok(sinks)
    }

    /// Carries out a declaration; returns false for a statement that is none.
    pub(super) async fn declare(&mut self, statement: &Statement) -> Result<bool, Failure> {
        let statement = self.with_columns_found(statement).await?;
        if let Some((kind, create)) = declared_with_options(&statement.kind) {
            validate(kind, &create.def).map_err(|error| self.failure(&placed(&error, create)))?;
        }
        let applied = self.apply(&statement)?;
        if applied && self.settings.manner == Manner::Interactive {
            let confirmed = confirmation(&statement.kind);
            self.console.note(&confirmed);
        }
        Ok(applied)
    }

    /// Gives the statement to the catalog.
    pub(super) fn apply(&mut self, statement: &Statement) -> Result<bool, Failure> {
        let applied = self.catalog.apply(statement);
        applied.map_err(|error| self.failure(&error.or_at(statement.span)))
    }

    /// The statement, with the columns found in the files for a `CREATE TABLE` that has none.
    async fn with_columns_found(&self, statement: &Statement) -> Result<Statement, Failure> {
        let mut statement = statement.clone();
        if let StatementKind::CreateTable(create) = &mut statement.kind
            && create.def.columns.is_empty()
        {
            validate(RelationKind::Table, &create.def)
                .map_err(|error| self.failure(&placed(&error, create)))?;
            create.def.columns = self.columns_of_files(&create.def).await?;
        }
        Ok(statement)
    }
}

/// What a connector must check: not a stream inside the application.
fn declared_with_options(kind: &StatementKind) -> Option<(RelationKind, &Create)> {
    match kind {
        StatementKind::CreateStream(create) if create.def.options.is_empty() => None,
        StatementKind::CreateStream(create) => Some((RelationKind::Stream, create)),
        StatementKind::CreateTable(create) => Some((RelationKind::Table, create)),
        StatementKind::CreateSink { create, .. } => Some((RelationKind::Sink, create)),
        _ => None,
    }
}

/// The error of an option, at the option's place in the text.
fn placed(error: &OptionError, create: &Create) -> SqlError {
    let span = error.option.as_ref().and_then(|(name, blame)| {
        let index = create.def.options.iter().position(|(option, _)| option == name)?;
        let (at_name, at_value) = create.option_spans.get(index)?;
        Some(if *blame == Blame::Name { *at_name } else { *at_value })
    });
    let placed = SqlError::at(span.unwrap_or(create.name_span), error.message.clone());
    match &error.hint {
        Some(hint) => placed.with_hint(hint.clone()),
        None => placed,
    }
}

fn confirmation(kind: &StatementKind) -> String {
    match kind {
        StatementKind::CreateStream(create) => format!("stream {} created", create.def.name),
        StatementKind::CreateTable(create) => format!("table {} created", create.def.name),
        StatementKind::CreateView { name, .. } => format!("view {name} created"),
        StatementKind::CreatePump(pump) => format!("pump {} created", pump.name),
        StatementKind::CreateSink { create, .. } => {
            format!("sink {} created; \\run starts it", create.def.name)
        }
        StatementKind::Drop { object, name, .. } => {
            format!("{} {} dropped", object.to_lowercase(), name.value)
        }
        StatementKind::Set { key, value } => format!("{key} = {value}"),
        StatementKind::SwitchPump { name, start } => {
            format!("pump {} {}", name.value, if *start { "started" } else { "stopped" })
        }
        _ => String::new(),
    }
}
