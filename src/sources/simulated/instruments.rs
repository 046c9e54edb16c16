//! Three instruments: a power supply and a multimeter around a diode, and an XY stage.

use super::super::random::Random;
use super::link::Link;
use super::out::Out;
use super::{Actions, Device, Moment, STEP_S, STEPS_PER_S, World, number, round};
use crate::bus::Command;
use crate::clock::Wall;
use crate::model::{
    Channel, CommandState, InstrumentState, InstrumentStatus, Quality, Severity, SourceState,
};
use std::collections::BTreeMap;

/// A channel as the daemon keeps it: with the times of its last change and its last reading.
#[derive(Clone, Debug)]
struct Reading {
    value: f64,
    changed: Wall,
    updated: Wall,
}

/// The part all three share: what arrived last, and how it is told.
struct Panel {
    id: &'static str,
    name: &'static str,
    /// Channel, unit.
    units: &'static [(&'static str, &'static str)],
    timeout_s: f64,
    readings: BTreeMap<&'static str, Reading>,
}

impl Panel {
    fn new(id: &'static str, name: &'static str, units: &'static [(&'static str, &'static str)]) -> Self {
        Panel { id, name, units, timeout_s: 5.0, readings: BTreeMap::new() }
    }

    fn take(&mut self, channel: &'static str, value: f64, wall: Wall) {
        let reading = self.readings.entry(channel).or_insert(Reading { value, changed: wall, updated: wall });
        if reading.value != value {
            reading.value = value;
            reading.changed = wall;
        }
        reading.updated = wall;
    }

    fn value(&self, channel: &str) -> Option<f64> {
        self.readings.get(channel).map(|reading| reading.value)
    }

    /// The status but for what is particular to the instrument.
    fn status(&self, at: Moment, link: &Link, working: InstrumentState) -> InstrumentStatus {
        let (quality, quality_reason) = link.quality(at);
        let status = match link.state(at) {
            SourceState::Ok => working,
            SourceState::Error => InstrumentState::Error,
            _ => InstrumentState::Disconnected,
        };
        let channels = self.units.iter().map(|(channel, unit)| {
            let reading = self.readings.get(channel);
            (
                (*channel).to_string(),
                Channel {
                    // A device that is gone has no value; one that is silent had this one.
                    value: reading.filter(|_| quality != Quality::Bad).map(|reading| reading.value),
                    text: None,
                    unit: Some((*unit).into()),
                    target: None,
                    quality,
                    quality_reason,
                    severity: Some(if quality == Quality::Good {
                        Severity::NoAlarm
                    } else {
                        Severity::Invalid
                    }),
                    last_changed: reading.map_or(at.wall, |reading| reading.changed),
                    last_updated: reading.map_or(at.wall, |reading| reading.updated),
                    timeout_s: Some(self.timeout_s),
                },
            )
        });
        let error = match link.state(at) {
            SourceState::Error => Some("answers can't be read".to_string()),
            SourceState::Absent => Some("not connected".into()),
            SourceState::Stale => Some(format!("silent for more than {} s", self.timeout_s)),
            _ => None,
        };
        InstrumentStatus {
            instrument_id: self.id.into(),
            instrument_name: self.name.into(),
            status,
            timestamp: link.last_seen().unwrap_or(at.wall),
            position: BTreeMap::new(),
            target: BTreeMap::new(),
            is_moving: None,
            channels: channels.collect(),
            settings: BTreeMap::new(),
            error,
            used_by: None,
        }
    }

    fn publish(&self, at: Moment, fresh: bool, status: &InstrumentStatus, out: &mut Out) {
        let say = if fresh { Out::fresh } else { Out::state };
        say(out, at, "instrument_status", self.id, status);
    }
}

/// Current through the diode at the sample, in mA: Shockley's equation (1949) with a saturation current of 1 nA and an
/// ideality of 1.9 at 300 K.
pub(super) fn diode_ma(volts: f64) -> f64 {
    let thermal = 1.9 * 0.025_852;
    1e-6 * ((volts / thermal).exp() - 1.0)
}

