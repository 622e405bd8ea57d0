//! The style as a test: what can be checked by a machine is not left to a reviewer.
//!
//! Every check is a function from text to complaints (`file:line: what is wrong`), one test runs it
//! over the repository and another shows that it can fail. The exceptions are a file that may only
//! shrink.

#![expect(clippy::panic, reason = "a test stops where something is not as it must be")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines a file may have before its tests.
const PRODUCTION_LINES_MAX: usize = 600;

/// The number of entries in `tests/tidy-exceptions.txt`. May only be lowered.
const EXCEPTIONS: std::ops::RangeInclusive<usize> = 0..=0;

/// Dependencies of which a second version would mean two types of the same name, or two copies of a
/// network stack.
const ONE_VERSION: [&str; 8] =
    ["arrow", "parquet", "datafusion", "object_store", "sqlparser", "hyper", "rustls", "tokio"];

/// The crates of the workspace: folder, package, the packages of ours it may depend on, and what it
/// must not depend on (prefixes).
const EDGES: [(&str, &str, &[&str], &[&str]); 5] = [
    ("engine", "millstream-engine", &[], &["aws", "object_store", "sqlparser", "axum", "ferro"]),
    ("sql", "millstream-sql", &["millstream-engine"], &["aws", "object_store", "tokio", "axum"]),
    ("connectors", "millstream-connectors", &["millstream-engine"], &["sqlparser", "rustyline"]),
    (
        "repl",
        "millstream",
        &["millstream-engine", "millstream-sql", "millstream-connectors"],
        &["aws", "ferro"],
    ),
    (
        "tests",
        "millstream-tests",
        &["millstream-engine", "millstream-sql", "millstream-connectors", "millstream"],
        &[],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace").to_owned()
}

/// The files below `folder` whose names end in `ending`, relative to the root, sorted.
fn files(folder: &str, ending: &str) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, ending: &str, found: &mut Vec<String>) {
        let entries = fs::read_dir(folder).expect("the folder can be listed");
        for path in entries.map(|entry| entry.expect("the entry can be read").path()) {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let skip = name.starts_with('.') || ["target", "node_modules"].contains(&name);
            if path.is_dir() && !skip {
                walk(root, &path, ending, found);
            } else if path.is_file() && name.ends_with(ending) {
                let path = path.strip_prefix(root).expect("it is below the root");
                found.push(path.to_str().expect("our file names are UTF-8").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    let start = root().join(folder);
    if start.is_dir() {
        walk(&root(), &start, ending, &mut found);
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

// --- every Rust file -------------------------------------------------------------------------------

fn opens_with_its_idea(path: &str, text: &str) -> Vec<String> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let said = first.strip_prefix("//!").is_some_and(|idea| idea.trim().len() > 10);
    if said { vec![] } else { vec![format!("{path}:1: begin with `//!`: what the file is for")] }
}

/// The lines before a file's tests; a file `tests.rs` beside what it tests has none.
fn production_lines(path: &str, text: &str) -> usize {
    if path.ends_with("/tests.rs") || path.contains("/tests/") && path.contains("/src/") {
        return 0;
    }
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

fn is_short_enough(path: &str, text: &str, exceptions: &BTreeMap<String, usize>) -> Vec<String> {
    let lines = production_lines(path, text);
    match exceptions.get(path) {
        Some(&allowed) if lines < allowed && lines <= PRODUCTION_LINES_MAX => {
            vec![format!("{path}: short enough now: remove it from the exceptions")]
        }
        Some(&allowed) if lines != allowed => {
            vec![format!(
                "{path}: has {lines} lines, its exception says {allowed}: they only shrink"
            )]
        }
        None if lines > PRODUCTION_LINES_MAX => {
            vec![format!("{path}: {lines} lines before the tests, {PRODUCTION_LINES_MAX} at most")]
        }
        _ => vec![],
    }
}

/// What must not be in a source file, written so that this file does not contain it.
fn banned_words() -> Vec<(String, &'static str)> {
    vec![
        (["FIX", "ME"].concat(), "mend it, or describe what is true"),
        (["TO", "DO"].concat(), "do it, or describe what is true"),
        (["db", "g!("].concat(), "use a test or a metric"),
        (["to", "do!("].concat(), "write it"),
        (["unimpl", "emented!("].concat(), "write it"),
        (["\"un", "finished"].concat(), "write it"),
        (["/ro", "ot/"].concat(), "a path of one machine"),
        (["/wo", "rk/"].concat(), "a path of one machine"),
    ]
}

fn has_no_banned_word(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let hit = |(number, line): (usize, &str)| -> Vec<String> {
        let words = banned_words();
        let found = words.iter().filter(|(word, _)| line.contains(word.as_str()));
        found.map(|(word, why)| format!("{path}:{}: `{word}`: {why}", number + 1)).collect()
    };
    lines.flat_map(hit).collect()
}

fn has_a_telling_name(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let name = parts.last().copied().unwrap_or_default();
    let vague = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "helper.rs", "misc.rs"];
    let second = name.ends_with("_v2.rs") || parts.contains(&"v2");
    if vague.contains(&name) || second {
        return vec![format!("{path}: name it after the thing it holds")];
    }
    vec![]
}

/// `path lines` per line; `#` begins a comment.
fn exceptions(text: &str) -> BTreeMap<String, usize> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let (path, lines) = line.rsplit_once(' ').expect("`path lines`");
        (path.trim().to_owned(), lines.parse().expect("the number of lines"))
    };
    lines.map(parse).collect()
}

#[test]
fn every_rust_file_keeps_to_the_style() {
    let exceptions = exceptions(&read("tests/tidy-exceptions.txt"));
    assert!(EXCEPTIONS.contains(&exceptions.len()), "the exceptions may only shrink");
    let paths = files("", ".rs");
    assert!(paths.len() > 20, "the walk found only {}", paths.len());
    let missing = exceptions.keys().filter(|path| !paths.contains(path));
    let mut complaints: Vec<String> =
        missing.map(|path| format!("{path}: excepted, but does not exist")).collect();
    for path in &paths {
        let text = read(path);
        complaints.extend(opens_with_its_idea(path, &text));
        complaints.extend(is_short_enough(path, &text, &exceptions));
        complaints.extend(has_no_banned_word(path, &text));
        complaints.extend(has_a_telling_name(path));
    }
    assert_none(&complaints);
}

#[test]
fn a_file_without_an_idea_is_seen() {
    assert_eq!(opens_with_its_idea("a.rs", "use x;\n//! late\n").len(), 1);
    assert_eq!(opens_with_its_idea("a.rs", "//! x\n").len(), 1);
    assert_eq!(opens_with_its_idea("a.rs", "//! Joins two streams.\n"), [""; 0]);
}

#[test]
fn a_long_file_is_seen_and_an_exception_only_shrinks() {
    let long = "x\n".repeat(PRODUCTION_LINES_MAX + 1);
    let fits = format!("{}#[cfg(test)]\n{long}", "x\n".repeat(PRODUCTION_LINES_MAX));
    let none = BTreeMap::new();
    assert_eq!(is_short_enough("a.rs", &long, &none).len(), 1);
    assert_eq!(is_short_enough("a.rs", &fits, &none), [""; 0]);
    assert_eq!(is_short_enough("sql/src/a/tests.rs", &long, &none), [""; 0]);
    assert_eq!(is_short_enough("tests/tests/a.rs", &long, &none).len(), 1);
    let allowed = |lines| BTreeMap::from([("a.rs".to_owned(), lines)]);
    assert_eq!(is_short_enough("a.rs", &long, &allowed(601)), [""; 0]);
    assert_eq!(
        is_short_enough("a.rs", &long, &allowed(602)).len(),
        1,
        "it shrank: so must the file"
    );
    assert_eq!(is_short_enough("a.rs", &long, &allowed(600)).len(), 1, "it grew");
    assert_eq!(is_short_enough("a.rs", &fits, &allowed(601)).len(), 1, "no longer needed");
    assert_eq!(exceptions("# why\n\nengine/src/a.rs 601\n")["engine/src/a.rs"], 601);
}

#[test]
fn a_banned_word_is_seen() {
    for (word, _) in banned_words() {
        let text = format!("fn a() {{\n    {word}\n}}\n");
        assert!(has_no_banned_word("a.rs", &text)[0].starts_with("a.rs:2: "), "{word}");
    }
}

#[test]
fn a_vague_name_is_seen() {
    for path in ["sql/src/utils.rs", "engine/src/common.rs", "a/v2/b.rs", "a/sink_v2.rs"] {
        assert_eq!(has_a_telling_name(path).len(), 1, "{path}");
    }
    assert_eq!(has_a_telling_name("engine/src/join.rs"), [""; 0]);
}

// --- what is written down is true ------------------------------------------------------------------

/// The paths a document names: in backticks or as link targets, if they look like a path of ours.
fn named_paths(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let linked = linked.map(|target| target.split('#').next().unwrap_or_default().to_owned());
    let looks_like_one = |name: &String| {
        let endings = [".rs", ".sql", ".md", ".toml", ".slt", ".js", ".py", ".txt", "/"];
        endings.iter().any(|ending| name.ends_with(ending))
            && !name.contains([' ', '*', '<', '\n', '{'])
            && !name.contains("://")
            && !name.starts_with('.')
    };
    quoted.chain(linked).filter(looks_like_one).collect()
}

fn names_only_what_exists(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let gone = named_paths(text).into_iter().filter(|named| !exists(named));
    gone.map(|named| format!("{path}: names {named}, which does not exist")).collect()
}

#[test]
fn the_documents_name_only_files_that_exist() {
    let exists = |named: &str| root().join(named).exists();
    let mut complaints = Vec::new();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        complaints.extend(names_only_what_exists(document, &read(document), &exists));
    }
    let named = named_paths(&read("ARCHITECTURE.md")).len();
    assert!(named >= 15, "ARCHITECTURE.md names only {named} files: is the walk still in it?");
    assert_none(&complaints);
}

#[test]
fn a_document_that_names_a_lost_file_is_seen() {
    let text = "See `engine/src/gone.rs`, [this](sql/src/lib.rs#x) and `cargo fmt`.";
    let complaints = names_only_what_exists("A.md", text, &|named| named == "sql/src/lib.rs");
    assert_eq!(complaints, ["A.md: names engine/src/gone.rs, which does not exist"]);
}

// --- everything we ship is run ---------------------------------------------------------------------

/// The `files` whose name no text of `tests` has in quotes.
fn not_run(files: &[String], tests: &[String]) -> Vec<String> {
    let run = |file: &&String| tests.iter().any(|text| text.contains(&format!("\"{file}\"")));
    files.iter().filter(|file| !run(file)).map(|file| format!("{file}: no test runs it")).collect()
}

fn test_sources() -> Vec<String> {
    files("tests/tests/all", ".rs").iter().map(|path| read(path)).collect()
}

#[test]
fn every_query_and_every_slt_file_is_run_by_a_test() {
    let queries: Vec<String> =
        files("queries", ".sql").into_iter().map(|p| p.replacen("queries/", "", 1)).collect();
    let scripts: Vec<String> =
        files("tests/slt", ".slt").into_iter().map(|p| p.replacen("tests/slt/", "", 1)).collect();
    assert!(queries.len() >= 4 && scripts.len() >= 8, "{queries:?} {scripts:?}");
    let tests = test_sources();
    assert_none(&[not_run(&queries, &tests), not_run(&scripts, &tests)].concat());
}

#[test]
fn a_query_that_no_test_runs_is_seen() {
    let files = ["a.sql".to_owned(), "b.sql".to_owned()];
    let tests = ["run(\"a.sql\"); // b.sql".to_owned()];
    assert_eq!(not_run(&files, &tests), ["b.sql: no test runs it"]);
}

// --- the two ways to run the founding application differ only in where its data is -----------------

/// The text without comments and without what stands between the parentheses of `WITH (…)`, its
/// white space made equal.
fn without_options(text: &str) -> String {
    let code: String = text.lines().map(|line| line.split("--").next().unwrap_or_default()).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push(' ');
            all
        },
    );
    let mut out = String::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find("WITH (") {
        let (before, options) = rest.split_at(start);
        out.push_str(before);
        out.push_str("WITH (…)");
        rest = after_parentheses(options.trim_start_matches("WITH "));
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows the closing parenthesis that matches the one `text` begins with.
fn after_parentheses(text: &str) -> &str {
    let (mut depth, mut quoted) = (0_usize, false);
    for (index, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(index + 1..).unwrap_or_default();
        }
    }
    ""
}

