//! A session: what was declared, and what to do with a statement.
//!
//! ```text
//!   text ──parse──► statements ──┬─ CREATE, DROP, SET …  ─► [declare]      the catalog
//!                                ├─ sinks, SELECT STREAM ─► [application]  one job: sources, epochs, sinks
//!                                ├─ SELECT               ─► [batch]        DataFusion over what is there now
//!                                └─ EXPLAIN, SHOW …      ─► [inspect]      the catalog as text
//! ```
//!
//! The doors (script, terminal) differ only in their [`Manner`]. A *script* is an application: all of
//! it is declared first, then all its sinks and `SELECT STREAM` queries run as one job, then its other
//! queries, in order. A *conversation* takes one statement at a time.

mod application;
mod background;
mod batch;
mod console;
mod declare;
mod durable;
mod held;
mod inspect;
mod shown;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use millstream_connectors::Context;
use millstream_engine::definition::SYSTEM_COLUMNS;
use millstream_engine::job::{MemoryBudget, Progress};
use millstream_sql::statement::Query;
use millstream_sql::{Catalog, Folding, SqlError, Statement, StatementKind, parse_folding, plan};
use tokio::sync::watch;

pub use console::{Changes, Console};
pub use durable::{StatePlace, StateSettings};

use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::transcript::Transcript;

/// Who is on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A file: nothing is said but results, and what could run for ever in growing memory is refused.
    Script,
    /// A person at a prompt: declarations are confirmed, risks are warnings.
    Interactive,
}

/// What a session needs from outside.
#[derive(Debug)]
pub struct Settings {
    /// Who is on the other side.
    pub manner: Manner,
    /// What connectors are given.
    pub context: Context,
    /// How many lanes of a job work in parallel.
    pub lanes: usize,
    /// How much memory the state of a job may hold.
    pub memory: Option<MemoryBudget>,
    /// Where the state of jobs is kept, if it is to outlive them.
    pub state: Option<StateSettings>,
}

/// What was declared so far, and the means to run it.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    catalog: Catalog,
    transcript: Transcript,
    console: Console,
    jobs: Vec<inspect::JobRecord>,
    /// The jobs that run behind the prompt.
    background: Vec<background::Background>,
    /// How far the running job is, or the last one was.
    progress: watch::Sender<Progress>,
    /// Where the running job's metrics are served.
    metrics: Option<SocketAddr>,
}

impl Session {
    /// A session in which nothing is declared.
    pub fn new(settings: Settings, console: Console) -> Self {
        Self {
            settings,
            catalog: Catalog::default(),
            transcript: Transcript::default(),
            console,
            jobs: Vec::new(),
            background: Vec::new(),
            progress: watch::Sender::new(Progress::default()),
            metrics: None,
        }
    }

    /// Keeps the state of its jobs from now on, or no longer.
    pub fn keep_state(&mut self, state: Option<StateSettings>) {
        self.settings.state = state;
    }

    /// Serves the metrics of its jobs at this address from now on, or no longer.
    pub fn serve_metrics(&mut self, address: Option<SocketAddr>) {
        self.metrics = address;
    }

    /// What was declared so far.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Where the session speaks.
    pub fn console_mut(&mut self) -> &mut Console {
        &mut self.console
    }

