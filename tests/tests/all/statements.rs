//! Single statements on the ground of DataFusion's own sqllogictest files, as batch queries through our
//! parser, rewrites and planner, each held to what DataFusion says of the same text by itself.
//!
//! The statements are in `tests/batch/`, one per line (one that begins with blanks goes on). Where the
//! dialect means something else, the line before says so, and why:
//!
//! ```text
//! -- because: whole numbers divide as whole numbers        the reason, which the next two need
//! -- means: SELECT AVG(n) …                                what DataFusion calls it
//! -- refused: part of our message                          it is refused here
//! ```
//!
//! Such an exception that is none any more is a failure too.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::prelude::{SessionConfig, SessionContext};
use millstream_connectors::decode::{Delimiters, Format};
use millstream_sql::{Catalog, StatementKind, parse, plan};

use crate::law::{decode, lower_case};

const DECLARATIONS: &str = "
CREATE TABLE t (id INTEGER, k VARCHAR(8), g INTEGER, n BIGINT, d DOUBLE, m DECIMAL(10,2), ok BOOLEAN,
  s VARCHAR(32), dd DATE, ts TIMESTAMP) WITH (connector = 'file', path = 't.csv', format = 'csv');
CREATE TABLE r (id INTEGER, k VARCHAR(8), w BIGINT, note VARCHAR(16))
  WITH (connector = 'file', path = 'r.csv', format = 'csv');
CREATE TABLE e (a INTEGER, b VARCHAR(4)) WITH (connector = 'file', path = 'e.csv', format = 'csv');
";

/// The rows of each table: NULLs, ties, negative numbers, letters of several bytes.
const ROWS: [(&str, &[&str]); 3] = [
    (
        "T",
        &[
            "1,a,1,10,1.5,10.25,true,apple,2024-01-15,2024-01-15 10:30:00",
            "2,b,1,20,2.5,20.50,false,Banana,2024-02-29,2024-02-29 23:59:59.123",
            "3,a,2,,3.5,-5.75,true,cherry pie,2023-12-31,2023-12-31 00:00:00",
            "4,c,2,40,,0.00,,,2024-01-31,",
            "5,b,3,-50,-4.5,,false,élan,,1999-07-04 12:00:00.500",
            "6,,3,60,0.25,99999.99,true,apple,2024-06-30,2024-06-30 06:06:06",
            "7,a,1,10,7.75,-0.01,false,,1970-01-01,1970-01-01 00:00:00",
            "8,c,,80,1.5,33.33,true,date,2024-12-31,2024-12-31 23:00:00",
            "9,b,2,,,12.34,false,Elder,2024-03-10,2024-03-10 02:30:00",
            "10,a,3,5,-1.125,7.00,,fig,2025-01-01,2025-01-01 00:00:01",
        ],
    ),
    ("R", &["1,a,100,x", "2,b,200,y", "2,b,250,", "4,d,-10,z", ",a,5,q", "7,,70,x"]),
    ("E", &[]),
];

/// Fewer statements than this, and some were lost.
const STATEMENTS_MIN: usize = 500;

/// More exceptions than this, and it is time to ask whether it is the same language still.
const EXCEPTIONS_MAX: usize = 80;

#[derive(Debug, Default)]
struct Case {
    place: String,
    text: String,
    because: Option<String>,
    means: Option<String>,
    refused: Option<String>,
}

impl Case {
    fn is_exception(&self) -> bool {
        self.means.is_some() || self.refused.is_some()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("batch")
}

/// The statements of a file.
fn cases(path: &Path) -> Vec<Case> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut cases: Vec<Case> = Vec::new();
    let mut next = Case::default();
    for (number, line) in text.lines().enumerate() {
        if let Some(remark) = line.strip_prefix("-- ") {
            match remark.split_once(": ") {
                Some(("because", reason)) => next.because = Some(reason.to_owned()),
                Some(("means", statement)) => next.means = Some(statement.to_owned()),
                Some(("refused", part)) => next.refused = Some(part.to_owned()),
                _ => {}
            }
        } else if line.starts_with(' ') {
            cases.last_mut().expect("a statement goes on").text.push_str(line);
        } else if !line.trim().is_empty() {
            let place = format!("{name}:{}", number + 1);
            cases.push(Case { place, text: line.to_owned(), ..std::mem::take(&mut next) });
        }
    }
    cases
}

/// What a query gives: the kind of each column, its name if it is one that was given, and the rows.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    columns: Vec<(String, &'static str)>,
    rows: Vec<String>,
}

