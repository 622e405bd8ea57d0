//! `millstream import`: an application of Kinesis Data Analytics as a script.

use std::io::Write;

use super::read;
use crate::cli::ImportArgs;
use crate::failure::Failure;
use crate::import::import as imported;

/// `millstream import FILE`.
///
/// # Errors
///
/// When the file describes no application, or the script cannot be written.
pub fn import(args: &ImportArgs) -> Result<(), Failure> {
    let (name, text) = read(&args.file)?;
    let imported = imported(&name, &text)?;
    match &args.output {
        Some(path) => std::fs::write(path, &imported.sql).map_err(|error| {
            Failure::new(format_args!("cannot write {}: {error}", path.display()))
        })?,
        None => std::io::stdout()
            .write_all(imported.sql.as_bytes())
            .map_err(|_| Failure::OutputClosed)?,
    }
    say(&imported.decisions);
    Ok(())
}

/// Says on standard error what a person has to decide.
pub(super) fn say(decisions: &[String]) {
    let mut stderr = std::io::stderr();
    for decision in decisions {
        // Standard error may be closed; the script says it as well.
        let _closed = writeln!(stderr, "to decide: {decision}");
    }
}
