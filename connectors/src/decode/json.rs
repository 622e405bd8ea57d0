//! JSON records: a pull parser walks each object once, along the tree of the paths that columns are
//! mapped to, and skips everything else unread. What it meets is learned, so that further records of
//! the same shape are read without it.

mod known;
mod path;
mod scan;
mod shape;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use jiter::{Jiter, JiterError, Peek};
use millstream_engine::fault::Reason;
use millstream_engine::{Error, Result};

use self::path::{Path, Step, parse_path};
use self::shape::{Place, Shape};
use super::RecordAddress;
use super::rows::{FieldDef, Rows};

/// Reads JSON records.
#[derive(Debug, Clone)]
pub(super) struct JsonReader {
    nodes: Vec<Node>,
    /// Room for strings with escapes, kept from record to record.
    tape: Vec<u8>,
    /// The array whose elements become rows, if there is one.
    array: Option<Array>,
    /// Whether columns lie in elements of arrays, which only the parser follows.
    has_elements: bool,
    /// The fields that take the record as it is.
    whole: Vec<usize>,
    /// Whether records may be arrays of objects.
    of_array: bool,
}

/// An array whose elements become rows of their own.
#[derive(Debug, Clone)]
struct Array {
    /// Where it lies.
    path: Vec<Step>,
    /// The node of an element.
    element: usize,
    /// Where the array stands in the present document.
    found: Option<Range<usize>>,
}

/// An object or array that columns lie in; the first one is the record itself.
#[derive(Debug, Clone, Default)]
struct Node {
    targets: Vec<Target>,
    /// The elements of an array that columns lie in, and what they lead to.
    by_index: Vec<(usize, usize)>,
    by_key: HashMap<String, usize>,
    by_lower_key: HashMap<String, usize>,
    /// What was learned of such objects.
    shape: Shape,
}

/// What a key leads to.
#[derive(Debug, Clone, Default)]
struct Target {
    /// The fields that take its value.
    fields: Vec<usize>,
    /// The node of its value, if columns lie deeper.
    node: Option<usize>,
    /// Whether its value is the array whose elements become rows.
    is_array: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    target: usize,
    /// Whether the key is spelled as the column.
    exact: bool,
}

impl JsonReader {
    /// # Errors
    ///
    /// When a mapping is no path we can follow.
    pub(super) fn new(fields: &[FieldDef]) -> Result<Self> {
        let mut reader = Self {
            nodes: vec![Node::default()],
            tape: Vec::new(),
            array: None,
            has_elements: false,
            whole: Vec::new(),
            of_array: false,
        };
        for (index, field) in fields.iter().enumerate() {
            let path = match &field.mapping {
                Some(mapping) => parse_path(&field.name, mapping)?,
                None => Path {
                    steps: vec![Step::Key(field.name.clone())],
                    in_element: Vec::new(),
                    of_array: false,
                },
            };
            reader.of_array |= path.of_array;
            if path.steps.is_empty() {
                reader.whole.push(index);
                continue;
            }
            let at = reader.target_of(0, &path.steps);
            if path.in_element.is_empty() {
                reader.nodes[at.0].targets[at.1].fields.push(index);
                continue;
            }
            let element = match &reader.array {
                Some(array) if array.path == path.steps => array.element,
                Some(array) => return Err(two_arrays(&field.name, &array.path)),
                None => {
                    reader.nodes.push(Node::default());
                    let element = reader.nodes.len() - 1;
                    reader.nodes[at.0].targets[at.1].is_array = true;
                    reader.array = Some(Array { path: path.steps, element, found: None });
                    element
                }
            };
            let at = reader.target_of(element, &path.in_element);
            reader.nodes[at.0].targets[at.1].fields.push(index);
        }
        reader.has_elements =
            reader.array.is_some() || reader.nodes.iter().any(|node| !node.by_index.is_empty());
        Ok(reader)
    }

    /// The node and target that `steps` lead to from `node` on.
    fn target_of(&mut self, mut node: usize, steps: &[Step]) -> (usize, usize) {
        let Some((last, steps)) = steps.split_last() else { return (node, 0) };
        for step in steps {
            let target = self.target(node, step);
            let deeper = self.nodes[node].targets[target].node;
            node = deeper.unwrap_or_else(|| {
                self.nodes.push(Node::default());
                let deeper = self.nodes.len() - 1;
                self.nodes[node].targets[target].node = Some(deeper);
                deeper
            });
        }
        (node, self.target(node, last))
    }

