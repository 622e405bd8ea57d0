//! Names and types.

use std::collections::BTreeSet;

/// A column as it will be declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: String,
    /// Its path in a JSON record; in a CSV file the name in the header, if it is another one.
    pub mapping: Option<String>,
}

/// Words that cannot be names in Kinesis Data Analytics and are likely as keys; upper case.
const RESERVED: &str = " ALL ALLOW AND ANY APPROXIMATE_ARRIVAL_TIME AS AT BEGIN BETWEEN BLOB BOTH BY CALL \
    CASE CAST CHAR CHARACTER CHECK CHECKPOINT CLOSE COLUMN CONDITION CONNECT COUNT CREATE CROSS CURRENT \
    CURSOR CYCLE DATE DAY DEC DECIMAL DEFAULT DELETE DESCRIBE DISTINCT DOUBLE DROP DYNAMIC EACH ELEMENT \
    ELSE END ESCAPE EVERY EXCEPT EXISTS EXP FALSE FETCH FILTER FLOAT FOR FREE FROM FULL FUNCTION GET \
    GLOBAL GROUP HAVING HOLD HOUR IDENTITY IGNORE IN INDICATOR INNER INSERT INT INTEGER INTERVAL INTO IS \
    JOIN LANGUAGE LARGE LEFT LIKE LIMIT LOCAL MATCH MAX MEMBER METHOD MIN MINUTE MOD MODULE MONTH NATURAL \
    NEW NO NODE NONE NOT NULL NUMERIC OF OLD ON OR ORDER OUTER OVER PARAMETER PARTITION PARTITION_ID \
    PARTITION_KEY POSITION POWER PRECISION PRIMARY RANGE RANK REAL RESULT RIGHT ROW ROWS ROWTIME SCOPE \
    SEARCH SECOND SELECT SEQUENCE_NUMBER SET SHARD_ID SMALLINT SOME SORT SQL START STATIC STOP STREAM SUM \
    SYSTEM TABLE THEN TIME TIMESTAMP TO TREAT TRIGGER TRUE TRUNCATE TRANSLATION UNION UNIQUE UNKNOWN \
    UPDATE UPPER USER USING VALUE VALUES VARCHAR VAR_POP WHEN WHERE WINDOW WITH WITHIN WITHOUT YEAR ";

/// The longest name that is kept.
const NAME_CHARS_MAX: usize = 100;

/// The name of column number `index` that the records call `key`; none of `taken`.
pub(super) fn name(key: &str, index: usize, taken: &mut BTreeSet<String>) -> String {
    let kept: String = key
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(NAME_CHARS_MAX)
        .collect();
    let is_reserved = RESERVED.contains(&format!(" {} ", kept.to_uppercase()));
    let mut name = if kept.is_empty() {
        format!("COL_{index}")
    } else if kept != key || is_reserved || kept.starts_with(|c: char| c.is_ascii_digit()) {
        format!("COL_{kept}")
    } else {
        kept
    };
    while !taken.insert(name.to_uppercase()) {
        name = format!("{name}_{index}");
    }
    name
}

/// What the values of a column have in common, from narrow to wide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is known: all were NULL.
    #[default]
    Unknown,
    Boolean,
    Integer,
    BigInt,
    Double,
    Timestamp,
    /// Text with a longest value, in characters.
    Text,
}

/// The values of a column seen so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    kind: Kind,
    chars_max: usize,
}

impl Seen {
    /// Adds a value that a record shows as `text` and that is of `kind`.
    pub(super) fn add(&mut self, kind: Kind, text: &str) {
        self.chars_max = self.chars_max.max(text.chars().count());
        let is_number = |kind| matches!(kind, Kind::Integer | Kind::BigInt | Kind::Double);
        let rank = |kind| match kind {
            Kind::Integer => 0,
            Kind::BigInt => 1,
            _ => 2,
        };
        self.kind = match (self.kind, kind) {
            (known, Kind::Unknown) => known,
            (Kind::Unknown, new) => new,
            (known, new) if known == new => known,
            (known, new) if is_number(known) && is_number(new) => {
                if rank(new) > rank(known) {
                    new
                } else {
                    known
                }
            }
            _ => Kind::Text,
        };
    }

    /// The type: text is as long as the next power of two, at least 4.
    pub(super) fn sql_type(self) -> String {
        match self.kind {
            Kind::Boolean => "BOOLEAN".to_owned(),
            Kind::Integer => "INTEGER".to_owned(),
            Kind::BigInt => "BIGINT".to_owned(),
            Kind::Double => "DOUBLE".to_owned(),
            Kind::Timestamp => "TIMESTAMP".to_owned(),
            Kind::Unknown | Kind::Text => {
                format!("VARCHAR({})", self.chars_max.next_power_of_two().clamp(4, 65_535))
            }
        }
    }
}

/// What `number`, as written, is.
pub(super) fn number_kind(number: &str) -> Option<Kind> {
    if number.parse::<i32>().is_ok() {
        Some(Kind::Integer)
    } else if number.parse::<i64>().is_ok() {
        Some(Kind::BigInt)
    } else {
        let is_plain = number.starts_with(|c: char| c.is_ascii_digit() || "-+.".contains(c));
        (is_plain && number.parse::<f64>().is_ok()).then_some(Kind::Double)
    }
}

/// What the text `value` is: a time if it is one to the second.
pub(super) fn text_kind(value: &str) -> Kind {
    const SHAPE: &str = "dddd-dd-ddXdd:dd:dd";
    let fits = |(wanted, c): (char, char)| match wanted {
        'd' => c.is_ascii_digit(),
        'X' => c == 'T' || c == ' ',
        other => c == other,
    };
    let rest = value.get(SHAPE.len()..).unwrap_or("?");
    let is_fraction = rest.strip_prefix('.').is_some_and(|digits| {
        !digits.is_empty() && digits.trim_end_matches('Z').chars().all(|c| c.is_ascii_digit())
    });
    let is_time = value.len() >= SHAPE.len()
        && SHAPE.chars().zip(value.chars()).all(fits)
        && (rest.is_empty() || rest == "Z" || is_fraction);
    if is_time { Kind::Timestamp } else { Kind::Text }
}
