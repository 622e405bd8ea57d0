//! An application is changed between two runs: what computes as before goes on, what does not is named.

use std::fs;

use millstream_tests::peers::python;
use millstream_tests::program::{Finished, Program};

const APPLICATION: &str = "
CREATE STREAM s (k INTEGER, n INTEGER, t TIMESTAMP, WATERMARK FOR t AS t)
  WITH (connector = 'file', path = 'in/*.csv', follow = 'true');
CREATE SINK passed WITH (connector = 'file', path = 'out/passed', format = 'csv', roll_interval = '1h')
  AS SELECT STREAM n FROM s WHERE n >= 0;
CREATE SINK counted WITH (connector = 'file', path = 'out/counted', format = 'csv')
  AS SELECT STREAM FLOOR(t TO MINUTE) AS m, COUNT(*) AS c, SUM(n) AS total
     FROM s GROUP BY FLOOR(t TO MINUTE);
";

/// What there is before the change.
const LINES: &str = "k,n,t\n1,1,2026-01-01 00:00:01\n2,2,2026-01-01 00:00:02\n";

/// What a change means for the state.
enum Expected {
    /// All of it is kept.
    Kept,
    /// What is named is refused, and dropped when it is named back.
    Named(&'static str),
}

/// Changes of the text: what is there, what comes instead.
const EDITS: [(&str, &str, Expected); 8] = [
    ("CREATE SINK passed", "-- a comment\nCREATE SINK passed", Expected::Kept),
    ("roll_interval = '1h'", "roll_interval = '2h'", Expected::Kept),
    // Its file is in the last commit, which was published after it.
    ("WHERE n >= 0", "WHERE n >= -5", Expected::Named("passed")),
    ("COUNT(*) AS c", "COUNT(n) AS c", Expected::Named("counted")),
    ("TO MINUTE", "TO HOUR", Expected::Named("counted")),
    // It reads one more column, and both read the same rows.
    (
        "GROUP BY FLOOR(t TO MINUTE)",
        "GROUP BY FLOOR(t TO MINUTE), k",
        Expected::Named("counted,passed"),
    ),
    ("path = 'out/counted'", "path = 'out/elsewhere'", Expected::Kept),
    ("CREATE SINK counted", "CREATE SINK minutes", Expected::Kept),
];

fn run(program: &Program, lanes: &str, more: &[&str]) -> Finished {
    let run =
        ["run", "app.sql", "--state", "state", "--until", "caught-up", "--parallelism", lanes];
    program.run(&[&run[..], more].concat())
}

/// S5: each change, and what came of what was known before it.
#[test]
fn s5_a_changed_application_keeps_what_it_can_and_names_the_rest() {
    for (before, after, expected) in EDITS {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("in")).unwrap();
        fs::write(at("in/1.csv"), LINES).unwrap();
        fs::write(at("app.sql"), APPLICATION).unwrap();
        let program = Program::in_folder(folder.path());
        let first = run(&program, "1", &[]);
        assert_eq!(first.status, Some(0), "{}", first.stderr);
        assert!(APPLICATION.contains(before), "{before}");
        fs::write(at("app.sql"), APPLICATION.replace(before, after)).unwrap();
        fs::write(
            at("in/1.csv"),
            format!("{LINES}1,3,2026-01-01 00:00:03\n1,4,2026-01-01 02:00:00\n"),
        )
        .unwrap();
        let second = run(&program, "3", &[]);
        let known = match expected {
            Expected::Kept => {
                assert_eq!(second.status, Some(0), "{after}: {}", second.stderr);
                "3,6"
            }
            Expected::Named(name) => {
                assert_eq!(second.status, Some(1), "{after}: {}", second.stderr);
                let said = second.stderr.to_lowercase();
                assert!(said.contains("--discard-state"), "{after}: {said}");
                assert!(name.split(',').all(|name| said.contains(name)), "{after}: {said}");
                let third = run(&program, "3", &["--discard-state", name]);
                assert_eq!(third.status, Some(0), "{after}: {}", third.stderr);
                // What was dropped sees only what came after the change.
                if name.contains("counted") { "1,3" } else { "3,6" }
            }
        };
        let rows = |folder: &str, columns: &str| {
            let path = at("out").join(folder);
            python::rows("read_files.py", &["duckdb", "csv", path.to_str().unwrap(), columns], &[])
        };
        // What computes as before has lost nothing and has nothing twice.
        assert_eq!(rows("passed", "n"), ["1", "2", "3", "4"], "{after}");
        let place = if after.contains("elsewhere") { "elsewhere" } else { "counted" };
        assert_eq!(rows(place, "c,total"), [known], "{after}");
    }
    println!("evidence P12 changes: {0} of {0} kinds as predicted", EDITS.len());
}