    /// The kinds of objects of which there are any, as `SHOW` names them.
    pub fn declared(&self) -> Vec<&'static str> {
        let catalog = &self.catalog;
        let kinds = [
            ("STREAMS", catalog.streams.is_empty()),
            ("TABLES", catalog.tables.is_empty()),
            ("VIEWS", catalog.views.is_empty()),
            ("PUMPS", catalog.pumps.is_empty()),
            ("SINKS", catalog.sinks.is_empty()),
        ];
        kinds.into_iter().filter(|(_, empty)| !empty).map(|(kind, _)| kind).collect()
    }

    /// How far the running job is, or the last one was.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The names a person may want to complete: relations, pumps, and the columns of relations.
    pub fn names(&self) -> BTreeSet<String> {
        let catalog = &self.catalog;
        let relations = catalog.streams.values().chain(catalog.tables.values());
        let mut names: BTreeSet<String> =
            relations.flat_map(|def| &def.columns).map(|column| column.name.clone()).collect();
        names.extend(catalog.streams.keys().chain(catalog.tables.keys()).cloned());
        names.extend(catalog.pumps.keys().chain(catalog.sinks.keys()).cloned());
        for view in catalog.views.keys() {
            names.insert(view.clone());
            let columns = plan::describe(catalog, view);
            names.extend(columns.iter().flat_map(|s| s.fields()).map(|f| f.name().clone()));
        }
        names.extend(SYSTEM_COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
        names
    }

    /// Carries out `SET key = value` as the command line gives it.
    ///
    /// # Errors
    ///
    /// When there is no such setting.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let text = format!("SET {key} = '{}'", value.replace('\'', "''"));
        for statement in self.parse("--set", &text)? {
            self.apply(&statement)?;
        }
        Ok(())
    }

    /// Runs texts (names and contents of files) as one application: declares all of it, then runs its
    /// sinks and `SELECT STREAM` queries as one job until the sources end or `stop` is asked for, then
    /// its other queries.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, the connections or the data; nothing half-written stays behind.
    pub async fn run_script(&mut self, texts: &[(&str, &str)], stop: &Stop) -> Result<(), Failure> {
        let mut statements = Vec::new();
        for (name, text) in texts {
            statements.extend(self.parse(name, text)?);
        }
        self.refuse_job_control(&statements)?;
        let sinks = self.declare_all(&statements).await?;
        let queries = statements.iter().filter_map(|statement| match &statement.kind {
            StatementKind::Query(query) => Some((statement.text.as_str(), query)),
            _ => None,
        });
        let (continuous, bounded): (Vec<_>, Vec<_>) = queries.partition(|(_, query)| query.stream);
        for (_, query) in &bounded {
            self.check_names(query)?;
        }
        if !sinks.is_empty() || !continuous.is_empty() {
            self.run_application(&sinks, &continuous, stop).await?;
        } else if !self.catalog.pumps.is_empty() && bounded.is_empty() {
            self.console.note("nothing runs: no sink and no query reads what the pumps give");
        }
        for statement in &statements {
            match &statement.kind {
                StatementKind::Query(query) if query.stream => {}
                StatementKind::Query(_)
                | StatementKind::Explain { .. }
                | StatementKind::Describe(_)
                | StatementKind::Show(_) => self.execute(statement, stop).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Declares what the texts of files say and shows the dataflow of the application they make.
    ///
    /// # Errors
    ///
    /// What is wrong with the texts.
    pub async fn explain_script(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let statements = self.parse(name, text)?;
        let sinks = self.declare_all(&statements).await?;
        if !sinks.is_empty() {
            self.explain_application(&sinks)?;
        }
        for statement in &statements {
            if let StatementKind::Query(query) = &statement.kind {
                self.explain_query(query).await?;
            }
        }
        Ok(())
    }

    /// Carries out the statements of `text`, one after another.
    ///
    /// # Errors
    ///
    /// What is wrong with the first statement that fails; those before it have taken effect.
    pub async fn converse(&mut self, text: &str, stop: &Stop) -> Result<(), Failure> {
        for statement in self.parse("input", text)? {
            self.execute(&statement, stop).await?;
            if stop.is_asked() {
                break;
            }
        }
        Ok(())
    }

    /// Runs the declared sinks that no job has run yet as one application.
    ///
    /// # Errors
    ///
    /// When there are none, and as [`Session::run_script`].
    pub async fn run_sinks(&mut self, stop: &Stop) -> Result<(), Failure> {
        let sinks = self.pending_sinks();
        if sinks.is_empty() {
            return Err(Failure::with_hint(
                "no sink is waiting to run",
                "declare one: CREATE SINK …",
            ));
        }
        self.run_application(&sinks, &[], stop).await
    }

    /// The declared sinks that no job has run yet.
    pub fn pending_sinks(&self) -> Vec<String> {
        let ran = |name: &String| self.jobs.iter().any(|job| job.sinks.contains(name));
        self.catalog.sinks.keys().filter(|name| !ran(name)).cloned().collect()
    }

    async fn execute(&mut self, statement: &Statement, stop: &Stop) -> Result<(), Failure> {
        self.settle().await;
        match &statement.kind {
            StatementKind::StartJob => self.start_job(stop).await,
            StatementKind::StopJob(number) => self.stop_job(*number, stop).await,
            StatementKind::Query(query) if query.stream => {
                self.run_application(&[], &[(&statement.text, query)], stop).await
            }
            StatementKind::Query(query) => self.select(query, stop).await,
            StatementKind::Explain { analyze: true, statement } => match &statement.kind {
                StatementKind::Query(query) if query.stream => {
                    self.analyze(&[], &[(&statement.text, query)], stop).await
                }
                StatementKind::CreateSink { create, .. } => {
                    self.declare(statement).await?;
                    self.analyze(std::slice::from_ref(&create.def.name), &[], stop).await
                }
                _ => {
                    self.explain(statement).await?;
                    Box::pin(self.execute(statement, stop)).await
                }
            },
            StatementKind::Explain { statement, .. } => self.explain(statement).await,
            StatementKind::Describe(name) => self.describe(name).await,
            StatementKind::Show(what) => self.show(what),
            _ => self.declare(statement).await.map(|_| ()),
        }
    }

    /// The statements of `text`, which error messages call `name`.
    fn parse(&mut self, name: &str, text: &str) -> Result<Vec<Statement>, Failure> {
        self.catalog.now_ms = self.settings.context.clock.now_ms();
        // Some editors mark a text as UTF-8.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let folding = self.catalog.settings.get("identifier_folding");
        let folding = folding.and_then(|name| Folding::named(name)).unwrap_or_default();
        let placed = self.transcript.add(name, text);
        parse_folding(&placed, folding).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &SqlError) -> Failure {
        self.transcript.failure(error)
    }

    /// What a script runs is one job, which needs no statements to start and stop it.
    fn refuse_job_control(&self, statements: &[Statement]) -> Result<(), Failure> {
        let controls = |statement: &&Statement| {
            matches!(statement.kind, StatementKind::StartJob | StatementKind::StopJob(_))
        };
        match statements.iter().find(controls) {
            None => Ok(()),
            Some(statement) => {
                let error =
                    SqlError::at(statement.span, "a script is one job and starts by itself");
                let hint = "leave it out; START JOB and STOP JOB are for the prompt";
                Err(self.failure(&error.with_hint(hint)))
            }
        }
    }

    /// Whether everything `query` names exists, before anything runs.
    fn check_names(&self, query: &Query) -> Result<(), Failure> {
        let inputs = plan::batch_inputs(&self.catalog, query, &BTreeSet::new());
        inputs.map(|_| ()).map_err(|error| self.failure(&error))
    }
}
