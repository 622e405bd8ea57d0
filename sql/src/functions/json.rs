//! `JSON_VALUE`, `JSON_QUERY`, `JSON_EXISTS`, `->` and `->>`: what a path finds in a text that holds JSON.
//!
//! Where a function does not apply (no JSON, several values, the wrong kind of value) or finds nothing,
//! it says what `ON ERROR` and `ON EMPTY` want: NULL, unless the text of the query says otherwise. An
//! `ERROR` sets the row aside.
//!
//! Source: ISO/IEC 9075-2, "JSON value function", "JSON query", "JSON exists predicate".

mod build;
mod path;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, StringBuilder};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use jiter::Jiter;

use self::path::{Step, find, parse};
use super::Function;
use super::Param::{Any, Integer, Text};
use super::call::{Call, Compiled, Texts, exact_cast};
use super::cast::Target;

pub(super) use build::functions as constructors;
pub(crate) use build::{JSON_ARRAY, JSON_ELEMENT, JSON_MEMBER, JSON_OBJECT};

/// `JSON_VALUE`: the document, the path, what `ON EMPTY` and `ON ERROR` say, their defaults, and the
/// type behind `RETURNING` as [`super::CAST`] has it.
pub(crate) const JSON_VALUE: &str = "json_value";
/// `JSON_QUERY`: the document, the path, which wrapper, and what `ON EMPTY` and `ON ERROR` say.
pub(crate) const JSON_QUERY: &str = "json_query";
/// `JSON_EXISTS`: the document, the path, and what `ON ERROR` says.
pub(crate) const JSON_EXISTS: &str = "json_exists";
/// `document -> key`: a part of a document as JSON.
pub(crate) const JSON_GET: &str = "__json_get";
/// `document ->> key`: a part of a document as text.
pub(crate) const JSON_GET_TEXT: &str = "__json_get_text";

/// `document IS JSON kind`: the document, and `VALUE`, `OBJECT`, `ARRAY` or `SCALAR`.
pub(crate) const IS_JSON: &str = "__is_json";
/// The list of the elements of an array of a group.
pub(crate) const JSON_ARRAY_OF: &str = "__json_array_of";
/// The list of the members of an object of a group.
pub(crate) const JSON_OBJECT_OF: &str = "__json_object_of";

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            JSON_VALUE,
            &[&[Text, Text], &[Text, Text, Text, Text, Any, Any, Text, Integer, Integer, Text]],
            |_, literals| {
                check_path(literals)?;
                if literals.len() > 2 {
                    Target::of(literals, 6).data_type()
                } else {
                    Ok(DataType::Utf8)
                }
            },
            value,
        ),
        Function::new(
            JSON_QUERY,
            &[&[Text, Text], &[Text, Text, Text, Text, Text]],
            |_, literals| check_path(literals).map(|()| DataType::Utf8),
            query,
        ),
        Function::new(
            JSON_EXISTS,
            &[&[Text, Text], &[Text, Text, Text]],
            |_, literals| check_path(literals).map(|()| DataType::Boolean),
            exists,
        ),
        Function::new(IS_JSON, &[&[Text, Text]], |_, _| Ok(DataType::Boolean), is_json),
        Function::new(
            JSON_ARRAY_OF,
            &[&[Any]],
            |_, _| Ok(DataType::Utf8),
            |call| bracketed(call, ('[', ']')),
        ),
        Function::new(
            JSON_OBJECT_OF,
            &[&[Any]],
            |_, _| Ok(DataType::Utf8),
            |call| bracketed(call, ('{', '}')),
        ),
        Function::new(
            JSON_GET,
            &[&[Text, Integer], &[Text, Text]],
            |_, _| Ok(DataType::Utf8),
            |call| get(call, |json| Some(Cow::Borrowed(json))),
        ),
        Function::new(
            JSON_GET_TEXT,
            &[&[Text, Integer], &[Text, Text]],
            |_, _| Ok(DataType::Utf8),
            |call| {
                get(call, |json| {
                    if is_structured(json) {
                        Some(Cow::Borrowed(json))
                    } else {
                        scalar(json).map(Cow::Owned)
                    }
                })
            },
        ),
    ]
}

/// A path in the text of the query is checked when the query is planned.
fn check_path(literals: &[Option<&ScalarValue>]) -> Result<()> {
    let path = literals.get(1).copied().flatten().and_then(|path| path.try_as_str().flatten());
    path.map_or(Ok(()), |path| parse(path).map(|_| ()))
}

/// What a path finds in a document.
enum Found<'j> {
    /// The document or the path is NULL.
    Null,
    /// The document is no JSON.
    NoJson,
    /// These values, in the order of the text.
    Values(&'j [&'j str]),
}

/// Finds the values for every row.
struct Finder<'a> {
    documents: Texts<'a>,
    paths: Texts<'a>,
    compiled: Compiled<Vec<Step>>,
    found: Vec<&'a str>,
}

