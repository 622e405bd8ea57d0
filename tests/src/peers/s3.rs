//! An S3 server: moto, in memory.

use std::process::Command;

use super::{Server, folder};

/// Starts an empty S3 server on loopback.
///
/// # Panics
///
/// When it does not answer.
pub fn start() -> Server {
    Server::start("moto", |port| {
        let mut command = Command::new(folder().join("python/bin/python"));
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        command
    })
}
