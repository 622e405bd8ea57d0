//! What a command needs to work: a runtime, a clock, a session.

use std::sync::Arc;

use millstream_connectors::{Context, Until};
use millstream_engine::{Clock, SystemClock};

use crate::cli::{End, JobArgs};
use crate::failure::Failure;
use crate::output::Format;
use crate::session::{Changes, Console, Manner, Session, Settings};

/// Stack of a runtime thread: planning walks deep expressions on it.
const STACK_BYTES: usize = 8 << 20;

/// Threads that wait for the network and decode. More of them would be idle: the lanes of a job have
/// threads of their own.
const THREADS_MAX: usize = 4;

/// The runtime that everything asynchronous of a command runs on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores().clamp(2, THREADS_MAX))
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format_args!("cannot start threads: {error}")))
}

/// The world as connectors see it, on the machine's clock and in the current folder.
pub(crate) fn context(until: End) -> Result<Context, Failure> {
    let clock = SystemClock::new();
    let base = std::env::current_dir()
        .map_err(|error| Failure::new(format_args!("there is no current folder: {error}")))?;
    let until = match until {
        End::Ended => Until::Ended,
        End::CaughtUp => Until::CaughtUp,
    };
    // Differs from run to run, so that the retries of two processes do not fall together.
    let seed = clock.now_ms().unsigned_abs() ^ (u64::from(std::process::id()) << 40);
    Ok(Context { clock: Arc::new(clock), until, seed, base })
}

/// A session that speaks on standard output and standard error.
pub(crate) fn session(manner: Manner, format: Format, job: &JobArgs) -> Result<Session, Failure> {
    let lanes = job.parallelism.map_or_else(cores, usize::from);
    let settings = Settings { manner, context: context(job.until)?, lanes };
    let console =
        Console { changes: Changes::changelog(job.changelog), ..Console::standard(format) };
    let mut session = Session::new(settings, console);
    for (key, value) in &job.settings {
        session.set(key, value)?;
    }
    Ok(session)
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
