//! Statements that change the catalog.
//!
//! A declaration is checked by its connector before it takes effect, so that a misspelt option is an
//! error at its place in the text, not when the job starts.

use std::collections::BTreeSet;

use millstream_connectors::options::{Blame, OptionError, RelationKind};
use millstream_connectors::validate;
use millstream_sql::catalog::ERROR_STREAM;
use millstream_sql::statement::Create;
use millstream_sql::{Catalog, SqlError, Statement, StatementKind, plan};

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
            self.refuse_to_replace_a_fed_stream(statement)?;
            if self.declare(statement).await?
                && let StatementKind::CreateSink { create, .. } = &statement.kind
            {
                sinks.push(create.def.name.clone());
            }
        }
        sinks.retain(|name| self.catalog.sinks.contains_key(name));
        sinks.dedup();
        for view in self.catalog.views.keys() {
            view_works(&self.catalog, view).map_err(|error| self.failure(&error))?;
        }
        plan::check_pumps(&self.catalog).map_err(|error| self.failure(&error))?;
        Ok(sinks)
    }

    /// In one text a stream that has a pump cannot be defined again: what the pump was written for would
    /// be another stream.
    fn refuse_to_replace_a_fed_stream(&self, statement: &Statement) -> Result<(), Failure> {
        let StatementKind::CreateStream(create) = &statement.kind else { return Ok(()) };
        let name = &create.def.name;
        let Some(pump) = self.catalog.pumps.values().find(|pump| pump.target.value == *name) else {
            return Ok(());
        };
        let message = format!("stream {name} has the pump {} already", pump.name);
        let error = SqlError::at(create.name_span, message)
            .with_hint("define a stream once, before its pumps");
        Err(self.failure(&error))
    }

    /// Carries out a declaration; returns false for a statement that is none.
    pub(super) async fn declare(&mut self, statement: &Statement) -> Result<bool, Failure> {
        let statement = self.with_columns_found(statement).await?;
        if let Some((kind, create)) = declared_with_options(&statement.kind) {
            validate(kind, &create.def).map_err(|error| self.failure(&placed(&error, create)))?;
        }
        self.refuse_in_use(&statement.kind)?;
        let before = self.catalog.clone();
        let applied = self.apply(&statement)?;
        if applied
            && self.settings.manner == Manner::Interactive
            && let Err(failure) = self.check_queries(&statement, &before)
        {
            self.catalog = before;
            return Err(failure);
        }
        if applied && self.settings.manner == Manner::Interactive {
            let confirmed = confirmation(&statement.kind);
            self.console.note(&confirmed);
            if let StatementKind::SwitchPump { names, .. } = &statement.kind {
                let jobs: Vec<_> =
                    names.iter().filter_map(|name| self.user_of("PUMP", &name.value)).collect();
                for job in jobs {
                    self.console.note(&format!("job {job} goes on as it was started"));
                }
            }
        }
        Ok(applied)
    }

    /// Checks that a new view can be planned, and that what is made of a replaced relation still can.
    fn check_queries(&self, statement: &Statement, before: &Catalog) -> Result<(), Failure> {
        let replaced = match &statement.kind {
            StatementKind::CreateView { name, or_replace, .. } => {
                view_works(&self.catalog, name).map_err(|error| self.failure(&error))?;
                or_replace.then_some(name)
            }
            StatementKind::CreatePump(_) => {
                plan::check_pumps(&self.catalog).map_err(|error| self.failure(&error))?;
                None
            }
            StatementKind::CreateStream(create) | StatementKind::CreateTable(create) => {
                create.or_replace.then_some(&create.def.name)
            }
            _ => None,
        };
        let Some(replaced) = replaced else { return Ok(()) };
        let broken = |what: String, error: &SqlError| {
            Failure::with_hint(
                format_args!("{what} would not work any more: {}", error.message),
                format_args!("drop it first, or leave {replaced} the columns it reads"),
            )
        };
        for view in self.catalog.views.keys() {
            if let Err(error) = view_works(&self.catalog, view)
                && view_works(before, view).is_ok()
            {
                return Err(broken(format!("view {view}"), &error));
            }
        }
        let alone = |catalog: &Catalog, sink: &String| {
            let mut catalog = catalog.clone();
            catalog.sinks.retain(|name, _| name == sink);
            plan::application(&catalog)
        };
        for sink in self.catalog.sinks.keys() {
            if let Err(error) = alone(&self.catalog, sink)
                && alone(before, sink).is_ok()
            {
                return Err(broken(format!("sink {sink}"), &error));
            }
        }
        Ok(())
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

/// Whether the view `name` can be planned. One over files or what a sink has written cannot be known
/// before they are read.
fn view_works(catalog: &Catalog, name: &str) -> Result<(), SqlError> {
    let Some(query) = catalog.views.get(name) else { return Ok(()) };
    let known = |name: &String| {
        catalog.streams.contains_key(name)
            || catalog.tables.contains_key(name)
            || name == ERROR_STREAM
    };
    let inputs = plan::batch_inputs(catalog, query, &BTreeSet::new())?;
    if !inputs.iter().all(known) {
        return Ok(());
    }
    plan::view_columns(catalog, name).map(drop).map_err(|error| error.or_at(query.span))
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
            format!("sink {} created; \\run or START JOB starts it", create.def.name)
        }
        StatementKind::Drop { object, name, .. } => {
            format!("{} {} dropped", object.to_lowercase(), name.value)
        }
        StatementKind::Set { key, value } => format!("{key} = {value}"),
        StatementKind::CreateFunction(function) => {
            format!("function {} created", function.name.value)
        }
        StatementKind::SwitchPump { names, start } => {
            let names: Vec<_> = names.iter().map(|name| name.value.as_str()).collect();
            format!("pump {} {}", names.join(", "), if *start { "started" } else { "stopped" })
        }
        _ => String::new(),
    }
}
