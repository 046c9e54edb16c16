//! Tests of the master: sessions with devices that are played, a golden log, random bytes.

use super::super::script::{Replies, Rig, golden, ms};
use super::frame::crc;
use super::*;
use crate::config::{ModbusKind, ModbusOrder, ModbusTable, ModbusWrite};
use proptest::prelude::*;
use serde_json::Value as Json;

/// Devices of a line, in a few words: enough of a server to be a master's other end.
#[derive(Default)]
struct Line {
    /// By unit and table: what is there.
    words: BTreeMap<(u8, ModbusTable, u16), u16>,
    silent: Vec<u8>,
    requests: Vec<(u8, u8, u16, u16)>,
    /// The next answers are spoilt like this, first to last.
    spoilt: VecDeque<fn(Vec<u8>) -> Vec<u8>>,
    exception: Option<u8>,
}

fn framed(mut body: Vec<u8>) -> Vec<u8> {
    body.extend(crc(&body).to_le_bytes());
    body
}

impl Line {
    fn set(&mut self, unit: u8, table: ModbusTable, address: u16, words: &[u16]) {
        for (n, word) in words.iter().enumerate() {
            self.words.insert((unit, table, address + n as u16), *word);
        }
    }

    fn hear(&mut self, sent: &[u8]) -> Replies {
        let (body, sum) = sent.split_last_chunk::<2>().unwrap();
        assert_eq!(crc(body), u16::from_le_bytes(*sum), "we send right checksums");
        let (unit, function) = (body[0], body[1]);
        let address = u16::from_be_bytes([body[2], body[3]]);
        let count = u16::from_be_bytes([body[4], body[5]]);
        self.requests.push((unit, function, address, count));
        if self.silent.contains(&unit) {
            return Vec::new();
        }
        let table = match function {
            1 | 5 => ModbusTable::Coil,
            2 => ModbusTable::Discrete,
            4 => ModbusTable::Input,
            _ => ModbusTable::Holding,
        };
        let refuse = |code: u8| framed(vec![unit, function | 0x80, code]);
        let answer = if let Some(code) = self.exception {
            refuse(code)
        } else if function <= 4 {
            let all: Option<Vec<u16>> =
                (0..count).map(|n| self.words.get(&(unit, table, address + n)).copied()).collect();
            match all {
                None => refuse(2),
                Some(words) if table.is_bits() => {
                    let mut bytes = vec![0u8; usize::from(count.div_ceil(8))];
                    for (n, word) in words.iter().enumerate() {
                        bytes[n / 8] |= u8::from(*word != 0) << (n % 8);
                    }
                    framed([vec![unit, function, bytes.len() as u8], bytes].concat())
                }
                Some(words) => {
                    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
                    framed([vec![unit, function, bytes.len() as u8], bytes].concat())
                }
            }
        } else {
            match function {
                5 | 6 => self.set(
                    unit,
                    table,
                    address,
                    &[if function == 5 { count & 1 | count >> 15 } else { count }],
                ),
                _ => {
                    let words: Vec<u16> =
                        body[7..].as_chunks::<2>().0.iter().map(|c| u16::from_be_bytes(*c)).collect();
                    self.set(unit, table, address, &words);
                }
            }
            framed(body[..6].to_vec())
        };
        let answer = match self.spoilt.pop_front() {
            Some(spoil) => spoil(answer),
            None => answer,
        };
        vec![(ms(5), answer)]
    }
}

fn register(name: &str, table: ModbusTable, address: u16, kind: ModbusKind) -> ModbusRegister {
    ModbusRegister { name: name.into(), table, address, kind, ..ModbusRegister::default() }
}

fn config(registers: Vec<ModbusRegister>) -> config::Modbus {
    config::Modbus { registers, timeout: ms(100), ..config::Modbus::default() }
}

fn rig(config: &config::Modbus, line: &mut Line) -> Rig<Modbus> {
    let mut rig = Rig::new(Modbus::new(config, 9600));
    rig.open(&mut |sent| line.hear(sent));
    rig
}

const NOISE: [&str; 5] = ["send", "heard", "flush", "count answers", "count timeouts"];
use ModbusKind::{Bool, F32, F64, I16, I32, I64, U16, U32, U64};
use ModbusTable::{Coil, Discrete, Holding, Input};

