//! What a scan will do: its description, checked as a whole, as steps and a known number of points.
//!
//! Pure: nothing is read, moved or published here. Both forms of a description (axes, or a list of steps) become the same
//! [`Plan`].

mod check;
mod compile;
mod describe;
mod fields;
pub mod fuzz;
mod lines;
mod normal;
mod steps;
mod walk;

pub use check::Bench;
pub use compile::compile;
pub use lines::{describe_steps, step_line};
pub use walk::{Instruction, Walk};

use super::data::Column;
use crate::sources::Setting;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A channel of an instrument, such as `psu.voltage`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelRef {
    /// The instrument's id.
    pub instrument: String,
    /// The channel's name.
    pub channel: String,
}

impl std::fmt::Display for ChannelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.instrument, self.channel)
    }
}

/// A fault of a description.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Where, such as `axes[0].stop`.
    pub field: String,
    /// A short stable word, such as `out_of_limits`.
    pub code: &'static str,
    /// One sentence: what was sent and what was expected.
    pub detail: String,
}

/// What happens when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The scan pauses; on resume the point is taken again.
    #[default]
    Pause,
    /// The scan fails.
    Abort,
    /// The point is left out of the rows, counted, and the next one follows.
    SkipPoint,
    /// The step is tried so many times more, then [`OnError::Pause`] or (true) [`OnError::Abort`].
    Retry(u32, bool),
}

/// A condition on a channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Its value is above this.
    Above(f64),
    /// Its value is below this.
    Below(f64),
    /// Its value is within the first of the second.
    Within(f64, f64),
}

/// What a scan checks at every point; when it holds, the scan fails with exit reason `limit`.
#[derive(Clone, Debug, PartialEq)]
pub struct AbortIf {
    /// The channel, which is read for it when it is not measured.
    pub channel: ChannelRef,
    /// The condition.
    pub when: Condition,
}

/// The values of a loop, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// So many from the first to the second, both included; one is the first alone.
    Even {
        /// First.
        start: f64,
        /// Last.
        stop: f64,
        /// How many.
        points: u64,
    },
    /// These.
    List(Vec<f64>),
    /// So many passes with nothing set; none: until the scan is stopped or its duration is over.
    Count(Option<u64>),
}

/// A loop over the values of a channel, or over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// What is set at the begin of each pass; none for a plain count.
    pub set: Option<ChannelRef>,
    /// To what.
    pub values: Values,
    /// Every other time the loop is entered, the values come in the reverse order.
    pub snake: bool,
    /// Waited after each arrival.
    pub settle: Duration,
    /// Whether the set is waited for until it has arrived.
    pub wait_readback: bool,
    /// Instead of the channel's own.
    pub tolerance: Option<f64>,
    /// Instead of the channel's own.
    pub within: Option<Duration>,
    /// Start-to-start time of its passes.
    pub interval: Option<Duration>,
    /// It ends after this time, pauses not counted.
    pub duration: Option<Duration>,
    /// What each pass does.
    pub body: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Set a channel.
    Set {
        /// Which.
        channel: ChannelRef,
        /// To what.
        to: Setting,
        /// Whether it is waited for.
        wait_readback: bool,
        /// Instead of the channel's own.
        tolerance: Option<f64>,
        /// Instead of the channel's own.
        within: Option<Duration>,
    },
    /// Drive an output pin.
    Gpio {
        /// The id of its `[[gpio]]`.
        output: String,
        /// Active or not.
        active: bool,
    },
    /// Wait.
    Settle(Duration),
    /// Wait until a channel is as it should be.
    WaitUntil {
        /// Which.
        channel: ChannelRef,
        /// How it should be.
        when: Condition,
        /// For so long without a break.
        hold: Duration,
        /// Then it has failed.
        within: Duration,
    },
    /// Take one point: a row of all these channels.
    Measure {
        /// Which.
        channels: Vec<ChannelRef>,
        /// Reads of each.
        samples: u32,
        /// The row has their mean; else (false) the last.
        average: bool,
    },
    /// Steps again and again.
    Loop(Loop),
    /// A line of the scan's log.
    Log(String),
    /// Raw text to an instrument; the answer goes to the log.
    Query {
        /// Which instrument.
        instrument: String,
        /// What is sent.
        text: String,
    },
    /// Waits until an operator resumes.
    Prompt(String),
}

/// What follows the last point, before `always`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum After {
    /// Everything stays where it is.
    #[default]
    Stay,
    /// The axes return to where they were before the scan.
    Return,
    /// These steps.
    Steps(Vec<Step>),
}

/// A checked description.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// The description as it was given, with every default filled in.
    pub description: serde_json::Value,
    /// Run before the points (phase `startup`).
    pub before: Vec<Step>,
    /// The points (phase `main`).
    pub steps: Vec<Step>,
    /// What follows the last point.
    pub after: After,
    /// Run at the end, however the scan ends, except for a forced abort (phase `cleanup`).
    pub always: Vec<Step>,
    /// Run when it pauses.
    pub on_pause: Vec<Step>,
    /// Run when it goes on, before the set-points are applied again.
    pub on_resume: Vec<Step>,
    /// What happens when a step fails.
    pub on_error: OnError,
    /// Checked at every point.
    pub abort_if: Vec<AbortIf>,
    /// The columns of its only measurement, `main`: set-points outer to inner, then what is measured.
    pub columns: Vec<Column>,
    /// The channels that loops set, outer to inner: what `after: return` brings back.
    pub axes: Vec<ChannelRef>,
    /// The units of the channels it sets or waits for, where they have one.
    pub units: BTreeMap<ChannelRef, String>,
    /// Every instrument it needs, output pins among them.
    pub instruments: BTreeSet<String>,
    /// Passes of the whole. With more than one the outermost step is the loop that counts them.
    pub repeat: u64,
    /// How many points it takes; none when that depends on how long it runs. With an interval and a duration it is what
    /// they give; instruments that need longer than the interval take fewer.
    pub points_total: Option<u64>,
    /// It never takes more points than this; a scan without an end stops here.
    pub max_points: u64,
    /// About how long it takes, as far as settling, intervals, a usual exchange with each instrument and the pause before
    /// it tell; zero when it has no end.
    pub planned: Duration,
}

/// The channel that drives an output pin.
pub(in crate::runner) fn level_of(output: &str) -> ChannelRef {
    ChannelRef { instrument: output.into(), channel: "level".into() }
}

/// What that channel is set to.
pub(in crate::runner) fn level(active: bool) -> Setting {
    Setting::Word(if active { "on" } else { "off" }.into())
}

/// The name of a plan's only measurement.
pub const MEASUREMENT: &str = "main";

#[cfg(test)]
mod tests;
