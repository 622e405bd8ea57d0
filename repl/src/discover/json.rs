//! JSON records.

use std::collections::BTreeSet;

use serde_json::Value;

use super::columns::{Column, Kind, Seen, name, number_kind, text_kind};
use super::{Origin, Schema};
use crate::failure::Failure;

/// The values at one path.
struct Found {
    path: String,
    /// The last key of the path.
    key: String,
    seen: Seen,
}

/// The schema of records of objects.
pub(super) fn schema(texts: &[&str], origin: Origin) -> Result<Schema, Failure> {
    let pieces = texts.iter().flat_map(|text| match origin {
        Origin::Stream => vec![*text],
        Origin::File => text.lines().collect(),
    });
    let mut documents = Vec::new();
    let mut of_array = false;
    for piece in pieces {
        let parsed = serde_json::Deserializer::from_str(piece).into_iter::<Value>();
        for document in parsed.map_while(Result::ok) {
            match document {
                Value::Object(_) => documents.push(document),
                Value::Array(elements) => {
                    let before = documents.len();
                    documents.extend(elements.into_iter().filter(Value::is_object));
                    of_array |= documents.len() > before;
                }
                _ => {}
            }
        }
    }
    if documents.is_empty() {
        let hint = match origin {
            Origin::Stream => "a record is an object, or several one after another",
            Origin::File => {
                "a line is an object, or several one after another, or an array of them"
            }
        };
        return Err(Failure::with_hint("the sample has no JSON that can be read", hint));
    }
    // One array is taken apart: the record, or one inside it.
    let (root, array) = if of_array { ("$[0:]", None) } else { ("$", array_of(&documents)) };
    let mut all: Vec<Found> = Vec::new();
    for document in &documents {
        walk(document, root, "", array.as_deref(), &mut all);
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
