//! `millstream demo` and `millstream generate`: no account, no server, no network.

use millstream_tests::program::Program;

use super::files::files_below;

#[test]
fn the_demo_runs_by_itself_and_shows_a_result() {
    let folder = tempfile::tempdir().unwrap();
    // Its environment points AWS clients at a port where nobody listens.
    let program = Program::in_folder(folder.path());
    let finished = program.succeed(&["demo", "--keep", "kept"]);
    let files = files_below(&folder.path().join("kept"));
    let parquet = files.iter().filter(|p| p.extension().is_some_and(|e| e == "parquet")).count();
    assert!(parquet > 0, "{files:?}");
    assert!(finished.stdout.contains("INDUSTRY"), "{}", finished.stdout);
}

#[test]
fn the_same_seed_makes_the_same_events() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::in_folder(folder.path());
    let events = |seed: &str| {
        let arguments = [
            "generate", "tenants", "--count", "200", "--rate", "0", "--seed", seed, "--to",
            "stdout",
        ];
        program.succeed(&arguments).stdout
    };
    let first = events("7");
    assert_eq!(first.lines().count(), 200);
    assert!(first.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    let without_times = |text: &str| -> Vec<String> {
        let digits = |line: &str| line.chars().filter(|c| !c.is_ascii_digit()).collect();
        text.lines().map(digits).collect()
    };
    assert_eq!(without_times(&first), without_times(&events("7")));
    assert_ne!(without_times(&first), without_times(&events("8")));
}
