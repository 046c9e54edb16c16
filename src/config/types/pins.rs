//! `[[gpio]]`: inputs and outputs.

use super::Sink;
use crate::limits;
use crate::model::Severity;
use std::time::Duration;

/// Bias of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Pull {
    Off,
    Up,
    Down,
}

/// Which edges count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Edge {
    Rising,
    Falling,
    Both,
}

/// How a chattering contact is calmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debounce {
    /// Every edge counts.
    None,
    /// A level counts when it has held this long.
    StableFor(Duration),
    /// The first edge counts at once, then none for this long.
    IgnoreAfter(Duration),
}

/// What becomes of a pin's edges on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeRecords {
    /// Each is a record, as long as there are few; then a record holds many.
    Each,
    /// They are counted, and the count is a record now and then.
    Count,
}

/// What a pin says to its stream or instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// 1 while active, else 0.
    Level,
    /// How often it became active since the start.
    Count,
    /// How often it becomes active, in Hz.
    Rate,
    /// How long it was active the last time, in ms.
    Pulse,
}

/// What a pin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    Input,
    Output,
}

/// A level to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Drive {
    Low,
    High,
    /// As it is.
    Keep,
}

impl Drive {
    /// True is high; none keeps what there is.
    pub fn high(self) -> Option<bool> {
        match self {
            Drive::Low => Some(false),
            Drive::High => Some(true),
            Drive::Keep => None,
        }
    }
}

/// What is particular to an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The level it has before it drives for the first time.
    pub initial: Drive,
    /// The level it is left with at the end.
    pub safe: Drive,
    /// The longest pulse that may be asked for.
    pub pulse_max: Duration,
}

/// An alert that is raised while a pin is active.
#[derive(Clone, Debug, PartialEq)]
pub struct PinAlert {
    /// How bad.
    pub severity: Severity,
    /// What has happened.
    pub message: String,
    /// What to do.
    pub guidance: String,
}

/// `[[gpio]]`: one pin.
#[derive(Clone, Debug, PartialEq)]
pub struct GpioPin {
    /// Id of the source, unique.
    pub id: String,
    /// BCM number, as printed on pinout sheets after "GPIO".
    pub pin: u8,
    /// Set when it is an output.
    pub output: Option<Output>,
    /// Bias.
    pub pull: Pull,
    /// Low means active.
    pub active_low: bool,
    /// Which edges are published.
    pub edge: Edge,
    /// See [`Debounce`].
    pub debounce: Debounce,
    /// What it becomes; an alert or an output need not become anything else.
    pub sink: Option<Sink>,
    /// For a recorder: the status while active, such as `recording`. For an instrument: the channel's name.
    pub active: Option<String>,
    /// For a recorder: the status while not active.
    pub inactive: Option<String>,
    /// See [`EdgeRecords`].
    pub edges: EdgeRecords,
    /// See [`Measure`].
    pub value: Measure,
    /// The time over which a rate is measured.
    pub window: Duration,
    /// What it says is published at most this often.
    pub interval: Duration,
    /// Edges a second past which it is parked.
    pub flood: u32,
    /// Raised while it is active.
    pub alert: Option<PinAlert>,
}

impl Default for GpioPin {
    fn default() -> Self {
        GpioPin {
            id: String::new(),
            pin: 0,
            output: None,
            pull: Pull::Off,
            active_low: false,
            edge: Edge::Both,
            debounce: Debounce::None,
            sink: None,
            active: None,
            inactive: None,
            edges: EdgeRecords::Each,
            value: Measure::Level,
            window: Duration::from_secs(1),
            interval: limits::GPIO_INTERVAL,
            flood: limits::GPIO_FLOOD,
            alert: None,
        }
    }
}
