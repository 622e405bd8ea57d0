//! `millstream bench nexmark`: the queries of the benchmark from JSON on disk to nowhere, beside
//! DataFusion's batch run over the same files.
//!
//! Both decode, both count the rows of the result and drop them, and the counts must agree: the figures
//! of a wrong answer mean nothing. Each side runs `runs` times in turn; the fastest run is shown, with
//! its own processor time and epochs.

mod batch;
mod input;
mod stream;
mod table;

use crate::cli::NexmarkArgs;
use crate::failure::Failure;

use self::input::{Input, QUERIES};
use self::table::{Line, Measured};

/// Measures the queries and prints the table.
///
/// # Errors
///
/// When a query fails for another reason than that it cannot be planned, or the two disagree.
pub(super) fn bench(args: &NexmarkArgs) -> Result<(), Failure> {
    let known = |name: &str| QUERIES.iter().any(|query| query.name == name);
    if let Some(unknown) = args.queries.iter().find(|name| !known(name)) {
        return Err(Failure::with_hint(format!("there is no query {unknown}"), "q0 to q22"));
    }
    let input = Input::open(args)?;
    table::heading(args, &input)?;
    let chosen = QUERIES
        .iter()
        .filter(|query| args.queries.is_empty() || args.queries.contains(&query.name.to_owned()));
    for query in chosen {
        let planned = match stream::plan(&input, query) {
            Ok(planned) => planned,
            Err(reason) => {
                table::refused(query.name, &reason)?;
                continue;
            }
        };
        let (mut ours, mut batch) = (None, None);
        for _ in 0..args.runs {
            let measured = stream::run(&planned, &input, args.lanes)?;
            keep_fastest(&mut ours, measured);
            keep_fastest(&mut batch, batch::run(&input, query, args.lanes)?);
        }
        let (Some(ours), Some(batch)) = (ours, batch) else { continue };
        if ours.rows != batch.rows {
            let (ours, batch) = (ours.rows, batch.rows);
            let name = query.name;
            return Err(Failure::new(format!("{name}: {ours} rows, batch has {batch}")));
        }
        table::line(&Line { name: query.name, events: planned.events, ours, batch })?;
    }
    table::legend()
}

fn keep_fastest(best: &mut Option<Measured>, measured: Measured) {
    if best.as_ref().is_none_or(|best| measured.wall < best.wall) {
        *best = Some(measured);
    }
}