/// The power supply: a set voltage, and what comes out of it.
pub(super) struct Supply {
    panel: Panel,
    random: Random,
    set: f64,
    out_volts: f64,
    /// Commands whose voltage has not come out yet: id, voltage, when it is given up.
    waiting: Vec<(String, f64, f64)>,
}

/// What the supply can be set to, in volts.
const SUPPLY_V: (f64, f64) = (0.0, 5.0);

impl Supply {
    pub fn new(seed: u64) -> Self {
        let units = &[("voltage_set", "V"), ("voltage", "V"), ("current", "mA")];
        Supply {
            panel: Panel::new("psu", "Power supply", units),
            random: Random::of(seed, "psu"),
            set: 0.0,
            out_volts: 0.0,
            waiting: Vec::new(),
        }
    }
}

impl Device for Supply {
    fn source(&self) -> &'static str {
        self.panel.id
    }

    fn timeout_s(&self) -> f64 {
        self.panel.timeout_s
    }

    fn owned(&self) -> Vec<(String, Actions)> {
        vec![("instrument/psu".into(), &["set"])]
    }

    fn step(&mut self, at: Moment, link: &mut Link, world: &mut World, out: &mut Out) {
        if let Some(drive) = &world.drive {
            self.set = drive.volts;
        }
        self.out_volts += (self.set - self.out_volts) * 0.7;
        world.volts = self.out_volts;
        let fresh = at.every(4) && link.receive(at);
        if fresh {
            let noise = self.random.gauss();
            self.panel.take("voltage_set", round(self.set, 3), at.wall);
            self.panel.take("voltage", round(self.out_volts + 0.0004 * noise, 4), at.wall);
            self.panel.take(
                "current",
                round(diode_ma(self.out_volts.min(0.8)) * (1.0 + 0.002 * noise), 4),
                at.wall,
            );
        }
        if !(fresh || at.every(STEPS_PER_S)) {
            return;
        }
        let working = if world.drive.is_some() { InstrumentState::Measuring } else { InstrumentState::Idle };
        let mut status = self.panel.status(at, link, working);
        status.used_by = world.drive.as_ref().map(|drive| drive.scan_id.clone());
        if let Some(channel) = status.channels.get_mut("voltage") {
            channel.target = self.panel.value("voltage_set");
        }
        status.settings.insert("current_limit_mA".into(), 50.into());
        self.panel.publish(at, fresh, &status, out);
        if fresh {
            let volts = self.panel.value("voltage").unwrap_or(f64::NAN);
            self.waiting.retain(|(id, wanted, until)| {
                let there = (volts - wanted).abs() < 0.01;
                if there {
                    out.completed(id, "idle");
                }
                !there && at.t() < *until
            });
        }
    }

    fn command(&mut self, command: &Command, at: Moment, link: &Link, world: &World, out: &mut Out) {
        let Some(volts) = number(command, "voltage") else {
            return out.rejected(&command.id, "expected \"voltage\": a number in volts");
        };
        if !(SUPPLY_V.0..=SUPPLY_V.1).contains(&volts) {
            return out.rejected(
                &command.id,
                format!("voltage is {volts}; expected {} to {} V", SUPPLY_V.0, SUPPLY_V.1),
            );
        }
        if let Some(drive) = &world.drive {
            return out.rejected(&command.id, format!("in_use: {} has the power supply", drive.scan_id));
        }
        if !link.is_open() {
            return out.rejected(&command.id, "the power supply does not answer");
        }
        for (id, ..) in self.waiting.drain(..) {
            out.finish(&id, CommandState::Superseded, None, None);
        }
        self.set = volts;
        self.waiting.push((command.id.clone(), volts, at.t() + 10.0));
    }
}

/// The multimeter: the voltage at the sample and its own temperature.
pub(super) struct Meter {
    panel: Panel,
    random: Random,
    temperature: f64,
}

