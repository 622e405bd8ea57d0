//! What a row costs in the models, with their defaults.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use divan::Bencher;
use divan::counter::ItemsCount;
use millstream_engine::model::forest::ForestOptions;
use millstream_engine::model::hotspots::HotspotOptions;
use millstream_engine::model::{Model, ModelColumn, ModelKind};

const BATCHES: u32 = 10;
const ROWS: u32 = 8_192;

fn main() {
    divan::main();
}

/// Numbers that look random, some of them far from the others.
fn columns(count: usize, batch: u32) -> Vec<ArrayRef> {
    let value = |row: u32, column: u32| {
        let mixed = (row ^ (column << 20)).wrapping_mul(2_654_435_761) >> 8;
        f64::from(mixed % 1_000) + if mixed.is_multiple_of(997) { 10_000.0 } else { 0.0 }
    };
    (0_u32..)
        .take(count)
        .map(|column| {
            let rows = batch * ROWS..(batch + 1) * ROWS;
            let values = rows.map(|row| value(row, column));
            Arc::new(Float64Array::from_iter_values(values)) as ArrayRef
        })
        .collect()
}

fn rows_through(bencher: Bencher<'_, '_>, kind: ModelKind, given: &[ModelColumn], width: usize) {
    let batches: Vec<_> = (0..BATCHES).map(|batch| columns(width, batch)).collect();
    let names: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
    bencher.counter(ItemsCount::new(BATCHES * ROWS)).bench(|| {
        let mut model = Model::new(kind, names.clone(), given.to_vec());
        let count = ROWS as usize;
        for batch in &batches {
            divan::black_box(model.run(batch, count).expect("numbers are given"));
        }
    });
}

/// `RANDOM_CUT_FOREST` with its defaults.
#[divan::bench(args = [1, 2, 8], sample_count = 5)]
fn forest(bencher: Bencher<'_, '_>, width: usize) {
    rows_through(
        bencher,
        ModelKind::Forest(ForestOptions::default()),
        &[ModelColumn::Score],
        width,
    );
}

/// `RANDOM_CUT_FOREST_WITH_EXPLANATION` with its defaults.
#[divan::bench(args = [2], sample_count = 5)]
fn explained_forest(bencher: Bencher<'_, '_>, width: usize) {
    let explained = ModelColumn::Explanation { directions: true };
    rows_through(
        bencher,
        ModelKind::Forest(ForestOptions::default()),
        &[ModelColumn::Score, explained],
        width,
    );
}

/// `HOTSPOTS` over the last 1000 rows.
#[divan::bench(args = [2], sample_count = 3)]
fn hotspots(bencher: Bencher<'_, '_>, width: usize) {
    let options = HotspotOptions { window: 1_000, radius: 20.0, points: 17 };
    rows_through(bencher, ModelKind::Hotspots(options), &[ModelColumn::Hotspots], width);
}