#[test]
fn the_variants_of_company_jobs_differ_only_in_their_options() {
    let from_files = without_options(&read("queries/company_jobs.sql"));
    let from_kinesis = without_options(&read("queries/company_jobs_kinesis.sql"));
    assert!(from_files.contains("WITH (…)") && from_files.contains("CREATE SINK"), "{from_files}");
    assert_eq!(from_files, from_kinesis);
}

#[test]
fn a_difference_outside_the_options_is_seen() {
    let a = "CREATE STREAM s (a INTEGER) -- x\nWITH (path = 'a)b', x = (1)) ;";
    assert_eq!(without_options(a), "CREATE STREAM s (a INTEGER) WITH (…) ;");
    assert_ne!(without_options(a), without_options("CREATE STREAM s (b INTEGER) WITH () ;"));
}

// --- crates and versions ---------------------------------------------------------------------------

/// The names in the dependency tables of a `Cargo.toml`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.trim_end_matches(']').ends_with("dependencies");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name: String =
                line.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
            found.insert(name);
        }
    }
    found
}

fn edge_complaints(
    package: &str,
    manifest: &str,
    allowed: &[&str],
    forbidden: &[&str],
) -> Vec<String> {
    let wrong = |name: &&String| {
        let ours = name.starts_with("millstream");
        (ours && !allowed.contains(&name.as_str()))
            || forbidden.iter().any(|prefix| name.starts_with(prefix))
    };
    let names = dependencies(manifest);
    let wrong = names.iter().filter(wrong);
    wrong.map(|name| format!("{package} must not depend on {name}")).collect()
}

