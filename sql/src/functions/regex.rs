//! Regular expressions as Java reads them, with `\d`, `\w` and `\s` of ASCII alone. They take a time that
//! grows with the text alone, for which look-around and back-references are missing.

use std::ops::Range;

use datafusion::common::{Result, exec_err};

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Regex {
    regex: regex::Regex,
}

impl Regex {
    /// Compiles a pattern.
    pub(super) fn new(pattern: &str) -> Result<Self> {
        match regex::Regex::new(&of_java(pattern)) {
            Ok(regex) => Ok(Self { regex }),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                exec_err!("'{pattern}' is no regular expression: {reason}")
            }
        }
    }

    /// How many groups it has.
    pub(super) fn groups_count(&self) -> usize {
        self.regex.captures_len().saturating_sub(1)
    }

    /// Where it first matches.
    pub(super) fn find(&self, text: &str) -> Option<Range<usize>> {
        self.regex.find(text).map(|found| found.range())
    }

    /// The groups of the first match.
    pub(super) fn groups(&self, text: &str) -> Option<Vec<Option<Range<usize>>>> {
        let found = self.regex.captures(text)?;
        Some(found.iter().skip(1).map(|group| group.map(|group| group.range())).collect())
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
            let Some((groups, whole)) = self.regex.captures_at(text, at).and_then(|groups| {
                let whole = groups.get(0).map(|whole| whole.range())?;
                Some((groups, whole))
            }) else {
                break;
            };
            count += 1;
            if occurrence == 0 || occurrence == count {
                into.push_str(text.get(copied..whole.start).unwrap_or_default());
                expand(new, &groups, into)?;
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
fn expand(new: &str, groups: &regex::Captures<'_>, into: &mut String) -> Result<()> {
    let mut rest = new.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => match rest.next() {
                Some(escaped) => into.push(escaped),
                None => return exec_err!("the replacement '{new}' ends with a backslash"),
            },
            '$' if rest.next_if_eq(&'{').is_some() => {
                let name: String = rest.by_ref().take_while(|letter| *letter != '}').collect();
                into.push_str(groups.name(&name).map_or("", |group| group.as_str()));
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
                    if longer >= groups.len() {
                        break;
                    }
                    number = longer;
                    rest.next();
                }
                if number >= groups.len() {
                    return exec_err!("there is no group {number} for the replacement '{new}'");
                }
                into.push_str(groups.get(number).map_or("", |group| group.as_str()));
            }
            other => into.push(other),
        }
    }
    Ok(())
}

/// The pattern with the classes that Java means to be ASCII written out.
fn of_java(pattern: &str) -> String {
    const DIGITS: &str = "0-9";
    const WORD: &str = "a-zA-Z0-9_";
    const SPACE: &str = r" \t\n\x0B\f\r";
    let mut regex = String::with_capacity(pattern.len());
    let mut depth = 0_usize;
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => {
                let class = rest.next();
                let (set, is_not) = match class {
                    Some('d') => (DIGITS, false),
                    Some('D') => (DIGITS, true),
                    Some('w') => (WORD, false),
                    Some('W') => (WORD, true),
                    Some('s') => (SPACE, false),
                    Some('S') => (SPACE, true),
                    other => {
                        regex.push('\\');
                        regex.extend(other);
                        continue;
                    }
                };
                let brackets = match (depth, is_not) {
                    (0, false) => ("[", "]"),
                    (_, true) => ("[^", "]"),
                    (_, false) => ("", ""),
                };
                regex.extend([brackets.0, set, brackets.1]);
            }
            '[' => {
                depth += 1;
                regex.push('[');
            }
            ']' => {
                depth = depth.saturating_sub(1);
                regex.push(']');
            }
            other => regex.push(other),
        }
    }
    regex
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
}
