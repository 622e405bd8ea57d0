//! The families of types: within one, values convert into one another by themselves.
//!
//! Source: "Type conversion" of the Kinesis Data Analytics SQL reference.

use arrow::datatypes::DataType;

/// The types that convert into one another by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Number,
    Text,
    Bytes,
    Boolean,
    Date,
    Time,
    Timestamp,
    Interval,
    /// NULL, and types that the dialect does not have: lists and the like.
    Other,
}

impl Family {
    /// The family of a type.
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            text if super::is_text(text) => Self::Text,
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes,
            DataType::Boolean => Self::Boolean,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            other if other.is_numeric() => Self::Number,
            _ => Self::Other,
        }
    }

    /// The family of the type that a column is declared to be of.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "VARCHAR" => Self::Text,
            "VARBINARY" => Self::Bytes,
            "BOOLEAN" => Self::Boolean,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "TIMESTAMP" => Self::Timestamp,
            _ => Self::Number,
        }
    }

    /// Whether values of the two may meet.
    pub(crate) fn goes_with(self, other: Self) -> bool {
        self == other || self == Self::Other || other == Self::Other
    }

    /// Whether it is a time or an interval.
    pub(crate) fn is_temporal(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::Interval)
    }
}
