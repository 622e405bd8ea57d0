//! JSON records: a pull parser walks each object once, along the tree of the paths that columns are
//! mapped to, and skips everything else unread.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use jiter::{Jiter, JiterError, Peek};
use millstream_engine::fault::Reason;
use millstream_engine::{Error, Result};

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

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of an array, from 0.
    Index(usize),
}

/// An object or array that columns lie in; the first one is the record itself.
#[derive(Debug, Clone, Default)]
struct Node {
    targets: Vec<Target>,
    /// The elements of an array that columns lie in, and what they lead to.
    by_index: Vec<(usize, usize)>,
    by_key: HashMap<String, usize>,
    by_lower_key: HashMap<String, usize>,
    /// The keys of the last such object, in order, and what was found for them. Producers write
    /// their keys in one order, so one comparison mostly replaces the look-up.
    shape: Vec<(Box<str>, Option<Found>)>,
}

/// Where a column lies.
#[derive(Debug)]
struct Path {
    /// The steps that lead to it, or to the array in whose elements it lies.
    steps: Vec<Step>,
    /// The steps that lead to it inside an element; none if it is in no array that is taken apart.
    in_element: Vec<Step>,
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

/// Keys remembered of an object; what is beyond is looked up each time.
const SHAPE_KEYS_MAX: usize = 256;

impl JsonReader {
    /// # Errors
    ///
    /// When a mapping is no path we can follow.
    pub(super) fn new(fields: &[FieldDef]) -> Result<Self> {
        let mut reader = Self { nodes: vec![Node::default()], tape: Vec::new(), array: None };
        for (index, field) in fields.iter().enumerate() {
            let path = match &field.mapping {
                Some(mapping) => parse_path(&field.name, mapping)?,
                None => Path { steps: vec![Step::Key(field.name.clone())], in_element: Vec::new() },
            };
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

    /// Ends the row that a document has begun: it is the document's, or that of its array's first
    /// element, and the others follow with what stands beside the array repeated.
    fn end_document(&mut self, document: &[u8], rows: &mut Rows, address: &RecordAddress<'_>) {
        let found = self.array.as_mut().and_then(|array| array.found.take());
        let Some((found, element)) = found.zip(self.array.as_ref().map(|array| array.element))
        else {
            return rows.end_row(document, address);
        };
        let elements = elements(&document[found.clone()]);
        if !elements.iter().any(|part| self.mentions(element, part)) {
            return rows.end_row(document, address);
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
            rows.end_row(document, address);
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
        let mut place = 0;
        let mut key = jiter.known_object()?;
        while let Some(text) = key {
            let found = self.nodes[node].find(place, text);
            match found {
                Some(found) => self.value(node, found, jiter, rows)?,
                None => jiter.next_skip()?,
            }
            place += 1;
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

    /// What `key`, the object's key number `place`, leads to: the column of that name, else one whose
    /// name differs only in case.
    fn find(&mut self, place: usize, key: &str) -> Option<Found> {
        if let Some((known, found)) = self.shape.get(place)
            && &**known == key
        {
            return *found;
        }
        let exact = self.by_key.get(key).map(|&target| Found { target, exact: true });
        let found = exact.or_else(|| {
            let target = self.by_lower_key.get(&key.to_lowercase())?;
            Some(Found { target: *target, exact: false })
        });
        if place < self.shape.len() {
            self.shape[place] = (key.into(), found);
        } else if place == self.shape.len() && place < SHAPE_KEYS_MAX {
            self.shape.push((key.into(), found));
        }
        found
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

/// The steps of `$.a.b`, `$['a']["b"]`, `$.a[0].b`; a closing `[0:]`, KDA's mark of an array taken
/// whole, is no step.
fn parse_path(column: &str, mapping: &str) -> Result<Path> {
    let wrong = |why: &str| {
        Error::sql(format!("column {column}: cannot follow the path '{mapping}': {why}"))
            .with_hint("write it like '$.quote.price'")
    };
    let Some(path) = mapping.trim().strip_prefix('$') else {
        return Err(wrong("it does not begin with '$'"));
    };
    let mut rest = path.strip_suffix("[0:]").unwrap_or(path);
    let mut steps = Vec::new();
    let mut array = None;
    while !rest.is_empty() {
        if let Some((index, behind)) = element(rest) {
            steps.push(Step::Index(index));
            rest = behind;
            continue;
        }
        let (key, behind) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']").ok_or_else(|| wrong("a ' is not closed"))?
        } else if let Some(quoted) = rest.strip_prefix("[\"") {
            quoted.split_once("\"]").ok_or_else(|| wrong("a \" is not closed"))?
        } else if let Some(plain) = rest.strip_prefix('.') {
            plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
        } else if let Some(behind) = rest.strip_prefix("[0:]") {
            if array.replace(std::mem::take(&mut steps)).is_some() {
                return Err(wrong("an array inside an array cannot be taken apart"));
            }
            rest = behind;
            continue;
        } else {
            return Err(wrong("only keys and elements can be followed"));
        };
        if key.is_empty() {
            return Err(wrong("a key is empty"));
        }
        steps.push(Step::Key(key.to_owned()));
        rest = behind;
    }
    match array {
        _ if steps.is_empty() => Err(wrong("it names no key")),
        Some(array) if array.is_empty() => Err(wrong("a record is an object, not an array")),
        Some(array) => Ok(Path { steps: array, in_element: steps }),
        None => Ok(Path { steps, in_element: Vec::new() }),
    }
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

/// The number of `[0]…`, and what is behind it.
fn element(path: &str) -> Option<(usize, &str)> {
    let (number, behind) = path.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_keys() {
        let keys = |path| parse_path("C", path).map(|p| p.steps).map_err(|error| error.to_string());
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(keys("$.a.b").unwrap(), [key("a"), key("b")]);
        assert_eq!(keys("$['a.b'][\"c\"].d").unwrap(), [key("a.b"), key("c"), key("d")]);
        assert_eq!(keys("$.list[0:]").unwrap(), [key("list")]);
        assert_eq!(keys("$.list[3].x").unwrap(), [key("list"), Step::Index(3), key("x")]);
        for (path, why) in [
            ("a.b", "begin with '$'"),
            ("$", "names no key"),
            ("$..a", "key is empty"),
            ("$['a", "not closed"),
            ("$.list[0:].x[0:].y", "inside an array"),
            ("$[0:].x", "not an array"),
            ("$.list[-1]", "only keys"),
        ] {
            assert!(keys(path).unwrap_err().contains(why), "{path}");
        }
    }
}
