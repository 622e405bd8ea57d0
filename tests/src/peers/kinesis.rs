//! Kinesis servers. There are three, because each has quirks of its own, and none of them may become
//! our behaviour.

use std::process::Command;

use super::{Server, folder, scripts};

/// A Kinesis server to test against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KinesisServer {
    /// kinesis-mock, on Node: the most faithful to the protocol, and the slowest.
    KinesisLocal,
    /// kinesalite, on Node.
    Kinesalite,
    /// Our own `millstream kinesis`.
    Embedded,
}

impl KinesisServer {
    /// Starts it on loopback.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn start(self) -> Server {
        match self {
            Self::KinesisLocal => Server::start("kinesis-local", |port| {
                let package = folder().join("node/node_modules/kinesis-local");
                let mut command = node("kinesis-local/main.js");
                command
                    .env("KINESIS_MOCK_CERT_PATH", package.join("server.json"))
                    .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
                    // Port 0: any free one; nobody talks to it.
                    .env("KINESIS_MOCK_TLS_PORT", "0")
                    .env("LOG_LEVEL", "ERROR")
                    .env("SHARD_LIMIT", "500");
                for delay in ["CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS"] {
                    command.env(format!("{delay}_DURATION"), "50ms");
                }
                command
            }),
            Self::Kinesalite => Server::start("kinesalite", |port| {
                let mut command = node("kinesalite/cli.js");
                command.args(["--port", &port.to_string(), "--shardLimit", "100"]);
                command.args(["--createStreamMs", "50", "--updateStreamMs", "50"]);
                command
            }),
            Self::Embedded => Server::start("millstream kinesis", |port| {
                let mut command = Command::new(crate::program::path());
                command.args(["kinesis", "--port", &port.to_string()]);
                command
            }),
        }
    }
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    let script = folder().join("node/node_modules").join(script);
    command.arg("-r").arg(scripts().join("lo.js")).arg(script);
    command
}