impl Meter {
    pub fn new(seed: u64) -> Self {
        let units = &[("voltage", "V"), ("temperature", "degC")];
        Meter {
            panel: Panel::new("dmm", "Multimeter", units),
            random: Random::of(seed, "dmm"),
            temperature: 31.0,
        }
    }
}

impl Device for Meter {
    fn source(&self) -> &'static str {
        self.panel.id
    }

    fn timeout_s(&self) -> f64 {
        self.panel.timeout_s
    }

    fn step(&mut self, at: Moment, link: &mut Link, world: &mut World, out: &mut Out) {
        self.temperature += (31.0 - self.temperature) * 0.002 + 0.02 * self.random.gauss();
        let noise = self.random.gauss();
        let fresh = at.every(4) && link.receive(at);
        if fresh {
            self.panel.take("voltage", round(world.volts + 0.000_05 * noise, 5), at.wall);
            self.panel.take("temperature", round(self.temperature, 1), at.wall);
        }
        if !(fresh || at.every(STEPS_PER_S)) {
            return;
        }
        let mut status = self.panel.status(at, link, InstrumentState::Measuring);
        status.used_by = world.drive.as_ref().map(|drive| drive.scan_id.clone());
        status.settings.insert("function".into(), "VOLT:DC".into());
        status.settings.insert("range_V".into(), 1.into());
        self.panel.publish(at, fresh, &status, out);
    }
}

/// Where the stage may go, in mm, and how fast it is, in mm/s.
const STAGE_MM: (f64, f64) = (0.0, 100.0);
const STAGE_SPEED: f64 = 12.0;
/// Nearer than this it is there.
const TOLERANCE_MM: f64 = 0.005;
/// Seconds it rests before it goes to its next place by itself.
const REST_S: f64 = 9.0;

/// The XY stage.
pub(super) struct Stage {
    panel: Panel,
    random: Random,
    position: [f64; 2],
    target: [f64; 2],
    moving: bool,
    rests_until: f64,
    /// What arrived last: position, target, moving.
    seen: Option<([f64; 2], [f64; 2], bool)>,
    waiting: Option<(String, &'static str)>,
}

impl Stage {
    pub fn new(seed: u64) -> Self {
        Stage {
            panel: Panel::new("stage", "XY stage", &[("x", "mm"), ("y", "mm")]),
            random: Random::of(seed, "stage"),
            position: [50.0, 50.0],
            target: [50.0, 50.0],
            moving: false,
            rests_until: 2.0,
            seen: None,
            waiting: None,
        }
    }

    fn travel(&mut self, at: Moment) {
        if !self.moving {
            if at.t() >= self.rests_until && self.waiting.is_none() {
                self.target = [0, 1].map(|_| round(self.random.between(STAGE_MM.0, STAGE_MM.1), 1));
                self.moving = true;
            }
            return;
        }
        for axis in 0..2 {
            let left = self.target[axis] - self.position[axis];
            let reach = STAGE_SPEED * STEP_S;
            // Slows down over the last millimetres, as stages do.
            self.position[axis] +=
                left.clamp(-reach, reach).clamp(-left.abs() * 0.6 - 0.02, left.abs() * 0.6 + 0.02);
            if left.abs() < 0.02 {
                self.position[axis] = self.target[axis];
            }
        }
        if self.position == self.target {
            self.moving = false;
            self.rests_until = at.t() + REST_S;
        }
    }

    fn confirm(&mut self, out: &mut Out) {
        let (Some((id, action)), Some((position, target, moving))) = (&self.waiting, self.seen) else {
            return;
        };
        if moving {
            return;
        }
        let there = (0..2).all(|axis| (position[axis] - target[axis]).abs() <= TOLERANCE_MM);
        if *action == "stop" || there {
            out.completed(id, "idle");
        } else {
            out.finish(
                id,
                CommandState::Failed,
                Some("idle"),
                Some("the stage stopped before its target".into()),
            );
        }
        self.waiting = None;
    }
}

impl Device for Stage {
    fn source(&self) -> &'static str {
        self.panel.id
    }