#[test]
fn neighbours_are_read_in_one_request() {
    let at = |address, kind| register(&format!("r{address}"), Input, address, kind);
    let count = |registers: &[ModbusRegister], gap| -> Vec<(u16, u16, bool)> {
        plan(registers, gap).iter().map(|b| (b.address, b.count, b.holes)).collect()
    };
    let all = [at(12, F32), at(0, F32), at(6, F32), at(14, U16), at(200, U16)];
    assert_eq!(count(&all, 8), [(0, 15, true), (200, 1, false)]);
    assert_eq!(count(&all, 4), [(0, 15, true), (200, 1, false)]);
    assert_eq!(count(&all, 0), [(0, 2, false), (6, 2, false), (12, 3, false), (200, 1, false)]);
    let long: Vec<_> = (0..200).map(|n| at(n, U16)).collect();
    assert_eq!(count(&long, 8), [(0, 125, false), (125, 75, false)]);
    let mut other = at(1, U16);
    other.unit_id = 2;
    assert_eq!(plan(&[at(0, U16), other, register("h", Holding, 1, U16)], 8).len(), 3);
    assert_eq!(count(&[at(65_535, U16), at(65_534, U16)], 8), [(65_534, 2, false)]);
    // The same register twice, as a number and as bits.
    assert_eq!(count(&[at(3, U32), at(3, U16)], 8), [(3, 2, false)]);
}

#[test]
fn orders_and_types() {
    let orders = [ModbusOrder::Abcd, ModbusOrder::Cdab, ModbusOrder::Badc, ModbusOrder::Dcba];
    // 230.5 is 43 66 80 00.
    let wire: [[u8; 4]; 4] =
        [[0x43, 0x66, 0x80, 0], [0x80, 0, 0x43, 0x66], [0x66, 0x43, 0, 0x80], [0, 0x80, 0x66, 0x43]];
    for (order, bytes) in orders.into_iter().zip(wire) {
        let register = ModbusRegister { order, ..register("v", Input, 0, F32) };
        assert_eq!(value_at(&register, &bytes, 0), Value::Number(230.5), "{order:?}");
        assert_eq!(raw_of(&register, &Setting::Number(230.5)).unwrap().bytes(), bytes, "{order:?}");
    }
    let value = |kind, bytes: &[u8]| value_at(&register("v", Input, 0, kind), bytes, 0);
    assert_eq!(value(U16, &[0xff, 0xfe]), Value::Number(65_534.0));
    assert_eq!(value(I16, &[0xff, 0xfe]), Value::Number(-2.0));
    assert_eq!(value(U32, &[0, 1, 0, 2]), Value::Number(65_538.0));
    assert_eq!(value(I32, &[0xff, 0xff, 0xff, 0xff]), Value::Number(-1.0));
    assert_eq!(value(U64, &[0, 0, 0, 0, 0, 1, 0, 0]), Value::Number(65_536.0));
    assert_eq!(value(I64, &[0xff; 8]), Value::Number(-1.0));
    assert_eq!(value(F64, &1.25f64.to_be_bytes()), Value::Number(1.25));
    assert_eq!(value(F32, &0.1f32.to_be_bytes()), Value::Number(0.1), "not 0.10000000149");
    assert_eq!(value(F32, &f32::NAN.to_be_bytes()), Value::Missing(QualityReason::Nan));
    assert_eq!(value(F32, &[0, 1]), Value::Missing(QualityReason::CommError));
    let mut bit = register("b", Holding, 0, Bool);
    bit.bit = Some(3);
    assert_eq!(value_at(&bit, &[0, 8], 0), Value::Flag(true));
    assert_eq!(value_at(&bit, &[8, 0], 0), Value::Flag(false));
    let mut scaled = register("s", Holding, 0, I16);
    (scaled.scale, scaled.offset) = (0.1, -40.0);
    assert_eq!(value_at(&scaled, &[0x02, 0x37], 0), Value::Number(16.7), "not 16.700000000000003");
    scaled.words = [("32767".to_string(), "open".to_string())].into();
    assert_eq!(value_at(&scaled, &[0x7f, 0xff], 0), Value::Text("open".into()));
}

