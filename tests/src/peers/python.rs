//! Our Python scripts (`tests/peers/*.py`) on the libraries that no one here wrote: boto3, DuckDB,
//! PyArrow, and the interpreter's own pseudo-terminals.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{folder, scripts};

/// Runs `script` with `arguments`, `input` on its standard input and `environment` added to ours;
/// returns what it printed.
///
/// # Panics
///
/// When it fails, with what it said.
pub fn run(
    script: &str,
    arguments: &[&str],
    input: &str,
    environment: &[(String, String)],
) -> String {
    let mut child = command(script, arguments)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    let input = input.to_owned();
    // On a thread of its own: a script may print much before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("python runs");
    // A script that fails early closes its input; its own message is the one that matters.
    drop(writer.join());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?} failed:\n{said}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// The command that runs `script` with `arguments`.
///
/// # Panics
///
/// When the tests were not started by `./test`.
pub fn command(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder().join("python/bin/python"));
    command.arg("-B").arg(scripts().join(script)).args(arguments);
    command
}

/// The lines `script` prints, sorted: a multiset of rows.
///
/// # Panics
///
/// When it fails, with what it said.
pub fn rows(script: &str, arguments: &[&str], environment: &[(String, String)]) -> Vec<String> {
    let printed = run(script, arguments, "", environment);
    let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
