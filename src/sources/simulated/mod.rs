//! The simulated bench: one device of every kind, so that everything can be tried on a laptop.
//!
//! Owns: a recorder, three instruments, two value streams, a camera, two services and the alerts on them. The recorder and
//! the instruments are at the far end of pseudo-terminals, which the daemon reads, sets and commands as it does any port,
//! and which the runner scans with (`runner::demonstration`); the others publish on the bus as sources of kind `simulated`.
//! Promises: what the devices do is a function of the seed, of the number of the step and of what they are told alone; wall
//! time only labels. What is at a port answers at once. Does not: pretend to be real anywhere, touch hardware, or keep
//! anything itself; it goes on from the state the bus restored.
//!
//! Devices are pure (`Device`: state, step -> effects; `Wired`: state, step, line -> lines); one thread, `bench`, steps them,
//! listens for them and publishes what they say. `visa` is apart from it: devices that a configuration names.

mod bench;
mod camera;
mod fault;
mod instruments;
mod jobs;
mod link;
mod out;
mod plug;
mod recorder;
mod rules;
mod scpi;
mod services;
mod streams;
mod takes;
pub mod visa;
mod wire;

pub use self::bench::{Ports, start};
pub use self::camera::planogram;
pub use self::rules::rules;

use self::link::Link;
use self::out::Out;
use crate::clock::Wall;
use crate::config::{Device as At, SerialPort};
use std::time::Duration;

/// Steps of the bench in a second.
const STEPS_PER_S: u64 = 8;
/// One step, in seconds.
const STEP_S: f64 = 1.0 / STEPS_PER_S as f64;

/// Silence after which a device at a port is stale.
const STALE: Duration = Duration::from_secs(5);

/// One step's place in time.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Counts from 0.
    step: u64,
    /// A label, nothing else.
    wall: Wall,
}

impl Moment {
    /// Simulated seconds since the start.
    fn t(self) -> f64 {
        self.step as f64 * STEP_S
    }

    /// True on every `steps`-th step.
    fn every(self, steps: u64) -> bool {
        self.step.is_multiple_of(steps)
    }
}

/// What devices see of each other.
#[derive(Debug, Default)]
struct World {
    /// The voltage at the sample, and the current through it in mA: what the supply gives and the multimeter measures.
    volts: f64,
    milliamps: f64,
}

/// One simulated source.
trait Device: Send {
    /// Its id as a source.
    fn source(&self) -> &'static str;
    /// Seconds without a sample after which it is stale.
    fn timeout_s(&self) -> f64;
    /// One step on.
    fn step(&mut self, at: Moment, link: &mut Link, out: &mut Out);
}

/// One simulated device at the far end of a port. It knows nothing of the daemon.
trait Wired: Send {
    /// Its id, and that of its port.
    fn id(&self) -> &'static str;
    /// The port at which the daemon finds it.
    fn port(&self, at: At) -> SerialPort;
    /// One step on; gives the lines that it says by itself.
    fn step(&mut self, at: Moment, world: &mut World, out: &mut Out) -> Vec<String>;
    /// It hears a line, and may answer.
    fn hear(&mut self, line: &str, at: Moment, world: &mut World) -> Option<String>;
}

/// Rounded to `digits` behind the point, as a device with so many digits would say it.
fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    // Adding zero turns -0 into 0.
    (value * scale).round() / scale + 0.0
}

/// `20260107T153000Z`, for names of files.
fn compact(wall: Wall) -> String {
    let text = wall.rfc3339();
    text.bytes().take(19).filter(|b| b.is_ascii_digit() || *b == b'T').map(char::from).chain(['Z']).collect()
}
