//! Finding the rows an expression fails on.
//!
//! Expressions run on whole batches, where one division by zero fails them all. A failing batch is cut
//! in halves until the failing rows stand alone; all others get their results. The cost is a few
//! evaluations per failing row and nothing where none fails.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;

use super::EpochContext;
use crate::delta::Delta;
use crate::error::{Result, words_of};
use crate::fault::{BadRow, NullInNotNull, Reason, rowtime_of};

/// A part of a delta together with what an expression made of it.
pub(super) type Evaluated<T> = (Delta, T);

/// Evaluates `expression` on `delta`; rows it fails on go to `bad`.
///
/// # Errors
///
/// When it fails for a reason that is not in the data.
pub(super) fn isolate<T>(
    cx: &EpochContext,
    delta: Delta,
    expression: &impl Fn(&RecordBatch) -> Result<T, DataFusionError>,
    bad: &mut Vec<BadRow>,
) -> Result<Vec<Evaluated<T>>> {
    let mut good = Vec::with_capacity(1);
    let mut open = vec![delta];
    while let Some(delta) = open.pop() {
        match expression(&delta.batch) {
            Ok(value) => good.push((delta, value)),
            Err(error) if !is_about_data(&error) => return Err(error.into()),
            Err(error) if delta.num_rows() <= 1 => bad.push(bad_row(cx, &delta.batch, &error)),
            Err(_) => {
                let half = delta.num_rows() / 2;
                // Last in, first out: the first half is next, so rows keep their order.
                open.push(slice(&delta, half, delta.num_rows() - half));
                open.push(slice(&delta, 0, half));
            }
        }
    }
    Ok(good)
}

fn slice(delta: &Delta, offset: usize, length: usize) -> Delta {
    Delta {
        batch: delta.batch.slice(offset, length),
        weights: delta.weights.as_ref().map(|weights| weights.slice(offset, length)),
    }
}

fn is_about_data(error: &DataFusionError) -> bool {
    is_of_null(error)
        || matches!(
            error.find_root(),
            DataFusionError::ArrowError(..) | DataFusionError::Execution(_)
        )
}

/// Whether it is a NULL that a column does not take.
fn is_of_null(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::External(error) if error.is::<NullInNotNull>())
}

fn bad_row(cx: &EpochContext, row: &RecordBatch, error: &DataFusionError) -> BadRow {
    BadRow {
        reason: if is_of_null(error) { Reason::NotNull } else { Reason::Expression },
        message: words_of(error),
        stream: std::sync::Arc::clone(&cx.owner),
        partition: "".into(),
        position: String::new(),
        rowtime_ms: rowtime_of(row, 0),
        raw: row_text(row, 0).into_bytes(),
    }
}

/// Row `index` of `batch` as `name=value` pairs.
pub(crate) fn row_text(batch: &RecordBatch, index: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let schema = batch.schema();
    let pairs = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        let value = ArrayFormatter::try_new(column.as_ref(), &options)
            .map(|formatter| formatter.value(index).to_string());
        format!("{}={}", field.name(), value.unwrap_or_else(|_| "?".to_owned()))
    });
    pairs.collect::<Vec<_>>().join(", ")
}
