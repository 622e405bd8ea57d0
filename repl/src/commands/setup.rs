//! What a command needs to work: a runtime, a clock, a session.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use millstream_connectors::{Context, Until};
use millstream_engine::job::MemoryBudget;
use millstream_engine::{Clock, SystemClock, Troubles};

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
    // Differs from run to run and machine to machine: two processes are told apart by it.
    let seed = RandomState::new().hash_one((clock.now_ms(), std::process::id()));
    let (clock, troubles) = (Arc::new(clock), Troubles::default());
    Ok(Context { clock, until, seed, base, decoders: cores(), troubles })
}

/// A session that speaks on standard output and standard error.
pub(crate) fn session(manner: Manner, format: Format, job: &JobArgs) -> Result<Session, Failure> {
    let lanes = job.parallelism.map_or_else(cores, usize::from);
    let memory = job.memory.or_else(memory_default);
    let spill = job.spill.clone().unwrap_or_else(std::env::temp_dir);
    let bytes = memory.and_then(|bytes| usize::try_from(bytes).ok());
    let memory = bytes.map(|bytes| MemoryBudget { bytes, spill });
    let context = Context { decoders: lanes, ..context(job.until)? };
    let settings = Settings { manner, context, lanes, memory, state: None };
    let console =
        Console { changes: Changes::changelog(job.changelog), ..Console::standard(format) };
    let mut session = Session::new(settings, console);
    for (key, value) in &job.settings {
        session.set(key, value)?;
    }
    Ok(session)
}

/// 60 % of what the container, or else the machine, has: the rest is for what is on its way.
fn memory_default() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok();
    let of_container = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    let of_machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    let available: u64 = of_container.into_iter().chain(of_machine).min()?;
    Some(available / 10 * 6)
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
