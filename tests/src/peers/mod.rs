//! Servers and programs that no one here wrote, started on loopback by the test that needs them.
//!
//! `./test` installs them and says where in `MILLSTREAM_PEERS`; without it a test fails and says so,
//! rather than passing without having tested anything. A server lives as long as its value.

pub mod kinesis;
pub mod python;
pub mod s3;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millstream_engine::{Clock, SystemClock};
use tempfile::TempDir;

/// How long a server may take until it answers. Node needs a second on an idle machine; CI machines
/// are not.
const START_MAX: Duration = Duration::from_secs(60);

/// Between two looks at whether something has happened.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How often a server is started on another port when the one chosen is taken in between.
const STARTS_MAX: usize = 3;

/// The folder `./test` installed the peers into.
///
/// # Panics
///
/// When the tests were not started by `./test`.
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("MILLSTREAM_PEERS").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("stamp").is_file());
    folder.expect("this test talks to servers that are installed by ./test: run ./test")
}

/// The folder of our own files for the peers: scripts, and the preload that keeps servers on loopback.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A server at work; ends when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// Its output, for the message when it does not start.
    _folder: TempDir,
}

impl Server {
    /// Starts what `command` makes for a free port, and waits until it answers HTTP.
    ///
    /// # Panics
    ///
    /// When it does not, with what it said.
    pub fn start(name: &str, command: impl Fn(u16) -> Command) -> Self {
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let log = folder.path().join("log");
            let file = File::create(&log).expect("a log file");
            let port = free_port();
            let mut command = command(port);
            command.stdin(Stdio::null()).stderr(file.try_clone().expect("a second handle"));
            let child = command.stdout(file).current_dir(folder.path()).spawn();
            let mut child = child.unwrap_or_else(|e| unreachable!("{name} cannot start: {e}"));
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if answers(&mut child, address) {
                return Self { child, address, _folder: folder };
            }
            end(&mut child);
            said = std::fs::read_to_string(&log).unwrap_or_default();
        }
        unreachable!("{name} did not start; it said:\n{said}")
    }

    /// Its address as an endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops its process in the middle of what it does: connections stay open and nothing is answered.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn pause(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "STOP", &pid]).status();
        assert!(status.expect("kill runs").success(), "kill -s STOP {pid}");
    }

    /// The settings that make AWS clients talk to it.
    pub fn environment(&self) -> Vec<(String, String)> {
        aws_environment(&self.url())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The settings that make AWS clients talk to the endpoint `url`, whatever this machine's own are.
pub fn aws_environment(url: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "000000000000"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// Ends a process and takes its status, so that none is left behind.
pub(crate) fn end(child: &mut Child) {
    // It may have ended by itself, which is as good.
    drop(child.kill());
    drop(child.wait());
}

/// A port that nobody uses at present.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn answers(child: &mut Child, address: SocketAddr) -> bool {
    let clock = SystemClock::new();
    while clock.monotonic() < START_MAX {
        if child.try_wait().ok().flatten().is_some() {
            return false;
        }
        if speaks_http(address) {
            return true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    false
}

fn speaks_http(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let timed = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let asked = timed.and_then(|()| stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"));
    let mut first = [0; 5];
    asked.and_then(|()| stream.read_exact(&mut first)).is_ok() && &first == b"HTTP/"
}
