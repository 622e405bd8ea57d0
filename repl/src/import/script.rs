//! The script of an application.

use std::collections::BTreeSet;
use std::fmt::Write;

use millstream_sql::catalog::ERROR_STREAM;

use super::Imported;
use super::application::{Application, Code, Column, Input, Output, Reference, Resource, Schema};

/// Writes the script of `application`.
pub(super) fn write(application: &Application) -> Imported {
    let mut script = Script::default();
    script.line(&format!(
        "-- Application {} of Kinesis Data Analytics.",
        one_line(&application.name)
    ));
    for input in &application.inputs {
        script.input(input);
    }
    for reference in &application.references {
        script.reference(reference);
    }
    script.code(&application.code);
    let mut written: Vec<&str> = Vec::new();
    for output in &application.outputs {
        let before = written.iter().filter(|name| **name == output.stream).count();
        script.output(output, before + 1);
        written.push(&output.stream);
    }
    if application.outputs.is_empty() {
        script.decide("the application has no output: add CREATE SINK … FROM a stream");
    }
    Imported { name: application.name.clone(), sql: script.sql, decisions: script.decisions }
}

#[derive(Default)]
struct Script {
    sql: String,
    decisions: Vec<String>,
    /// Where outputs are written.
    folders: BTreeSet<String>,
}

impl Script {
    fn line(&mut self, line: &str) {
        self.sql.push_str(line);
        self.sql.push('\n');
    }

    /// Notes what a person has to decide, and says it above the next statement.
    fn decide(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.line(&format!("-- TO DECIDE: {}", one_line(&what)));
        self.decisions.push(what);
    }

    fn input(&mut self, input: &Input) {
        self.line("");
        let Some((first, others)) = input.streams.split_first() else { return };
        if !self.is_whole(&input.schema, &input.streams.join(" and ")) {
            return;
        }
        if let Some(processor) = &input.processor {
            self.decide(format!(
                "records went through the function {processor} first: do in SQL what it did, or \
                 let it write to a stream that is read here"
            ));
        }
        let stream = match &input.source {
            Resource::Stream(arn) => arn.clone(),
            Resource::Firehose(arn) => {
                self.decide(format!(
                    "the input was the delivery stream {arn}, which cannot be read: name the data \
                     stream that feeds it"
                ));
                last_part(arn).to_owned()
            }
            _ => {
                self.decide("the input has no source: name a stream");
                "name-of-the-stream".to_owned()
            }
        };
        let start = self.start(input.start.as_deref());
        let mut options = vec![("connector", "kinesis".to_owned()), ("stream", stream)];
        options.extend(self.format(&input.schema, false));
        options.push(("start", start.to_owned()));
        self.create("STREAM", first, &input.schema, &options);
        if !others.is_empty() {
            self.decide(format!(
                "the input fed {} streams side by side; {first} takes all its records now and {} \
                 none, so the pumps that read those are not needed",
                others.len() + 1,
                others.join(", ")
            ));
        }
        for other in others {
            self.create("STREAM", other, &input.schema, &[("connector", "none".to_owned())]);
        }
    }

    /// Whether a relation of this schema can be declared; otherwise `names` are to be, by a person.
    fn is_whole(&mut self, schema: &Schema, names: &str) -> bool {
        let is_empty = |column: &Column| column.name.is_empty() || column.sql_type.is_empty();
        let known = ["JSON", "CSV"].iter().any(|known| known.eq_ignore_ascii_case(&schema.format));
        let what = if schema.columns.is_empty() {
            "the description has no schema"
        } else if schema.columns.iter().any(is_empty) {
            "the description has a column without a name or a type"
        } else if !known {
            "the description has a format that is neither JSON nor CSV"
        } else {
            return true;
        };
        self.decide(format!("{what} for {names}: declare it here"));
        false
    }