impl Answer {
    fn new(schema: &Schema, batches: &[RecordBatch], ordered: bool) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let name = field.name().to_lowercase();
            let is_given = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ' ');
            (if is_given { name } else { String::new() }, kind(field.data_type()))
        });
        let mut rows: Vec<String> = batches.iter().flat_map(texts).collect();
        if !ordered {
            rows.sort_unstable();
        }
        Self { columns: columns.collect(), rows }
    }

    /// What differs, if anything.
    fn difference(&self, expected: &Self) -> Option<String> {
        if self.columns.len() != expected.columns.len() {
            return Some(format!("columns {:?}, not {:?}", self.columns, expected.columns));
        }
        for (ours, theirs) in self.columns.iter().zip(&expected.columns) {
            let is_named = !ours.0.is_empty() && !theirs.0.is_empty();
            if ours.1 != theirs.1 || (is_named && ours.0 != theirs.0) {
                return Some(format!("column {ours:?}, not {theirs:?}"));
            }
        }
        let pairs = self.rows.iter().zip(&expected.rows);
        if let Some((ours, theirs)) = pairs.into_iter().find(|(ours, theirs)| ours != theirs) {
            return Some(format!("row {ours}, not {theirs}"));
        }
        (self.rows.len() != expected.rows.len())
            .then(|| format!("{} rows, not {}", self.rows.len(), expected.rows.len()))
    }
}

/// What values of a type are; how many bytes they have is not compared.
fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        whole if whole.is_integer() => "whole number",
        float if float.is_floating() => "float",
        decimal if decimal.is_decimal() => "decimal",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(..) => "timestamp",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Struct(_) => "struct",
        DataType::Map(..) => "map",
        _ => "list",
    }
}

/// The rows of a batch as text: numbers in one way of writing, names of parts in small letters.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<(&'static str, ArrayFormatter<'_>)> = batch
        .columns()
        .iter()
        .map(|column| (kind(column.data_type()), ArrayFormatter::try_new(column, &options)))
        .map(|(kind, formatter)| (kind, formatter.unwrap()))
        .collect();
    let value = |row: usize, (kind, formatter): &(&str, ArrayFormatter<'_>)| {
        let text = formatter.value(row).to_string();
        match *kind {
            // The last digits of a float depend on the order of a sum.
            "float" => text.parse().map_or(text, |number: f64| format!("{:.9e}", number + 0.0)),
            "decimal" if text.contains('.') => {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            "list" | "struct" | "map" => text.to_lowercase(),
            _ => text,
        }
    };
    let row = |row| columns.iter().map(|column| value(row, column)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// The tables, for both.
struct Tables {
    catalog: Catalog,
    rows: Vec<(String, RecordBatch)>,
}

impl Tables {
    fn new() -> Self {
        let mut catalog = Catalog::default();
        for statement in parse(DECLARATIONS).unwrap() {
            catalog.apply(&statement).unwrap();
        }
        let rows = ROWS.iter().map(|(name, lines)| {
            let def = &catalog.tables[*name];
            let lines = lines.iter().map(|line| (*line).to_owned());
            let decoded = decode(def, &Format::Csv(Delimiters::default()), lines);
            let declared: Vec<usize> = (0..def.columns.len()).collect();
            ((*name).to_owned(), decoded.project(&declared).unwrap())
        });
        let rows = rows.collect();
        Self { catalog, rows }
    }

    fn config(settings: SessionConfig) -> SessionConfig {
        settings.with_target_partitions(1)
    }

    /// What we say of `text`.
    async fn ours(&self, text: &str, ordered: bool) -> Result<Answer, String> {
        let statements = parse(text).map_err(|e| e.render("query", text))?;
        let Some(StatementKind::Query(query)) = statements.first().map(|first| &first.kind) else {
            return Err("not a query".to_owned());
        };
        let inputs = plan::batch_inputs(&self.catalog, query, &BTreeSet::new());
        let inputs = inputs.map_err(|e| e.render("query", text))?;
        let table = |(name, rows): &(String, RecordBatch)| {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
            (name.clone(), provider_as_source(Arc::new(table)))
        };
        let relations: HashMap<String, Arc<dyn TableSource>> =
            self.rows.iter().filter(|(name, _)| inputs.contains(name)).map(table).collect();
        let plan = plan::batch_query(&self.catalog, query, &relations);
        let plan = plan.map_err(|e| e.render("query", text))?;
        let context = SessionContext::new_with_config(Self::config(plan::batch_config().into()));
        for function in plan::batch_functions() {
            context.register_udf(function.as_ref().clone());
        }
        answer(&context, plan, ordered).await
    }

    /// What DataFusion says of `text`, and whether in an order.
    async fn theirs(&self, text: &str) -> Result<(Answer, bool), String> {
        let mut config = Self::config(SessionConfig::new());
        // Decimal literals are exact, as ours are.
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        let context = SessionContext::new_with_config(config);
        for (name, rows) in &self.rows {
            let rows = lower_case(rows);
            let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
            context.register_table(name.to_lowercase(), Arc::new(table)).unwrap();
        }
        let plan = context.state().create_logical_plan(text).await.map_err(|e| e.to_string())?;
        let ordered = is_ordered(&plan);
        Ok((answer(&context, plan, ordered).await?, ordered))
    }

    /// What is wrong with a statement, if anything.
    async fn complaint(&self, case: &Case) -> Option<String> {
        let place = format!("{} {}", case.place, case.text);
        let (theirs, ordered) = match self.theirs(&case.text).await {
            Ok((answer, ordered)) => (Ok(answer), ordered),
            Err(error) => (Err(error), false),
        };
        let ours = self.ours(&case.text, ordered).await;
        if let Some(part) = &case.refused {
            return match ours {
                Err(message) if message.contains(part) => None,
                other => Some(format!("{place}\n  should be refused with `{part}`: {other:?}")),
            };
        }
        let ours = match ours {
            Ok(ours) => ours,
            Err(error) => {
                let both = theirs.err().map(|e| format!(", as DataFusion does: {e}"));
                return Some(format!("{place}\n  fails: {error}{}", both.unwrap_or_default()));
            }
        };
        let same = match &theirs {
            Ok(theirs) => ours.difference(theirs),
            Err(error) => Some(format!("DataFusion fails: {error}")),
        };
        match (&case.means, same) {
            (None, difference) => difference.map(|said| format!("{place}\n  {said}")),
            (Some(_), None) => Some(format!("{place}\n  is no exception any more")),
            (Some(means), Some(_)) => match self.theirs(means).await {
                Ok((meant, _)) => ours.difference(&meant).map(|said| format!("{place}\n  {said}")),
                Err(error) => Some(format!("{place}\n  its meaning fails: {error}")),
            },
        }
    }
}

async fn answer(
    context: &SessionContext,
    plan: LogicalPlan,
    ordered: bool,
) -> Result<Answer, String> {
    let failed = |error: datafusion::error::DataFusionError| error.to_string();
    let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    let schema = frame.schema().as_arrow().clone();
    let batches = frame.collect().await.map_err(failed)?;
    Ok(Answer::new(&schema, &batches, ordered))
}

/// Whether the rows of a plan come in an order: then it is one that leaves no choice.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Limit(limit) => is_ordered(&limit.input),
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        _ => false,
    }
}

