//! CSV records.

use std::collections::BTreeSet;

use super::columns::{Column, Kind, Seen, name, number_kind, text_kind};
use super::{Origin, Schema};
use crate::failure::Failure;

/// The schema of records of lines.
pub(super) fn schema(texts: &[&str], origin: Origin) -> Result<Schema, Failure> {
    let lines: Vec<&str> =
        texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()).collect();
    let [first, rest @ ..] = lines.as_slice() else {
        return Err(Failure::new("there is no line to look at"));
    };
    let count = |delimiter: &char| first.matches(*delimiter).count();
    let delimiter = [',', '\t', ';', '|'].into_iter().max_by_key(count).unwrap_or(',');
    let delimiter = if count(&delimiter) == 0 { ',' } else { delimiter };
    let head = fields(first, delimiter);
    let has_header = is_header(&head, rest, delimiter);
    let mut seen = vec![Seen::default(); head.len()];
    let data = if has_header { rest } else { lines.as_slice() };
    for line in data {
        for (seen, value) in seen.iter_mut().zip(fields(line, delimiter)) {
            seen.add(kind(&value), &value);
        }
    }
    let mut taken = BTreeSet::new();
    let columns = head.iter().zip(&seen).enumerate().map(|(index, (key, seen))| {
        let key = if has_header { key.as_str() } else { "" };
        let name = name(key, index, &mut taken);
        let by_name = has_header && origin == Origin::File;
        let is_first = head.iter().position(|other| other == key) == Some(index);
        let mapping = match (by_name, is_first) {
            (false, _) => None,
            (true, true) => (name != key).then(|| format!("$.{key}")),
            // The name is that of an earlier column too: the place tells them apart.
            (true, false) => Some(format!("$[{index}]")),
        };
        Column { name, sql_type: seen.sql_type(), mapping }
    });
    let columns = columns.collect();
    let mut options = Vec::new();
    if delimiter != ',' {
        let written = if delimiter == '\t' { "\\t".to_owned() } else { delimiter.to_string() };
        options.push(("delimiter", written));
    }
    if origin == Origin::File && !has_header {
        options.push(("header", "false".to_owned()));
    }
    Ok(Schema { columns, format: "csv", options })
}

/// Whether the first line names the columns: its fields are texts that do not begin with a digit, as
/// numbers and dates do, and no line below is the same.
fn is_header(head: &[String], rest: &[&str], delimiter: char) -> bool {
    let is_name = |field: &String| {
        kind(field) == Kind::Text && !field.starts_with(|c: char| c.is_ascii_digit())
    };
    let differs = rest.iter().all(|line| fields(line, delimiter) != head);
    head.iter().all(is_name) && !rest.is_empty() && differs
}

fn kind(value: &str) -> Kind {
    if value.is_empty() {
        return Kind::Unknown;
    }
    number_kind(value).unwrap_or_else(|| text_kind(value))
}

/// The fields of a line; blanks around them go, and so do quotes.
fn fields(line: &str, delimiter: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut rest = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = rest.next() {
        let doubled = c == '"' && quoted && rest.next_if_eq(&'"').is_some();
        match c {
            '"' if !doubled => quoted = !quoted,
            c if c == delimiter && !quoted => fields.push(String::new()),
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields.iter().map(|field| field.trim().to_owned()).collect()
}
