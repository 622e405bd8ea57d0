//! Spreads the rows of an edge over the lanes, as the operator that reads them wants.
//!
//! Rows keep the order of their lane, and lanes are read in order, so a replay of the same epochs
//! gives the same rows in the same order.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};

use crate::dataflow::Distribution;
use crate::delta::Delta;
use crate::error::Result;
use crate::key_group::{hash_keys, lane_of};

/// The changes of an edge, by lane.
pub(super) type Lanes = Vec<Vec<Delta>>;

/// `lanes` as `distribution` wants them.
pub(super) fn exchange(lanes: &Lanes, distribution: &Distribution) -> Result<Lanes> {
    if lanes.len() == 1 {
        return Ok(lanes.clone());
    }
    match distribution {
        Distribution::Any => Ok(lanes.clone()),
        Distribution::Single => {
            let mut single = vec![Vec::new(); lanes.len()];
            single[0] = lanes.concat();
            Ok(single)
        }
        Distribution::Broadcast => Ok(vec![lanes.concat(); lanes.len()]),
        Distribution::Hash(columns) => {
            let mut spread = vec![Vec::new(); lanes.len()];
            for delta in lanes.iter().flatten() {
                spread_by_hash(delta, columns, &mut spread)?;
            }
            Ok(spread)
        }
    }
}

fn spread_by_hash(delta: &Delta, columns: &[usize], spread: &mut Lanes) -> Result<()> {
    let keys: Vec<_> =
        columns.iter().map(|&column| Arc::clone(delta.batch.column(column))).collect();
    let hashes = hash_keys(&keys, delta.num_rows())?;
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); spread.len()];
    for (row, hash) in (0_u32..).zip(hashes) {
        rows[lane_of(hash, spread.len())].push(row);
    }
    for (lane, rows) in rows.into_iter().enumerate() {
        if rows.len() == delta.num_rows() {
            spread[lane].push(delta.clone());
        } else if !rows.is_empty() {
            spread[lane].push(take_rows(delta, rows)?);
        }
    }
    Ok(())
}

fn take_rows(delta: &Delta, rows: Vec<u32>) -> Result<Delta> {
    let rows = UInt32Array::from(rows);
    let batch: RecordBatch = take_record_batch(&delta.batch, &rows)?;
    let weights = delta.weights.as_ref().map(|weights| take(weights, &rows, None)).transpose()?;
    Ok(Delta { batch, weights: weights.map(|weights| weights.as_primitive().clone()) })
}
