//! The prompt, on a pseudo-terminal and through a pipe.

use std::fs;

use millstream_tests::peers::python;
use millstream_tests::program;

/// Plays `dialogue` with the program in `folder`; returns all that stood on the screen.
fn converse(folder: &std::path::Path, dialogue: &[serde_json::Value]) -> String {
    let steps: String = dialogue.iter().map(|step| format!("{step}\n")).collect();
    let program = program::path();
    let shell = format!("cd '{}' && exec '{}'", folder.display(), program.display());
    let home = [("HOME".to_owned(), folder.display().to_string())];
    python::run("terminal.py", &["sh", "-c", &shell], &steps, &home)
}

macro_rules! step {
    ($word:literal, $argument:expr) => {
        serde_json::json!([$word, $argument])
    };
}

const STREAM: [&str; 2] = [
    "CREATE STREAM s (id INTEGER, name VARCHAR(8))\n",
    "  WITH (connector = 'file', path = 'in.csv', follow = 'true');\n",
];

#[test]
fn a_conversation() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), "id,name\n1,one\n2,two\n").unwrap();
    fs::write(folder.path().join("more.sql"), "CREATE VIEW big AS SELECT id FROM s WHERE id > 1;")
        .unwrap();
    let screen = converse(
        folder.path(),
        &[
            step!("see", "> "),
            // A statement may go over several lines; the prompt says that it waits for more.
            step!("type", STREAM[0]),
            step!("see", "VARCHAR.*\\.\\.\\.> "),
            step!("type", STREAM[1]),
            step!("see", "millstream> "),
            step!("type", "DESCRIBE s;\n"),
            step!("see", "NAME"),
            step!("type", "SHOW STREAMS;\n"),
            step!("see", "\\bS\\b"),
            // Rows come until Ctrl-C, which returns to the prompt.
            step!("type", "SELECT STREAM name FROM s WHERE id > 0;\n"),
            step!("see", "one.*two"),
            step!("type", "\u{3}"),
            step!("see", "> "),
            step!("type", "SELECT COUNT(*) AS how_many FROM 'in.csv';\n"),
            step!("see", "HOW_MANY.*2"),
            step!("type", "\\i more.sql\n"),
            step!("see", "> "),
            step!("type", "SHOW VIEWS;\n"),
            step!("see", "BIG"),
            // A mistake is a message, not the end.
            step!("type", "SELECT STREAM nope FROM s;\n"),
            step!("see", "error.*\\^"),
            step!("type", "\\?\n"),
            step!("see", "SELECT STREAM"),
            step!("type", "\\q\n"),
            step!("end", 0),
        ],
    );
    assert!(!screen.contains("panicked"), "{screen}");
}

#[test]
fn history_is_kept_between_runs() {
    let folder = tempfile::tempdir().unwrap();
    let first =
        [step!("see", "> "), step!("type", "SELECT 40 + 2 AS answer;\n"), step!("see", "42")];
    let end = [step!("see", "> "), step!("type", "\\q\n"), step!("end", 0)];
    converse(folder.path(), &[&first[..], &end[..]].concat());
    let up = [step!("see", "> "), step!("type", "\u{1b}[A\n"), step!("see", "answer")];
    let up_once_more =
        [step!("see", "> "), step!("type", "\u{1b}[A\u{1b}[A\n"), step!("see", "42")];
    // The last line of the first run was \q; above it stands the query.
    let screen =
        std::panic::catch_unwind(|| converse(folder.path(), &[&up[..], &end[..]].concat()))
            .or_else(|_| {
                std::panic::catch_unwind(|| {
                    converse(folder.path(), &[&up_once_more[..], &end[..]].concat())
                })
            });
    assert!(screen.is_ok(), "the query of the first run is not in the history");
}
