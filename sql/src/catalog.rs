//! What a session has declared so far.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, ObjectName, Visit, Visitor};
use millstream_engine::definition::RelationDef;
pub use millstream_engine::fault::ERROR_STREAM;

use crate::error::SqlError;
use crate::spelling::did_you_mean;
use crate::stack::with_room;
use crate::state_ttl;
use crate::statement::{Create, Function, Name, Pump, Query, SinkInput, Statement, StatementKind};
use crate::tokens::Folding;

/// The setting that says how unquoted identifiers are folded.
pub const IDENTIFIER_FOLDING: &str = "identifier_folding";

/// The setting that says whether a query may keep state that grows for ever.
pub const UNBOUNDED_STATE: &str = "unbounded_state";

/// The setting that says for how long rows count in queries that would keep state for ever.
pub const STATE_TTL: &str = state_ttl::OPTION;

/// The setting that names the schema of what follows. There is one schema, so it changes nothing.
pub const SCHEMA: &str = "schema";

/// A setting of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name, lower case.
    pub name: &'static str,
    /// The values it can have, lower case; the first is the default. Without any it can have all.
    pub values: &'static [&'static str],
    /// What it does.
    pub about: &'static str,
}

/// The settings there are.
pub const SETTINGS: [Setting; 4] = [
    Setting {
        name: IDENTIFIER_FOLDING,
        values: &["upper", "lower"],
        about: "how identifiers without quotes are read",
    },
    Setting {
        name: UNBOUNDED_STATE,
        values: &["refuse", "allow"],
        about: "whether a query may keep state that grows for ever",
    },
    Setting {
        name: STATE_TTL,
        values: &[],
        about: "for how long rows count in queries that would keep state for ever: '1 day', or 'none'",
    },
    Setting { name: SCHEMA, values: &[], about: "changes nothing: there is one schema" },
];

/// The [`STATE_TTL`] of rows that count for ever.
const FOR_EVER: &str = "none";

/// Checks that the setting `key` exists and can be `value`.
pub(crate) fn check_setting(key: &str, value: &str) -> Result<(), SqlError> {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
        let names = SETTINGS.iter().map(|setting| setting.name);
        return Err(SqlError::new(format!("there is no setting {key}"))
            .with_hint(did_you_mean(key, names, "settings")));
    };
    if key == STATE_TTL && !value.eq_ignore_ascii_case(FOR_EVER) {
        return state_ttl::read(value).map(|_| ());
    }
    let known = &setting.values;
    if known.is_empty() || known.contains(&value.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(SqlError::new(format!("{key} cannot be '{value}'"))
        .with_hint(format!("it is one of {}", setting.values.join(", "))))
}

/// The objects of a session, by name. Streams, tables and views share one name space; pumps and sinks
/// have one each.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Streams: external ones have the option `connector`, in-application ones do not.
    pub streams: BTreeMap<String, RelationDef>,
    /// Tables.
    pub tables: BTreeMap<String, RelationDef>,
    /// Views.
    pub views: BTreeMap<String, Query>,
    /// Pumps.
    pub pumps: BTreeMap<String, Pump>,
    /// Functions, by name; of each name, one per number of parameters.
    pub functions: BTreeMap<String, Vec<Function>>,
    /// Sinks with what they write.
    pub sinks: BTreeMap<String, (RelationDef, SinkInput)>,
    /// Settings by name, lower case.
    pub settings: BTreeMap<String, String>,
    /// What `CURRENT_TIMESTAMP` is in what is planned next, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// A kind of object, as `DROP` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Table,
    View,
    Pump,
    Sink,
    Function,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Stream, Self::Table, Self::View, Self::Pump, Self::Sink, Self::Function];

    fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Table => "table",
            Self::View => "view",
            Self::Pump => "pump",
            Self::Sink => "sink",
            Self::Function => "function",
        }
    }

    /// Whether its names are those a query can read.
    fn is_relation(self) -> bool {
        matches!(self, Self::Stream | Self::Table | Self::View)
    }
}

