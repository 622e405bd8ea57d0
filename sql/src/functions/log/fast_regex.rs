//! The regular expressions of `FAST_REGEX_LOG_PARSE`: matched piece by piece, each as short as it can
//! be, and never taken back.
//!
//! ```text
//!   (.*)_(._.*)   pieces: .*   _   ._.*
//!                 a part of fixed length at the start of a piece belongs to the piece before it:
//!                         .*_._      .*
//!                 and the first piece ends where it first can:   Mary_had_a_ | little_lamb
//! ```
//!
//! A group is what its piece matched, with its own part of fixed length and without that of the next.
//! Between groups, as much as matches is passed over. The last group runs to the end of the line when
//! what follows it in the pattern ends in any text, as the reference's first example prints it.
//!
//! The syntax is that of the automaton library named in the reference: `|`, `&`, `?`, `*`, `+`, `{n,m}`,
//! `.`, `#` (nothing), `@` (any text), `"literal"`, `[classes]`, `<n-m>`, `<Named>`, `\` before any
//! character.

use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

use datafusion::common::Result;
use regex::Regex;

use super::wrong;

/// A parsed pattern.
#[derive(Debug)]
pub(super) struct FastRegex {
    steps: Vec<Step>,
    groups: usize,
}

/// A piece: what of it has any length, and the part of fixed length behind it.
#[derive(Debug)]
struct Step {
    /// The first part alone where it is as long as it can be; both where it is as short as it can be.
    regex: Regex,
    /// The second part, if it was not matched with the first.
    tail: Option<Regex>,
    tail_characters: usize,
    /// Where groups begin and end, in characters from the beginning of the tail.
    marks: Vec<(usize, Mark)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Begin,
    End,
}

/// A step under construction.
#[derive(Default)]
struct Draft {
    own: String,
    is_group: bool,
    tail: String,
    tail_characters: usize,
    marks: Vec<(usize, Mark)>,
}

/// A part of a piece.
struct Atom {
    regex: String,
    /// How many characters it matches, if that is fixed.
    characters: Option<usize>,
}

impl FastRegex {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// When it is none, or has no group.
    pub(super) fn parse(pattern: &str) -> Result<Self> {
        let mut drafts = vec![Draft::default()];
        let mut groups = 0;
        let mut rest = pattern.chars().peekable();
        let mut outside: Vec<Atom> = Vec::new();
        while let Some(letter) = rest.peek() {
            if *letter == '(' {
                add_piece(&mut drafts, std::mem::take(&mut outside), false);
                rest.next();
                let atoms = sequence(pattern, &mut rest, true)?;
                if rest.next() != Some(')') {
                    return Err(wrong(pattern, "a ( without its )"));
                }
                add_piece(&mut drafts, atoms, true);
                groups += 1;
            } else {
                let atoms = sequence(pattern, &mut rest, false)?;
                if atoms.is_empty() {
                    return Err(wrong(pattern, "a ) or | outside a group"));
                }
                outside.extend(atoms);
            }
        }
        let ends_in_any = matches!(outside.as_slice(), [.., last] if last.regex == ANY);
        add_piece(&mut drafts, outside, false);
        if groups == 0 {
            return Err(wrong(pattern, "it has no group, and so no column"));
        }
        if ends_in_any {
            last_group_to_the_end(&mut drafts);
        }
        let last = drafts.len() - 1;
        let steps = drafts.into_iter().enumerate();
        let steps = steps.map(|(at, draft)| draft.build(pattern, at == last));
        Ok(Self { steps: steps.collect::<Result<_>>()?, groups })
    }

    /// How many groups it has.
    pub(super) fn groups_count(&self) -> usize {
        self.groups
    }

