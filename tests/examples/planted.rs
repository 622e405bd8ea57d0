//! Plants the mistakes of `tests/planted.txt` in a copy of the checkout, one at a time, and says which of
//! them the tests that must find it catch, and by which test. `./test planted [NAME]` runs it; without a
//! name it also writes `tests/PLANTED.md`.
//!
//! The copy is built once as the gate builds the workspace, with the same choice of features, in the same
//! target folder: nothing is compiled that is there already. Cargo starts the compiler through this
//! program ([`Compiler::remember`]), which keeps how the tests of each crate are compiled; a mistake then
//! costs that one call, and nothing of what depends on the crate.

#![expect(clippy::print_stdout, reason = "what it says is for who runs it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use millstream_tests::planted::{Bug, planted, root, table};

/// Where the compiler's calls are kept, for a process that cargo starts in its place.
const CALLS: &str = "MILLSTREAM_PLANTED_CALLS";

/// Seconds that compiling the tests of one crate may take.
const COMPILE_MAX: &str = "1800";

/// Seconds that the tests may take: some mistakes make one wait for ever.
const TESTS_MAX: &str = "300";

/// What `timeout` ends with when the time was up.
const TIMED_OUT: i32 = 124;

/// A call of the compiler for the tests of a crate, as cargo made it.
struct Compiler {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Compiler {
    /// Stands in for the compiler: keeps the call if it is for tests, and does what it asks for.
    fn remember(calls: &Path) -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let name = arguments.iter().skip_while(|argument| *argument != "--crate-name").nth(1);
        if let Some(name) = name.filter(|_| arguments.iter().any(|argument| argument == "--test")) {
            let environment: BTreeMap<String, String> = std::env::vars().collect();
            let folder = std::env::current_dir().expect("a working folder");
            let call = serde_json::json!([arguments, environment, folder]);
            fs::write(calls.join(name), call.to_string()).expect("the call is kept");
        }
        let failed = Command::new(&arguments[0]).args(&arguments[1..]).exec();
        println!("{} cannot be started: {failed}", arguments[0]);
        ExitCode::FAILURE
    }

    /// The call for the tests of `krate`.
    fn recall(calls: &Path, krate: &str) -> Self {
        let name =
            if krate == "repl" { "millstream".into() } else { format!("millstream_{krate}") };
        let call = fs::read(calls.join(name)).expect("the crate has been compiled");
        type Call = (Vec<String>, BTreeMap<String, String>, PathBuf);
        let call: Call = serde_json::from_slice(&call).expect("a call as it was kept");
        let (mut arguments, mut environment, folder) = call;
        // Messages are for people here, and cargo's pool of processes is gone.
        arguments.retain(|a| !a.starts_with("--error-format") && !a.starts_with("--json"));
        environment.retain(|key, _| !key.ends_with("MAKEFLAGS") && key != CALLS);
        Self { arguments, environment, folder }
    }

    /// The end of the first argument that begins with `begin`.
    fn value(&self, begin: &str) -> &str {
        let mut values = self.arguments.iter().filter_map(|argument| argument.strip_prefix(begin));
        values.next().expect("cargo says where the tests go")
    }

    fn after(&self, argument: &str) -> &str {
        self.arguments.iter().skip_while(|a| *a != argument).nth(1).expect("cargo says it")
    }

    /// The program that it makes.
    fn tests(&self) -> PathBuf {
        let name = format!("{}{}", self.after("--crate-name"), self.value("extra-filename="));
        Path::new(self.after("--out-dir")).join(name)
    }

    fn run(&self, seconds: &str, folder: &Path, program: &Path, arguments: &[String]) -> Output {
        let mut command = Command::new("timeout");
        command.arg(seconds).arg(program).args(arguments).current_dir(folder);
        command.env_clear().envs(&self.environment).env("RUST_BACKTRACE", "0");
        command.output().expect("timeout is there")
    }

    fn compile(&self) -> Output {
        let (compiler, arguments) = self.arguments.split_first().expect("a call");
        self.run(COMPILE_MAX, &self.folder, Path::new(compiler), arguments)
    }

    /// What the tests that `filters` pick say, as they were compiled last.
    fn test(&self, filters: &[&str]) -> Verdict {
        let folder = Path::new(&self.environment["CARGO_MANIFEST_DIR"]);
        let arguments: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        let ran = self.run(TESTS_MAX, folder, &self.tests(), &arguments);
        let said = String::from_utf8_lossy(&ran.stdout);
        let lines = said.lines().filter_map(|line| line.strip_prefix("test "));
        let failed = lines.filter_map(|line| line.strip_suffix(" ... FAILED"));
        let failed: Vec<String> = failed.map(str::to_owned).collect();
        match ran.status.code() {
            Some(0) => {
                assert!(!said.contains("running 0 tests"), "{filters:?} name no tests");
                Verdict::Missed
            }
            Some(TIMED_OUT) => Verdict::Caught(Vec::new()),
            _ => {
                assert!(!failed.is_empty(), "it ended without a word:\n{said}");
                Verdict::Caught(failed)
            }
        }
    }
}

