//! Sources: whatever feeds the bus. One folder a kind; `hardware/` is the only place that names rppal.

mod fold;
pub mod gpio;
pub mod hardware;
pub mod host;
mod inputs;
mod publish;
mod reading;
pub mod serial;

pub use self::inputs::Sources;

use self::publish::{monotonic, publish, publish_to};
use crate::bus::{Bus, Commands};
use crate::config::Config;
use crate::threads::Stop;
use serde_json::{Map, Value};
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

/// What `system_health` says of the daemon itself, which only the daemon can know.
#[derive(Clone, Debug, Default)]
pub struct HostExtras {
    /// bytes, written_today, commit_ms, lag_ms.
    pub store: Map<String, Value>,
    /// sse, poll, dropped, reconnects.
    pub clients: Map<String, Value>,
}

/// Starts the pins, the ports and the host's health; not the simulated bench. They end when `context.stop` says so,
/// or by [`Sources::stop`].
///
/// # Errors
/// When the system has no thread left. Hardware that is absent is no error: it is reported and waited for.
pub fn start(
    context: &Context,
    config: &Config,
    host_extras: Box<dyn Fn() -> HostExtras + Send>,
) -> std::io::Result<Sources> {
    Sources::start(context, config, host_extras)
}
