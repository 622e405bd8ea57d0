//! The table of contents: what was typed, and the function that does it.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use millstream::Failure;
use millstream::cli::{Command, CommandLine};
use millstream::failure::STATUS_OK;
use millstream::{bench, commands, terminal};
use millstream_engine::checkpoint::fail_point::FailPoint;

fn main() -> ExitCode {
    // Usage errors end the process here, with status 2.
    let line = CommandLine::parse();
    arm();
    match dispatch(line) {
        Ok(()) => ExitCode::from(STATUS_OK),
        Err(failure) => {
            if !failure.text().is_empty() {
                // Standard error may be closed; the status says it all the same.
                let _closed = writeln!(std::io::stderr(), "{failure}");
            }
            ExitCode::from(failure.status())
        }
    }
}

/// A test says where the program it starts is to die: `MILLSTREAM_DIE_AT=POINT:ARRIVAL`.
fn arm() {
    let wanted =
        if cfg!(debug_assertions) { std::env::var("MILLSTREAM_DIE_AT").ok() } else { None };
    let Some((name, arrival)) = wanted.as_deref().and_then(|wanted| wanted.split_once(':')) else {
        return;
    };
    let point = FailPoint::ALL.into_iter().find(|point| point.name() == name);
    if let (Some(point), Ok(arrival)) = (point, arrival.parse()) {
        point.arm(arrival);
    }
}

fn dispatch(line: CommandLine) -> Result<(), Failure> {
    match line.command {
        None => terminal::converse(line.format, &line.job),
        Some(Command::Run(args)) => commands::run(&args),
        Some(Command::Sql(args)) => commands::sql(&args),
        Some(Command::Replay(args)) => commands::replay(&args),
        Some(Command::State(args)) => commands::state(&args),
        Some(Command::Bench(args)) => bench::bench(&args),
        Some(Command::Discover(args)) => commands::discover(&args),
        Some(Command::Import(args)) => commands::import(&args),
        Some(Command::Explain(args)) => commands::explain(&args),
        #[cfg(feature = "embedded-kinesis")]
        Some(Command::Kinesis(args)) => commands::kinesis(&args),
        Some(Command::Generate(args)) => commands::generate(&args),
        #[cfg(feature = "embedded-kinesis")]
        Some(Command::Demo(args)) => commands::demo(&args),
    }
}