#[test]
fn a_line_is_read_round_by_round() {
    let mut line = Line::default();
    line.set(1, Input, 0, &[0x4366, 0x8000]);
    line.set(1, Coil, 10, &[1, 0, 1]);
    line.set(1, Discrete, 0, &[1]);
    line.set(1, Holding, 7, &[42]);
    let mut volts = register("volts", Input, 0, F32);
    volts.unit = Some("V".into());
    let config = config(vec![
        volts,
        register("pump", Coil, 10, Bool),
        register("fan", Coil, 12, Bool),
        register("door", Discrete, 0, Bool),
        register("level", Holding, 7, U16),
    ]);
    // The middle coil is there, as it should be in a line of them.
    let mut rig = rig(&config, &mut line);
    rig.run(ms(500), &mut |s| line.hear(s));
    assert_eq!(
        rig.said(&["heard", "flush", "count answers"]),
        [
            "send \\x01\\x03\\x00\\x07\\x00\\x015\\xcb",
            "send \\x01\\x04\\x00\\x00\\x00\\x02q\\xcb",
            "send \\x01\\x01\\x00\\n\\x00\\x03\\\\\\t",
            "send \\x01\\x02\\x00\\x00\\x00\\x01\\xb9\\xca",
            "readings level=Number(42.0), volts=Number(230.5) V, pump=Flag(true), fan=Flag(true), door=Flag(true)",
        ]
    );
    rig.run(ms(5000), &mut |s| line.hear(s));
    assert_eq!(rig.log.iter().filter(|l| l.starts_with("readings")).count(), 5);
}

#[test]
fn one_silent_device_does_not_hold_up_the_others() {
    let mut line = Line { silent: vec![2], ..Line::default() };
    for unit in [1, 2, 3] {
        line.set(unit, Holding, 0, &[u16::from(unit)]);
    }
    let of = |unit_id: u8| ModbusRegister { unit_id, ..register(&format!("u{unit_id}"), Holding, 0, U16) };
    let config = config(vec![of(1), of(2), of(3)]);
    let mut rig = rig(&config, &mut line);
    rig.run(ms(20_000), &mut |s| line.hear(s));
    let log = rig.said(&NOISE);
    assert_eq!(log.iter().filter(|l| l.starts_with("readings") && l.contains("u3=Number(3.0)")).count(), 20);
    assert_eq!(log.iter().filter(|l| l.contains("u2=Missing(NotConnected)")).count(), 1);
    assert!(log.contains(&"detail silent_units [2]".to_string()));
    assert!(!log.iter().any(|l| l.starts_with("lost")));
    let asked = line.requests.iter().filter(|r| r.0 == 2).count();
    assert!((4..=8).contains(&asked), "asked {asked} times in 20 s");
    line.silent.clear();
    rig.run(ms(12_000), &mut |s| line.hear(s));
    let log = rig.said(&NOISE);
    assert!(log.contains(&"detail silent_units []".to_string()));
    assert!(log.iter().any(|l| l.contains("u2=Number(2.0)")));
    // All of them: that is a loss.
    line.silent = vec![1, 2, 3];
    rig.run(ms(20_000), &mut |s| line.hear(s));
    let log = rig.said(&NOISE);
    assert_eq!(log.iter().filter(|l| *l == "lost not_connected").count(), 1, "{log:?}");
    line.silent.clear();
    rig.run(ms(15_000), &mut |s| line.hear(s));
    assert!(rig.took().iter().any(|l| l.contains("u1=Number(1.0)")));
}

#[test]
fn what_is_spoilt_is_never_a_value() {
    let mut line = Line::default();
    line.set(1, Holding, 0, &[1234]);
    let config = config(vec![register("r", Holding, 0, U16)]);
    let mut rig = rig(&config, &mut line);
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let table: &[(Spoil, &str)] = &[
        (
            |mut f| {
                f[3] ^= 1;
                f
            },
            "count crc_errors 1",
        ),
        (
            |mut f| {
                f[0] = 9;
                f
            },
            "count foreign_frames 1",
        ),
        (
            |mut f| {
                f[1] = 4;
                f
            },
            "count foreign_frames 1",
        ),
        (|_| framed(vec![1, 3, 4, 0, 1, 0, 2]), "count foreign_frames 1"),
        (
            |mut f| {
                f.truncate(4);
                f
            },
            "count short_frames 1",
        ),
    ];
    rig.run(ms(300), &mut |s| line.hear(s));
    for (spoil, wanted) in table {
        rig.took();
        line.spoilt.push_back(*spoil);
        rig.run(ms(1000), &mut |s| line.hear(s));
        let log = rig.took();
        assert!(log.contains(&wanted.to_string()), "{wanted}: {log:?}");
        assert!(log.contains(&"count retries 1".to_string()));
        let readings: Vec<_> = log.iter().filter(|l| l.starts_with("readings")).collect();
        assert_eq!(readings, ["readings r=Number(1234.0)"]);
    }
    // What two-wire adapters add is not a fault: their own voice, and the noise of turning round.
    for harmless in [
        (|f| [vec![1, 3, 0, 0, 0, 1, 0x84, 0x0A], f].concat()) as Spoil,
        |f| [vec![0, 0xFF], f].concat(),
        |f| [f, vec![0]].concat(),
    ] {
        rig.took();
        line.spoilt.push_back(harmless);
        rig.run(ms(1000), &mut |s| line.hear(s));
        let log = rig.took();
        assert!(log.contains(&"readings r=Number(1234.0)".to_string()), "{log:?}");
        assert!(!log.iter().any(|l| l.starts_with("bad") || l.starts_with("count retries")), "{log:?}");
    }
}

