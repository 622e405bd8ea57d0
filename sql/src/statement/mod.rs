//! Statements: what a text says, checked for form but not for meaning.

pub(crate) mod clauses;
mod columns;
mod cursor;
mod data_type;
mod function;
mod grammar;
mod intervals;
mod options;
mod query;
pub(crate) mod reserved;
mod values;

use datafusion::sql::sqlparser::ast;
use millstream_engine::definition::RelationDef;

use crate::catalog::IDENTIFIER_FOLDING;
use crate::error::{Span, SqlError};
use crate::source::SourceText;
use crate::stack::with_room;
use crate::statement::cursor::Cursor;
use crate::tokens::{self, Folding};

pub use data_type::ColumnType;
pub use function::Function;

/// A statement and where it stands.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// Where it stands in the text it was parsed from.
    pub span: Span,
    /// Its own text, without the closing `;`.
    pub text: String,
}

/// What a statement says.
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// `CREATE [OR REPLACE] STREAM …`: external if it has `WITH (connector = …)`, else in-application.
    CreateStream(Create),
    /// `CREATE [OR REPLACE] TABLE …`; no columns means: as found in the files.
    CreateTable(Create),
    /// `CREATE [OR REPLACE] VIEW name AS query`.
    CreateView {
        /// The view's name, folded.
        name: String,
        /// Whether an existing view of that name is replaced.
        or_replace: bool,
        /// What it shows.
        query: Query,
    },
    /// `CREATE [OR REPLACE] PUMP name AS INSERT INTO stream [(columns)] query`.
    CreatePump(Pump),
    /// `CREATE [OR REPLACE] SINK name FROM relation WITH (…)` or `… WITH (…) AS query`.
    CreateSink {
        /// Its name and options; it has no declared columns.
        create: Create,
        /// What it writes.
        input: SinkInput,
    },
    /// `CREATE [OR REPLACE] FUNCTION name (parameters) RETURNS type … RETURN expression`.
    CreateFunction(Function),
    /// A query.
    Query(Query),
    /// `EXPLAIN [ANALYZE] statement`.
    Explain {
        /// Whether the statement runs as well.
        analyze: bool,
        /// What is explained.
        statement: Box<Statement>,
    },
    /// `DESCRIBE name`.
    Describe(Name),
    /// `SHOW STREAMS|PUMPS|SINKS|TABLES|VIEWS|JOBS`: the word, upper case.
    Show(String),
    /// `DROP STREAM|TABLE|VIEW|PUMP|SINK|FUNCTION [IF EXISTS] name`.
    Drop {
        /// The kind of object, upper case.
        object: String,
        /// Whether it may be missing.
        if_exists: bool,
        /// Its name.
        name: Name,
    },
    /// `SET key = value`.
    Set {
        /// The setting, lower case.
        key: String,
        /// Its value as written, without quotes.
        value: String,
    },
    /// `START JOB`: runs what does not run yet behind the prompt.
    StartJob,
    /// `STOP JOB [number]`: ends one of the jobs that `SHOW JOBS` lists, or all.
    StopJob(Option<usize>),
    /// `START PUMP name` or `STOP PUMP name` (also `ALTER PUMP name, … START|STOP`).
    SwitchPump {
        /// The pumps; `*` stands for all.
        names: Vec<Name>,
        /// Whether they start.
        start: bool,
    },
}

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name after identifier folding.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// A stream, table or sink to create.
#[derive(Debug, Clone)]
pub struct Create {
    /// What is declared.
    pub def: RelationDef,
    /// Whether an existing object of that name is replaced.
    pub or_replace: bool,
    /// Where the name stands.
    pub name_span: Span,
    /// Where each option of `WITH (…)` stands: its name, and its value; as many as `def.options`.
    pub option_spans: Vec<(Span, Span)>,
}

/// A pump to create.
#[derive(Debug, Clone)]
pub struct Pump {
    /// Its name, folded.
    pub name: String,
    /// Whether an existing pump of that name is replaced.
    pub or_replace: bool,
    /// Whether it runs from the start (it does unless declared `STOPPED`).
    pub started: bool,
    /// The stream it feeds.
    pub target: Name,
    /// The columns it feeds; empty means all, in order.
    pub columns: Vec<Name>,
    /// What it feeds them with.
    pub query: Query,
}

/// What a sink writes.
#[derive(Debug, Clone)]
pub enum SinkInput {
    /// The rows of a stream or view.
    Relation(Name),
    /// The rows of a query.
    Query(Query),
}

/// A query, ready to be planned: identifiers are folded, `STREAM` is taken out and KDA's forms are
/// replaced by ones that DataFusion knows.
#[derive(Debug, Clone)]
pub struct Query {
    /// The syntax tree. Its spans are those of the text it was parsed from.
    pub ast: Box<ast::Query>,
    /// Whether the outermost `SELECT` says `STREAM`.
    pub stream: bool,
    /// For how many milliseconds the rows of the streams that it names count; none for ever.
    pub state_ttl: Option<i64>,
    /// Where it stands.
    pub span: Span,
}

/// Splits `text` into statements, with identifiers folded to upper case; `SET identifier_folding =
/// 'lower'` changes that for the statements behind it.
///
/// # Errors
///
/// Where the text is not of the dialect: the first place that is wrong. Every error has a span.
pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    parse_folding(text, Folding::Upper)
}

/// [`parse`] for the text of a session that folds identifiers by `folding` already: see
/// [`crate::Catalog::folding`].
///
/// # Errors
///
/// Those of [`parse`].
pub fn parse_folding(text: &str, folding: Folding) -> Result<Vec<Statement>, SqlError> {
    with_room(|| statements(text, folding))
}

fn statements(text: &str, mut folding: Folding) -> Result<Vec<Statement>, SqlError> {
    let source = SourceText::new(text);
    let all = tokens::tokenize(&source)?;
    let mut parsed = Vec::new();
    for tokens in tokens::statements(&all) {
        let folded = tokens::fold(tokens, folding);
        let mut cursor = Cursor::new(&source, &folded.tokens);
        let statement = grammar::statement(&mut cursor, &folded.streams)?;
        if let StatementKind::Set { key, value } = &statement.kind
            && key == IDENTIFIER_FOLDING
            && let Some(named) = Folding::named(value)
        {
            folding = named;
        }
        parsed.push(statement);
    }
    Ok(parsed)
}
