//! `JSON_OBJECT` and `JSON_ARRAY`: a JSON text from the values of a row; and one member or element of such
//! a text, for `JSON_OBJECTAGG` and `JSON_ARRAYAGG`.
//!
//! Numbers and truth values are written as they are; every other value is a string of what `CAST` to
//! VARCHAR makes of it, unless it is JSON already. Values are turned into JSON column by column, and the
//! rows put together from them.
//!
//! Source: ISO/IEC 9075-2, "JSON value constructor".

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use jiter::Jiter;

use super::super::cast::Target;
use super::super::is_text;

/// `JSON_OBJECT`: what is said of the values, then names and values in turn.
pub(crate) const JSON_OBJECT: &str = "json_object";
/// `JSON_ARRAY`: what is said of the values, then the values.
pub(crate) const JSON_ARRAY: &str = "json_array";

/// A member of an object: what is said of its value, the name, the value; NULL where it is left out.
pub(crate) const JSON_MEMBER: &str = "__json_member";
/// An element of an array in the same way.
pub(crate) const JSON_ELEMENT: &str = "__json_element";

/// The functions. The first argument of each is a text: `A` if values that are NULL are left out, else
/// `N`; then for each value `J` if it is JSON already, else `V`.
pub(in super::super) fn functions() -> Vec<ScalarUDF> {
    let names = [JSON_OBJECT, JSON_ARRAY, JSON_MEMBER, JSON_ELEMENT];
    names.map(|name| ScalarUDF::from(Constructor::new(name))).into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Constructor {
    name: &'static str,
    signature: Signature,
}

impl Constructor {
    fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    /// Whether the values have names.
    fn is_named(&self) -> bool {
        matches!(self.name, JSON_OBJECT | JSON_MEMBER)
    }

    /// Whether it is a part of a text, which stands without brackets.
    fn is_part(&self) -> bool {
        matches!(self.name, JSON_MEMBER | JSON_ELEMENT)
    }
}

impl ScalarUDFImpl for Constructor {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name, DataType::Utf8, self.is_part())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let mut args = args.args.into_iter();
        let said = match args.next() {
            Some(ColumnarValue::Scalar(said)) => said.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let said =
            said.ok_or_else(|| DataFusionError::Internal(format!("{} has no form", self.name)))?;
        let mut forms = said.chars();
        let leaves_out = forms.next() == Some('A');
        let mut members = Vec::new();
        for form in forms {
            let mut next = || -> Result<ArrayRef> {
                let arg = args.next();
                arg.ok_or_else(|| DataFusionError::Internal("a value is missing".to_owned()))?
                    .into_array(rows)
            };
            let name = if self.is_named() { Some(strings(&next()?)?) } else { None };
            let value = next()?;
            let value = if form == 'J' { checked(&value)? } else { written(&value)? };
            members.push(Member { name, value });
        }
        let brackets = if self.is_named() { ('{', '}') } else { ('[', ']') };
        let mut texts = together(&members, rows, brackets, leaves_out)?;
        if self.is_part() {
            let part = |text: &str| text.get(1..text.len() - 1).unwrap_or_default().to_owned();
            let parts = texts.iter().map(|text| text.map(part).filter(|part| !part.is_empty()));
            texts = parts.collect();
        }
        let texts: ArrayRef = Arc::new(texts);
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?));
        }
        Ok(ColumnarValue::Array(texts))
    }
}

/// A member of an object or an element of an array, for all rows, as JSON.
struct Member {
    name: Option<StringArray>,
    value: StringArray,
}

fn together(
    members: &[Member],
    rows: usize,
    brackets: (char, char),
    leaves_out: bool,
) -> Result<StringArray> {
    let mut built = StringBuilder::with_capacity(rows, rows * 16);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        text.push(brackets.0);
        for Member { name, value } in members {
            if name.as_ref().is_some_and(|name| name.is_null(row)) {
                return exec_err!("JSON_OBJECT: the name of a member is NULL");
            }
            if leaves_out && value.is_null(row) {
                continue;
            }
            if text.len() > 1 {
                text.push_str(", ");
            }
            if let Some(name) = name {
                text.push_str(name.value(row));
                text.push_str(": ");
            }
            text.push_str(if value.is_null(row) { "null" } else { value.value(row) });
        }
        text.push(brackets.1);
        built.append_value(&text);
    }
    Ok(built.finish())
}

/// Values as JSON.
fn written(values: &ArrayRef) -> Result<StringArray> {
    match values.data_type() {
        DataType::Boolean => {
            let flags = values.as_boolean().iter();
            Ok(flags.map(|flag| flag.map(|flag| if flag { "true" } else { "false" })).collect())
        }
        number if number.is_numeric() => {
            if number.is_floating() {
                let numbers = arrow::compute::cast(values, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                if numbers.iter().flatten().any(|number| !number.is_finite()) {
                    return exec_err!("JSON has no infinite numbers and no NaN");
                }
            }
            Ok(arrow::compute::cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
        }
        _ => strings(values),
    }
}

/// Values as JSON strings.
fn strings(values: &ArrayRef) -> Result<StringArray> {
    let texts = if is_text(values.data_type()) || values.data_type().is_null() {
        arrow::compute::cast(values, &DataType::Utf8)?
    } else {
        Target::named("VARCHAR", 0, 0).to_texts(values)?
    };
    let texts = texts.as_string::<i32>();
    let mut built =
        StringBuilder::with_capacity(texts.len(), texts.values().len() + 2 * texts.len());
    let mut json = String::new();
    for text in texts {
        let Some(text) = text else {
            built.append_null();
            continue;
        };
        json.clear();
        quote(text, &mut json);
        built.append_value(&json);
    }
    Ok(built.finish())
}

fn quote(text: &str, json: &mut String) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                json.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

/// Values that are JSON already.
fn checked(values: &ArrayRef) -> Result<StringArray> {
    let texts = arrow::compute::cast(values, &DataType::Utf8)?.as_string::<i32>().clone();
    for text in texts.iter().flatten() {
        let mut jiter = Jiter::new(text.as_bytes());
        if jiter.next_skip().and_then(|()| jiter.finish()).is_err() {
            return exec_err!("{text} is no JSON, though FORMAT JSON says so");
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_json_reads_them() {
        for text in ["", "a", "say \"no\"", "back\\slash", "tab\tline\nreturn\r", "\u{1}ä\u{1f600}"]
        {
            let mut json = String::new();
            quote(text, &mut json);
            assert_eq!(Jiter::new(json.as_bytes()).next_str().unwrap(), text, "{json}");
        }
    }
}
