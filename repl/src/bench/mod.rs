//! `millstream bench`: how fast the engine is here, beside DataFusion on the same machine in the same
//! run.
//!
//! Absolute figures depend on the machine; the ratios are what to compare. Every measured thing runs
//! `runs` times in turn with its peer and the medians are shown, with processor seconds beside wall
//! seconds so that one core's worth is visible whatever the machine has.

mod events;
mod measure;
mod nexmark;
mod pipeline;
mod queries;
mod state;

use crate::cli::{BenchArgs, BenchWhat};
use crate::failure::Failure;

use self::measure::{Comparison, Report};

/// Runs the benchmarks and prints the table.
///
/// # Errors
///
/// When a query fails: then the figures mean nothing.
pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    match &args.what {
        Some(BenchWhat::Nexmark(args)) => return nexmark::bench(args),
        Some(BenchWhat::State(args)) => return state::bench(args),
        None => {}
    }
    let mut report = Report::new(args.runs);
    let events = events::Events::generate(args.events, args.seed);
    report.note(&format!(
        "{} events, {:.0} bytes each; {} run(s), {} lane(s); times are medians",
        args.events,
        events.bytes_per_event(),
        args.runs,
        args.parallelism,
    ));
    report.add(decode(&events, args)?);
    for query in queries::QUERIES {
        report.add(queries::compare(query, &events, args)?);
    }
    report.add(pipeline::compare(&events, args)?);
    report.print()
}

/// JSON to Arrow: our decoder, all declared columns, beside arrow-json's.
fn decode(events: &events::Events, args: &BenchArgs) -> Result<Comparison, Failure> {
    measure::compare(
        "decode JSON to Arrow (arrow-json)",
        args.events,
        args.runs,
        || events.decode_all(),
        || events.decode_arrow_json(),
    )
}