#[test]
fn exceptions_are_told_in_words() {
    let mut line = Line { exception: Some(4), ..Line::default() };
    line.set(1, Holding, 0, &[5]);
    let config = config(vec![register("r", Holding, 0, U16)]);
    let mut rig = rig(&config, &mut line);
    rig.run(ms(300), &mut |s| line.hear(s));
    assert_eq!(
        rig.said(&NOISE),
        [
            "count exceptions 1",
            "detail refused {\"unit 1 holding 0-0\":\"04 device failure: it failed while doing it\"}",
            "readings r=Missing(DeviceError)",
        ]
    );
    // Busy: once more, a little later.
    line.exception = Some(6);
    rig.run(ms(800), &mut |s| line.hear(s));
    line.exception = None;
    rig.run(ms(800), &mut |s| line.hear(s));
    assert_eq!(
        rig.said(&NOISE),
        ["count exceptions 1", "count retries 1", "detail refused {}", "readings r=Number(5.0)"]
    );
}

#[test]
fn a_device_that_refuses_holes_is_read_without_them() {
    let mut line = Line::default();
    line.set(1, Input, 0, &[1]);
    line.set(1, Input, 5, &[2]);
    let config = config(vec![register("a", Input, 0, U16), register("b", Input, 5, U16)]);
    let mut rig = rig(&config, &mut line);
    rig.run(ms(900), &mut |s| line.hear(s));
    assert_eq!(
        rig.said(&NOISE),
        ["count exceptions 1", "count split_requests 1", "readings a=Number(1.0), b=Number(2.0)"]
    );
    rig.run(ms(1000), &mut |s| line.hear(s));
    assert_eq!(rig.said(&NOISE), ["readings a=Number(1.0), b=Number(2.0)"]);
    assert_eq!(line.requests.last(), Some(&(1, 4, 5, 1)));
}

#[test]
fn registers_are_set_and_read_back() {
    let mut line = Line::default();
    line.set(1, Holding, 0, &[100, 0, 0]);
    line.set(1, Coil, 0, &[0]);
    let mut level = ModbusRegister { write: true, scale: 0.1, ..register("level", Holding, 0, I16) };
    (level.min, level.max, level.unit) = (Some(-10.0), Some(50.0), Some("degC".into()));
    let mut pump = ModbusRegister { write: true, ..register("pump", Coil, 0, Bool) };
    pump.words = [("0".to_string(), "off".to_string()), ("1".into(), "on".into())].into();
    let gain = ModbusRegister { write: true, order: ModbusOrder::Cdab, ..register("gain", Holding, 1, F32) };
    let config = config(vec![level, pump, gain, register("fixed", Input, 0, U16)]);
    let mut rig = rig(&config, &mut line);
    let set = |rig: &mut Rig<Modbus>, line: &mut Line, channel: &str, value: Json| {
        rig.run(ms(400), &mut |s| line.hear(s));
        rig.took();
        rig.command("1", "set", json!({ "channel": channel, "value": value }), &mut |s| line.hear(s));
        rig.run(ms(600), &mut |s| line.hear(s));
        let log = rig.took();
        log.into_iter().find(|l| l.starts_with("finish")).unwrap_or_default()
    };
    let mut check = |channel, value, wanted: &str| {
        assert_eq!(set(&mut rig, &mut line, channel, value), wanted, "{channel}");
    };
    check("level", json!(21.5), "finish 1 completed");
    check("level", json!(-3), "finish 1 completed");
    check("level", json!(50.1), "finish 1 rejected: level 50.1 degC is outside its limits: -10 to 50 degC");
    check("level", json!(1.23), "finish 1 rejected: level can only be set in steps of 0.1 degC");
    check("pump", json!("on"), "finish 1 completed");
    check("pump", json!("maybe"), "finish 1 rejected: `value` is \"maybe\"; expected one of off, on");
    check("gain", json!(1.25), "finish 1 completed");
    check(
        "fixed",
        json!(1),
        "finish 1 rejected: `channel` is \"fixed\"; expected one that can be set: level, pump, gain",
    );
    assert_eq!(line.words[&(1, Holding, 0)] as i16, -30);
    assert_eq!(line.words[&(1, Coil, 0)], 1);
    assert_eq!((line.words[&(1, Holding, 1)], line.words[&(1, Holding, 2)]), (0, 0x3fa0));
    assert!(line.requests.iter().any(|r| r.1 == 16) && line.requests.iter().any(|r| r.1 == 6));
    // A device that takes it and does nothing.
    line.spoilt.clear();
    let mut stuck = Line::default();
    stuck.set(1, Holding, 0, &[100, 0, 0]);
    stuck.set(1, Coil, 0, &[0]);
    stuck.set(1, Input, 0, &[0]);
    let mut rig = self::rig(&config, &mut stuck);
    rig.command("9", "set", json!({ "channel": "level", "value": 20 }), &mut |_| Vec::new());
    let mut deaf = |s: &[u8]| {
        if s[1] == 6 { vec![(ms(5), s.to_vec())] } else { stuck.hear(s) }
    };
    rig.run(ms(1000), &mut deaf);
    assert!(
        rig.took()
            .contains(&"finish 9 failed: wrote 20.0 degC to level, but it reads back 10.0 degC".to_string())
    );
    // One that does not answer the write is not written to again, but read.
    rig.run(ms(400), &mut deaf);
    let mut writes = 0;
    let mut silent = |s: &[u8]| {
        if s[1] == 6 {
            writes += 1;
            stuck.set(1, Holding, 0, &[200]);
            return Vec::new();
        }
        stuck.hear(s)
    };
    rig.command("10", "set", json!({ "channel": "level", "value": 20 }), &mut silent);
    rig.run(ms(1000), &mut silent);
    assert!(rig.took().contains(&"finish 10 completed".to_string()));
    assert_eq!(writes, 1);
}

