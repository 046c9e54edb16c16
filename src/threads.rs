//! Threads: started here only, each with a name and an owner that joins it; and the token that tells them to stop.

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

/// Tells any number of threads to stop. Clones are the same token.
#[derive(Clone, Debug)]
pub struct Stop {
    // Nothing is ever sent: dropping the sender wakes every receiver for good.
    hold: std::sync::Arc<Mutex<Option<Sender<()>>>>,
    stopped: Receiver<()>,
}

impl Default for Stop {
    fn default() -> Self {
        let (hold, stopped) = bounded(0);
        Stop { hold: std::sync::Arc::new(Mutex::new(Some(hold))), stopped }
    }
}

impl Stop {
    /// Asks everybody to stop; more than once is the same as once.
    pub fn stop(&self) {
        self.hold.lock().unwrap_or_else(|e| e.into_inner()).take();
    }

    /// Waits at most `time`; true when it is time to stop.
    pub fn wait(&self, time: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// Whether it is time to stop.
    pub fn is_stopped(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// For `crossbeam::select!`: becomes ready (disconnected) when it is time to stop.
    pub fn receiver(&self) -> &Receiver<()> {
        &self.stopped
    }
}

/// Starts a named thread. `stack` in bytes; most of ours need little.
///
/// # Errors
/// When the system has no thread left.
pub fn spawn<F>(name: &str, stack: usize, run: F) -> std::io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new().name(name.to_string()).stack_size(stack).spawn(run)
}

/// Joins; a panic of the thread is logged, as its own message went to stderr already.
pub fn join(handle: JoinHandle<()>) {
    let name = handle.thread().name().unwrap_or("?").to_string();
    if handle.join().is_err() {
        log::error!("thread {name} panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_reaches_every_clone_and_stays() {
        let stop = Stop::default();
        let other = stop.clone();
        assert!(!other.is_stopped());
        let waiter =
            spawn("waiter", 64 * 1024, move || assert!(other.wait(Duration::from_secs(60)))).unwrap();
        stop.stop();
        stop.stop();
        waiter.join().unwrap();
        assert!(stop.is_stopped());
    }
}