/// What the tests say of a mistake.
enum Verdict {
    /// The tests that failed; none if the time was up.
    Caught(Vec<String>),
    Missed,
    /// What the compiler said.
    NotBuilt(String),
}

/// A copy of the checkout, in which one file at a time is another one.
struct Copy {
    folder: PathBuf,
    calls: PathBuf,
}

impl Copy {
    /// Beside the target folder, so that what is built there serves the next time.
    fn make() -> Self {
        let runner = std::env::current_exe().expect("this program is a file");
        let target = runner.ancestors().nth(3).expect("…/debug/examples/planted");
        let folder = target.with_extension("planted");
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let files = git.current_dir(root()).output().expect("git lists the files").stdout;
        for file in String::from_utf8_lossy(&files).split_terminator('\0') {
            let (from, to) = (root().join(file), folder.join(file));
            let text = fs::read(&from).expect("the file is there");
            // What is the same keeps its time, so that cargo builds it once.
            if fs::read(&to).ok().as_ref() != Some(&text) {
                fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("a folder");
                fs::write(to, text).expect("a copy");
            }
        }
        let calls = folder.join(".calls");
        fs::create_dir_all(&calls).expect("a folder");
        let copy = Self { folder, calls };
        copy.build(&runner, target);
        copy
    }

    /// Builds the unit tests of the workspace.
    fn build(&self, runner: &Path, target: &Path) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--workspace", "--lib", "--no-run", "--locked"]);
        cargo.current_dir(&self.folder).env("CARGO_TARGET_DIR", target).env(CALLS, &self.calls);
        let status = cargo.env("RUSTC_WORKSPACE_WRAPPER", runner).status();
        assert!(status.expect("cargo runs").success(), "the copy can be built");
    }

    /// What the tests say of `bug` when `text` is its file.
    fn judge(&self, bug: &Bug, text: &str) -> Verdict {
        fs::write(self.folder.join(&bug.file), text).expect("a change");
        let compiler = Compiler::recall(&self.calls, &bug.krate);
        let compiled = compiler.compile();
        if !compiled.status.success() {
            return Verdict::NotBuilt(String::from_utf8_lossy(&compiled.stderr).into_owned());
        }
        compiler.test(&bug.tests.split(' ').collect::<Vec<_>>())
    }

    /// Judges `bug`, says it, and returns what caught it.
    fn plant(&self, bug: &Bug) -> Option<Vec<String>> {
        let text = fs::read_to_string(root().join(&bug.file)).expect("the file is there");
        let verdict = self.judge(bug, &text.replacen(&bug.before, &bug.after, 1));
        fs::write(self.folder.join(&bug.file), &text).expect("the change is taken back");
        let (said, more, caught) = match verdict {
            Verdict::Caught(tests) if tests.is_empty() => {
                ("caught", "a test that does not end".to_owned(), Some(tests))
            }
            Verdict::Caught(tests) => ("caught", tests.join(" "), Some(tests)),
            Verdict::Missed => ("MISSED", bug.tests.clone(), None),
            Verdict::NotBuilt(why) => ("NOT BUILT", why, None),
        };
        println!("{said:9} {}: {}\n          by {more}", bug.name, bug.what);
        caught
    }

    /// The tests that are to find the mistakes pass without them.
    fn check_without(&self, bugs: &[&Bug]) {
        let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for bug in bugs {
            tests.entry(&bug.krate).or_default().extend(bug.tests.split(' '));
        }
        for (krate, tests) in tests {
            let tests: Vec<&str> = tests.into_iter().collect();
            if let Verdict::Caught(failed) = Compiler::recall(&self.calls, krate).test(&tests) {
                unreachable!("tests of {krate} fail without any mistake: {failed:?}");
            }
        }
    }
}

fn main() -> ExitCode {
    if let Some(calls) = std::env::var_os(CALLS) {
        return Compiler::remember(Path::new(&calls));
    }
    let only = std::env::args().nth(1).unwrap_or_default();
    let (copy, planted) = (Copy::make(), planted());
    let chosen: Vec<&Bug> = planted.iter().filter(|bug| bug.name.contains(&only)).collect();
    copy.check_without(&chosen);
    let judged = chosen.iter().map(|bug| (*bug, copy.plant(bug)));
    let caught: Vec<_> = judged.filter_map(|(bug, by)| Some((bug, by?))).collect();
    let (count, all) = (caught.len(), chosen.len());
    if only.is_empty() {
        println!("evidence P14 planted: {count} of {all} mistakes of other systems caught");
        fs::write(root().join("tests/PLANTED.md"), table(&caught, all)).expect("the table");
    } else {
        println!("{count} of {all} caught");
    }
    if count == all && all > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
