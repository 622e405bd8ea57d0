//! Patterns of Java in the words of the engines here.

/// The pattern with what Java means otherwise written out: `\d`, `\w` and `\s` are of ASCII alone, a
/// point is no end of a line of any kind, `\Q…\E` is text, and the classes that POSIX names are as well
/// of ASCII.
pub(super) fn translated(pattern: &str) -> String {
    let mut regex = String::with_capacity(pattern.len());
    let mut depth = 0_usize;
    // Where a flag may let a point match all, it is left to that.
    let points = !has_flag(pattern, 's');
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => {
                if let Some(behind) = rest.as_str().strip_prefix('Q') {
                    let (quoted, behind) = behind.split_once("\\E").unwrap_or((behind, ""));
                    regex.push_str(&regex::escape(quoted));
                    rest = behind.chars();
                } else {
                    rest = escape(rest.as_str(), depth, &mut regex).chars();
                }
            }
            '[' => {
                depth += 1;
                regex.push('[');
            }
            ']' => {
                depth = depth.saturating_sub(1);
                regex.push(']');
            }
            '.' if depth == 0 && points => regex.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            other => regex.push(other),
        }
    }
    regex
}

/// Whether a group like `(?is)` or `(?is:…)` switches `flag` on.
fn has_flag(pattern: &str, flag: char) -> bool {
    pattern.split("(?").skip(1).any(|group| {
        let flags = group.split_once([')', ':']).map_or("", |(flags, _)| flags);
        let on = flags.split('-').next().unwrap_or_default();
        on.chars().all(char::is_alphabetic) && on.contains(flag)
    })
}

/// Sets of characters by the letter of their escape; in upper case it is what is not in the set.
const SETS: [(char, &str); 4] = [
    ('d', "0-9"),
    ('w', "a-zA-Z0-9_"),
    ('s', r" \t\n\x0B\f\r"),
    ('h', r" \t\x{A0}\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"),
];

/// Appends what stands behind a backslash, inside of `depth` brackets; returns the rest.
fn escape<'p>(text: &'p str, depth: usize, regex: &mut String) -> &'p str {
    let mut rest = text.chars();
    let Some(letter) = rest.next() else {
        regex.push('\\');
        return "";
    };
    let set = SETS.iter().find(|(name, _)| *name == letter.to_ascii_lowercase());
    if let Some((name, set)) = set {
        push_set(set, letter != *name, depth, regex);
        return rest.as_str();
    }
    match letter {
        'p' | 'P' => {
            if let Some((name, behind)) =
                rest.as_str().strip_prefix('{').and_then(|rest| rest.split_once('}'))
            {
                property(name, letter == 'P', regex);
                return behind;
            }
            regex.extend(['\\', letter]);
        }
        'Z' if depth == 0 => regex.push_str(r"(?=\r?\n?\z)"),
        'R' if depth == 0 => {
            regex.push_str(r"(?:\r\n|[\n\x0B\f\r\x{85}\x{2028}\x{2029}])");
        }
        'e' => regex.push_str(r"\x1B"),
        // Any other letter that is none of an escape means itself.
        other => regex.extend(['\\', other]),
    }
    rest.as_str()
}

fn push_set(set: &str, is_not: bool, depth: usize, regex: &mut String) {
    let brackets = match (depth, is_not) {
        (0, false) => ("[", "]"),
        (_, true) => ("[^", "]"),
        (_, false) => ("", ""),
    };
    regex.extend([brackets.0, set, brackets.1]);
}

/// `\p{name}`: a class that POSIX names is of ASCII, another is Unicode's.
fn property(name: &str, is_not: bool, regex: &mut String) {
    const POSIX: [&str; 13] = [
        "Lower", "Upper", "ASCII", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank",
        "Cntrl", "XDigit", "Space",
    ];
    let sign = if is_not { "^" } else { "" };
    if POSIX.contains(&name) {
        regex.push_str(&format!("[[:{sign}{}:]]", name.to_lowercase()));
        return;
    }
    let name = name.strip_prefix("Is").unwrap_or(name);
    regex.push_str(&format!(r"\p{{{sign}{name}}}"));
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn what_java_means_otherwise_is_written_out() {
        for (java, ours) in [
            (r"\d+[\w-]", "[0-9]+[a-zA-Z0-9_-]"),
            (r"\D[\S]", r"[^0-9][[^ \t\n\x0B\f\r]]"),
            (r"\Qa.b\E.", r"a\.b[^\n\r\x{85}\x{2028}\x{2029}]"),
            (r"(?s)a.b", "(?s)a.b"),
            (r"[.]\.", r"[.]\."),
            (r"\p{Alpha}\p{Lu}\P{Punct}\p{IsGreek}", r"[[:alpha:]]\p{Lu}[[:^punct:]]\p{Greek}"),
            (r"a\", r"a\"),
        ] {
            assert_eq!(translated(java), ours, "{java}");
        }
    }
}
