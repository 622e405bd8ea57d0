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
}

/// Splits `batch` by the folders that the columns `by` (place and output name) name, in order of first
/// appearance, and leaves those columns out.
///
/// # Errors
///
/// When a column's type has no text.
pub(super) fn split(batch: &RecordBatch, by: &[(usize, String)]) -> Result<Vec<Share>> {
    if by.is_empty() {
        return Ok(vec![Share { folders: Some(Vec::new()), rows: batch.clone() }]);
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
        let rows =
            if whole { rest.clone() } else { take_record_batch(&rest, &UInt32Array::from(rows))? };
        Ok(Share { folders: folders.collect(), rows })
    });
    taken.collect()
}
