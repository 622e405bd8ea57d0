//! Rows as lines of text, both ways.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimestampMillisecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_engine::Delta;
use millstream_engine::definition::{ROWTIME, RelationDef, Rowtime, TIMESTAMP_TYPE};

/// The day of a time without a date.
const DAY: &str = "2018-11-01";

/// How a value that is NULL is written.
const NULL: &str = "NULL";

/// Reads `10:00:05[.25]` or `2018-11-02[T10:00:05]` as milliseconds since the Unix epoch.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    let full = full_time(text);
    let array: ArrayRef = Arc::new(StringArray::from(vec![full.as_str()]));
    let times = strict_cast(&array, &TIMESTAMP_TYPE)?;
    Ok(times.as_primitive::<TimestampMillisecondType>().value(0))
}

fn full_time(text: &str) -> String {
    let dated = text.contains('-');
    if dated { text.to_owned() } else { format!("{DAY}T{text}") }
}

fn show_time(text: &str) -> String {
    let today = text.strip_prefix(DAY).and_then(|rest| rest.strip_prefix('T'));
    today.unwrap_or(text).to_owned()
}

fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| error.to_string())
}

/// One column's values, `None` for NULL, as an array of `field`'s type.
fn column(field: &Field, values: Vec<Option<String>>) -> Result<ArrayRef, String> {
    let is_time = matches!(field.data_type(), DataType::Timestamp(..));
    let texts = values.into_iter().map(|v| v.map(|v| if is_time { full_time(&v) } else { v }));
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    strict_cast(&texts, field.data_type()).map_err(|error| format!("{}: {error}", field.name()))
}

/// The rows of a stream: its whole [`RelationDef::stream_schema`], system columns other than
/// `ROWTIME` NULL.
pub(super) fn stream_rows(def: &RelationDef, lines: &[&str]) -> Result<RecordBatch, String> {
    let mut times: Vec<Option<i64>> = Vec::new();
    let mut values: Vec<&str> = Vec::new();
    for line in lines {
        let timed = line.strip_prefix('@').map(|rest| rest.split_once(' ').unwrap_or((rest, "")));
        times.push(timed.map(|(time, _)| parse_time(time)).transpose()?);
        values.push(timed.map_or(line, |(_, values)| values));
    }
    let declared = declared_columns(def, &values)?;
    let rowtime = rowtime(def, times, &declared)?;
    let schema = def.stream_schema();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        declared.get(index).cloned().unwrap_or_else(|| {
            if field.name() == ROWTIME {
                Arc::clone(&rowtime)
            } else {
                arrow::array::new_null_array(field.data_type(), lines.len())
            }
        })
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).map_err(|e| e.to_string())
}

/// `ROWTIME` is the column the stream declares, or what the line says.
fn rowtime(
    def: &RelationDef,
    times: Vec<Option<i64>>,
    declared: &[ArrayRef],
) -> Result<ArrayRef, String> {
    if let Rowtime::Column { column, .. } = def.rowtime {
        if times.iter().any(Option::is_some) {
            return Err(format!("the time of {} is its column: leave out the @", def.name));
        }
        return Ok(Arc::clone(&declared[column]));
    }
    let times: Option<Vec<i64>> = times.into_iter().collect();
    let times = times.ok_or_else(|| format!("rows of {} begin with @ROWTIME", def.name))?;
    Ok(Arc::new(TimestampMillisecondArray::from(times)))
}

/// The rows of a table: its declared columns.
pub(super) fn table_rows(def: &RelationDef, lines: &[&str]) -> Result<RecordBatch, String> {
    let columns = declared_columns(def, lines)?;
    RecordBatch::try_new(def.declared_schema(), columns).map_err(|error| error.to_string())
}

fn declared_columns(def: &RelationDef, lines: &[&str]) -> Result<Vec<ArrayRef>, String> {
    let schema = def.declared_schema();
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); schema.fields().len()];
    for line in lines {
        let values = split(line);
        if values.len() != columns.len() {
            return Err(format!("`{line}` has {} values, {} columns", values.len(), columns.len()));
        }
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    schema.fields().iter().zip(columns).map(|(field, values)| column(field, values)).collect()
}

