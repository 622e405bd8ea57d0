//! Runs `.slt` files: sqllogictest with directives that put rows in and advance time, so that a test
//! says exactly what comes out of a continuous query, and when.
//!
//! `statement` and `query` records are sqllogictest's own and run by its runner. Ours are blocks that
//! begin with one of these words, and end, like every record, at a blank line:
//!
//! ```text
//! statement ok
//! CREATE STREAM s (ticker VARCHAR(4), price DOUBLE);
//!
//! stream dear                  a continuous query under a name; starts with the first epoch
//! SELECT STREAM ticker FROM s WHERE price > 20
//!
//! load firms                   the rows of a table; before the first epoch, or again later
//! AAA,Alpha
//!
//! feed s [partition p]         rows for the next epoch: ROWTIME, then the declared columns
//! @10:00:05 AAA,20.5
//! @10:00:07 BBB,NULL
//!
//! bound s 10:03:00 [partition p]    no earlier row of the partition will follow (also: watermark)
//! idle s [partition p]              the partition has nothing new and holds no time back
//! clock 10:03:00                    it is that time now, which is where idle partitions go on to
//! end s                             the stream has ended
//!
//! epoch                        runs one epoch with all that was fed since the last
//!
//! emitted dear                 what a sink, stream, view or named query gave since the last check
//! ----
//! @10:00:05 AAA
//!
//! restart                      forgets all state; the declarations stay
//! ```
//!
//! A time without a date is on 2018-11-01, both ways. The rows an epoch emits are compared in the
//! order of their `ROWTIME` and text, since their order within an epoch means nothing; that of epochs
//! does. Each row stands on one line: `@ROWTIME` if it has one, then its values as CSV; a row that is
//! retracted begins with `-`. Every file runs with one lane and with three.

mod driver;
mod rows;
mod script;

use std::path::Path;

use driver::Driver;
use sqllogictest::Runner;

/// How many lanes a file is run with: alone, and spread.
const LANES: [usize; 2] = [1, 3];

/// Runs the script at `path`.
///
/// # Errors
///
/// The first record whose result is not the expected one, with its place in the file.
pub fn run_file(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let name = path.display().to_string();
    LANES.into_iter().try_for_each(|lanes| {
        run_text(&name, &text, lanes).map_err(|error| format!("with {lanes} lanes: {error}"))
    })
}

/// Runs the script `text`; `name` is its name in errors.
///
/// # Errors
///
/// The first record whose result is not the expected one, with its place in the text.
pub fn run_text(name: &str, text: &str, lanes: usize) -> Result<(), String> {
    let script = script::Script::parse(name, text)?;
    let mentions = script.mentions.clone();
    let mut runner = Runner::new(|| {
        let driver = Driver::new(mentions.clone(), lanes);
        std::future::ready(Ok::<_, driver::Failure>(driver))
    });
    for record in script.records {
        runner.run(record).map_err(|error| error.display(false).to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
statement ok
CREATE STREAM s (ticker VARCHAR(4), price DOUBLE);

stream dear
SELECT STREAM ROWTIME, ticker FROM s WHERE price > 20

feed s
@10:00:05 AAA,20.5
@10:00:07 BBB,NULL

epoch

emitted dear
----
@10:00:05 AAA
";

    #[test]
    fn a_script_passes_when_the_rows_are_the_expected_ones() {
        run_text("a.slt", SCRIPT, 1).unwrap();
    }

    #[test]
    fn a_wrong_row_a_wrong_time_and_a_missing_row_are_seen() {
        for (right, wrong, say) in [
            ("----\n@10:00:05 AAA", "----\n@10:00:05 BBB", "[Diff]"),
            ("----\n@10:00:05 AAA", "----\n@10:00:06 AAA", "[Diff]"),
            ("----\n@10:00:05 AAA", "----\n", "[Diff]"),
            ("statement ok", "statement error", "expected to fail"),
        ] {
            let script = SCRIPT.replace(right, wrong);
            assert_ne!(script, SCRIPT);
            let error = run_text("a.slt", &script, 1).unwrap_err();
            assert!(error.contains("a.slt:") && error.contains(say), "{error}");
        }
    }

    #[test]
    fn a_check_before_the_epoch_is_refused() {
        let error = run_text("a.slt", &SCRIPT.replace("epoch\n", "\n"), 1).unwrap_err();
        assert!(error.contains("no epoch"), "{error}");
    }
}
