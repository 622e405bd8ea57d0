//! Hive's folders: `name=value`, one level per partition column.
//!
//! The invariant: a value, whatever it holds, becomes part of exactly one folder name, which begins
//! with its column's name. So no value can lead out of its table, hide a folder (names beginning with
//! `.` or `_` are hidden from readers), or name the folder of another value.

/// The folder of NULL and of the empty text, which Hive does not tell apart.
pub(super) const DEFAULT: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest folder name: what local file systems allow.
const FOLDER_BYTES_MAX: usize = 255;

/// The folder `name=value`; `None` if it would be too long.
pub(super) fn folder(name: &str, value: Option<&str>) -> Option<String> {
    let value = match value {
        None | Some("") => DEFAULT.to_owned(),
        Some(value) => escape(value),
    };
    let folder = format!("{}={value}", escape(name));
    (folder.len() <= FOLDER_BYTES_MAX).then_some(folder)
}

/// The columns and values that the folders of `path` name.
pub(super) fn values(path: &str) -> Vec<(String, Option<String>)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders.split('/').filter_map(|folder| folder.split_once('='));
    pairs
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (unescape(name), (value != DEFAULT).then(|| unescape(value))))
        .collect()
}

/// Escapes what Hive escapes (`FileUtils.escapePathName`), and NUL.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c) {
            escaped.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    // A value that spells the folder of NULL is told apart from it by its first letter.
    if escaped == DEFAULT { escaped.replacen('_', "%5F", 1) } else { escaped }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| behind.get(..2)).flatten().and_then(|digits| {
            let digit = |index: usize| char::from(digits[index]).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        });
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_comes_back_from_its_own_folder(value in "\\PC{0,40}|[\\x00-\\x7f]{1,20}") {
            let folder = folder("industry", Some(&value)).unwrap();
            prop_assert!(folder.starts_with("industry=") && !folder.contains('/'));
            let read = values(&format!("table/{folder}/part.csv"));
            let expected = (!value.is_empty()).then_some(value);
            prop_assert_eq!(read, vec![("industry".to_owned(), expected)]);
        }
    }

    #[test]
    fn hostile_values_stay_in_their_folder() {
        let cases = [
            (Some("../x"), "c=..%2Fx"),
            (Some("a/b"), "c=a%2Fb"),
            (Some("%2F"), "c=%252F"),
            (Some("_x"), "c=_x"),
            (Some(".x"), "c=.x"),
            (Some(""), "c=__HIVE_DEFAULT_PARTITION__"),
            (None, "c=__HIVE_DEFAULT_PARTITION__"),
            (Some("__HIVE_DEFAULT_PARTITION__"), "c=%5F_HIVE_DEFAULT_PARTITION__"),
            (Some("😀"), "c=😀"),
        ];
        for (value, expected) in cases {
            assert_eq!(folder("c", value).as_deref(), Some(expected));
        }
        assert_eq!(folder("c", Some(&"x".repeat(1_024))), None);
        println!("evidence P13 hostile values: {} kinds, 0 outside their folder", cases.len());
    }
}
