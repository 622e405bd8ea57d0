//! `millstream state`: looking at the state that applications keep, and removing it.

use std::io::Write;

use arrow::array::TimestampMillisecondArray;
use millstream_connectors::state::ObjectState;
use millstream_engine::checkpoint::format::StateFile;
use millstream_engine::checkpoint::manifest::Manifest;
use millstream_engine::checkpoint::protocol::{BASES, COMMITS, MARKERS, PROBES, newest};
use millstream_engine::checkpoint::recovery::needed;
use millstream_engine::checkpoint::store::StateStore;

use super::{context, runtime};
use crate::cli::{End, StateArgs, StateCommand};
use crate::failure::Failure;
use crate::output::cell_text;

/// `millstream state …`.
///
/// # Errors
///
/// When there is no state, or it is damaged.
pub fn state(args: &StateArgs) -> Result<(), Failure> {
    let (StateCommand::Ls { place }
    | StateCommand::Inspect { place }
    | StateCommand::Verify { place }
    | StateCommand::Rm { place }) = &args.what;
    runtime()?.block_on(async {
        let base = context(End::default())?.base;
        let store = ObjectState::open(place, &base, false).await?;
        let text = match &args.what {
            StateCommand::Ls { .. } => list(&store).await?,
            StateCommand::Inspect { .. } => inspect(&store).await?,
            StateCommand::Verify { .. } => verify(&store).await?,
            StateCommand::Rm { .. } => remove(&store).await?,
        };
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    })
}

/// Every file with what it holds, oldest first.
async fn list(store: &dyn StateStore) -> Result<String, Failure> {
    let mut text = String::new();
    for folder in [BASES, COMMITS] {
        for stored in store.list(folder).await? {
            // It may have been removed since.
            let Some(bytes) = store.read(&stored.name).await? else { continue };
            let manifest = StateFile::decode(&stored.name, &bytes)?.manifest;
            let rows: u64 = manifest.parts.iter().map(|part| part.rows).sum();
            text.push_str(&format!(
                "{}  {}  generation {}  epoch {}  {rows} rows  {} bytes\n",
                stored.name,
                time(manifest.written_ms),
                manifest.generation,
                manifest.epoch,
                stored.bytes,
            ));
        }
    }
    if text.is_empty() {
        return Err(nothing(store));
    }
    Ok(text)
}

/// What the newest commit says: where the sources stand, what the operators and sinks hold.
async fn inspect(store: &dyn StateStore) -> Result<String, Failure> {
    let head = head(store).await?;
    let mut text = format!(
        "commit {} of generation {}, written {} by version {}\nepoch {}, {} lanes{}\n",
        head.number,
        head.generation,
        time(head.written_ms),
        head.writer,
        head.epoch,
        head.lanes,
        if head.finished { ", finished" } else { "" },
    );
    if let Some(watermark) = head.watermark_ms {
        text.push_str(&format!("watermark {}\n", time(watermark)));
    }
    for source in &head.sources {
        text.push_str(&format!("source {}\n", source.stream));
        for partition in &source.partitions {
            let position = partition.position.as_deref().unwrap_or("its beginning");
            let status = format!("{:?}", partition.status).to_lowercase();
            text.push_str(&format!("  {} {status}, after {position}\n", partition.name));
        }
    }
    let rows = rows_by_node(store, &head).await?;
    for (index, node) in head.nodes.iter().enumerate().filter(|(_, node)| node.stateful) {
        let rows = rows.get(index).copied().unwrap_or(0);
        text.push_str(&format!("operator {} of {}: {rows} rows\n", node.name, node.owner));
    }
    for sink in &head.sinks {
        text.push_str(&format!("sink {}: {} files begun\n", sink.name, sink.begun));
        for file in &sink.files {
            let status = if file.closed { "to be published" } else { "open" };
            let folders = file.folders.iter().map(|folder| format!("{folder}/"));
            let folders: String = folders.collect();
            text.push_str(&format!("  {folders}{} {status}, {} rows\n", file.name, file.rows));
        }
    }
    Ok(text)
}

/// How many rows the needed files have for each node of `head`: what is replaced counts too.
async fn rows_by_node(store: &dyn StateStore, head: &Manifest) -> Result<Vec<u64>, Failure> {
    let mut rows = vec![0; head.nodes.len()];
    for name in needed(head) {
        let manifest = read(store, &name).await?.manifest;
        for part in &manifest.parts {
            let node = &manifest.nodes[part.node];
            let same = |other: &millstream_engine::checkpoint::manifest::NodeRecord| {
                (&other.fingerprint, other.since) == (&node.fingerprint, node.since)
            };
            if let Some(place) = head.nodes.iter().position(same) {
                rows[place] += part.rows;
            }
        }
    }
    Ok(rows)
}

/// Reads all that a restart would.
async fn verify(store: &dyn StateStore) -> Result<String, Failure> {
    let head = head(store).await?;
    let (mut files, mut rows) = (0_u64, 0);
    for name in needed(&head) {
        let file = read(store, &name).await?;
        for part in &file.manifest.parts {
            let batches = file.rows(part)?;
            rows += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        }
        files += 1;
    }
    Ok(format!("good: commit {}, {files} files, {rows} rows\n", head.number))
}

async fn remove(store: &dyn StateStore) -> Result<String, Failure> {
    let mut removed = 0_u64;
    for folder in [MARKERS, BASES, PROBES, COMMITS] {
        // The newest commit goes last: until then the state says what it lacks.
        for stored in store.list(folder).await? {
            store.remove(&stored.name).await?;
            removed += 1;
        }
    }
    Ok(format!("removed {removed} files of {}\n", store.place()))
}

async fn head(store: &dyn StateStore) -> Result<Manifest, Failure> {
    newest(store).await?.map(|file| file.manifest).ok_or_else(|| nothing(store))
}

async fn read(store: &dyn StateStore, name: &str) -> Result<StateFile, Failure> {
    match store.read(name).await? {
        Some(bytes) => Ok(StateFile::decode(name, &bytes)?),
        None => Err(Failure::new(format_args!("{} lacks {name}", store.place()))),
    }
}

fn nothing(store: &dyn StateStore) -> Failure {
    Failure::new(format_args!("there is no state in '{}'", store.place()))
}

fn time(ms: i64) -> String {
    cell_text(&TimestampMillisecondArray::from(vec![ms]), 0).unwrap_or_else(|_| ms.to_string())
}
