//! Three instruments: a power supply and a multimeter around a diode, and an XY stage. They speak SCPI.
//!
//! The supply's output follows at once what it is set to; the multimeter measures what is at the diode and goes through it
//! at the moment it is asked.

use super::out::Out;
use super::scpi::{Commands, Front, Refused, number, unknown};
use super::{At, Moment, STALE, STEP_S, Wired, World, round};
use crate::config::{ProtocolConfig, Scpi, ScpiChannel, SerialPort, Sink};
use crate::random::Random;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often an instrument is asked: its values are published as often.
const POLL: Duration = Duration::from_millis(500);
/// Answers come at once; a machine with too much to do may take a while.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A channel that is a part of the answer to `get`.
fn part(get: &str, n: u32, name: &str, unit: Option<&str>) -> ScpiChannel {
    ScpiChannel {
        name: name.into(),
        get: Some(get.into()),
        part: Some(n),
        unit: unit.map(str::to_string),
        ..ScpiChannel::default()
    }
}

/// The port of the instrument `id`.
fn port(
    id: &'static str,
    name: &str,
    at: At,
    identity: &str,
    settings: &[(&str, &str)],
    channels: Vec<ScpiChannel>,
) -> SerialPort {
    let settings = settings.iter().map(|(name, query)| ((*name).into(), (*query).into())).collect();
    let scpi = Scpi {
        settings,
        expect: Some(identity.into()),
        poll: POLL,
        timeout: TIMEOUT,
        gap: Duration::ZERO,
        channels,
        ..Scpi::default()
    };
    SerialPort {
        name: Some(name.into()),
        stale_after: STALE,
        ..SerialPort::of(id, at, ProtocolConfig::Scpi(scpi), Sink::Instrument(id.into()))
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
    front: Front,
    unit: SupplyUnit,
}

struct SupplyUnit {
    random: Random,
    set: f64,
    on: bool,
}

/// What the supply can be set to, in volts.
const SUPPLY_V: (f64, f64) = (0.0, 5.0);
/// What it gives at most: the diode takes no more than this.
const SAMPLE_V: f64 = 0.8;
const SUPPLY_ASKED: &str = "VOLT?;:MEAS:VOLT?;:MEAS:CURR?;:OUTP?;:STAT?";

impl Supply {
    pub fn new(seed: u64) -> Self {
        let unit = SupplyUnit { random: Random::of(seed, "psu"), set: 0.0, on: true };
        Supply { front: Front::default(), unit }
    }
}

impl SupplyUnit {
    /// Gives the voltage to what is connected.
    fn drive(&self, world: &mut World) {
        world.volts = if self.on { self.set } else { 0.0 };
        world.milliamps = diode_ma(world.volts.min(SAMPLE_V));
    }
}

impl Commands for SupplyUnit {
    fn identity(&self) -> String {
        "telltale,simulated power supply,0,1".into()
    }

    fn command(
        &mut self,
        header: &str,
        value: Option<&str>,
        world: &mut World,
    ) -> Result<Option<String>, Refused> {
        Ok(Some(match header {
            "VOLT" => {
                self.set = number(value, SUPPLY_V)?;
                self.drive(world);
                return Ok(None);
            }
            "OUTP" => {
                self.on = number(value, (0.0, 1.0))? != 0.0;
                self.drive(world);
                return Ok(None);
            }
            "VOLT?" => format!("{:.3}", self.set),
            "MEAS:VOLT?" => format!("{:.4}", round(world.volts + 0.0004 * self.random.gauss(), 4)),
            "MEAS:CURR?" => {
                format!("{:.4}", round(world.milliamps * (1.0 + 0.002 * self.random.gauss()), 4))
            }
            "VOLT:PROT?" => format!("{:.2}", SUPPLY_V.1 + 0.5),
            "OUTP?" => u8::from(self.on).to_string(),
            "STAT?" => "IDLE".into(),
            other => return Err(unknown(other)),
        }))
    }
}

impl Wired for Supply {
    fn id(&self) -> &'static str {
        "psu"
    }

    fn port(&self, at: At) -> SerialPort {
        let part = |n, name, unit| part(SUPPLY_ASKED, n, name, unit);
        let channels = vec![
            part(0, "voltage_set", Some("V")),
            // Set is what comes out, not what was asked for.
            ScpiChannel {
                set: Some("VOLT {:.3}".into()),
                readback: Some("MEAS:VOLT?".into()),
                min: Some(SUPPLY_V.0),
                max: Some(SUPPLY_V.1),
                tolerance: Some(0.01),
                settle: Duration::from_secs(2),
                ..part(1, "voltage", Some("V"))
            },
            part(2, "current", Some("mA")),
            ScpiChannel {
                set: Some("OUTP {}".into()),
                readback: Some("OUTP?".into()),
                words: BTreeMap::from([("0".into(), "off".into()), ("1".into(), "on".into())]),
                ..part(3, "output", None)
            },
            part(4, "status", None),
        ];
        let mut port =
            port("psu", "Power supply", at, "power supply", &[("protection_V", "VOLT:PROT?")], channels);
        if let ProtocolConfig::Scpi(scpi) = &mut port.protocol {
            scpi.safe = vec!["VOLT 0".into()];
        }
        port
    }

    fn step(&mut self, _: Moment, world: &mut World, _: &mut Out) -> Vec<String> {
        self.unit.drive(world);
        Vec::new()
    }

    fn hear(&mut self, line: &str, _: Moment, world: &mut World) -> Option<String> {
        self.front.hear(line, world, &mut self.unit)
    }
}

