//! Plants the mistakes of `tests/planted.txt` in a copy of the checkout, one at a time, and says which of
//! them the tests that must find it catch. `./test planted [NAME]` runs it.

#![expect(clippy::print_stdout, reason = "what it says is for who runs it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use millstream_tests::planted::{Bug, planted, root};

/// A copy of the checkout, in which one file at a time is another one.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Beside the target folder, so that what is built there serves the next time.
    fn make() -> Self {
        let runner = std::env::current_exe().expect("this program is a file");
        let target = runner.ancestors().nth(3).expect("…/debug/examples/planted");
        let folder = target.with_extension("planted");
        let files = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
        let files = files.expect("git lists the files").stdout;
        for file in String::from_utf8_lossy(&files).split_terminator('\0') {
            let (from, to) = (root().join(file), folder.join(file));
            let text = fs::read(&from).expect("the file is there");
            // What is the same keeps its time, so that cargo builds it once.
            if fs::read(&to).ok().as_ref() != Some(&text) {
                fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("a folder");
                fs::write(to, text).expect("a copy");
            }
        }
        Self { folder }
    }

    /// Whether the tests of the crate that should find `bug` pass; `None` if they cannot be built.
    fn passes(&self, bug: &Bug, text: &str) -> Option<bool> {
        fs::write(self.folder.join(&bug.file), text).expect("a change");
        let package = format!("millstream-{}", bug.krate);
        // Some mistakes make a test wait for ever; what is built the first time takes its time.
        let cargo = |seconds: &str, more: &[&str]| {
            let mut command = Command::new("timeout");
            command.args([seconds, env!("CARGO"), "test", "-q", "--locked", "--lib"]);
            command.args(["-p", &package]).args(more).current_dir(&self.folder);
            command.env("RUST_BACKTRACE", "0").output().expect("cargo runs").status.success()
        };
        cargo("7200", &["--no-run"]).then(|| cargo("1200", &["--", &bug.tests]))
    }
}

fn main() -> ExitCode {
    let only = std::env::args().nth(1).unwrap_or_default();
    let (copy, planted) = (Copy::make(), planted());
    let chosen: Vec<&Bug> = planted.iter().filter(|bug| bug.name.contains(&only)).collect();
    let mut sound: Vec<(&str, &str)> = Vec::new();
    let mut caught = 0;
    for bug in &chosen {
        let text = fs::read_to_string(root().join(&bug.file)).expect("the file is there");
        if !sound.contains(&(&bug.krate, &bug.tests)) {
            assert_eq!(
                copy.passes(bug, &text),
                Some(true),
                "{} of {} as they are",
                bug.tests,
                bug.krate
            );
            sound.push((&bug.krate, &bug.tests));
        }
        let passes = copy.passes(bug, &text.replacen(&bug.before, &bug.after, 1));
        fs::write(copy.folder.join(&bug.file), &text).expect("the change is taken back");
        let said = match passes {
            Some(false) => "caught",
            Some(true) => "MISSED",
            None => "NOT BUILT",
        };
        println!("{said:9} {}: {}", bug.name, bug.what);
        caught += usize::from(passes == Some(false));
    }
    let all = chosen.len();
    if only.is_empty() {
        println!("evidence P14 planted: {caught} of {all} mistakes of other systems caught");
    } else {
        println!("{caught} of {all} caught");
    }
    if caught == all && all > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
