//! Something an instrument is told to do: commands that are sent one after the other, then looks at where it stands, and
//! the judgement whether it has arrived. Pure.
//!
//! **Promises.** A channel has arrived when it stands still, after its flag was seen to rise or had time to, and its
//! read-back is within the tolerance, and the device reports no error: each alone has been wrong for somebody.

use super::answers::Answer;
use super::answers::{printable, value_of};
use crate::config::{ScpiChannel, place_of_value};
use crate::sources::instruments::{Failure, Setting, outside};
use crate::sources::reading::{Reading, Value};
use crate::sources::serial::pending::No;
use std::collections::VecDeque;
use std::time::Duration;

/// Time between two looks: at first short, as most instruments have arrived at once, then up to this.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// A flag that has not risen within this time is not going to: what was asked for was there already.
const RISE: Duration = Duration::from_millis(50);
/// How long after the flag fell the read-back may take to come within the tolerance.
const REST: Duration = Duration::from_millis(300);
/// What came to rest further from where it was sent than so many tolerances did not miss it: it was stopped.
const SHORT: f64 = 10.0;

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A set, or a move of several channels.
    Set,
    Stop,
    Safe,
    Clear,
    /// A line of the caller's own that is no question.
    Write,
}

/// See the module above.
#[derive(Clone, Debug)]
pub(super) struct Drive {
    pub id: String,
    pub purpose: Purpose,
    /// What is still to be sent.
    pub commands: VecDeque<String>,
    pub legs: Vec<Leg>,
    /// Whether it is waited for.
    pub arrive: bool,
    /// How long it may take.
    pub within: Duration,
    /// The error queue was looked into, or there is none.
    pub checked: bool,
    /// What it had to say.
    pub errors: Vec<String>,
    /// When the last command had been sent.
    pub sent: Duration,
    /// When it is looked at next.
    pub look_at: Duration,
    /// What is asked in a look, in this order, and how much of it has been.
    pub queries: Vec<String>,
    pub asked: usize,
    looks: u32,
}

/// One channel of it.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub channel: usize,
    /// None: it only has to stand still.
    pub wanted: Option<Wanted>,
    readback: Option<String>,
    moving: Option<String>,
    rose: bool,
    moves: Option<bool>,
    /// Since when it is at rest in the wrong place.
    rests: Option<Duration>,
    is: Option<Value>,
}

/// A channel, and whether it moves.
pub(super) type Moves = (usize, bool);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    Number {
        value: f64,
        tolerance: f64,
        /// The tolerance is nobody's wish but our guess, and not less than this.
        guess: Option<f64>,
    },
    Word(String),
}

#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Arrived,
    /// To be looked at again then.
    Look(Duration),
    Failed(Failure, String),
}

impl Drive {
    pub fn new(id: &str, purpose: Purpose, commands: impl IntoIterator<Item = String>) -> Drive {
        Drive {
            id: id.to_string(),
            purpose,
            commands: commands.into_iter().collect(),
            legs: Vec::new(),
            arrive: true,
            within: Duration::ZERO,
            checked: false,
            errors: Vec::new(),
            sent: Duration::ZERO,
            look_at: Duration::ZERO,
            queries: Vec::new(),
            asked: 0,
            looks: 0,
        }
    }

    /// A channel that has to arrive. Whether it moves is asked before where it is: what stands still is where it is.
    pub fn leg(&mut self, n: usize, channel: &ScpiChannel, wanted: Option<Wanted>) {
        let readback = wanted.is_some().then(|| readback_query(channel)).flatten().map(str::to_string);
        let moving = channel.moving.clone();
        let at = self.legs.iter().filter(|leg| leg.moving.is_some()).count();
        for (query, at) in [(&moving, at), (&readback, usize::MAX)] {
            if let Some(query) = query
                && !self.queries.contains(query)
            {
                self.queries.insert(at.min(self.queries.len()), query.clone());
            }
        }
        self.within = self.within.max(channel.settle);
        self.legs.push(Leg {
            channel: n,
            wanted,
            readback,
            moving,
            rose: false,
            moves: None,
            rests: None,
            is: None,
        });
    }