    fn start(&mut self, start: Option<&str>) -> &'static str {
        match start {
            Some("NOW") => "latest",
            Some("TRIM_HORIZON") => "trim_horizon",
            Some("LAST_STOPPED_POINT") => {
                self.decide(
                    "reading went on where the application was stopped, which is not known here: \
                     start = 'trim_horizon' reads all there is, a timestamp what came after it",
                );
                "trim_horizon"
            }
            _ => {
                self.decide(
                    "the description does not say where reading starts: start = 'trim_horizon' reads \
                     all there is, 'latest' only what comes",
                );
                "trim_horizon"
            }
        }
    }

    fn reference(&mut self, reference: &Reference) {
        self.line("");
        if !self.is_whole(&reference.schema, &reference.table) {
            return;
        }
        if reference.path.is_empty() {
            self.decide(format!(
                "the description does not say where the data of {} lie: declare it here",
                reference.table
            ));
            return;
        }
        let mut options = vec![("connector", "file".to_owned()), ("path", reference.path.clone())];
        options.extend(self.format(&reference.schema, true));
        self.create("TABLE", &reference.table, &reference.schema, &options);
    }

    /// The options of the format of records.
    fn format(&mut self, schema: &Schema, is_file: bool) -> Vec<(&'static str, String)> {
        let encoding = schema.encoding.as_deref().unwrap_or("UTF-8");
        if !["UTF-8", "UTF8"].iter().any(|known| known.eq_ignore_ascii_case(encoding)) {
            self.decide(format!("records were encoded as {encoding}; only UTF-8 is read"));
        }
        let mut options = vec![("format", schema.format.to_lowercase())];
        if !schema.format.eq_ignore_ascii_case("CSV") {
            return options;
        }
        let rows = schema.row_delimiter.as_deref().unwrap_or("\n");
        if !["\n", "\r\n", "\\n", "\\r\\n"].contains(&rows) {
            options.push(("row_delimiter", delimiter(rows)));
        }
        let columns = schema.column_delimiter.as_deref().unwrap_or(",");
        if columns != "," {
            options.push(("delimiter", delimiter(columns)));
        }
        if is_file {
            self.decide(
                "the file is read without a header, as the application did; if its first line is \
                 one, say header = 'true'",
            );
            options.push(("header", "false".to_owned()));
        }
        options
    }

    fn create(&mut self, kind: &str, name: &str, schema: &Schema, options: &[(&str, String)]) {
        let columns: Vec<String> = schema
            .columns
            .iter()
            .map(|column| {
                let mapping = mapping(schema, column.mapping.as_deref());
                let mapping = mapping.map(|path| format!(" MAPPING {}", text(&path)));
                let sql_type = &column.sql_type;
                format!("  {} {sql_type}{}", quoted(&column.name), mapping.unwrap_or_default())
            })
            .collect();
        self.line(&format!("CREATE {kind} {} (", quoted(name)));
        self.line(&columns.join(",\n"));
        self.line(&format!(") WITH ({});", list(options)));
    }

    fn code(&mut self, code: &Code) {
        self.line("");
        match code {
            Code::Text(code) => {
                self.line("-- The code of the application.");
                self.line(code);
                // Its last statement may have no end; another end does no harm.
                self.line(";");
            }
            Code::Object(path) => {
                self.decide(format!("the code lies in {path}: put it here"));
            }
            Code::None => self.decide("the application has no code: put it here"),
        }
    }

    fn output(&mut self, output: &Output, number: usize) {
        self.line("");
        if output.stream.is_empty() {
            self.decide("an output has no name of a stream: add CREATE SINK … FROM that stream");
            return;
        }
        // A sink has a name of its own, and that one is taken.
        let stream = match output.stream.eq_ignore_ascii_case(ERROR_STREAM) {
            true => "errors",
            false => output.stream.as_str(),
        };
        let name = if number == 1 { stream.to_owned() } else { format!("{stream}_{number}") };
        let mut options = match &output.target {
            Resource::Stream(arn) => vec![
                ("connector", "kinesis".to_owned()),
                ("stream", arn.clone()),
                ("format", output.format.to_lowercase()),
                // The application's records had none.
                ("record_id", "none".to_owned()),
            ],
            target => self.files(target, output, &name),
        };
        options.push(("names", "declared".to_owned()));
        let from = quoted(&output.stream);
        self.line(&format!("CREATE SINK {} FROM {from} WITH ({});", quoted(&name), list(&options)));
    }

    /// The options of a sink that writes to files what went to `target`.
    fn files(
        &mut self,
        target: &Resource,
        output: &Output,
        name: &str,
    ) -> Vec<(&'static str, String)> {
        let (what, arn) = match target {
            Resource::Stream(arn) => ("the stream", arn.as_str()),
            Resource::Firehose(arn) => ("the delivery stream", arn.as_str()),
            Resource::Lambda(arn) => ("the function", arn.as_str()),
            Resource::Unknown => ("an unknown place", ""),
        };
        let wanted = format!("out/{}", if arn.is_empty() { name } else { last_part(arn) });
        let mut path = wanted.clone();
        let mut number = 1;
        while !self.folders.insert(path.clone()) {
            number += 1;
            path = format!("{wanted}_{number}");
        }
        self.decide(format!(
            "{} went to {what} {arn}; it is written to files under {path} now: choose their place",
            output.stream
        ));
        let mut options = vec![
            ("connector", "file".to_owned()),
            ("path", path),
            ("format", output.format.to_lowercase()),
        ];
        if output.format.eq_ignore_ascii_case("CSV") {
            options.push(("header", "false".to_owned()));
        }
        options
    }
}

/// A text as part of a comment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A delimiter as the options have it. One that is written with escapes is taken for what they mean,
/// as descriptions show both.
fn delimiter(value: &str) -> String {
    value.replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

/// The path of a column: its own, below that of what becomes a row.
fn mapping(schema: &Schema, mapping: Option<&str>) -> Option<String> {
    let mapping = mapping.filter(|_| !schema.format.eq_ignore_ascii_case("CSV"))?;
    let row = schema.row_path.as_deref().unwrap_or("$").trim_end_matches('.');
    let column = mapping.strip_prefix('$').unwrap_or(mapping);
    let point = if column.starts_with(['.', '[']) || column.is_empty() { "" } else { "." };
    Some(format!("{row}{point}{column}"))
}

fn list(options: &[(&str, String)]) -> String {
    let option = |(name, value): &(&str, String)| format!("{name} = {}", text(value));
    options.iter().map(option).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    // Writing into a String cannot fail.
    let _infallible = write!(text, "'{}'", value.replace('\'', "''"));
    text
}

/// What an ARN names.
fn last_part(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or(arn)
}
