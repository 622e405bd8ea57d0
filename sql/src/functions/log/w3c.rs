//! Formats of web server logs, in the specifiers of Apache: `%h %l %u %t "%r" %>s %b`.
//!
//! Every column is text. Quotes and brackets around a field are not part of it.

use datafusion::common::Result;

use super::wrong;

/// The formats that have a name.
const NAMED: [(&str, &str); 6] = [
    ("COMMON", r#"%h %l %u %t "%r" %>s %b"#),
    ("COMMON WITH VHOST", r#"%v %h %l %u %t "%r" %>s %b"#),
    ("NCSA EXTENDED", r#"%h %l %u %t "%r" %>s %b "%[Referer]i" "%[User-agent]i""#),
    ("REFERER", "%[Referer]i ---> %U"),
    ("AGENT", "%[User-agent]i"),
    // Fifteen fields between commas.
    ("IIS", "%h, %u, %f, %f, %f, %f, %f, %D, %I, %O, %s, %s, %m, %U, %q,"),
];

/// The regular expression of a format, with a group for each specifier.
pub(super) fn regex(format: &str) -> Result<String> {
    let named = NAMED.iter().find(|(name, _)| *name == format.trim().to_uppercase());
    let format = named.map_or(format, |(_, format)| format);
    let mut regex = "^".to_owned();
    let mut rest = format.chars().peekable();
    let mut before = ' ';
    let mut groups = 0;
    while let Some(letter) = rest.next() {
        if letter != '%' {
            regex.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
            before = letter;
            continue;
        }
        if rest.next_if_eq(&'%').is_some() {
            regex.push('%');
            continue;
        }
        let specifier =
            specifier(&mut rest).ok_or_else(|| wrong(format, "a % without its letter"))?;
        let behind = rest.peek().copied();
        regex.push_str(&match (specifier, before, behind) {
            ('t', '[', _) => "([^\\]]*)".to_owned(),
            ('t', ..) => "\\[([^\\]]*)\\]".to_owned(),
            (_, '"', _) => "((?:[^\"\\\\]|\\\\.)*)".to_owned(),
            (_, _, None) => "(.*)".to_owned(),
            (_, _, Some(' ')) => "(\\S+)".to_owned(),
            (_, _, Some(end)) => format!("([^{}]*)", regex::escape(&end.to_string())),
        });
        groups += 1;
        before = ' ';
    }
    if groups == 0 {
        return Err(wrong(format, "it has no specifier such as %h, and so no column"));
    }
    Ok(regex)
}

/// The letter of a specifier; conditions (`%400,501`), `<`, `>` and a name in brackets are before it.
fn specifier(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    loop {
        match rest.next()? {
            '[' => while rest.next()? != ']' {},
            '{' => while rest.next()? != '}' {},
            '<' | '>' | '!' | ',' => {}
            letter if letter.is_ascii_digit() => {}
            letter if letter.is_ascii_alphabetic() => return Some(letter),
            _ => return None,
        }
    }
}
