//! SQL/JSON paths in lax mode, and what they find in a text.
//!
//! `$.a.b[0]`, `$."a name"[*].c`, `$.*`, `$[0 to 2, last]`. A member of an array is that of its elements,
//! and what is no array is one of one element. A text is read once, from front to back, and not made into
//! values; what is found are parts of it.
//!
//! Source: ISO/IEC 9075-2, "SQL/JSON path language".

use std::str::Chars;

use datafusion::common::{Result, plan_datafusion_err};
use jiter::{Jiter, JiterResult, Peek};

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The member of that name.
    Member(String),
    /// Every member.
    Members,
    /// The elements of these places.
    Elements(Vec<Places>),
    /// Every element.
    AllElements,
}

/// Elements from one place to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    first: Place,
    last: Place,
}

/// The place of an element in its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Counted from 0.
    Front(usize),
    /// Counted from the last one, which is 0, to the front.
    Back(usize),
}

impl Step {
    /// The one element at `index`; a negative one counts from the end.
    pub(super) fn element(index: i64) -> Self {
        let size = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        let place = if index < 0 { Place::Back(size - 1) } else { Place::Front(size) };
        Self::Elements(vec![Places { first: place, last: place }])
    }

    fn is_counted_from_the_end(&self) -> bool {
        let is_back = |place: Place| matches!(place, Place::Back(_));
        matches!(self, Self::Elements(all)
            if all.iter().any(|places| is_back(places.first) || is_back(places.last)))
    }
}

impl Places {
    fn contains(self, index: usize) -> bool {
        let (Place::Front(first), Place::Front(last)) = (self.first, self.last) else {
            return false;
        };
        (first..=last).contains(&index)
    }

    /// The same places in an array of `length`; none if there are none.
    fn front_to_back(self, length: usize) -> Option<(usize, usize)> {
        let front = |place: Place| match place {
            Place::Front(index) => Some(index),
            Place::Back(index) => length.checked_sub(index + 1),
        };
        let last = front(self.last)?.min(length.checked_sub(1)?);
        // A range that begins before the array begins where the array does.
        Some((front(self.first).unwrap_or(0), last))
    }
}

/// Reads a path.
///
/// # Errors
///
/// When it is none.
pub(super) fn parse(path: &str) -> Result<Vec<Step>> {
    let wrong = || {
        plan_datafusion_err!("{path} is no JSON path: write one such as $.a.b[0] or $.list[*].name")
    };
    let rest = path.trim();
    let rest = rest.strip_prefix("lax ").unwrap_or(rest).trim_start();
    let mut chars = rest.strip_prefix('$').ok_or_else(wrong)?.chars();
    let mut steps = Vec::new();
    while let Some(next) = chars.next() {
        let step = match next {
            '.' if chars.as_str().starts_with('"') => {
                chars.next();
                quoted(&mut chars).map(Step::Member)
            }
            '.' => match up_to(&mut chars, |c| c == '.' || c == '[') {
                "" => None,
                "*" => Some(Step::Members),
                name if name.contains(['*', '(', ' ', '?']) => None,
                name => Some(Step::Member(name.to_owned())),
            },
            '[' => {
                let inner = up_to(&mut chars, |c| c == ']');
                chars.next().and_then(|_| elements(inner))
            }
            _ => None,
        };
        steps.push(step.ok_or_else(wrong)?);
    }
    Ok(steps)
}

/// What stands between brackets.
fn elements(text: &str) -> Option<Step> {
    if text.trim() == "*" {
        return Some(Step::AllElements);
    }
    let places = text.split(',').map(|part| {
        let (first, last) = part.split_once(" to ").unwrap_or((part, part));
        Some(Places { first: place(first)?, last: place(last)? })
    });
    places.collect::<Option<Vec<_>>>().map(Step::Elements)
}

fn place(text: &str) -> Option<Place> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix("last") else { return text.parse().ok().map(Place::Front) };
    match rest.trim_start() {
        "" => Some(Place::Back(0)),
        minus => minus.strip_prefix('-')?.trim_start().parse().ok().map(Place::Back),
    }
}

/// What stands before the first character that ends it, which stays.
fn up_to<'a>(chars: &mut Chars<'a>, ends: impl Fn(char) -> bool) -> &'a str {
    let text = chars.as_str();
    let (before, after) = text.split_at(text.find(ends).unwrap_or(text.len()));
    *chars = after.chars();
    before
}

/// A name up to its closing quote.
fn quoted(chars: &mut Chars<'_>) -> Option<String> {
    let mut name = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(name),
            '\\' => name.push(chars.next()?),
            other => name.push(other),
        }
    }
}

/// Finds the values of a path in a text, which must be JSON as a whole.
///
/// # Errors
///
/// When the text is no JSON.
pub(super) fn find<'j>(json: &'j str, path: &[Step], found: &mut Vec<&'j str>) -> JiterResult<()> {
    let mut jiter = Jiter::new(json.as_bytes());
    let first = jiter.peek()?;
    walk(&mut jiter, first, path, found)?;
    jiter.finish()
}