impl<'a> Finder<'a> {
    fn new(call: &'a Call<'_>) -> Result<Self> {
        let (documents, paths) = (call.texts(0)?, call.texts(1)?);
        Ok(Self { documents, paths, compiled: Compiled::new(), found: Vec::new() })
    }

    fn find(&mut self, row: usize) -> Result<Found<'_>> {
        let (Some(document), Some(path)) = (self.documents.get(row), self.paths.get(row)) else {
            return Ok(Found::Null);
        };
        let steps = self.compiled.get(path, parse)?;
        self.found.clear();
        Ok(match find(document, steps, &mut self.found) {
            Ok(()) => Found::Values(&self.found),
            Err(_) => Found::NoJson,
        })
    }
}

/// Why a function has no value of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    /// The path finds nothing.
    Empty,
    /// The document is no JSON.
    NoJson,
    /// There are several values.
    Several,
    /// The value is an object or an array where none is wanted, or the other way round.
    Kind,
    /// The value does not have the wanted type.
    Type,
}

impl Problem {
    fn message(self) -> &'static str {
        match self {
            Self::Empty => "the path finds nothing",
            Self::NoJson => "the document is no JSON",
            Self::Several => "the path finds several values",
            Self::Kind => "the path finds a value of another kind",
            Self::Type => "the path finds a value of another type",
        }
    }
}

/// The value as text: of a string what it says; none of an object, an array or null.
fn scalar(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'{' | b'[' | b'n' => None,
        b'"' => Jiter::new(json.as_bytes()).next_str().ok().map(str::to_owned),
        _ => Some(json.to_owned()),
    }
}

fn is_structured(json: &str) -> bool {
    json.starts_with(['{', '['])
}

/// What is said in a literal argument; `default` where there is none.
fn said<'a>(call: &'a Call<'_>, at: usize, default: &'a str) -> Result<&'a str> {
    Ok(if at < call.count() { call.texts(at)?.get(0).unwrap_or(default) } else { default })
}

fn value(call: &Call<'_>) -> Result<ArrayRef> {
    let mut finder = Finder::new(call)?;
    let mut texts = StringBuilder::with_capacity(call.rows, call.rows * 8);
    let mut problems: Vec<(usize, Problem)> = Vec::new();
    for row in 0..call.rows {
        let (text, problem) = match finder.find(row)? {
            Found::Null => (None, None),
            Found::NoJson => (None, Some(Problem::NoJson)),
            Found::Values([]) => (None, Some(Problem::Empty)),
            Found::Values([json]) if is_structured(json) => (None, Some(Problem::Kind)),
            Found::Values([json]) => (scalar(json), None),
            Found::Values(_) => (None, Some(Problem::Several)),
        };
        texts.append_option(text);
        problems.extend(problem.map(|problem| (row, problem)));
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    if call.count() <= 2 {
        return Ok(texts);
    }
    let values = typed(call, &texts, &mut problems)?;
    with_defaults(call, values, &problems)
}

/// The texts as values of the type behind `RETURNING`; those that are none join the problems.
fn typed(
    call: &Call<'_>,
    texts: &ArrayRef,
    problems: &mut Vec<(usize, Problem)>,
) -> Result<ArrayRef> {
    let number =
        |at: usize| -> Result<i64> { Ok(call.values::<Int64Type>(at)?.get(0).unwrap_or_default()) };
    let target = Target::new(said(call, 6, "")?, number(7)?, number(8)?, said(call, 9, "")?);
    if let Ok(values) = target.of_texts(texts, call.returns) {
        return Ok(values);
    }
    // At least one is none: which, only one by one can tell.
    let null = arrow::array::new_null_array(call.returns, 1);
    let mut values = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        values.push(target.of_texts(&texts.slice(row, 1), call.returns).unwrap_or_else(|_| {
            problems.push((row, Problem::Type));
            ArrayRef::clone(&null)
        }));
    }
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::concat(&values)?)
}

/// `values` with what `ON EMPTY` and `ON ERROR` say in the place of the problems.
fn with_defaults(
    call: &Call<'_>,
    values: ArrayRef,
    problems: &[(usize, Problem)],
) -> Result<ArrayRef> {
    if problems.is_empty() {
        return Ok(values);
    }
    let mut picks: Vec<(usize, usize)> = (0..call.rows).map(|row| (0, row)).collect();
    for &(row, problem) in problems {
        let source = if problem == Problem::Empty { 1 } else { 2 };
        if said(call, 1 + source, "NULL")? == "ERROR" {
            return exec_err!("JSON_VALUE: {}", problem.message());
        }
        picks[row] = (source, row);
    }
    let default = |at: usize| exact_cast(&call.expanded(at)?, call.returns);
    let (empty, error) = (default(4)?, default(5)?);
    Ok(interleave(&[values.as_ref(), empty.as_ref(), error.as_ref()], &picks)?)
}

