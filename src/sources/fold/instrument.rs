//! One instrument as people see it: its channels with their quality and severity, whether it moves, and in which words it
//! stands. Pure.
//!
//! Numbers of `status_code` are the groups of SECoP 1.0 (status: disabled, idle, warn, busy, error).

use super::{Feed, doubt, initial, judged};
use crate::clock::Wall;
use crate::limits;
use crate::model::{
    Channel, ChannelLimits, InstrumentState, InstrumentStatus, Limits, Quality, QualityReason, Severity,
};
use crate::sources::instruments::{ChannelOffer, Offer};
use crate::sources::reading::{Reading, Value};
use crate::sources::serial::protocol::Motion;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// How a source of a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unheard,
    Live,
    Lost(QualityReason),
}

pub(super) type Sources = BTreeMap<String, Standing>;

#[derive(Default)]
pub(super) struct Instrument {
    pub name: String,
    pub sources: Sources,
    status: Option<(String, InstrumentState)>,
    error: Option<String>,
    is_moving: Option<bool>,
    /// Who has locked it, as it says itself.
    used_by: Option<String>,
    position: BTreeMap<String, Option<f64>>,
    target: BTreeMap<String, Option<f64>>,
    /// Each with the source it came from; none: restored.
    channels: BTreeMap<String, (Option<String>, Channel)>,
    /// What is known of it from the configuration.
    offer: Option<Offer>,
    settings: BTreeMap<String, Json>,
    settings_updated: Option<Wall>,
}

impl Instrument {
    /// What was known before a restart is shown, and is not current.
    pub fn restore(&mut self, old: InstrumentStatus) {
        self.channels = old.channels.into_iter().map(|(name, c)| (name, (None, initial(c)))).collect();
        self.settings = old.settings;
        self.settings_updated = old.settings_updated;
    }

    /// What the configuration says of it.
    pub fn describe(&mut self, offer: &Offer) {
        for (name, (_, channel)) in &mut self.channels {
            if let Some(of) = offer.channel(name) {
                describe(channel, of);
            }
        }
        match &mut self.offer {
            // Several sources may feed one instrument.
            Some(known) => {
                known.channels.retain(|c| offer.channel(&c.name).is_none());
                known.channels.extend(offer.channels.iter().cloned());
                known.movement |= offer.movement;
            }
            None => self.offer = Some(offer.clone()),
        }
    }

    fn offered(&self, name: &str) -> Option<&ChannelOffer> {
        self.offer.as_ref()?.channel(name)
    }

