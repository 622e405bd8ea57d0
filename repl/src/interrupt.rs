//! Ctrl-C: the first one stops cleanly, the next one ends at once.
//!
//! A statement that runs holds a [`Stop`]; the first Ctrl-C (or SIGTERM, which is how a container is
//! stopped) asks it to end with everything committed, the second gives it up. With nothing running,
//! or for the third time, the process ends.

use std::sync::{Arc, Mutex, PoisonError};

use millstream_engine::task::OwnedTask;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::{Failure, STATUS_INTERRUPTED};

/// The wish that what runs should end.
#[derive(Debug, Clone)]
pub struct Stop {
    cleanly: watch::Sender<bool>,
    at_once: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { cleanly: watch::Sender::new(false), at_once: watch::Sender::new(false) }
    }
}

impl Stop {
    /// Asks for a clean end; asked again, for one at once. Returns false if both was known.
    pub fn ask(&self) -> bool {
        !self.cleanly.send_replace(true) || !self.at_once.send_replace(true)
    }

    /// Whether a clean end was asked for.
    pub fn is_asked(&self) -> bool {
        *self.cleanly.borrow()
    }

    /// Becomes true when a clean end is asked for.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.cleanly.subscribe()
    }

    /// Waits until a clean end is asked for.
    pub async fn asked(&self) {
        wait_for(self.cleanly.subscribe()).await;
    }

    /// `work`, given up when an end at once is asked for.
    ///
    /// # Errors
    ///
    /// What `work` fails with, or [`Failure::Interrupted`].
    pub async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = wait_for(self.at_once.subscribe()) => Err(Failure::Interrupted),
        }
    }
}

async fn wait_for(mut receiver: watch::Receiver<bool>) {
    if receiver.wait_for(|asked| *asked).await.is_err() {
        // The sender is gone: nobody can ask any more.
        std::future::pending::<()>().await;
    }
}

/// Listens for Ctrl-C as long as it lives.
#[derive(Debug)]
pub struct Interrupts {
    running: Arc<Mutex<Option<Stop>>>,
    _listener: OwnedTask<()>,
}

impl Interrupts {
    /// Starts to listen. Call it inside a tokio runtime with more than one thread.
    ///
    /// # Errors
    ///
    /// When the operating system refuses the handlers.
    pub fn listen() -> Result<Self, Failure> {
        let refused = |error| Failure::new(format_args!("cannot listen for Ctrl-C: {error}"));
        let mut interrupts = signal(SignalKind::interrupt()).map_err(refused)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(refused)?;
        let running: Arc<Mutex<Option<Stop>>> = Arc::default();
        let shared = Arc::clone(&running);
        let listener = OwnedTask::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                let stop = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if !stop.is_some_and(|stop| stop.ask()) {
                    std::process::exit(i32::from(STATUS_INTERRUPTED));
                }
            }
        });
        Ok(Self { running, _listener: listener })
    }

    /// Runs `work` with a fresh [`Stop`] that Ctrl-C reaches.
    ///
    /// # Errors
    ///
    /// What `work` fails with, or [`Failure::Interrupted`] after the second Ctrl-C.
    pub async fn during<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        work: impl FnOnce(Stop) -> F,
    ) -> Result<T, Failure> {
        let stop = Stop::default();
        self.set(Some(stop.clone()));
        let done = stop.guard(work(stop.clone())).await;
        self.set(None);
        done
    }

    fn set(&self, stop: Option<Stop>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_wish_is_clean_and_the_second_gives_up() {
        let stop = Stop::default();
        assert!(stop.ask());
        let clean = stop.guard(async {
            stop.asked().await;
            Ok(1)
        });
        assert_eq!(clean.await, Ok(1));
        assert!(stop.ask());
        let stuck = stop.guard(std::future::pending::<Result<(), Failure>>());
        assert_eq!(stuck.await, Err(Failure::Interrupted));
        assert!(!stop.ask(), "the third has nothing left to ask for");
    }
}