/// What is wrong with the statements of a file.
fn complaints(cases: &[Case]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let tables = Tables::new();
    let each = cases.iter().filter_map(|case| runtime.block_on(tables.complaint(case)));
    each.collect()
}

#[test]
fn every_statement_says_in_batch_what_datafusion_says() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let cases: Vec<Vec<Case>> = files.iter().map(|path| cases(path)).collect();
    let complaints: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|cases| scope.spawn(|| complaints(cases))).collect();
        running.into_iter().flat_map(|file| file.join().unwrap()).collect()
    });
    assert!(complaints.is_empty(), "{} differ:\n{}", complaints.len(), complaints.join("\n"));
    let all: Vec<&Case> = cases.iter().flatten().collect();
    let exceptions = all.iter().filter(|case| case.is_exception());
    assert!(all.len() > STATEMENTS_MIN, "only {} statements", all.len());
    assert!(exceptions.clone().count() < EXCEPTIONS_MAX, "{} exceptions", exceptions.count());
    let unsaid: Vec<&str> =
        exceptions.filter(|case| case.because.is_none()).map(|case| case.place.as_str()).collect();
    assert!(unsaid.is_empty(), "without a reason: {unsaid:?}");
}

#[test]
fn a_difference_is_seen() {
    let tables = Tables::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let complaint = |text: &str, means: Option<&str>| {
        let means = means.map(str::to_owned);
        let case = Case { text: text.to_owned(), means, ..Case::default() };
        runtime.block_on(tables.complaint(&case)).unwrap_or_default()
    };
    let rounded = complaint("SELECT CAST(2.5 AS INTEGER)", Some("SELECT 2"));
    assert!(rounded.contains("row 3, not 2"), "{rounded}");
    assert!(complaint("SELECT id FROM t", Some("SELECT id FROM r")).contains("no exception"));
    assert!(complaint("SELECT id FROM nowhere", None).contains("does not exist"));
    let runs = |text: &str| runtime.block_on(tables.theirs(text)).unwrap();
    let (up, _) = runs("SELECT id FROM t ORDER BY id");
    let (down, _) = runs("SELECT id FROM t ORDER BY id DESC");
    let (some, _) = runs("SELECT id FROM t ORDER BY id LIMIT 9");
    assert!(up.difference(&down).is_some() && up.difference(&some).is_some());
}