impl Catalog {
    /// Carries out a statement that declares, drops or sets something; returns false for one that does
    /// not (a query, `SHOW` …), which the session carries out itself.
    ///
    /// # Errors
    ///
    /// When a name is taken, missing or reserved, or a setting is unknown; the catalog is unchanged.
    pub fn apply(&mut self, statement: &Statement) -> Result<bool, SqlError> {
        let done = match &statement.kind {
            StatementKind::CreateStream(create) => self.create_relation(Kind::Stream, create),
            StatementKind::CreateTable(create) => self.create_relation(Kind::Table, create),
            StatementKind::CreateView { name, or_replace, query } => {
                self.check_free(Kind::View, name, *or_replace).map(|()| {
                    self.views.insert(name.clone(), query.clone());
                })
            }
            StatementKind::CreatePump(pump) => self.create_pump(pump),
            StatementKind::CreateSink { create, input } => self.create_sink(create, input),
            StatementKind::Drop { object, if_exists, name } => {
                self.drop_object(object, *if_exists, name)
            }
            StatementKind::Set { key, value } => check_setting(key, value).map(|()| {
                self.settings.insert(key.clone(), value.to_lowercase());
            }),
            StatementKind::SwitchPump { names, start } => self.switch_pumps(names, *start),
            StatementKind::CreateFunction(function) => self.create_function(function),
            StatementKind::Query(_)
            | StatementKind::Explain { .. }
            | StatementKind::Describe(_)
            | StatementKind::Show(_)
            | StatementKind::StartJob
            | StatementKind::StopJob(_) => return Ok(false),
        };
        done.map(|()| true).map_err(|error| error.or_at(statement.span))
    }

    /// The value of a setting: as set, else its default; empty if there is no such setting.
    pub fn setting(&self, name: &str) -> &str {
        let default = SETTINGS.iter().find(|setting| setting.name == name);
        let default = default.and_then(|setting| setting.values.first()).copied();
        self.settings.get(name).map_or(default.unwrap_or_default(), String::as_str)
    }

    /// How the identifiers of the next text are folded.
    pub fn folding(&self) -> Folding {
        Folding::named(self.setting(IDENTIFIER_FOLDING)).unwrap_or_default()
    }

    /// Whether a query may keep state that grows for ever.
    pub fn allows_unbounded_state(&self) -> bool {
        self.setting(UNBOUNDED_STATE) == "allow"
    }

    /// For how long rows count in queries that would keep state for ever, in milliseconds; `None` for ever.
    pub fn state_ttl(&self) -> Option<i64> {
        self.settings.get(STATE_TTL).and_then(|length| state_ttl::read(length).ok())
    }

    /// The names of all objects of a kind.
    fn names(&self, kind: Kind) -> Vec<&str> {
        match kind {
            Kind::Stream => self.streams.keys().map(String::as_str).collect(),
            Kind::Table => self.tables.keys().map(String::as_str).collect(),
            Kind::View => self.views.keys().map(String::as_str).collect(),
            Kind::Pump => self.pumps.keys().map(String::as_str).collect(),
            Kind::Sink => self.sinks.keys().map(String::as_str).collect(),
            Kind::Function => self.functions.keys().map(String::as_str).collect(),
        }
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        self.names(kind).contains(&name)
    }

    fn check_free(&self, kind: Kind, name: &str, or_replace: bool) -> Result<(), SqlError> {
        if self.has(kind, name) && !or_replace {
            let kind = kind.word();
            return Err(SqlError::new(format!("{kind} {name} exists already")).with_hint(format!(
                "CREATE OR REPLACE {} {name} replaces it",
                kind.to_uppercase()
            )));
        }
        let others = Kind::ALL.into_iter().filter(|other| other.is_relation() && *other != kind);
        for other in others {
            if kind.is_relation() && self.has(other, name) {
                return Err(SqlError::new(format!("{name} is a {} already", other.word()))
                    .with_hint("streams, tables and views share their names; choose another"));
            }
        }
        Ok(())
    }

    fn create_relation(&mut self, kind: Kind, create: &Create) -> Result<(), SqlError> {
        let name = &create.def.name;
        let free = self.check_free(kind, name, create.or_replace);
        free.map_err(|error| error.or_at(create.name_span))?;
        let relations = if kind == Kind::Table { &mut self.tables } else { &mut self.streams };
        relations.insert(name.clone(), create.def.clone());
        Ok(())
    }

