//! The options of `WITH (…)`: one definition per option feeds validation, error hints, completion and
//! the reference page.
//!
//! A connector declares a [`ConnectorSpec`]: a name, where it may stand, and a slice of
//! [`OptionSpec`]s. The invariant: an option is accepted exactly where the reference page lists it.
//! Values go through two stages: [`check`] looks at each as written; the connector's own `parse`
//! turns them, through [`Options`], into what is meant.

use std::fmt;
use std::time::Duration;

use crate::decode::parse_delimiter;

/// What an option list belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// `CREATE STREAM`.
    Stream,
    /// `CREATE TABLE`.
    Table,
    /// `CREATE SINK`.
    Sink,
}

impl RelationKind {
    /// All of them, in the order of the reference page.
    pub const ALL: [Self; 3] = [Self::Stream, Self::Table, Self::Sink];

    /// The word for it, lower case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Table => "table",
            Self::Sink => "sink",
        }
    }
}

/// An option that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// The option, if one is to blame, and whether its value (not its name) is.
    pub option: Option<(String, Blame)>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Which half of an option is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Its name.
    Name,
    /// Its value.
    Value,
}

impl OptionError {
    /// An error that no single option is to blame for (one is missing).
    pub fn general(message: impl Into<String>) -> Self {
        Self { option: None, message: message.into(), hint: None }
    }

    /// The name of option `name` is wrong.
    pub fn name(name: &str, message: impl Into<String>) -> Self {
        Self { option: Some((name.to_owned(), Blame::Name)), ..Self::general(message) }
    }

    /// The value of option `name` is wrong.
    pub fn value(name: &str, message: impl Into<String>) -> Self {
        Self { option: Some((name.to_owned(), Blame::Value)), ..Self::general(message) }
    }

    /// Adds what the reader should try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OptionError {}

impl From<OptionError> for millstream_engine::Error {
    fn from(error: OptionError) -> Self {
        let settings = Self::settings(error.message);
        match error.hint {
            Some(hint) => settings.with_hint(hint),
            None => settings,
        }
    }
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Any text that is not empty.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number from the first to the second, both included.
    Integer(u64, u64),
    /// A decimal number that is not negative.
    Number,
    /// A time span such as `200ms`, `60s`, `5m`, `1h`; a bare number is seconds.
    Duration,
    /// A size such as `64MiB` or `128MB`; a bare number is bytes.
    Bytes,
    /// Text that divides what is read, taken as it stands but for `\t`, `\n` and `\r`.
    Delimiter,
    /// Names separated by commas.
    Names,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
}

impl ValueKind {
    /// How the reference page and error hints describe it.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Flag => "`true` or `false`".into(),
            Self::Integer(min, u64::MAX) => format!("a whole number from {min}"),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number => "a number".into(),
            Self::Duration => "a time span such as `200ms`, `60s`, `5m` or `1h`".into(),
            Self::Bytes => "a size such as `64MiB` or `128MB`".into(),
            Self::Delimiter => "text without quotes; `\\t`, `\\n`, `\\r` as in a string".into(),
            Self::Names => "names separated by commas".into(),
            Self::OneOf(words) => either(words),
        }
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Text => !value.trim().is_empty(),
            Self::Flag => parse_flag(value).is_some(),
            Self::Integer(min, max) => {
                value.trim().parse::<u64>().is_ok_and(|n| (min..=max).contains(&n))
            }
            Self::Number => value.trim().parse::<f64>().is_ok_and(|n| n.is_finite() && n >= 0.0),
            Self::Duration => parse_duration(value).is_some(),
            Self::Bytes => parse_bytes(value).is_some(),
            Self::Delimiter => parse_delimiter(value).is_some(),
            Self::Names => !parse_names(value).is_empty(),
            Self::OneOf(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value.trim())),
        }
    }
}

/// One option of a connector.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its name, lower case.
    pub name: &'static str,
    /// What values it takes.
    pub value: ValueKind,
    /// What holds when it is not given: a value, or words for the reference page in parentheses.
    /// `None` means nothing does.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// Where it may stand.
    pub relations: &'static [RelationKind],
    /// What it does: a sentence without a full stop.
    pub help: &'static str,
}