/// Reads the value that begins with `peek`, and finds those of `path` in it.
fn walk<'j>(
    jiter: &mut Jiter<'j>,
    peek: Peek,
    path: &[Step],
    found: &mut Vec<&'j str>,
) -> JiterResult<()> {
    let Some((step, rest)) = path.split_first() else {
        found.extend(skipped(jiter, peek)?);
        return Ok(());
    };
    match (step, peek) {
        (Step::Member(_) | Step::Members, Peek::Object) => {
            let is_it = |key: &str| match step {
                Step::Member(name) => key == name,
                _ => true,
            };
            let mut matches = jiter.known_object()?.map(is_it);
            while let Some(is_wanted) = matches {
                let value = jiter.peek()?;
                if is_wanted {
                    walk(jiter, value, rest, found)?;
                } else {
                    jiter.known_skip(value)?;
                }
                matches = jiter.next_key()?.map(is_it);
            }
            Ok(())
        }
        (_, Peek::Array) if step.is_counted_from_the_end() => {
            if let Some(array) = skipped(jiter, peek)? {
                let elements = elements_of(array)?;
                for (first, last) in counted(step, elements.len()) {
                    for element in elements.get(first..=last).unwrap_or_default() {
                        find(element, rest, found)?;
                    }
                }
            }
            Ok(())
        }
        (_, Peek::Array) => array(jiter, path, found),
        // What is no array is one of one element.
        (Step::AllElements, _) => walk(jiter, peek, rest, found),
        (Step::Elements(_), _) if counted(step, 1).any(|(first, last)| first == 0 && last == 0) => {
            walk(jiter, peek, rest, found)
        }
        _ => jiter.known_skip(peek),
    }
}

/// Reads an array whose wanted elements are counted from the front.
fn array<'j>(jiter: &mut Jiter<'j>, path: &[Step], found: &mut Vec<&'j str>) -> JiterResult<()> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let mut index = 0;
    let mut element = jiter.known_array()?;
    while let Some(value) = element {
        match step {
            Step::AllElements => walk(jiter, value, rest, found)?,
            Step::Elements(all) if all.iter().any(|places| places.contains(index)) => {
                walk(jiter, value, rest, found)?;
            }
            // A member of an array is that of its elements, one level deep.
            Step::Member(_) | Step::Members if value == Peek::Object => {
                walk(jiter, value, path, found)?;
            }
            _ => jiter.known_skip(value)?,
        }
        index += 1;
        element = jiter.array_step()?;
    }
    Ok(())
}

/// Where the elements of `step` are in an array of `length`.
fn counted(step: &Step, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = match step {
        Step::Elements(all) => all.as_slice(),
        _ => &[],
    };
    all.iter().filter_map(move |places| places.front_to_back(length))
}

/// The texts of the elements of an array.
fn elements_of(array: &str) -> JiterResult<Vec<&str>> {
    let mut jiter = Jiter::new(array.as_bytes());
    jiter.peek()?;
    let mut elements = Vec::new();
    let mut element = jiter.known_array()?;
    while let Some(value) = element {
        elements.extend(skipped(&mut jiter, value)?);
        element = jiter.array_step()?;
    }
    Ok(elements)
}

/// The text of the value that begins with `peek`.
fn skipped<'j>(jiter: &mut Jiter<'j>, peek: Peek) -> JiterResult<Option<&'j str>> {
    let start = jiter.current_index();
    jiter.known_skip(peek)?;
    // A slice of a text between two of its tokens is a text.
    Ok(std::str::from_utf8(jiter.slice_to_current(start)).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, path: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        find(json, &parse(path).unwrap(), &mut found).ok()?;
        Some(found.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn paths_find_members_and_elements() {
        let json =
            r#"{"a": {"b": [10, {"c": "x"}, 1.50]}, "a b": true, "l": [{"n": 1}, {"n": 2}]}"#;
        for (path, expected) in [
            ("$.a.b[0]", vec!["10"]),
            ("$.a.b[2]", vec!["1.50"]),
            ("lax $.a.b[1].c", vec!["\"x\""]),
            ("$.\"a b\"", vec!["true"]),
            ("$.l[*].n", vec!["1", "2"]),
            ("$.l.n", vec!["1", "2"]),
            ("$.l.*", vec!["1", "2"]),
            ("$.a[0].b[*].c", vec!["\"x\""]),
            ("$.a[last].b[last]", vec!["1.50"]),
            ("$.a.b[last - 2]", vec!["10"]),
            ("$.a.b[last - 3]", vec![]),
            ("$.a.b[1 to last].c", vec!["\"x\""]),
            ("$.a.b[0, 2]", vec!["10", "1.50"]),
            ("$.a.b[0 to 7].c", vec!["\"x\""]),
            ("$.a.b[7]", vec![]),
            ("$.nothing.at.all", vec![]),
        ] {
            assert_eq!(found(json, path).unwrap(), expected, "{path}");
        }
        assert_eq!(found(json, "$").unwrap(), [json]);
        assert_eq!(found("[]", "$[last]").unwrap(), Vec::<String>::new());
        assert_eq!(found("{\"a\": 1} x", "$.a"), None, "more than JSON");
        assert_eq!(found("{\"a\": 1", "$.a"), None, "less than JSON");
        assert_eq!(found("[1, 2 3]", "$[last]"), None, "no JSON inside");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "a",
            "$a",
            "$.",
            "$[",
            "$[x]",
            "$..a",
            "$.a*",
            "strict $.a",
            "$.\"a",
            "$[1 to]",
            "$.a ? (@ > 1)",
            "$.size()",
            "$[-1]",
            "$[last + 1]",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn an_index_counts_from_either_end() {
        for (index, expected) in
            [(0, "[1]"), (2, "[3]"), (-1, "[3]"), (-3, "[1]"), (-4, "[]"), (3, "[]")]
        {
            let mut found = Vec::new();
            find("[1, 2, 3]", &[Step::element(index)], &mut found).unwrap();
            assert_eq!(format!("[{}]", found.join(",")), expected, "{index}");
        }
    }
}
