//! Sources: whatever feeds the bus. One folder a kind; `hardware/` is the only place that names rppal and serialport.

pub mod detections;
mod dial;
mod fold;
pub(crate) mod follow;
pub mod gpio;
mod halt;
pub mod hardware;
pub mod host;
mod inputs;
mod instruments;
mod jobs;
mod outlets;
mod posted;
mod publish;
pub mod reading;
mod recorder;
pub mod recordings;
pub mod serial;
mod services;
pub mod signals;
pub mod simulated;
pub mod streams;

pub use self::halt::{Halt, Told};
pub use self::inputs::Sources;
pub use self::instruments::{
    Answer, Asked, ChannelOffer, Failure, InUse, Instruments, Offer, Outcome, Request, Setting, Wake, outside,
};
pub use self::jobs::{JobRefused, Jobs};
pub use self::outlets::{Order, Outlets};
pub use self::recorder::{MotionChange, NotTaken, Recorders};

use self::publish::{monotonic, publish, publish_to};
use crate::alerts::Alerts;
use crate::bus::{Bus, Commands};
use crate::store::Store;
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
    /// What must survive and changes seldom goes on its shelf.
    pub store: Arc<Store>,
    /// Where conditions are raised that a person must know of.
    pub alerts: Arc<Alerts>,
    /// How orders reach pins and ports.
    pub outlets: Arc<Outlets>,
    /// The instruments that can be driven.
    pub instruments: Arc<Instruments>,
    /// What recorders left behind.
    pub recordings: Arc<recordings::Recordings>,
    /// What is said of recorders, and asked of them.
    pub recorders: Arc<Recorders>,
    /// When to stop.
    pub stop: Stop,
}

/// Threads of sources, joined by whoever started them.
pub type Handles = Vec<JoinHandle<()>>;

/// What `system_health` says of the daemon itself, which only the daemon can know.
#[derive(Clone, Debug)]
pub struct HostExtras {
    /// bytes, written_today, commit_ms, lag_ms.
    pub store: Map<String, Value>,
    /// sse, poll, dropped, reconnects.
    pub clients: Map<String, Value>,
    /// quality, source, since, steps, and offset_s of a time given by hand.
    pub clock: Value,
}

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
