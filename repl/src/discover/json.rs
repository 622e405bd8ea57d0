//! JSON records.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Schema;
use super::columns::{Column, Kind, Seen, name, number_kind, text_kind};
use crate::failure::Failure;

/// The values at one path.
struct Found {
    path: String,
    /// The last key of the path.
    key: String,
    seen: Seen,
}

/// The schema of records of objects.
pub(super) fn schema(texts: &[&str]) -> Result<Schema, Failure> {
    let mut documents = Vec::new();
    for text in texts {
        let text = text.trim_start_matches('\u{feff}');
        let parsed = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        documents.extend(parsed.map_while(Result::ok).filter(Value::is_object));
    }
    if documents.is_empty() {
        return Err(Failure::with_hint(
            "the sample has no JSON object in it that can be read",
            "a record is an object, or several one after another",
        ));
    }
    let array = array_of(&documents);
    let mut all: Vec<Found> = Vec::new();
    for document in &documents {
        walk(document, "$", "", array.as_deref(), &mut all);
    }
    let mut taken = BTreeSet::new();
    let columns = all.iter().enumerate().map(|(index, found)| Column {
        name: name(&found.key, index, &mut taken),
        sql_type: found.seen.sql_type(),
        mapping: Some(found.path.clone()),
    });
    Ok(Schema { columns: columns.collect(), format: "json", options: Vec::new() })
}

/// The path of the first array of objects, which is taken apart; others stay whole.
fn array_of(documents: &[Value]) -> Option<String> {
    fn find(value: &Value, path: &str) -> Option<String> {
        value.as_object()?.iter().find_map(|(key, value)| {
            let path = below(path, key);
            match value {
                Value::Array(elements) => elements.first()?.is_object().then_some(path),
                Value::Object(_) => find(value, &path),
                _ => None,
            }
        })
    }
    documents.iter().find_map(|document| find(document, "$"))
}

fn below(path: &str, key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_alphanumeric() || c == '_') && !key.is_empty();
    if is_plain { format!("{path}.{key}") } else { format!("{path}['{key}']") }
}

fn walk(value: &Value, path: &str, key: &str, array: Option<&str>, all: &mut Vec<Found>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                walk(value, &below(path, key), key, array, all);
            }
        }
        Value::Array(elements) if array == Some(path) => {
            for element in elements {
                if element.is_object() {
                    walk(element, &format!("{path}[0:]"), key, array, all);
                }
            }
        }
        _ => {
            let (kind, text) = match value {
                Value::Null => (Kind::Unknown, String::new()),
                Value::Bool(_) => (Kind::Boolean, String::new()),
                Value::Number(number) => {
                    let text = number.to_string();
                    (number_kind(&text).unwrap_or(Kind::Double), text)
                }
                Value::String(text) => (text_kind(text), text.clone()),
                other => (Kind::Text, other.to_string()),
            };
            let at = all.iter().position(|found| found.path == path).unwrap_or_else(|| {
                let (path, key) = (path.to_owned(), key.to_owned());
                all.push(Found { path, key, seen: Seen::default() });
                all.len() - 1
            });
            all[at].seen.add(kind, &text);
        }
    }
}