    /// Takes one reading of a source.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn take(&mut self, feed: &Feed, reading: &Reading, at: Wall) -> Result<(), String> {
        let name = reading.name.as_str();
        if name == "status"
            && let Value::Text(word) = &reading.value
            && let Some(status) = instrument_word(word)
        {
            self.status = Some((feed.source.clone(), status));
            return Ok(());
        }
        match (name, &reading.value) {
            ("error", Value::Text(text)) => {
                self.error = Some(text.clone()).filter(|t| !t.is_empty());
                return Ok(());
            }
            // `SYSTem:LOCK:OWNer?` answers NONE (SCPI-99 volume 2, 21.13).
            ("used_by", Value::Text(who)) => {
                self.used_by = Some(who.clone()).filter(|w| !w.is_empty() && !w.eq_ignore_ascii_case("none"));
                return Ok(());
            }
            ("is_moving", value) if value.as_number().is_some() => {
                self.is_moving = value.as_number().map(|n| n != 0.0);
                return Ok(());
            }
            _ => {}
        }
        let full = |len: usize| len >= limits::CHANNELS;
        for (prefix, map) in [("position.", &mut self.position), ("target.", &mut self.target)] {
            if let Some(axis) = name.strip_prefix(prefix) {
                if !map.contains_key(axis) && full(map.len()) {
                    return Err(format!("has more than {} axes", limits::CHANNELS));
                }
                map.insert(axis.to_string(), reading.value.as_number());
                return Ok(());
            }
        }
        let old = self.channels.get(name).map(|(_, c)| c);
        if old.is_none() && full(self.channels.len()) {
            return Err(format!("has more than {} channels", limits::CHANNELS));
        }
        let (value, quality, quality_reason) = judged(&reading.value);
        let text = match &reading.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let of = self.offered(name);
        let severity = of.map(|of| match value {
            Some(value) => of.bands.judge(value).0,
            None if text.is_some() => Severity::NoAlarm,
            None => Severity::Invalid,
        });
        // That telltale was started again is no change of the value.
        let is_same = |c: &&Channel| {
            let restored = c.quality_reason == Some(QualityReason::Initial);
            let judged_same = c.quality == quality && c.severity == severity;
            c.value == value && c.text == text && (restored || judged_same)
        };
        let mut channel = Channel {
            value,
            quality,
            quality_reason,
            last_changed: old.filter(is_same).map_or(at, |c| c.last_changed),
            text,
            unit: reading.unit.clone(),
            target: old.and_then(|c| c.target),
            severity,
            last_updated: at,
            timeout_s: feed.timeout.map(|t| t.as_secs_f64()),
            moving: old.and_then(|c| c.moving),
            ..Channel::default()
        };
        if let Some(of) = of {
            describe(&mut channel, of);
        }
        self.channels.insert(name.to_string(), (Some(feed.source.clone()), channel));
        Ok(())
    }

    /// How a channel moves. True when that is new.
    pub fn moved(&mut self, motion: &Motion) -> bool {
        let Some((_, channel)) = self.channels.get_mut(&motion.channel) else { return false };
        let before = (channel.target, channel.moving, channel.in_position);
        channel.target = motion.target.or(channel.target);
        channel.moving = motion.moving.or(channel.moving);
        if let Some(of) = self.offer.as_ref().and_then(|o| o.channel(&motion.channel)) {
            describe(channel, of);
        }
        before != (channel.target, channel.moving, channel.in_position)
    }

    /// What changes seldom was read.
    pub fn set(&mut self, settings: &[Reading], at: Wall) {
        self.settings = settings.iter().map(|r| (r.name.clone(), r.value.to_json())).collect();
        self.settings_updated = Some(at);
    }

    /// A source has spoken.
    pub fn heard(&mut self, source: &str) {
        self.sources.insert(source.to_string(), Standing::Live);
        if !self.sources.values().any(|s| *s == Standing::Unheard) {
            self.channels.retain(|_, (source, _)| source.is_some());
        }
    }

    /// A source is not heard any more.
    pub fn lost(&mut self, source: &str, why: QualityReason, at: Wall) {
        self.sources.insert(source.to_string(), Standing::Lost(why));
        for (from, channel) in self.channels.values_mut() {
            if from.as_deref() == Some(source) {
                if channel.quality == Quality::Good {
                    channel.last_changed = at;
                }
                doubt(channel, why);
                (channel.moving, channel.in_position) = (None, None);
            }
        }
        if !self.sources.values().any(|s| *s == Standing::Live) {
            self.is_moving = None;
            self.used_by = None;
            self.position.values_mut().for_each(|v| *v = None);
        }
    }

    /// All of it, as it is published; `used_by` is who has claimed it here.
    pub fn told(&self, id: &str, used_by: Option<String>, at: Wall) -> InstrumentStatus {
        let channels: BTreeMap<String, Channel> =
            self.channels.iter().map(|(name, (_, channel))| (name.clone(), channel.clone())).collect();
        let movement = self.offer.as_ref().is_some_and(|offer| offer.movement);
        let is_axis = |name: &str| {
            movement && self.offered(name).is_some_and(|of| of.moves || (of.settable && of.words.is_empty()))
        };
        let (mut position, mut target) = (self.position.clone(), self.target.clone());
        for (name, channel) in channels.iter().filter(|(name, _)| is_axis(name)) {
            let is_current = channel.quality != Quality::Bad && channel.severity != Some(Severity::Invalid);
            position.insert(name.clone(), channel.value.filter(|_| is_current));
            // Where it is going by itself it says itself.
            target.entry(name.clone()).or_insert(channel.target);
        }
        let moving: Vec<&str> =
            channels.iter().filter(|(_, c)| c.moving == Some(true)).map(|(name, _)| name.as_str()).collect();
        let says = channels.values().any(|c| c.moving.is_some());
        let is_moving = if says { Some(!moving.is_empty()) } else { self.is_moving };
        let (status, error) = self.status(movement, is_moving == Some(true));
        let connected = self.sources.values().any(|s| match s {
            Standing::Live => true,
            Standing::Lost(why) => *why != QualityReason::NotConnected,
            Standing::Unheard => false,
        });
        let warns = channels.values().any(|c| matches!(c.severity, Some(Severity::Minor | Severity::Major)));
        let (status_code, status_text) = match status {
            InstrumentState::Disconnected => (0, "not connected".to_string()),
            InstrumentState::Error => (400, error.clone().unwrap_or_else(|| "an error".into())),
            InstrumentState::Moving if moving.is_empty() => (300, "moving".into()),
            InstrumentState::Moving => (300, format!("moving: {}", moving.join(", "))),
            InstrumentState::Measuring => (300, "measuring".into()),
            InstrumentState::Connected | InstrumentState::Idle if warns => {
                (200, "a value is beyond its limits".into())
            }
            InstrumentState::Idle => (100, "at rest".into()),
            InstrumentState::Connected => (100, "connected".into()),
        };
        InstrumentStatus {
            instrument_id: id.into(),
            instrument_name: self.name.clone(),
            kind: self.offer.as_ref().map(|_| if movement { "movement" } else { "measurement" }.to_string()),
            status,
            status_code: Some(status_code),
            status_text: Some(status_text),
            connected: Some(connected),
            timestamp: at,
            position,
            target,
            is_moving,
            channels,
            settings: self.settings.clone(),
            settings_updated: self.settings_updated,
            error,
            used_by: used_by.or_else(|| self.used_by.clone()),
        }
    }

    fn status(&self, movement: bool, moves: bool) -> (InstrumentState, Option<String>) {
        let said =
            self.status.as_ref().filter(|(source, _)| self.sources.get(source) == Some(&Standing::Live));
        if self.sources.values().any(|s| *s == Standing::Live) {
            let status = match said {
                _ if moves => InstrumentState::Moving,
                Some((_, status)) => *status,
                None if movement => InstrumentState::Idle,
                None => InstrumentState::Connected,
            };
            return (status, self.error.clone());
        }
        let lost = |why| self.sources.values().any(|s| *s == Standing::Lost(why));
        if lost(QualityReason::Stale) {
            (InstrumentState::Error, Some("not heard within its time".into()))
        } else if lost(QualityReason::CommError) {
            (InstrumentState::Error, Some("what it sends is not understood".into()))
        } else {
            (InstrumentState::Disconnected, None)
        }
    }
}