    /// The groups, if the whole `line` is matched.
    pub(super) fn groups(&self, line: &str) -> Option<Vec<Range<usize>>> {
        let (mut groups, mut begin, mut at) = (Vec::with_capacity(self.groups), 0, 0);
        for step in &self.steps {
            let rest = line.get(at..)?;
            let end = match &step.tail {
                None => at + step.regex.shortest_match(rest)?,
                Some(tail) => {
                    let own = at + step.regex.find(rest)?.end();
                    own + tail.shortest_match(line.get(own..)?)?
                }
            };
            for (offset, mark) in &step.marks {
                let place = back(line, end, step.tail_characters - offset);
                match mark {
                    Mark::Begin => begin = place,
                    Mark::End => groups.push(begin..place),
                }
            }
            at = end;
        }
        (at == line.len()).then_some(groups)
    }
}

/// Where the characters begin that are the last `count` before `end`.
fn back(line: &str, end: usize, count: usize) -> usize {
    let before = line.get(..end).unwrap_or_default();
    count
        .checked_sub(1)
        .map_or(end, |last| before.char_indices().rev().nth(last).map_or(0, |(at, _)| at))
}

/// The characters of fixed length at the start of a piece belong to the one before it.
fn add_piece(drafts: &mut Vec<Draft>, atoms: Vec<Atom>, is_group: bool) {
    let mark = |drafts: &mut Vec<Draft>, mark| {
        if let Some(draft) = drafts.last_mut().filter(|_| is_group) {
            draft.marks.push((draft.tail_characters, mark));
        }
    };
    mark(drafts, Mark::Begin);
    let mut own = String::new();
    for Atom { regex, characters } in atoms {
        match (characters, drafts.last_mut()) {
            (Some(characters), Some(draft)) if own.is_empty() => {
                draft.tail.push_str(&regex);
                draft.tail_characters += characters;
            }
            _ => own.push_str(&regex),
        }
    }
    if !own.is_empty() {
        drafts.push(Draft { own, is_group, ..Draft::default() });
    }
    mark(drafts, Mark::End);
}

/// Makes one step of the last group and what follows it, ending with the line.
fn last_group_to_the_end(drafts: &mut Vec<Draft>) {
    let Some(at) =
        drafts.iter().rposition(|draft| draft.marks.iter().any(|(_, m)| *m == Mark::End))
    else {
        return;
    };
    let behind: Vec<Draft> = drafts.drain(at + 1..).collect();
    let Some(draft) = drafts.last_mut() else { return };
    let tail = std::mem::take(&mut draft.tail);
    draft.own.push_str(&tail);
    for Draft { own, tail, .. } in behind {
        draft.own.push_str(&own);
        draft.own.push_str(&tail);
    }
    draft.is_group = true;
    // Groups of fixed length within the tail would lose their place: they end with the line too.
    draft.tail_characters = 0;
    draft.marks.iter_mut().for_each(|(offset, _)| *offset = 0);
}

impl Draft {
    fn build(self, pattern: &str, is_last: bool) -> Result<Step> {
        let compile = |regex: String| {
            Regex::new(&format!("(?s)\\A(?:{regex}){}", if is_last { "\\z" } else { "" }))
                .map_err(|error| wrong(pattern, &error.to_string()))
        };
        let is_greedy = !self.is_group && !self.own.is_empty() && !is_last;
        let (regex, tail) = if is_greedy {
            let own = Regex::new(&format!("(?s)\\A(?:{})", self.own));
            let own = own.map_err(|error| wrong(pattern, &error.to_string()))?;
            (own, Some(compile(self.tail)?))
        } else {
            (compile(format!("{}{}", self.own, self.tail))?, None)
        };
        Ok(Step { regex, tail, tail_characters: self.tail_characters, marks: self.marks })
    }
}

/// Any text, as a regular expression.
const ANY: &str = "(?:.)*";