    fn timeout_s(&self) -> f64 {
        self.panel.timeout_s
    }

    fn owned(&self) -> Vec<(String, Actions)> {
        vec![("instrument/stage".into(), &["move", "stop"])]
    }

    fn step(&mut self, at: Moment, link: &mut Link, _: &mut World, out: &mut Out) {
        self.travel(at);
        let fresh = at.every(2) && link.receive(at);
        if fresh {
            self.seen = Some((self.position.map(|mm| round(mm, 3)), self.target, self.moving));
            self.panel.take("x", round(self.position[0], 3), at.wall);
            self.panel.take("y", round(self.position[1], 3), at.wall);
        }
        let Some((position, target, moving)) = self.seen.filter(|_| fresh || at.every(STEPS_PER_S)) else {
            return;
        };
        let working = if moving { InstrumentState::Moving } else { InstrumentState::Idle };
        let mut status = self.panel.status(at, link, working);
        let known = link.quality(at).0 != Quality::Bad;
        for (n, axis) in ["x", "y"].into_iter().enumerate() {
            status.position.insert(axis.into(), known.then_some(position[n]));
            status.target.insert(axis.into(), known.then_some(target[n]));
            if let Some(channel) = status.channels.get_mut(axis) {
                channel.target = known.then_some(target[n]);
            }
        }
        status.is_moving = known.then_some(moving);
        status.settings.insert("velocity_mm_s".into(), STAGE_SPEED.into());
        // At rest it is told once a second, moving at every sample.
        self.panel.publish(at, fresh && (moving || at.every(STEPS_PER_S)), &status, out);
        if fresh {
            self.confirm(out);
        }
    }

    fn command(&mut self, command: &Command, at: Moment, link: &Link, _: &World, out: &mut Out) {
        if !link.is_open() {
            return out.rejected(&command.id, "the stage does not answer");
        }
        let wanted = [("x", 0), ("y", 1)].map(|(axis, n)| number(command, axis).unwrap_or(self.target[n]));
        let action = if command.action == "move" { "move" } else { "stop" };
        if action == "move" {
            if number(command, "x").is_none() && number(command, "y").is_none() {
                return out.rejected(&command.id, "expected \"x\" or \"y\": a number in mm");
            }
            if !wanted.iter().all(|mm| (STAGE_MM.0..=STAGE_MM.1).contains(mm)) {
                let [x, y] = wanted;
                return out.rejected(
                    &command.id,
                    format!("{x}, {y} is outside {} to {} mm", STAGE_MM.0, STAGE_MM.1),
                );
            }
        }
        if let Some((id, _)) = self.waiting.take() {
            out.finish(&id, CommandState::Superseded, None, None);
        }
        if action == "move" {
            self.target = wanted;
            self.moving = true;
        } else {
            self.moving = false;
            self.rests_until = at.t() + REST_S;
        }
        self.waiting = Some((command.id.clone(), action));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diode_conducts_one_way() {
        assert_eq!(diode_ma(0.0), 0.0);
        assert!(diode_ma(-0.5) < 0.0 && diode_ma(-0.5) > -0.001);
        // n Vt ln(1 mA / 1 nA) = 0.0491 * 13.8 V
        assert!((diode_ma(0.6786) - 1.0).abs() < 0.01, "{}", diode_ma(0.6786));
    }

    #[test]
    fn the_stage_arrives_and_stays_within_its_limits() {
        let mut stage = Stage::new(3);
        let (mut rested, mut step) = (0, 0);
        while rested < 20 {
            let before = stage.position;
            let was_moving = stage.moving;
            stage.travel(Moment { step, wall: Wall(0) });
            step += 1;
            assert!(step < 20_000, "the stage never arrives");
            for (before, after) in before.into_iter().zip(stage.position) {
                assert!((0.0..=100.0).contains(&after));
                assert!((after - before).abs() <= STAGE_SPEED * STEP_S + 1e-9);
            }
            if was_moving && !stage.moving {
                assert_eq!(stage.position, stage.target);
                rested += 1;
            }
        }
    }
}