impl OptionSpec {
    /// The same option, but it must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// A connector and its options.
#[derive(Debug, Clone, Copy)]
pub struct ConnectorSpec {
    /// The value of `connector = '…'`.
    pub name: &'static str,
    /// What it connects to: a sentence without a full stop.
    pub help: &'static str,
    /// Where it may stand.
    pub relations: &'static [RelationKind],
    /// Its options, in the order of the reference page.
    pub options: &'static [OptionSpec],
}

impl ConnectorSpec {
    fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// Checks every option of a list as written: known, allowed here, of the right form, none missing,
/// none twice. Returns the connector.
///
/// # Errors
///
/// The first option that is wrong.
pub fn check(
    kind: RelationKind,
    options: &[(String, String)],
) -> Result<&'static ConnectorSpec, OptionError> {
    check_against(crate::CONNECTORS, kind, options)
}

fn check_against(
    connectors: &'static [ConnectorSpec],
    kind: RelationKind,
    options: &[(String, String)],
) -> Result<&'static ConnectorSpec, OptionError> {
    let connector = find_connector(connectors, kind, options)?;
    for (index, (name, value)) in options.iter().enumerate() {
        if options[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(OptionError::name(name, format!("option '{name}' is given twice")));
        }
        if name != "connector" {
            check_option(connector, kind, name, value)?;
        }
    }
    let missing = connector.options.iter().find(|spec| {
        let given = options.iter().any(|(name, _)| name == spec.name);
        spec.required && spec.relations.contains(&kind) && !given
    });
    match missing {
        Some(spec) => Err(OptionError::general(format!(
            "a {} with connector = '{}' needs the option '{}'",
            kind.word(),
            connector.name,
            spec.name
        ))
        .with_hint(format!("add {} = '…': {}", spec.name, spec.help))),
        None => Ok(connector),
    }
}

fn find_connector(
    connectors: &'static [ConnectorSpec],
    kind: RelationKind,
    options: &[(String, String)],
) -> Result<&'static ConnectorSpec, OptionError> {
    let allowed = connectors.iter().filter(|c| c.relations.contains(&kind)).map(|c| c.name);
    let allowed: Vec<&str> = allowed.collect();
    let Some((_, name)) = options.iter().find(|(name, _)| name == "connector") else {
        let message = format!("a {} needs the option 'connector'", kind.word());
        let hint = format!("add connector = {}", either(&allowed).replace('`', "'"));
        return Err(OptionError::general(message).with_hint(hint));
    };
    let found = connectors.iter().find(|c| c.name.eq_ignore_ascii_case(name.trim()));
    match found {
        Some(connector) if connector.relations.contains(&kind) => Ok(connector),
        Some(connector) => Err(OptionError::value(
            "connector",
            format!("a {} cannot have connector = '{}'", kind.word(), connector.name),
        )
        .with_hint(format!("a {} takes {}", kind.word(), either(&allowed)))),
        None => Err(OptionError::value("connector", format!("unknown connector '{name}'"))
            .with_hint(suggest(name, &allowed))),
    }
}

fn check_option(
    connector: &ConnectorSpec,
    kind: RelationKind,
    name: &str,
    value: &str,
) -> Result<(), OptionError> {
    let Some(spec) = connector.option(name) else {
        let here = connector.options.iter().filter(|option| option.relations.contains(&kind));
        let names: Vec<&str> = here.map(|option| option.name).collect();
        let message = format!("connector '{}' has no option '{name}'", connector.name);
        return Err(OptionError::name(name, message).with_hint(suggest(name, &names)));
    };
    if !spec.relations.contains(&kind) {
        let places: Vec<&str> = spec.relations.iter().map(|relation| relation.word()).collect();
        let message = format!("option '{name}' has no meaning for a {}", kind.word());
        let hint = format!("it belongs to a {}", places.join(" or a "));
        return Err(OptionError::name(name, message).with_hint(hint));
    }
    if spec.value.accepts(value) {
        return Ok(());
    }
    let hint = match spec.value {
        ValueKind::OneOf(words) => suggest(value, words),
        kind => format!("it takes {}", kind.describe()),
    };
    Err(OptionError::value(name, format!("'{value}' is not a value of option '{name}'"))
        .with_hint(hint))
}

/// The names that may stand in `WITH (…)` of a `kind`, over all connectors, for completion.
pub fn option_names(kind: RelationKind) -> Vec<&'static str> {
    let all = crate::CONNECTORS.iter().flat_map(|connector| connector.options);
    let here = all.filter(|option| option.relations.contains(&kind)).map(|option| option.name);
    let mut names: Vec<&str> = std::iter::once("connector").chain(here).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The words that option `name` of a `kind` takes, for completion; empty where any value may stand.
