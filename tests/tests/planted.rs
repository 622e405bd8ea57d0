//! Mistakes that other systems made: what `./test planted` changes is still there to be changed, and
//! `tests/PLANTED.md` has what came of it.
//!
//! The changes themselves are made and tried by `tests/examples/planted.rs`, since each costs a build.

use std::fs;

use millstream_tests::planted::{Bug, planted, root, table};

#[test]
fn every_change_still_applies() {
    let planted = planted();
    assert!(planted.len() > 50, "{} mistakes", planted.len());
    for bug in &planted {
        let text = fs::read_to_string(root().join(&bug.file)).expect("the file is there");
        let times = text.matches(&bug.before).count();
        assert_eq!(times, 1, "{}: {} has this {times} times:\n{}", bug.name, bug.file, bug.before);
        assert_ne!(bug.before, bug.after);
    }
}

/// What the table lacks.
fn lacks<'a>(text: &str, planted: &'a [Bug]) -> Vec<&'a str> {
    let row = |bug: &&Bug| !text.contains(&format!("| {} | {} | ", bug.name, bug.what));
    planted.iter().filter(row).map(|bug| bug.name.as_str()).collect()
}

#[test]
fn the_table_has_them_all() {
    let (planted, read) = (planted(), |path: &str| fs::read_to_string(root().join(path)));
    let text = read("tests/PLANTED.md").expect("the table is there");
    assert_eq!(lacks(&text, &planted), [""; 0], "run ./test planted, which writes it");
    let names: Vec<&str> = planted.iter().map(|bug| bug.name.as_str()).collect();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let gone: Vec<&str> = rows
        .map(|(name, _)| name)
        .filter(|name| !names.contains(name) && !["mistake", "---"].contains(name))
        .collect();
    assert_eq!(gone, [""; 0], "no longer planted");
}

#[test]
fn what_was_not_caught_is_not_in_the_table() {
    let planted = planted();
    let caught = [(&planted[0], vec!["a::b".to_owned(), "c".to_owned(), "d".to_owned()])];
    let text = table(&caught, planted.len());
    assert!(text.contains(&format!("1 of {} are caught", planted.len())), "{text}");
    assert!(text.contains("| `a::b` `c` and 1 more |"), "{text}");
    assert_eq!(lacks(&text, &planted).len(), planted.len() - 1);
    assert!(table(&[(&planted[0], Vec::new())], 1).contains("| a test that does not end |"));
}
