//! The paths of mappings, `$.quote.price`: where in a record a column lies.

use millstream_engine::{Error, Result};

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of an array, from 0.
    Index(usize),
}

/// Where a column lies.
#[derive(Debug)]
pub(super) struct Path {
    /// The steps that lead to it, or to the array in whose elements it lies; none if it is the record.
    pub(super) steps: Vec<Step>,
    /// The steps that lead to it inside an element; none if it is in no array that is taken apart.
    pub(super) in_element: Vec<Step>,
    /// Whether records are arrays, whose elements become rows.
    pub(super) of_array: bool,
}

/// The steps of `$.a.b`, `$['a']["b"]`, `$.a[0].b`; a closing `[0:]`, KDA's mark of an array taken
/// whole, is no step.
pub(super) fn parse_path(column: &str, mapping: &str) -> Result<Path> {
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
        if key.is_empty() && rest.starts_with('.') {
            return Err(wrong("a key is empty"));
        }
        steps.push(Step::Key(key.to_owned()));
        rest = behind;
    }
    match array {
        Some(_) if steps.is_empty() => Err(wrong("it names no key")),
        Some(array) if array.is_empty() => {
            Ok(Path { steps, in_element: Vec::new(), of_array: true })
        }
        Some(array) => Ok(Path { steps: array, in_element: steps, of_array: false }),
        None => Ok(Path { steps, in_element: Vec::new(), of_array: false }),
    }
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
        assert_eq!(keys("$['']").unwrap(), [key("")]);
        assert_eq!(keys("$").unwrap(), []);
        assert!(parse_path("C", "$[0:].x").unwrap().of_array);
        for (path, why) in [
            ("a.b", "begin with '$'"),
            ("$..a", "key is empty"),
            ("$['a", "not closed"),
            ("$.list[0:].x[0:].y", "inside an array"),
            ("$[0:].x[0:].y", "inside an array"),
            ("$.list[-1]", "only keys"),
        ] {
            assert!(keys(path).unwrap_err().contains(why), "{path}");
        }
    }
}
