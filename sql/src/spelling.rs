//! What someone may have meant.

/// The one of `known` that `wanted` is most likely a misspelling of, case apart; none if none is near:
/// at most one edit per three characters, counting a swap of neighbours as one. Of equally near ones
/// the first wins.
pub fn suggest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = |name: &str| name.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    let wanted = lower(wanted);
    let edits_max = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let edits = distance(&wanted, &lower(name));
        if edits <= edits_max && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, name));
        }
    }
    best.map(|(_, name)| name.to_owned())
}

/// `did you mean X?`, or else the names there are.
pub(crate) fn did_you_mean<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
    plural: &str,
) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match suggest(wanted, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => format!("there are no {plural}"),
        None => format!("the {plural} are {}", known.join(", ")),
    }
}

/// The least number of insertions, deletions, replacements and swaps of neighbours that make `a` to
/// `b` (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_wins() {
        assert_eq!(suggest("compnay", ["COMPANY", "COMPANIES"]), Some("COMPANY".into()));
        assert_eq!(suggest("jbos", ["pumps", "jobs"]), Some("jobs".into()));
        assert_eq!(suggest("price", ["ticker", "volume"]), None);
        assert_eq!(suggest("ab", ["ba"]), Some("ba".into()));
        assert_eq!(suggest("", ["abc"]), None);
    }

    #[test]
    fn distance_is_symmetric_and_counts_edits() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (a, b, edits) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "acb", 1), ("x", "x", 0)]
        {
            assert_eq!(distance(&chars(a), &chars(b)), edits, "{a} {b}");
            assert_eq!(distance(&chars(b), &chars(a)), edits, "{b} {a}");
        }
    }
}
