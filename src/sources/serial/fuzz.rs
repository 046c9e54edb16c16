//! The doors through which fuzzers come in: any bytes, as if they came from a wire. A test here sends random ones through
//! the same doors, so that they are used where no fuzzer can be built. What must hold is asserted, all else is that
//! nothing panics and nothing grows without end.

use super::line::Line;
use super::modbus::Modbus;
use super::nmea::Nmea;
use super::protocol::{Action, Finish, Protocol};
use super::scpi::Scpi;
use crate::config::{self, LineConfig, LineFormat, ModbusKind, ModbusRegister, ModbusTable, ScpiChannel};
use crate::sources::instruments::{Request, Setting};
use crate::sources::reading::Value;
use std::time::Duration;

/// Lines: the first byte chooses the format.
pub fn line(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let format = match first % 3 {
        0 => LineFormat::Json,
        1 => LineFormat::Csv { separator: ',' },
        _ => LineFormat::Regex("^(?<name>[A-Z]+)[ =]+(?<value>-?[0-9.]+)".into()),
    };
    let config = LineConfig { max_line: 64, ..LineConfig::of(format) };
    if let Ok(line) = Line::new(&config) {
        drive(line, rest);
    }
}

/// NMEA sentences: the first byte says whether checksums are required.
pub fn nmea(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let checksum = if first % 2 == 0 { "required" } else { "optional" };
    let config =
        config::Nmea { checksum: checksum.into(), interval: Duration::ZERO, ..config::Nmea::default() };
    drive(Nmea::new(&config), rest);
}

/// Answers of an instrument, to whatever it is asked.
pub fn scpi(data: &[u8]) {
    let channel = |name: &str, get: &str| ScpiChannel {
        name: name.into(),
        get: Some(get.into()),
        set: Some("SET {}".into()),
        ..ScpiChannel::default()
    };
    let mut parts = channel("b", "B?;C?");
    parts.part = Some(1);
    let mut block = channel("d", "D?");
    block.block = true;
    let mut volts = channel("a", "A?");
    volts.unit = Some("V".into());
    volts.moving = Some("M?".into());
    let config = config::Scpi {
        errors_every: 1,
        stop: "H".into(),
        settings: [("s".to_string(), "S?".to_string())].into(),
        channels: vec![volts, parts, block],
        ..config::Scpi::default()
    };
    if let Ok(scpi) = Scpi::new(&config) {
        drive(scpi, data);
    }
}

/// Answers on a Modbus line.
pub fn modbus(data: &[u8]) {
    let register = |name: &str, unit_id, table, address, kind| ModbusRegister {
        name: name.into(),
        unit_id,
        table,
        address,
        kind,
        write: matches!(table, ModbusTable::Holding | ModbusTable::Coil),
        ..ModbusRegister::default()
    };
    let registers = vec![
        register("a", 1, ModbusTable::Holding, 0, ModbusKind::F32),
        register("b", 1, ModbusTable::Holding, 6, ModbusKind::U16),
        register("c", 2, ModbusTable::Coil, 3, ModbusKind::Bool),
        register("d", 2, ModbusTable::Input, 0, ModbusKind::I64),
    ];
    drive(Modbus::new(&config::Modbus { registers, ..config::Modbus::default() }, 9600), data);
}

/// Gives the bytes in chunks of all sizes with time between them, commands in the middle, and closes and opens again.
fn drive<P: Protocol>(mut protocol: P, data: &[u8]) {
    let mut now = Duration::from_secs(1);
    let mut waiting: Vec<String> = Vec::new();
    let mut actions = protocol.opened(now);
    let (mut rest, mut n) = (data, 0usize);
    while !rest.is_empty() && n < 10_000 {
        // The size of a chunk and the time to the next come from the bytes themselves.
        let size = usize::from(rest[0] % 61) + 1;
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        actions.extend(protocol.received(chunk, now));
        rest = after;
        n += 1;
        now += Duration::from_millis(u64::from(chunk[0]) * 3);
        for _ in 0..100 {
            match protocol.wake() {
                Some(wake) if wake <= now => actions.extend(protocol.tick(now)),
                _ => break,
            }
        }
        // One that takes none is never given any.
        if n % 7 == 3 && !protocol.actions().is_empty() {
            let id = n.to_string();
            let to = Setting::Number(f64::from(chunk[0]));
            let request = match chunk[0] % 6 {
                0 => Request::Read { channels: vec!["a".into(), "b".into()] },
                1 => Request::Move { to: vec![("a".into(), to.clone()), ("b".into(), to)], within: None },
                2 => Request::Query("A?".into()),
                3 => Request::Stop,
                4 => Request::ClearError,
                _ => Request::Set {
                    channel: "a".into(),
                    to,
                    tolerance: None,
                    within: Some(Duration::from_secs(1)),
                    arrive: chunk[0] % 2 == 0,
                },
            };
            waiting.push(id);
            actions.extend(protocol.ask(&n.to_string(), &request, now));
        }
        if n % 97 == 96 {
            actions.extend(protocol.closed());
            actions.extend(protocol.opened(now));
        }
    }
    actions.extend(protocol.closed());
    for action in actions {
        match action {
            Action::Readings(readings) => {
                assert!(!readings.is_empty(), "an update has values");
                for reading in readings {
                    if let Value::Number(n) = reading.value {
                        assert!(n.is_finite(), "{} is {n}", reading.name);
                    }
                }
            }
            Action::Finish(Finish { id, .. }) => {
                let at = waiting.iter().position(|waiting| *waiting == id);
                waiting.remove(at.expect("a command ends once, and only one that was given"));
            }
            _ => {}
        }
    }
    assert!(waiting.is_empty(), "every command ends when the port closes: {waiting:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes with the characters that mean something more often than chance has them.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let telling = prop::sample::select(b"$!*,\r\n#0123456789;\"{}:\x01\x02\x03\x04\x83".to_vec());
        let words = prop::sample::select(vec![
            &b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"[..],
            b"+1.25E+00\n",
            b"0,\"No error\"\n",
            b"#15hello\n",
            b"{\"t\":1.5}\n",
            b"1;2;3\r\n",
            b"\x01\x03\x04\x43\x66\x80\x00\xce\x4a",
            b"\x01\x83\x02\xc0\xf1",
        ]);
        let piece = prop_oneof![
            3 => any::<u8>().prop_map(|b| vec![b]),
            3 => telling.prop_map(|b| vec![b]),
            2 => words.prop_map(<[u8]>::to_vec),
        ];
        proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_from_a_wire(data in bytes()) {
            line(&data);
            nmea(&data);
            scpi(&data);
            modbus(&data);
        }
    }
}