/// Reads atoms up to the end of the group, or outside of groups up to the next one.
fn sequence(pattern: &str, rest: &mut Peekable<Chars<'_>>, in_group: bool) -> Result<Vec<Atom>> {
    let mut atoms: Vec<Atom> = Vec::new();
    let mut branches: Vec<String> = Vec::new();
    while let Some(letter) = rest.peek() {
        match letter {
            ')' => break,
            '(' if !in_group => break,
            '|' if in_group => {
                rest.next();
                branches.push(atoms.drain(..).map(|atom| atom.regex).collect());
            }
            '|' => break,
            _ => {
                let atom = atom(pattern, rest)?;
                quantified(pattern, rest, atom, &mut atoms)?;
            }
        }
    }
    if branches.is_empty() {
        return Ok(atoms);
    }
    branches.push(atoms.drain(..).map(|atom| atom.regex).collect());
    Ok(vec![Atom { regex: format!("(?:{})", branches.join("|")), characters: None }])
}

/// Reads what may stand behind an atom: `x+` is `x` and `x*`, of which the first has a fixed length.
fn quantified(
    pattern: &str,
    rest: &mut Peekable<Chars<'_>>,
    atom: Atom,
    into: &mut Vec<Atom>,
) -> Result<()> {
    let Atom { regex, characters } = atom;
    let repeated =
        |quantifier: &str| Atom { regex: format!("{regex}{quantifier}"), characters: None };
    match rest.peek() {
        Some('*') => into.push(repeated("*")),
        Some('?') => into.push(repeated("?")),
        Some('+') => {
            into.push(Atom { regex: regex.clone(), characters });
            into.push(repeated("*"));
        }
        Some('{') => {
            let counts: String = rest.by_ref().take_while(|letter| *letter != '}').collect();
            let counts = counts.trim_start_matches('{');
            let exact: Option<usize> = counts.parse().ok();
            let characters = exact.zip(characters).map(|(times, characters)| times * characters);
            if exact.is_none() && !counts.contains(',') {
                return Err(wrong(pattern, "a { without a number"));
            }
            into.push(Atom { regex: format!("{regex}{{{counts}}}"), characters });
            return Ok(());
        }
        _ => {
            into.push(Atom { regex, characters });
            return Ok(());
        }
    }
    rest.next();
    Ok(())
}

fn atom(pattern: &str, rest: &mut Peekable<Chars<'_>>) -> Result<Atom> {
    let one = |regex: String| Ok(Atom { regex: format!("(?:{regex})"), characters: Some(1) });
    let literal = |text: &str| regex::escape(text);
    match rest.next() {
        Some('.') => one(".".to_owned()),
        Some('@') => Ok(Atom { regex: ANY.to_owned(), characters: None }),
        Some('#') => Ok(Atom { regex: r"[^\s\S]".to_owned(), characters: None }),
        Some('&' | '~') => Err(wrong(pattern, "intersection and complement are not supported")),
        Some('"') => {
            let text: String = rest.by_ref().take_while(|letter| *letter != '"').collect();
            let characters = Some(text.chars().count());
            Ok(Atom { regex: format!("(?:{})", literal(&text)), characters })
        }
        Some('(') => {
            let inner = sequence(pattern, rest, true)?;
            rest.next_if_eq(&')').ok_or_else(|| wrong(pattern, "a ( without its )"))?;
            let characters = inner.iter().try_fold(0, |sum, atom| Some(sum + atom.characters?));
            let regex: String = inner.into_iter().map(|atom| atom.regex).collect();
            Ok(Atom { regex: format!("(?:{regex})"), characters })
        }
        Some('[') => {
            let mut class = "[".to_owned();
            class.extend(rest.next_if_eq(&'^'));
            loop {
                match rest.next() {
                    Some(']') => break,
                    Some('-') => class.push('-'),
                    Some('\\') => class.extend(rest.next().iter().map(|c| literal(&c.to_string()))),
                    Some(other) if other.is_alphanumeric() || other == ' ' => class.push(other),
                    Some(other) => class.extend(['\\', other]),
                    None => return Err(wrong(pattern, "a [ without its ]")),
                }
            }
            one(format!("{class}]"))
        }
        Some('<') => {
            let name: String = rest.by_ref().take_while(|letter| *letter != '>').collect();
            named(pattern, &name)
        }
        Some('\\') => match rest.next() {
            Some(escaped) => one(literal(&escaped.to_string())),
            None => Err(wrong(pattern, "it ends with a backslash")),
        },
        Some(letter) => one(literal(&letter.to_string())),
        None => Err(wrong(pattern, "it ends too early")),
    }
}

