//! What the benchmark reads: the queries it ships with, and files of generated events.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use millstream_connectors::generator::{Feed, FeedKind, FeedOptions};
use millstream_sql::{Catalog, parse};

use crate::bench::pipeline::Scratch;
use crate::cli::NexmarkArgs;
use crate::failure::Failure;

/// The first event's time: 2026-11-01 00:00:00 UTC.
const START_MS: i64 = 1_793_491_200_000;

const DECLARATIONS: &str = include_str!("../../../../queries/nexmark/streams.sql");
const SIDE_INPUT: &str = include_str!("../../../../queries/nexmark/side_input.csv");

/// The streams, by file and relation.
pub(super) const STREAMS: [(&str, &str); 3] =
    [("person", "PERSON"), ("auction", "AUCTION"), ("bid", "BID")];

/// A query of the benchmark.
#[derive(Debug)]
pub(super) struct BenchQuery {
    pub(super) name: &'static str,
    /// As we run it.
    pub(super) text: &'static str,
    /// As DataFusion runs it, where that differs by more than the word STREAM.
    pub(super) batch: Option<&'static str>,
}

macro_rules! query {
    ($name:literal) => {
        BenchQuery {
            name: $name,
            text: include_str!(concat!("../../../../queries/nexmark/", $name, ".sql")),
            batch: None,
        }
    };
    ($name:literal, batch) => {
        BenchQuery {
            name: $name,
            text: include_str!(concat!("../../../../queries/nexmark/", $name, ".sql")),
            batch: Some(include_str!(concat!("../../../../queries/nexmark/batch/", $name, ".sql"))),
        }
    };
}

/// All of them.
pub(super) const QUERIES: &[BenchQuery] = &[
    query!("q0"),
    query!("q1"),
    query!("q2", batch),
    query!("q3"),
    query!("q4", batch),
    query!("q5", batch),
    query!("q6"),
    query!("q7", batch),
    query!("q8", batch),
    query!("q9"),
    query!("q10"),
    query!("q11", batch),
    query!("q12", batch),
    query!("q13", batch),
    query!("q14"),
    query!("q15"),
    query!("q16"),
    query!("q17", batch),
    query!("q18"),
    query!("q19"),
    query!("q20"),
    query!("q21"),
    query!("q22"),
];

/// Files of events and what declares them.
pub(super) struct Input {
    pub(super) catalog: Catalog,
    /// Where the files are.
    pub(super) folder: PathBuf,
    /// Events of each relation.
    pub(super) events: BTreeMap<&'static str, u64>,
    pub(super) bytes: u64,
    /// Goes with the input.
    _scratch: Scratch,
}

impl Input {
    /// The files of `args`, generated unless they are there.
    ///
    /// # Errors
    ///
    /// When they cannot be read or written.
    pub(super) fn open(args: &NexmarkArgs) -> Result<Self, Failure> {
        let scratch = Scratch::new(args.seed)?;
        let folder = match &args.dir {
            Some(folder) => folder.clone(),
            None => {
                let folder = scratch.0.join("nexmark");
                generate(&folder, args)?;
                folder
            }
        };
        let folder = folder.canonicalize().map_err(|error| unreadable(&folder, &error))?;
        let (mut events, mut bytes) = (BTreeMap::new(), 0);
        for (file, relation) in STREAMS {
            let path = folder.join(file).with_extension("json");
            let (lines, length) = count(&path).map_err(|error| unreadable(&path, &error))?;
            events.insert(relation, lines);
            bytes += length;
        }
        let side_input = scratch.0.join("side_input.csv");
        std::fs::write(&side_input, SIDE_INPUT).map_err(|error| unreadable(&side_input, &error))?;
        let declarations = DECLARATIONS
            .replace("'nexmark/", &format!("'{}/", folder.display()))
            .replace("queries/nexmark/side_input.csv", &side_input.display().to_string());
        let mut catalog = Catalog::default();
        for statement in parse(&declarations).map_err(|e| Failure::new(e.to_string()))? {
            catalog.apply(&statement).map_err(|e| Failure::new(e.to_string()))?;
        }
        Ok(Self { catalog, folder, events, bytes, _scratch: scratch })
    }
}

/// Writes the events, a file per stream.
fn generate(folder: &Path, args: &NexmarkArgs) -> Result<(), Failure> {
    let failed = |error: std::io::Error| unreadable(folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut files = BTreeMap::new();
    for (file, _) in STREAMS {
        let path = folder.join(file).with_extension("json");
        files.insert(file, BufWriter::new(File::create(path).map_err(failed)?));
    }
    let options = FeedOptions {
        seed: args.seed,
        start_ms: START_MS,
        rate_per_s: args.event_rate,
        count: Some(args.events),
        ..FeedOptions::default()
    };
    for event in Feed::new(FeedKind::Nexmark, options) {
        if let Some(file) = files.get_mut(event.stream) {
            writeln!(file, "{}", event.json_line()).map_err(failed)?;
        }
    }
    files.into_values().try_for_each(|mut file| file.flush()).map_err(failed)
}

fn count(path: &Path) -> std::io::Result<(u64, u64)> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let (mut lines, mut bytes) = (0, 0);
    loop {
        let part = reader.fill_buf()?;
        let length = part.len();
        if length == 0 {
            return Ok((lines, bytes));
        }
        lines += part.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        bytes += length as u64;
        reader.consume(length);
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::with_hint(
        format!("{}: {error}", path.display()),
        "make a folder with millstream generate nexmark --rate 0 --count N --to files --dir DIR",
    )
}