    /// Whether it is a set, or a move, of one of these.
    pub fn touches(&self, other: &Drive) -> bool {
        self.legs.iter().any(|leg| other.legs.iter().any(|o| o.channel == leg.channel))
    }

    /// The answer to one of its queries. Gives what of it is new: readings, and which channel moves or not.
    ///
    /// # Errors
    /// Why it is no use.
    pub fn heard(
        &mut self,
        query: &str,
        answer: &Answer,
        channels: &[ScpiChannel],
    ) -> Result<(Vec<Reading>, Vec<Moves>), String> {
        let (mut readings, mut motion) = (Vec::new(), Vec::new());
        for leg in &mut self.legs {
            let Some(channel) = channels.get(leg.channel) else { continue };
            if leg.moving.as_deref() == Some(query) {
                let moves = moves_of(channel, answer)?;
                leg.moves = Some(moves);
                leg.rose |= moves;
                motion.push((leg.channel, moves));
            }
            if leg.readback.as_deref() == Some(query) {
                let part = if channel.readback.is_some() { None } else { channel.part };
                let value = value_of(channel, answer, part)?;
                leg.is = Some(value.clone());
                readings.push(super::reading(channel, value));
            }
        }
        Ok((readings, motion))
    }

    /// After a whole look.
    pub fn judge(&mut self, now: Duration, channels: &[ScpiChannel]) -> Verdict {
        self.looks += 1;
        if !self.errors.is_empty() {
            let told: Vec<String> = self.legs.iter().map(|leg| leg.told(channels)).collect();
            let reports = format!("the device reports {}", self.errors.join("; "));
            return Verdict::Failed(Failure::DeviceError, format!("{}; {reports}", told.join(", ")));
        }
        let is_over = now >= self.sent + self.within;
        let mut all = true;
        for leg in &mut self.legs {
            let within = leg.is_within();
            let rose = leg.rose || leg.moving.is_none() || leg.wanted.is_none() || now >= self.sent + RISE;
            let stands = leg.moving.is_none() || leg.moves == Some(false);
            if within && stands && rose {
                continue;
            }
            all = false;
            let rests = leg.rose && stands && !within;
            leg.rests = rests.then(|| leg.rests.unwrap_or(now));
            let told = leg.told(channels);
            if leg.rests.is_some_and(|since| now >= since + REST) {
                return match leg.is_short() {
                    true => Verdict::Failed(
                        Failure::StoppedExternally,
                        format!("{told}: it was stopped on its way"),
                    ),
                    false => Verdict::Failed(Failure::NotInTolerance, told),
                };
            }
            if is_over {
                let within = self.within;
                return match (&leg.moving, leg.moves) {
                    (Some(_), Some(true)) => {
                        Verdict::Failed(Failure::Timeout, format!("{told}, and moves still after {within:?}"))
                    }
                    (Some(_), _) if !leg.rose && !leg.is_within() => Verdict::Failed(
                        Failure::Timeout,
                        format!("{told}; it did not begin to move within {within:?}"),
                    ),
                    _ => Verdict::Failed(Failure::NotInTolerance, told),
                };
            }
        }
        if all {
            return Verdict::Arrived;
        }
        let pause = AGAIN.0.saturating_mul(1 << (self.looks - 1).min(8)).min(AGAIN.1);
        let end = self.sent + self.within;
        Verdict::Look((now + pause).min(end).max(now))
    }

    /// What its channels read back.
    pub fn readings(&self, channels: &[ScpiChannel]) -> Vec<Reading> {
        let read = |leg: &Leg| Some(super::reading(channels.get(leg.channel)?, leg.is.clone()?));
        self.legs.iter().filter_map(read).collect()
    }

