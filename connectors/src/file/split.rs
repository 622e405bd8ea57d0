//! Which rows go to which folder.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_engine::{Error, Result};

use super::hive;

/// The rows of a batch that belong to one folder; `None` for those no folder can be named for.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) folders: Option<Vec<String>>,
    pub(super) rows: RecordBatch,
    /// Which rows of the batch they are; `None` if they are all of it.
    origins: Option<UInt32Array>,
}

impl Share {
    /// Which row of the batch the share's row `row` is.
    pub(super) fn origin(&self, row: usize) -> usize {
        let Some(origins) = &self.origins else { return row };
        origins.values().get(row).map_or(row, |origin| *origin as usize)
    }
}

/// Splits `batch` by the folders that the columns `by` (place and output name) name, in order of first
/// appearance, and leaves those columns out.
///
/// # Errors
///
/// When a column's type has no text.
pub(super) fn split(batch: &RecordBatch, by: &[(usize, String)]) -> Result<Vec<Share>> {
    if by.is_empty() {
        let folders = Some(Vec::new());
        return Ok(vec![Share { folders, rows: batch.clone(), origins: None }]);
    }
    let others: Vec<usize> =
        (0..batch.num_columns()).filter(|index| by.iter().all(|(i, _)| i != index)).collect();
    let rest = batch.project(&others)?;
    let format = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_display_error(false);
    let columns = by
        .iter()
        .map(|(index, _)| ArrayFormatter::try_new(batch.column(*index), &format))
        .collect::<Result<Vec<_>, _>>()?;
    let mut shares: Vec<(Vec<Option<String>>, Vec<u32>)> = Vec::new();
    let mut by_key: HashMap<Vec<Option<String>>, usize> = HashMap::new();
    for row in 0..batch.num_rows() {
        let values = by.iter().zip(&columns).map(|((index, _), column)| {
            batch.column(*index).is_valid(row).then(|| column.value(row).to_string())
        });
        let key: Vec<Option<String>> = values.collect();
        let share = match by_key.get(&key) {
            Some(share) => *share,
            None => {
                by_key.insert(key.clone(), shares.len());
                shares.push((key, Vec::new()));
                shares.len() - 1
            }
        };
        let row = u32::try_from(row).map_err(|_| Error::bug("a batch of more than 2^32 rows"))?;
        shares[share].1.push(row);
    }
    let whole = shares.len() == 1;
    let taken = shares.into_iter().map(|(key, rows)| {
        let folders = by.iter().zip(&key).map(|((_, name), v)| hive::folder(name, v.as_deref()));
        let origins = (!whole).then(|| UInt32Array::from(rows));
        let rows = match &origins {
            None => rest.clone(),
            Some(origins) => take_record_batch(&rest, origins)?,
        };
        Ok(Share { folders: folders.collect(), rows, origins })
    });
    taken.collect()
}
