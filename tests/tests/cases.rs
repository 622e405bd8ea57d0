//! `tests/CASES.md` is true: no case is missing, and each test that it names exists.

use std::fs;
use std::path::{Path, PathBuf};

/// The cases: a letter, and how many there are.
const CASES: [(&str, u32); 4] = [("K", 43), ("O", 8), ("W", 10), ("S", 7)];

/// What the beginning of a path stands for.
const PLACES: [(&str, &str); 6] = [
    ("kinesis/", "connectors/src/kinesis/"),
    ("file/", "connectors/src/file/"),
    ("engine/", "engine/src/"),
    ("e2e/", "tests/tests/all/end_to_end/"),
    ("all/", "tests/tests/all/"),
    ("slt/", "tests/slt/"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace").to_owned()
}

/// The lines of the tables: case, tests or why there are none.
fn rows(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split(" | ").collect::<Vec<_>>());
    let is_case = |name: &str| CASES.iter().any(|(letter, _)| name.starts_with(letter));
    cells.filter(|cells| is_case(cells[0])).map(|cells| (cells[0], cells[2])).collect()
}

/// What is wrong with the reference `test`: `path#function`, or the path of a script.
fn complaint(test: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let (short, function) = test.split_once('#').map_or((test, None), |(p, f)| (p, Some(f)));
    let place = PLACES
        .iter()
        .find_map(|(begin, place)| short.strip_prefix(begin).map(|rest| format!("{place}{rest}")));
    let path = place.unwrap_or_else(|| short.to_owned());
    let Some(text) = read(&path) else { return Some(format!("{test}: there is no {path}")) };
    let has = |function: &str| text.contains(&format!("fn {function}("));
    match function {
        Some(function) if !has(function) => Some(format!("{test}: {path} has no such test")),
        None if !path.ends_with(".slt") => Some(format!("{test}: which test of {path}?")),
        _ => None,
    }
}

fn complaints(text: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let rows = rows(text);
    let wanted = CASES.iter().flat_map(|(letter, n)| (1..=*n).map(move |n| format!("{letter}{n}")));
    let missing = wanted.filter(|case| rows.iter().filter(|(found, _)| found == case).count() != 1);
    let mut complaints: Vec<String> =
        missing.map(|case| format!("{case} is not there once")).collect();
    for (case, tests) in rows {
        if tests.contains('`') {
            let tests = tests.split('`').skip(1).step_by(2);
            complaints.extend(tests.filter_map(|test| complaint(test, read)));
        } else if tests.len() < 20 {
            complaints.push(format!("{case} has no test and does not say why"));
        }
    }
    complaints
}

#[test]
fn every_case_has_a_test_that_exists() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let text = read("tests/CASES.md").unwrap_or_else(|| panic!("there is no tests/CASES.md"));
    let complaints = complaints(&text, &read);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    let all = rows(&text);
    let tested = |letter: &str| {
        let of = all.iter().filter(|(case, _)| case.starts_with(letter));
        let (tested, count) = of.fold((0, 0), |(tested, count), (_, tests)| {
            (tested + u32::from(tests.contains('`')), count + 1)
        });
        format!("{tested} of {count}")
    };
    println!("evidence P14 cases: {} of the reader have a test", tested("K"));
    println!("evidence P8 cases: {} of event time have a test", tested("W"));
}

#[test]
fn a_test_that_does_not_exist_is_seen() {
    let read = |path: &str| (path == "engine/src/a.rs").then(|| "fn b() {}".to_owned());
    assert_eq!(complaint("engine/a.rs#b", &read), None);
    assert!(complaint("engine/a.rs#c", &read).is_some());
    assert!(complaint("engine/c.rs#b", &read).is_some());
    assert!(complaint("engine/a.rs", &read).is_some());
    let lines = "| K1 | what | `engine/a.rs#b` |\n| K2 | what | none |";
    let found = complaints(lines, &read);
    assert!(found.iter().any(|c| c.starts_with("K3 ")), "{found:?}");
    assert!(found.iter().any(|c| c.starts_with("K2 has no test")), "{found:?}");
    assert!(!found.iter().any(|c| c.starts_with("K1 ")), "{found:?}");
}
