//! Mistakes that other systems made: what `./test planted` changes is still there to be changed.
//!
//! The changes themselves are made and tried by `tests/examples/planted.rs`, since each costs a build.

use std::fs;

use millstream_tests::planted::{planted, root};

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