    /// Where its channels stand now, those that said a number.
    pub fn stands(&self) -> impl Iterator<Item = (usize, f64)> {
        self.legs.iter().filter_map(|leg| Some((leg.channel, leg.is.as_ref()?.as_number()?)))
    }
}

impl Leg {
    /// It begins there: a tolerance that nobody asked for is no more than half of the way, or a move that was not even
    /// begun would have arrived.
    pub fn begins(&mut self, from: f64) {
        if let Some(Wanted::Number { value, tolerance, guess: Some(least) }) = &mut self.wanted {
            *tolerance = tolerance.min((*value - from).abs() / 2.0).max(*least);
        }
    }

    /// The number it is sent to.
    pub fn target(&self) -> Option<f64> {
        match self.wanted {
            Some(Wanted::Number { value, .. }) => Some(value),
            _ => None,
        }
    }
    fn is_within(&self) -> bool {
        let Some(is) = &self.is else { return true };
        match &self.wanted {
            None => true,
            Some(Wanted::Number { value, tolerance, .. }) => {
                is.as_number().is_some_and(|is| (is - value).abs() <= *tolerance)
            }
            Some(Wanted::Word(wanted)) => match is {
                Value::Text(is) => is.eq_ignore_ascii_case(wanted),
                is => is.as_number().zip(wanted.parse::<f64>().ok()).is_some_and(|(a, b)| a == b),
            },
        }
    }

    /// It is so far from where it was sent that it can't have come to rest there by itself.
    fn is_short(&self) -> bool {
        match (&self.wanted, self.is.as_ref().and_then(Value::as_number)) {
            (Some(Wanted::Number { value, tolerance, .. }), Some(is)) => {
                (is - value).abs() > SHORT * tolerance
            }
            _ => false,
        }
    }

    /// Where it was sent and where it is.
    fn told(&self, channels: &[ScpiChannel]) -> String {
        let channel = channels.get(self.channel);
        let name = channel.map(|c| c.name.as_str()).unwrap_or_default();
        let unit = channel.and_then(|c| c.unit.as_ref()).map(|u| format!(" {u}")).unwrap_or_default();
        let wanted = match &self.wanted {
            None => return format!("{name} does not stand still"),
            Some(Wanted::Number { value, .. }) => value.to_string(),
            Some(Wanted::Word(word)) => word.clone(),
        };
        let is = match &self.is {
            None => return format!("set {name} to {wanted}{unit}"),
            Some(Value::Missing(_)) => "no value".to_string(),
            Some(Value::Text(text)) => text.clone(),
            Some(other) => other.to_json().to_string(),
        };
        if self.is_within() {
            return format!("{name} is {wanted}{unit}");
        }
        format!("set {name} to {wanted}{unit}, but it reads back {is}{unit}")
    }
}

/// The query that shows whether a set has worked.
pub(super) fn readback_query(channel: &ScpiChannel) -> Option<&str> {
    channel.readback.as_deref().or(channel.get.as_deref())
}

/// Whether an answer says that it moves.
pub(super) fn moves_of(channel: &ScpiChannel, answer: &Answer) -> Result<bool, String> {
    let text = printable(&answer.line).ok_or("is not text")?;
    let text = text.trim().trim_matches(['"', '\'']);
    let number = text.parse::<f64>().ok();
    let same = |key: &str| {
        key.eq_ignore_ascii_case(text) || number.zip(key.parse::<f64>().ok()).is_some_and(|(a, b)| a == b)
    };
    if let Some((_, means)) = channel.moving_words.iter().find(|(key, _)| same(key)) {
        return Ok(means == "moving");
    }
    if let Some(number) = number {
        return Ok(number != 0.0);
    }
    match text.to_ascii_lowercase().as_str() {
        "moving" | "busy" | "running" | "ramping" | "homing" | "true" | "yes" | "on" => Ok(true),
        "still" | "idle" | "ready" | "stopped" | "done" | "holding" | "hold" | "false" | "no" | "off" => {
            Ok(false)
        }
        _ => Err(format!("does not say whether it moves; add it to moving_words of {}", channel.name)),
    }
}

