//! The arguments of a call as columns. A literal is a column of one value that stands for all rows, so
//! that nothing is copied per row and a pattern is read once.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, PrimitiveBuilder, StringArray,
    StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::{Param, is_text};

/// `values` as values of `data_type`.
///
/// # Errors
///
/// When one of them is none.
pub(super) fn exact_cast(values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if values.data_type() == data_type {
        return Ok(ArrayRef::clone(values));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, data_type, &options).or_else(|error| {
        // Which value it was is looked for only now.
        let lossy = cast_with_options(values, data_type, &CastOptions::default())?;
        let lost = (0..values.len()).find(|row| lossy.is_null(*row) && values.is_valid(*row));
        let Some(row) = lost else { return Err(error.into()) };
        let value = array_value_to_string(values, row)?;
        match is_text(values.data_type()) {
            true => exec_err!("'{value}' is no {}", written(data_type)),
            false => exec_err!("{value} is out of range of {}", written(data_type)),
        }
    })
}

/// A type as a statement has it.
pub(crate) fn written(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Binary => "VARBINARY".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        other => other.to_string(),
    }
}

/// A type as [`CAST`](super::CAST) takes it: its name, its precision and its scale; 0 where it has none.
pub(crate) fn cast_target(data_type: &DataType) -> (String, i64, i64) {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            ("DECIMAL".to_owned(), i64::from(*precision), i64::from(*scale))
        }
        other => (written(other), 0, 0),
    }
}

/// A call on a batch of rows.
pub(super) struct Call<'a> {
    args: Vec<Arg>,
    /// How many rows there are.
    pub(super) rows: usize,
    /// The type of the result.
    pub(super) returns: &'a DataType,
}

struct Arg {
    values: ArrayRef,
    is_literal: bool,
}

impl<'a> Call<'a> {
    /// The arguments, each turned into what the parameter wants.
    pub(super) fn new(args: &'a ScalarFunctionArgs, form: &[Param]) -> Result<Self> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let converted = args.args.iter().zip(form).map(|(arg, param)| {
            let (values, is_literal) = match arg {
                ColumnarValue::Array(values) => (ArrayRef::clone(values), false),
                ColumnarValue::Scalar(value) => (value.to_array()?, true),
            };
            let target = param.target(values.data_type());
            Ok(Arg { values: exact_cast(&values, &target)?, is_literal })
        });
        let args_converted = converted.collect::<Result<Vec<_>>>()?;
        Ok(Self { args: args_converted, rows, returns: args.return_field.data_type() })
    }

    /// A call whose arguments are known already.
    pub(super) fn without_arguments(rows: usize, returns: &'a DataType) -> Self {
        Self { args: Vec::new(), rows, returns }
    }

    /// How many arguments there are.
    pub(super) fn count(&self) -> usize {
        self.args.len()
    }

    /// Whether the argument `at` is text.
    pub(super) fn is_text(&self, at: usize) -> bool {
        self.args.get(at).is_some_and(|arg| *arg.values.data_type() == DataType::Utf8)
    }

    fn arg(&self, at: usize) -> Result<&Arg> {
        self.args
            .get(at)
            .ok_or_else(|| DataFusionError::Internal(format!("there is no argument {at}")))
    }

    /// The column `at`, and whether it is one value for all rows.
    pub(super) fn column(&self, at: usize) -> Result<(&ArrayRef, bool)> {
        let arg = self.arg(at)?;
        Ok((&arg.values, arg.is_literal))
    }

    /// The column `at` with a value for each row.
    pub(super) fn expanded(&self, at: usize) -> Result<ArrayRef> {
        let arg = self.arg(at)?;
        if !arg.is_literal || self.rows == 1 {
            return Ok(ArrayRef::clone(&arg.values));
        }
        let zeros = arrow::array::UInt32Array::from(vec![0; self.rows]);
        Ok(arrow::compute::take(&arg.values, &zeros, None)?)
    }

    /// The texts of the argument `at`.
    pub(super) fn texts(&self, at: usize) -> Result<Texts<'_>> {
        let arg = self.arg(at)?;
        let values = arg.values.as_string_opt::<i32>().ok_or_else(|| wrong(at, &arg.values))?;
        Ok(Texts { values, is_literal: arg.is_literal })
    }

    /// The numbers or times of the argument `at`.
    pub(super) fn values<T: ArrowPrimitiveType>(&self, at: usize) -> Result<Values<'_, T>> {
        let arg = self.arg(at)?;
        let values = arg.values.as_primitive_opt::<T>().ok_or_else(|| wrong(at, &arg.values))?;
        Ok(Values { values, is_literal: arg.is_literal })
    }

    /// One number or time per row.
    pub(super) fn map<T: ArrowPrimitiveType>(
        &self,
        mut value: impl FnMut(usize) -> Result<Option<T::Native>>,
    ) -> Result<ArrayRef> {
        let mut built =
            PrimitiveBuilder::<T>::with_capacity(self.rows).with_data_type(self.returns.clone());
        for row in 0..self.rows {
            built.append_option(value(row)?);
        }
        Ok(std::sync::Arc::new(built.finish()))
    }

    /// One text per row: `write` appends it and says whether there is one.
    pub(super) fn map_text(
        &self,
        mut write: impl FnMut(usize, &mut String) -> Result<bool>,
    ) -> Result<ArrayRef> {
        let mut built = StringBuilder::with_capacity(self.rows, self.rows * 8);
        let mut text = String::new();
        for row in 0..self.rows {
            text.clear();
            if write(row, &mut text)? {
                built.append_value(&text);
            } else {
                built.append_null();
            }
        }
        Ok(std::sync::Arc::new(built.finish()))
    }
}

fn wrong(at: usize, values: &ArrayRef) -> DataFusionError {
    DataFusionError::Internal(format!("argument {at} is {}", values.data_type()))
}

/// The texts of an argument.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    values: &'a StringArray,
    is_literal: bool,
}

impl<'a> Texts<'a> {
    /// The text of `row`; none if it is NULL.
    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        let row = if self.is_literal { 0 } else { row };
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

/// The numbers or times of an argument.
#[derive(Clone, Copy)]
pub(super) struct Values<'a, T: ArrowPrimitiveType> {
    values: &'a PrimitiveArray<T>,
    is_literal: bool,
}

impl<T: ArrowPrimitiveType> Values<'_, T> {
    /// The value of `row`; none if it is NULL.
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        let row = if self.is_literal { 0 } else { row };
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

/// What was made of the last text, for arguments that hardly change, such as patterns.
pub(super) struct Compiled<T> {
    last: Option<(String, T)>,
}

impl<T> Compiled<T> {
    pub(super) fn new() -> Self {
        Self { last: None }
    }

    /// What `compile` makes of `text`, now or when the same text came before.
    pub(super) fn get(
        &mut self,
        text: &str,
        compile: impl FnOnce(&str) -> Result<T>,
    ) -> Result<&mut T> {
        let is_known = self.last.as_ref().is_some_and(|(known, _)| known == text);
        let fresh = if is_known { None } else { Some(compile(text)?) };
        let last = self.last.take();
        let entry = match (fresh, last) {
            (Some(fresh), _) => (text.to_owned(), fresh),
            (None, Some(known)) => known,
            (None, None) => return Err(DataFusionError::Internal("no pattern".to_owned())),
        };
        Ok(&mut self.last.insert(entry).1)
    }
}