    fn target(&mut self, node: usize, step: &Step) -> usize {
        let node = &mut self.nodes[node];
        let key = match step {
            Step::Key(key) => key,
            Step::Index(index) => {
                return node.element(*index).unwrap_or_else(|| {
                    node.targets.push(Target::default());
                    node.by_index.push((*index, node.targets.len() - 1));
                    node.targets.len() - 1
                });
            }
        };
        match node.by_key.entry(key.to_owned()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                node.targets.push(Target::default());
                let target = node.targets.len() - 1;
                node.by_lower_key.entry(key.to_lowercase()).or_insert(target);
                *entry.insert(target)
            }
        }
    }

    pub(super) fn read(&mut self, record: &[u8], rows: &mut Rows, address: &RecordAddress<'_>) {
        let mut rest = record.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(record).trim_ascii();
        while !rest.is_empty() {
            if self.of_array && rest.starts_with(b"[") {
                rest = self.records(rest, rows, address).trim_ascii_start();
                continue;
            }
            if !self.has_elements
                && let Some(end) = self.known_object(0, rest, rows)
            {
                self.end_row(&rest[..end], rows, address);
                rest = rest[end..].trim_ascii_start();
                continue;
            }
            let mut jiter = Jiter::with_tape(rest, std::mem::take(&mut self.tape));
            let outcome = self.document(&mut jiter, rows);
            let end = jiter.current_index();
            self.tape = jiter.into_tape();
            let length = match outcome {
                Ok(()) => {
                    self.end_document(&rest[..end], rows, address);
                    end
                }
                Err(message) => {
                    let length = next_line_object(rest).unwrap_or(rest.len());
                    rows.reject(Reason::Undecodable, message, rest[..length].trim_ascii(), address);
                    length
                }
            };
            rest = rest[length..].trim_ascii_start();
        }
    }

    /// Reads the objects of the array that `rest` begins with, and says what is behind it.
    fn records<'a>(
        &mut self,
        rest: &'a [u8],
        rows: &mut Rows,
        address: &RecordAddress<'_>,
    ) -> &'a [u8] {
        let mut jiter = Jiter::new(rest);
        if let Err(error) = jiter.next_skip() {
            let length = next_line_object(rest).unwrap_or(rest.len());
            let raw = rest[..length].trim_ascii();
            rows.reject(Reason::Undecodable, describe(&error), raw, address);
            return &rest[length..];
        }
        let end = jiter.current_index();
        let parts = elements(&rest[..end]);
        if parts.is_empty() {
            self.end_row(&rest[..end], rows, address);
        }
        for part in parts {
            if part.starts_with(b"{") {
                self.read(part, rows, address);
            } else {
                rows.reject(Reason::Undecodable, "not a JSON object".into(), part, address);
            }
        }
        &rest[end..]
    }

    /// Ends a row of `document`.
    fn end_row(&self, document: &[u8], rows: &mut Rows, address: &RecordAddress<'_>) {
        for &field in &self.whole {
            rows.set(field, |column, row| column.set_nested(row, document));
        }
        rows.end_row(document, address);
    }

    /// Ends the row that a document has begun: it is the document's, or that of its array's first
    /// element, and the others follow with what stands beside the array repeated.
    fn end_document(&mut self, document: &[u8], rows: &mut Rows, address: &RecordAddress<'_>) {
        let found = self.array.as_mut().and_then(|array| array.found.take());
        let Some((found, element)) = found.zip(self.array.as_ref().map(|array| array.element))
        else {
            return self.end_row(document, rows, address);
        };
        let elements = elements(&document[found.clone()]);
        if !elements.iter().any(|part| self.mentions(element, part)) {
            return self.end_row(document, rows, address);
        }
        // The document again, without its array if that is no column, for the rows behind the first.
        let around = if self.array_is_column() {
            document.to_vec()
        } else {
            [&document[..found.start], b"null", &document[found.end..]].concat()
        };
        for (number, part) in elements.into_iter().enumerate() {
            if number > 0 {
                let mut jiter = Jiter::new(&around);
                // It has been read before.
                let _read = self.document(&mut jiter, rows);
            }
            let mut jiter = Jiter::new(part);
            if matches!(jiter.peek(), Ok(Peek::Object)) {
                let _read = self.object(element, &mut jiter, rows);
            }
            self.end_row(document, rows, address);
        }
        if let Some(array) = &mut self.array {
            array.found = None;
        }
    }

    /// Whether a column holds the array as a whole.
    fn array_is_column(&self) -> bool {
        let mut targets = self.nodes.iter().flat_map(|node| &node.targets);
        targets.any(|target| target.is_array && !target.fields.is_empty())
    }

    /// Whether the element `part` has a key that a column is mapped to.
    fn mentions(&self, element: usize, part: &[u8]) -> bool {
        let mut jiter = Jiter::new(part);
        if !matches!(jiter.peek(), Ok(Peek::Object)) {
            return false;
        }
        let mut key = jiter.known_object();
        while let Ok(Some(text)) = key {
            let node = &self.nodes[element];
            if node.by_key.contains_key(text)
                || node.by_lower_key.contains_key(&text.to_lowercase())
            {
                return true;
            }
            if jiter.next_skip().is_err() {
                return false;
            }
            key = jiter.next_key();
        }
        false
    }

    fn document(&mut self, jiter: &mut Jiter<'_>, rows: &mut Rows) -> Result<(), String> {
        match jiter.peek().map_err(|error| describe(&error))? {
            Peek::Object => self.object(0, jiter, rows).map_err(|error| describe(&error)),
            _ => Err("not a JSON object".into()),
        }
    }

    fn object(
        &mut self,
        node: usize,
        jiter: &mut Jiter<'_>,
        rows: &mut Rows,
    ) -> Result<(), JiterError> {
        let mut end = jiter.current_index();
        let mut place = Some(Place::BEGINNING);
        let mut key = jiter.known_object()?;
        while let Some(text) = key {
            let found = self.nodes[node].find(text);
            jiter.peek()?;
            if let Some(known) = place {
                let before = jiter.slice_to_current(end);
                place = self.nodes[node].shape.learn(known, before, found);
            }
            match found {
                Some(found) => self.value(node, found, jiter, rows)?,
                None => jiter.next_skip()?,
            }
            end = jiter.current_index();
            key = jiter.next_key()?;
        }
        Ok(())
    }

    fn array(
        &mut self,
        node: usize,
        jiter: &mut Jiter<'_>,
        rows: &mut Rows,
    ) -> Result<(), JiterError> {
        let mut index = 0;
        let mut element = jiter.known_array()?;
        while element.is_some() {
            match self.nodes[node].element(index) {
                Some(target) => self.value(node, Found { target, exact: true }, jiter, rows)?,
                None => jiter.next_skip()?,
            }
            index += 1;
            element = jiter.array_step()?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        node: usize,
        found: Found,
        jiter: &mut Jiter<'_>,
        rows: &mut Rows,
    ) -> Result<(), JiterError> {
        let peek = jiter.peek()?;
        let start = jiter.current_index();
        let target = &self.nodes[node].targets[found.target];
        let fields = target.fields.as_slice();
        let target_is_array = target.is_array;
        match peek {
            Peek::String => {
                let text = jiter.known_str()?;
                for_each(fields, found.exact, rows, |column, row| column.set_text(row, text));
            }
            Peek::Null => {
                jiter.known_null()?;
                for_each(fields, found.exact, rows, |column, row| {
                    column.set_null(row);
                    Ok(())
                });
            }
            Peek::True | Peek::False => {
                let value = jiter.known_bool(peek)?;
                for_each(fields, found.exact, rows, |column, row| column.set_bool(row, value));
            }
            _ if peek.is_num() => {
                // The grammar of JSON numbers is ASCII.
                let text = jiter.known_number_bytes(peek)?;
                let text = std::str::from_utf8(text).unwrap_or_default();
                for_each(fields, found.exact, rows, |column, row| column.set_number(row, text));
            }
            _ => {
                match target.node {
                    Some(deeper) if peek == Peek::Object => self.object(deeper, jiter, rows)?,
                    Some(deeper) if peek == Peek::Array => self.array(deeper, jiter, rows)?,
                    _ => jiter.known_skip(peek)?,
                }
                if target_is_array && peek == Peek::Array {
                    let found = start..jiter.current_index();
                    if let Some(array) = &mut self.array {
                        array.found = Some(found);
                    }
                }
                let source = jiter.slice_to_current(start);
                let fields = self.nodes[node].targets[found.target].fields.as_slice();
                for_each(fields, found.exact, rows, |column, row| column.set_nested(row, source));
            }
        }
        Ok(())
    }
}

