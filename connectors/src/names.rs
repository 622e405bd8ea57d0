//! How a sink names the columns it writes: in lower case, as Athena reads them, or as they are declared,
//! as Kinesis Data Analytics wrote them.

use arrow::datatypes::Field;

use crate::options::{OptionSpec, Options, RelationKind, ValueKind};

/// The option of sinks.
pub(crate) const OPTION: OptionSpec = OptionSpec {
    name: "names",
    value: ValueKind::OneOf(&["lower", "declared"]),
    default: Some("lower"),
    required: false,
    relations: &[RelationKind::Sink],
    help: "how columns are called in what is written: `lower` case, or as `declared`, which is upper case \
           where a name is not in quotes",
};

/// How columns are called in what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnNames {
    /// In lower case.
    Lower,
    /// As they are.
    Declared,
}

impl ColumnNames {
    /// What the option says.
    pub(crate) fn of(options: &Options<'_>) -> Self {
        match options.word(OPTION.name) {
            Some("declared") => Self::Declared,
            _ => Self::Lower,
        }
    }

    /// The name under which the column `name` is written.
    pub(crate) fn written(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_lowercase(),
            Self::Declared => name.to_owned(),
        }
    }
}

/// The place among the written columns of the one that an option calls `wanted`: spelled so, else so but
/// for case.
pub(crate) fn place<'a>(
    fields: impl IntoIterator<Item = &'a Field> + Clone,
    wanted: &str,
) -> Option<usize> {
    let wanted = wanted.trim_matches('"');
    let exact = fields.clone().into_iter().position(|field| field.name() == wanted);
    let lower = wanted.to_lowercase();
    exact.or_else(|| fields.into_iter().position(|field| field.name().to_lowercase() == lower))
}
