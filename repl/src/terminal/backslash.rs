//! Commands to the prompt itself. They begin with a backslash, as in psql, and end with the line.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::failure::Failure;
use crate::output::Format;

/// What `\?` shows.
pub(super) const HELP: &str = "\
Statements end with ; and may span lines. Ctrl-C ends a running one, Ctrl-D leaves.

  CREATE STREAM name (columns) WITH (connector = 'kinesis' | 'file' | …, …);   rows from outside
  CREATE TABLE name (columns) WITH (…);           reference data; without columns: as in the files
  CREATE VIEW name AS SELECT …;                   a query with a name
  CREATE STREAM name (columns);  CREATE PUMP p AS INSERT INTO name SELECT STREAM …;
  CREATE SINK name FROM relation WITH (…);        rows to outside; \\run starts it
  CREATE SINK name WITH (…) AS SELECT STREAM …;
  SELECT STREAM …;                                rows as they come, until Ctrl-C
  SELECT STREAM * FROM error_stream;              what was set aside, where, and why
  SELECT …;                                       what is there now: streams, tables, views, sinks,
                                                  files: SELECT * FROM 'out/**/*.parquet'
  EXPLAIN [ANALYZE] …;  DESCRIBE name;  SHOW STREAMS | PUMPS | SINKS | TABLES | VIEWS | JOBS;
  START JOB;  STOP JOB [n];                       run all sinks behind the prompt and keep the views
                                                  up to date: SELECT then reads them as they are
  DROP STREAM | TABLE | VIEW | PUMP | SINK name;  SET name = 'value';  START | STOP PUMP p;

  \\i FILE             run the statements of a file, and its sinks as a job
  \\run                run the declared sinks as a job, until the input ends or Ctrl-C
  \\d [NAME]           list everything declared, or the columns of NAME
  \\f table|csv|json   how rows are shown
  \\changelog on|off   whether a result that changes is shown as changes, or drawn anew in place
  \\? or help          this text
  \\q or exit          leave";

/// A command to the prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Backslash {
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\i FILE`
    Include(PathBuf),
    /// `\run`
    Run,
    /// `\d NAME`
    Describe(String),
    /// `\d`
    List,
    /// `\f FORMAT`
    Format(Format),
    /// `\changelog on|off`
    Changelog(bool),
}

/// How the conversation goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// With the next prompt.
    Prompt,
    /// Not at all.
    Quit,
}

impl Backslash {
    /// The command in `line`; `None` if it is a piece of a statement.
    pub(super) fn parse(line: &str) -> Option<Result<Self, Failure>> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let command = match (word.to_lowercase().as_str(), rest) {
            ("\\q" | "quit" | "exit", "") => Self::Quit,
            ("\\?" | "\\h" | "\\help" | "help" | "?", "") => Self::Help,
            ("\\run", "") => Self::Run,
            ("\\d", "") => Self::List,
            ("\\d", name) => Self::Describe(name.to_owned()),
            ("\\i", "") => return Some(Err(Failure::with_hint("\\i needs a file", "\\i app.sql"))),
            ("\\i", file) => Self::Include(file.trim_matches(['\'', '"']).into()),
            ("\\f", name) => match Format::from_str(name, true) {
                Ok(format) => Self::Format(format),
                Err(_) => {
                    let message = format!("there is no format '{name}'");
                    return Some(Err(Failure::with_hint(
                        message,
                        "\\f table, \\f csv or \\f json",
                    )));
                }
            },
            ("\\changelog", "on") => Self::Changelog(true),
            ("\\changelog", "off") => Self::Changelog(false),
            ("\\changelog", _) => {
                let message = "\\changelog needs on or off";
                return Some(Err(Failure::with_hint(message, "\\changelog on")));
            }
            (word, _) if word.starts_with('\\') => {
                let message = format!("there is no command {word}");
                return Some(Err(Failure::with_hint(message, "\\? shows them all")));
            }
            _ => return None,
        };
        Some(Ok(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Backslash {
        Backslash::parse(line).unwrap().unwrap()
    }

    #[test]
    fn commands_are_told_from_statements() {
        assert_eq!(parsed("\\q"), Backslash::Quit);
        assert_eq!(parsed("exit;"), Backslash::Quit);
        assert_eq!(parsed("\\i 'a b.sql'"), Backslash::Include("a b.sql".into()));
        assert_eq!(parsed("\\changelog on"), Backslash::Changelog(true));
        assert!(Backslash::parse("\\changelog maybe").unwrap().is_err());
        assert_eq!(parsed("\\d jobs"), Backslash::Describe("jobs".into()));
        assert!(Backslash::parse("SELECT 1;").is_none());
        assert!(Backslash::parse("help me").is_none(), "a word of a statement");
    }

    #[test]
    fn an_unknown_command_is_an_error_with_a_hint() {
        let failure = Backslash::parse("\\x").unwrap().unwrap_err();
        assert_eq!(failure.text(), "error: there is no command \\x\n  hint: \\? shows them all");
    }
}