/// The multimeter: the voltage at the sample, the current through it, and its own temperature.
pub(super) struct Meter {
    front: Front,
    unit: MeterUnit,
}

struct MeterUnit {
    random: Random,
    temperature: f64,
}

const METER_ASKED: &str = "MEAS:VOLT?;:MEAS:CURR?;:SYST:TEMP?;:STAT?";

impl Meter {
    pub fn new(seed: u64) -> Self {
        let unit = MeterUnit { random: Random::of(seed, "dmm"), temperature: 31.0 };
        Meter { front: Front::default(), unit }
    }
}

impl Commands for MeterUnit {
    fn identity(&self) -> String {
        "telltale,simulated multimeter,0,1".into()
    }

    fn command(
        &mut self,
        header: &str,
        _: Option<&str>,
        world: &mut World,
    ) -> Result<Option<String>, Refused> {
        Ok(Some(match header {
            "MEAS:VOLT?" => format!("{:.5}", round(world.volts + 0.000_05 * self.random.gauss(), 5)),
            "MEAS:CURR?" => {
                let noise = (self.random.gauss(), self.random.gauss());
                format!("{:.5}", round(world.milliamps * (1.0 + 0.005 * noise.0) + 0.002 * noise.1, 5))
            }
            "VOLT:NPLC?" => "1.0".into(),
            "SYST:TEMP?" => format!("{:.1}", self.temperature),
            "STAT?" => "MEASURING".into(),
            other => return Err(unknown(other)),
        }))
    }
}

impl Wired for Meter {
    fn id(&self) -> &'static str {
        "dmm"
    }

    fn port(&self, at: At) -> SerialPort {
        let part = |n, name, unit| part(METER_ASKED, n, name, unit);
        let channels = vec![
            part(0, "voltage", Some("V")),
            part(1, "current", Some("mA")),
            part(2, "temperature", Some("degC")),
            part(3, "status", None),
        ];
        port("dmm", "Multimeter", at, "multimeter", &[("cycles", "VOLT:NPLC?")], channels)
    }

    fn step(&mut self, _: Moment, _: &mut World, _: &mut Out) -> Vec<String> {
        let unit = &mut self.unit;
        unit.temperature += (31.0 - unit.temperature) * 0.002 + 0.02 * unit.random.gauss();
        Vec::new()
    }

    fn hear(&mut self, line: &str, _: Moment, world: &mut World) -> Option<String> {
        self.front.hear(line, world, &mut self.unit)
    }
}