    fn create_pump(&mut self, pump: &Pump) -> Result<(), SqlError> {
        self.check_free(Kind::Pump, &pump.name, pump.or_replace)?;
        let target = &pump.target;
        if !self.streams.contains_key(&target.value) {
            return Err(self.no_target(target));
        }
        self.pumps.insert(pump.name.clone(), pump.clone());
        Ok(())
    }

    /// Why a pump cannot feed `target`.
    fn no_target(&self, target: &Name) -> SqlError {
        let name = &target.value;
        if name == ERROR_STREAM {
            return SqlError::at(target.span, "nothing can be inserted into error_stream")
                .with_hint("late and bad rows come there by themselves; it can be read");
        }
        let other = [Kind::Table, Kind::View].into_iter().find(|kind| self.has(*kind, name));
        if let Some(kind) = other {
            return SqlError::at(target.span, format!("{name} is a {}, not a stream", kind.word()))
                .with_hint("a pump feeds a stream: CREATE STREAM first");
        }
        let hint = did_you_mean(name, self.names(Kind::Stream), "streams");
        SqlError::at(target.span, format!("there is no stream {name}")).with_hint(hint)
    }

    fn create_sink(&mut self, create: &Create, input: &SinkInput) -> Result<(), SqlError> {
        let name = &create.def.name;
        let free = self.check_free(Kind::Sink, name, create.or_replace);
        free.map_err(|error| error.or_at(create.name_span))?;
        let mut input = input.clone();
        if let SinkInput::Relation(relation) = &mut input {
            // The documentation writes its name in lower case, and so does who quotes it.
            if relation.value.eq_ignore_ascii_case(ERROR_STREAM) {
                ERROR_STREAM.clone_into(&mut relation.value);
            }
            let wanted = &relation.value;
            let relations = || Kind::ALL.into_iter().filter(|kind| kind.is_relation());
            if wanted != ERROR_STREAM && !relations().any(|kind| self.has(kind, wanted)) {
                let known = relations().flat_map(|kind| self.names(kind)).chain([ERROR_STREAM]);
                return Err(SqlError::at(
                    relation.span,
                    format!("there is no stream or view {wanted}"),
                )
                .with_hint(did_you_mean(wanted, known, "relations")));
            }
        }
        self.sinks.insert(name.clone(), (create.def.clone(), input));
        Ok(())
    }

    fn create_function(&mut self, function: &Function) -> Result<(), SqlError> {
        let overloads = self.functions.entry(function.name.value.clone()).or_default();
        let count = function.parameters.len();
        let same = overloads.iter().position(|known| known.parameters.len() == count);
        match same {
            Some(at) if function.or_replace => overloads[at] = function.clone(),
            Some(_) => {
                let name = &function.name;
                return Err(SqlError::at(
                    name.span,
                    format!("there is a function {} of {count} parameters", name.value),
                )
                .with_hint("CREATE OR REPLACE FUNCTION replaces it"));
            }
            None => overloads.push(function.clone()),
        }
        Ok(())
    }

    fn switch_pumps(&mut self, names: &[Name], start: bool) -> Result<(), SqlError> {
        for name in names {
            if name.value == "*" {
                self.pumps.values_mut().for_each(|pump| pump.started = start);
            } else if let Some(pump) = self.pumps.get_mut(&name.value) {
                pump.started = start;
            } else {
                return Err(self.missing(Kind::Pump, name));
            }
        }
        Ok(())
    }