/// The command that sets a channel, and what the read-back has to be.
pub(super) fn command_of(
    channel: &ScpiChannel,
    to: &Setting,
    tolerance: Option<f64>,
) -> Result<(String, Wanted), No> {
    let (text, wanted) = text_to_send(channel, to, tolerance)?;
    let (before, _, after) = place_of_value(channel.set.as_deref().unwrap_or_default())?;
    Ok((format!("{before}{text}{after}"), wanted))
}

/// The value as it is sent, and what the read-back has to be.
pub(super) fn text_to_send(
    channel: &ScpiChannel,
    to: &Setting,
    tolerance: Option<f64>,
) -> Result<(String, Wanted), No> {
    let unit = channel.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
    let (number, word) = match to {
        Setting::Number(number) => (Some(*number).filter(|n| n.is_finite()), number.to_string()),
        Setting::Word(word) => {
            (word.trim().parse::<f64>().ok().filter(|n| n.is_finite()), word.trim().to_string())
        }
    };
    if let Some((sent, word)) =
        channel.words.iter().find(|(sent, w)| w.eq_ignore_ascii_case(&word) || **sent == word)
    {
        return Ok((sent.clone(), Wanted::Word(word.clone())));
    }
    if !channel.words.is_empty() {
        let words: Vec<_> = channel.words.values().map(String::as_str).collect();
        return Err(format!("`value` is {to}; expected one of {}", words.join(", ")).into());
    }
    if let Some(number) = number {
        let (min, max) = (channel.min, channel.max);
        if let Some(why) = outside(&channel.name, number, (min, max), channel.unit.as_deref()) {
            return Err(No { code: Some(Failure::Limit), why });
        }
        let raw = (number - channel.offset) / channel.scale;
        if !raw.is_finite() {
            return Err(format!("{number} can't be sent").into());
        }
        let (_, decimals, _) = place_of_value(channel.set.as_deref().unwrap_or_default())?;
        // Plus zero, so that there is no minus zero.
        let (text, step) = match decimals {
            None => ((raw + 0.0).to_string(), 0.0),
            Some(n) => (format!("{:.n$}", raw + 0.0), 0.5 * 10f64.powi(-(n as i32)) * channel.scale.abs()),
        };
        // The limits are those of what the device gets, which has been rounded.
        let sent = text.parse::<f64>().map_or(number, |raw| raw * channel.scale + channel.offset);
        let beyond = |limit: f64, past: f64| past > 1e-9 * limit.abs().max(number.abs());
        if min.is_some_and(|min| beyond(min, min - sent)) || max.is_some_and(|max| beyond(max, sent - max)) {
            let why = format!(
                "{} {number}{unit} would be sent as {text}, which is {sent}{unit} and outside its limits",
                channel.name
            );
            return Err(No { code: Some(Failure::Limit), why });
        }
        let span = [Some(number), min, max].into_iter().flatten().fold(0.0_f64, |most, n| most.max(n.abs()));
        let (least, asked) = (step.max(1e-9 * span), tolerance.or(channel.tolerance));
        let tolerance = asked.unwrap_or(span * 0.01).max(least);
        let guess = asked.is_none().then_some(least);
        return Ok((text, Wanted::Number { value: number, tolerance, guess }));
    }
    let numbers_only = channel.unit.is_some() || channel.min.is_some() || channel.max.is_some();
    if numbers_only || matches!(to, Setting::Number(_)) {
        return Err(format!("`value` is {to}; expected a number").into());
    }
    if word.is_empty() || word.len() > 64 || word.contains(|c: char| c.is_control() || c == ';') {
        return Err(format!("`value` is {to}; expected a word of at most 64 bytes, without ;").into());
    }
    Ok((word.clone(), Wanted::Word(word)))
}
