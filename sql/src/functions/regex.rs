//! Regular expressions as Java reads them. They take a time that grows with the text alone, but for those
//! with look-around, back-references, possessive quantifiers or atomic groups: these try one way after
//! the other, and fail for a row on which they have tried too many.

mod java;

use std::ops::Range;

use datafusion::common::{Result, exec_err};

/// How often a match may go back before it is given up.
const BACKTRACK_MAX: usize = 1_000_000;

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Regex {
    engine: Engine,
    pattern: String,
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// What a match has found.
enum Found<'t> {
    Linear(regex::Captures<'t>),
    Backtracking(fancy_regex::Captures<'t>),
}

impl Found<'_> {
    /// The place of a group; 0 is the whole match.
    fn group(&self, number: usize) -> Option<Range<usize>> {
        match self {
            Self::Linear(found) => found.get(number).map(|group| group.range()),
            Self::Backtracking(found) => found.get(number).map(|group| group.range()),
        }
    }

    fn named(&self, name: &str) -> Option<Range<usize>> {
        match self {
            Self::Linear(found) => found.name(name).map(|group| group.range()),
            Self::Backtracking(found) => found.name(name).map(|group| group.range()),
        }
    }

    /// How many groups there are, with the whole match.
    fn count(&self) -> usize {
        match self {
            Self::Linear(found) => found.len(),
            Self::Backtracking(found) => found.len(),
        }
    }
}

impl Regex {
    /// Compiles a pattern.
    pub(super) fn new(pattern: &str) -> Result<Self> {
        let translated = java::translated(pattern);
        let engine = match regex::Regex::new(&translated) {
            Ok(regex) => Engine::Linear(regex),
            Err(error) => {
                let mut builder = fancy_regex::RegexBuilder::new(&translated);
                match builder.backtrack_limit(BACKTRACK_MAX).build() {
                    Ok(regex) => Engine::Backtracking(Box::new(regex)),
                    Err(_) => {
                        let error = error.to_string();
                        let reason = error.lines().last().unwrap_or_default();
                        let reason = reason.trim_start_matches("error: ");
                        return exec_err!("'{pattern}' is no regular expression: {reason}");
                    }
                }
            }
        };
        Ok(Self { engine, pattern: pattern.to_owned() })
    }

    /// How many groups it has.
    pub(super) fn groups_count(&self) -> usize {
        let count = match &self.engine {
            Engine::Linear(regex) => regex.captures_len(),
            Engine::Backtracking(regex) => regex.captures_len(),
        };
        count.saturating_sub(1)
    }

    /// Where it first matches.
    pub(super) fn find(&self, text: &str) -> Result<Option<Range<usize>>> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.find(text).map(|found| found.range())),
            Engine::Backtracking(regex) => match regex.find(text) {
                Ok(found) => Ok(found.map(|found| found.range())),
                Err(error) => self.given_up(&error),
            },
        }
    }

    /// The groups of the first match.
    pub(super) fn groups(&self, text: &str) -> Result<Option<Vec<Option<Range<usize>>>>> {
        let found = self.found_at(text, 0)?;
        Ok(found.map(|found| (1..found.count()).map(|number| found.group(number)).collect()))
    }

    fn found_at<'t>(&self, text: &'t str, at: usize) -> Result<Option<Found<'t>>> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.captures_at(text, at).map(Found::Linear)),
            Engine::Backtracking(regex) => match regex.captures_from_pos(text, at) {
                Ok(found) => Ok(found.map(Found::Backtracking)),
                Err(error) => self.given_up(&error),
            },
        }
    }

    #[cold]
    fn given_up<T>(&self, error: &fancy_regex::Error) -> Result<T> {
        let words = error.to_string();
        let reason = words.strip_prefix("Error executing regex: ").unwrap_or(&words);
        exec_err!("'{}' cannot be matched: {reason}", self.pattern)
    }

    /// Appends `text` to `into` with the matches from the byte `start` on replaced: all, or the one
    /// that `occurrence` counts from 1.
    pub(super) fn replace(
        &self,
        text: &str,
        (start, occurrence): (usize, i64),
        new: &str,
        into: &mut String,
    ) -> Result<()> {
        let (mut copied, mut at, mut count) = (0, start, 0);
        while at <= text.len() {
            let Some((found, whole)) = self.found_at(text, at)?.and_then(|found| {
                let whole = found.group(0)?;
                Some((found, whole))
            }) else {
                break;
            };
            count += 1;
            if occurrence == 0 || occurrence == count {
                into.push_str(text.get(copied..whole.start).unwrap_or_default());
                expand(new, text, &found, into)?;
                copied = whole.end;
                if occurrence != 0 {
                    break;
                }
            }
            at = if whole.is_empty() { next(text, whole.end) } else { whole.end };
        }
        into.push_str(text.get(copied..).unwrap_or_default());
        Ok(())
    }
}

