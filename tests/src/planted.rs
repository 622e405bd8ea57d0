//! Mistakes that other systems made, as changes of our code: the list in `tests/planted.txt`.

use std::fs;
use std::path::{Path, PathBuf};

/// A mistake: the text of a file, what is put in its place, and the tests that must find it.
#[derive(Debug)]
pub struct Bug {
    /// What the list calls it.
    pub name: String,
    /// What goes wrong, and who had it.
    pub what: String,
    /// The file, from the root of the checkout.
    pub file: String,
    /// The crate of the tests, without `millstream-`.
    pub krate: String,
    /// The filters that pick the tests, with spaces between them.
    pub tests: String,
    /// What is there.
    pub before: String,
    /// What is put there instead.
    pub after: String,
}

/// The root of the checkout.
///
/// # Panics
///
/// When the crate is not in a workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace").to_owned()
}

/// The mistakes of the list.
///
/// # Panics
///
/// When the list is not there, or an entry is not as its head describes.
pub fn planted() -> Vec<Bug> {
    bugs(&fs::read_to_string(root().join("tests/planted.txt")).expect("the list is there"))
}

fn bugs(text: &str) -> Vec<Bug> {
    text.split("\n====\n")
        .filter_map(|entry| Some(entry.split_once("\nbug ")?.1))
        .map(|entry| bug(entry).expect("an entry is as the head of the list says"))
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

/// Tests that are named for one mistake; the others that failed are counted.
const NAMED_MAX: usize = 2;

/// What `tests/PLANTED.md` says: which of `all` mistakes were caught, and by which tests; none are named
/// for one that made a test wait for ever.
pub fn table(caught: &[(&Bug, Vec<String>)], all: usize) -> String {
    let mut text = format!(
        "# Mistakes of other systems, planted in ours\n\n\
         {} of {all} are caught. Written by `./test planted`, which makes the changes of\n\
         `tests/planted.txt` one at a time and runs the tests that must find them;\n\
         `tests/tests/planted.rs` checks that nothing is missing here.\n\n\
         | mistake | what goes wrong, and who had it | caught by |\n| --- | --- | --- |\n",
        caught.len()
    );
    for (bug, tests) in caught {
        let named: Vec<String> =
            tests.iter().take(NAMED_MAX).map(|test| format!("`{test}`")).collect();
        let more = match tests.len() {
            0 => "a test that does not end".to_owned(),
            count if count > NAMED_MAX => format!(" and {} more", count - NAMED_MAX),
            _ => String::new(),
        };
        text.push_str(&format!("| {} | {} | {}{more} |\n", bug.name, bug.what, named.join(" ")));
    }
    text
}