pub fn option_values(kind: RelationKind, name: &str) -> Vec<&'static str> {
    if name == "connector" {
        let here = crate::CONNECTORS.iter().filter(|c| c.relations.contains(&kind));
        return here.map(|connector| connector.name).collect();
    }
    let all = crate::CONNECTORS.iter().flat_map(|connector| connector.options);
    let here = all.filter(|option| option.relations.contains(&kind) && option.name == name);
    let mut words: Vec<&str> = here
        .flat_map(|option| match option.value {
            ValueKind::OneOf(words) => words,
            ValueKind::Flag => &["true", "false"],
            _ => &[],
        })
        .copied()
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The reference page of all connectors, in Markdown.
pub fn reference_markdown() -> String {
    let mut page = String::from("# Options of `WITH (…)`\n");
    for connector in crate::CONNECTORS {
        page.push_str(&format!(
            "\n## `connector = '{}'`\n\n{}.\n\n",
            connector.name, connector.help
        ));
        page.push_str("| option | of | value | default | meaning |\n|---|---|---|---|---|\n");
        for option in connector.options {
            let of: Vec<&str> = option.relations.iter().map(|relation| relation.word()).collect();
            let default = match (option.required, option.default) {
                (true, _) => "required".to_owned(),
                (_, Some(words)) if words.starts_with('(') => words.trim_matches(['(', ')']).into(),
                (_, Some(value)) => format!("`{value}`"),
                (_, None) => String::new(),
            };
            let value = option.value.describe().replace('|', "\\|");
            let (name, of, help) = (option.name, of.join(", "), option.help.replace('|', "\\|"));
            page.push_str(&format!("| `{name}` | {of} | {value} | {default} | {help} |\n"));
        }
    }
    page
}

/// The options of one relation, as meant: typed values with their defaults. Built from a list that
/// has passed [`check`].
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    connector: &'static ConnectorSpec,
    given: &'a [(String, String)],
}

impl<'a> Options<'a> {
    /// Checks `given` and makes its values readable.
    ///
    /// # Errors
    ///
    /// The first option that is wrong.
    pub fn new(kind: RelationKind, given: &'a [(String, String)]) -> Result<Self, OptionError> {
        Ok(Self { connector: check(kind, given)?, given })
    }

    /// Whether `name` was given.
    pub fn given(&self, name: &str) -> bool {
        self.given.iter().any(|(key, _)| key == name)
    }

    /// The value of `name` as written, else its default.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let given = self.given.iter().find(|(key, _)| key == name).map(|(_, v)| v.trim());
        given.or_else(|| {
            let default = self.connector.option(name).and_then(|option| option.default);
            default.filter(|value| !value.starts_with('('))
        })
    }

    /// The value of a [`ValueKind::OneOf`] in lower case, as the definition spells it.
    pub fn word(&self, name: &str) -> Option<&'static str> {
        let value = self.text(name)?;
        match self.connector.option(name)?.value {
            ValueKind::OneOf(words) => {
                words.iter().find(|word| word.eq_ignore_ascii_case(value)).copied()
            }
            _ => None,
        }
    }

    /// Whether the [`ValueKind::Flag`] is on; off where it has no default.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).and_then(parse_flag).unwrap_or(false)
    }

    /// The value of a [`ValueKind::Integer`].
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The value of a [`ValueKind::Number`].
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// The value of a [`ValueKind::Duration`].
    pub fn duration(&self, name: &str) -> Option<Duration> {
        parse_duration(self.text(name)?)
    }

    /// The value of a [`ValueKind::Bytes`].
    pub fn bytes(&self, name: &str) -> Option<u64> {
        parse_bytes(self.text(name)?)
    }

    /// The value of `name` as written, with the spaces around it, else its default.
    pub fn exact_text(&self, name: &str) -> Option<&'a str> {
        let written = self.given.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
        written.or_else(|| self.text(name))
    }

    /// The value of [`ValueKind::Names`]; empty where not given.
    pub fn names(&self, name: &str) -> Vec<String> {
        self.text(name).map(parse_names).unwrap_or_default()
    }
}

fn parse_flag(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A time as options give it: `500ms`, `10s`, `1.5h`; without a unit it is seconds.
pub fn parse_duration(value: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(value)?;
    let ms = match unit.as_str() {
        "ms" => 1.0,
        "" | "s" | "sec" | "second" | "seconds" => 1e3,
        "m" | "min" | "minute" | "minutes" => 60e3,
        "h" | "hour" | "hours" => 3600e3,
        "d" | "day" | "days" => 86_400e3,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * ms / 1e3).ok()
}

/// A size as options give it: `128MB`, `1GiB`; without a unit it is bytes.
pub fn parse_bytes(value: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(value)?;
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        _ => return None,
    };
    let bytes = number * factor;
    // 2^53: beyond it a float no longer counts bytes one by one, and no file is that large.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    (1.0..9.0e15).contains(&bytes).then_some(bytes as u64)
}

