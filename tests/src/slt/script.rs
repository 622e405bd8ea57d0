//! A script's text: blocks of ours become sqllogictest records, so that one runner compares all of
//! them and every complaint names the file and the line.

use std::collections::{BTreeMap, BTreeSet};

use sqllogictest::{DefaultColumnType, Record};

/// The partition meant where none is named.
pub(super) const FIRST_PARTITION: &str = "p0";

/// What a script speaks of until it ends or restarts, which must be known when it starts: partitions
/// hold a watermark back from the beginning, and outputs are watched from the first epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    /// The partitions of each stream, by folded name.
    pub(super) partitions: BTreeMap<String, BTreeSet<String>>,
    /// What `emitted` asks for, folded.
    pub(super) outputs: BTreeSet<String>,
}

/// A parsed script.
#[derive(Debug)]
pub(super) struct Script {
    /// What to run, in order.
    pub(super) records: Vec<Record<DefaultColumnType>>,
    /// What it speaks of from its beginning, and from each `restart` on.
    pub(super) mentions: Vec<Mentions>,
}

/// The words our own blocks begin with.
const DIRECTIVES: [&str; 11] = [
    "stream",
    "load",
    "feed",
    "bound",
    "watermark",
    "idle",
    "clock",
    "end",
    "epoch",
    "emitted",
    "restart",
];

impl Script {
    /// Parses `text`; `name` is its name in errors.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut script = Self { records: Vec::new(), mentions: vec![Mentions::default()] };
        for (line, block) in blocks(text) {
            let first = block.lines().next().unwrap_or_default();
            let words: Vec<&str> = first.split_whitespace().collect();
            if words == ["restart"] {
                script.mentions.push(Mentions::default());
            }
            script.mentions.iter_mut().last().expect("there is a first").note(&words);
            let record = match words[0] {
                "emitted" if block.contains("\n----") => format!("query T\n{block}"),
                "emitted" => return Err(format!("{name}:{line}: emitted needs ---- and the rows")),
                word if DIRECTIVES.contains(&word) => format!("statement ok\n{block}"),
                _ => block,
            };
            // Blank lines before it keep its number in the file; those behind it end its results.
            let padded = format!("{}{record}\n\n\n", "\n".repeat(line - 1));
            let records = sqllogictest::parse_with_name(&padded, name);
            let records = records.map_err(|error| format!("{name}:{line}: {error}"))?;
            script.records.extend(records.into_iter().filter(|r| !matches!(r, Record::Newline)));
        }
        Ok(script)
    }
}

impl Mentions {
    fn note(&mut self, words: &[&str]) {
        match words {
            ["feed" | "bound" | "watermark" | "idle", stream, ..] => {
                let partition = partition(words).to_owned();
                self.partitions.entry(fold(stream)).or_default().insert(partition);
            }
            ["emitted", name, ..] => {
                self.outputs.insert(fold(name));
            }
            _ => {}
        }
    }
}

/// The partition a directive names, or the first.
pub(super) fn partition<'a>(words: &[&'a str]) -> &'a str {
    let named = words.windows(2).find(|pair| pair[0] == "partition");
    named.map_or(FIRST_PARTITION, |pair| pair[1])
}

/// A name as an unquoted identifier of the dialect is understood; in quotes it stays as it is.
pub(super) fn fold(name: &str) -> String {
    let inner = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| name.to_uppercase(), str::to_owned)
}

/// The blocks of `text`, separated by blank lines, each with the number of its first line; comment
/// lines are left out.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        match found.last_mut() {
            Some((_, block)) if open => {
                block.push('\n');
                block.push_str(line);
            }
            _ => found.push((index + 1, line.to_owned())),
        }
        open = true;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_line_numbers() {
        let text =
            "# what\n\nepoch\n\n# why\nfeed s partition p7\n@10:00:00 1\n\n\nemitted q\n----\n1";
        let blocks = blocks(text);
        assert_eq!(blocks[0], (3, "epoch".to_owned()));
        assert_eq!(blocks[1], (6, "feed s partition p7\n@10:00:00 1".to_owned()));
        let script = Script::parse("a.slt", text).unwrap();
        assert_eq!(script.records.len(), 3);
        assert_eq!(script.mentions.len(), 1);
        assert_eq!(script.mentions[0].partitions["S"], BTreeSet::from(["p7".to_owned()]));
        assert_eq!(script.mentions[0].outputs, BTreeSet::from(["Q".to_owned()]));
    }

    #[test]
    fn what_is_spoken_of_after_a_restart_does_not_hold_back_what_is_before() {
        let text = "feed s\n@10:00:00 1\n\nrestart\n\nfeed s partition p2\n@10:00:00 1";
        let script = Script::parse("a.slt", text).unwrap();
        let partitions: Vec<_> = script.mentions.iter().map(|m| &m.partitions["S"]).collect();
        assert_eq!(partitions, [&["p0".to_owned()].into(), &["p2".to_owned()].into()]);
    }

    #[test]
    fn a_word_that_is_no_directive_is_an_error_with_its_line() {
        let error = Script::parse("a.slt", "\n\nfeeed s\n1").unwrap_err();
        assert!(error.contains("a.slt:3"), "{error}");
        assert!(Script::parse("a.slt", "emitted q").is_err());
    }
}
