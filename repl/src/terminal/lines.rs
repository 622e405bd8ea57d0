//! Where the lines of a conversation come from: an editor with history, or a pipe.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;

use super::complete::SqlHelper;
use crate::failure::Failure;
use crate::session::Session;

const PROMPT: &str = "millstream> ";
const PROMPT_MORE: &str = "       ...> ";

/// Statements kept between runs.
const HISTORY_MAX: usize = 10_000;

/// What the other side said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C: forget the statement begun.
    Cancelled,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// The lines of a conversation.
pub(super) enum Lines {
    /// A person types.
    Editor(Box<Editor>),
    /// A program writes.
    Piped(io::Lines<io::StdinLock<'static>>),
}

/// The line editor and where it keeps its history.
pub(super) struct Editor {
    editor: rustyline::Editor<SqlHelper, FileHistory>,
    history: Option<PathBuf>,
}

impl Lines {
    /// Lines typed at the terminal.
    pub(super) fn editor() -> Result<Self, Failure> {
        let broken =
            |error: ReadlineError| Failure::new(format_args!("cannot use the terminal: {error}"));
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(broken)?
            .completion_type(CompletionType::List)
            .auto_add_history(false)
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(broken)?;
        editor.set_helper(Some(SqlHelper::default()));
        let history = history_path(|name| std::env::var_os(name).map(PathBuf::from));
        if let Some(path) = &history
            && path.exists()
            && let Err(error) = editor.load_history(path)
        {
            // A prompt without history is better than none.
            let text = format!("warning: cannot read {}: {error}", path.display());
            let _closed = io::Write::write_all(&mut io::stderr(), (text + "\n").as_bytes());
        }
        Ok(Self::Editor(Box::new(Editor { editor, history })))
    }

    /// Lines of standard input.
    pub(super) fn piped() -> Self {
        Self::Piped(io::stdin().lock().lines())
    }

    /// Waits for the next line. `first` says whether it begins a statement.
    pub(super) fn next(&mut self, first: bool) -> Result<Line, Failure> {
        match self {
            Self::Editor(editor) => {
                match editor.editor.readline(if first { PROMPT } else { PROMPT_MORE }) {
                    Ok(line) => Ok(Line::Text(line)),
                    Err(ReadlineError::Interrupted) => Ok(Line::Cancelled),
                    Err(ReadlineError::Eof) => Ok(Line::End),
                    Err(error) => Err(Failure::new(format_args!("the terminal failed: {error}"))),
                }
            }
            Self::Piped(lines) => match lines.next() {
                Some(Ok(line)) => Ok(Line::Text(line)),
                Some(Err(error)) => {
                    Err(Failure::new(format_args!("cannot read standard input: {error}")))
                }
                None => Ok(Line::End),
            },
        }
    }

    /// Gives completion the names of the session, and the statement begun.
    pub(super) fn offer(&mut self, session: &Session, before: &str) {
        if let Self::Editor(editor) = self
            && let Some(helper) = editor.editor.helper_mut()
        {
            helper.offer(session.names(), before);
        }
    }

    /// Adds what was typed to the history, in memory and in the file.
    pub(super) fn remember(&mut self, text: &str) {
        let Self::Editor(editor) = self else { return };
        if let Ok(true) = editor.editor.add_history_entry(text)
            && let Some(path) = &editor.history
        {
            // Not worth an error at each statement: the folder may be read-only.
            let _unwritable = save(&mut editor.editor, path);
        }
    }
}

fn save(
    editor: &mut rustyline::Editor<SqlHelper, FileHistory>,
    path: &Path,
) -> rustyline::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    editor.append_history(path)
}

/// Where the history is kept: the state folder of the XDG base directory specification.
fn history_path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let state = variable("XDG_STATE_HOME").filter(absolute);
    let state = state.or_else(|| Some(variable("HOME").filter(absolute)?.join(".local/state")))?;
    Some(state.join("millstream/history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_in_the_state_folder() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ann"));
        let path = history_path(home).unwrap();
        assert_eq!(path, Path::new("/home/ann/.local/state/millstream/history"));
        let both = |name: &str| Some(PathBuf::from(if name == "HOME" { "/h" } else { "/s" }));
        assert_eq!(history_path(both).unwrap(), Path::new("/s/millstream/history"));
        let relative = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("x"));
        assert_eq!(history_path(relative), None, "the specification says to ignore it");
    }
}
