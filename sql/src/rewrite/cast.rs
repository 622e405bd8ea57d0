//! `CAST` to the types of the dialect becomes a call of ours, with the length and, where an interval is
//! cast, the qualifier that its value does not know.

use datafusion::sql::sqlparser::ast::{
    BinaryLength, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, Spanned, Value,
};

use super::qualifier::qualifier;
use crate::error::SqlError;
use crate::functions::CAST;
use crate::source::span_of;
use crate::syntax::{self, call};

/// Rewrites one expression, before its parts are.
pub(super) fn expression(expr: &mut Expr) -> Result<(), SqlError> {
    match expr {
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr: value,
            data_type,
            array: false,
            format: None,
        } => {
            let Some(target) = arguments(data_type, || qualifier(value)) else { return Ok(()) };
            let span = value.span();
            let value = std::mem::replace(value.as_mut(), syntax::text(""));
            *expr = call(CAST, span, std::iter::once(value).chain(target).collect());
        }
        Expr::TypedString(literal) => check(literal)?,
        // A number with an exponent is approximate: a DOUBLE. Read as a text it has no limit of digits.
        Expr::Value(value) if is_approximate(&value.value) => {
            let Value::Number(number, _) = &value.value else { return Ok(()) };
            let double = arguments(&DataType::DoublePrecision, || None).into_iter().flatten();
            let args = std::iter::once(syntax::text(number.as_str())).chain(double);
            *expr = call(CAST, value.span, args.collect());
        }
        // The Boolean that is not known.
        Expr::Identifier(name)
            if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("UNKNOWN") =>
        {
            let null = Expr::Value(Value::Null.into());
            let boolean = arguments(&DataType::Boolean, || None).into_iter().flatten();
            *expr = call(CAST, name.span, std::iter::once(null).chain(boolean).collect());
        }
        _ => {}
    }
    Ok(())
}

fn is_approximate(value: &Value) -> bool {
    matches!(value, Value::Number(number, _) if number.contains(['e', 'E']))
}

/// A type as arguments of a call: its name, length or precision, scale, and the qualifier of an
/// interval, which `of_value` says for other types; none for types of DataFusion alone.
pub(crate) fn arguments(
    data_type: &DataType,
    of_value: impl FnOnce() -> Option<String>,
) -> Option<[Expr; 4]> {
    let (name, length, scale) = target(data_type)?;
    let qualifier = match data_type {
        DataType::Interval { fields, .. } => fields.as_ref().map(ToString::to_string),
        _ => of_value(),
    };
    Some([
        syntax::text(name),
        syntax::number(length),
        syntax::number(scale),
        syntax::text(qualifier.unwrap_or_default()),
    ])
}

/// The name of a type with its length or precision and its scale; none for types of DataFusion alone.
fn target(data_type: &DataType) -> Option<(&'static str, u64, i64)> {
    let length = |length: &Option<CharacterLength>, default: u64| match length {
        Some(CharacterLength::IntegerLength { length, .. }) => *length,
        Some(CharacterLength::Max) => 0,
        None => default,
    };
    Some(match data_type {
        DataType::Varchar(n)
        | DataType::Nvarchar(n)
        | DataType::CharVarying(n)
        | DataType::CharacterVarying(n) => ("VARCHAR", length(n, 0), 0),
        DataType::Text | DataType::String(None) => ("VARCHAR", 0, 0),
        DataType::Char(n) | DataType::Character(n) => ("CHAR", length(n, 1), 0),
        DataType::TinyInt(None) => ("TINYINT", 0, 0),
        DataType::SmallInt(None) => ("SMALLINT", 0, 0),
        DataType::Int(None) | DataType::Integer(None) => ("INTEGER", 0, 0),
        DataType::BigInt(None) => ("BIGINT", 0, 0),
        DataType::Real => ("REAL", 0, 0),
        DataType::Float(_) | DataType::Double(_) | DataType::DoublePrecision => ("DOUBLE", 0, 0),
        DataType::Decimal(digits) | DataType::Dec(digits) | DataType::Numeric(digits) => {
            match digits {
                ExactNumberInfo::None => ("DECIMAL", 18, 0),
                ExactNumberInfo::Precision(precision) => ("DECIMAL", *precision, 0),
                ExactNumberInfo::PrecisionAndScale(precision, scale) => {
                    ("DECIMAL", *precision, *scale)
                }
            }
        }
        DataType::Boolean | DataType::Bool => ("BOOLEAN", 0, 0),
        DataType::Date => ("DATE", 0, 0),
        DataType::Time(_, zone) if no_zone(zone) => ("TIME", 0, 0),
        DataType::Timestamp(_, zone) if no_zone(zone) => ("TIMESTAMP", 0, 0),
        DataType::Interval { fields: Some(_), .. } => ("INTERVAL", 0, 0),
        DataType::Binary(n) => ("BINARY", n.unwrap_or(1), 0),
        DataType::Varbinary(Some(BinaryLength::IntegerLength { length })) => {
            ("VARBINARY", *length, 0)
        }
        DataType::Varbinary(_) => ("VARBINARY", 0, 0),
        _ => return None,
    })
}

fn no_zone(zone: &datafusion::sql::sqlparser::ast::TimezoneInfo) -> bool {
    use datafusion::sql::sqlparser::ast::TimezoneInfo;
    matches!(zone, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
}

/// Whether a literal has all the digits of its type: a TIMESTAMP has those of a time to the second.
fn is_complete(data_type: &DataType, text: &str) -> bool {
    let has_form = |form: &str, text: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(given, wanted)| match wanted {
                b'0' => given.is_ascii_digit(),
                wanted => given == wanted,
            })
    };
    let is_date = |text: &str| has_form("0000-00-00", text);
    let is_time = |text: &str| {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
        has_form("00:00:00", seconds) && digits
    };
    match data_type {
        DataType::Date => is_date(text),
        DataType::Time(..) => is_time(text),
        _ => text.split_once([' ', 'T']).is_some_and(|(day, time)| is_date(day) && is_time(time)),
    }
}

/// A literal that is none is an error of the text, not of a row.
fn check(literal: &datafusion::sql::sqlparser::ast::TypedString) -> Result<(), SqlError> {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType as Arrow, TimeUnit};
    let Value::SingleQuotedString(text) = &literal.value.value else { return Ok(()) };
    let (data_type, form) = match &literal.data_type {
        DataType::Date => (Arrow::Date32, "DATE '2018-11-01'"),
        DataType::Time(..) => (Arrow::Time32(TimeUnit::Millisecond), "TIME '12:03:34'"),
        DataType::Timestamp(..) => {
            (Arrow::Timestamp(TimeUnit::Millisecond, None), "TIMESTAMP '2018-11-01 01:00:00'")
        }
        _ => return Ok(()),
    };
    let texts: ArrayRef = std::sync::Arc::new(StringArray::from(vec![text.as_str()]));
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    if !is_complete(&literal.data_type, text)
        || arrow::compute::cast_with_options(&texts, &data_type, &options).is_err()
    {
        let error = SqlError::new(format!("'{text}' is no {}", literal.data_type))
            .with_hint(format!("write it as {form}"));
        return Err(span_of(literal.value.span).into_iter().fold(error, SqlError::or_at));
    }
    Ok(())
}