/// Where the stage may go, in mm, and how fast it is, in mm/s.
const STAGE_MM: (f64, f64) = (0.0, 100.0);
const STAGE_SPEED: f64 = 15.0;
/// Nearer than this it is there.
const TOLERANCE_MM: f64 = 0.005;
/// Seconds it rests before it goes to its next place by itself.
const REST_S: f64 = 9.0;
/// Seconds that it stays where somebody has sent it or stopped it.
const STAYS_S: f64 = 120.0;
/// From one end to the other, and a little.
const TRAVEL: Duration = Duration::from_millis(9_000);
const STAGE_ASKED: &str = "POS:X?;:POS:Y?;:TARG:X?;:TARG:Y?;:STAT?";

/// The XY stage.
pub(super) struct Stage {
    front: Front,
    unit: StageUnit,
}

struct StageUnit {
    random: Random,
    position: [f64; 2],
    target: [f64; 2],
    moving: bool,
    /// It was told to stop or to move since the last step.
    told: bool,
    /// It goes where it was told to, not by itself.
    is_sent: bool,
    rests_until: f64,
}

impl Stage {
    pub fn new(seed: u64) -> Self {
        let unit = StageUnit {
            random: Random::of(seed, "stage"),
            position: [50.0, 50.0],
            target: [50.0, 50.0],
            moving: false,
            told: false,
            is_sent: false,
            rests_until: 2.0,
        };
        Stage { front: Front::default(), unit }
    }
}

impl StageUnit {
    fn travel(&mut self, at: Moment) {
        if std::mem::take(&mut self.told) {
            self.is_sent = true;
            self.rests_until = at.t() + STAYS_S;
        }
        if !self.moving {
            if at.t() >= self.rests_until {
                self.is_sent = false;
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
            self.rests_until = at.t() + if self.is_sent { STAYS_S } else { REST_S };
        }
    }

    fn go(&mut self, axis: usize, value: Option<&str>) -> Result<(), Refused> {
        self.target[axis] = number(value, STAGE_MM)?;
        (self.moving, self.told) = (true, true);
        Ok(())
    }
}

impl Commands for StageUnit {
    fn identity(&self) -> String {
        "telltale,simulated XY stage,0,1".into()
    }

    fn command(
        &mut self,
        header: &str,
        value: Option<&str>,
        _: &mut World,
    ) -> Result<Option<String>, Refused> {
        let [x, y] = self.position;
        let [to_x, to_y] = self.target;
        Ok(Some(match header {
            "MOVE:X" => return self.go(0, value).map(|()| None),
            "MOVE:Y" => return self.go(1, value).map(|()| None),
            "STOP" => {
                (self.target, self.moving, self.told) = (self.position, false, true);
                return Ok(None);
            }
            "POS:X?" => format!("{x:.3}"),
            "POS:Y?" => format!("{y:.3}"),
            "TARG:X?" => format!("{to_x:.3}"),
            "TARG:Y?" => format!("{to_y:.3}"),
            "VEL?" => format!("{STAGE_SPEED:.1}"),
            "MOV?" => u8::from(self.moving).to_string(),
            "STAT?" => if self.moving { "MOVING" } else { "IDLE" }.into(),
            other => return Err(unknown(other)),
        }))
    }
}

impl Wired for Stage {
    fn id(&self) -> &'static str {
        "stage"
    }

    fn port(&self, at: At) -> SerialPort {
        let part = |n, name, unit| part(STAGE_ASKED, n, name, unit);
        let axis = |n, name, letter| ScpiChannel {
            set: Some(format!("MOVE:{letter} {{:.3}}")),
            readback: Some(format!("POS:{letter}?")),
            min: Some(STAGE_MM.0),
            max: Some(STAGE_MM.1),
            tolerance: Some(TOLERANCE_MM),
            settle: TRAVEL,
            moving: Some("MOV?".into()),
            ..part(n, name, Some("mm"))
        };
        let channels = vec![
            axis(0, "x", 'X'),
            axis(1, "y", 'Y'),
            part(2, "target.x", Some("mm")),
            part(3, "target.y", Some("mm")),
            part(4, "status", None),
        ];
        let mut port = port("stage", "XY stage", at, "XY stage", &[("speed_mm_s", "VEL?")], channels);
        if let ProtocolConfig::Scpi(scpi) = &mut port.protocol {
            scpi.stop = "STOP".into();
        }
        port
    }

