//! Schemas by example: records in, the columns they suggest out.
//!
//! The rules are those of the discovery of Kinesis Data Analytics: objects are flattened, one array of
//! objects is taken apart, names that cannot stand unquoted get the prefix `COL_`. Types are better where
//! the sample proves them: times are `TIMESTAMP`s, whole numbers as wide as they must be.

mod columns;
mod csv;
mod json;
#[cfg(test)]
mod tests;

use crate::failure::Failure;

pub use columns::Column;

/// What a sample says about a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// `json` or `csv`.
    pub format: &'static str,
    /// The options that go with the format.
    pub options: Vec<(&'static str, String)>,
}

/// Where a sample is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Kinesis stream: columns of CSV go by position.
    Stream,
    /// A file: columns of CSV go by the names in its first line, if it has them; JSON is one document
    /// per line.
    File,
}

/// The schema of `records` from `origin`; each may hold several objects or lines.
///
/// # Errors
///
/// When nothing can be said: there are no records, or they are neither JSON nor text.
pub fn discover(records: &[Vec<u8>], origin: Origin) -> Result<Schema, Failure> {
    let texts = records.iter().filter_map(|record| std::str::from_utf8(record).ok());
    let texts: Vec<&str> = texts.map(|text| text.trim_start_matches('\u{feff}')).collect();
    let first = texts.iter().find_map(|text| text.trim().get(..1));
    match first {
        None => Err(Failure::with_hint(
            "there is no record to look at",
            "the sample is empty or is no text; put records into the stream first",
        )),
        Some("{") => json::schema(&texts, origin),
        // Lines of a log begin so too.
        Some("[") => json::schema(&texts, origin).or_else(|_| csv::schema(&texts, origin)),
        Some(_) => csv::schema(&texts, origin),
    }
}

/// The statement that declares the stream `name` over `source`.
pub fn statement(name: &str, schema: &Schema, source: &[(&str, String)]) -> String {
    let columns: Vec<String> = schema
        .columns
        .iter()
        .map(|column| {
            let mapping = column.mapping.as_deref();
            let mapping = mapping.map(|path| format!(" MAPPING '{}'", path.replace('\'', "''")));
            let mapping = mapping.unwrap_or_default();
            format!("  \"{}\" {}{mapping}", column.name, column.sql_type)
        })
        .collect();
    let format = [("format", schema.format.to_owned())];
    let options = source.iter().chain(&format).chain(&schema.options);
    let options: Vec<String> =
        options.map(|(name, value)| format!("{name} = '{}'", value.replace('\'', "''"))).collect();
    let columns = columns.join(",\n");
    format!("CREATE STREAM \"{name}\" (\n{columns}\n) WITH ({});\n", options.join(", "))
}