    fn drop_object(&mut self, object: &str, if_exists: bool, name: &Name) -> Result<(), SqlError> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(object));
        let Some(kind) = kind else {
            return Err(SqlError::new(format!("there are no objects of the kind {object}")));
        };
        if !self.has(kind, &name.value) {
            return if if_exists { Ok(()) } else { Err(self.missing(kind, name)) };
        }
        if kind.is_relation()
            && let Some((user, verb)) = self.user_of(&name.value)
        {
            let message = format!("{user} {verb} {} {}", kind.word(), name.value);
            return Err(SqlError::at(name.span, message).with_hint(format!("drop {user} first")));
        }
        match kind {
            Kind::Stream => drop(self.streams.remove(&name.value)),
            Kind::Table => drop(self.tables.remove(&name.value)),
            Kind::View => drop(self.views.remove(&name.value)),
            Kind::Pump => drop(self.pumps.remove(&name.value)),
            Kind::Sink => drop(self.sinks.remove(&name.value)),
            Kind::Function => drop(self.functions.remove(&name.value)),
        }
        Ok(())
    }

    /// What `sinks` and `views` are made of, with them: the kind of each object, as `DROP` names it, and
    /// its name.
    pub fn behind(
        &self,
        sinks: &[String],
        views: &BTreeSet<String>,
    ) -> BTreeSet<(&'static str, String)> {
        let mut behind: BTreeSet<_> = sinks.iter().map(|name| ("SINK", name.clone())).collect();
        let mut open: Vec<String> = views.iter().cloned().collect();
        for (_, input) in sinks.iter().filter_map(|name| self.sinks.get(name)) {
            match input {
                SinkInput::Relation(name) => open.push(name.value.clone()),
                SinkInput::Query(query) => open.extend(relations_of(&query.ast)),
            }
        }
        while let Some(name) = open.pop() {
            if let Some(query) = self.views.get(&name)
                && behind.insert(("VIEW", name.clone()))
            {
                open.extend(relations_of(&query.ast));
            }
            if self.tables.contains_key(&name) {
                behind.insert(("TABLE", name.clone()));
            }
            if self.streams.contains_key(&name) && behind.insert(("STREAM", name.clone())) {
                for pump in self.pumps.values().filter(|pump| pump.target.value == name) {
                    behind.insert(("PUMP", pump.name.clone()));
                    open.extend(relations_of(&pump.query.ast));
                }
            }
        }
        behind
    }

    fn missing(&self, kind: Kind, name: &Name) -> SqlError {
        let wanted = &name.value;
        let error = SqlError::at(name.span, format!("there is no {} {wanted}", kind.word()));
        if kind == Kind::Stream && wanted == ERROR_STREAM {
            return error.with_hint("error_stream belongs to the session and stays");
        }
        match Kind::ALL.into_iter().find(|other| self.has(*other, wanted)) {
            Some(other) => error.with_hint(format!("{wanted} is a {}", other.word())),
            None => {
                let plural = format!("{}s", kind.word());
                error.with_hint(did_you_mean(wanted, self.names(kind), &plural))
            }
        }
    }

    /// The first view, pump or sink that needs the relation `name`, and what it does with it.
    fn user_of(&self, name: &str) -> Option<(String, &'static str)> {
        let reads = |query: &Query| relations_of(&query.ast).contains(name);
        if let Some((view, _)) = self.views.iter().find(|(_, query)| reads(query)) {
            return Some((format!("view {view}"), "reads"));
        }
        for (pump, Pump { target, query, .. }) in &self.pumps {
            if target.value == name {
                return Some((format!("pump {pump}"), "feeds"));
            }
            if reads(query) {
                return Some((format!("pump {pump}"), "reads"));
            }
        }
        let writes = |input: &SinkInput| match input {
            SinkInput::Relation(relation) => relation.value == name,
            SinkInput::Query(query) => reads(query),
        };
        let sink = self.sinks.iter().find(|(_, (_, input))| writes(input));
        sink.map(|(sink, _)| (format!("sink {sink}"), "reads"))
    }
}

/// The names of the relations of a query, without those it defines itself by `WITH`.
fn relations_of(query: &ast::Query) -> BTreeSet<String> {
    let mut relations = ReadRelations::default();
    let ControlFlow::Continue(()) = with_room(|| query.visit(&mut relations));
    relations.read.retain(|name| !relations.defined.contains(name));
    relations.read
}

#[derive(Default)]
struct ReadRelations {
    read: BTreeSet<String>,
    defined: BTreeSet<String>,
}

impl Visitor for ReadRelations {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Infallible> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.defined.extend(ctes.map(|cte| cte.alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Infallible> {
        let name = relation.0.last().and_then(|part| part.as_ident());
        self.read.extend(name.map(|name| name.value.clone()));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
