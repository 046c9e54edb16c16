//! Sources: whatever feeds the bus. One folder a kind; `hardware/` is the only place that names rppal.

use crate::bus::{Bus, Commands};
use crate::threads::Stop;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What every source is given.
#[derive(Clone)]
pub struct Context {
    /// Where it publishes.
    pub bus: Arc<Bus>,
    /// Where it takes commands from.
    pub commands: Arc<Commands>,
    /// When to stop.
    pub stop: Stop,
}

/// Threads of sources, joined by whoever started them.
pub type Handles = Vec<JoinHandle<()>>;

/// The switches of the simulated bench: what `/api/bench` shows and turns.
pub trait BenchControl: Send + Sync {
    /// The simulated sources and the faults that are on, as JSON.
    fn list(&self) -> serde_json::Value;

    /// Switches `fault` (`drop`, `stall`, `garbage`, `disconnect`) of `source` on or off, off again by itself after
    /// `for_s` seconds where given.
    ///
    /// # Errors
    /// One sentence when there is no such source or fault.
    fn fault(&self, source: &str, fault: &str, on: bool, for_s: Option<f64>) -> Result<(), String>;
}