#[test]
fn a_set_that_is_waited_for_leaves_the_line_free_and_can_be_given_up() {
    let mut line = Line::default();
    line.set(1, Holding, 0, &[100, 7]);
    let slow = ModbusRegister { write: true, ..register("slow", Holding, 0, U16) };
    let quick = ModbusRegister { write: true, ..register("quick", Holding, 1, U16) };
    let mut config = config(vec![slow, quick]);
    config.poll = ms(200);
    let mut rig = rig(&config, &mut line);
    // What is written to the first register is taken, and has its effect when we say so.
    let mut device = |s: &[u8]| {
        if s[1] == 6 && s[3] == 0 { vec![(ms(5), s.to_vec())] } else { line.hear(s) }
    };
    rig.run(ms(300), &mut device);
    let set = |channel: &str, to: f64| Wanted::Set {
        channel: channel.into(),
        to: Setting::Number(to),
        tolerance: None,
        within: Some(ms(60_000)),
        arrive: true,
    };
    let count = |rig: &Rig<Modbus>, word: &str| rig.log.iter().filter(|l| l.contains(word)).count();
    rig.took();
    rig.ask("#1", &set("slow", 5.0), &mut device);
    rig.run(ms(1000), &mut device);
    // The rest of the line is polled and set meanwhile.
    assert!(count(&rig, "quick=Number(7.0)") >= 4, "{:#?}", rig.log);
    rig.ask("#2", &set("quick", 8.0), &mut device);
    rig.ask("#3", &set("slow", 6.0), &mut device);
    rig.run(ms(500), &mut device);
    assert_eq!(count(&rig, "finish #2 completed"), 1);
    let to_slow = "send \\x01\\x06\\x00\\x00";
    assert_eq!(count(&rig, to_slow), 1, "the second set of a register waits for the first");
    // Given up: it is not looked at any more, and the next one goes.
    rig.protocol.give_up("#1");
    rig.run(ms(500), &mut device);
    assert_eq!(count(&rig, to_slow), 2);
    rig.protocol.give_up("#3");
    rig.run(ms(300), &mut device);
    rig.took();
    rig.run(ms(1000), &mut device);
    let read = count(&rig, "send ");
    assert!(read <= 6, "only the rounds are left, {read} requests: {:#?}", rig.log);
    // One that was sent and given up: its answer is nobody's, and nothing follows.
    rig.ask("#4", &set("quick", 9.0), &mut device);
    rig.protocol.give_up("#4");
    rig.took();
    rig.run(ms(190), &mut device);
    assert_eq!(count(&rig, "count timeouts") + count(&rig, "finish"), 0, "{:#?}", rig.log);
    rig.ask("#5", &set("slow", 7.0), &mut device);
    rig.run(ms(100), &mut device);
    rig.took();
    rig.close();
    assert_eq!(rig.took(), ["finish #5 failed: the port was closed"]);
}

/// A drive: it goes where it is sent in so many looks at its status, unless it is stopped.
#[derive(Default)]
struct Axis {
    line: Line,
    /// Looks until it begins to move, and until it stands.
    begins: u32,
    looks: u32,
}