/// Where the character behind the one at `at` begins.
fn next(text: &str, at: usize) -> usize {
    let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    at + length
}

/// Appends a replacement in which `$1` is a group, `${name}` a named one, and `\` takes the next
/// character as it is.
fn expand(new: &str, text: &str, found: &Found<'_>, into: &mut String) -> Result<()> {
    let of = |group: Option<Range<usize>>| group.and_then(|range| text.get(range));
    let mut rest = new.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => match rest.next() {
                Some(escaped) => into.push(escaped),
                None => return exec_err!("the replacement '{new}' ends with a backslash"),
            },
            '$' if rest.next_if_eq(&'{').is_some() => {
                let name: String = rest.by_ref().take_while(|letter| *letter != '}').collect();
                into.push_str(of(found.named(&name)).unwrap_or_default());
            }
            '$' => {
                let Some(first) = rest.next_if(char::is_ascii_digit).and_then(|d| d.to_digit(10))
                else {
                    return exec_err!("in the replacement '{new}' a $ is followed by no group");
                };
                let mut number = usize::try_from(first).unwrap_or_default();
                // More digits belong to it as long as there is such a group.
                while let Some(digit) = rest.peek().and_then(|letter| letter.to_digit(10)) {
                    let longer = number * 10 + usize::try_from(digit).unwrap_or_default();
                    if longer >= found.count() {
                        break;
                    }
                    number = longer;
                    rest.next();
                }
                if number >= found.count() {
                    return exec_err!("there is no group {number} for the replacement '{new}'");
                }
                into.push_str(of(found.group(number)).unwrap_or_default());
            }
            other => into.push(other),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, pattern: &str, new: &str, start: usize, occurrence: i64) -> String {
        let mut into = String::new();
        Regex::new(pattern).unwrap().replace(text, (start, occurrence), new, &mut into).unwrap();
        into
    }

    #[test]
    fn replacements_are_those_of_java() {
        assert_eq!(replaced("a1b22", r"(\d+)", "<$1>", 0, 0), "a<1>b<22>");
        assert_eq!(replaced("a1b22", r"\d+", "-", 2, 0), "a1b-");
        assert_eq!(replaced("aXbXcX", "X", "-", 0, 2), "aXb-cX");
        assert_eq!(replaced("ab", "x*", "-", 0, 0), "-a-b-");
        assert_eq!(replaced("ab", r"(\w)", r"\$$1", 0, 0), "$a$b");
        assert_eq!(replaced("a٣", r"\d", "-", 0, 0), "a٣");
    }

    #[test]
    fn what_looks_around_or_back_is_tried_within_a_limit() {
        assert_eq!(replaced("foobar foobaz", "foo(?=bar)", "X", 0, 0), "Xbar foobaz");
        assert_eq!(replaced("xay yay", "(?<!x)a", "B", 0, 0), "xay yBy");
        assert_eq!(replaced("aabbc", r"(.)\1", "<$1>", 0, 0), "<a><b>c");
        assert_eq!(replaced("aab", "(?>a+)b", "-", 0, 0), "-");
        let endless = Regex::new(r"^(a|aa)+\1$(?!x)").unwrap();
        let error = endless.find(&format!("{}b", "a".repeat(60))).unwrap_err().to_string();
        assert!(error.contains("cannot be matched"), "{error}");
        assert!(Regex::new("(b").is_err());
    }
}