/// What the configuration says of a channel, and what follows from it.
fn describe(channel: &mut Channel, of: &ChannelOffer) {
    channel.tolerance = of.tolerance;
    channel.settable = of.settable;
    channel.words = of.words.clone();
    let range = |low: Option<f64>, high: Option<f64>| {
        (low.is_some() || high.is_some()).then_some(Limits { low, high })
    };
    let limits = ChannelLimits {
        control: range(of.min, of.max),
        warning: range(of.bands.low, of.bands.high),
        alarm: range(of.bands.low_alarm, of.bands.high_alarm),
    };
    channel.limits = (limits != ChannelLimits::default()).then_some(limits);
    let near = channel.value.zip(channel.target).zip(of.tolerance);
    channel.in_position = match (near, channel.moving) {
        (Some(((value, target), tolerance)), moving) => {
            Some(moving != Some(true) && (value - target).abs() <= tolerance)
        }
        _ => None,
    };
}

/// The wire's words, and two that instruments use for them.
fn instrument_word(word: &str) -> Option<InstrumentState> {
    match word.to_ascii_lowercase().as_str() {
        "busy" => Some(InstrumentState::Measuring),
        "homing" => Some(InstrumentState::Moving),
        word => serde_json::from_value(word.into()).ok(),
    }
}
