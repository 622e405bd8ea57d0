//! Completion: what may follow the word under the cursor.
//!
//! Inside `WITH (…)` these are options and their values, after `\i` files, anywhere else keywords and
//! the names the session knows. Keywords follow the case the word was begun in.

use std::collections::BTreeSet;

use millstream_connectors::options::{RelationKind, option_names, option_values};
use millstream_sql::KEYWORDS;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};

/// Commands to the prompt, for completion.
const COMMANDS: [&str; 7] = ["\\?", "\\changelog", "\\d", "\\f", "\\i", "\\q", "\\run"];

/// What the line editor knows about the session.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub(super) struct SqlHelper {
    names: BTreeSet<String>,
    /// The lines of the statement before the one being edited.
    before: String,
    files: FilenameCompleter,
}

impl Default for SqlHelper {
    fn default() -> Self {
        Self { names: BTreeSet::new(), before: String::new(), files: FilenameCompleter::new() }
    }
}

impl SqlHelper {
    /// Takes the names to offer and the statement begun.
    pub(super) fn offer(&mut self, names: BTreeSet<String>, before: &str) {
        self.names = names;
        before.clone_into(&mut self.before);
    }

    /// The candidates for the last word of `line`, and where that word starts.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(|c: char| !is_word(c)).map_or(0, |at| {
            at + line.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        let word = line.get(start..).unwrap_or_default();
        let text = format!("{}{}", self.before, line.get(..start).unwrap_or_default());
        let mut found: Vec<String> = match open_options(&text) {
            Some((kind, Some(option))) => option_values(kind, &option)
                .into_iter()
                .map(|value| if text.ends_with('\'') { format!("{value}'") } else { quoted(value) })
                .collect(),
            Some((kind, None)) => option_names(kind).into_iter().map(str::to_owned).collect(),
            None if word.starts_with('\\') => COMMANDS.map(str::to_owned).to_vec(),
            None => self.words(word),
        };
        found.retain(|candidate| starts_with(candidate, word));
        found.sort_unstable();
        found.dedup();
        (start, found)
    }

    fn words(&self, word: &str) -> Vec<String> {
        let lower = word.chars().any(char::is_lowercase);
        let cased = |text: &str| if lower { text.to_lowercase() } else { text.to_owned() };
        // Names fold like keywords; one with lower-case letters was quoted and must stay as it is.
        let names = self.names.iter().map(|name| {
            if name.chars().any(char::is_lowercase) { name.clone() } else { cased(name) }
        });
        KEYWORDS.iter().map(|keyword| cased(keyword)).chain(names).collect()
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..pos).unwrap_or(line);
        if typed.trim_start().starts_with("\\i ") {
            return self.files.complete(line, pos, context);
        }
        let (start, found) = self.candidates(typed);
        let pair = |text: String| Pair { display: text.clone(), replacement: text };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '\\' | '?')
}

fn starts_with(candidate: &str, word: &str) -> bool {
    candidate.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn quoted(value: &str) -> String {
    format!("'{value}'")
}

/// Whether `text` ends inside `WITH (…)`: of what kind of object, and after which `option =`.
fn open_options(text: &str) -> Option<(RelationKind, Option<String>)> {
    let upper = text.to_ascii_uppercase();
    let statement = upper.get(upper.rfind(';').map_or(0, |at| at + 1)..)?;
    let (head, options) = statement.rsplit_once("WITH")?;
    let options = options.trim_start().strip_prefix('(')?;
    if options.contains(')') {
        return None;
    }
    let mut words = head.split_whitespace().filter(|word| !matches!(*word, "OR" | "REPLACE"));
    if words.next() != Some("CREATE") {
        return None;
    }
    let kind = match words.next()? {
        "STREAM" => RelationKind::Stream,
        "TABLE" => RelationKind::Table,
        "SINK" => RelationKind::Sink,
        _ => return None,
    };
    let option = options.rsplit(',').next()?;
    let name = option.split_once('=').map(|(name, _)| name.trim().to_ascii_lowercase());
    Some((kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(before: &str) -> SqlHelper {
        let mut helper = SqlHelper::default();
        helper.offer(["JOBS", "COMPANY_ID", "oddName"].map(str::to_owned).into(), before);
        helper
    }

    #[test]
    fn names_and_keywords_follow_the_case_of_the_word() {
        assert_eq!(helper("").candidates("SELECT COMP").1, ["COMPANY_ID"]);
        assert_eq!(helper("").candidates("select comp").1, ["company_id"]);
        assert_eq!(helper("").candidates("select odd"), (7, vec!["oddName".to_owned()]));
        assert!(helper("").candidates("sel").1.contains(&"select".to_owned()));
    }

    #[test]
    fn options_are_offered_inside_with_also_on_later_lines() {
        let begun = helper("CREATE SINK s FROM t\nWITH (connector = 'file',\n");
        assert!(begun.candidates("  part").1.contains(&"partition_by".to_owned()));
        let stream = helper("CREATE STREAM s (n INTEGER)\nWITH (connector = 'file',\n");
        assert!(!stream.candidates("  part").1.contains(&"partition_by".to_owned()));
    }

    #[test]
    fn values_of_an_option_are_offered_quoted() {
        let begun = helper("CREATE SINK s FROM t WITH (");
        assert_eq!(begun.candidates("format = p").1, Vec::<String>::new());
        assert_eq!(begun.candidates("format = 'p").1, ["parquet'"]);
        assert!(begun.candidates("format = ").1.contains(&"'csv'".to_owned()));
    }

    #[test]
    fn a_closed_with_is_over() {
        let after = helper("CREATE SINK s WITH (format = 'csv') AS ");
        assert!(after.candidates("SELECT STR").1.contains(&"STREAM".to_owned()));
    }

    #[test]
    fn commands_are_offered_after_a_backslash() {
        assert_eq!(helper("").candidates("\\r").1, ["\\run"]);
    }
}
