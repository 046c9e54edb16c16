//! Sources: whatever feeds the bus. One folder a kind; `hardware/` is the only place that names rppal.

pub mod simulated;

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

/// The fault switches of the simulated bench.
pub trait BenchControl: Send + Sync {
    /// The sources, the faults there are and those that are on.
    fn list(&self) -> serde_json::Value;
    /// Switches a fault of a source on, for so many seconds or until it is switched off, or off.
    ///
    /// # Errors
    /// One sentence that says what was wrong with the question.
    fn fault(&self, source: &str, fault: &str, on: bool, for_s: Option<f64>) -> Result<(), String>;
}