impl Axis {
    fn new() -> Axis {
        let mut axis = Axis::default();
        axis.line.set(1, Holding, 0, &[100, 7]);
        axis.line.set(1, Input, 9, &[8]);
        axis.line.set(1, Coil, 3, &[0]);
        axis
    }

    fn hear(&mut self, sent: &[u8]) -> Replies {
        let (function, address) = (sent[1], u16::from_be_bytes([sent[2], sent[3]]));
        if (function, address) == (4, 9) {
            let moves = self.begins == 0 && self.looks > 0;
            self.begins = self.begins.saturating_sub(1);
            self.looks -= u32::from(moves);
            self.line.set(1, Input, 9, &[if moves { 12 } else { 8 }]);
        }
        if (function, address) == (5, 3) {
            self.looks = self.looks.min(1);
        }
        self.line.hear(sent)
    }

    fn config() -> config::Modbus {
        let position = ModbusRegister {
            write: true,
            moving: Some("status".into()),
            moving_mask: Some(4),
            settle: Some(ms(5000)),
            ..register("position", Holding, 0, U16)
        };
        let speed = ModbusRegister { write: true, ..register("speed", Holding, 1, U16) };
        let write = |table, address, value| ModbusWrite { unit_id: 1, table, address, value };
        config::Modbus {
            poll: ms(10_000),
            stop: vec![write(Coil, 3, 1)],
            safe: vec![write(Coil, 3, 1), write(Holding, 1, 0)],
            ..config(vec![position, speed, register("status", Input, 9, U16)])
        }
    }
}

fn position(to: f64) -> Wanted {
    Wanted::Set {
        channel: "position".into(),
        to: Setting::Number(to),
        tolerance: None,
        within: None,
        arrive: true,
    }
}

#[test]
fn a_set_that_moves_has_arrived_when_it_stands() {
    let mut axis = Axis::new();
    let mut rig = Rig::new(Modbus::new(&Axis::config(), 9600));
    rig.open(&mut |s| axis.hear(s));
    rig.run(ms(500), &mut |s| axis.hear(s));
    assert!(rig.took().contains(&"motion position stands".to_string()), "polled as well");
    (axis.begins, axis.looks) = (1, 5);
    rig.ask("1", &position(200.0), &mut |s| axis.hear(s));
    rig.run(ms(400), &mut |s| axis.hear(s));
    assert!(!rig.log.iter().any(|l| l.starts_with("finish")), "{:#?}", rig.log);
    rig.run(ms(1000), &mut |s| axis.hear(s));
    let log = rig.took();
    let of = |line: &str| log.iter().position(|l| l == line).unwrap_or(usize::MAX);
    let order =
        ["motion position to 200", "motion position stands", "motion position moves", "finish 1 completed"];
    assert!(order.map(of).is_sorted() && of(order[3]) < usize::MAX, "{log:#?}");
    // It is there already: the flag never rises.
    rig.ask("2", &position(200.0), &mut |s| axis.hear(s));
    rig.run(ms(1000), &mut |s| axis.hear(s));
    assert!(rig.took().contains(&"finish 2 completed".to_string()));
    // It never arrives.
    axis.looks = 1_000_000;
    rig.ask("3", &position(300.0), &mut |s| axis.hear(s));
    rig.run(ms(6000), &mut |s| axis.hear(s));
    assert!(rig.took().contains(&"finish 3 failed: position moves still after 5s".to_string()));
}

