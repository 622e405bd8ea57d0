//! A local Kinesis endpoint for development and tests: an emulator of the API inside this process.
//!
//! Bare, the emulator can hang and hide records from a reader when several producers write at once,
//! because a record becomes visible before one with a smaller sequence number does. The invariant
//! that cures both: one request at a time goes through it. It runs on a thread and runtime of its
//! own, so that it competes with nobody's tasks, and listens on this machine's loopback only.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as thread_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use ferrokinesis::store::{DurableStateOptions, StoreOptions};
use millstream_engine::{Clock, Error, Result, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// The largest request: 10 MiB of records, as Kinesis takes them at most, in base64 with keys.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long open connections may take to end when the endpoint stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the emulator writes a snapshot of its state, where it keeps one.
const SNAPSHOT_INTERVAL_SECS: u64 = 60;

/// How the endpoint behaves.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The port on loopback; `None` takes any that is free.
    pub port: Option<u16>,
    /// The most open shards of all streams together.
    pub shards_max: u32,
    /// How long a shard iterator is good for. Kinesis: five minutes.
    pub iterator_ttl: Duration,
    /// Whether writing is throttled per shard as on AWS (1,000 records and 1 MB a second).
    pub enforce_limits: bool,
    /// How long creating, splitting and merging take.
    pub update_delay: Duration,
    /// Where streams and records are kept over a restart; `None` keeps them in memory.
    pub state_dir: Option<PathBuf>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            port: None,
            shards_max: 1_000,
            iterator_ttl: Duration::from_secs(300),
            enforce_limits: false,
            update_delay: Duration::from_millis(50),
            state_dir: None,
        }
    }
}

/// A running local endpoint; stops when dropped.
#[derive(Debug)]
pub struct EmbeddedKinesis {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedKinesis {
    /// Starts an endpoint and returns when it takes requests.
    ///
    /// # Errors
    ///
    /// When the port is taken, or the state directory cannot be used.
    pub fn start(options: EmbeddedOptions) -> Result<Self> {
        let (ready, is_ready) = thread_channel::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("embedded-kinesis".into())
            .spawn(move || run(&options, &ready, stopped))
            .map_err(|error| Error::retry("a thread cannot be started").with_source(error))?;
        let ended = |_| Err(Error::bug("the local Kinesis endpoint ended while starting"));
        let address = is_ready.recv().unwrap_or_else(ended)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// What to set `AWS_ENDPOINT_URL` or the option `endpoint` to.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EmbeddedKinesis {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The endpoint is gone already: nothing to stop.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the emulator has nothing left to harm.
            thread.join().ok();
        }
    }
}

/// The thread: a runtime, the server, and an end bounded in time.
fn run(
    options: &EmbeddedOptions,
    ready: &thread_channel::SyncSender<Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = Error::retry("a runtime cannot be started").with_source(error);
            // The starter is gone: nobody is interested.
            ready.send(Err(error)).ok();
            return;
        }
    };
    runtime.block_on(async {
        match bind(options).await {
            Ok((listener, app, address)) => {
                ready.send(Ok(address)).ok();
                serve(listener, app, stopped).await;
            }
            Err(error) => {
                ready.send(Err(error)).ok();
            }
        }
    });
    runtime.shutdown_timeout(STOP_TIMEOUT);
}

async fn bind(options: &EmbeddedOptions) -> Result<(TcpListener, Router, SocketAddr)> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port.unwrap_or(0)));
    let taken = |error: std::io::Error| {
        Error::settings(format!("the local Kinesis endpoint cannot listen on {wanted}"))
            .with_hint("choose another port, or end the process that uses it")
            .with_source(error)
    };
    let listener = TcpListener::bind(wanted).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    let (app, store) = ferrokinesis::create_app(store_options(options));
    if let Err(error) = store.check_ready() {
        let place = options.state_dir.as_deref().unwrap_or_else(|| std::path::Path::new("memory"));
        return Err(Error::settings(format!(
            "the local Kinesis endpoint cannot keep its state in {}: {error:?}",
            place.display()
        ))
        .with_hint("choose another folder"));
    }
    let gate = Arc::new(Semaphore::new(1));
    let app = app.layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).layer(from_fn(
        move |request: Request, next: Next| {
            let gate = Arc::clone(&gate);
            async move {
                // The gate is never closed; held until the answer is made.
                let _permit = gate.acquire_owned().await;
                next.run(request).await
            }
        },
    ));
    Ok((listener, app, address))
}

fn store_options(options: &EmbeddedOptions) -> StoreOptions {
    let delay_ms = u64::try_from(options.update_delay.as_millis()).unwrap_or(u64::MAX);
    StoreOptions {
        create_stream_ms: delay_ms,
        delete_stream_ms: delay_ms,
        update_stream_ms: delay_ms,
        shard_limit: options.shards_max,
        iterator_ttl_seconds: options.iterator_ttl.as_secs(),
        enforce_limits: options.enforce_limits,
        durable: options.state_dir.clone().map(|state_dir| DurableStateOptions {
            state_dir,
            snapshot_interval_secs: SNAPSHOT_INTERVAL_SECS,
            max_retained_bytes: None,
        }),
        ..StoreOptions::default()
    }
}

async fn serve(listener: TcpListener, app: Router, stopped: oneshot::Receiver<()>) {
    let (stopping, is_stopping) = oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        // A dropped sender asks to stop as well.
        stopped.await.ok();
        stopping.send(()).ok();
    });
    let deadline = async {
        is_stopping.await.ok();
        SystemClock::new().sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        // A listener that fails ends the endpoint; clients see that they cannot connect.
        _ = server => {}
        () = deadline => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn it_listens_until_it_is_dropped() {
        let endpoint = EmbeddedKinesis::start(EmbeddedOptions::default()).unwrap();
        let address = endpoint.address;
        assert!(address.ip().is_loopback());
        assert_eq!(endpoint.endpoint_url(), format!("http://{address}"));
        // A connection nobody uses must not keep it from ending.
        let idle = TcpStream::connect(address).unwrap();
        let port = Some(address.port());
        let second = EmbeddedKinesis::start(EmbeddedOptions { port, ..EmbeddedOptions::default() });
        assert!(second.unwrap_err().message().contains("cannot listen"));
        drop(endpoint);
        assert!(TcpStream::connect(address).is_err());
        drop(idle);
    }
}
