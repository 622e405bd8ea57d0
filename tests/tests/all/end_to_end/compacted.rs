//! Another process puts published files together, while the one that writes them is killed and goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::crash::visible;
use super::crash_steps::Endless;

/// Kills of a run.
const KILLS: usize = 12;

/// Files that are worth to be put together.
const FILES_MIN: usize = 3;

/// Puts the files of a sink together that are settled. The newest marker names the files that a restart
/// may publish again; all others that were begun before it are final.
struct Compactor {
    markers: PathBuf,
    folder: PathBuf,
    made: usize,
    removed: usize,
}

impl Compactor {
    /// The number of the last file begun, and the names of those that may come again.
    fn marker(&self) -> Option<(u64, BTreeSet<String>)> {
        let markers = fs::read_dir(&self.markers).ok()?.flatten().map(|entry| entry.path());
        let is_whole = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
        let newest = markers.filter(is_whole).max()?;
        // It may have been removed meanwhile: there is a newer one.
        let marker: Value = serde_json::from_str(&fs::read_to_string(newest).ok()?).ok()?;
        let sinks = marker["files"].as_array()?;
        let sink = sinks.iter().find(|sink| sink["name"] == "PASSED")?;
        let files = sink["files"].as_array()?.iter();
        let names = files.filter_map(|file| Some(file["name"].as_str()?.to_owned()));
        Some((sink["begun"].as_u64()?, names.collect()))
    }

    fn compact(&mut self) {
        // The files first: what is published after the marker is none of its business.
        let files = visible(&self.folder);
        let Some((begun, open)) = self.marker() else { return };
        let is_settled = |file: &PathBuf| {
            let name = file.file_name().unwrap().to_str().unwrap();
            let number = name.trim_end_matches(".csv").rsplit('-').next().unwrap();
            name.starts_with("passed-")
                && !open.contains(name)
                && number.parse::<u64>().unwrap() <= begun
        };
        let settled: Vec<PathBuf> = files.into_iter().filter(is_settled).collect();
        if settled.len() < FILES_MIN {
            return;
        }
        let texts = settled.iter().map(|file| fs::read_to_string(file).unwrap());
        let rows = texts.flat_map(|t| t.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
        let text = format!("n\n{}\n", rows.collect::<Vec<_>>().join("\n"));
        self.made += 1;
        let hidden = self.folder.join(".compacting");
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.folder.join(format!("together-{:05}.csv", self.made))).unwrap();
        for file in settled {
            fs::remove_file(file).unwrap();
            self.removed += 1;
        }
    }
}

#[test]
fn o5_files_put_together_by_another_process_do_not_come_back() {
    let mut endless = Endless::unwatched();
    let (markers, folder) = (endless.state("committed"), endless.out().join("passed"));
    fs::create_dir_all(&folder).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let compacting = std::thread::spawn(move || {
        let mut compactor = Compactor { markers, folder, made: 0, removed: 0 };
        while !stopped.load(Ordering::Relaxed) {
            compactor.compact();
            std::thread::sleep(Duration::from_millis(50));
        }
        compactor.removed
    });
    let mut dice = StdRng::seed_from_u64(5);
    for _ in 0..KILLS {
        let before = endless.commits();
        let mut process = endless.run();
        process.wait_until("it has claimed the application", || endless.commits() > before);
        std::thread::sleep(Duration::from_millis(dice.random_range(0..900)));
        process.signal("KILL");
        process.wait();
    }
    stop.store(true, Ordering::Relaxed);
    let removed = compacting.join().expect("the compactor found nothing wrong");
    assert!(removed > KILLS, "{removed} files were put together");
    let count = endless.end();
    let last = endless.run();
    endless.finish(last, count);
    println!(
        "evidence P1 compaction beside it: {KILLS} kills, {removed} files put together, 0 rows lost, 0 \
         twice"
    );
}
