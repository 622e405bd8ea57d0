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

/// Types a line and waits for what it gives and the next prompt.
fn ask(line: &str, gives: &str) -> [serde_json::Value; 2] {
    [step!("type", format!("{line}\n")), step!("see", format!("{gives}.*millstream> "))]
}

#[test]
fn a_conversation() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), "id,name\n1,one\n2,two\n").unwrap();
    fs::write(folder.path().join("more.sql"), "CREATE VIEW big AS SELECT id FROM s WHERE id > 1;")
        .unwrap();
    let dialogue = [
        [step!("see", "help.*millstream> ")].to_vec(),
        // A statement may go over several lines; the prompt says that it waits for more.
        [step!("type", "CREATE STREAM s (id INTEGER, name VARCHAR(8))\n")].to_vec(),
        [step!("see", "VARCHAR.*\\.\\.\\.> ")].to_vec(),
        ask("  WITH (connector = 'file', path = 'in.csv', follow = 'true');", "created").to_vec(),
        ask("DESCRIBE s;", "NAME").to_vec(),
        ask("SHOW STREAMS;", "\\bS\\b").to_vec(),
        // Rows come until Ctrl-C, which returns to the prompt.
        [step!("type", "SELECT STREAM name FROM s WHERE id > 0;\n")].to_vec(),
        [step!("see", "one.*two"), step!("type", "\u{3}"), step!("see", "millstream> ")].to_vec(),
        ask("SELECT COUNT(*) AS how_many FROM 'in.csv';", "HOW_MANY.*2").to_vec(),
        ask("\\i more.sql", "created").to_vec(),
        ask("SHOW VIEWS;", "BIG").to_vec(),
        // A mistake is a message, not the end.
        ask("SELECT STREAM nope FROM s;", "error.*\\^").to_vec(),
        ask("\\?", "SELECT STREAM").to_vec(),
        [step!("type", "\\q\n"), step!("end", 0)].to_vec(),
    ];
    let screen = converse(folder.path(), &dialogue.concat());
    assert!(!screen.contains("panicked"), "{screen}");
}

#[test]
fn what_is_pasted_at_once_is_run_statement_by_statement() {
    let folder = tempfile::tempdir().unwrap();
    let pasted =
        "SELECT 40 + 1 AS first;\nSELECT 40 +\n  2 AS second; SELECT 40 + 3\n  AS third;\n";
    let dialogue = [
        step!("see", "help.*millstream> "),
        step!("type", pasted),
        step!("see", "FIRST.*41.*SECOND.*42.*THIRD.*43.*millstream> "),
        step!("type", "\\q\n"),
        step!("end", 0),
    ];
    converse(folder.path(), &dialogue);
}

#[test]
fn history_is_kept_between_runs() {
    let folder = tempfile::tempdir().unwrap();
    let start = [step!("see", "help.*millstream> ")];
    let end = [step!("type", "\\q\n"), step!("end", 0)];
    let first = ask("SELECT 40 + 2 AS answer;", "ANSWER.*42");
    converse(folder.path(), &[&start[..], &first, &end].concat());
    // The last line of the first run was \q; the query stands above it, or is the last one kept.
    let up = "\u{1b}[A";
    let again = [step!("type", up), step!("type", up), step!("see", "answer;")];
    let run = [step!("type", "\n"), step!("see", "ANSWER.*42.*millstream> ")];
    converse(folder.path(), &[&start[..], &again, &run, &end].concat());
}

#[test]
fn a_result_that_changes_is_redrawn_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..60).map(|n| format!("{n},w{}\n", n % 30)).collect();
    fs::write(folder.path().join("in.csv"), format!("id,name\n{rows}")).unwrap();
    let stream = "CREATE STREAM s (id INTEGER, name VARCHAR(8)) WITH (connector = 'file', path = 'in.csv', follow = 'true');";
    let count =
        "SELECT STREAM name, COUNT(*) AS c, MAX(id) AS m FROM s GROUP BY name ORDER BY m DESC;";
    let dialogue = [
        [step!("see", "help.*millstream> ")].to_vec(),
        ask(stream, "created").to_vec(),
        [step!("type", format!("{count}\n"))].to_vec(),
        // A terminal of 24 lines shows the first 20 rows, and how many there are.
        [step!("see", "w29 *\\| 2 \\| 59.*the first 20 of 30 rows")].to_vec(),
        [step!("type", "\u{3}"), step!("see", "millstream> ")].to_vec(),
        ask("\\changelog on", "").to_vec(),
        [step!("type", format!("{count}\n")), step!("see", "_op.*\\+ +\\| w")].to_vec(),
        [step!("type", "\u{3}"), step!("see", "millstream> ")].to_vec(),
        // Behind the prompt, a view is kept up to date and read as it is.
        ask("CREATE VIEW v AS SELECT COUNT(*) AS how_many FROM s;", "created").to_vec(),
        ask("START JOB;", "job 3 runs V").to_vec(),
        // Its first epoch may come after the first look.
        [step!("until", ["SELECT how_many FROM v;\n", "60"])].to_vec(),
        [step!("type", "\\q\n"), step!("see", "job 3 ended"), step!("end", 0)].to_vec(),
    ];
    let screen = converse(folder.path(), &dialogue.concat());
    // Drawn when the rows came, and once more when it was stopped.
    assert_eq!(screen.matches("the first 20 of 30 rows").count(), 2, "{screen}");
}
