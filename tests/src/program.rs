//! The program as a user runs it: `millstream`, in a folder, with an environment, and with a limit on
//! how long it may take.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream_engine::{Clock, SystemClock};

use crate::peers::{LOOK_EVERY, end};

/// How long a run may take until the test gives it up.
const RUN_MAX: Duration = Duration::from_secs(90);

/// Where the program is: `MILLSTREAM_BIN` as set by `./test`, else beside the tests' own folder.
///
/// # Panics
///
/// When it was not built.
pub fn path() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("this test is a file");
        let profile = test.parent().and_then(Path::parent).expect("…/debug/deps/test");
        profile.join("millstream")
    };
    let path = std::env::var_os("MILLSTREAM_BIN").map_or_else(beside, PathBuf::from);
    assert!(path.is_file(), "{} is not built: run ./test", path.display());
    path
}

/// A way to run the program.
#[derive(Debug, Clone)]
pub struct Program {
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

/// What a run that has ended left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit status; `None` after a signal.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// A run that goes on; ends when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    printed: String,
    stderr: Option<JoinHandle<String>>,
    clock: SystemClock,
}

impl Program {
    /// The program in `folder`, where relative paths of a script begin. It sees no AWS settings of
    /// this machine, and no server.
    pub fn in_folder(folder: &Path) -> Self {
        // Port 9 (discard): a test that forgot its server fails instead of finding one.
        let environment = crate::peers::aws_environment("http://127.0.0.1:9");
        Self { folder: folder.to_owned(), environment }
    }

    /// The same, with more of an environment.
    #[must_use]
    pub fn with(mut self, environment: &[(String, String)]) -> Self {
        self.environment.extend_from_slice(environment);
        self
    }

    /// The same, with one more variable.
    #[must_use]
    pub fn with_variable(self, key: &str, value: &str) -> Self {
        self.with(&[(key.to_owned(), value.to_owned())])
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(path())
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || read_all(pipe)));
        Running { child, stdout, printed: String::new(), stderr, clock: SystemClock::new() }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).wait()
    }

    /// Runs it to its end, which must be a good one; returns what it printed and said.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn succeed(&self, arguments: &[&str]) -> Finished {
        let finished = self.run(arguments);
        assert_eq!(finished.status, Some(0), "{arguments:?} failed:\n{}", finished.stderr);
        finished
    }
}

impl Running {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads lines of its standard output until one contains `text`; returns that line.
    ///
    /// # Panics
    ///
    /// When its output ends before.
    pub fn line_with(&mut self, text: &str) -> String {
        let stdout = self.stdout.as_mut().expect("the output is still open");
        let mut line = String::new();
        while stdout.read_line(&mut line).expect("it prints UTF-8") > 0 {
            self.printed.push_str(&line);
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
            line.clear();
        }
        unreachable!("it never printed {text:?} but:\n{}", self.printed)
    }

    /// Sends it a signal by name (`INT`).
    ///
    /// # Panics
    ///
    /// When there is no such signal or process.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill runs").success(), "kill -s {name} {pid}");
    }

    /// Sends it a signal again and again until it has ended.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn signal_until_it_ends(&mut self, name: &str) {
        while self.child.try_wait().expect("the process can be asked").is_none() {
            assert!(self.clock.monotonic() < RUN_MAX, "SIG{name} does not end it");
            self.signal(name);
            // Signals that are not taken yet are one.
            std::thread::sleep(10 * LOOK_EVERY);
        }
    }

    /// Whether it has ended.
    ///
    /// # Panics
    ///
    /// When the process cannot be asked.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// Waits until `done` holds, looking again and again.
    ///
    /// # Panics
    ///
    /// When the time is up or the program has ended before.
    pub fn wait_until(&mut self, what: &str, done: impl Fn() -> bool) {
        while !done() {
            let ended = self.child.try_wait().expect("the process can be asked");
            assert!(ended.is_none(), "ended ({ended:?}) before: {what}\n{}", self.said());
            assert!(self.clock.monotonic() < RUN_MAX, "not in time: {what}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn wait(mut self) -> Finished {
        let stdout = self.stdout.take().map(|pipe| std::thread::spawn(move || read_all(pipe)));
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                break status;
            }
            if self.clock.monotonic() > RUN_MAX {
                end(&mut self.child);
                let said = self.said();
                unreachable!("did not end within {RUN_MAX:?}; it said:\n{said}");
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let rest = stdout.map(|reader| reader.join().expect("the reader does not panic"));
        Finished {
            status: status.code(),
            stdout: format!("{}{}", self.printed, rest.unwrap_or_default()),
            stderr: self.said(),
        }
    }

    /// What it said on standard error, once it has ended.
    fn said(&mut self) -> String {
        let reader = self.stderr.take();
        reader.map(|reader| reader.join().expect("the reader does not panic")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn read_all(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // A pipe that breaks ends the text.
    drop(pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