#[test]
fn stopping_goes_first_and_ends_what_is_on_its_way() {
    let mut axis = Axis::new();
    let mut rig = Rig::new(Modbus::new(&Axis::config(), 9600));
    rig.open(&mut |s| axis.hear(s));
    rig.run(ms(500), &mut |s| axis.hear(s));
    let can = rig.protocol.offer().unwrap();
    assert_eq!((can.stops, can.movement, can.safe.len()), (true, true, 2));
    assert_eq!(rig.protocol.actions(), ["set", "move", "stop", "safe"]);
    axis.looks = 1_000_000;
    rig.ask("1", &position(200.0), &mut |s| axis.hear(s));
    rig.run(ms(300), &mut |s| axis.hear(s));
    rig.took();
    axis.line.requests.clear();
    // One has the line, others wait: the stop is what is sent next.
    let read = Wanted::Read { channels: vec!["speed".into()] };
    rig.ask("2", &read, &mut |s| axis.hear(s));
    rig.ask("3", &position(50.0), &mut |s| axis.hear(s));
    rig.ask("4", &read, &mut |s| axis.hear(s));
    rig.ask("5", &Wanted::Stop, &mut |s| axis.hear(s));
    rig.run(ms(1000), &mut |s| axis.hear(s));
    let sent: Vec<_> = axis.line.requests.iter().map(|r| (r.1, r.2)).collect();
    let stop = sent.iter().position(|r| *r == (5, 3)).unwrap();
    assert!(stop <= 1, "{sent:?}");
    assert!(!sent.contains(&(6, 0)), "what was not written is not written: {sent:?}");
    let mut ends: Vec<_> = rig.log.iter().filter(|l| l.starts_with("finish")).cloned().collect();
    ends.sort_unstable();
    assert_eq!(
        ends,
        [
            "finish 1 failed: it was told to stop",
            "finish 2 completed",
            "finish 3 failed: it was told to stop",
            "finish 4 completed",
            "finish 5 completed",
        ]
    );
    let code = |rig: &Rig<Modbus>, id: &str| {
        rig.actions.iter().find_map(|a| match a {
            Action::Finish(end) if end.id == id => Some(end.code),
            _ => None,
        })
    };
    assert_eq!(code(&rig, "1"), Some(Some(Failure::StoppedExternally)));
    // It moves still: the stop waits for it, and a second one does not wait for the first.
    rig.took();
    axis.looks = 1_000_000;
    let mut stuck = |s: &[u8]| if s[1] == 5 { axis.line.hear(s) } else { axis.hear(s) };
    rig.ask("6", &Wanted::Stop, &mut stuck);
    rig.run(ms(1000), &mut stuck);
    rig.ask("7", &Wanted::Safe, &mut stuck);
    rig.run(ms(500), &mut stuck);
    assert!(rig.log.contains(&"finish 7 completed".to_string()), "{:#?}", rig.log);
    rig.run(ms(4500), &mut stuck);
    assert_eq!(code(&rig, "6"), Some(Some(Failure::Timeout)), "{:#?}", rig.log);
    assert_eq!(axis.line.words[&(1, Holding, 1)], 0, "made safe");
}

#[test]
fn an_order_is_written_to_its_end_whatever_becomes_of_a_part() {
    let mut axis = Axis::new();
    let mut rig = Rig::new(Modbus::new(&Axis::config(), 9600));
    rig.open(&mut |s| axis.hear(s));
    rig.run(ms(500), &mut |s| axis.hear(s));
    rig.took();
    // The first write is refused, then not answered: repeated, and the second is written all the same.
    for answer in [Some(framed(vec![1, 0x85, 4])), None] {
        axis.line.set(1, Holding, 1, &[7]);
        let mut asked = 0;
        let mut odd = |s: &[u8]| -> Replies {
            if s[1] != 5 {
                return axis.hear(s);
            }
            asked += 1;
            answer.iter().map(|frame| (ms(5), frame.clone())).collect()
        };
        rig.ask("1", &Wanted::Safe, &mut odd);
        rig.run(ms(3000), &mut odd);
        let log = rig.took();
        let why = match &answer {
            Some(_) => "the device refuses: 04 device failure: it failed while doing it",
            None => "no answer",
        };
        assert!(log.contains(&format!("finish 1 failed: unit 1 coil 3 = 1: {why}")), "{log:#?}");
        assert_eq!(asked, if answer.is_some() { 1 } else { 2 });
        assert_eq!(axis.line.words[&(1, Holding, 1)], 0);
    }
    // Without any, there is none.
    let config = config::Modbus { stop: Vec::new(), safe: Vec::new(), ..Axis::config() };
    let mut rig = Rig::new(Modbus::new(&config, 9600));
    rig.open(&mut |s| axis.hear(s));
    rig.ask("1", &Wanted::Stop, &mut |s| axis.hear(s));
    assert!(
        rig.took().contains(
            &"finish 1 rejected: nothing is known to stop it: `stop` is not configured".to_string()
        )
    );
}

