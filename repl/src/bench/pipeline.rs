//! The whole way: JSON on disk to a tumbling aggregate to Parquet on disk, as a user runs it, beside
//! arrow-json decoding the same file alone.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::events::{Events, arrow_json};
use super::measure::{self, Comparison};
use crate::cli::BenchArgs;
use crate::commands::run_quietly;
use crate::failure::Failure;

/// Measures the pipeline.
///
/// # Errors
///
/// When it fails.
pub(super) fn compare(events: &Events, args: &BenchArgs) -> Result<Comparison, Failure> {
    let folder = Scratch::new(args.seed)?;
    let input = folder.0.join("events.json");
    std::fs::write(&input, &events.json).map_err(|error| Failure::new(error.to_string()))?;
    let mut run = 0_u32;
    measure::compare(
        "JSON file to tumbling to Parquet (arrow-json decoding alone)",
        args.events,
        args.runs,
        || {
            run += 1;
            pipeline(&input, &folder.0.join(format!("out-{run}")), args.parallelism)
        },
        || decode_alone(&input),
    )
}

fn pipeline(input: &Path, output: &Path, lanes: usize) -> Result<(), Failure> {
    let script = format!(
        "CREATE STREAM events (
           event_time TIMESTAMP, company_id VARCHAR(16), userid VARCHAR(16), action VARCHAR(16),
           region VARCHAR(16), duration_ms INTEGER, bytes BIGINT, price DOUBLE,
           WATERMARK FOR event_time AS event_time - INTERVAL '5' SECOND
         ) WITH (connector = 'file', path = '{}', format = 'json');
         CREATE SINK per_minute WITH (connector = 'file', path = '{}', format = 'parquet') AS
         SELECT STREAM company_id, COUNT(*) AS jobs, SUM(bytes) AS bytes FROM events
         GROUP BY company_id, STEP(events.ROWTIME BY INTERVAL '1' MINUTE);",
        input.display(),
        output.display(),
    );
    run_quietly(&script, lanes)
}

fn decode_alone(input: &Path) -> Result<(), Failure> {
    let file = std::fs::File::open(input).map_err(|error| Failure::new(error.to_string()))?;
    arrow_json(BufReader::with_capacity(1 << 20, file))
}

/// A folder that goes with its owner.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(seed: u64) -> Result<Self, Failure> {
        let name = format!("millstream-bench-{}-{seed}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed from the temporary folder is the system's to clean.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}
