//! Mistakes that other systems made, planted in ours: each must be caught.
//!
//! `tests/planted.txt` lists them as changes of the code. `./test planted` makes each in a copy of the
//! checkout and runs the tests that must find it; a run of all tests only checks that the changes still
//! apply, since each costs a build.

#![expect(clippy::panic, reason = "a test stops where something is not as it must be")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mistake.
#[derive(Debug)]
struct Bug {
    name: String,
    what: String,
    file: String,
    krate: String,
    tests: String,
    before: String,
    after: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace").to_owned()
}

/// The mistakes in `text`, which is as its head describes.
fn bugs(text: &str) -> Vec<Bug> {
    text.split("\n====\n")
        .filter_map(|entry| Some(entry.split_once("\nbug ")?.1))
        .map(|entry| bug(entry).unwrap_or_else(|| panic!("not as the head says:\n{entry}")))
        .collect()
}

fn bug(entry: &str) -> Option<Bug> {
    let (head, change) = entry.split_once("\n----\n")?;
    let (before, after) = change.split_once("\n++++")?;
    let (first, second) = head.split_once('\n')?;
    let (name, what) = first.split_once(": ")?;
    let (file, found) = second.strip_prefix("in ")?.split_once(", found by ")?;
    let (tests, krate) = found.split_once(" of ")?;
    let own = str::to_owned;
    let after = own(after.strip_prefix('\n').unwrap_or(after));
    let (name, what, file, before) = (own(name), own(what), own(file), own(before));
    Some(Bug { name, what, file, krate: own(krate), tests: own(tests), before, after })
}

fn planted() -> Vec<Bug> {
    bugs(&fs::read_to_string(root().join("tests/planted.txt")).expect("the list is there"))
}

#[test]
fn every_change_still_applies() {
    let planted = planted();
    assert!(planted.len() > 30, "{} mistakes", planted.len());
    for bug in &planted {
        let text = fs::read_to_string(root().join(&bug.file)).expect("the file is there");
        let times = text.matches(&bug.before).count();
        assert_eq!(times, 1, "{}: {} has this {times} times:\n{}", bug.name, bug.file, bug.before);
        assert_ne!(bug.before, bug.after);
    }
}

/// A copy of the checkout, in which one file at a time is another one.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Beside the target folder, so that what is built there serves the next time.
    fn make() -> Self {
        let test = std::env::current_exe().expect("this test is a file");
        let target = test.ancestors().nth(3).expect("…/debug/deps/test");
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
        let cargo = |more: &[&str]| {
            // Some mistakes make a test wait for ever.
            let mut command = Command::new("timeout");
            command.args(["1200", env!("CARGO"), "test", "-q", "--locked", "--lib"]);
            command.args(["-p", &package]).args(more).current_dir(&self.folder);
            command.env("RUST_BACKTRACE", "0").output().expect("cargo runs").status.success()
        };
        cargo(&["--no-run"]).then(|| cargo(&["--", &bug.tests]))
    }
}

#[test]
#[ignore = "each of them is a build: ./test planted"]
fn every_planted_mistake_is_caught() {
    let (copy, planted) = (Copy::make(), planted());
    let only = std::env::var("MILLSTREAM_PLANTED").unwrap_or_default();
    let chosen: Vec<&Bug> = planted.iter().filter(|bug| bug.name.contains(&only)).collect();
    let mut sound: Vec<(&str, &str)> = Vec::new();
    let mut missed = Vec::new();
    for bug in &chosen {
        let text = fs::read_to_string(root().join(&bug.file)).expect("the file is there");
        if !sound.contains(&(&bug.krate, &bug.tests)) {
            assert_eq!(copy.passes(bug, &text), Some(true), "{} as it is", bug.krate);
            sound.push((&bug.krate, &bug.tests));
        }
        let caught = copy.passes(bug, &text.replacen(&bug.before, &bug.after, 1));
        fs::write(copy.folder.join(&bug.file), &text).expect("the change is taken back");
        let said = match caught {
            Some(false) => "caught",
            Some(true) => "MISSED",
            None => "NOT BUILT",
        };
        println!("{said:9} {}: {}", bug.name, bug.what);
        if caught != Some(false) {
            missed.push(&bug.name);
        }
    }
    let (all, caught) = (chosen.len(), chosen.len() - missed.len());
    println!("evidence P14 planted: {caught} of {all} mistakes of other systems caught");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
