//! One point: everything is read at once, weighed, and becomes one row that is appended with its progress.

use super::{Execution, Halt, Trouble, holds, rounded};
use crate::clock::Wall;
use crate::model::{Channel, InstrumentStatus, Quality, QualityReason};
use crate::runner::data::Row;
use crate::runner::machine::ExitReason;
use crate::runner::plan::{ChannelRef, Condition, MEASUREMENT, Walk};
use crate::sources::reading::{Reading, Value};
use crate::sources::{Answer, Request, Setting};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;

impl Execution<'_> {
    /// Takes one point: reads everything, weighs it, and appends the row.
    pub(super) fn point(
        &mut self,
        walk: &Walk,
        channels: &[ChannelRef],
        samples: u32,
        average: bool,
        late_ms: Option<u64>,
    ) -> Result<(), Halt> {
        let set_points = walk.set_points();
        if !self.unsure.is_empty() {
            let again: Vec<_> =
                set_points.iter().filter(|(channel, _)| self.unsure.contains(channel)).cloned().collect();
            self.apply(&again)?;
            self.unsure.clear();
        }
        self.lab.measuring(self.scan);
        let wanted: Vec<ChannelRef> = if self.watched.iter().all(|w| channels.contains(w)) {
            channels.to_vec()
        } else {
            channels.iter().chain(self.watched.iter().filter(|w| !channels.contains(w))).cloned().collect()
        };
        let mut sums: BTreeMap<&ChannelRef, (f64, u32)> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for _ in 0..samples.max(1) {
            let read = self.retried(|this| this.read(&wanted))?;
            if average {
                for channel in &wanted {
                    if let Some(Value::Number(number)) = read.get(channel) {
                        let (sum, count) = sums.entry(channel).or_default();
                        *sum += number;
                        *count += 1;
                    }
                }
            }
            values = read;
        }
        for (channel, (sum, count)) in sums {
            values.insert(channel.clone(), Value::number(sum / f64::from(count)));
        }
        let mut row = Row {
            sequence_index: None,
            data: BTreeMap::new(),
            // To the microsecond: more digits are none.
            t_rel: Some((self.begun.elapsed().as_secs_f64() * 1e6).round() / 1e6),
            timestamp: Wall::now(),
            quality: BTreeMap::new(),
            late_ms: late_ms.filter(|late| *late > 0),
        };
        for source in &self.columns {
            let json = if source.set {
                set_points.iter().find(|(channel, _)| *channel == source.channel).map(|(_, to)| match to {
                    Setting::Number(number) => (*number).into(),
                    Setting::Word(word) => word.clone().into(),
                })
            } else {
                values.get(&source.channel).map(|value| {
                    if let Value::Missing(reason) = value {
                        row.quality.insert(source.column.clone(), quality(*reason));
                    }
                    value.to_json()
                })
            };
            row.data.insert(source.column.clone(), json.unwrap_or(Json::Null));
        }
        self.lab
            .take_point(self.scan, MEASUREMENT, row, walk.repeat_index())
            .map_err(|e| Trouble::error(format!("the point could not be stored: {e}")))?;
        for check in &self.plan.abort_if {
            let number = values.get(&check.channel).and_then(Value::as_number);
            if let Some(number) = number.filter(|number| holds(&check.when, *number)) {
                let is = match check.when {
                    Condition::Above(limit) => format!("above {}", rounded(limit)),
                    Condition::Below(limit) => format!("below {}", rounded(limit)),
                    Condition::Within(near, of) => format!("within {} of {}", rounded(near), rounded(of)),
                };
                let text = format!("{} is {}, {is}", check.channel, rounded(number));
                return Err(Halt::Failed(Trouble { reason: ExitReason::Limit, text }));
            }
        }
        Ok(())
    }

    /// Reads channels, all instruments at once.
    pub(super) fn read(&mut self, channels: &[ChannelRef]) -> Result<BTreeMap<ChannelRef, Value>, Halt> {
        let mut by_instrument: Vec<(&str, Vec<&str>)> = Vec::new();
        for channel in channels {
            match by_instrument.iter_mut().find(|(id, _)| *id == channel.instrument) {
                Some((_, names)) => names.push(&channel.channel),
                None => by_instrument.push((&channel.instrument, vec![&channel.channel])),
            }
        }
        let mut values = BTreeMap::new();
        let mut take = |id: &str, readings: Vec<Reading>| {
            for reading in readings {
                values.insert(ChannelRef { instrument: id.into(), channel: reading.name }, reading.value);
            }
        };
        let mut asked: Vec<(&str, Answer, Duration)> = Vec::new();
        for (id, names) in &by_instrument {
            let Some(offer) = self.offers.get(*id) else {
                take(id, self.posted(id, names));
                continue;
            };
            let (ours, state): (Vec<&str>, Vec<&str>) =
                names.iter().partition(|name| offer.channel(name).is_some_and(|c| c.readable));
            if !state.is_empty() {
                take(id, self.posted(id, &state));
            }
            if ours.is_empty() {
                continue;
            }
            let time = offer.timeout * ours.len() as u32;
            let request = Request::Read { channels: ours.into_iter().map(str::to_string).collect() };
            let answer = self.instruments.ask(id, request).map_err(|why| self.failed(why))?;
            asked.push((id, answer, time));
        }
        for (id, answer, time) in asked {
            let outcome = self.answered(id, &answer, time, "a measurement")?;
            take(id, outcome.readings);
        }
        Ok(values)
    }

    /// What a program has posted of these channels, while it is good.
    fn posted(&self, id: &str, names: &[&str]) -> Vec<Reading> {
        let event = self.lab.context().bus.state_of(&format!("instrument_status/{id}"));
        let status = event.and_then(|e| serde_json::from_str::<InstrumentStatus>(e.payload()).ok());
        let now = Wall::now();
        let reading = |name: &&str| {
            let channel = status.as_ref().and_then(|s| s.channels.get(*name));
            let value = match channel {
                None => Value::Missing(QualityReason::NotConnected),
                Some(c) if c.quality != Quality::Good => {
                    Value::Missing(c.quality_reason.unwrap_or(QualityReason::Stale))
                }
                Some(c) if is_stale(c, now) => Value::Missing(QualityReason::Stale),
                Some(c) => match (c.value, &c.text) {
                    (Some(number), _) => Value::number(number),
                    (None, Some(text)) => Value::Text(text.clone()),
                    (None, None) => Value::Missing(QualityReason::Nan),
                },
            };
            Reading { name: (*name).to_string(), value, unit: None }
        };
        names.iter().map(reading).collect()
    }
}

/// Whether nobody has spoken of a channel within its time.
fn is_stale(channel: &Channel, now: Wall) -> bool {
    let time = channel.timeout_s.filter(|s| *s > 0.0).unwrap_or(f64::INFINITY);
    now.0.saturating_sub(channel.last_updated.0) as f64 > time * 1000.0
}

/// `bad/nan` and the like.
fn quality(reason: QualityReason) -> String {
    let quality = match reason {
        QualityReason::Stale | QualityReason::Initial | QualityReason::OutOfRange => "uncertain",
        _ => "bad",
    };
    let word = serde_json::to_value(reason).ok();
    format!("{quality}/{}", word.as_ref().and_then(Json::as_str).unwrap_or("nan"))
}