fn for_each(
    fields: &[usize],
    exact: bool,
    rows: &mut Rows,
    set: impl Fn(&mut super::column::Column, usize) -> Result<(), Box<super::column::Fault>>,
) {
    for &field in fields {
        if rows.admits(field, exact) {
            rows.set(field, &set);
        }
    }
}

impl Node {
    /// What the element `index` of an array leads to.
    fn element(&self, index: usize) -> Option<usize> {
        let found = self.by_index.iter().find(|(element, _)| *element == index);
        found.map(|(_, target)| *target)
    }

    /// What `key` leads to: the column of that name, else one whose name differs only in case.
    fn find(&self, key: &str) -> Option<Found> {
        let exact = self.by_key.get(key).map(|&target| Found { target, exact: true });
        exact.or_else(|| {
            let target = self.by_lower_key.get(&key.to_lowercase())?;
            Some(Found { target: *target, exact: false })
        })
    }
}

fn describe(error: &JiterError) -> String {
    format!("not JSON: {} at byte {}", error.error_type, error.index + 1)
}

/// Where the next document begins if there is one per line: the first `{` at the start of a line.
/// What comes before it is as much of a broken document as can be known.
fn next_line_object(record: &[u8]) -> Option<usize> {
    memchr::memmem::find(record, b"\n{").map(|newline| newline + 1)
}

fn two_arrays(column: &str, other: &[Step]) -> Error {
    let other: String = other
        .iter()
        .map(|step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Index(index) => format!("[{index}]"),
        })
        .collect();
    Error::sql(format!("column {column}: the mapping takes a second array apart, beside ${other}"))
        .with_hint("one array of a record can become rows; map others as a whole: '$.list[0:]'")
}

/// The elements of the array that `source` is.
fn elements(source: &[u8]) -> Vec<&[u8]> {
    let mut jiter = Jiter::new(source);
    let mut elements = Vec::new();
    let mut next = jiter.next_array();
    while let Ok(Some(_)) = next {
        let start = jiter.current_index();
        if jiter.next_skip().is_err() {
            break;
        }
        elements.push(&source[start..jiter.current_index()]);
        next = jiter.array_step();
    }
    elements
}