fn query(call: &Call<'_>) -> Result<ArrayRef> {
    let wrapper = said(call, 2, "WITHOUT")?;
    let (on_empty, on_error) = (said(call, 3, "NULL")?, said(call, 4, "NULL")?);
    let mut finder = Finder::new(call)?;
    call.map_text(|row, into| {
        let problem = match finder.find(row)? {
            Found::Null => return Ok(false),
            Found::NoJson => Problem::NoJson,
            Found::Values([]) => Problem::Empty,
            Found::Values(values) => match (values, wrapper) {
                ([json], "WITHOUT" | "CONDITIONAL") if is_structured(json) => {
                    into.push_str(json);
                    return Ok(true);
                }
                ([_], "WITHOUT") => Problem::Kind,
                (_, "WITHOUT") => Problem::Several,
                (values, _) => {
                    into.push('[');
                    for (at, json) in values.iter().enumerate() {
                        into.push_str(if at == 0 { "" } else { ", " });
                        into.push_str(json);
                    }
                    into.push(']');
                    return Ok(true);
                }
            },
        };
        match if problem == Problem::Empty { on_empty } else { on_error } {
            "ERROR" => return exec_err!("JSON_QUERY: {}", problem.message()),
            "EMPTY ARRAY" => into.push_str("[]"),
            "EMPTY OBJECT" => into.push_str("{}"),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn exists(call: &Call<'_>) -> Result<ArrayRef> {
    let on_error = said(call, 2, "FALSE")?;
    let mut finder = Finder::new(call)?;
    let mut exists = BooleanBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        exists.append_option(match finder.find(row)? {
            Found::Null => None,
            Found::Values(values) => Some(!values.is_empty()),
            Found::NoJson => match on_error {
                "ERROR" => return exec_err!("JSON_EXISTS: {}", Problem::NoJson.message()),
                "TRUE" => Some(true),
                "UNKNOWN" => None,
                _ => Some(false),
            },
        });
    }
    Ok(Arc::new(exists.finish()))
}

/// Whether a text is JSON of a kind.
fn is_json(call: &Call<'_>) -> Result<ArrayRef> {
    let (documents, kind) = (call.texts(0)?, said(call, 1, "VALUE")?);
    let is = |document: &str| {
        let mut jiter = Jiter::new(document.as_bytes());
        let is_json = jiter.next_skip().and_then(|()| jiter.finish()).is_ok();
        let first = document.trim_start().chars().next();
        is_json
            && match kind {
                "OBJECT" => first == Some('{'),
                "ARRAY" => first == Some('['),
                "SCALAR" => !matches!(first, Some('{' | '[')),
                _ => true,
            }
    };
    let mut result = BooleanBuilder::with_capacity(call.rows);
    (0..call.rows).for_each(|row| result.append_option(documents.get(row).map(is)));
    Ok(Arc::new(result.finish()))
}

/// What a group has collected, in brackets: the elements in their order, members in that of their texts,
/// so that the same rows give the same object. NULL for a group without rows.
fn bracketed(call: &Call<'_>, (open, close): (char, char)) -> Result<ArrayRef> {
    let lists = call.expanded(0)?;
    let lists = lists.as_list_opt::<i32>();
    call.map_text(|row, into| {
        let Some(lists) = lists.filter(|lists| lists.is_valid(row)) else { return Ok(false) };
        let parts = lists.value(row);
        let mut parts: Vec<&str> = parts.as_string::<i32>().iter().flatten().collect();
        if open == '{' {
            parts.sort_unstable();
        }
        into.push(open);
        into.push_str(&parts.join(", "));
        into.push(close);
        Ok(true)
    })
}

/// `document -> key`: the member of that name, or the element of that number; NULL where there is none.
fn get(call: &Call<'_>, shown: impl Fn(&str) -> Option<Cow<'_, str>>) -> Result<ArrayRef> {
    let documents = call.texts(0)?;
    let keys = call.expanded(1)?;
    let names = keys.as_string_opt::<i32>();
    let indexes = keys.as_primitive_opt::<Int64Type>();
    let mut found = Vec::new();
    call.map_text(|row, into| {
        let step = match (names, indexes) {
            _ if keys.is_null(row) => None,
            (Some(names), _) => Some(Step::Member(names.value(row).to_owned())),
            (_, Some(indexes)) => Some(Step::element(indexes.value(row))),
            _ => return plan_err!("-> takes the name of a member or the number of an element"),
        };
        let (Some(document), Some(step)) = (documents.get(row), step) else { return Ok(false) };
        found.clear();
        // A member is one of an object here, an element one of an array: nothing is lax about it.
        let wanted = if matches!(step, Step::Member(_)) { '{' } else { '[' };
        let is_json = document.trim_start().starts_with(wanted)
            && find(document, &[step], &mut found).is_ok();
        // Of several members of one name the last one counts.
        let Some(json) = found.last().filter(|_| is_json) else { return Ok(false) };
        let Some(text) = shown(json) else { return Ok(false) };
        into.push_str(&text);
        Ok(true)
    })
}