/// The values of a line: separated by commas, in double quotes if they hold one. Two double quotes in
/// such a value are one of its own.
fn split(line: &str) -> Vec<Option<String>> {
    let mut values = vec![(String::new(), false)];
    let mut inside = false;
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        let (value, quoted) = values.last_mut().expect("there is always one");
        match character {
            '"' if inside && rest.next_if_eq(&'"').is_some() => value.push('"'),
            '"' => {
                inside = !inside;
                *quoted = true;
            }
            ',' if !inside => values.push((String::new(), false)),
            other => value.push(other),
        }
    }
    let bare = |(value, quoted): (String, bool)| {
        let value = if quoted { value } else { value.trim().to_owned() };
        (quoted || value != NULL).then_some(value)
    };
    values.into_iter().map(bare).collect()
}

/// Changes as lines of text, in the order of their time and text; a row of weight n stands n times.
pub(super) fn show(deltas: &[Delta]) -> Result<Vec<String>, String> {
    let mut lines: Vec<(i64, String)> = Vec::new();
    for delta in deltas {
        for row in 0..delta.num_rows() {
            let weight = delta.weights.as_ref().map_or(1, |weights| weights.value(row));
            let (time, text) = show_row(&delta.batch, row)?;
            let sign = if weight < 0 { "- " } else { "" };
            for _ in 0..weight.unsigned_abs() {
                lines.push((time, format!("{sign}{text}")));
            }
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// The values of a batch query's rows, one text per column, in their order.
pub(super) fn values(deltas: &[Delta]) -> Result<Vec<Vec<String>>, String> {
    let options = FormatOptions::new().with_null(NULL);
    let mut rows = Vec::new();
    for batch in deltas.iter().map(|delta| &delta.batch) {
        let formatters = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options));
        let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
        rows.extend((0..batch.num_rows()).map(|row| {
            let texts = formatters.iter().map(|column| column.value(row).to_string());
            texts.map(|text| show_time(&text)).collect()
        }));
    }
    Ok(rows)
}

/// The latest `ROWTIME` of a stream's rows, in milliseconds since the Unix epoch.
pub(super) fn latest(batch: &RecordBatch) -> i64 {
    let times =
        batch.column_by_name(ROWTIME).map(AsArray::as_primitive::<TimestampMillisecondType>);
    times.and_then(arrow::compute::max).unwrap_or(0)
}

fn show_row(batch: &RecordBatch, row: usize) -> Result<(i64, String), String> {
    let options = FormatOptions::new().with_null(NULL);
    let mut time = (0, String::new());
    let mut values = Vec::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let shown = ArrayFormatter::try_new(array, &options).map_err(|e| e.to_string())?;
        let mut value = shown.value(row).to_string();
        if matches!(field.data_type(), DataType::Timestamp(..)) {
            value = show_time(&value);
        }
        if field.name() == ROWTIME && field.data_type() == &TIMESTAMP_TYPE && array.is_valid(row) {
            let times = array.as_primitive::<TimestampMillisecondType>();
            time = (times.value(row), format!("@{value}"));
        } else {
            let quote = value.contains(',') || (value == NULL && array.is_valid(row));
            values.push(if quote { format!("\"{}\"", value.replace('"', "\"\"")) } else { value });
        }
    }
    Ok((time.0, format!("{} {}", time.1, values.join(",")).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_engine::definition::ColumnDef;

    fn def(rowtime: Rowtime) -> RelationDef {
        let columns = vec![
            ColumnDef::new("A", DataType::Utf8),
            ColumnDef::new("N", DataType::Int32),
            ColumnDef::new("T", TIMESTAMP_TYPE),
        ];
        RelationDef { name: "S".into(), columns, options: vec![], rowtime }
    }

    #[test]
    fn rows_are_shown_as_they_were_written() {
        let lines = ["@10:00:05 \"x,y\",7,09:59:59.250", "@2018-11-02T00:00:00 NULL,NULL,NULL"];
        let batch = stream_rows(&def(Rowtime::Arrival), &lines).unwrap();
        let shown = batch.project(&[0, 1, 2, 3]).unwrap();
        assert_eq!(show(&[Delta::append(shown)]).unwrap(), lines);
    }

    #[test]
    fn a_declared_time_column_is_the_rowtime() {
        let def = def(Rowtime::Column { column: 2, delay_ms: 0 });
        let batch = stream_rows(&def, &["a,1,10:00:00"]).unwrap();
        assert_eq!(batch.column(3), batch.column(2));
        assert!(stream_rows(&def, &["@10:00:00 a,1,10:00:00"]).is_err());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert!(table_rows(&def(Rowtime::Arrival), &["a,x,NULL"]).unwrap_err().starts_with("N: "));
        assert!(table_rows(&def(Rowtime::Arrival), &["a,1"]).is_err());
        assert!(stream_rows(&def(Rowtime::Arrival), &["a,1,NULL"]).is_err(), "no ROWTIME");
    }
}