/// A stop that no device had heard was told to be done: its echo looks like its answer.
#[test]
fn an_echo_is_no_answer_to_a_write() {
    let mut axis = Axis::new();
    let mut dead = false;
    // In pieces, as adapters hand it over.
    let hear = |axis: &mut Axis, dead: bool, sent: &[u8]| -> Replies {
        let (begin, rest) = sent.split_at(3);
        let mut heard = vec![(ms(1), begin.to_vec()), (ms(2), rest.to_vec())];
        if !dead {
            heard.extend(axis.hear(sent));
        }
        heard
    };
    let mut rig = Rig::new(Modbus::new(&Axis::config(), 9600));
    rig.open(&mut |s| hear(&mut axis, dead, s));
    rig.run(ms(500), &mut |s| hear(&mut axis, dead, s));
    let log = rig.took();
    assert!(log.iter().any(|l| l.contains("position=Number(100.0)")), "{log:#?}");
    assert!(!log.iter().any(|l| l.starts_with("bad")), "{log:#?}");
    rig.ask("1", &Wanted::Safe, &mut |s| hear(&mut axis, dead, s));
    rig.run(ms(1000), &mut |s| hear(&mut axis, dead, s));
    let log = rig.took();
    assert!(log.contains(&"finish 1 completed".to_string()), "{log:#?}");
    assert!(!log.iter().any(|l| l.starts_with("count stray")), "{log:#?}");
    dead = true;
    rig.ask("2", &Wanted::Safe, &mut |s| hear(&mut axis, dead, s));
    rig.run(ms(3000), &mut |s| hear(&mut axis, dead, s));
    let log = rig.took();
    let why = "unit 1 coil 3 = 1: no answer; unit 1 holding 1 = 0: no answer";
    assert!(log.contains(&format!("finish 2 failed: {why}")), "{log:#?}");
}

#[test]
fn silences() {
    assert_eq!(silence(115_200), Duration::from_micros(1750));
    assert_eq!(silence(9600).as_micros(), 4010);
    assert_eq!(silence(0), Duration::from_micros(1750));
}

/// tests/golden/modbus/meter.log: `> hex` is what goes over the line from us, `< hex` what comes back, `< ` nothing.
#[test]
fn golden_log() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/modbus/meter.log");
    let text = std::fs::read_to_string(path).unwrap();
    let bytes = |hex: &str| -> Vec<u8> {
        hex.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    };
    let mut script: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
    for line in text.lines() {
        if let Some(sent) = line.strip_prefix('>') {
            script.push_back((bytes(sent), Vec::new()));
        } else if let Some(answer) = line.strip_prefix('<') {
            script.back_mut().unwrap().1.extend(bytes(answer));
        }
    }
    let of = |name: &str, address, unit: &str| ModbusRegister {
        unit: Some(unit.into()),
        ..register(name, Input, address, F32)
    };
    let mut config = config(vec![
        of("voltage", 0, "V"),
        of("current", 6, "A"),
        of("power", 12, "W"),
        of("frequency", 70, "Hz"),
        of("import", 72, "kWh"),
    ]);
    config.retries = 2;
    let mut device = |sent: &[u8]| -> Replies {
        let Some((wanted, answer)) = script.pop_front() else { return Vec::new() };
        assert_eq!(sent, wanted, "the log is not what we send");
        // As an adapter hands it over: in pieces.
        let pieces = answer.chunks(5).enumerate();
        pieces.map(|(n, piece)| (ms(4 + 2 * n as u64), piece.to_vec())).collect()
    };
    let mut rig = Rig::new(Modbus::new(&config, 2400));
    rig.open(&mut device);
    rig.run(ms(3900), &mut device);
    golden("modbus/meter", &format!("{}\n", rig.took().join("\n")));
}

proptest! {
    /// Whatever comes: no panic, and no value that the right checksum does not vouch for.
    #[test]
    fn anything_at_all(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let config = config(vec![register("r", Holding, 0, U16), register("c", Coil, 3, Bool)]);
        let mut rig = Rig::new(Modbus::new(&config, 9600));
        let mut chunks = chunks.into_iter();
        let mut device = |_: &[u8]| vec![(ms(3), chunks.next().unwrap_or_default())];
        rig.open(&mut device);
        rig.run(ms(6000), &mut device);
        rig.close();
        prop_assert!(!rig.log.iter().any(|l| l.starts_with("readings") && l.contains("Number")));
    }

    /// What is written is what is read, in every type and order.
    #[test]
    fn written_values_read_back(
        value in -30_000i32..30_000,
        kind in prop::sample::select(vec![I16, I32, I64, F32, F64]),
        order in prop::sample::select(vec![ModbusOrder::Abcd, ModbusOrder::Cdab, ModbusOrder::Badc, ModbusOrder::Dcba]),
        scale in prop::sample::select(vec![1.0, 0.1, 0.01, 10.0]),
    ) {
        let register = ModbusRegister { order, scale, ..register("r", Holding, 0, kind) };
        let wanted = f64::from(value) * scale;
        let raw = raw_of(&register, &Setting::Number(wanted)).unwrap();
        let back = value_at(&register, &raw.bytes(), 0).as_number().unwrap();
        prop_assert!((back - wanted).abs() < 1e-6 * wanted.abs().max(1.0), "{} became {}", wanted, back);
    }
}
