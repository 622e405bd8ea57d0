//! Makes a row of each element of a list. Linear: it maps a delta to a delta and keeps nothing.
//!
//! Several lists of a row go side by side, the shorter ones filled up with NULLs. A row whose lists
//! are all empty gives no row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
    new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::{EpochContext, Input, Linear, Operator, Output};
use crate::dataflow::{Distribution, Explanation, OperatorSpec};
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::watermark::Watermarks;

/// Rows made at once, so that a long list does not need memory for all of its copies.
const ROWS: usize = 8192;

/// An unnesting as planned.
#[derive(Debug, Clone)]
pub struct UnnestSpec {
    /// The columns of the input with a list each.
    pub lists: Vec<usize>,
    /// The columns of the input with a struct each, whose fields become columns.
    pub structs: Vec<usize>,
    /// Whether a NULL in place of a list gives a row with NULL, as an outer unnesting does.
    pub keeps_null: bool,
    /// The columns it gives: those of the input in order, structs as their fields.
    pub schema: SchemaRef,
}

impl OperatorSpec for UnnestSpec {
    fn name(&self) -> &'static str {
        "Unnest"
    }

    fn explain(&self) -> Explanation {
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        let detail = names.collect::<Vec<_>>().join(", ");
        Explanation { detail, ..Explanation::default() }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution::Any
    }

    fn watermarks(&self, inputs: &[Watermarks]) -> Watermarks {
        // Where no struct widens the row the columns stay in their places.
        let columns = self.schema.fields().len();
        match inputs.first().filter(|_| self.structs.is_empty()) {
            Some(input) => Watermarks(
                (0..columns)
                    .map(|column| input.get(column).filter(|_| !self.lists.contains(&column)))
                    .collect(),
            ),
            None => Watermarks::none(columns),
        }
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Unnest { spec: self.clone() }))
    }
}

#[derive(Debug)]
struct Unnest {
    spec: UnnestSpec,
}

/// A list column: where the elements of each row are.
struct Lists {
    elements: ArrayRef,
    /// For each row the first of its elements and how many there are.
    spans: Vec<(usize, usize)>,
}

impl Lists {
    fn new(column: &ArrayRef, keeps_null: bool) -> Result<Self> {
        // Fixed-size and 32-bit lists have one form.
        let column = match column.data_type() {
            DataType::List(field) | DataType::FixedSizeList(field, _) => {
                let field = Field::clone(field);
                cast(column, &DataType::LargeList(Arc::new(field)))?
            }
            _ => Arc::clone(column),
        };
        let lists = column.as_list_opt::<i64>();
        let lists = lists.ok_or_else(|| Error::bug("only a list can be unnested"))?;
        let place = |offset: i64| usize::try_from(offset).unwrap_or(0);
        let spans = (0..lists.len()).map(|row| {
            let first = place(lists.value_offsets()[row]);
            match (lists.is_valid(row), keeps_null) {
                (true, _) => (first, place(lists.value_length(row))),
                (false, true) => (usize::MAX, 1),
                (false, false) => (first, 0),
            }
        });
        let spans = spans.collect();
        Ok(Self { elements: Arc::clone(lists.values()), spans })
    }

    fn length(&self, row: usize) -> usize {
        self.spans[row].1
    }

    /// The element of `row` at `at`; none beyond its end.
    fn element(&self, row: usize, at: usize) -> Option<u32> {
        let (first, length) = self.spans[row];
        (at < length && first != usize::MAX).then(|| u32::try_from(first + at).ok()).flatten()
    }
}

impl Unnest {
    fn unnest(&self, delta: &Delta, output: &mut Output) -> Result<()> {
        let lists = self
            .spec
            .lists
            .iter()
            .map(|list| Lists::new(delta.batch.column(*list), self.spec.keeps_null));
        let lists = lists.collect::<Result<Vec<_>>>()?;
        // The rows to come: which row of the input each is of, and the place in its lists.
        let mut places: Vec<(u32, usize)> = Vec::new();
        for (row, number) in (0..delta.num_rows()).zip(0_u32..) {
            let longest = lists.iter().map(|list| list.length(row)).max();
            for at in 0..longest.unwrap_or(1) {
                places.push((number, at));
                if places.len() == ROWS {
                    self.emit(delta, &lists, &places, output)?;
                    places.clear();
                }
            }
        }
        self.emit(delta, &lists, &places, output)
    }

    fn emit(
        &self,
        delta: &Delta,
        lists: &[Lists],
        places: &[(u32, usize)],
        output: &mut Output,
    ) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let rows: UInt32Array = places.iter().map(|(row, _)| *row).collect();
        let mut columns = Vec::with_capacity(self.spec.schema.fields().len());
        for (number, column) in delta.batch.columns().iter().enumerate() {
            let list = self.spec.lists.iter().position(|list| *list == number);
            let column = match list.map(|list| &lists[list]) {
                None => take(column, &rows, None)?,
                Some(list) if list.elements.is_empty() => {
                    new_null_array(list.elements.data_type(), places.len())
                }
                Some(list) => {
                    let each = places.iter().map(|(row, at)| list.element(*row as usize, *at));
                    take(&list.elements, &each.collect::<UInt32Array>(), None)?
                }
            };
            if self.spec.structs.contains(&number) {
                columns.extend(fields_of(&column)?);
            } else {
                columns.push(column);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        let schema = Arc::clone(&self.spec.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let weights = delta.weights.as_ref();
        let weights = weights
            .map(|w| places.iter().map(|(row, _)| w.value(*row as usize)).collect::<Int64Array>());
        output.deltas.push(Delta { batch, weights });
        Ok(())
    }
}

/// The fields of a struct column, NULL where the struct is.
fn fields_of(column: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let structs = column.as_struct_opt();
    let structs = structs.ok_or_else(|| Error::bug("only a struct has fields to unnest"))?;
    let rows: UInt32Array = (0_u32..)
        .zip(0..structs.len())
        .map(|(number, row)| structs.is_valid(row).then_some(number))
        .collect();
    structs.columns().iter().map(|field| Ok(take(field, &rows, None)?)).collect()
}

impl Linear for Unnest {
    fn map(&mut self, _cx: &EpochContext, inputs: Vec<Input>) -> Result<Output> {
        let mut output = Output::default();
        for delta in inputs.iter().flat_map(|input| &input.deltas) {
            self.unnest(delta, &mut output)?;
        }
        Ok(output)
    }
}