fn number_and_unit(value: &str) -> Option<(f64, String)> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

fn parse_names(value: &str) -> Vec<String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "nothing".into(),
    }
}

/// "did you mean" the nearest of `words`, or all of them where none is near.
fn suggest(wrong: &str, words: &[&str]) -> String {
    let wrong = wrong.trim().to_lowercase();
    let nearest = words.iter().map(|word| (distance(&wrong, word), word)).min();
    match nearest {
        Some((distance, word)) if distance <= (wrong.len() / 3).max(1) => {
            format!("did you mean '{word}'?")
        }
        _ => format!("it takes {}", either(words)),
    }
}

/// The number of letters to insert, delete, replace or swap with a neighbour to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is written from the definitions; `MILLSTREAM_WRITE=1` writes it anew.
    #[test]
    fn the_reference_page_is_what_the_options_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/OPTIONS.md");
        if std::env::var_os("MILLSTREAM_WRITE").is_some() {
            std::fs::write(path, reference_markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(page, reference_markdown(), "run this test with MILLSTREAM_WRITE=1");
    }

    const SPECS: &[ConnectorSpec] = &[
        ConnectorSpec {
            name: "file",
            help: "files",
            relations: &RelationKind::ALL,
            options: &[
                OptionSpec {
                    name: "path",
                    value: ValueKind::Text,
                    default: None,
                    required: true,
                    relations: &RelationKind::ALL,
                    help: "where",
                },
                OptionSpec {
                    name: "format",
                    value: ValueKind::OneOf(&["csv", "json", "parquet"]),
                    default: None,
                    required: false,
                    relations: &RelationKind::ALL,
                    help: "what",
                },
                OptionSpec {
                    name: "partition_by",
                    value: ValueKind::Names,
                    default: None,
                    required: false,
                    relations: &[RelationKind::Sink],
                    help: "how",
                },
            ],
        },
        ConnectorSpec {
            name: "kinesis",
            help: "streams",
            relations: &[RelationKind::Stream],
            options: &[],
        },
    ];

    fn checked(kind: RelationKind, options: &[(&str, &str)]) -> (Option<Blame>, String) {
        let given: Vec<_> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let error = check_against(SPECS, kind, &given).unwrap_err();
        let text = format!("{error} -- {}", error.hint.as_deref().unwrap_or_default());
        (error.option.map(|(_, blame)| blame), text)
    }

    #[test]
    fn each_mistake_is_blamed_on_its_half_with_a_way_out() {
        use RelationKind::{Sink, Stream, Table};
        let file = ("connector", "file");
        let path = ("path", "x");
        let cases = [
            (checked(Stream, &[path]), None, "add connector = 'file' or 'kinesis'"),
            (checked(Stream, &[("connector", "kinesys")]), Some(Blame::Value), "mean 'kinesis'?"),
            (checked(Table, &[("connector", "kinesis")]), Some(Blame::Value), "table takes `file`"),
            (checked(Stream, &[file, ("pth", "x")]), Some(Blame::Name), "did you mean 'path'?"),
            (checked(Sink, &[file, path, ("format", "cvs")]), Some(Blame::Value), "mean 'csv'?"),
            (
                checked(Sink, &[file, path, ("format", "avro")]),
                Some(Blame::Value),
                "`csv`, `json` or",
            ),
            (checked(Table, &[file, path, ("partition_by", "a")]), Some(Blame::Name), "to a sink"),
            (checked(Sink, &[file, path, path]), Some(Blame::Name), "given twice"),
            (checked(Sink, &[file]), None, "needs the option 'path'"),
        ];
        for ((blame, text), expected, part) in cases {
            assert_eq!(blame, expected, "{text}");
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn spans_and_sizes_are_read_as_people_write_them() {
        assert_eq!(parse_duration("200 ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("60"), Some(Duration::from_secs(60)));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(parse_bytes("128MB"), Some(128_000_000));
        assert_eq!(parse_bytes("64 MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("0"), None);
    }

    #[test]
    fn the_nearest_word_is_suggested() {
        assert_eq!(distance("fomrat", "format"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(suggest("delimeter", &["path", "delimiter"]), "did you mean 'delimiter'?");
    }
}