/// `<n-m>`, the numbers from one to the other, or `<Alpha>`, a class.
fn named(pattern: &str, name: &str) -> Result<Atom> {
    const NUMBERS_MAX: u64 = 10_000;
    if let Some((low, high)) = name.split_once('-')
        && let (Ok(first), Ok(last)) = (low.parse::<u64>(), high.parse::<u64>())
    {
        if last < first || last - first > NUMBERS_MAX {
            return Err(wrong(pattern, "the numbers of an interval go up, by at most 10000"));
        }
        // Of the same number of digits, all have that many.
        let width = if low.len() == high.len() { low.len() } else { 0 };
        let numbers: Vec<String> = (first..=last).rev().map(|n| format!("{n:0width$}")).collect();
        let characters = (width > 0).then_some(width);
        return Ok(Atom { regex: format!("(?:{})", numbers.join("|")), characters });
    }
    let class = match name.to_ascii_lowercase().as_str() {
        "digit" => "[0-9]".to_owned(),
        class
        @ ("alpha" | "alnum" | "upper" | "lower" | "space" | "punct" | "xdigit" | "blank") => {
            format!("[[:{class}:]]")
        }
        _ => format!("\\p{{{name}}}"),
    };
    match Regex::new(&class) {
        Ok(_) => Ok(Atom { regex: class, characters: Some(1) }),
        Err(_) => Err(wrong(pattern, &format!("there is no class {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups<'t>(line: &'t str, pattern: &str) -> Option<Vec<&'t str>> {
        let groups = FastRegex::parse(pattern).unwrap().groups(line)?;
        groups.into_iter().map(|range| line.get(range)).collect()
    }

    #[test]
    fn the_documented_examples_come_out_as_documented() {
        let lamb = "Mary_had_a_little_lamb";
        assert_eq!(groups(lamb, "(.*)_(._.*)_.*"), Some(vec!["Mary_had", "a_little_lamb"]));
        assert_eq!(groups(lamb, "(.*)_(._.*)_."), None);
        assert_eq!(groups(lamb, "(.*)_+(._.*)"), None);
        let lambs = "Mary____had_a_little_lamb";
        assert_eq!(groups(lambs, "(.*)_+(.*)"), Some(vec!["Mary", "had_a_little_lamb"]));
    }

    #[test]
    fn groups_end_where_they_first_can() {
        assert_eq!(groups("[a] b=c;d", r"\[(.*)\] (.*)=(.*);(.)"), Some(vec!["a", "b", "c", "d"]));
        assert_eq!(
            groups("10.1.2.3 GET", "(<Digit>+.<Digit>+.@) ([A-Z]{3})"),
            Some(vec!["10.1.2.3", "GET"])
        );
        assert_eq!(groups("ab12", "(<Alpha>*)(<10-20>)"), Some(vec!["ab", "12"]));
        assert_eq!(groups("é-ü", "(.)-(.)"), Some(vec!["é", "ü"]));
        assert_eq!(groups("xy", "(a|x)y"), Some(vec!["x"]));
        assert_eq!(groups("xyz", "(a|x)y"), None);
    }

    #[test]
    fn a_wrong_pattern_is_refused() {
        for pattern in ["(a", "a)", "abc", "([a)", "(a&b)", "(<nope>)"] {
            assert!(FastRegex::parse(pattern).is_err(), "{pattern}");
        }
    }
}