#[test]
fn the_crates_depend_on_each_other_only_as_drawn() {
    let mut complaints = Vec::new();
    for (folder, package, allowed, forbidden) in EDGES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{folder} is {package}");
        complaints.extend(edge_complaints(package, &manifest, allowed, forbidden));
    }
    let workspace = read("Cargo.toml");
    let members = workspace.lines().find(|line| line.starts_with("members")).unwrap_or_default();
    assert_eq!(members.matches('"').count() / 2, EDGES.len(), "draw the edges of every member");
    assert_none(&complaints);
}

#[test]
fn the_engine_does_not_know_sql_text() {
    let parser = ["sql", "parser"].concat();
    let known = files("engine/src", ".rs").into_iter().filter(|path| read(path).contains(&parser));
    let known: Vec<String> = known.map(|path| format!("{path}: uses {parser}")).collect();
    assert_none(&known);
}

#[test]
fn an_edge_that_is_not_drawn_is_seen() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nmillstream-sql.workspace = true\n\
                    aws-config = \"1\"\n[dev-dependencies]\nmillstream-engine.workspace = true\n\
                    [lints]\nworkspace = true\n";
    let complaints = edge_complaints("x", manifest, &["millstream-engine"], &["aws"]);
    assert_eq!(
        complaints,
        ["x must not depend on aws-config", "x must not depend on millstream-sql"]
    );
}

/// The versions of `package` in a `Cargo.lock`.
fn versions<'a>(lock: &'a str, package: &str) -> Vec<&'a str> {
    let name = format!("name = \"{package}\"");
    let lines: Vec<&str> = lock.lines().collect();
    let found = lines.windows(2).filter(|pair| pair[0] == name);
    found.map(|pair| pair[1].trim_start_matches("version = ").trim_matches('"')).collect()
}

#[test]
fn there_is_one_version_of_what_must_be_one() {
    let lock = read("Cargo.lock");
    let counted = ONE_VERSION.iter().map(|package| (package, versions(&lock, package)));
    let complaints: Vec<String> = counted
        .filter(|(_, versions)| versions.len() != 1)
        .map(|(package, versions)| format!("Cargo.lock: {package} has the versions {versions:?}"))
        .collect();
    assert_none(&complaints);
}

#[test]
fn a_second_version_is_seen() {
    let lock = "[[package]]\nname = \"arrow\"\nversion = \"58.4.1\"\n\n[[package]]\nname = \
                \"arrow\"\nversion = \"59.0.0\"\n";
    assert_eq!(versions(lock, "arrow"), ["58.4.1", "59.0.0"]);
}
