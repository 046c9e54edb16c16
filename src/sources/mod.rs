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
