//! Spreads the rows of an edge over the lanes, as the operator that reads them wants.
//!
//! Rows keep the order of their lane, and lanes are read in order, so a replay of the same epochs
//! gives the same rows in the same order.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};

use super::PARALLEL_ROWS_MIN;
use crate::dataflow::Distribution;
use crate::delta::{Delta, total_rows};
use crate::error::{Error, Result};
use crate::key_group::{hash_keys, lane_of};

/// The changes of an edge, by lane.
pub(super) type Lanes = Vec<Vec<Delta>>;

/// `deltas` of `rows` rows in all, an equal share of them for each of so many lanes; one after another
/// the lanes have them in their order.
pub(super) fn share_out(deltas: impl Iterator<Item = Delta>, rows: usize, lanes: usize) -> Lanes {
    let mut shares = vec![Vec::new(); lanes];
    let mut before = 0;
    for delta in deltas {
        let lane = before * lanes / rows.max(1);
        before += delta.num_rows();
        shares[lane.min(lanes - 1)].push(delta);
    }
    shares
}

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
            let rows = lanes.iter().map(|deltas| total_rows(deltas)).sum();
            let deltas = lanes.iter().flatten().cloned();
            let shares = if rows < PARALLEL_ROWS_MIN { 1 } else { lanes.len() };
            spread_shares(&share_out(deltas, rows, shares), columns, lanes.len())
        }
    }
}

/// Spreads each of `shares` on a thread of its own and puts what they give one behind the other.
fn spread_shares(shares: &[Vec<Delta>], columns: &[usize], lanes: usize) -> Result<Lanes> {
    let spread = |share: &[Delta]| -> Result<Lanes> {
        let mut spread = vec![Vec::new(); lanes];
        share.iter().try_for_each(|delta| spread_by_hash(delta, columns, &mut spread))?;
        Ok(spread)
    };
    let Some((first, others)) = shares.split_first() else { return Ok(vec![Vec::new(); lanes]) };
    std::thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|share| scope.spawn(|| spread(share))).collect();
        let mut all = spread(first)?;
        for other in others {
            let other = other.join().unwrap_or_else(|_| Err(Error::bug("an exchange panicked")))?;
            all.iter_mut().zip(other).for_each(|(lane, deltas)| lane.extend(deltas));
        }
        Ok(all)
    })
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