    fn step(&mut self, at: Moment, _: &mut World, _: &mut Out) -> Vec<String> {
        self.unit.travel(at);
        Vec::new()
    }

    fn hear(&mut self, line: &str, _: Moment, world: &mut World) -> Option<String> {
        self.front.hear(line, world, &mut self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;

    #[test]
    fn the_diode_conducts_one_way() {
        assert_eq!(diode_ma(0.0), 0.0);
        assert!(diode_ma(-0.5) < 0.0 && diode_ma(-0.5) > -0.001);
        // n Vt ln(1 mA / 1 nA) = 0.0491 * 13.8 V
        assert!((diode_ma(0.6786) - 1.0).abs() < 0.01, "{}", diode_ma(0.6786));
    }

    #[test]
    fn the_stage_arrives_and_stays_within_its_limits() {
        let mut stage = Stage::new(3).unit;
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

    #[test]
    fn the_longest_way_takes_less_than_is_waited_for() {
        let mut stage = Stage::new(3).unit;
        (stage.position, stage.target, stage.moving) = ([0.0, 0.0], [100.0, 0.0], true);
        let steps = (0..).take_while(|step| {
            stage.travel(Moment { step: *step, wall: Wall(0) });
            stage.moving
        });
        let took = steps.count() as f64 * STEP_S;
        assert!(took < TRAVEL.as_secs_f64() - 0.5, "{took} s");
    }

    #[test]
    fn a_line_asks_several_things_and_errors_queue_up() {
        let mut supply = Supply::new(1);
        let mut world = World::default();
        let mut hear = |line: &str| supply.hear(line, Moment { step: 0, wall: Wall(0) }, &mut world);
        assert_eq!(hear("VOLT 1.25;VOLT?;:OUTP?").as_deref(), Some("1.250;1"));
        assert_eq!(hear("volt 9"), None);
        assert_eq!(hear("NONSENSE 1"), None);
        assert_eq!(hear("VOLT"), None);
        assert_eq!(hear("SYST:ERR?").as_deref(), Some("-222,\"Data out of range;0 to 5\""));
        assert_eq!(hear("SYST:ERR?").as_deref(), Some("-113,\"Undefined header;NONSENSE\""));
        assert_eq!(hear("*CLS;SYST:ERR?").as_deref(), Some("0,\"No error\""));
        (0..200).for_each(|_| drop(hear("X")));
        let all = std::iter::from_fn(|| hear("SYST:ERR?").filter(|e| !e.starts_with('0')));
        assert!(all.last().unwrap().contains("-350"));
    }

    /// What a scan sees: set, and measured at once, without a step between.
    #[test]
    fn the_multimeter_sees_at_once_what_the_supply_gives() {
        let (mut supply, mut meter, mut world) = (Supply::new(1), Meter::new(1), World::default());
        let at = Moment { step: 0, wall: Wall(0) };
        let mut last = f64::MIN;
        for volts in [0.0, 0.4, 0.6, 0.7, 0.75] {
            assert_eq!(supply.hear(&format!("VOLT {volts}"), at, &mut world), None);
            let answer = meter.hear("MEAS:VOLT?;:MEAS:CURR?", at, &mut world).unwrap();
            let seen: Vec<f64> = answer.split(';').map(|n| n.parse().unwrap()).collect();
            assert!((seen[0] - volts).abs() < 0.001, "{answer}");
            assert!((seen[1] - diode_ma(volts)).abs() < 0.05 * diode_ma(volts) + 0.02, "{answer} at {volts}");
            assert!(seen[1] > last - 0.03);
            last = seen[1];
        }
        assert!(last > 3.0, "{last} mA");
        supply.hear("OUTP 0", at, &mut world);
        assert!(meter.hear("MEAS:CURR?", at, &mut world).unwrap().parse::<f64>().unwrap() < 0.02);
    }
}
