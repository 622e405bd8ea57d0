//! One function per thing the command line can do.

#[cfg(feature = "embedded-kinesis")]
mod demo;
mod discover;
mod generate;
mod import;
#[cfg(feature = "embedded-kinesis")]
mod kinesis;
mod replay;
mod setup;
mod state;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[cfg(feature = "embedded-kinesis")]
pub use demo::demo;
pub use discover::discover;
pub use generate::generate;
pub use import::import;
#[cfg(feature = "embedded-kinesis")]
pub use kinesis::kinesis;
use millstream_engine::checkpoint::recovery::Discard;
pub use replay::replay;
pub(crate) use setup::{context, runtime, session};
pub use state::state;

use crate::cli::{ExplainArgs, JobArgs, RunArgs, SqlArgs};
use crate::failure::Failure;
use crate::import::is_application;
use crate::interrupt::{Interrupts, Stop};
use crate::output::Format;
use crate::session::{Manner, StatePlace, StateSettings};

/// `millstream run FILE…`.
///
/// # Errors
///
/// What is wrong with the files, the connections or the data.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let texts: Vec<(String, String)> =
        args.files.iter().map(|file| script(file)).collect::<Result<_, _>>()?;
    let texts: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let outlook = (state_settings(args), args.metrics);
    run_texts(&texts, args.format, &args.job, outlook)
}

/// `millstream sql STATEMENTS`.
///
/// # Errors
///
/// What is wrong with the statements, the connections or the data.
pub fn sql(args: &SqlArgs) -> Result<(), Failure> {
    let text = if args.text == "-" { read(Path::new("-"))?.1 } else { args.text.clone() };
    run_texts(&[("input", &text)], args.format, &args.job, (None, None))
}

/// `millstream explain FILE`.
///
/// # Errors
///
/// What is wrong with the file.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let (name, text) = script(&args.file)?;
    let job = JobArgs { settings: args.settings.clone(), ..JobArgs::default() };
    let mut session = session(Manner::Script, Format::Table, &job)?;
    runtime()?.block_on(session.explain_script(&name, &text))
}

/// Where and how the application of these files keeps its state.
fn state_settings(args: &RunArgs) -> Option<StateSettings> {
    let durable = &args.durable;
    let beside = |file: &PathBuf| {
        let name = file.file_stem()?;
        (file != Path::new("-")).then(|| file.with_file_name(".millstream").join(name))
    };
    let place = match durable.state.as_deref() {
        Some("none") => return None,
        Some(place) => StatePlace::Given(place.to_owned()),
        None => StatePlace::IfEndless(args.files.first().and_then(beside)?),
    };
    let discard = Discard { owners: durable.discard_state.clone(), all: durable.fresh };
    Some(StateSettings { place, interval: durable.checkpoint_interval, discard })
}

fn run_texts(
    texts: &[(&str, &str)],
    format: Format,
    job: &JobArgs,
    (state, metrics): (Option<StateSettings>, Option<SocketAddr>),
) -> Result<(), Failure> {
    let mut session = session(Manner::Script, format, job)?;
    session.keep_state(state);
    session.serve_metrics(metrics);
    runtime()?.block_on(async {
        let interrupts = Interrupts::listen()?;
        let work = interrupts.during(async |stop| session.run_script(texts, &stop).await);
        Box::pin(work).await
    })
}

/// Runs the application `text` with `lanes` lanes and says nothing.
pub(crate) fn run_quietly(text: &str, lanes: usize) -> Result<(), Failure> {
    let lanes = u16::try_from(lanes).ok();
    let job = JobArgs { parallelism: lanes, ..JobArgs::default() };
    let mut session = session(Manner::Script, Format::Table, &job)?;
    let console = session.console_mut();
    (console.out, console.notes, console.status) =
        (Box::new(io::sink()), Box::new(io::sink()), false);
    let work = async { session.run_script(&[("application", text)], &Stop::default()).await };
    runtime()?.block_on(Box::pin(work))
}

/// The script that the file is, or that the application it describes becomes.
fn script(file: &Path) -> Result<(String, String), Failure> {
    let (name, text) = read(file)?;
    if !is_application(&text) {
        return Ok((name, text));
    }
    let imported = crate::import::import(&name, &text)?;
    import::say(&imported.decisions);
    Ok((name, imported.sql))
}

/// The name errors use for the file, and its text. `-` is standard input.
pub(crate) fn read(file: &Path) -> Result<(String, String), Failure> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        ("standard input".to_owned(), io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::with_hint(
            format_args!("there is no file {name}"),
            "a relative path starts from the current folder",
        )),
        Err(error) => Err(Failure::new(format_args!("cannot read {name}: {error}"))),
    }
}
